//! With an heir no connection is closed at a drain: one test a state that a connection can be in.
//!
//! The same states as in `drain`, where there is no heir. That a worker has
//! ended while the client's socket is open says that the connection is elsewhere.

use crate::support::{Client, Worker};

/// A worker that is to drain, and the one that its connections move to.
fn two() -> (Worker, Worker) {
    let mut worker = Worker::start();
    let heir = worker.heir();
    (worker, heir)
}

/// The next answer: as asked for, and no goodbye.
#[track_caller]
fn assert_answer(client: &mut Client, body: &str) {
    let answer = client.answer();
    assert_eq!((answer.status, answer.body.as_str()), (200, body));
    assert!(!answer.closes(), "{}", answer.head);
}

/// The connection lives, and it is the heir that answers.
#[track_caller]
fn assert_moved(client: &mut Client, heir: &Worker) {
    client.ask("/who");
    assert_answer(client, &heir.name());
}

#[test]
fn idle() {
    let (mut worker, heir) = two();
    let mut client = worker.connect();
    client.get("/one");
    worker.drain();
    worker.ends();
    assert_moved(&mut client, &heir);
}

#[test]
fn idle_with_a_request_unread_in_the_kernel() {
    let (mut worker, heir) = two();
    let mut client = worker.connect();
    client.get("/one");
    let mut blocker = worker.connect();
    blocker.ask("/block");
    let blocked = worker.gate.wait();
    client.ask("/late");
    worker.drain();
    drop(blocked);
    // Whether the loop sees the order or the request first is up to the kernel.
    assert_answer(&mut client, "/late");
    assert_answer(&mut blocker, "blocked");
    worker.ends();
    assert_moved(&mut client, &heir);
    assert_moved(&mut blocker, &heir);
}

#[test]
fn idle_with_half_a_head_read() {
    let (mut worker, heir) = two();
    let mut client = worker.connect();
    client.get("/one");
    client.send("GET /late HT");
    worker.wait_read(&client);
    worker.drain();
    worker.ends();
    client.send("TP/1.1\r\nhost: a\r\n\r\n");
    assert_answer(&mut client, "/late");
    assert_moved(&mut client, &heir);
}

#[test]
fn idle_with_half_a_head_behind_the_last_request() {
    let (mut worker, heir) = two();
    let mut client = worker.connect();
    client.send("GET /one HTTP/1.1\r\nhost: a\r\n\r\nGET /late HT");
    assert_answer(&mut client, "/one");
    worker.drain();
    worker.ends();
    client.send("TP/1.1\r\nhost: a\r\n\r\n");
    assert_answer(&mut client, "/late");
    assert_moved(&mut client, &heir);
}

#[test]
fn parked_with_half_a_head_read() {
    let (mut worker, heir) = two();
    // More than may be active: all of them are parked with the beginning of a request in hand.
    let mut clients: Vec<_> = (0..400).map(|_| worker.connect()).collect();
    for client in &mut clients {
        client.send("GET /one HTTP/1.1\r\nhost: a\r\n\r\nGET /late HT");
        assert_answer(client, "/one");
    }
    worker.drain();
    worker.ends();
    for client in &mut clients {
        client.send("TP/1.1\r\nhost: a\r\n\r\n");
        assert_answer(client, "/late");
        assert_moved(client, &heir);
    }
}

#[test]
fn fresh() {
    let (mut worker, heir) = two();
    let mut client = worker.connect_accepted();
    worker.drain();
    worker.ends();
    assert_moved(&mut client, &heir);
}

#[test]
fn fresh_with_a_request_unread_in_the_kernel() {
    let (mut worker, heir) = two();
    let mut client = worker.connect_accepted();
    let mut blocker = worker.connect();
    blocker.ask("/block");
    let blocked = worker.gate.wait();
    client.ask("/late");
    worker.drain();
    drop(blocked);
    // Whether the loop sees the order or the request first is up to the kernel.
    assert_answer(&mut client, "/late");
    worker.ends();
    assert_moved(&mut client, &heir);
}

#[test]
fn fresh_with_half_a_head_read() {
    let (mut worker, heir) = two();
    let mut client = worker.connect();
    client.send("GET /late HT");
    worker.wait_read(&client);
    worker.drain();
    worker.ends();
    client.send("TP/1.1\r\nhost: a\r\n\r\n");
    assert_answer(&mut client, "/late");
    assert_moved(&mut client, &heir);
}

#[test]
fn in_flight_before_the_head() {
    let (mut worker, heir) = two();
    let mut client = worker.connect();
    client.ask("/hold");
    let held = worker.gate.wait();
    worker.drain_and_see();
    drop(held);
    assert_answer(&mut client, "held");
    worker.ends();
    assert_moved(&mut client, &heir);
}

#[test]
fn in_flight_with_its_body_still_to_come() {
    for framing in ["content-length: 8\r\n\r\nhalf", "transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n"] {
        let (mut worker, heir) = two();
        let mut client = worker.connect();
        client.send(&format!("POST /echo HTTP/1.1\r\nhost: a\r\n{framing}"));
        worker.wait_read(&client);
        worker.drain_and_see();
        client.send(if framing.contains("chunked") { "4\r\nrest\r\n0\r\n\r\n" } else { "rest" });
        assert_answer(&mut client, "halfrest");
        worker.ends();
        assert_moved(&mut client, &heir);
    }
}

#[test]
fn in_flight_before_the_head_with_its_body_still_to_come() {
    let (mut worker, heir) = two();
    let mut client = worker.connect();
    // The handler asks for the body when it is let go, long after the drain has begun.
    client.send("POST /hold-and-echo HTTP/1.1\r\nhost: a\r\ncontent-length: 8\r\n\r\nhalf");
    let held = worker.gate.wait();
    worker.drain_and_see();
    drop(held);
    assert!(!client.head().contains("connection: close"));
    client.send("rest");
    assert_eq!(client.bytes(8), b"halfrest");
    worker.ends();
    assert_moved(&mut client, &heir);
}

#[test]
fn in_flight_with_the_rest_of_its_body_and_a_request_in_one_piece() {
    let (mut worker, heir) = two();
    let mut client = worker.connect();
    client.send("POST /hold-and-echo HTTP/1.1\r\nhost: a\r\ncontent-length: 8\r\n\r\nhalf");
    let held = worker.gate.wait();
    worker.drain_and_see();
    client.send("restGET /who HTTP/1.1\r\nhost: a\r\n\r\n");
    drop(held);
    assert_answer(&mut client, "halfrest");
    // Not a byte of it was read by who answers the one before.
    assert_answer(&mut client, &heir.name());
    worker.ends();
}

#[test]
fn in_flight_with_its_head_written() {
    let (mut worker, heir) = two();
    let mut client = worker.connect();
    client.ask("/drip");
    client.head();
    assert_eq!(client.chunk(), "first ");
    let held = worker.gate.wait();
    worker.drain_and_see();
    drop(held);
    assert_eq!(client.chunks(), "last");
    worker.ends();
    assert_moved(&mut client, &heir);
}

#[test]
fn in_flight_with_its_head_written_and_requests_behind() {
    let (mut worker, heir) = two();
    let mut client = worker.connect();
    client.send(
        "GET /drip HTTP/1.1\r\nhost: a\r\n\r\nGET /one HTTP/1.1\r\nhost: a\r\n\r\nGET /two HTTP/1.1\r\nhost: a\r\n\r\n",
    );
    client.head();
    assert_eq!(client.chunk(), "first ");
    let held = worker.gate.wait();
    // And one more that stays in the kernel, for the heir.
    client.ask("/who");
    worker.drain_and_see();
    drop(held);
    assert_eq!(client.chunks(), "last");
    assert_answer(&mut client, "/one");
    assert_answer(&mut client, "/two");
    assert_answer(&mut client, &heir.name());
    worker.ends();
}

#[test]
fn in_flight_before_the_head_with_requests_behind() {
    let (mut worker, heir) = two();
    let mut client = worker.connect();
    client.send("GET /hold HTTP/1.1\r\nhost: a\r\n\r\nGET /one HTTP/1.1\r\nhost: a\r\n\r\nGET /wh");
    let held = worker.gate.wait();
    worker.drain_and_see();
    client.send("o HTTP/1.1\r\nhost: a\r\n\r\nGET /two HTTP/1.1\r\nhost: a\r\n\r\n");
    drop(held);
    assert_answer(&mut client, "held");
    assert_answer(&mut client, "/one");
    assert_answer(&mut client, &heir.name());
    assert_answer(&mut client, "/two");
    worker.ends();
}

#[test]
fn still_detecting_http1() {
    let (mut worker, heir) = two();
    let mut client = worker.connect();
    client.send("P");
    worker.wait_read(&client);
    worker.drain();
    worker.ends();
    client.send("OST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi");
    assert_answer(&mut client, "hi");
    assert_moved(&mut client, &heir);
}

#[test]
fn still_detecting_http2() {
    let (mut worker, _heir) = two();
    let mut client = worker.connect();
    client.send("PRI * HTTP/2.0\r\n");
    worker.wait_read(&client);
    worker.drain();
    worker.ends();
    client.send("\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
    // The heir's SETTINGS.
    assert_eq!(client.frame().unwrap().kind, 4);
}

#[test]
fn a_client_that_has_closed_its_side_is_answered_before_that() {
    let (mut worker, _heir) = two();
    let mut client = worker.connect();
    client.ask("/hold");
    let held = worker.gate.wait();
    client.shut();
    worker.drain_and_see();
    drop(held);
    assert_answer(&mut client, "held");
    assert_eq!(client.rest(), "");
    worker.ends();
}
