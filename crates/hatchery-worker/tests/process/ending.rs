//! Drain, finish, and the death of the master.

use std::io;
use std::net::TcpStream;
use std::time::Duration;

use hatchery_core::wire::worker::WorkerSays;
use hatchery_sys::Signal;
use nix::sys::wait::WaitStatus;

use crate::Test;
use crate::support::{Client, Master, Options, wait_for};

pub(crate) const TESTS: &[Test] = &[
    ("a_drain_waits_for_what_is_open_and_accepts_nothing", a_drain_waits_for_what_is_open_and_accepts_nothing),
    ("at_the_final_stop_queues_are_emptied_first", at_the_final_stop_queues_are_emptied_first),
    ("the_limit_of_connections_does_not_hold_at_the_final_stop", the_limit_does_not_hold_at_the_final_stop),
    ("after_emptied_it_accepts_until_the_queues_are_shut", after_emptied_it_accepts_until_the_queues_are_shut),
    ("a_master_that_does_not_shut_the_queues_is_not_waited_for", a_master_that_does_not_shut_the_queues),
    ("without_a_master_the_queues_are_emptied_and_closed", without_a_master_the_queues_are_emptied_and_closed),
    ("an_orphan_that_does_not_end_is_killed", an_orphan_that_does_not_end_is_killed),
    ("a_master_that_dies_during_a_drain_leaves_an_alarm", a_master_that_dies_during_a_drain_leaves_an_alarm),
];

fn a_drain_waits_for_what_is_open_and_accepts_nothing() {
    let master = Master::new();
    let child = master.serving(Options::default());
    let (mut polite, mut deaf) = (master.client(), master.client());
    polite.echo();
    deaf.say("deaf");
    deaf.hear();

    child.drain();
    assert_eq!(polite.hear(), "bye 0");
    assert_eq!(polite.hear(), "");
    child.settle();
    let mut late = master.client();
    late.say("late");
    child.settle();
    assert!(child.is_alive() && late.hears_nothing());
    assert_eq!(child.accepted(), 2);

    drop(deaf);
    let heir = master.serving(Options::default());
    assert_eq!(late.heard_by().1, heir.pid);
    child.exits_with(0);
}

/// Clients that have connected and spoken while the worker could not know it.
fn surprise(master: &Master, child: &crate::support::Child, count: usize) -> Vec<Client> {
    child.kill(Signal::SIGSTOP);
    (0..count)
        .map(|_| {
            let mut client = master.client();
            client.say("hello");
            client
        })
        .collect()
}

fn at_the_final_stop_queues_are_emptied_first() {
    let master = Master::new();
    let child = master.serving(Options::default());
    let mut clients = surprise(&master, &child, 50);
    child.finish();
    child.kill(Signal::SIGCONT);
    child.expect(&WorkerSays::Emptied);
    assert_eq!(child.accepted(), 50);
    master.shut_all();
    for client in &mut clients {
        assert_eq!(client.heard_by().0, "hello");
        assert_eq!(client.hear(), "bye 0");
    }
    child.exits_with(0);
}

fn the_limit_does_not_hold_at_the_final_stop() {
    let master = Master::new();
    let child = master.serving(Options { max_connections: 1, ..Options::default() });
    let mut first = master.client();
    first.echo();
    let mut clients = surprise(&master, &child, 5);
    child.finish();
    child.kill(Signal::SIGCONT);
    child.expect(&WorkerSays::Emptied);
    assert_eq!(child.accepted(), 6);
    master.shut_all();
    for client in &mut clients {
        assert_eq!(client.heard_by().0, "hello");
    }
    child.exits_with(0);
}

fn after_emptied_it_accepts_until_the_queues_are_shut() {
    let master = Master::new();
    let child = master.serving(Options::default());
    child.finish();
    child.expect(&WorkerSays::Emptied);
    let mut late = master.client();
    late.echo();
    master.shut_all();
    assert_eq!(late.hear(), "bye 0");
    child.exits_with(0);
}

fn a_master_that_does_not_shut_the_queues() {
    let master = Master::new();
    let child = master.serving(Options::default());
    let mut client = master.client();
    client.echo();
    child.finish();
    child.expect(&WorkerSays::Emptied);
    assert_eq!(client.hear(), "bye 0");
    child.exits_with(0);
}

fn without_a_master_the_queues_are_emptied_and_closed() {
    let master = Master::new();
    let address = master.address(0);
    let mut child = master.serving(Options::default());
    let mut deaf = master.client();
    deaf.say("deaf");
    deaf.hear();
    let mut clients = surprise(&master, &child, 30);
    child.channel = None;
    // A dead master's copies are closed as well.
    master.close_all();
    child.kill(Signal::SIGCONT);
    for client in &mut clients {
        assert_eq!(client.heard_by().0, "hello");
        assert_eq!(client.hear(), "bye 0");
    }
    // The deaf client holds the worker, but not the address.
    wait_for("the address is free", || {
        TcpStream::connect(address).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
    });
    assert!(child.is_alive());
    drop(deaf);
    child.exits_with(0);
}

fn an_orphan_that_does_not_end_is_killed() {
    let master = Master::new();
    let mut child = master.serving(Options { drain_timeout: Some(Duration::from_millis(10)), ..Options::default() });
    let mut deaf = master.client();
    deaf.say("deaf");
    deaf.hear();
    child.channel = None;
    assert_eq!(deaf.hear(), "");
    let status = child.wait();
    assert!(matches!(status, WaitStatus::Signaled(_, Signal::SIGALRM, _)), "{status:?}");
}

fn a_master_that_dies_during_a_drain_leaves_an_alarm() {
    let master = Master::new();
    let mut child = master.serving(Options { drain_timeout: Some(Duration::from_millis(10)), ..Options::default() });
    let mut deaf = master.client();
    deaf.say("deaf");
    deaf.hear();
    child.drain();
    child.settle();
    child.channel = None;
    assert_eq!(deaf.hear(), "");
    let status = child.wait();
    assert!(matches!(status, WaitStatus::Signaled(_, Signal::SIGALRM, _)), "{status:?}");
}
