//! Where the kernel, or a container, allows less than usual.

use std::collections::BTreeSet;

use hatchery_tests::client::Client;
use hatchery_tests::{End, Start, log, procfs};
use nix::sys::signal::Signal;

#[test]
fn a_profile_that_forbids_unshare() {
    let lab = Start::lab().launcher([env!("CARGO_BIN_EXE_without-unshare")]).ready();
    assert_eq!(lab.get("/").expect("an answer").status, 200);
    let before = lab.ready();
    lab.signal(Signal::SIGHUP);
    lab.until("every worker is new", || lab.ready().is_disjoint(&before) && lab.ready().len() == 2);
    lab.upgrade();
    assert_eq!(lab.whoami().generation, 2);
    lab.stop();
}

#[test]
fn a_worker_out_of_descriptors_serves_on_and_does_not_spin() {
    let lab = Start::lab().set("workers", "1").open_files(64).ready();
    let worker = *lab.ready().first().expect("a worker");
    let mut held: Vec<Client> = (0..100).map(|_| Client::connect(lab.address()).expect("queued")).collect();
    let mut first = held.remove(0);
    assert_eq!(first.get("/").expect("an answer").status, 200);
    let before = procfs::ticks(worker).expect("a worker");
    for _ in 0..10 {
        assert_eq!(first.get("/sleep?ms=50").expect("an answer").status, 200);
    }
    let used = procfs::ticks(worker).expect("a worker") - before;
    assert!(used < 25, "{used} ticks of a hundred a second, in half a second");
    assert_eq!(lab.ready(), BTreeSet::from([worker]), "the worker lives");
    drop(first);
    // The ones that have to wait are served when others go.
    let mut last = held.pop().expect("a client");
    last.ask("/").expect("sent");
    held.clear();
    assert_eq!(last.answer().expect("an answer").status, 200);
    lab.stop();
}

#[test]
fn a_worker_at_its_limit_of_connections_leaves_the_others_in_the_queue() {
    let lab = Start::lab().set("workers", "1").set("max-connections", "3").ready();
    let mut held: Vec<Client> = (0..3).map(|_| Client::connect(lab.address()).expect("a connection")).collect();
    for client in &mut held {
        assert_eq!(client.get("/").expect("an answer").status, 200);
    }
    let mut waits = Client::connect(lab.address()).expect("queued");
    waits.ask("/").expect("sent");
    assert_eq!(held[0].get("/sleep?ms=100").expect("an answer").status, 200);
    assert!(matches!(waits.is_closed(), Ok(false)));
    held.pop();
    assert_eq!(waits.answer().expect("its turn").status, 200);
    lab.stop();
}

#[test]
fn too_few_descriptors_for_a_worker_end_a_first_boot() {
    for limit in [12, 13, 14] {
        let ended = Start::lab().set("crash-limit", "2").open_files(limit).ended();
        assert_eq!(ended.end, End::Code(3), "{limit} descriptors:\n{}", ended.log);
        assert_eq!(log::GAVE_UP.count(&ended.log), 1, "{limit} descriptors:\n{}", ended.log);
    }
}

#[test]
fn a_client_that_resets_its_connection_frees_its_place_at_once() {
    let lab = Start::lab().set("workers", "1").set("max-connections", "2").set("send-timeout", "10m").ready();
    let mut holds = Client::connect(lab.address()).expect("a connection");
    assert_eq!(holds.get("/").expect("an answer").status, 200);
    let mut sleeps = Client::connect(lab.address()).expect("a connection");
    assert_eq!(sleeps.get("/").expect("an answer").status, 200);
    sleeps.ask("/sleep?ms=600000").expect("sent");
    // The worker answers what came later: the other one's handler sleeps by now.
    assert_eq!(holds.get("/sleep?ms=50").expect("an answer").status, 200);
    let mut waits = Client::connect(lab.address()).expect("queued");
    waits.ask("/").expect("sent");
    assert_eq!(holds.get("/sleep?ms=50").expect("an answer").status, 200);
    assert!(matches!(waits.is_closed(), Ok(false)));
    assert!(!waits.has_something(), "no place is free");
    sleeps.reset();
    assert_eq!(waits.answer().expect("its turn").status, 200);
    drop((holds, waits));
    lab.stop();
}
