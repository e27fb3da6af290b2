//! A queue for each worker: there are as many as there were ever workers, and
//! nobody in them waits for one that is gone, blocked, or let go.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use hatchery_tests::client::Client;
use hatchery_tests::load::Load;
use hatchery_tests::procfs::{Process, Role};
use hatchery_tests::{Lab, Start, log};
use nix::sys::signal::Signal;

/// So many come to each of four queues, whatever the kernel's hash makes of their ports.
const MANY: usize = 60;

fn lab(workers: &str) -> Lab {
    Start::lab().set("listen-mode", "reuseport").set("workers", workers).ready()
}

/// New connections that have asked already.
fn come(lab: &Lab) -> Vec<Client> {
    let one = || {
        let mut client = Client::connect(lab.address()).expect("queued");
        client.ask("/whoami").expect("sent");
        client
    };
    (0..MANY).map(|_| one()).collect()
}

/// Asserts that everybody is answered, and tells by whom.
fn all_answered(clients: &mut [Client]) -> BTreeSet<i32> {
    clients.iter_mut().map(|client| client.answer().expect("an answer").whoami().pid).collect()
}

/// Waits until each worker answers from its queue, and no neighbour any more for one that was not there. Everybody is answered.
fn until_each_has_its_own(lab: &Lab) {
    lab.until("each answers from its queue", || all_answered(&mut come(lab)) == lab.ready());
}

/// The worker in this slot.
fn in_slot(lab: &Lab, slot: u16) -> i32 {
    let is_it = |pid: &i32| {
        Process::read(*pid)
            .is_some_and(|process| matches!(process.role(), Role::Worker { slot: its, .. } if its == slot))
    };
    lab.ready().into_iter().find(is_it).expect("a worker in this slot")
}

#[test]
fn more_workers_get_more_queues_and_fewer_keep_them() {
    let lab = lab("2");
    assert_eq!(lab.queues(), 2);
    let load = Load::fresh(lab.address(), 3);
    for workers in [3, 4] {
        lab.signal(Signal::SIGTTIN);
        lab.until("one more, with a queue", || lab.ready().len() == workers && lab.queues() == workers);
    }
    load.more(50);
    until_each_has_its_own(&lab);
    lab.upgrade();
    assert_eq!((lab.ready().len(), lab.queues()), (4, 4));
    until_each_has_its_own(&lab);
    for workers in [3, 2, 1] {
        lab.signal(Signal::SIGTTOU);
        lab.until("one less", || lab.workers().len() == workers);
        load.more(50);
        assert_eq!(lab.queues(), 4, "a queue is never closed while somebody serves");
    }
    until_each_has_its_own(&lab);
    lab.signal(Signal::SIGTTIN);
    lab.until("one more", || lab.ready().len() == 2);
    lab.upgrade();
    load.more(50);
    assert_eq!((lab.ready().len(), lab.queues()), (2, 4));
    load.finish_without_failure();
    lab.stop();
}

#[test]
fn an_upgrade_to_fewer_workers_leaves_nobody_in_a_queue() {
    let start = Start::lab().without("workers").set("listen-mode", "reuseport").config("workers = 4\n");
    let lab = start.ready();
    lab.until("four are ready", || lab.ready().len() == 4);
    let load = Load::fresh(lab.address(), 3);
    fs::write(lab.path("lab.toml"), "workers = 1\n").expect("other settings");
    lab.signal(Signal::SIGUSR2);
    lab.until("the predecessor is gone", || lab.has_ended(lab.first()));
    lab.until("one worker", || lab.ready().len() == 1);
    load.more(100);
    until_each_has_its_own(&lab);
    assert_eq!(lab.queues(), 4);
    load.finish_without_failure();
    lab.stop();
}

#[test]
fn who_is_queued_for_a_worker_that_is_let_go_is_answered_by_a_neighbour() {
    let lab = lab("4");
    let last = in_slot(&lab, 3);
    lab.freeze(last);
    let mut clients = come(&lab);
    lab.signal(Signal::SIGTTOU);
    assert!(!all_answered(&mut clients).contains(&last), "it stands still");
    lab.thaw(last);
    lab.until("it is gone", || lab.workers().len() == 3);
    lab.stop();
}

#[test]
fn who_is_queued_for_a_worker_that_dies_is_answered() {
    let lab = lab("4");
    let victim = in_slot(&lab, 2);
    lab.freeze(victim);
    let mut clients = come(&lab);
    lab.signal_to(victim, Signal::SIGKILL);
    assert!(!all_answered(&mut clients).contains(&victim));
    lab.until("it is replaced", || lab.ready().len() == 4);
    until_each_has_its_own(&lab);
    lab.stop();
}

#[test]
fn a_neighbour_accepts_for_a_worker_that_is_blocked_until_it_answers() {
    let lab = lab("4");
    // On a connection of its own, so that it is known who will be blocked.
    let mut spinner = Client::connect(lab.address()).expect("a connection");
    let blocked = spinner.get("/whoami").expect("an answer").whoami().pid;
    spinner.ask("/spin?ms=8000").expect("sent");
    // Whom it had accepted before that would have to wait with it.
    lab.until_read(lab.address(), &spinner);
    let began = Instant::now();
    let mut slowest = Duration::ZERO;
    let mut rounds = 0;
    while began.elapsed() < Duration::from_millis(1500) {
        let asked = Instant::now();
        let answered = all_answered(&mut come(&lab));
        slowest = slowest.max(asked.elapsed());
        rounds += 1;
        assert!(!answered.contains(&blocked), "{blocked} is not blocked");
    }
    assert!(!spinner.has_something() && !spinner.is_closed().expect("open"), "it was blocked all the time");
    println!("the slowest of {rounds} x {MANY} took {} ms", slowest.as_millis());
    assert_eq!(log::WORKER_BLOCKED.count(&lab.log()), 1);
    // 300 ms on a machine that has nothing else to do; without a neighbour they wait for 6.5 s and more.
    assert!(slowest < Duration::from_secs(5), "{slowest:?}");

    assert_eq!(spinner.answer().expect("an answer").text(), "spun\n");
    lab.until_logged(log::WORKER_ANSWERS, 1);
    until_each_has_its_own(&lab);
    // Nobody else accepts from its queue now: while it stands still, those in it wait for it.
    lab.freeze(blocked);
    let mut waiting = come(&lab);
    let mut since = Instant::now();
    lab.until("nobody else is answered", || {
        let before = waiting.len();
        waiting.retain_mut(|client| matches!(client.is_closed(), Ok(false)) && !client.has_something());
        if waiting.len() < before {
            since = Instant::now();
        }
        since.elapsed() > Duration::from_millis(300)
    });
    lab.thaw(blocked);
    assert_eq!(all_answered(&mut waiting), BTreeSet::from([blocked]));
    lab.stop();
}
