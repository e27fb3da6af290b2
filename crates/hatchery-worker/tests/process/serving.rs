//! Assigned queues, and nothing but them.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering;

use hatchery_core::wire::worker::{MasterSays, WorkerSays};
use hatchery_core::{ListenMode, QueueId};
use hatchery_worker::{Conn, Peer, Quota, Worker};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::Test;
use crate::support::{Client, DEADLINE, Master, Options, echo, wait_for};

pub(crate) const TESTS: &[Test] = &[
    ("nothing_is_accepted_before_a_queue_is_assigned", nothing_is_accepted_before_a_queue_is_assigned),
    ("a_queue_moves_and_its_connections_stay", a_queue_moves_and_its_connections_stay),
    ("a_queue_that_moves_all_the_time_loses_nobody", a_queue_that_moves_all_the_time_loses_nobody),
    ("more_than_a_burst_is_served", more_than_a_burst_is_served),
    ("every_queue_of_a_reuseport_listener_is_served", every_queue_of_a_reuseport_listener_is_served),
    ("a_queue_that_is_added_later_is_served", a_queue_that_is_added_later_is_served),
    ("a_queue_that_is_none_is_refused", a_queue_that_is_none_is_refused),
    ("who_has_served_enough_asks_to_be_replaced", who_has_served_enough_asks_to_be_replaced),
    ("a_unix_socket_is_served", a_unix_socket_is_served),
    ("at_the_limit_of_connections_clients_wait", at_the_limit_of_connections_clients_wait),
    ("the_board_says_what_goes_on", the_board_says_what_goes_on),
    ("a_panic_costs_its_own_connection", a_panic_costs_its_own_connection),
];

fn nothing_is_accepted_before_a_queue_is_assigned() {
    let master = Master::new();
    let child = master.fork(Options::default(), echo);
    child.is_ready();
    let mut client = master.client();
    client.say("early");
    child.settle();
    assert_eq!(child.accepted(), 0);
    assert!(client.hears_nothing());
    child.assign([0]);
    assert_eq!(client.heard_by(), ("early".to_owned(), child.pid));
}

fn a_queue_moves_and_its_connections_stay() {
    let master = Master::new();
    let (one, other) = (master.serving(Options::default()), master.fork(Options::default(), echo));
    other.is_ready();
    let mut early = master.client();
    assert_eq!(early.echo(), one.pid);

    one.assign([]);
    one.settle();
    let mut late = master.client();
    late.say("late");
    one.settle();
    assert!(late.hears_nothing());
    other.assign([0]);
    assert_eq!(late.heard_by(), ("late".to_owned(), other.pid));
    assert_eq!(early.echo(), one.pid);

    // And back, as when a successor has failed.
    other.assign([]);
    other.settle();
    one.assign([0]);
    assert_eq!(master.client().echo(), one.pid);
    assert_eq!(one.accepted() + other.accepted(), 3);
}

fn a_queue_that_moves_all_the_time_loses_nobody() {
    let master = Master::new();
    let workers = [master.serving(Options::default()), master.serving(Options::default())];
    let mut clients = VecDeque::new();
    for round in 0..1000 {
        let (heir, other) = (&workers[round % 2], &workers[(round + 1) % 2]);
        // As the master does: the heir first, so that the queue always has somebody.
        heir.assign([0]);
        other.assign([]);
        for _ in 0..3 {
            let mut client = master.client();
            client.say("hello");
            clients.push_back(client);
        }
        while clients.len() > 20 {
            let mut client: Client = clients.pop_front().unwrap();
            assert_eq!(client.heard_by().0, "hello");
        }
    }
    for mut client in clients {
        assert_eq!(client.heard_by().0, "hello");
    }
    assert_eq!(workers[0].accepted() + workers[1].accepted(), 3000);
}

fn more_than_a_burst_is_served() {
    let master = Master::new();
    let child = master.fork(Options::default(), echo);
    child.is_ready();
    let mut clients: Vec<Client> = (0..100).map(|_| master.client()).collect();
    child.assign([0]);
    for client in &mut clients {
        assert_eq!(client.echo(), child.pid);
    }
    assert_eq!((child.accepted(), child.open()), (100, 100));
}

fn every_queue_of_a_reuseport_listener_is_served() {
    let master = Master::with(&[(None, "127.0.0.1:0")], ListenMode::Reuseport, 4);
    let child = master.serving(Options::default());
    // The kernel chooses the queue by the client's port.
    let mut clients: Vec<Client> = (0..40).map(|_| master.client()).collect();
    for client in &mut clients {
        assert_eq!(client.echo(), child.pid);
    }
}

fn a_queue_that_is_added_later_is_served() {
    let master = Master::with(&[(None, "127.0.0.1:0")], ListenMode::Reuseport, 1);
    let child = master.serving(Options::default());
    master.client().echo();
    master.add_queues(3);
    let late = master.serving(Options::default());
    late.rest();
    late.settle();
    for index in [1, 2] {
        let id = QueueId { listener: 0, index };
        for child in [&child, &late] {
            // The late one has inherited it, and takes no second.
            child.say_with(&MasterSays::Queue { id }, &[master.queue(id).as_fd()]);
        }
    }
    master.assign_all(&child);
    // The kernel chooses the queue by the client's port.
    for _ in 0..40 {
        assert_eq!(master.client().echo(), child.pid);
    }
    assert_eq!(child.log() + &late.log(), "");
    child.rest();
    child.settle();
    master.assign_all(&late);
    for _ in 0..40 {
        assert_eq!(master.client().echo(), late.pid);
    }
}

fn a_queue_that_is_none_is_refused() {
    let master = Master::with(&[(None, "127.0.0.1:0")], ListenMode::Reuseport, 1);
    let child = master.serving(Options::default());
    let add = |listener, index, fd: BorrowedFd<'_>, reason: &str| {
        let id = QueueId { listener, index };
        child.say_with(&MasterSays::Queue { id }, &[fd]);
        child.settle();
        let line = format!("the master's queue {id} {reason}");
        assert!(child.log().contains(&line), "{} lacks {line}", child.log());
    };
    let (pipe, _other) = std::io::pipe().unwrap();
    let elsewhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let right = master.queue(QueueId { listener: 0, index: 0 });
    add(0, 1, pipe.as_fd(), "is not a socket");
    add(0, 1, elsewhere.as_fd(), "listens on 127.0.0.1:");
    add(0, 2, right.as_fd(), "cannot be used: queue 0.2 comes before those with lower numbers");
    add(1, 0, right.as_fd(), "cannot be used: there is no listener 1");
    assert_eq!(master.client().echo(), child.pid);
}

fn who_has_served_enough_asks_to_be_replaced() {
    let master = Master::new();
    let quota = Some(Quota { requests: 10, jitter: 4 });
    let child = master.fork(Options { quota, ..Options::default() }, async |worker: Worker, _| {
        let counters = worker.counters();
        worker
            .serve(async move |mut conn: Conn| {
                while conn.read_u8().await.is_ok() {
                    counters.request_started();
                    let _ = conn.write_all(b"x").await;
                    counters.request_finished();
                }
            })
            .await
    });
    child.is_ready();
    child.assign([0]);
    let mut client = std::net::TcpStream::connect(master.address(0)).unwrap();
    let mut ask = |times: u64| {
        for _ in 0..times {
            client.write_all(b"x").unwrap();
            client.read_exact(&mut [0]).unwrap();
        }
        child.settle();
    };
    ask(9);
    assert!(!child.has_spoken());
    ask(5);
    child.expect(&WorkerSays::Recycle);
    assert!(!child.has_spoken(), "once");
    // The master has not got round to it.
    ask(14);
    child.expect(&WorkerSays::Recycle);
    child.drain();
    ask(40);
    assert!(!child.has_spoken(), "it knows");
}

fn a_unix_socket_is_served() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let master = Master::with(&[(None, &format!("unix:{}", path.display()))], ListenMode::Shared, 1);
    let child = master.fork(Options::default(), async |worker, _| {
        worker
            .serve(async |conn: Conn| {
                assert_eq!(conn.peer(), Peer::Unix);
                let mut byte = [0];
                assert_eq!(conn.stream().peek(&mut byte).await.unwrap(), 1);
                assert_eq!(conn.stream().try_read(&mut byte).unwrap(), 1);
                assert_eq!(conn.stream().try_write(&byte).unwrap(), 1);
            })
            .await
    });
    child.is_ready();
    child.assign([0]);
    let mut client = UnixStream::connect(&path).unwrap();
    client.set_read_timeout(Some(DEADLINE)).unwrap();
    client.write_all(b"x").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "x", "{}", child.log());
}

fn at_the_limit_of_connections_clients_wait() {
    let master = Master::new();
    let child = master.serving(Options { max_connections: 2, ..Options::default() });
    let (mut first, mut second) = (master.client(), master.client());
    first.echo();
    second.echo();
    let mut third = master.client();
    third.say("third");
    child.settle();
    second.echo();
    assert!(third.hears_nothing());
    assert_eq!(child.open(), 2);

    drop(first);
    assert_eq!(third.heard_by().0, "third");
    assert_eq!((child.accepted(), child.open()), (3, 2));
    // As often as it takes: the limit is left and met again.
    for _ in 0..50 {
        let mut next = master.client();
        next.say("next");
        drop(third);
        assert_eq!(next.heard_by().0, "next");
        third = next;
    }
    assert_eq!(second.echo(), child.pid);
}

fn the_board_says_what_goes_on() {
    let master = Master::new();
    let child = master.serving(Options::default());
    let cell = child.cell();
    assert_eq!(cell.pid.load(Ordering::Relaxed), u64::try_from(child.pid.as_raw()).unwrap());
    let mut client = master.client();
    client.echo();
    assert_eq!((child.accepted(), child.open()), (1, 1));
    drop(client);
    wait_for("the connection is closed", || child.open() == 0);
    wait_for("the loop waits", || cell.turn.load(Ordering::Relaxed).is_multiple_of(2));
    let parked = cell.turn.load(Ordering::Relaxed);
    child.settle();
    assert!(cell.turn.load(Ordering::Relaxed) > parked);
}

fn a_panic_costs_its_own_connection() {
    let master = Master::new();
    let child = master.serving(Options::default());
    let (mut bystander, mut victim) = (master.client(), master.client());
    bystander.echo();
    victim.say("panic");
    assert_eq!(victim.hear(), "");
    assert_eq!(bystander.echo(), child.pid);
    assert_eq!(master.client().echo(), child.pid);
    assert_eq!(child.cell().totals()[hatchery_sys::board::Counter::Panics], 1);
    assert!(child.log().contains("told to panic"), "{}", child.log());
    wait_for("only the bystander is left", || child.open() == 1);
}
