//! What is counted, and where each count stands.
//!
//! The places are those of the frozen header: they are given once, and new ones
//! are added behind. So programs of several versions can share one board, and
//! each adds up words that it has no name for.

use std::ops::{AddAssign, Index, Range};

/// The words for counts that a cell has.
pub(super) const ROOM: usize = 94;

/// The upper ends of the latency's buckets, in microseconds. One bucket more has what took longer.
pub const LATENCY_BOUNDS: [u64; 16] = [
    100, 250, 500, 1000, 2500, 5000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000,
];

/// The upper ends of the buckets for how long a loop did not come by, in microseconds. One more has the rest.
pub const STEP_BOUNDS: [u64; 10] =
    [1000, 5000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 5_000_000];

const LATENCY: Range<usize> = 12..12 + LATENCY_BOUNDS.len() + 1;
const STEPS: Range<usize> = LATENCY.end..LATENCY.end + STEP_BOUNDS.len() + 1;

/// Something that only ever grows.
///
/// ```
/// use hatchery_sys::board::{Counter, Totals};
///
/// assert_eq!(Totals::default()[Counter::Requests], 0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Counter {
    /// Connections accepted.
    Accepted = 0,
    /// Requests that were begun.
    Requests = 1,
    /// Handlers that panicked.
    Panics = 2,
    /// Connections that came from another process.
    Moved = 3,
    /// Messages of a relay that were refused.
    Refused = 4,
    /// Answers with a status of 100 to 199.
    Status1xx = 5,
    /// Answers with a status of 200 to 299.
    Status2xx = 6,
    /// Answers with a status of 300 to 399.
    Status3xx = 7,
    /// Answers with a status of 400 to 499.
    Status4xx = 8,
    /// Answers with a status of 500 and more.
    Status5xx = 9,
    /// Microseconds that requests took, all together.
    LatencySum = 10,
    /// Microseconds that loops were at work, all together.
    BusySum = 11,
    /// Connections closed: the head of a request was not there in time.
    HeaderTimeout = 48,
    /// Connections closed, or streams reset: the body of a request made no progress.
    BodyTimeout = 49,
    /// Connections closed, or streams reset: the client did not read its answer.
    SendTimeout = 50,
    /// Connections closed: the client sent no further request in time.
    IdleTimeout = 51,
    /// Requests refused: the head was too large.
    HeadTooLarge = 52,
    /// Requests refused: the body was too large.
    BodyTooLarge = 53,
    /// Connections closed: too many of one address.
    PeerRefused = 54,
    /// Connections closed: HTTP/2 was flooded, by streams that are begun and reset, or by heads or frames without end.
    ResetFlood = 55,
    /// Connections closed: the TLS handshake failed.
    HandshakeFailed = 56,
    /// Connections closed: the TLS handshake was not done in time.
    HandshakeTimeout = 57,
    /// Connections closed: no PROXY protocol header where one has to be, or a wrong one.
    ProxyHeader = 58,
    /// Workers that ended by themselves, and were replaced.
    RestartCrash = 72,
    /// Workers that did not boot, or not in time.
    RestartBoot = 73,
    /// Workers whose loop stood still.
    RestartBlocked = 74,
    /// Workers that were killed at the drain-timeout.
    RestartDrainTimeout = 75,
    /// Workers replaced for their age.
    RestartLifetime = 76,
    /// Workers replaced for their size.
    RestartMemory = 77,
    /// Workers replaced since they, or an operator, had asked for it.
    RestartAsked = 78,
    /// Job servers and sidecars, for the same as workers.
    CompanionCrash = 79,
    /// Those that did not boot, or not in time.
    CompanionBoot = 80,
    /// Those whose loop stood still.
    CompanionBlocked = 81,
    /// Those that were killed at the drain-timeout.
    CompanionDrainTimeout = 82,
    /// Those replaced for their age.
    CompanionLifetime = 83,
    /// Those replaced for their size.
    CompanionMemory = 84,
    /// Those replaced since they, or an operator, had asked for it.
    CompanionAsked = 85,
}

impl Counter {
    /// The reasons for which connections are closed, or requests refused, with the name of each.
    ///
    /// Whoever adds a limit adds it here: it is then in the metrics.
    pub const LIMITS: [(Self, &'static str); 11] = [
        (Self::HeaderTimeout, "header-timeout"),
        (Self::BodyTimeout, "body-timeout"),
        (Self::SendTimeout, "send-timeout"),
        (Self::IdleTimeout, "keep-alive-timeout"),
        (Self::HeadTooLarge, "head-too-large"),
        (Self::BodyTooLarge, "body-too-large"),
        (Self::PeerRefused, "connections-of-one-peer"),
        (Self::ResetFlood, "reset-flood"),
        (Self::HandshakeFailed, "tls-handshake-failed"),
        (Self::HandshakeTimeout, "tls-handshake-timeout"),
        (Self::ProxyHeader, "proxy-header"),
    ];

    /// The reasons for which workers are replaced outside of roll-outs, with the name of each.
    pub const RESTARTS: [(Self, &'static str); 7] = [
        (Self::RestartCrash, "crash"),
        (Self::RestartBoot, "boot"),
        (Self::RestartBlocked, "blocked"),
        (Self::RestartDrainTimeout, "drain-timeout"),
        (Self::RestartLifetime, "lifetime"),
        (Self::RestartMemory, "memory"),
        (Self::RestartAsked, "asked"),
    ];

    /// The same for job servers and sidecars, in the same order.
    pub const COMPANION_RESTARTS: [(Self, &'static str); 7] = [
        (Self::CompanionCrash, "crash"),
        (Self::CompanionBoot, "boot"),
        (Self::CompanionBlocked, "blocked"),
        (Self::CompanionDrainTimeout, "drain-timeout"),
        (Self::CompanionLifetime, "lifetime"),
        (Self::CompanionMemory, "memory"),
        (Self::CompanionAsked, "asked"),
    ];

    /// The classes of answers, with the name of each.
    pub const CLASSES: [(Self, &'static str); 5] = [
        (Self::Status1xx, "1xx"),
        (Self::Status2xx, "2xx"),
        (Self::Status3xx, "3xx"),
        (Self::Status4xx, "4xx"),
        (Self::Status5xx, "5xx"),
    ];

    /// What the end of a worker counts as when it is one of a job server or a sidecar; itself, if that is no other.
    #[must_use]
    pub fn of_companion(self) -> Self {
        let lists = Self::RESTARTS.iter().zip(&Self::COMPANION_RESTARTS);
        lists.into_iter().find(|((worker, _), _)| *worker == self).map_or(self, |(_, (companion, _))| *companion)
    }

    pub(super) const fn place(self) -> usize {
        self as usize
    }
}

/// The place of the bucket that a latency of so many microseconds belongs to.
#[must_use]
#[inline]
pub(super) fn latency_place(micros: u64) -> usize {
    LATENCY.start + bucket(&LATENCY_BOUNDS, micros)
}

/// The place of the bucket that a step of so many microseconds belongs to.
#[must_use]
#[inline]
pub(super) fn step_place(micros: u64) -> usize {
    STEPS.start + bucket(&STEP_BOUNDS, micros)
}

fn bucket(bounds: &[u64], micros: u64) -> usize {
    bounds.iter().position(|bound| micros <= *bound).unwrap_or(bounds.len())
}

/// What has been counted.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Totals([u64; ROOM]);

impl Totals {
    /// Requests by how long they took: one bucket for each of [`LATENCY_BOUNDS`], and one for what took longer.
    ///
    /// They are counted while somebody can ask for them only; so are the steps.
    #[must_use]
    pub fn latency(&self) -> &[u64] {
        &self.0[LATENCY]
    }

    /// How long loops did not come by, one bucket for each of [`STEP_BOUNDS`], and one for what took longer.
    #[must_use]
    pub fn steps(&self) -> &[u64] {
        &self.0[STEPS]
    }

    /// Processes that were started in the place of one that had died, or had not come up.
    #[must_use]
    pub fn restarts(&self) -> u64 {
        let workers = [Counter::RestartCrash, Counter::RestartBoot, Counter::RestartBlocked];
        workers.iter().flat_map(|it| [*it, it.of_companion()]).map(|it| self[it]).sum()
    }

    /// With so many of one kind, for tests and examples.
    #[must_use]
    pub fn with(mut self, counter: Counter, count: u64) -> Self {
        self.0[counter.place()] = count;
        self
    }

    pub(super) fn from_words(words: impl Iterator<Item = u64>) -> Self {
        let mut totals = Self::default();
        totals.0.iter_mut().zip(words).for_each(|(total, word)| *total = word);
        totals
    }

    pub(super) fn words(&self) -> impl Iterator<Item = u64> {
        self.0.into_iter()
    }
}

impl Default for Totals {
    fn default() -> Self {
        Self([0; ROOM])
    }
}

impl Index<Counter> for Totals {
    type Output = u64;

    fn index(&self, counter: Counter) -> &u64 {
        &self.0[counter.place()]
    }
}

impl AddAssign for Totals {
    /// It does not wrap: other processes may have written anything.
    fn add_assign(&mut self, other: Self) {
        self.0.iter_mut().zip(other.0).for_each(|(total, more)| *total = total.saturating_add(more));
    }
}

impl std::fmt::Debug for Totals {
    /// Only what is not zero, by its place.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.0.iter().enumerate().filter(|(_, count)| **count > 0)).finish()
    }
}

// No two at one place: the ranges do not overlap, and there is room.
const _: () = assert!(STEPS.end <= Counter::HeaderTimeout.place() && Counter::CompanionAsked.place() < ROOM);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bucket_has_what_is_not_more_than_its_bound() {
        assert_eq!(latency_place(0), LATENCY.start);
        assert_eq!(latency_place(100), LATENCY.start);
        assert_eq!(latency_place(101), LATENCY.start + 1);
        assert_eq!(latency_place(u64::MAX), LATENCY.end - 1);
        assert_eq!((step_place(1000), step_place(1001)), (STEPS.start, STEPS.start + 1));
        assert_eq!(step_place(u64::MAX), STEPS.end - 1);
    }

    #[test]
    fn companions_are_counted_for_the_same_reasons() {
        for ((worker, of_workers), (companion, of_companions)) in
            Counter::RESTARTS.into_iter().zip(Counter::COMPANION_RESTARTS)
        {
            assert_eq!((worker.of_companion(), of_workers), (companion, of_companions));
        }
        assert_eq!(Counter::Requests.of_companion(), Counter::Requests);
    }

    #[test]
    fn every_place_is_given_once() {
        let lists = [&Counter::LIMITS[..], &Counter::RESTARTS, &Counter::COMPANION_RESTARTS, &Counter::CLASSES];
        let named: Vec<_> = lists.into_iter().flatten().map(|(counter, _)| counter.place()).collect();
        let places: std::collections::BTreeSet<_> = named.iter().collect();
        assert_eq!(places.len(), named.len());
        assert!(named.iter().all(|place| !LATENCY.contains(place) && !STEPS.contains(place)));
    }
}
