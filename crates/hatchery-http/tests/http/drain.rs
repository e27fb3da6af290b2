//! At a drain no request is lost that a client has already sent: one test a state that a connection can be in.

use crate::support::{Answer, Client, Worker};

/// The answer is there, and the worker has closed behind it.
fn assert_answered(client: &mut Client, body: &str) -> Answer {
    let answer = client.answer();
    assert_eq!((answer.status, answer.body.as_str()), (200, body));
    assert_eq!(client.rest(), "");
    answer
}

/// And the client was told that it was the last one.
fn assert_last(client: &mut Client, body: &str) {
    let answer = assert_answered(client, body);
    assert!(answer.closes(), "{}", answer.head);
}

#[test]
fn idle() {
    let mut worker = Worker::start();
    let mut client = worker.connect();
    assert!(!client.get("/one").closes());
    worker.drain();
    assert_eq!(client.rest(), "");
    worker.ends();
}

#[test]
fn idle_and_asking_again_a_moment_later() {
    let mut worker = Worker::start();
    let mut client = worker.connect();
    client.get("/one");
    worker.drain_and_see();
    client.ask("/late");
    assert_last(&mut client, "/late");
    worker.ends();
}

#[test]
fn idle_with_a_request_unread_in_the_kernel() {
    let mut worker = Worker::start();
    let mut client = worker.connect();
    client.get("/one");
    let mut blocker = worker.connect();
    blocker.ask("/block");
    let blocked = worker.gate.wait();
    client.ask("/late");
    worker.drain();
    drop(blocked);
    // Whether the loop sees the order or the request first is up to the kernel.
    assert_answered(&mut client, "/late");
    assert_eq!(blocker.answer().body, "blocked");
    worker.ends();
}

#[test]
fn idle_with_half_a_head_read() {
    let mut worker = Worker::start();
    let mut client = worker.connect();
    client.get("/one");
    client.send("GET /late HT");
    worker.wait_read(&client);
    worker.drain_and_see();
    client.send("TP/1.1\r\nhost: a\r\n\r\n");
    assert_last(&mut client, "/late");
    worker.ends();
}

#[test]
fn fresh_with_a_request_unread_in_the_kernel() {
    let mut worker = Worker::start();
    let mut client = worker.connect_accepted();
    let mut blocker = worker.connect();
    blocker.ask("/block");
    let blocked = worker.gate.wait();
    client.ask("/late");
    worker.drain();
    drop(blocked);
    // Whether the loop sees the order or the request first is up to the kernel.
    assert_answered(&mut client, "/late");
    worker.ends();
}

#[test]
fn fresh_with_a_request_on_its_way() {
    let mut worker = Worker::start();
    let mut client = worker.connect_accepted();
    worker.drain_and_see();
    client.ask("/late");
    assert_last(&mut client, "/late");
    worker.ends();
}

#[test]
fn fresh_with_half_a_head_read() {
    let mut worker = Worker::start();
    let mut client = worker.connect();
    client.send("GET /late HT");
    worker.wait_read(&client);
    worker.drain_and_see();
    client.send("TP/1.1\r\nhost: a\r\n\r\n");
    assert_last(&mut client, "/late");
    worker.ends();
}

#[test]
fn half_a_head_does_not_hold_a_drain_up() {
    let mut worker = Worker::start();
    let mut client = worker.connect();
    client.send("GET /late HT");
    worker.wait_read(&client);
    let mut silent = worker.connect_accepted();
    worker.drain();
    let answer = client.answer();
    assert_eq!(answer.status, 408);
    assert!(answer.closes());
    assert_eq!(client.rest(), "");
    assert_eq!(silent.rest(), "");
    worker.ends();
}

#[test]
fn in_flight_before_the_head() {
    let mut worker = Worker::start();
    let mut client = worker.connect();
    client.ask("/hold");
    let held = worker.gate.wait();
    worker.drain_and_see();
    drop(held);
    assert_last(&mut client, "held");
    worker.ends();
}

#[test]
fn in_flight_with_its_body_still_to_come() {
    let mut worker = Worker::start();
    let mut client = worker.connect();
    client.send("POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 8\r\n\r\nhalf");
    worker.wait_read(&client);
    worker.drain_and_see();
    client.send("rest");
    let answer = client.answer();
    assert_eq!(answer.body, "halfrest");
    assert_eq!(client.rest(), "");
    worker.ends();
}

#[test]
fn in_flight_with_its_head_written_and_requests_behind() {
    let mut worker = Worker::start();
    let mut client = worker.connect();
    client.send(
        "GET /drip HTTP/1.1\r\nhost: a\r\n\r\nGET /one HTTP/1.1\r\nhost: a\r\n\r\nGET /two HTTP/1.1\r\nhost: a\r\n\r\n",
    );
    client.head();
    assert_eq!(client.chunk(), "first ");
    let held = worker.gate.wait();
    worker.drain_and_see();
    drop(held);
    assert_eq!(client.chunks(), "last");
    let one = client.answer();
    assert_eq!(one.body, "/one");
    assert!(!one.closes(), "the client was told to go while its next request was already here");
    assert_last(&mut client, "/two");
    worker.ends();
}

#[test]
fn in_flight_before_the_head_with_requests_behind() {
    let mut worker = Worker::start();
    let mut client = worker.connect();
    client.send("GET /hold HTTP/1.1\r\nhost: a\r\n\r\nGET /one HTTP/1.1\r\nhost: a\r\n\r\n");
    let held = worker.gate.wait();
    // And one more that stays in the kernel: nobody reads while a handler works.
    client.ask("/two");
    worker.drain_and_see();
    drop(held);
    let Answer { body, head, .. } = client.answer();
    assert_eq!(body, "held");
    assert!(!head.contains("connection: close"));
    let one = client.answer();
    assert_eq!(one.body, "/one");
    assert!(!one.closes());
    assert_last(&mut client, "/two");
    worker.ends();
}

#[test]
fn still_detecting_http1() {
    let mut worker = Worker::start();
    let mut client = worker.connect();
    client.send("P");
    worker.wait_read(&client);
    worker.drain_and_see();
    client.send("OST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi");
    assert_last(&mut client, "hi");
    worker.ends();
}

#[test]
fn still_detecting_for_ever() {
    let mut worker = Worker::start();
    let mut client = worker.connect();
    client.send("PRI * HTTP/2.0\r\n");
    worker.wait_read(&client);
    worker.drain();
    client.rest();
    worker.ends();
}
