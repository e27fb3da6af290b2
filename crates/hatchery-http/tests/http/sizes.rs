//! Bodies that are too long, or come too slowly.

use std::time::{Duration, Instant};

use crate::support::{Limits, PATIENCE, Worker};

const CHUNKED: &str = "host: a\r\ntransfer-encoding: chunked\r\n\r\n";

fn with_most(max_body: u64) -> Worker {
    Worker::with_limits(Limits { max_body, ..Limits::default() })
}

#[test]
fn a_length_that_is_too_long_is_refused_before_the_body() {
    let worker = with_most(1000);
    let mut client = worker.connect();
    client.send("POST /panic HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 1001\r\n\r\n");
    let answer = client.answer();
    assert_eq!((answer.status, answer.closes()), (413, true));
    assert_eq!(client.rest(), "");
}

#[test]
fn a_body_as_long_as_it_may_be_is_read_and_others_follow() {
    let worker = with_most(1000);
    let mut client = worker.connect();
    for _ in 0..2 {
        let body = "x".repeat(1000);
        client.send(&format!("POST /read HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\n{body}"));
        assert_eq!(client.answer().body, "1000");
        client.send(&format!("POST /read HTTP/1.1\r\n{CHUNKED}"));
        for _ in 0..9 {
            client.send(&format!("64\r\n{}\r\n", "x".repeat(100)));
        }
        client.send("0\r\n\r\n");
        assert_eq!(client.answer().body, "900");
    }
    // What comes behind a body is none of it.
    for _ in 0..100 {
        assert_eq!(client.get(&format!("/{}", "y".repeat(100))).status, 200);
    }
}

#[test]
fn one_that_does_not_say_how_long_it_is_is_cut_off() {
    let worker = with_most(1000);
    let mut client = worker.connect();
    client.send(&format!("POST /read HTTP/1.1\r\n{CHUNKED}"));
    worker.wait_read(&client);
    client.send(&format!("{}0\r\n\r\n", format!("64\r\n{}\r\n", "x".repeat(100)).repeat(40)));
    let answer = client.answer();
    assert_eq!((answer.status, answer.body.as_str(), answer.closes()), (413, "", true));
    assert_eq!(client.rest(), "");
}

#[test]
fn without_a_limit_there_is_none() {
    let worker = with_most(0);
    let mut client = worker.connect();
    client.send("POST /read HTTP/1.1\r\nhost: a\r\ncontent-length: 3000000\r\n\r\n");
    client.send(&"x".repeat(3_000_000));
    assert_eq!(client.answer().body, "3000000");
    client.send(&format!("POST /read HTTP/1.1\r\n{CHUNKED}"));
    for _ in 0..30 {
        client.send(&format!("186a0\r\n{}\r\n", "x".repeat(100_000)));
    }
    client.send("0\r\n\r\n");
    assert_eq!(client.answer().body, "3000000");
}

/// A chunked body of one chunk, that is as long with its framing; at most 4 digits.
fn framed(most: usize) -> String {
    let chunk = most - "1000\r\n\r\n0\r\n\r\n".len();
    format!("{chunk:04x}\r\n{}\r\n0\r\n\r\n", "x".repeat(chunk))
}

#[test]
fn a_length_is_looked_at_where_the_whole_body_comes_with_its_head() {
    for most in [1, 100, 1000, 1024, 4096, 8192, 20_000] {
        let worker = with_most(most);
        let mut client = worker.connect();
        let post = |path: &str, length: u64| {
            let body = "x".repeat(usize::try_from(length).unwrap());
            format!("POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n{body}")
        };
        for _ in 0..2 {
            client.send(&post("/read", most));
            assert_eq!(client.answer().body, most.to_string());
        }
        for more in [1, 2000] {
            let mut client = worker.connect();
            client.send(&post("/panic", most + more));
            assert_eq!(client.answer().status, 413, "{more} more than {most}");
        }
    }
}

#[test]
fn what_comes_with_the_head_is_counted_where_no_length_is_said() {
    for most in [100_u16, 1000, 1024, 4096, 8192, 20_000] {
        let (worker, most) = (with_most(most.into()), usize::from(most));
        let post = |most| format!("POST /read HTTP/1.1\r\n{CHUNKED}{}", framed(most));
        let mut client = worker.connect();
        for _ in 0..2 {
            client.send(&post(most));
            assert_eq!(client.answer().body, (most - 13).to_string());
            assert_eq!(client.get("/").status, 200);
        }
        for more in [1, 4097] {
            let mut client = worker.connect();
            client.send(&post(most + more));
            assert_eq!(client.answer().status, 413, "{more} more than {most}");
        }
    }
}

#[test]
fn requests_behind_a_chunked_body_are_none_of_it() {
    let worker = with_most(4096);
    let mut client = worker.connect();
    let next = "GET /next HTTP/1.1\r\nhost: a\r\n\r\n".repeat(200);
    client.send(&format!("POST /read HTTP/1.1\r\n{CHUNKED}{}{next}", framed(4096)));
    assert_eq!(client.answer().body, "4083");
    for _ in 0..200 {
        assert_eq!(client.answer().status, 200);
    }
}

/// Sends a byte of a body now and then, for as long as that works; returns for how long it did.
fn trickle(worker: &Worker, most: Duration) -> Duration {
    let mut client = worker.connect();
    client.send("POST /read HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\n");
    client.stream().set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let began = Instant::now();
    while began.elapsed() < most {
        use std::io::{Read, Write};
        let sent = client.stream().write_all(b"x");
        match (sent, client.stream().read(&mut [0; 100])) {
            (Ok(()), Err(error)) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            _ => break,
        }
    }
    began.elapsed()
}

#[test]
fn a_byte_now_and_then_is_no_progress_where_a_rate_is_expected() {
    let limits = Limits { body: 300, min_rate: 1000, ..Limits::default() };
    let lasted = trickle(&Worker::with_limits(limits), PATIENCE);
    assert!(lasted < PATIENCE / 2 && lasted >= Duration::from_millis(300), "{lasted:?}");
    let limits = Limits { min_rate: 0, ..limits };
    let lasted = trickle(&Worker::with_limits(limits), Duration::from_secs(2));
    assert!(lasted >= Duration::from_secs(2), "{lasted:?}");
    let limits = Limits { min_rate: 5, ..limits };
    let lasted = trickle(&Worker::with_limits(limits), Duration::from_secs(2));
    assert!(lasted >= Duration::from_secs(2), "50 bytes a second are more than 5: {lasted:?}");
}
