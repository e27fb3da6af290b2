//! The access log: a line for each request.
//!
//! Off, it costs a look at an empty place a request.

use std::fmt::{self, Write as _};
use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime};

use hatchery_worker::Peer;
use http::header::{HeaderValue, REFERER, USER_AGENT};
use http::{Method, StatusCode, Uri, Version};

use crate::{Client, Request};
use date::Date;
use text::{escape, quote};

mod date;
mod text;

/// The most of a path and of a header that a line has: lines stay below what a pipe takes in one piece.
const LONGEST_PATH: usize = 2048;
const LONGEST_HEADER: usize = 768;

/// A method is a word, of any length.
const LONGEST_METHOD: usize = 64;

/// What a line has room for before it has to grow.
const ROOM: usize = 512;

/// What nobody was answered who has gone before: nginx' number for it.
const CLIENT_GONE: u16 = 499;

/// What lines of the access log look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessFormat {
    /// The combined format of Apache and nginx, and the seconds that it took behind that.
    Combined,
    /// An object a line.
    Json,
}

/// Where a line for each request goes.
pub struct AccessLog {
    format: AccessFormat,
    write: Box<Write>,
}

/// What a line is given to.
type Write = dyn Fn(&[u8]) + Send + Sync;

static LOG: OnceLock<AccessLog> = OnceLock::new();

impl AccessLog {
    /// A log whose lines are given to `write`, each with its line feed and below 4096 bytes long.
    ///
    /// `write` is called when an answer is complete, or its client gone. The worker
    /// does nothing else meanwhile.
    ///
    /// ```
    /// use std::io::Write;
    ///
    /// use hatchery_http::{AccessFormat, AccessLog};
    ///
    /// let log = AccessLog::new(AccessFormat::Json, |line| {
    ///     let _lost = std::io::stdout().write_all(line);
    /// });
    /// # let _ = log;
    /// ```
    pub fn new(format: AccessFormat, write: impl Fn(&[u8]) + Send + Sync + 'static) -> Self {
        Self { format, write: Box::new(write) }
    }

    /// Makes it the log of all servers of this process that begin to serve from now on.
    ///
    /// `hatchery` does this in each worker where the setting `access-log` asks for it.
    ///
    /// # Errors
    /// The log itself, if there is one already.
    pub fn install(self) -> Result<(), Self> {
        LOG.set(self)
    }

    /// Whether this process has one.
    #[must_use]
    pub fn is_installed() -> bool {
        LOG.get().is_some()
    }

    pub(crate) fn installed() -> Option<&'static Self> {
        LOG.get()
    }
}

impl fmt::Debug for AccessLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessLog").field("format", &self.format).finish_non_exhaustive()
    }
}

/// What is known of a request; written down when this is dropped.
pub(crate) struct Note {
    log: &'static AccessLog,
    began: Instant,
    at: SystemTime,
    client: Option<SocketAddr>,
    method: Method,
    uri: Uri,
    version: Version,
    referer: Option<HeaderValue>,
    agent: Option<HeaderValue>,
    pub(crate) status: Option<StatusCode>,
    pub(crate) bytes: u64,
}

impl Note {
    #[cold]
    pub(crate) fn of(log: &'static AccessLog, request: &Request, client: &Client) -> Box<Self> {
        let client = match (client.real_peer(), client.peer()) {
            (Some(client), _) | (None, Peer::Tcp(client)) => Some(client),
            (None, Peer::Unix) => None,
        };
        let header = |name| request.headers().get(name).cloned();
        Box::new(Self {
            log,
            began: Instant::now(),
            at: SystemTime::now(),
            client,
            method: request.method().clone(),
            uri: request.uri().clone(),
            version: request.version(),
            referer: header(REFERER),
            agent: header(USER_AGENT),
            status: None,
            bytes: 0,
        })
    }

    fn line(&self, took: Duration) -> Result<String, fmt::Error> {
        let mut line = String::with_capacity(ROOM);
        match self.log.format {
            AccessFormat::Combined => self.combined(&mut line, took)?,
            AccessFormat::Json => self.json(&mut line, took)?,
        }
        line.push('\n');
        Ok(line)
    }

    fn combined(&self, line: &mut String, took: Duration) -> fmt::Result {
        self.write_client(line)?;
        line.push_str(" - - [");
        Date::of(self.at).combined(line)?;
        line.push_str("] \"");
        self.write_method(line)?;
        line.push(' ');
        self.with_path(|path| escape(line, path, LONGEST_PATH))?;
        write!(line, " {:?}\" {} {} ", self.version, self.status(), self.bytes)?;
        for header in [&self.referer, &self.agent] {
            line.push('"');
            match header {
                Some(text) if !text.is_empty() => escape(line, text.as_bytes(), LONGEST_HEADER)?,
                Some(_) | None => line.push('-'),
            }
            line.push_str("\" ");
        }
        write_seconds(line, took)
    }

    fn json(&self, line: &mut String, took: Duration) -> fmt::Result {
        line.push_str("{\"time\":\"");
        Date::of(self.at).iso(line)?;
        line.push_str("\",\"client\":\"");
        self.write_client(line)?;
        line.push_str("\",\"method\":\"");
        self.write_method(line)?;
        line.push_str("\",\"path\":");
        self.with_path(|path| quote(line, path, LONGEST_PATH))?;
        let (version, status, bytes) = (self.version, self.status(), self.bytes);
        write!(line, ",\"protocol\":\"{version:?}\",\"status\":{status},\"bytes\":{bytes},\"seconds\":")?;
        write_seconds(line, took)?;
        for (name, header) in [("referer", &self.referer), ("user_agent", &self.agent)] {
            write!(line, ",\"{name}\":")?;
            match header {
                Some(text) if !text.is_empty() => quote(line, text.as_bytes(), LONGEST_HEADER)?,
                Some(_) | None => line.push_str("null"),
            }
        }
        line.push('}');
        Ok(())
    }

    fn write_client(&self, line: &mut String) -> fmt::Result {
        match self.client {
            Some(client) => write!(line, "{}", client.ip().to_canonical()),
            None => line.write_str("unix"),
        }
    }

    fn write_method(&self, line: &mut String) -> fmt::Result {
        escape(line, self.method.as_str().as_bytes(), LONGEST_METHOD)
    }

    /// CONNECT has none: then it is what the client has asked for as a whole.
    fn with_path<T>(&self, write: impl FnOnce(&[u8]) -> T) -> T {
        match self.uri.path_and_query() {
            Some(path) => write(path.as_str().as_bytes()),
            None => write(self.uri.to_string().as_bytes()),
        }
    }

    fn status(&self) -> u16 {
        self.status.map_or(CLIENT_GONE, |status| status.as_u16())
    }
}

impl Drop for Note {
    fn drop(&mut self) {
        // Writing to a string does not fail.
        if let Ok(line) = self.line(self.began.elapsed()) {
            (self.log.write)(line.as_bytes());
        }
    }
}

fn write_seconds(line: &mut String, took: Duration) -> fmt::Result {
    write!(line, "{}.{:06}", took.as_secs(), took.subsec_micros())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(format: AccessFormat) -> std::mem::ManuallyDrop<Note> {
        let log: &'static AccessLog = Box::leak(Box::new(AccessLog::new(format, |_| {})));
        std::mem::ManuallyDrop::new(Note {
            log,
            began: Instant::now(),
            at: SystemTime::UNIX_EPOCH + Duration::from_millis(951_827_696_123),
            client: Some("[::ffff:192.0.2.1]:4096".parse().unwrap()),
            method: Method::GET,
            uri: Uri::from_static("/a\"c?b"),
            version: Version::HTTP_11,
            referer: None,
            agent: Some(HeaderValue::from_bytes(b"evil\t\"agent\\\xff[2J").unwrap()),
            status: Some(StatusCode::OK),
            bytes: 13,
        })
    }

    #[test]
    fn a_line_is_one_line_whatever_a_client_sends() {
        assert_eq!(
            note(AccessFormat::Combined).line(Duration::from_micros(1500)).unwrap(),
            "192.0.2.1 - - [29/Feb/2000:12:34:56 +0000] \"GET /a\\x22c?b HTTP/1.1\" 200 13 \"-\" \
             \"evil\\x09\\x22agent\\x5C\\xFF[2J\" 0.001500\n"
        );
        assert_eq!(
            note(AccessFormat::Json).line(Duration::from_micros(1500)).unwrap(),
            "{\"time\":\"2000-02-29T12:34:56.123Z\",\"client\":\"192.0.2.1\",\"method\":\"GET\",\"path\":\"/a\\\"c?b\",\
             \"protocol\":\"HTTP/1.1\",\"status\":200,\"bytes\":13,\"seconds\":0.001500,\"referer\":null,\
             \"user_agent\":\"evil\\u0009\\\"agent\\\\\u{fffd}[2J\"}\n"
        );
    }

    #[test]
    fn no_line_is_longer_than_a_pipe_takes_in_one_piece() {
        for format in [AccessFormat::Combined, AccessFormat::Json] {
            for byte in [b'a', b'\t', 0xff] {
                let mut note = note(format);
                let header = HeaderValue::from_bytes(&vec![byte; 9000]).unwrap();
                note.uri = format!("/{}", "\"".repeat(9000)).parse().unwrap();
                (note.referer, note.agent, note.status) = (Some(header.clone()), Some(header), None);
                let line = note.line(Duration::MAX).unwrap();
                assert!(line.len() < 4096, "{}", line.len());
                assert!(line.contains("499") && line.lines().count() == 1);
            }
        }
    }
}
