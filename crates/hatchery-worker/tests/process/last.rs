//! The last ones of a generation, and its own relay.

use std::time::Duration;

use hatchery_core::wire::worker::{Heir, MasterSays, Whose, WorkerSays};
use hatchery_sys::{Signal, poll};
use std::os::fd::AsFd;

use crate::Test;
use crate::moving::{goes_on, talking, two_generations};
use crate::support::{Child, Client, Master, Options, Order, counter, wait_for};
use hatchery_core::Takes;

pub(crate) const TESTS: &[Test] = &[
    ("who_drains_for_others_of_its_generation_reads_nothing", who_drains_for_its_own_reads_nothing),
    ("the_last_one_reads_to_the_end_and_passes_on", the_last_one_reads_to_the_end_and_passes_on),
    ("the_last_one_without_an_heir_closes_politely", the_last_one_without_an_heir_closes_politely),
    ("the_last_one_waits_for_the_end_of_its_relay", the_last_one_waits_for_the_end_of_its_relay),
    ("at_the_final_stop_the_relay_is_emptied_first", at_the_final_stop_the_relay_is_emptied_first),
    ("after_emptied_the_relay_is_read_until_it_is_shut", after_emptied_the_relay_is_read_until_it_is_shut),
    ("orphans_read_what_is_left_in_their_relay", orphans_read_what_is_left_in_their_relay),
    ("orphans_move_to_their_refuge", orphans_move_to_their_refuge),
    ("a_refuge_that_is_gone_is_let_go_of", a_refuge_that_is_gone_is_let_go_of),
    ("an_orphan_that_was_draining_for_its_own_looks_for_itself", an_orphan_that_was_draining_looks_for_itself),
    ("an_orphan_that_moves_to_the_successor_goes_on", an_orphan_that_moves_to_the_successor_goes_on),
];

/// More than are taken in one turn of the event loop.
const ASLEEP: usize = 100;

/// A worker that sleeps, and in its relay what another one of its generation has sent to it.
struct Asleep {
    master: Master,
    worker: Child,
    clients: Vec<Client>,
    takes: Takes,
}

fn asleep(options: Options) -> Asleep {
    asleep_under(Master::new(), options)
}

fn asleep_under(master: Master, options: Options) -> Asleep {
    let (old, worker) = (master.counting(Options::default()), master.fork(options, counter));
    let takes = worker.is_ready();
    worker.assign([]);
    worker.settle();
    worker.kill(Signal::SIGSTOP);
    let clients = talking(&master, &old, ASLEEP);
    old.drain_to(&master.relay, Order::to(Whose::Own, &takes));
    old.exits_with(0);
    Asleep { master, worker, clients, takes }
}

fn has_message(master: &Master) -> bool {
    poll::readable(&[master.relay.exit().as_fd()], Some(Duration::ZERO)).unwrap()[0]
}

fn who_drains_for_its_own_reads_nothing() {
    let Asleep { master, worker, mut clients, takes } = asleep(Options::default());
    // Told to drain before it wakes up: what is in the relay is for another one.
    worker.drain_to(&master.relay, Order::to(Whose::Own, &takes));
    worker.kill(Signal::SIGCONT);
    worker.exits_with(0);
    assert!(has_message(&master));
    let heir = master.fork(Options::default(), counter);
    heir.is_ready();
    heir.assign([]);
    for client in &mut clients {
        goes_on(client, &heir);
    }
    assert_eq!(heir.moved(), ASLEEP as u64);
}

fn the_last_one_reads_to_the_end_and_passes_on() {
    let Asleep { master, worker, mut clients, takes } = asleep(Options::default());
    let next = master.next();
    let new = next.fork(Options::default(), counter);
    new.is_ready();
    new.assign([]);
    worker.drain_to(&next.relay, Order { last: true, ..Order::to(Whose::Successor, &takes) });
    master.relay.shut();
    worker.kill(Signal::SIGCONT);
    worker.exits_with(0);
    for client in &mut clients {
        goes_on(client, &new);
        client.say("moves ?");
        assert_eq!(client.counted().0, "2");
    }
    assert_eq!(new.log(), "");
}

fn the_last_one_without_an_heir_closes_politely() {
    let Asleep { master, worker, mut clients, .. } = asleep(Options::default());
    worker.say(&MasterSays::Drain { timeout: crate::support::DEADLINE, heir: None, last: true });
    master.relay.shut();
    worker.kill(Signal::SIGCONT);
    for client in &mut clients {
        assert_eq!(client.hear(), "bye: nobody takes connections of this service at present");
    }
    assert_eq!(worker.moved(), ASLEEP as u64);
    worker.exits_with(0);
}

fn the_last_one_waits_for_the_end_of_its_relay() {
    let (master, old, next, new, takes) = two_generations();
    let late = master.counting(Options::default());
    old.rest();
    old.settle();
    let mut client = talking(&master, &late, 1).remove(0);
    old.drain_to(&next.relay, Order { last: true, ..Order::to(Whose::Successor, &takes) });
    old.settle();
    assert!(old.is_alive(), "somebody may still send");
    late.drain_to(&master.relay, Order::to(Whose::Own, &takes));
    late.exits_with(0);
    wait_for("it has passed", || new.moved() == 1);
    goes_on(&mut client, &new);
    assert_eq!(old.moved(), 1);
    assert!(old.is_alive());
    master.relay.shut();
    old.exits_with(0);
}

fn at_the_final_stop_the_relay_is_emptied_first() {
    let Asleep { master, worker, mut clients, .. } = asleep(Options { max_connections: 1, ..Options::default() });
    worker.finish();
    worker.kill(Signal::SIGCONT);
    worker.expect(&WorkerSays::Emptied);
    assert_eq!(worker.moved(), ASLEEP as u64, "whatever the limit is");
    // Still served, and only now closed.
    for client in &mut clients {
        goes_on(client, &worker);
    }
    master.shut_all();
    master.relay.shut();
    for client in &mut clients {
        assert_eq!(client.hear(), "bye: nobody takes connections of this service at present");
    }
    worker.exits_with(0);
}

fn after_emptied_the_relay_is_read_until_it_is_shut() {
    let master = Master::new();
    let (worker, late) = (master.counting(Options::default()), master.fork(Options::default(), counter));
    let takes = late.is_ready();
    worker.rest();
    worker.settle();
    late.assign([0]);
    let mut client = talking(&master, &late, 1).remove(0);
    worker.finish();
    worker.expect(&WorkerSays::Emptied);
    late.drain_to(&master.relay, Order::to(Whose::Own, &takes));
    late.exits_with(0);
    goes_on(&mut client, &worker);
    master.shut_all();
    worker.settle();
    assert!(client.hears_nothing(), "the relay is open");
    master.relay.shut();
    assert_eq!(client.hear(), "bye: nobody takes connections of this service at present");
    worker.exits_with(0);
}

fn orphans_read_what_is_left_in_their_relay() {
    let Asleep { master, mut worker, mut clients, .. } = asleep(Options::default());
    worker.channel = None;
    worker.kill(Signal::SIGCONT);
    for client in &mut clients {
        assert_eq!(client.hear(), "bye: nobody takes connections of this service at present");
    }
    assert_eq!(worker.moved(), ASLEEP as u64);
    assert!(!has_message(&master));
    worker.exits_with(0);
}

fn orphans_move_to_their_refuge() {
    let before = Master::new();
    let master = before.next();
    let predecessor = before.fork(Options::default(), counter);
    predecessor.is_ready();
    predecessor.assign([]);
    // Forked later: it alone has its channel then, and the channel an end.
    let Asleep { mut worker, mut clients, takes, .. } = asleep_under(master, Options::default());
    let heir = Heir { relay: Whose::Predecessor, takes };
    worker.say_with(&MasterSays::Refuge { heir }, &[before.relay.entry().as_fd()]);
    worker.channel = None;
    worker.kill(Signal::SIGCONT);
    worker.exits_with(0);
    for client in &mut clients {
        goes_on(client, &predecessor);
    }
    assert_eq!(predecessor.moved(), ASLEEP as u64);
}

fn a_refuge_that_is_gone_is_let_go_of() {
    let master = Master::new();
    let worker = master.counting(Options::default());
    // From then on it has its queue registered.
    let _client = talking(&master, &worker, 1);
    let before = worker.descriptors();
    let (gone, there) = (master.next(), master.next());
    let takes = Takes::these([]);
    for refuge in [&there, &gone] {
        let heir = Heir { relay: Whose::Predecessor, takes: takes.clone() };
        worker.say_with(&MasterSays::Refuge { heir }, &[refuge.relay.entry().as_fd()]);
    }
    worker.settle();
    wait_for("it has the last one that it was told of", || worker.descriptors() == before + 2);
    drop(there);
    worker.settle();
    assert_eq!(worker.descriptors(), before + 2);
    drop(gone);
    wait_for("it has none", || worker.descriptors() == before);
}

fn an_orphan_that_was_draining_looks_for_itself() {
    let master = Master::new();
    let mut old = master.fork(Options::default(), counter);
    let takes = old.is_ready();
    master.assign_all(&old);
    let mut clients = talking(&master, &old, 100);
    // Nobody reads, and not all fit.
    master.narrow_relay();
    old.drain_to(&master.relay, Order::to(Whose::Own, &takes));
    wait_for("it has begun", || old.open() < 100);
    old.settle();
    old.channel = None;
    for client in &mut clients {
        assert_eq!(client.hear(), "bye: nobody takes connections of this service at present");
    }
    assert!(old.moved() > 0);
    old.exits_with(0);
}

fn an_orphan_that_moves_to_the_successor_goes_on() {
    let master = Master::new();
    let next = master.next();
    let new = next.fork(Options::default(), counter);
    let takes = new.is_ready();
    let mut old = master.counting(Options::default());
    let mut clients = talking(&master, &old, 100);
    next.narrow_relay();
    old.drain_to(&next.relay, Order { last: true, ..Order::to(Whose::Successor, &takes) });
    wait_for("it has begun", || old.open() < 100);
    old.settle();
    old.channel = None;
    new.assign([]);
    for client in &mut clients {
        client.write("wo\n");
        assert_eq!(client.counted(), ("two".to_owned(), 2, new.pid));
    }
    old.exits_with(0);
}
