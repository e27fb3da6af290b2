//! One connection of one client, on the storm's event loop.

use std::io;
use std::pin::pin;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, timeout};

use crate::client::{ANSWER, Answer, Failure, find, parse_head};

/// A timer that is late by more was not kept waiting by this process alone.
const LATE: Duration = Duration::from_secs(2);

/// A TCP or a unix socket.
pub(crate) trait Socket: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Socket for S {}

/// A connection, and what was read and belongs to no answer yet.
pub(crate) struct Connection {
    socket: Box<dyn Socket>,
    read: Vec<u8>,
    /// How many requests were answered on it.
    pub(crate) answered: u64,
}

/// What comes on a connection on which nothing was asked.
#[derive(Debug)]
pub(crate) enum Unasked {
    Closed,
    Bytes(String),
    Broken(io::Error),
}

/// Connects to `HOST:PORT` or `unix:PATH`.
pub(crate) async fn connect(address: &str) -> Result<Box<dyn Socket>, Failure> {
    let connecting = async {
        Ok::<Box<dyn Socket>, io::Error>(match address.strip_prefix("unix:") {
            Some(path) => Box::new(UnixStream::connect(path).await?),
            None => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                Box::new(stream)
            }
        })
    };
    in_time(async { connecting.await.map_err(Failure::NotConnected) }).await
}

/// The beginning of it, on one line.
pub(crate) fn quoted(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(120)]).escape_debug().to_string()
}

/// Falls silent when it takes longer than an answer may.
pub(crate) async fn in_time<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let mut work = pin!(work);
    loop {
        let began = Instant::now();
        match timeout(ANSWER, &mut work).await {
            Ok(result) => return result,
            // The whole machine has stood still, and nobody could answer.
            Err(_) if began.elapsed() > ANSWER + LATE => {}
            Err(_) => return Err(Failure::Silent),
        }
    }
}

impl Connection {
    pub(crate) async fn connect(address: &str) -> Result<Self, Failure> {
        Ok(Self { socket: connect(address).await?, read: Vec::new(), answered: 0 })
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        in_time(async { self.socket.write_all(bytes).await.map_err(Failure::Broken) }).await
    }

    /// Reads one HTTP/1.1 answer to its end.
    pub(crate) async fn answer(&mut self) -> Result<Answer, Failure> {
        let answer = in_time(self.whole_answer()).await?;
        self.answered += 1;
        Ok(answer)
    }

    /// Reads one line, without its end.
    pub(crate) async fn line(&mut self) -> Result<String, Failure> {
        let end = in_time(self.until(0, b"\n")).await?;
        let line = self.read.drain(..=end).collect::<Vec<_>>();
        self.answered += 1;
        Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
    }

    /// Waits until something comes that was not asked for: nothing, as long as all is well.
    ///
    /// # Cancel safety
    /// Nothing is lost when it is dropped.
    pub(crate) async fn unasked(&mut self) -> Unasked {
        let got = if self.read.is_empty() { self.more().await } else { Ok(self.read.len()) };
        match got {
            Ok(0) => Unasked::Closed,
            Ok(_) => Unasked::Bytes(quoted(&self.read)),
            Err(Failure::Broken(error)) => Unasked::Broken(error),
            Err(failure) => Unasked::Broken(io::Error::other(failure)),
        }
    }

    async fn whole_answer(&mut self) -> Result<Answer, Failure> {
        let end = self.until(0, b"\r\n\r\n").await?;
        let head = String::from_utf8_lossy(&self.read[..end]).into_owned();
        let (status, headers) = parse_head(&head).ok_or_else(|| Failure::Garbled(head.clone()))?;
        let mut answer = Answer { status, headers, body: Vec::new() };
        let start = end + 4;
        let used = if let Some(length) = answer.header("content-length") {
            let length: usize = length.parse().map_err(|_| Failure::Garbled(head.clone()))?;
            self.have(start + length).await?;
            answer.body = self.read[start..start + length].to_vec();
            start + length
        } else if answer.header("transfer-encoding").is_some() {
            self.chunks(start, &mut answer.body).await?
        } else {
            while self.more().await? > 0 {}
            answer.body = self.read[start..].to_vec();
            self.read.len()
        };
        self.read.drain(..used);
        Ok(answer)
    }

    async fn chunks(&mut self, mut at: usize, body: &mut Vec<u8>) -> Result<usize, Failure> {
        loop {
            let line_end = self.until(at, b"\r\n").await?;
            let size = String::from_utf8_lossy(&self.read[at..line_end]).into_owned();
            let size = usize::from_str_radix(size.trim(), 16).map_err(|_| Failure::Garbled(size))?;
            at = line_end + 2;
            self.have(at + size + 2).await?;
            body.extend_from_slice(&self.read[at..at + size]);
            at += size + 2;
            if size == 0 {
                return Ok(at);
            }
        }
    }

    /// Reads until `needle` is there, at `from` or later, and tells where.
    async fn until(&mut self, from: usize, needle: &[u8]) -> Result<usize, Failure> {
        loop {
            if let Some(found) = self.read.get(from..).and_then(|rest| find(rest, needle)) {
                return Ok(from + found);
            }
            self.have(self.read.len() + 1).await?;
        }
    }

    /// Reads until `length` bytes are there.
    async fn have(&mut self, length: usize) -> Result<(), Failure> {
        while self.read.len() < length {
            if self.more().await? == 0 {
                return Err(if self.read.is_empty() {
                    Failure::ClosedBeforeAnswer
                } else {
                    Failure::CutOff { got: String::from_utf8_lossy(&self.read).into_owned() }
                });
            }
        }
        Ok(())
    }

    async fn more(&mut self) -> Result<usize, Failure> {
        self.socket.read_buf(&mut self.read).await.map_err(Failure::Broken)
    }
}
