//! What cannot move: it is told so if there is anything to be told, and closed politely.

use std::time::Duration;

use crate::support::{Client, Limits, Serves, Worker};

fn two() -> (Worker, Worker) {
    let mut worker = Worker::start();
    let heir = worker.heir();
    (worker, heir)
}

/// The answer says that it is the last one, and it is.
#[track_caller]
fn assert_last(client: &mut Client, status: u16, body: &str) {
    let answer = client.answer();
    assert_eq!((answer.status, answer.body.as_str()), (status, body));
    assert!(answer.closes(), "{}", answer.head);
    assert_eq!(client.rest(), "");
}

/// Has a request held, the worker drained, and the request let go.
fn answered_while_draining(request: &str) -> (Worker, Worker, Client) {
    let (worker, heir) = two();
    let mut client = worker.connect();
    client.send(request);
    let held = worker.gate.wait();
    worker.drain_and_see();
    drop(held);
    (worker, heir, client)
}

#[test]
fn a_client_that_asked_for_the_close() {
    let (mut worker, _heir, mut client) =
        answered_while_draining("GET /hold HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    assert_last(&mut client, 200, "held");
    worker.ends();
}

#[test]
fn a_handler_that_asked_for_the_close() {
    let (mut worker, _heir, mut client) = answered_while_draining("GET /hold-and-close HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_last(&mut client, 200, "held");
    worker.ends();
}

#[test]
fn http_1_0() {
    let (mut worker, _heir, mut client) = answered_while_draining("GET /hold HTTP/1.0\r\n\r\n");
    assert_eq!(client.answer().body, "held");
    assert_eq!(client.rest(), "");
    worker.ends();
}

#[test]
fn http_1_0_with_keep_alive_is_like_any_other() {
    let (mut worker, heir, mut client) =
        answered_while_draining("GET /hold HTTP/1.0\r\nconnection: keep-alive\r\n\r\n");
    let answer = client.answer();
    assert_eq!(answer.body, "held");
    assert!(answer.head.contains("connection: keep-alive"));
    worker.ends();
    assert_eq!(client.get("/who").body, heir.name());
}

#[test]
fn an_answer_that_ends_with_the_connection() {
    // A body of unknown length, to a client that knows no chunks.
    let (mut worker, _heir, mut client) =
        answered_while_draining("GET /drip HTTP/1.0\r\nconnection: keep-alive\r\n\r\n");
    assert!(!client.head().contains("transfer-encoding"));
    assert_eq!(client.rest(), "first last");
    worker.ends();
}

#[test]
fn a_body_that_nobody_reads() {
    for framing in ["content-length: 100000", "transfer-encoding: chunked"] {
        let (mut worker, _heir, mut client) =
            answered_while_draining(&format!("POST /hold-and-drop HTTP/1.1\r\nhost: a\r\n{framing}\r\n\r\n"));
        assert_last(&mut client, 200, "dropped");
        worker.ends();
    }
}

#[test]
fn a_body_that_nobody_reads_and_that_is_here_already_is_no_obstacle() {
    let (mut worker, heir, mut client) = answered_while_draining(
        "POST /hold-and-drop HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
    );
    let answer = client.answer();
    assert_eq!((answer.body.as_str(), answer.closes()), ("dropped", false));
    worker.ends();
    assert_eq!(client.get("/who").body, heir.name());
}

#[test]
fn a_connection_whose_handler_has_panicked() {
    let (mut worker, _heir, mut client) = answered_while_draining("GET /hold-and-panic HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_last(&mut client, 500, "");
    worker.ends();
}

#[test]
fn a_connection_whose_handler_has_panicked_before() {
    let (mut worker, _heir) = two();
    let mut client = worker.connect();
    assert_eq!(client.get("/panic").status, 500);
    worker.drain_and_see();
    client.ask("/late");
    assert_last(&mut client, 200, "/late");
    worker.ends();
}

#[test]
fn more_than_a_message_takes() {
    let mut worker = Worker::serving(Serves::Routes, Limits { max_head: 400_000, ..Limits::default() });
    let _heir = worker.heir();
    let mut client = worker.connect();
    client.send(&format!("GET /late HTTP/1.1\r\nx: {}", "y".repeat(250_000)));
    worker.wait_read(&client);
    worker.drain_and_see();
    client.send("\r\n\r\n");
    assert_last(&mut client, 200, "/late");
    worker.ends();
}

#[test]
fn a_relay_without_room_until_it_is_too_late() {
    let (mut worker, heir) = two();
    // Nobody reads it.
    heir.assign_nothing();
    let mut idle = worker.connect();
    idle.get("/one");
    let mut busy = worker.connect();
    busy.get("/one");
    worker.nest().stuff();
    // Connections give up a quarter before its end.
    worker.drain_within_and_see(Duration::from_secs(2));
    busy.ask("/late");
    assert_last(&mut busy, 200, "/late");
    assert_eq!(idle.rest(), "");
    worker.ends();
}

#[test]
fn a_relay_without_room_for_a_while() {
    let (mut worker, heir) = two();
    heir.assign_nothing();
    let mut client = worker.connect();
    client.get("/one");
    let stuffed = worker.nest().stuff();
    worker.drain_and_see();
    client.ask("/who");
    for _ in 0..stuffed {
        worker.nest().take();
    }
    heir.assign_relay();
    assert_eq!(client.answer().body, heir.name());
    worker.ends();
}
