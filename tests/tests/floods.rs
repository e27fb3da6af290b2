//! Clients that send more than they should, over HTTP/1 and HTTP/2.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use h2::Reason;
use hatchery_tests::client::Client;
use hatchery_tests::{Lab, Start};
use http::Request;

const PATIENCE: Duration = Duration::from_secs(20);

fn lab() -> Lab {
    Start::lab().set("workers", "1").ready()
}

fn assert_serves(lab: &Lab) {
    assert_eq!(lab.get("/").expect("an answer").status, 200);
}

#[test]
fn a_head_that_is_too_long() {
    let lab = Start::lab().set("workers", "1").set("max-header-size", "16KiB").ready();
    for (length, status) in [(8_000, 200), (20_000, 431)] {
        let mut client = Client::connect(lab.address()).expect("a connection");
        client.send(format!("GET / HTTP/1.1\r\nhost: lab\r\nx-long: {}\r\n\r\n", "x".repeat(length))).expect("sent");
        assert_eq!(client.answer().expect("an answer").status, status, "{length}");
    }
    lab.stop();
}

#[test]
fn a_body_that_is_too_long() {
    let lab = Start::lab().set("workers", "1").set("max-body-size", "10KiB").ready();
    for (length, status) in [(10 << 10, 200), ((10 << 10) + 1, 413)] {
        let mut client = Client::connect(lab.address()).expect("a connection");
        let body = "x".repeat(length);
        client
            .send(format!("POST /echo HTTP/1.1\r\nhost: lab\r\ncontent-length: {length}\r\n\r\n{body}"))
            .expect("sent");
        assert_eq!(client.answer().expect("an answer").status, status, "{length}");
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let status = runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(lab.address()).await.expect("a connection");
        let (mut client, connection) = h2::client::handshake(stream).await.expect("a preface");
        tokio::spawn(connection);
        let uri = "http://lab/echo";
        let request = Request::post(uri).header("content-length", "10241").body(()).expect("a request");
        let (answer, _body) = client.send_request(request, false).expect("a stream");
        answer.await.expect("an answer").status()
    });
    assert_eq!(status, 413);
    lab.stop();
}

#[test]
fn one_peer_with_many_connections() {
    let lab = Start::lab().set("workers", "1").set("max-connections-per-peer", "3").ready();
    let mut held: Vec<_> = (0..3).map(|_| Client::connect(lab.address()).expect("a connection")).collect();
    for client in &mut held {
        assert_eq!(client.get("/").expect("an answer").status, 200);
    }
    let mut fourth = Client::connect(lab.address()).expect("the kernel's");
    assert!(fourth.get("/").is_err());
    drop(held.pop());
    lab.until("there is room again", || lab.get("/").is_ok_and(|answer| answer.status == 200));
    lab.stop();
}

/// CVE-2023-44487: streams that are opened and reset, as fast as can be.
#[test]
fn streams_that_are_reset_at_once() {
    let lab = lab();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let ended = runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(lab.address()).await.expect("a connection");
        let (client, connection) = h2::client::handshake(stream).await.expect("a preface");
        let flood = tokio::spawn(async move {
            let mut client = client;
            for _ in 0..100_000 {
                let request = Request::get("http://lab/sleep?ms=60000").body(()).expect("a request");
                let Ok(ready) = client.ready().await else { return };
                client = ready;
                let Ok((_answer, mut body)) = client.send_request(request, false) else { return };
                body.send_reset(Reason::CANCEL);
            }
        });
        let ended = tokio::time::timeout(PATIENCE, connection).await.expect("it is ended");
        flood.abort();
        ended
    });
    let error = ended.expect_err("the server ends it");
    assert!(error.reason() == Some(Reason::ENHANCE_YOUR_CALM) || error.is_io(), "{error}");
    assert_serves(&lab);
    lab.stop();
}

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a frame").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// CVE-2024-27316: a head that goes on in frame after frame.
#[test]
fn continuations_without_end() {
    let lab = lab();
    let mut stream = TcpStream::connect(lab.address()).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    stream.set_write_timeout(Some(PATIENCE)).expect("a socket");
    // A literal header without indexing: `a`, and 100 bytes.
    let header = [&[0, 1, b'a', 100][..], &[b'x'; 100]].concat();
    let mut opening = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    opening.extend(frame(4, 0, 0, &[]));
    opening.extend(frame(1, 0, 1, &header));
    stream.write_all(&opening).expect("sent");
    let more = frame(9, 0, 1, &header.repeat(100));
    // What comes behind its goodbye the server throws away for a second, so that the goodbye arrives.
    let began = Instant::now();
    while stream.write_all(&more).is_ok() {
        assert!(began.elapsed() < PATIENCE, "the head goes on and on");
    }
    let mut rest = Vec::new();
    let _reset_or_closed = stream.read_to_end(&mut rest);
    assert_serves(&lab);
    lab.stop();
}
