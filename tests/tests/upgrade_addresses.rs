//! Upgrades to settings with other addresses than the old ones.

use std::fs;
use std::net::TcpStream;

use hatchery_tests::{End, Start, client, log};
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
