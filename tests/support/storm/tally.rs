//! What clients have seen.

use std::fmt;
use std::time::Duration;

use crate::client;

/// What the clients of one crowd have seen.
#[derive(Debug, Default)]
pub struct Tally {
    /// Requests with a whole and right answer.
    pub answered: u64,
    /// Every other request, and every connection that broke.
    pub failures: Vec<Failure>,
    /// Closes that an answer, or a GOAWAY, has announced.
    pub announced: u64,
    /// Connections that were closed in order, unannounced, while no byte of a request was under way.
    pub closed_idle: u64,
    /// Connections that were opened.
    pub connections: u64,
    /// The longest that an answer took, from the request's last byte to the answer's.
    pub slowest: Duration,
    /// When each answer came and how long it took, of a crowd that is [`timed`](super::Crowd::timed).
    pub timings: Vec<Timing>,
}

/// A request that failed, or a connection.
#[derive(Debug)]
pub struct Failure {
    /// The client's number in its crowd.
    pub client: usize,
    /// How many requests were answered on this connection before.
    pub answered: u64,
    /// When it was asked, since the storm began.
    pub asked: Duration,
    /// How long after that it failed.
    pub after: Duration,
    /// What was asked.
    pub request: String,
    /// Why it failed.
    pub reason: Reason,
}

/// Why a request failed.
#[derive(Debug)]
pub enum Reason {
    /// The connection was not made, ended before or within the answer, or fell silent.
    Lost(client::Failure),
    /// The answer is whole, but another one than it has to be.
    Wrong(String),
    /// Bytes came that nobody has asked for.
    Unasked(String),
    /// It was sent before its connection's close was announced by the answer to an earlier one, and never answered.
    Dropped,
    /// An HTTP/2 stream or connection failed.
    Http2(String),
}

/// One answer.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// When it was there, since the storm began.
    pub at: Duration,
    /// How long it took.
    pub took: Duration,
}

/// What all clients of a storm have seen.
#[derive(Debug)]
pub struct Report {
    /// What the clients were made from: `STORM_SEED` makes them again.
    pub seed: u64,
    /// Each crowd's name, in the order in which they were given, and what it has seen.
    pub crowds: Vec<(&'static str, Tally)>,
}

impl Report {
    /// The tally of the crowd with this name.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn of(&self, name: &str) -> &Tally {
        &self.crowds.iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("no crowd {name}: {self}")).1
    }

    /// All failed requests.
    #[must_use]
    pub fn failed(&self) -> usize {
        self.crowds.iter().map(|(_, tally)| tally.failures.len()).sum()
    }

    /// All answered requests.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.crowds.iter().map(|(_, tally)| tally.answered).sum()
    }

    /// Asserts that no request failed, and that every crowd was answered.
    ///
    /// # Panics
    /// When that is not so.
    pub fn assert_no_failure(&self) {
        let is_well = |(_, tally): &(_, Tally)| tally.failures.is_empty() && tally.answered > 0;
        assert!(self.crowds.iter().all(is_well), "clients paid for it: {self}");
    }

    /// Asserts that no client can tell that anything happened: no request
    /// failed, no close was announced, and no idle connection was closed. The
    /// connections of HTTP/2 may be closed when it was announced.
    ///
    /// # Panics
    /// When that is not so.
    pub fn assert_nobody_noticed(&self) {
        self.assert_no_failure();
        for (name, tally) in &self.crowds {
            let may_be_told = *name == super::HTTP2;
            assert!(tally.closed_idle == 0 && (tally.announced == 0 || may_be_told), "{name} has noticed: {self}");
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "STORM_SEED={}", self.seed)?;
        self.crowds.iter().try_for_each(|(name, tally)| write!(f, "\n{name}: {tally}"))
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { answered, failures, announced, closed_idle, connections, slowest, timings: _ } = self;
        write!(f, "{answered} answered on {connections} connections, {} failed, ", failures.len())?;
        write!(f, "{announced} announced closes, {closed_idle} closed while idle, slowest {} ms", slowest.as_millis())?;
        failures.iter().take(20).try_for_each(|failure| write!(f, "\n    {failure}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { client, answered, asked, after, request, reason } = self;
        write!(f, "client {client}, {answered} answers before, asked at {} ms, ", asked.as_millis())?;
        write!(f, "{} ms later: {request}: {reason}", after.as_millis())
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost(failure) => failure.fmt(f),
            Self::Wrong(what) => write!(f, "wrong answer: {what}"),
            Self::Unasked(what) => write!(f, "nobody has asked for: {what}"),
            Self::Dropped => f.write_str("dropped by a close that was announced after it was sent"),
            Self::Http2(error) => write!(f, "HTTP/2: {error}"),
        }
    }
}

impl From<client::Failure> for Reason {
    fn from(failure: client::Failure) -> Self {
        Self::Lost(failure)
    }
}
