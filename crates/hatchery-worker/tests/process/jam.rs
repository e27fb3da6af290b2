//! Relays that are full or shut, and what runs out on the way.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use hatchery_core::wire::worker::{MasterSays, Whose};
use hatchery_sys::Signal;
use hatchery_worker::{Conn, Worker};
use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::{Uid, geteuid, setuid};
use tokio::io::AsyncWriteExt;

use crate::Test;
use crate::moving::{goes_on, talking, two_generations};
use crate::support::{
    Child, Counted, DEADLINE, Master, Options, Order, count_lines, count_until_drain, counter, wait_for,
};

pub(crate) const TESTS: &[Test] = &[
    ("where_the_relay_is_full_connections_wait", where_the_relay_is_full_connections_wait),
    ("who_waited_for_too_long_is_closed_politely", who_waited_for_too_long_is_closed_politely),
    ("when_the_relay_is_shut_another_order_is_waited_for", when_the_relay_is_shut_another_order_is_waited_for),
    ("when_no_other_order_comes_it_is_closed_politely", when_no_other_order_comes_it_is_closed_politely),
    ("another_heir_is_taken_even_while_the_first_is_full", another_heir_is_taken_even_while_the_first_is_full),
    ("who_does_not_want_to_wait_holds_up_nobody", who_does_not_want_to_wait_holds_up_nobody),
    ("too_many_descriptors_on_their_way_are_waited_for", too_many_descriptors_on_their_way_are_waited_for),
    ("without_a_spare_descriptor_the_last_one_still_ends", without_a_spare_descriptor_the_last_one_still_ends),
    ("a_reader_without_descriptors_loses_nobody", a_reader_without_descriptors_loses_nobody),
];

/// More than fit into a relay that was made narrow.
const MANY: usize = 100;

/// A worker whose connections do not fit into the relay that nobody reads; returns how many wait.
fn jammed(old: &Child, order: Order, next: &Master) -> u64 {
    next.narrow_relay();
    let before = old.open();
    old.drain_to(&next.relay, order);
    wait_for("it has begun", || old.open() < before);
    old.settle();
    // Connections leave in the turn in which they hear of the drain, or wait.
    old.settle();
    let waiting = old.open();
    assert!((1..before).contains(&waiting), "{waiting} of {before} wait");
    waiting
}

fn where_the_relay_is_full_connections_wait() {
    let (master, old, next, new, takes) = two_generations();
    new.kill(Signal::SIGSTOP);
    let mut clients = talking(&master, &old, MANY);
    let waiting = jammed(&old, Order::to(Whose::Successor, &takes), &next);
    let turns = || old.cell().turn.load(Ordering::Relaxed);
    let before = turns();
    old.settle();
    old.settle();
    assert!(turns() < before + 20, "it does not spin");
    assert_eq!(old.open(), waiting);
    new.kill(Signal::SIGCONT);
    old.exits_with(0);
    for client in &mut clients {
        goes_on(client, &new);
    }
    assert_eq!((new.moved(), new.open(), new.log()), (MANY as u64, MANY as u64, String::new()));
}

fn who_waited_for_too_long_is_closed_politely() {
    let (master, old, next, new, takes) = two_generations();
    new.rest();
    new.settle();
    let mut clients = talking(&master, &old, MANY);
    let timeout = Duration::from_millis(400);
    let waiting = jammed(&old, Order { timeout, ..Order::to(Whose::Successor, &takes) }, &next);
    old.exits_with(0);
    new.assign([]);
    let (mut gone, mut there) = (0, 0);
    for client in &mut clients {
        client.write("wo\n");
        match client.hear().split_once(' ') {
            Some(("two", rest)) => {
                assert_eq!(rest, format!("2 {}", new.pid));
                there += 1;
            }
            Some(("bye:", why)) => {
                assert_eq!(why, "there was no room in the relay in time");
                gone += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((gone, there), (waiting, MANY as u64 - waiting));
}

fn when_the_relay_is_shut_another_order_is_waited_for() {
    let (master, old, next, new, takes) = two_generations();
    let mut clients = talking(&master, &old, 10);
    let other = next.next();
    other.relay.shut();
    old.drain_to(&other.relay, Order::to(Whose::Successor, &takes));
    old.settle();
    old.settle();
    assert!(old.is_alive());
    assert_eq!(old.open(), 10, "nobody was told goodbye");
    old.drain_to(&next.relay, Order::to(Whose::Predecessor, &takes));
    old.exits_with(0);
    for client in &mut clients {
        goes_on(client, &new);
    }
}

fn when_no_other_order_comes_it_is_closed_politely() {
    let (master, old, next, _new, takes) = two_generations();
    let mut clients = talking(&master, &old, 10);
    next.relay.shut();
    let start = Instant::now();
    old.drain_to(&next.relay, Order::to(Whose::Successor, &takes));
    for client in &mut clients {
        assert_eq!(client.hear(), "bye: nobody takes connections of this service at present");
    }
    let took = start.elapsed();
    assert!(took > Duration::from_millis(900), "an order could still have come: {took:?}");
    assert!(took < DEADLINE / 2, "{took:?}");
    old.exits_with(0);
}

fn another_heir_is_taken_even_while_the_first_is_full() {
    let (master, old, next, new, takes) = two_generations();
    let mut clients = talking(&master, &old, MANY);
    let first = next.next();
    jammed(&old, Order::to(Whose::Successor, &takes), &first);
    old.drain_to(&next.relay, Order::to(Whose::Predecessor, &takes));
    old.exits_with(0);
    let moved = usize::try_from(new.moved()).unwrap();
    let late = first.fork(Options::default(), counter);
    late.is_ready();
    late.assign([]);
    let (mut here, mut there) = (0, 0);
    for client in &mut clients {
        client.write("wo\n");
        match client.counted() {
            (word, 2, pid) if word == "two" && pid == new.pid => here += 1,
            (word, 2, pid) if word == "two" && pid == late.pid => there += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(there > 0 && here > there);
    assert_eq!(here + there, MANY);
    assert!(here >= moved);
}

/// Every other connection does not wait for the relay.
async fn impatient(worker: Worker, _: &'static ()) -> Result<(), hatchery_worker::ServeError> {
    let turn = Cell::new(false);
    let handler = async move |conn: Conn| {
        if turn.replace(!turn.get()) {
            return count_lines(conn).await;
        }
        if let Some(Counted { conn, state, unused }) = count_until_drain(conn).await {
            let _ = tokio::time::timeout(Duration::from_millis(1), conn.hand_over(&state, &unused)).await;
        }
    };
    worker.carrying("counter", 1).serve(handler).await
}

fn who_does_not_want_to_wait_holds_up_nobody() {
    let master = Master::new();
    let old = master.fork(Options::default(), impatient);
    let takes = old.is_ready();
    master.assign_all(&old);
    let mut clients = talking(&master, &old, MANY);
    let next = master.next();
    jammed(&old, Order::to(Whose::Successor, &takes), &next);
    wait_for("half of them are gone", || old.open() <= MANY as u64 / 2);
    let new = next.fork(Options::default(), counter);
    new.is_ready();
    new.assign([]);
    old.exits_with(0);
    let mut there = 0;
    for client in &mut clients {
        client.write("wo\n");
        if client.hear() == format!("two 2 {}", new.pid) {
            there += 1;
        }
    }
    assert!(there > MANY / 2 && there < MANY, "{there}");
    assert_eq!(new.moved(), there as u64);
}

/// So few descriptors may be on their way.
const ON_THE_WAY: u64 = 30;

/// Lowers its own limits before it moves anything, since they are the limits for what is on its way.
async fn unprivileged(worker: Worker, _: &'static ()) -> Result<(), hatchery_worker::ServeError> {
    if geteuid().is_root() {
        // Who may administrate has no such limit.
        setuid(Uid::from_raw(65534)).unwrap();
    }
    let handler = async |conn: Conn| {
        let Some(Counted { conn, state, unused }) = count_until_drain(conn).await else { return };
        setrlimit(Resource::RLIMIT_NOFILE, ON_THE_WAY, 20_000).unwrap();
        if let Err(mut stays) = conn.hand_over(&state, &unused).await {
            let _ = stays.conn.write_all(format!("bye: {}\n", stays.why).as_bytes()).await;
        }
    };
    worker.carrying("counter", 1).serve(handler).await
}

fn too_many_descriptors_on_their_way_are_waited_for() {
    let master = Master::new();
    let old = master.fork(Options::default(), unprivileged);
    let takes = old.is_ready();
    master.assign_all(&old);
    let mut clients = talking(&master, &old, MANY);
    let next = master.next();
    old.drain_to(&next.relay, Order::to(Whose::Successor, &takes));
    // One more than the limit, as the kernel counts.
    let waiting = MANY as u64 - ON_THE_WAY - 1;
    wait_for("no more are let on their way", || old.open() == waiting);
    let turns = || old.cell().turn.load(Ordering::Relaxed);
    let (start, before) = (Instant::now(), turns());
    wait_for("it has tried again", || turns() >= before + 20);
    assert!(start.elapsed() > Duration::from_millis(20), "{:?}", start.elapsed());
    assert_eq!(old.open(), waiting);
    let new = next.fork(Options::default(), counter);
    new.is_ready();
    new.assign([]);
    old.exits_with(0);
    for client in &mut clients {
        goes_on(client, &new);
    }
}

/// It cannot receive, but sees that there is nothing to be received.
fn without_a_spare_descriptor_the_last_one_still_ends() {
    let master = Master::new();
    let options = Options { spare_files: Some(0), ..Options::default() };
    let child = master.fork(options, counter);
    child.is_ready();
    child.say(&MasterSays::Drain { timeout: DEADLINE, heir: None, last: true });
    child.settle();
    assert!(child.is_alive(), "somebody may still send");
    master.relay.shut();
    child.exits_with(0);
}

fn a_reader_without_descriptors_loses_nobody() {
    let (master, old, next, new, takes) = two_generations();
    drop(new);
    let options = Options { max_connections: 1000, spare_files: Some(12), ..Options::default() };
    let new = next.fork(options, counter);
    new.is_ready();
    new.assign([]);
    let mut clients = VecDeque::from(talking(&master, &old, 40));
    old.drain_to(&next.relay, Order::to(Whose::Successor, &takes));
    old.exits_with(0);
    wait_for("it has met the limit", || new.log().contains("cannot accept"));
    assert!(new.open() < 20);
    // Each one that goes makes room for another.
    while let Some(mut client) = clients.pop_front() {
        goes_on(&mut client, &new);
    }
    wait_for("all are gone", || new.open() == 0);
    assert_eq!((new.moved(), new.refused()), (40, 0));
    assert_eq!(new.log().matches("cannot accept").count(), 1, "{}", new.log());
}
