//! Listeners that come and go with the settings, while clients never stop.

use std::fs;
use std::io::ErrorKind;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use hatchery_tests::client::{Client, Failure};
use hatchery_tests::load::Load;
use hatchery_tests::{Lab, Program, Start, client, log};
use nix::sys::signal::Signal;

/// A lab that listens on these addresses, from its settings file.
fn listening(start: Start, addresses: &[&str]) -> Lab {
    start.without("bind").config(&settings(addresses)).ready()
}

fn settings(addresses: &[&str]) -> String {
    format!("bind = {addresses:?}\n")
}

fn reload(lab: &Lab, addresses: &[&str]) {
    let done = log::RELOAD_DONE.count(&lab.log());
    fs::write(lab.path("lab.toml"), settings(addresses)).expect("other settings");
    lab.signal(Signal::SIGHUP);
    lab.until_logged(log::RELOAD_DONE, done + 1);
}

/// Asks until nobody listens any more, which is the only failure that there may be.
fn until_refused(address: &str) -> u64 {
    let (end, mut answered) = (Instant::now() + Duration::from_secs(60), 0);
    while Instant::now() < end {
        match client::get(address, "/") {
            Ok(answer) => assert_eq!(answer.status, 200),
            Err(Failure::NotConnected(error)) if error.kind() == ErrorKind::ConnectionRefused => return answered,
            Err(failure) => panic!("after {answered} answers: {failure}"),
        }
        answered += 1;
    }
    panic!("{address} is served on, after {answered} answers");
}

fn come_and_go(start: Start) {
    let lab = listening(start, &["127.0.0.1:0", "127.0.0.1:0"]);
    let [stays, goes] = [0, 1].map(|index| lab.addresses()[index].clone());
    let comes = format!("unix:{}", lab.path("new.sock").display());
    let load = Load::fresh(&stays, 2);
    let quiet = Load::keep_alive(&stays, 2, Duration::from_millis(1));
    let going = goes.clone();
    let leaving = thread::spawn(move || until_refused(&going));
    load.more(50);

    reload(&lab, &[&stays, &comes]);
    assert!(leaving.join().expect("clients of what goes lose nothing") > 0);
    assert!(TcpStream::connect(&goes).is_err());
    let coming = Load::fresh(&comes, 2);
    coming.more(100);

    // And the other way round, with the address that was given up.
    reload(&lab, &[&goes, &stays, &comes]);
    let again = Load::fresh(&goes, 2);
    again.more(100);
    lab.upgrade();
    for load in [&load, &quiet, &coming, &again] {
        load.more(50);
    }
    for load in [load, quiet, coming, again] {
        load.finish_without_failure();
    }
    lab.stop();
}

#[test]
fn listeners_come_and_go_at_a_reload() {
    come_and_go(Start::lab());
}

#[test]
fn listeners_with_a_queue_for_each_worker_come_and_go_as_well() {
    come_and_go(Start::lab().set("listen-mode", "reuseport").set("workers", "3"));
}

#[test]
fn an_address_that_cannot_be_had_leaves_everything_as_it_was() {
    let lab = listening(Start::lab(), &["127.0.0.1:0"]);
    let (stays, workers) = (lab.address().to_owned(), lab.ready());
    let holder = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let held = holder.local_addr().expect("an address").to_string();
    fs::write(lab.path("lab.toml"), settings(&[&stays, "127.0.0.1:0", &held])).expect("other settings");
    lab.signal(Signal::SIGHUP);
    lab.until_logged(log::RELOAD_FAILED, 1);
    assert!(lab.log().contains(&format!("lab.toml line 1): address in use: {held}")), "{}", lab.log());
    assert_eq!(lab.ready(), workers, "nobody was replaced");
    assert_eq!(lab.get("/").expect("an answer").status, 200);
    drop(holder);
    reload(&lab, &[&stays, &held]);
    assert_eq!(client::get(&held, "/").expect("an answer").status, 200);
    lab.stop();
}

#[test]
fn a_roll_out_that_fails_takes_its_new_address_with_it_and_keeps_the_old_one() {
    let start = Start::lab();
    let fault = start.path("fault");
    let boot = format!("fail-if:{}", fault.display());
    let lab = listening(start.variable("LAB_BOOT", &boot), &["127.0.0.1:0", "127.0.0.1:0"]);
    let [stays, goes] = [0, 1].map(|index| lab.addresses()[index].clone());
    let comes = format!("unix:{}", lab.path("new.sock").display());
    fs::write(&fault, "").expect("a file");
    fs::write(lab.path("lab.toml"), settings(&[&stays, &comes])).expect("other settings");
    lab.signal(Signal::SIGHUP);
    lab.until_logged(log::RELOAD_FAILED, 1);
    lab.until("the new address is gone", || Client::connect(&comes).is_err());
    for address in [&stays, &goes] {
        assert_eq!(client::get(address, "/").expect("an answer").status, 200);
    }
    fs::remove_file(&fault).expect("a file");
    reload(&lab, &[&stays, &comes]);
    assert_eq!(client::get(&comes, "/").expect("an answer").status, 200);
    assert!(TcpStream::connect(&goes).is_err());
    lab.stop();
}

#[test]
fn an_upgrade_after_a_reload_serves_what_that_has_left() {
    let lab = listening(Start::lab().set("upgrade-probation", "1s"), &["127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"]);
    let [first, second, third] = [0, 1, 2].map(|index| lab.addresses()[index].clone());
    reload(&lab, &[&second, &third]);
    // The successor leaves the last of those, which the predecessor knows by another number.
    fs::write(lab.path("lab.toml"), settings(&[&second])).expect("other settings");
    let predecessor = lab.first();
    lab.install(&Program::lab());
    lab.signal(Signal::SIGUSR2);
    lab.until_logged(log::UPGRADE_DONE, 1);
    for address in [&second, &third] {
        assert_eq!(client::get(address, "/").expect("an answer").status, 200);
    }
    let _gone = lab.end_of(predecessor);
    assert_eq!(client::get(&second, "/").expect("an answer").status, 200);
    for address in [&first, &third] {
        assert!(TcpStream::connect(address).is_err(), "{address}");
    }
    lab.stop();
}
