//! Workers that are killed while connections move.

use hatchery_core::wire::worker::Whose;
use hatchery_sys::Signal;

use crate::Test;
use crate::moving::{goes_on, talking, two_generations};
use crate::support::{Client, Options, Order, counter, wait_for};

pub(crate) const TESTS: &[Test] = &[
    ("what_a_killed_reader_has_not_read_another_reads", what_a_killed_reader_has_not_read_another_reads),
    ("a_reader_that_is_killed_at_work_takes_its_own_only", a_reader_that_is_killed_at_work_takes_its_own_only),
    ("what_a_killed_sender_has_sent_arrives", what_a_killed_sender_has_sent_arrives),
    ("what_a_dead_successor_has_left_is_forwarded", what_a_dead_successor_has_left_is_forwarded),
];

fn what_a_killed_reader_has_not_read_another_reads() {
    let (master, old, next, new, takes) = two_generations();
    new.settle();
    new.kill(Signal::SIGSTOP);
    let mut clients = talking(&master, &old, 30);
    old.drain_to(&next.relay, Order::to(Whose::Successor, &takes));
    old.exits_with(0);
    new.kill(Signal::SIGKILL);
    drop(new);
    let other = next.fork(Options::default(), counter);
    other.is_ready();
    other.assign([]);
    for client in &mut clients {
        goes_on(client, &other);
    }
    assert_eq!(other.moved(), 30);
}

/// Who still answers.
fn alive(clients: Vec<Client>) -> Vec<Client> {
    let mut alive = Vec::new();
    for mut client in clients {
        if client.try_write("wo\n") && client.hear().starts_with("two 2 ") {
            alive.push(client);
        }
    }
    alive
}

fn a_reader_that_is_killed_at_work_takes_its_own_only() {
    for _ in 0..10 {
        let (master, old, next, new, takes) = two_generations();
        let other = next.fork(Options::default(), counter);
        other.is_ready();
        let clients = talking(&master, &old, 100);
        old.drain_to(&next.relay, Order::to(Whose::Successor, &takes));
        wait_for("it has some", || new.moved() > 0);
        new.kill(Signal::SIGKILL);
        let taken = new.moved();
        wait_for("it is gone", || !new.is_alive_unreaped());
        // It may have been killed between receiving and counting.
        let taken = taken.max(new.moved())..=new.moved() + 1;
        drop(new);
        other.assign([]);
        old.exits_with(0);
        let lost = 100 - alive(clients).len() as u64;
        assert!(taken.contains(&lost), "{lost} lost, {taken:?} were with the one that died");
        assert_eq!(other.moved() + lost, 100);
    }
}

fn what_a_killed_sender_has_sent_arrives() {
    let (master, old, next, new, takes) = two_generations();
    new.rest();
    new.settle();
    let clients = talking(&master, &old, 100);
    next.narrow_relay();
    old.drain_to(&next.relay, Order::to(Whose::Successor, &takes));
    wait_for("it has begun", || old.open() < 100);
    old.settle();
    old.settle();
    let waiting = old.open();
    old.kill(Signal::SIGKILL);
    drop(old);
    new.assign([]);
    assert_eq!(alive(clients).len() as u64, 100 - waiting);
    assert_eq!(new.moved(), 100 - waiting);
}

fn what_a_dead_successor_has_left_is_forwarded() {
    let (master, old, next, new, takes) = two_generations();
    new.rest();
    new.settle();
    let mut clients = talking(&master, &old, 100);
    old.drain_to(&next.relay, Order::to(Whose::Successor, &takes));
    old.exits_with(0);
    drop(new);
    next.relay.shut();
    // This generation takes back, and its relay is smaller.
    master.narrow_relay();
    let first = next.relay.forward_to(&master.relay).unwrap();
    assert!(first.left && first.moved > 0 && first.moved < 100, "{first:?}");
    assert!(next.relay.forward_to(&master.relay).unwrap().left, "there is no more room than before");
    let heir = master.fork(Options::default(), counter);
    heir.is_ready();
    heir.assign([]);
    let mut moved = first.moved;
    wait_for("all are forwarded", || {
        let forwarded = next.relay.forward_to(&master.relay).unwrap();
        moved += forwarded.moved;
        assert_eq!(forwarded.lost, 0);
        !forwarded.left
    });
    assert_eq!(moved, 100);
    for client in &mut clients {
        goes_on(client, &heir);
    }
}
