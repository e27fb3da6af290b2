//! Clients that send more than they should, over HTTP/1 and HTTP/2.

use hatchery_tests::client::Client;
use hatchery_tests::{Start, admin, flood};
use http::Request;

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
fn a_head_of_too_many_fields() {
    let lab = Start::lab().set("workers", "1").ready();
    for (fields, status) in [(100, 200), (101, 431)] {
        let mut client = Client::connect(lab.address()).expect("a connection");
        let others: String = (1..fields).map(|field| format!("x-{field}: 1\r\n")).collect();
        client.send(format!("GET / HTTP/1.1\r\nhost: lab\r\n{others}\r\n")).expect("sent");
        assert_eq!(client.answer().expect("an answer").status, status, "{fields}");
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

/// Whether the flood is ended, counted, and nobody else has noticed.
fn is_ended_and_counted(flood: fn(&str)) {
    let lab = Start::lab().set("workers", "1").set("admin", "127.0.0.1:0").ready();
    let before = lab.ready();
    for floods in 1..=2 {
        flood(lab.address());
        lab.until("it is counted", || admin::limited(&lab, "reset-flood") == floods);
        assert_eq!(lab.get("/").expect("an answer").status, 200);
    }
    assert_eq!(lab.ready(), before);
    lab.stop();
}

#[test]
fn streams_that_are_reset_at_once() {
    is_ended_and_counted(flood::resets);
}

#[test]
fn continuations_without_end() {
    is_ended_and_counted(flood::continuations);
}

#[test]
fn a_body_of_empty_frames() {
    is_ended_and_counted(flood::empty_frames);
}
