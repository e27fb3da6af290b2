//! Descriptors that run out, in the master and in a worker: it goes on without, and recovers.

use hatchery_tests::client::Client;
use hatchery_tests::limit::{self, Resource};
use hatchery_tests::load::Load;
use hatchery_tests::{Start, log, procfs};
use nix::sys::signal::Signal;

#[test]
fn a_master_without_descriptors_tries_again_while_the_others_serve() {
    let lab = Start::lab().ready();
    let master = lab.serving();
    limit::set(master, Resource::Files, 3);
    let victim = *lab.ready().first().expect("a worker");
    lab.signal_to(victim, Signal::SIGKILL);
    lab.until("it has ended", || lab.ready().len() == 1);
    let load = Load::fresh(lab.address(), 2);
    lab.until_logged(log::NOT_FORKED, 2);
    assert!(lab.log().lines().any(|line| log::NOT_FORKED.is(line) && line.contains("os error 24")));
    lab.signal(Signal::SIGUSR2);
    lab.until_logged(log::UPGRADE_FAILED, 1);
    load.more(100);
    limit::set(master, Resource::Files, 1024);
    lab.until("it is replaced", || lab.ready().len() == 2);
    assert_eq!(lab.serving(), master);
    lab.upgrade();
    load.more(100);
    load.finish_without_failure();
    lab.stop();
}

#[test]
fn a_worker_without_descriptors_pauses_and_accepts_again_when_there_are_some() {
    let lab = Start::lab().set("workers", "1").ready();
    let worker = *lab.ready().first().expect("a worker");
    let mut open = Client::connect(lab.address()).expect("a connection");
    assert_eq!(open.get("/").expect("an answer").status, 200);
    let held = procfs::descriptors(worker).len() as u64;
    limit::set(worker, Resource::Files, held);
    let mut waiting: Vec<Client> = (0..10).map(|_| Client::connect(lab.address()).expect("queued")).collect();
    for client in &mut waiting {
        client.ask("/").expect("sent");
    }
    lab.until("accepting has failed", || lab.log().contains("cannot accept"));
    for _ in 0..10 {
        assert_eq!(open.get("/sleep?ms=20").expect("an answer").status, 200);
    }
    limit::set(worker, Resource::Files, 1024);
    for client in &mut waiting {
        assert_eq!(client.answer().expect("its turn").status, 200);
    }
    assert_eq!(lab.log().matches("cannot accept").count(), 1, "said once: {}", lab.log());
    assert_eq!(lab.ready().first(), Some(&worker));
    lab.stop();
}
