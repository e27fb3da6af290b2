//! HTTP/2 does not move: how its clients are told to go, frame by frame.

use std::time::Instant;

use crate::support::{Client, Frame, Limits, PATIENCE, Worker};

const SETTINGS: u8 = 4;
const RST_STREAM: u8 = 3;
const HEADERS: u8 = 1;
const PING: u8 = 6;
const GOAWAY: u8 = 7;

const ACK: u8 = 1;
const END_STREAM_AND_HEADERS: u8 = 5;

const REFUSED_STREAM: [u8; 4] = [0, 0, 0, 7];

/// Speaks HTTP/2 by hand: answers nothing that a test does not answer.
struct Raw(Client);

impl Raw {
    fn connect(worker: &Worker) -> Self {
        let mut client = worker.connect();
        client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        let mut raw = Self(client);
        raw.send(SETTINGS, 0, 0, &[]);
        raw.until(&[SETTINGS]);
        raw
    }

    fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = vec![length[1], length[2], length[3], kind, flags];
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        self.0.send_bytes(&frame);
    }

    /// Opens a stream with a GET.
    fn get(&mut self, stream: u32, path: &str) {
        // :method GET, :scheme http, :path and :authority as literals.
        let mut block = vec![0x82, 0x86, 0x04, u8::try_from(path.len()).unwrap()];
        block.extend(path.as_bytes());
        block.extend([0x01, 1, b'a']);
        self.send(HEADERS, END_STREAM_AND_HEADERS, stream, &block);
    }

    /// The next frame of one of these kinds.
    fn until(&mut self, kinds: &[u8]) -> Frame {
        loop {
            let frame = self.0.frame().expect("more frames");
            if kinds.contains(&frame.kind) {
                return frame;
            }
        }
    }

    /// The next GOAWAY's last stream.
    fn goaway(&mut self) -> u32 {
        let frame = self.until(&[GOAWAY]);
        u32::from_be_bytes(frame.payload[..4].try_into().unwrap())
    }
}

#[test]
fn twice_with_a_ping_in_between() {
    let mut worker = Worker::start();
    // Somebody who takes HTTP/1 connections changes nothing.
    let _heir = worker.heir();
    let mut raw = Raw::connect(&worker);
    raw.get(1, "/hold");
    let held = worker.gate.wait();
    worker.drain_and_see();
    assert_eq!(raw.goaway(), u32::MAX >> 1);
    let ping = raw.until(&[PING]);
    assert_eq!(ping.flags, 0);
    // Sent before the first one came: it is still taken.
    raw.get(3, "/empty");
    assert_eq!(raw.until(&[HEADERS]).stream, 3);
    raw.send(PING, ACK, 0, &ping.payload);
    assert_eq!(raw.goaway(), 3);
    drop(held);
    assert_eq!(raw.until(&[HEADERS]).stream, 1);
    while raw.0.frame().is_some() {}
    worker.ends();
}

#[test]
fn an_idle_client_that_never_answers_the_ping_is_closed() {
    let mut worker = Worker::start();
    let mut raw = Raw::connect(&worker);
    raw.get(1, "/one");
    raw.until(&[HEADERS]);
    worker.drain();
    assert_eq!(raw.goaway(), u32::MAX >> 1);
    while raw.0.frame().is_some() {}
    worker.ends();
}

#[test]
fn a_client_that_never_answers_the_ping_cannot_go_on_for_ever() {
    let mut worker = Worker::start();
    let mut raw = Raw::connect(&worker);
    worker.drain();
    assert_eq!(raw.goaway(), u32::MAX >> 1);
    // At any moment there is a request in flight.
    raw.get(1, "/hold");
    let held = worker.gate.wait();
    let begun = Instant::now();
    for stream in (3..).step_by(2) {
        // Without a body, which would use up what this client grants.
        raw.get(stream, "/empty");
        let frame = raw.until(&[HEADERS, RST_STREAM]);
        assert_eq!(frame.stream, stream);
        if frame.kind == RST_STREAM {
            assert_eq!(frame.payload, REFUSED_STREAM);
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "it goes on for ever");
    }
    // What was taken is answered, and that is the end.
    drop(held);
    assert_eq!(raw.until(&[HEADERS]).stream, 1);
    while raw.0.frame().is_some() {}
    worker.ends();
}

#[test]
fn a_client_that_never_answers_the_ping_is_closed_between_two_streams() {
    let mut worker = Worker::start();
    let mut raw = Raw::connect(&worker);
    worker.drain();
    assert_eq!(raw.goaway(), u32::MAX >> 1);
    let mut stream = 1;
    raw.get(stream, "/empty");
    while let Some(frame) = raw.0.frame() {
        assert_ne!(frame.kind, RST_STREAM, "it has had more than a moment");
        if frame.kind == HEADERS {
            stream += 2;
            raw.get(stream, "/empty");
        }
    }
    worker.ends();
}

#[test]
fn a_silent_client_is_asked_whether_it_is_there() {
    let worker = Worker::with_limits(Limits { pings: 500, ..Limits::default() });
    let mut raw = Raw::connect(&worker);
    raw.get(1, "/hold");
    let held = worker.gate.wait();
    for _ in 0..3 {
        let ping = raw.until(&[PING]);
        raw.send(PING, ACK, 0, &ping.payload);
    }
    drop(held);
    assert_eq!(raw.until(&[HEADERS]).stream, 1);
}

#[test]
fn a_client_that_is_not_there_is_closed() {
    let worker = Worker::with_limits(Limits { pings: 100, ..Limits::default() });
    let mut raw = Raw::connect(&worker);
    raw.get(1, "/hold");
    let _held = worker.gate.wait();
    raw.until(&[PING]);
    while raw.0.frame().is_some() {}
}
