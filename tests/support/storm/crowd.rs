//! Clients of one kind.

use std::ops::Range;
use std::time::Duration;

use super::ask::Ask;

/// The name of [`Crowd::fresh`].
pub const FRESH: &str = "fresh";
/// The name of [`Crowd::keep_alive`].
pub const KEEP_ALIVE: &str = "keep-alive";
/// The name of [`Crowd::idle`].
pub const IDLE: &str = "idle";
/// The name of [`Crowd::mute`].
pub const MUTE: &str = "mute";
/// The name of [`Crowd::half_head`].
pub const HALF_HEAD: &str = "half-head";
/// The name of [`Crowd::slow_head`].
pub const SLOW_HEAD: &str = "slow-head";
/// The name of [`Crowd::pipelined`].
pub const PIPELINED: &str = "pipelined";
/// The name of [`Crowd::slow_post`].
pub const SLOW_POST: &str = "slow-post";
/// The name of [`Crowd::slow_stream`].
pub const SLOW_STREAM: &str = "slow-stream";
/// The name of [`Crowd::http2`].
pub const HTTP2: &str = "http2";
/// The name of [`Crowd::raw`].
pub const RAW: &str = "raw";

/// Clients of one kind, with the requests that they pick from and the pauses that they make.
#[derive(Clone, Debug)]
pub struct Crowd {
    pub(crate) kind: Kind,
    pub(crate) address: String,
    pub(crate) clients: usize,
    pub(crate) asks: Vec<Ask>,
    pub(crate) pause: Range<Duration>,
    pub(crate) timed: bool,
}

/// What clients do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Fresh,
    KeepAlive,
    Idle,
    Mute,
    HalfHead,
    SlowHead,
    Pipelined,
    SlowPost,
    SlowStream,
    Http2,
    Raw,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Fresh => FRESH,
            Self::KeepAlive => KEEP_ALIVE,
            Self::Idle => IDLE,
            Self::Mute => MUTE,
            Self::HalfHead => HALF_HEAD,
            Self::SlowHead => SLOW_HEAD,
            Self::Pipelined => PIPELINED,
            Self::SlowPost => SLOW_POST,
            Self::SlowStream => SLOW_STREAM,
            Self::Http2 => HTTP2,
            Self::Raw => RAW,
        }
    }

    /// Whether its clients are answered again and again, and not only at the beginning and the end.
    pub(crate) fn is_lively(self) -> bool {
        match self {
            Self::Idle | Self::Mute | Self::HalfHead => false,
            Self::Fresh
            | Self::KeepAlive
            | Self::SlowHead
            | Self::Pipelined
            | Self::SlowPost
            | Self::SlowStream
            | Self::Http2
            | Self::Raw => true,
        }
    }
}

impl Crowd {
    /// A connection a request, on which the client may take a pause before it asks; every other request says
    /// `Connection: close`, and the others are closed by the client. Pauses of 2 to 12 ms.
    #[must_use]
    pub fn fresh(address: &str, clients: usize) -> Self {
        Self::new(Kind::Fresh, address, clients, [2, 12], [Ask::hello()])
    }

    /// A connection for as long as it lasts. Pauses of up to 50 ms.
    #[must_use]
    pub fn keep_alive(address: &str, clients: usize) -> Self {
        let asks = [Ask::hello(), Ask::bytes(3000), Ask::sleep(Duration::from_millis(5)), Ask::echo("to and fro")];
        Self::new(Kind::KeepAlive, address, clients, [0, 50], asks)
    }

    /// One request, nothing while the storm lasts, and one request on the same connection at its end.
    #[must_use]
    pub fn idle(address: &str, clients: usize) -> Self {
        Self::new(Kind::Idle, address, clients, [0, 0], [Ask::hello()])
    }

    /// A connection on which nothing is sent until the storm is over, and then one request.
    #[must_use]
    pub fn mute(address: &str, clients: usize) -> Self {
        Self::new(Kind::Mute, address, clients, [0, 0], [Ask::hello()])
    }

    /// The first part of a request, of which every other client's is the second request on its connection; the rest
    /// follows when the storm is over.
    #[must_use]
    pub fn half_head(address: &str, clients: usize) -> Self {
        Self::new(Kind::HalfHead, address, clients, [0, 0], [Ask::hello()])
    }

    /// Request after request, each cut at random with a pause of 20 to 400 ms in the middle.
    #[must_use]
    pub fn slow_head(address: &str, clients: usize) -> Self {
        Self::new(Kind::SlowHead, address, clients, [20, 400], [Ask::hello(), Ask::bytes(10)])
    }

    /// Bursts of 2 to 8 requests, sent in one or two writes, whose answers have to come in their order. Pauses of up
    /// to 50 ms between bursts.
    #[must_use]
    pub fn pipelined(address: &str, clients: usize) -> Self {
        let bytes = (1..=9).map(Ask::bytes).chain([Ask::bytes(30_000), Ask::echo("in its place")]);
        Self::new(Kind::Pipelined, address, clients, [0, 50], bytes)
    }

    /// Requests whose bodies come in 2 to 6 pieces, with pauses of up to 80 ms between them, with a length or in chunks.
    #[must_use]
    pub fn slow_post(address: &str, clients: usize) -> Self {
        let asks = [Ask::echo("piece by piece"), Ask::echo("0123456789".repeat(1000))];
        Self::new(Kind::SlowPost, address, clients, [0, 80], asks)
    }

    /// Its requests in their order on one connection, over and over: by default an answer that takes a second,
    /// and a short one. Pauses of up to 20 ms.
    #[must_use]
    pub fn slow_stream(address: &str, clients: usize) -> Self {
        let asks = [Ask::stream(20, Duration::from_millis(50)), Ask::hello()];
        Self::new(Kind::SlowStream, address, clients, [0, 20], asks)
    }

    /// HTTP/2 with prior knowledge: 1 to 4 streams at once, then a pause of up to 50 ms. On a GOAWAY what is open is
    /// finished, and the next streams go to another connection.
    #[must_use]
    pub fn http2(address: &str, clients: usize) -> Self {
        let slow = Ask::stream(4, Duration::from_millis(20));
        let asks = [Ask::hello(), Ask::bytes(100_000), Ask::echo("on a stream"), slow];
        Self::new(Kind::Http2, address, clients, [0, 50], asks)
    }

    /// The lab's counter: the sum has to go on, on the same connection; lines come whole, in two parts, and two at
    /// once. Pauses of up to 50 ms.
    #[must_use]
    pub fn raw(address: &str, clients: usize) -> Self {
        Self::new(Kind::Raw, address, clients, [0, 50], [])
    }

    /// The requests that clients pick from, in place of those that the lab answers.
    #[must_use]
    pub fn asking(self, asks: impl IntoIterator<Item = Ask>) -> Self {
        Self { asks: asks.into_iter().collect(), ..self }
    }

    /// The range of its pauses; without any when it ends at zero.
    #[must_use]
    pub fn pausing(self, pause: Range<Duration>) -> Self {
        Self { pause, ..self }
    }

    /// Keeps when each answer came and how long it took.
    #[must_use]
    pub fn timed(self) -> Self {
        Self { timed: true, ..self }
    }

    fn new(kind: Kind, address: &str, clients: usize, pause: [u64; 2], asks: impl IntoIterator<Item = Ask>) -> Self {
        let [shortest, longest] = pause.map(Duration::from_millis);
        let asks = asks.into_iter().collect();
        Self { kind, address: address.to_owned(), clients, asks, pause: shortest..longest, timed: false }
    }
}
