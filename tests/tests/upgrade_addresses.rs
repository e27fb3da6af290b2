//! Upgrades to settings with other addresses than the old ones.

use std::fs;
use std::net::TcpStream;

use hatchery_control::{Refusal, Request};
use hatchery_tests::{End, Lab, Start, client, log};
use nix::sys::signal::Signal;

#[test]
fn an_address_that_is_given_up_is_served_until_its_generation_goes() {
    let lab = Start::lab()
        .without("bind")
        .set("upgrade-probation", "1s")
        .config("bind = [\"127.0.0.1:0\", \"127.0.0.1:0\"]\n")
        .ready();
    let [kept, given_up] = [0, 1].map(|index| lab.addresses()[index].clone());
    let predecessor = lab.first();
    fs::write(lab.path("lab.toml"), format!("bind = [\"{kept}\"]\n")).expect("other settings");
    lab.signal(Signal::SIGUSR2);
    lab.until("the successor serves", || log::UPGRADE_DONE.count(&lab.log()) == 1);
    assert_eq!(client::get(&given_up, "/").expect("an answer").status, 200);
    assert_eq!(client::get(&kept, "/").expect("an answer").status, 200);
    assert_eq!(lab.end_of(predecessor), End::Code(0));
    assert!(TcpStream::connect(&given_up).is_err(), "nobody serves it any more");
    assert_eq!(client::get(&kept, "/").expect("an answer").status, 200);
    lab.stop();
}

#[test]
fn an_address_that_was_given_up_is_to_be_had_again_when_its_generation_has_gone() {
    let file = |lab: &Lab, addresses: &[&String]| {
        fs::write(lab.path("lab.toml"), format!("bind = {addresses:?}\n")).expect("settings");
    };
    let start = Start::lab().controlled();
    let socket = format!("unix:{}", start.path("one.sock").display());
    let start = start.without("bind").set("upgrade-probation", "60s");
    let lab = start.config(&format!("bind = [\"127.0.0.1:0\", \"127.0.0.1:0\", \"{socket}\"]\n")).ready();
    let [kept, given_up] = [0, 1].map(|index| lab.addresses()[index].clone());
    let predecessor = lab.first();
    file(&lab, &[&kept]);
    lab.signal(Signal::SIGUSR2);
    lab.until_logged(log::UPGRADE_DONE, 1);
    let workers = lab.status().workers;
    for address in [&given_up, &socket] {
        file(&lab, &[&kept, address]);
        let told = lab.ask(&Request::Reload { wait: true });
        let (because, text) = told.failed();
        assert_eq!(because, Refusal::Failed);
        let place = format!("bind ({} line 1)", lab.path("lab.toml").display());
        let reason = format!(
            "reload failed, the old workers serve on: {place}: address in use: {address} is served by the master before this one \
             (pid {predecessor}) until that has gone; ask for it again then"
        );
        assert_eq!(text, reason);
        assert_eq!(client::get(address, "/").expect("an answer").status, 200);
    }
    assert_eq!(
        lab.status().workers.iter().map(|it| it.pid).collect::<Vec<_>>(),
        workers.iter().map(|it| it.pid).collect::<Vec<_>>()
    );
    // Somebody else's address is still said to be that.
    let other = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    file(&lab, &[&kept, &other.local_addr().expect("an address").to_string()]);
    assert!(lab.ask(&Request::Reload { wait: true }).failed().1.contains("is held by another program"));

    lab.signal_to(predecessor, Signal::SIGWINCH);
    assert_eq!(lab.end_of(predecessor), End::Code(0));
    file(&lab, &[&kept, &given_up, &socket]);
    assert_eq!(lab.ask(&Request::Reload { wait: true }).done(), "reload is done: every worker is new");
    for address in [&kept, &given_up, &socket] {
        assert_eq!(client::get(address, "/").expect("an answer").status, 200);
    }
    lab.stop();
}

#[test]
fn an_address_that_is_new_is_served_by_the_new_generation() {
    let lab = Start::lab().without("bind").set("upgrade-probation", "1s").config("bind = [\"127.0.0.1:0\"]\n").ready();
    let kept = lab.address().to_owned();
    let socket = lab.path("new.sock");
    fs::write(lab.path("lab.toml"), format!("bind = [\"{kept}\", \"unix:{}\"]\n", socket.display())).expect("settings");
    lab.upgrade();
    assert!(socket.exists());
    assert_eq!(client::get(&format!("unix:{}", socket.display()), "/").expect("an answer").status, 200);
    assert_eq!(client::get(&kept, "/").expect("an answer").status, 200);
    lab.stop();
    assert!(!socket.exists());
}
