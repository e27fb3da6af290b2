//! How long a client may take for what.

use std::time::Duration;

use hatchery_worker::Network;

/// How often the sweep runs at most and at least.
const FASTEST: Duration = Duration::from_millis(10);
const SLOWEST: Duration = Duration::from_secs(1);

const PINGS: Pings = Pings { every: Duration::from_secs(20), timeout: Duration::from_secs(20) };

/// The limits of one server; what is not set is taken from the worker's settings.
///
/// A limit is never shorter than it says and at most an eighth longer, or 2 s.
///
/// ```
/// use std::time::Duration;
///
/// use hatchery_http::Limits;
///
/// let limits = Limits::default().head(Duration::from_secs(5)).max_head_size(16 * 1024);
/// # let _ = limits;
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Limits {
    handshake: Option<Duration>,
    head: Option<Duration>,
    body: Option<Duration>,
    send: Option<Duration>,
    idle: Option<Duration>,
    max_head_size: Option<usize>,
    max_body_size: Option<u64>,
    min_body_rate: Option<u32>,
    max_streams: Option<u32>,
    pings: Option<Pings>,
}

/// How an HTTP/2 client shows that it is there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pings {
    /// How often it is asked while it is silent.
    pub(crate) every: Duration,
    /// How long it may take to answer.
    pub(crate) timeout: Duration,
}

impl Limits {
    /// From accept to the end of a TLS handshake. Neither more bytes nor a listener without TLS change it.
    pub fn handshake(mut self, limit: Duration) -> Self {
        self.handshake = Some(limit);
        self
    }

    /// From the first byte of a request head, or from accept, to its end. Neither more bytes nor a move extend it.
    pub fn head(mut self, limit: Duration) -> Self {
        self.head = Some(limit);
        self
    }

    /// How long a request body may make no progress while it is waited for.
    ///
    /// Over HTTP/2 its stream is reset then. Where clients stream messages, and may be silent for as long as they like,
    /// give no limit: [`Duration::MAX`].
    pub fn body(mut self, limit: Duration) -> Self {
        self.body = Some(limit);
        self
    }

    /// How long a client may read nothing of an answer that waits to be sent; over HTTP/2, of the answer of one stream.
    pub fn send(mut self, limit: Duration) -> Self {
        self.send = Some(limit);
        self
    }

    /// How long a connection may wait between two requests.
    pub fn idle(mut self, limit: Duration) -> Self {
        self.idle = Some(limit);
        self
    }

    /// The longest request body, in bytes; 0: any.
    ///
    /// One that says that it is longer is answered with 413 before the handler is called. One that does not say how
    /// long it is (over HTTP/1, counted with its framing) is cut off there: the handler gets an error when it reads on,
    /// and if its answer has not begun, that is 413. Over HTTP/2 its stream is reset.
    pub fn max_body_size(mut self, bytes: u64) -> Self {
        self.max_body_size = Some(bytes);
        self
    }

    /// How many bytes a second of a request body are expected; 0: any byte is progress.
    ///
    /// A client may fall behind that by the time in [`body`](Self::body).
    pub fn min_body_rate(mut self, bytes: u32) -> Self {
        self.min_body_rate = Some(bytes);
        self
    }

    /// The longest request head, in bytes: at least 8192. A longer one is answered with 431.
    pub fn max_head_size(mut self, bytes: usize) -> Self {
        self.max_head_size = Some(bytes.max(8192));
        self
    }

    /// How many streams an HTTP/2 client may have open at once; 200 by default.
    pub fn max_streams(mut self, streams: u32) -> Self {
        self.max_streams = Some(streams);
        self
    }

    /// How often an HTTP/2 client is asked whether it is still there while it is silent, and how long it may take to
    /// answer that; 20 s and 20 s by default. One that does not answer is closed, whatever it waits for.
    pub fn pings(mut self, every: Duration, timeout: Duration) -> Self {
        self.pings = Some(Pings { every, timeout });
        self
    }

    /// Fills what is not set from the worker's limits.
    pub(crate) fn resolve(&self, worker: &hatchery_worker::Limits) -> Resolved {
        Resolved {
            handshake: self.handshake.unwrap_or(worker.handshake),
            head: self.head.unwrap_or(worker.head),
            body: self.body.unwrap_or(worker.body),
            send: self.send.unwrap_or(worker.send),
            idle: self.idle.unwrap_or(worker.idle),
            max_head_size: self.max_head_size.unwrap_or(worker.max_head_size),
            max_body_size: match self.max_body_size.unwrap_or(worker.max_body_size) {
                0 => u64::MAX,
                most => most,
            },
            min_body_rate: self.min_body_rate.unwrap_or(worker.min_body_rate),
            proxies: worker.proxies,
            max_streams: self.max_streams.unwrap_or(200),
            pings: self.pings.unwrap_or(PINGS),
        }
    }
}

/// Limits with nothing left open.
#[derive(Clone, Debug)]
pub(crate) struct Resolved {
    pub(crate) handshake: Duration,
    pub(crate) head: Duration,
    pub(crate) body: Duration,
    pub(crate) send: Duration,
    pub(crate) idle: Duration,
    pub(crate) max_head_size: usize,
    /// `u64::MAX` where there is no limit.
    pub(crate) max_body_size: u64,
    pub(crate) min_body_rate: u32,
    pub(crate) proxies: &'static [Network],
    pub(crate) max_streams: u32,
    pub(crate) pings: Pings,
}

impl Resolved {
    /// How often the sweep has to look, so that no limit is overrun by much.
    pub(crate) fn interval(&self) -> Duration {
        let smallest = self.handshake.min(self.head).min(self.body).min(self.send).min(self.idle);
        (smallest / 16).clamp(FASTEST, SLOWEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(head: Duration) -> Resolved {
        let secs = Duration::from_secs;
        Limits::default()
            .head(head)
            .handshake(head)
            .body(secs(30))
            .send(secs(30))
            .idle(secs(75))
            .resolve(&hatchery_worker::Limits::default())
    }

    #[test]
    fn the_smallest_limit_sets_the_pace_within_bounds() {
        assert_eq!(resolved(Duration::from_secs(15)).interval(), Duration::from_micros(937_500));
        assert_eq!(resolved(Duration::from_millis(320)).interval(), Duration::from_millis(20));
        assert_eq!(resolved(Duration::from_millis(1)).interval(), FASTEST);
        assert_eq!(resolved(Duration::from_secs(3600)).interval(), SLOWEST);
    }
}
