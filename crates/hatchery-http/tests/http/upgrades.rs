//! Connections that a handler takes over.

use std::time::Duration;

use crate::support::{Client, Limits, PATIENCE, Serves, Worker};

const ASK: &str = "GET /upgrade HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";
const ASK_THE_DEAF: &str = "GET /upgrade-deaf HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";

fn upgraded(client: &mut Client) {
    let head = client.head().to_lowercase();
    assert!(head.starts_with("http/1.1 101 ") && head.contains("connection: upgrade\r\n"), "{head}");
    assert!(!head.contains("close"), "{head}");
}

fn echoes(client: &mut Client, text: &str) {
    client.send(text);
    assert_eq!(client.bytes(text.len()), text.as_bytes());
}

fn upgrade(worker: &Worker, ask: &str) -> Client {
    let mut client = worker.connect();
    client.send(ask);
    upgraded(&mut client);
    client
}

#[test]
fn a_first_request_with_bytes_behind_it() {
    let worker = Worker::start();
    let mut client = worker.connect();
    client.send(&format!("{ASK}early"));
    upgraded(&mut client);
    assert_eq!(client.bytes(5), b"early");
    echoes(&mut client, "and more");
}

#[test]
fn a_head_in_many_pieces() {
    let worker = Worker::start();
    let mut client = worker.connect();
    for byte in ASK.as_bytes() {
        client.send_bytes(&[*byte]);
    }
    upgraded(&mut client);
    echoes(&mut client, "hello");
}

#[test]
fn a_later_request_of_a_connection() {
    let worker = Worker::start();
    let mut client = worker.connect();
    assert_eq!(client.get("/one").body, "/one");
    assert_eq!(client.get("/two").body, "/two");
    client.send(ASK);
    upgraded(&mut client);
    echoes(&mut client, "hello");
}

#[test]
fn a_request_behind_one_whose_answer_is_large() {
    let worker = Worker::start();
    let mut client = worker.connect();
    client.send(&format!("GET /large HTTP/1.1\r\nhost: a\r\n\r\n{ASK}early"));
    assert_eq!(client.answer().body.len(), 32 << 20);
    upgraded(&mut client);
    assert_eq!(client.bytes(5), b"early");
}

#[test]
fn one_that_is_not_granted_is_answered_and_closed() {
    let worker = Worker::start();
    let mut client = worker.connect();
    client.send("GET /who HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n");
    let answer = client.answer();
    assert_eq!((answer.status, answer.body.as_str(), answer.closes()), (200, "0", true));
    assert_eq!(client.rest(), "");
    let mut proxied = worker.connect();
    proxied.send("CONNECT example.com:443 HTTP/1.1\r\nhost: example.com:443\r\n\r\nhello");
    let head = proxied.head();
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let mut panicking = worker.connect();
    panicking.send("GET /panic HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n");
    let answer = panicking.answer();
    assert_eq!((answer.status, answer.closes()), (500, true));
}

#[test]
fn one_with_a_body_is_a_request_like_others() {
    let worker = Worker::start();
    let mut client = worker.connect();
    client
        .send("POST /echo HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: echo\r\ncontent-length: 5\r\n\r\nhe");
    worker.wait_read(&client);
    client.send("llo");
    let answer = client.answer();
    assert_eq!((answer.body.as_str(), answer.closes()), ("hello", false));
    assert_eq!(client.get("/more").body, "/more");
}

#[test]
fn a_quiet_one_outlives_all_limits() {
    let short = 100;
    let worker =
        Worker::with_limits(Limits { head: short, body: short, send: short, idle: short, ..Limits::default() });
    let mut quiet = upgrade(&worker, ASK);
    for _ in 0..5 {
        // Each of these is closed for saying nothing.
        assert_eq!(worker.connect().rest(), "");
    }
    echoes(&mut quiet, "still here");
}

#[test]
fn a_drain_is_told_and_ends_with_the_last_one() {
    let mut worker = Worker::start();
    let mut clients = [(); 3].map(|()| upgrade(&worker, ASK));
    worker.drain();
    for client in &mut clients {
        assert_eq!(client.rest(), "bye");
    }
    drop(clients);
    assert_eq!(worker.wait().code(), Some(0));
}

#[test]
fn who_does_not_hear_of_a_drain_is_shut_before_its_end() {
    let mut worker = Worker::start();
    let mut deaf = upgrade(&worker, ASK_THE_DEAF);
    worker.drain_within_and_see(Duration::from_secs(4));
    echoes(&mut deaf, "what?");
    assert_eq!(deaf.rest(), "");
    assert_eq!(worker.wait().code(), Some(0));
}

#[test]
fn one_that_is_asked_for_while_the_worker_drains_moves_first() {
    let mut worker = Worker::start();
    let heir = worker.heir();
    let mut client = worker.connect();
    client.ask("/hold");
    let held = worker.gate.wait();
    client.send(ASK);
    worker.drain_and_see();
    drop(held);
    assert_eq!(client.answer().body, "held");
    upgraded(&mut client);
    assert_eq!(worker.wait().code(), Some(0));
    echoes(&mut client, "hello");
    drop(heir);
}

#[test]
fn an_upgrade_to_http2_is_declined_and_the_connection_moves_on() {
    let mut worker = Worker::serving(Serves::Routes, Limits::default());
    let heir = worker.heir();
    let mut client = worker.connect();
    client.send("GET /who HTTP/1.1\r\nhost: a\r\nconnection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n\r\n");
    let answer = client.answer();
    assert_eq!((answer.status, answer.closes()), (200, false));
    assert_eq!(answer.body, worker.name());
    worker.drain_within_and_see(PATIENCE);
    assert_eq!(client.get("/who").body, heir.name());
}
