//! What goes along with a connection that moves, and why one stays.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use thiserror::Error;
use tokio::time::Instant;

/// What a connection was before it came to this process.
///
/// ```no_run
/// use hatchery_worker::Accepted;
///
/// fn log(accepted: &Accepted) {
///     let journey = &accepted.journey;
///     println!("{} requests in {:?}", journey.requests, journey.began.elapsed());
/// }
/// # let _ = log;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Journey {
    /// When it was accepted, by whichever process.
    pub began: Instant,
    /// Requests that were answered on it before.
    pub requests: u64,
    /// How often it has moved; 0 for a connection that was accepted here.
    pub moves: u32,
    /// The client behind a proxy, where that has said so.
    pub real_peer: Option<SocketAddr>,
    /// How long the client had been taking over a request head when the connection
    /// moved. A limit on that goes on from there: a move refreshes none.
    pub waited: Duration,
}

/// What a connection takes along, beside its socket.
///
/// ```no_run
/// use hatchery_worker::{Journey, Luggage};
///
/// fn pack<'a>(journey: &'a Journey, half_a_head: &'a [u8]) -> Luggage<'a> {
///     Luggage { journey, unread: half_a_head, state: None }
/// }
/// # let _ = pack;
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Luggage<'a> {
    /// What it was so far; `moves` is counted by who receives it.
    pub journey: &'a Journey,
    /// What was read from the socket and not used.
    pub unread: &'a [u8],
    /// The application's own state, for a service that has some.
    pub state: Option<&'a [u8]>,
}

/// Why a connection does not move: it comes to its end here, or goes on here.
///
/// ```
/// use hatchery_worker::Stay;
///
/// let stay = Stay::TooLarge { len: 300_000, most: 196_608 };
/// assert_eq!(stay.to_string(), "it would take a message of 300000 bytes, and 196608 is the most");
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Stay {
    /// Nobody takes connections of its service.
    #[error("nobody takes connections of this service at present")]
    NoHeir,
    /// It has more to take along than a message holds.
    #[error("it would take a message of {len} bytes, and {most} is the most")]
    TooLarge {
        /// What the message would have been, in bytes.
        len: usize,
        /// The most that is possible, in bytes.
        most: usize,
    },
    /// There was no room in the relay until the time for waiting was over.
    #[error("there was no room in the relay in time")]
    GaveUp,
    /// The kernel has refused.
    #[error("the kernel refuses to pass it on")]
    Failed(#[source] io::Error),
}

impl Journey {
    /// That of a connection which was accepted then, by this process, and of which nothing else is known.
    ///
    /// ```
    /// use hatchery_worker::Journey;
    /// use tokio::time::Instant;
    ///
    /// // Two words are kept for each connection, and the rest where there is some.
    /// let (began, requests) = (Instant::now(), 7);
    /// let mut journey = Journey::since(began);
    /// journey.requests = requests;
    /// assert_eq!(journey.moves, 0);
    /// ```
    #[must_use]
    pub fn since(began: Instant) -> Self {
        Self { began, requests: 0, moves: 0, real_peer: None, waited: Duration::ZERO }
    }
}
