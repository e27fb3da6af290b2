//! Where the kernel, or a container, allows less than usual.

use std::collections::BTreeSet;

use hatchery_tests::client::Client;
use hatchery_tests::{Start, procfs};
use nix::sys::signal::Signal;

#[test]
fn a_profile_that_forbids_unshare() {
    let lab = Start::lab().launcher([env!("CARGO_BIN_EXE_without-unshare")]).ready();
    assert_eq!(lab.get("/").expect("an answer").status, 200);
    let before = lab.ready();
    lab.signal(Signal::SIGHUP);
    lab.until("every worker is new", || lab.ready().len() == 2 && lab.ready().is_disjoint(&before));
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
