//! A client that never retries.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use super::PATIENCE;

/// One connection to the worker.
pub(crate) struct Client {
    stream: TcpStream,
    unread: Vec<u8>,
}

/// A frame of HTTP/2, as it came.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

/// One answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn closes(&self) -> bool {
        self.head.contains("connection: close")
    }
}

impl Client {
    pub(crate) fn connect(port: u16) -> Self {
        Self::of(TcpStream::connect(("127.0.0.1", port)).unwrap())
    }

    /// A client, and its connection as somebody has accepted it.
    pub(crate) fn pair() -> (Self, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = Self::connect(listener.local_addr().unwrap().port());
        (client, listener.accept().unwrap().0)
    }

    fn of(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, unread: Vec::new() }
    }

    pub(crate) fn port(&self) -> u16 {
        self.stream.local_addr().unwrap().port()
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    pub(crate) fn send(&mut self, text: &str) {
        self.send_bytes(text.as_bytes());
    }

    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Shuts the writing side.
    pub(crate) fn shut(&self) {
        self.stream.shutdown(std::net::Shutdown::Write).unwrap();
    }

    /// A request, whose answer is not waited for.
    pub(crate) fn ask(&mut self, path: &str) {
        self.send(&format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n"));
    }

    /// A request and its answer.
    pub(crate) fn get(&mut self, path: &str) -> Answer {
        self.ask(path);
        self.answer()
    }

    /// The next answer.
    pub(crate) fn answer(&mut self) -> Answer {
        let head = self.until(b"\r\n\r\n").to_lowercase();
        let field =
            |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned());
        let status = head.split_whitespace().nth(1).unwrap().parse().unwrap();
        let body = if field("transfer-encoding:").is_some() {
            self.chunks()
        } else {
            let length = field("content-length:").map_or(0, |length| length.parse().unwrap());
            self.exactly(length)
        };
        Answer { status, head, body }
    }

    /// The next chunk of a chunked answer.
    pub(crate) fn chunk(&mut self) -> String {
        let size = self.until(b"\r\n");
        let chunk = self.exactly(usize::from_str_radix(size.trim(), 16).unwrap());
        self.exactly(2);
        chunk
    }

    /// The head of an answer whose body comes later.
    pub(crate) fn head(&mut self) -> String {
        self.until(b"\r\n\r\n")
    }

    /// The rest of a chunked answer.
    pub(crate) fn chunks(&mut self) -> String {
        let mut body = String::new();
        loop {
            let chunk = self.chunk();
            if chunk.is_empty() {
                return body;
            }
            body.push_str(&chunk);
        }
    }

    /// The next frame of HTTP/2; `None` when the worker has closed.
    pub(crate) fn frame(&mut self) -> Option<Frame> {
        if self.unread.is_empty() && !self.fill() {
            return None;
        }
        let head = self.bytes(9);
        let number = |bytes: &[u8]| bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte));
        let payload = self.bytes(usize::try_from(number(&head[..3])).unwrap());
        Some(Frame { kind: head[3], flags: head[4], stream: number(&head[5..]), payload })
    }

    /// Everything until the worker closes.
    pub(crate) fn rest(&mut self) -> String {
        while self.fill() {}
        String::from_utf8(std::mem::take(&mut self.unread)).unwrap()
    }

    /// How many bytes still come until the worker closes or resets.
    pub(crate) fn rest_or_reset(&mut self) -> usize {
        let mut total = self.unread.len();
        let mut buffer = [0; 65_536];
        while let Ok(n @ 1..) = self.stream.read(&mut buffer) {
            total += n;
        }
        total
    }

    fn until(&mut self, end: &[u8]) -> String {
        loop {
            if let Some(at) = self.unread.windows(end.len()).position(|window| window == end) {
                return self.take(at + end.len());
            }
            assert!(self.fill(), "the worker closed in the middle of an answer: {:?}", self.unread);
        }
    }

    /// So many bytes.
    pub(crate) fn bytes(&mut self, length: usize) -> Vec<u8> {
        while self.unread.len() < length {
            assert!(self.fill(), "the worker closed in the middle of a body");
        }
        self.unread.drain(..length).collect()
    }

    fn exactly(&mut self, length: usize) -> String {
        String::from_utf8(self.bytes(length)).unwrap()
    }

    fn take(&mut self, length: usize) -> String {
        String::from_utf8(self.unread.drain(..length).collect()).unwrap()
    }

    /// Reads once; false at the end.
    fn fill(&mut self) -> bool {
        let mut buffer = [0; 65_536];
        let n = self.stream.read(&mut buffer).unwrap();
        self.unread.extend_from_slice(&buffer[..n]);
        n > 0
    }
}
