//! A master that is killed: nobody is left behind, and the next one finds everything free.

use std::time::{Duration, Instant};

use hatchery_tests::client::{Client, Failure};
use hatchery_tests::{End, Lab, Start, client};
use nix::sys::signal::Signal;

/// Kills the master, without whose workers the address is free soon.
fn kill_master(lab: &Lab) {
    lab.signal_to(lab.first(), Signal::SIGKILL);
    assert_eq!(lab.end_of(lab.first()), End::Signal(9));
}

fn refuses(lab: &Lab) -> bool {
    matches!(Client::connect(lab.address()), Err(Failure::NotConnected(_)))
}

/// Another server on the same address with the same pid file serves, and goes.
fn can_be_restarted(lab: &Lab, mode: &str) {
    let pid_file = lab.path("lab.pid").display().to_string();
    let next = Start::lab().set("bind", lab.address()).set("listen-mode", mode).set("pid-file", &pid_file).spawn();
    lab.until("the next one serves", || {
        assert!(!next.has_ended(next.first()), "it has ended: {}", next.log());
        lab.pid_file("lab.pid") == Some(next.first())
    });
    assert_eq!(client::get(lab.address(), "/").expect("an answer").status, 200);
    next.signal(Signal::SIGTERM);
    assert_eq!(next.end_of(next.first()), End::Code(0));
}

#[test]
fn what_is_queued_is_answered() {
    for mode in ["shared", "reuseport"] {
        let lab = Start::lab().set("listen-mode", mode).ready();
        let workers = lab.ready();
        for worker in &workers {
            lab.freeze(*worker);
        }
        let mut queued: Vec<Client> = (0..20).map(|_| Client::connect(lab.address()).expect("queued")).collect();
        for client in &mut queued {
            client.ask("/").expect("sent");
        }
        kill_master(&lab);
        for worker in &workers {
            lab.thaw(*worker);
        }
        for client in &mut queued {
            assert_eq!(client.answer().expect("an answer").text(), "Hello, World!");
        }
        lab.until("the workers are gone", || lab.processes().is_empty());
    }
}

#[test]
fn a_blocked_worker_holds_up_neither_the_address_nor_its_end() {
    for mode in ["shared", "reuseport"] {
        let lab = Start::lab().set("listen-mode", mode).set("drain-timeout", "8s").ready();
        let mut spins = Client::connect(lab.address()).expect("a connection");
        spins.ask("/spin?ms=600000").expect("sent");
        lab.until_read(lab.address(), &spins);
        kill_master(&lab);
        let began = Instant::now();
        lab.until("nobody accepts", || refuses(&lab));
        assert!(began.elapsed() < Duration::from_secs(6), "the address was held until the end: {:?}", began.elapsed());
        can_be_restarted(&lab, mode);
        lab.until("the blocked one is gone", || lab.processes().is_empty());
        assert!(began.elapsed() > Duration::from_secs(7), "it had its time: {:?}", began.elapsed());
        assert!(spins.answer().is_err());
    }
}

/// One that goes on in time finishes what it has.
#[test]
fn a_worker_that_was_blocked_for_a_while_finishes_its_request() {
    let lab = Start::lab().set("workers", "1").ready();
    let mut spins = Client::connect(lab.address()).expect("a connection");
    spins.ask("/spin?ms=2000").expect("sent");
    lab.until_read(lab.address(), &spins);
    kill_master(&lab);
    lab.until("nobody accepts", || refuses(&lab));
    assert!(matches!(spins.is_closed(), Ok(false)), "still blocked");
    can_be_restarted(&lab, "shared");
    assert_eq!(spins.answer().expect("an answer").text(), "spun\n");
    lab.until("the worker is gone", || lab.processes().is_empty());
}

#[test]
fn workers_that_boot_die_with_it() {
    let lab = Start::lab().variable("LAB_BOOT", "hang").set("boot-timeout", "10m").spawn();
    lab.until("workers boot", || lab.workers().len() == 2);
    kill_master(&lab);
    lab.until("nobody is left", || lab.processes().is_empty());
    assert_eq!(lab.pid_file("lab.pid"), None);
}

#[test]
fn one_that_boots_during_a_reload_dies_and_the_others_finish() {
    let lab = Start::lab().ready();
    let mut open = Client::connect(lab.address()).expect("a connection");
    open.begin("/stream?chunks=8&ms=100").expect("the answer begins");
    // Whatever it is about at that moment.
    lab.signal(Signal::SIGHUP);
    kill_master(&lab);
    lab.until("nobody accepts", || refuses(&lab));
    can_be_restarted(&lab, "shared");
    assert_eq!(open.answer().expect("what was open is finished").body.len(), 128);
    lab.until("nobody is left", || lab.processes().is_empty());
}
