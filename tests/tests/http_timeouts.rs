//! No client keeps a connection for ever: the four timeouts, with short settings.

use std::time::{Duration, Instant};

use hatchery_tests::client::{Client, Failure};
use hatchery_tests::{Lab, Start, procfs, wait};

const SHORT: &str = "500ms";

/// A lab in which only one timeout is short.
fn lab(short: &str) -> Lab {
    let long = ["header-timeout", "body-timeout", "send-timeout", "keep-alive-timeout"];
    let start = long.into_iter().fold(Start::lab().set("workers", "1"), |start, name| start.set(name, "10m"));
    start.set(short, SHORT).set("min-body-rate", "0").ready()
}

/// Waits until the server has closed the connection, and tells what came before that.
fn closed(client: &mut Client) -> String {
    let began = Instant::now();
    let rest = match client.read_to_end() {
        Ok(rest) => String::from_utf8_lossy(&rest).into_owned(),
        Err(Failure::Silent) => panic!("it was not closed"),
        Err(_) => String::new(),
    };
    assert!(began.elapsed() < Duration::from_secs(8), "after {:?}", began.elapsed());
    rest
}

/// Sends `bytes` one by one, until the server has closed; tells whether it did.
fn dribble(client: &mut Client, bytes: &[u8], pause: Duration) -> bool {
    bytes.iter().any(|byte| {
        wait::think(pause);
        client.send([*byte]).is_err() || !matches!(client.is_closed(), Ok(false))
    })
}

#[test]
fn a_client_that_says_nothing() {
    let lab = lab("header-timeout");
    let mut client = Client::connect(lab.address()).expect("a connection");
    closed(&mut client);
    lab.stop();
}

#[test]
fn a_head_that_does_not_end() {
    let lab = lab("header-timeout");
    let mut client = Client::connect(lab.address()).expect("a connection");
    client.send("GET / HTTP/1.1\r\nHost: lab\r\n").expect("sent");
    let rest = closed(&mut client);
    assert!(rest.is_empty() || rest.starts_with("HTTP/1.1 408"), "{rest}");
    lab.stop();
}

#[test]
fn a_byte_now_and_then_does_not_keep_a_head_alive() {
    let lab = lab("header-timeout");
    let mut client = Client::connect(lab.address()).expect("a connection");
    let began = Instant::now();
    assert!(dribble(&mut client, &[b'G'; 40], Duration::from_millis(100)), "it was never closed");
    assert!(began.elapsed() > Duration::from_millis(300), "{:?}", began.elapsed());
    lab.stop();
}

#[test]
fn a_byte_now_and_then_does_not_keep_a_second_head_alive() {
    let lab = lab("header-timeout");
    let mut client = Client::connect(lab.address()).expect("a connection");
    assert_eq!(client.get("/").expect("an answer").status, 200);
    let head = b"GET / HTTP/1.1\r\nX-Slow: aaaaaaaaaaaaaaaaaaaaaaaaaa";
    assert!(dribble(&mut client, head, Duration::from_millis(100)), "it was never closed");
    lab.stop();
}

#[test]
fn half_a_preface_of_http2_is_a_head_too() {
    let lab = lab("header-timeout");
    let mut client = Client::connect(lab.address()).expect("a connection");
    client.send("PRI * HTTP/2.0\r\n").expect("sent");
    closed(&mut client);
    lab.stop();
}

#[test]
fn a_body_that_stops() {
    let lab = lab("body-timeout");
    let mut client = Client::connect(lab.address()).expect("a connection");
    client.send("POST /echo HTTP/1.1\r\nHost: lab\r\nContent-Length: 10\r\n\r\nabc").expect("sent");
    let rest = closed(&mut client);
    assert!(!rest.contains("abcdefghij"));
    lab.stop();
}

#[test]
fn a_body_that_is_slow_but_goes_on() {
    let lab = lab("body-timeout");
    let mut client = Client::connect(lab.address()).expect("a connection");
    client.send("POST /echo HTTP/1.1\r\nHost: lab\r\nContent-Length: 10\r\n\r\n").expect("sent");
    assert!(!dribble(&mut client, b"abcdefghij", Duration::from_millis(120)));
    assert_eq!(client.answer().expect("an answer").text(), "abcdefghij");
    lab.stop();
}

#[test]
fn a_handler_that_takes_its_time_is_not_the_clients_fault() {
    let lab = lab("body-timeout");
    assert_eq!(lab.get("/sleep?ms=1200").expect("an answer").status, 200);
    lab.stop();
    let lab = self::lab("send-timeout");
    assert_eq!(lab.get("/sleep?ms=1200").expect("an answer").status, 200);
    lab.stop();
    let lab = self::lab("keep-alive-timeout");
    assert_eq!(lab.get("/sleep?ms=1200").expect("an answer").status, 200);
    lab.stop();
}

#[test]
fn an_answer_that_nobody_reads() {
    let lab = lab("send-timeout");
    let worker = *lab.ready().first().expect("a worker");
    let open = || procfs::descriptors(worker).len();
    let before = open();
    let mut client = Client::connect(lab.address()).expect("a connection");
    client.ask("/bytes?n=60000000").expect("sent");
    lab.until("the connection is open", || open() > before);
    lab.until("the connection is closed, though nobody reads", || open() <= before);
    assert!(client.answer().is_err(), "not all of it came");
    lab.stop();
}

#[test]
fn an_answer_that_is_read_slowly_goes_on() {
    let lab = lab("send-timeout");
    let mut client = Client::connect(lab.address()).expect("a connection");
    client.ask("/stream?chunks=12&ms=120").expect("sent");
    assert_eq!(client.answer().expect("the whole answer").body.len(), 12 * 16);
    lab.stop();
}

#[test]
fn an_idle_connection() {
    let lab = lab("keep-alive-timeout");
    let mut client = Client::connect(lab.address()).expect("a connection");
    for _ in 0..5 {
        wait::think(Duration::from_millis(150));
        assert_eq!(client.get("/").expect("an answer").status, 200);
    }
    assert_eq!(closed(&mut client), "", "closed in silence, and in order");
    lab.stop();
}
