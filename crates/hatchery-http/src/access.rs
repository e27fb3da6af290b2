//! The access log: a line for each request.
//!
//! Off, it costs a look at an empty place a request.

use std::fmt::{self, Write as _};
use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hatchery_worker::Peer;
use http::header::{HeaderMap, HeaderName, REFERER, USER_AGENT};
use http::{Method, StatusCode, Version};

use crate::{Client, Request};

/// The most of a path and of a header that a line has: lines stay below what a pipe takes in one piece.
const LONGEST_PATH: usize = 2048;
const LONGEST_HEADER: usize = 768;

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
    path: String,
    version: Version,
    referer: Vec<u8>,
    agent: Vec<u8>,
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
        let headers = request.headers();
        Box::new(Self {
            log,
            began: Instant::now(),
            at: SystemTime::now(),
            client,
            method: request.method().clone(),
            path: request.uri().path_and_query().map_or_else(|| request.uri().to_string(), ToString::to_string),
            version: request.version(),
            referer: header(headers, &REFERER),
            agent: header(headers, &USER_AGENT),
            status: None,
            bytes: 0,
        })
    }

    fn line(&self, took: Duration) -> String {
        let status = self.status.map_or(CLIENT_GONE, |status| status.as_u16());
        let client = self.client.map_or_else(|| "unix".to_owned(), |client| client.ip().to_canonical().to_string());
        let moment = Moment::of(self.at);
        let Self { version, bytes, .. } = self;
        // A method is a word, of any length.
        let method = escaped(self.method.as_str().as_bytes(), 64);
        let mut line = String::with_capacity(256);
        let written = match self.log.format {
            AccessFormat::Combined => {
                let path = escaped(self.path.as_bytes(), LONGEST_PATH);
                let [referer, agent] = [&self.referer, &self.agent]
                    .map(|text| if text.is_empty() { "-".to_owned() } else { escaped(text, LONGEST_HEADER) });
                let at = moment.combined();
                writeln!(
                    line,
                    "{client} - - [{at}] \"{method} {path} {version:?}\" {status} {bytes} \"{referer}\" \"{agent}\" {:.6}",
                    took.as_secs_f64()
                )
            }
            AccessFormat::Json => {
                let path = quoted(self.path.as_bytes(), LONGEST_PATH);
                let [referer, agent] = [&self.referer, &self.agent]
                    .map(|text| if text.is_empty() { "null".to_owned() } else { quoted(text, LONGEST_HEADER) });
                writeln!(
                    line,
                    "{{\"time\":\"{}\",\"client\":\"{client}\",\"method\":\"{method}\",\"path\":{path},\
                     \"protocol\":\"{version:?}\",\"status\":{status},\"bytes\":{bytes},\"seconds\":{:.6},\
                     \"referer\":{referer},\"user_agent\":{agent}}}",
                    moment.iso(),
                    took.as_secs_f64()
                )
            }
        };
        debug_assert!(written.is_ok());
        line
    }
}

impl Drop for Note {
    fn drop(&mut self) {
        (self.log.write)(self.line(self.began.elapsed()).as_bytes());
    }
}

fn header(headers: &HeaderMap, name: &HeaderName) -> Vec<u8> {
    headers.get(name).map_or_else(Vec::new, |value| value.as_bytes().to_vec())
}

/// Whatever a client sends, it can neither begin a line nor end a field.
fn escaped(bytes: &[u8], most: usize) -> String {
    let mut text = String::new();
    for byte in bytes {
        if text.len() + 4 > most {
            text.push_str("...");
            break;
        }
        match byte {
            b'"' | b'\\' | ..=0x1f | 0x7f.. => {
                let _cannot_fail = write!(text, "\\x{byte:02X}");
            }
            _ => text.push(char::from(*byte)),
        }
    }
    text
}

/// A string of JSON.
fn quoted(bytes: &[u8], most: usize) -> String {
    let mut text = String::from("\"");
    for character in String::from_utf8_lossy(bytes).chars() {
        if text.len() + 6 > most {
            text.push_str("...");
            break;
        }
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            // Line breaks that are none to JSON are some to those who read logs.
            ..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' => {
                let _cannot_fail = write!(text, "\\u{:04x}", u32::from(character));
            }
            _ => text.push(character),
        }
    }
    text.push('"');
    text
}

/// A moment in UTC, by the calendar.
#[derive(Debug, PartialEq, Eq)]
struct Moment {
    year: u64,
    month: usize,
    day: u64,
    /// Since midnight.
    millis: u64,
}

impl Moment {
    fn of(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let (mut days, mut year) = (since.as_secs() / 86_400, 1970);
        let millis = (since.as_secs() % 86_400) * 1000 + u64::from(since.subsec_millis());
        loop {
            let length = if is_leap(year) { 366 } else { 365 };
            if days < length {
                break;
            }
            (days, year) = (days - length, year + 1);
        }
        let february = if is_leap(year) { 29 } else { 28 };
        let mut month = 0;
        for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
            if days < length {
                break;
            }
            (days, month) = (days - length, month + 1);
        }
        Self { year, month, day: days + 1, millis }
    }

    fn clock(&self) -> String {
        let seconds = self.millis / 1000;
        format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
    }

    fn combined(&self) -> String {
        const NAMES: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        format!("{:02}/{}/{}:{} +0000", self.day, NAMES[self.month % 12], self.year, self.clock())
    }

    fn iso(&self) -> String {
        let Self { year, month, day, millis } = self;
        format!("{year}-{:02}-{day:02}T{}.{:03}Z", month + 1, self.clock(), millis % 1000)
    }
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(format: AccessFormat) -> std::mem::ManuallyDrop<Note> {
        let log: &'static AccessLog = Box::leak(Box::new(AccessLog::new(format, |_| {})));
        std::mem::ManuallyDrop::new(Note {
            log,
            began: Instant::now(),
            at: UNIX_EPOCH + Duration::from_millis(951_827_696_123),
            client: Some("[::ffff:192.0.2.1]:4096".parse().unwrap()),
            method: Method::GET,
            path: "/a?b=\"c".to_owned(),
            version: Version::HTTP_11,
            referer: Vec::new(),
            agent: b"evil\n\"agent\\\xff\x1b[2J".to_vec(),
            status: Some(StatusCode::OK),
            bytes: 13,
        })
    }

    #[test]
    fn a_line_is_one_line_whatever_a_client_sends() {
        assert_eq!(
            note(AccessFormat::Combined).line(Duration::from_micros(1500)),
            "192.0.2.1 - - [29/Feb/2000:12:34:56 +0000] \"GET /a?b=\\x22c HTTP/1.1\" 200 13 \"-\" \
             \"evil\\x0A\\x22agent\\x5C\\xFF\\x1B[2J\" 0.001500\n"
        );
        assert_eq!(
            note(AccessFormat::Json).line(Duration::from_micros(1500)),
            "{\"time\":\"2000-02-29T12:34:56.123Z\",\"client\":\"192.0.2.1\",\"method\":\"GET\",\"path\":\"/a?b=\\\"c\",\
             \"protocol\":\"HTTP/1.1\",\"status\":200,\"bytes\":13,\"seconds\":0.001500,\"referer\":null,\
             \"user_agent\":\"evil\\u000a\\\"agent\\\\\u{fffd}\\u001b[2J\"}\n"
        );
    }

    #[test]
    fn no_line_is_longer_than_a_pipe_takes_in_one_piece() {
        for format in [AccessFormat::Combined, AccessFormat::Json] {
            for byte in [b'a', b'\n', 0xff] {
                let mut note = note(format);
                (note.path, note.referer) = ("\u{1}".repeat(9000), vec![byte; 9000]);
                (note.agent, note.status) = (vec![byte; 9000], None);
                let line = note.line(Duration::MAX);
                assert!(line.len() < 4096, "{}", line.len());
                assert!(line.contains("499") && line.lines().count() == 1);
            }
        }
    }

    #[test]
    fn days_are_those_of_the_calendar() {
        let day = |secs| Moment::of(UNIX_EPOCH + Duration::from_secs(secs)).iso();
        assert_eq!(day(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(day(1_709_164_799), "2024-02-28T23:59:59.000Z");
        assert_eq!(day(1_735_689_599), "2024-12-31T23:59:59.000Z");
        assert_eq!(day(4_107_542_400), "2100-03-01T00:00:00.000Z");
    }
}
