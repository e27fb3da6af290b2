//! What is large, and what never ends, still moves: and not a byte is lost.

use std::io::Write;
use std::thread;

use crate::support::{Client, Limits, Serves, Worker, early};

/// Sends pieces for as long as they are taken, and returns how many were.
fn flood(client: &Client, piece: &'static str, most: usize) -> thread::JoinHandle<usize> {
    let mut stream = client.stream().try_clone().unwrap();
    thread::spawn(move || (0..most).take_while(|_| stream.write_all(piece.as_bytes()).is_ok()).count())
}

/// A client that sends requests without ever waiting for an answer: all are answered, in order, by one after the other.
fn pipeline(request: &'static str, body: &str) {
    const MOST: usize = 100_000;
    let mut worker = Worker::start();
    let heir = worker.heir();
    let mut client = worker.connect();
    let flood = flood(&client, request, MOST);
    for _ in 0..100 {
        assert_eq!(client.answer().body, body);
    }
    worker.drain();
    let mut answered = 100;
    // The worker ends in the middle of it.
    while !worker.has_ended() {
        let answer = client.answer();
        assert_eq!((answer.body.as_str(), answer.closes()), (body, false));
        answered += 1;
    }
    assert!(answered < MOST, "nothing was left for the heir");
    client.shut();
    let sent = flood.join().unwrap();
    while answered < sent {
        let answer = client.answer();
        assert_eq!((answer.body.as_str(), answer.closes()), (body, false));
        answered += 1;
    }
    drop(heir);
}

#[test]
fn requests_without_end() {
    pipeline("GET /one HTTP/1.1\r\nhost: a\r\n\r\n", "/one");
}

#[test]
fn requests_with_bodies_without_end() {
    pipeline(
        "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 26\r\n\r\nabcdefghijklmnopqrstuvwxyz",
        "abcdefghijklmnopqrstuvwxyz",
    );
}

/// An answer that begins and ends before the request does, to a client that reads slowly.
fn early_answer(worker: &mut Worker) -> Client {
    let mut client = worker.connect();
    client.send("POST /early HTTP/1.1\r\nhost: a\r\ncontent-length: 8\r\n\r\nhalf");
    assert!(!client.head().contains("connection: close"));
    worker.drain_and_see();
    client.send("rest");
    // The request has been read to its end, and most of the answer is still with hyper.
    drop(worker.gate.wait());
    assert_eq!(client.bytes(16 << 20), early());
    worker.ends();
    client
}

#[test]
fn an_early_answer_is_written_to_its_end_before_the_connection_moves() {
    let mut worker = Worker::start();
    let heir = worker.heir();
    let mut client = early_answer(&mut worker);
    let answer = client.get("/who");
    assert_eq!((answer.body, answer.head.contains("connection: close")), (heir.name(), false));
}

#[test]
fn an_early_answer_is_written_to_its_end_before_the_connection_is_closed() {
    let mut worker = Worker::start();
    let mut client = early_answer(&mut worker);
    assert_eq!(client.rest(), "");
}

#[test]
fn a_large_answer_to_a_slow_reader() {
    let mut worker = Worker::start();
    let heir = worker.heir();
    let mut client = worker.connect();
    client.ask("/large");
    client.head();
    worker.drain_and_see();
    assert!(client.bytes(32 << 20).iter().all(|byte| *byte == b'x'));
    worker.ends();
    assert_eq!(client.get("/who").body, heir.name());
}

#[test]
fn half_a_head_as_large_as_a_message_takes() {
    let mut worker = Worker::serving(Serves::Routes, Limits { max_head: 400_000, ..Limits::default() });
    let heir = worker.heir();
    let mut client = worker.connect();
    client.send(&format!("GET /late HTTP/1.1\r\nx: {}", "y".repeat(150_000)));
    worker.wait_read(&client);
    worker.drain();
    worker.ends();
    client.send("\r\n\r\n");
    let answer = client.answer();
    assert_eq!((answer.body.as_str(), answer.closes()), ("/late", false));
    assert_eq!(client.get("/who").body, heir.name());
}
