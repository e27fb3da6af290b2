//! No client can take for ever, whatever it does slowly.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use crate::support::{Client, Limits, PATIENCE, Worker};

/// Sends a byte whenever nothing comes back, and returns what came in the end.
fn drip(client: &Client, byte: &str) -> String {
    let mut stream = client.stream();
    stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let mut answer = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        let mut buffer = [0; 1024];
        match stream.read(&mut buffer) {
            Ok(0) => return String::from_utf8(answer).unwrap(),
            Ok(n) => answer.extend_from_slice(&buffer[..n]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                let _closed = stream.write(byte.as_bytes());
            }
            Err(_) => return String::from_utf8(answer).unwrap(),
        }
    }
    panic!("nobody stopped the client");
}

#[test]
fn a_head_is_not_extended_by_more_bytes() {
    let worker = Worker::with_limits(Limits { head: 200, ..Limits::default() });
    let mut client = worker.connect();
    client.send("GET / HTTP/1.1\r\nx: ");
    assert!(drip(&client, "y").starts_with("HTTP/1.1 408 "));
}

#[test]
fn a_later_head_is_bounded_too() {
    let worker = Worker::with_limits(Limits { head: 200, ..Limits::default() });
    let mut client = worker.connect();
    client.get("/one");
    client.send("GET / HTTP/1.1\r\nx: ");
    assert!(drip(&client, "y").starts_with("HTTP/1.1 408 "));
}

#[test]
fn a_client_that_says_nothing_is_closed() {
    let worker = Worker::with_limits(Limits { head: 200, ..Limits::default() });
    assert_eq!(worker.connect().rest(), "");
}

#[test]
fn a_preface_that_never_ends_is_closed() {
    let worker = Worker::with_limits(Limits { head: 200, ..Limits::default() });
    let mut client = worker.connect();
    client.send("PRI * HTTP/2.0\r\n");
    client.rest();
}

#[test]
fn http2_without_a_request_is_closed() {
    let worker = Worker::with_limits(Limits { head: 200, ..Limits::default() });
    let client = worker.connect();
    let mut stream = client.stream();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").unwrap();
    let mut frames = Vec::new();
    stream.read_to_end(&mut frames).unwrap();
}

#[test]
fn a_body_without_progress_ends_the_connection() {
    let worker = Worker::with_limits(Limits { body: 200, ..Limits::default() });
    let mut client = worker.connect();
    client.send("POST /hold HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhalf");
    // The handler does not ask for the body: that is not the client's fault.
    drop(worker.gate.wait());
    assert_eq!(client.answer().body, "held");

    let mut client = worker.connect();
    client.send("POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhalf");
    assert!(client.head().contains("200"));
    assert_eq!(client.rest(), "half");
}

#[test]
fn a_handler_may_take_its_time_whatever_the_limits() {
    let worker = Worker::with_limits(Limits { head: 100, body: 100, send: 100, idle: 100, ..Limits::default() });
    let mut client = worker.connect();
    client.send("POST /hold HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nbody");
    let held = worker.gate.wait();
    // Outlived by connections that are limited.
    for _ in 0..5 {
        assert_eq!(worker.connect().rest(), "");
    }
    drop(held);
    assert_eq!(client.answer().body, "held");
}

#[test]
fn an_answer_that_is_not_read_ends_the_connection() {
    let worker = Worker::with_limits(Limits { send: 200, ..Limits::default() });
    let mut client = worker.connect();
    client.ask("/large");
    client.head();
    // Not reading on: the worker gives up, which shows as an end that comes too early.
    worker.wait_closed(&client);
    assert!(client.rest_or_reset() < 32 << 20);
}

#[test]
fn an_idle_connection_is_closed() {
    let worker = Worker::with_limits(Limits { idle: 200, ..Limits::default() });
    let mut client = worker.connect();
    client.get("/one");
    assert_eq!(client.rest(), "");
}
