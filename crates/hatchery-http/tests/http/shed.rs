//! A worker that serves on and hands over some of its idle connections.

use crate::support::{Client, Worker};

/// How many of these are answered by a worker; nobody is told to go.
fn answered_by(clients: &mut [Client], worker: &Worker) -> usize {
    let name = worker.name();
    let answers = clients.iter_mut().map(|client| client.get("/who"));
    answers.inspect(|answer| assert!(!answer.closes(), "{}", answer.head)).filter(|answer| answer.body == name).count()
}

#[test]
fn as_many_idle_connections_go_as_were_asked_for() {
    let mut worker = Worker::start();
    let heir = worker.heir();
    let mut clients: Vec<_> = (0..10).map(|_| worker.connect()).collect();
    assert_eq!(answered_by(&mut clients, &worker), 10);
    worker.shed(4);
    heir.wait_owns(&clients, 4);
    assert_eq!((answered_by(&mut clients, &worker), answered_by(&mut clients, &heir)), (6, 4));
    // It serves on.
    assert_eq!(worker.connect().get("/who").body, worker.name());
}

#[test]
fn connections_that_wait_without_buffers_go_first() {
    let mut worker = Worker::start();
    let heir = worker.heir();
    let mut long: Vec<_> = (0..300).map(|_| worker.connect()).collect();
    // More than may be active: most of them are parked.
    assert_eq!(answered_by(&mut long, &worker), 300);
    worker.shed(300);
    heir.wait_owns(&long, 300);
    assert_eq!(answered_by(&mut long, &heir), 300);
}

#[test]
fn what_is_not_idle_stays() {
    let mut worker = Worker::start();
    let heir = worker.heir();
    let mut idle = worker.connect();
    idle.get("/one");
    let mut fresh = worker.connect_accepted();
    let mut half = worker.connect();
    half.get("/one");
    half.send("GET /who HT");
    worker.wait_read(&half);
    // What has come with the last request has been read with it.
    let mut behind = worker.connect();
    behind.send("GET /one HTTP/1.1\r\nhost: a\r\n\r\nGET /who HT");
    behind.answer();
    let mut busy = worker.connect();
    busy.ask("/hold");
    let held = worker.gate.wait();
    worker.shed(5);
    heir.wait_owns([&idle, &fresh, &half, &behind, &busy], 1);
    drop(held);
    behind.send("TP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(behind.answer().body, worker.name());
    assert_eq!(busy.answer().body, "held");
    half.send("TP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(half.answer().body, worker.name());
    assert_eq!(fresh.get("/who").body, worker.name());
    assert_eq!(idle.get("/who").body, heir.name());
}

#[test]
fn without_room_nothing_changes() {
    let mut worker = Worker::start();
    let heir = worker.heir();
    heir.assign_nothing();
    let mut client = worker.connect();
    client.get("/one");
    worker.nest().stuff();
    worker.shed(1);
    for _ in 0..10 {
        assert_eq!(client.get("/who").body, worker.name());
    }
}
