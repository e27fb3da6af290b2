//! What a client was answered, or why it was not.

use std::fmt;
use std::io;

use crate::lab::Whoami;

/// An answer, read to its end.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The headers, with their names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, without its framing.
    pub body: Vec<u8>,
}

/// Why there was no answer.
#[derive(Debug)]
pub enum Failure {
    /// No connection was made.
    NotConnected(io::Error),
    /// The connection was closed in order before the first byte of an answer.
    ClosedBeforeAnswer,
    /// The connection was closed within an answer.
    CutOff {
        /// What had come of it.
        got: String,
    },
    /// The connection was reset, or broke in another way.
    Broken(io::Error),
    /// Nothing came in time.
    Silent,
    /// What came was no HTTP/1.1 answer.
    Garbled(String),
}

impl Answer {
    /// The first header of this name, which is to be in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Whether it says that the connection ends with it.
    #[must_use]
    pub fn announces_close(&self) -> bool {
        self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }

    /// Who has answered `/whoami`.
    ///
    /// # Panics
    /// When it is no answer to that.
    #[must_use]
    pub fn whoami(&self) -> Whoami {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Failure {
    /// Whether the connection ended, in whatever way, rather than stayed silent.
    #[must_use]
    pub fn is_end(&self) -> bool {
        !matches!(self, Self::Silent | Self::Garbled(_))
    }

    pub(crate) fn from_io(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::Silent,
            _ => Self::Broken(error),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotConnected(error) => write!(f, "not connected: {error}"),
            Self::ClosedBeforeAnswer => f.write_str("closed before an answer"),
            Self::CutOff { got } => write!(f, "cut off after {} bytes: {:.200}", got.len(), got),
            Self::Broken(error) => write!(f, "broken: {error}"),
            Self::Silent => f.write_str("no answer in time"),
            Self::Garbled(what) => write!(f, "no HTTP/1.1 answer: {what:.200}"),
        }
    }
}

impl std::error::Error for Failure {}

pub(crate) fn parse_head(head: &str) -> Option<(u16, Vec<(String, String)>)> {
    let mut lines = head.split("\r\n");
    let status = lines.next()?.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    let headers = lines.map(|line| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_ascii_lowercase(), value.trim().to_owned()))
    });
    Some((status, headers.collect::<Option<_>>()?))
}

pub(crate) fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
