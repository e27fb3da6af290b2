//! What a connection is doing, how long it may, and what the sweep wants of it.

use std::time::Duration;

use hatchery_worker::ledger::Doing;

use crate::limits::Resolved;

/// How long a drain waits at most for the next request of a client that was busy a moment ago, and for the rest of a head.
pub(crate) const WINDOW: Duration = Duration::from_secs(1);

/// How long a connection that we have shut down may take to be closed by its client.
pub(crate) const LINGER: Duration = Duration::from_secs(1);

/// How long a client that had nothing to say may take to see that we have closed.
const FAREWELL: Duration = Duration::from_millis(100);

/// What a connection is doing, as far as limits are concerned.
///
/// ```text
/// Handshake -> Fresh -> Head -> Handler <-> Body, Send, Gone -> Idle -> Parked
///                         ^                                      |        |
///                         +--------------------------------------+--------+
/// Fresh, Head, Parked -> Moving
/// Handler -> Upgraded
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// A TLS handshake. Its start is never refreshed.
    #[cfg_attr(not(any(feature = "tls", test)), expect(dead_code, reason = "without TLS there is none"))]
    Handshake,
    /// Accepted, and not a byte seen.
    Fresh,
    /// A part of a request head has come. Its start is never refreshed.
    Head,
    /// A handler has the request, or makes the answer: no limit.
    Handler,
    /// The rest of a request body is waited for.
    Body,
    /// The client does not read the answer.
    Send,
    /// The client has shut its side while a handler works for it.
    Gone,
    /// Active, and waiting for the next request.
    Idle,
    /// Parked, and waiting for the next request.
    Parked,
    /// Parked, and waiting for room on the way to another process: no limit but the worker's own.
    Moving,
    /// Given away to an application: no limit but that of a drain.
    Upgraded,
    /// HTTP/2 without a request, after at least one.
    Http2Idle,
    /// HTTP/2 that was told to go and has nothing in flight.
    Http2Leaving,
    /// Shut by us after an answer; the client has not closed yet.
    Lingering,
    /// Shut by us while nothing was going on.
    Farewell,
}

impl Phase {
    /// The same in fewer words, which other protocols use as well.
    pub(crate) fn doing(self) -> Doing {
        match self {
            Self::Handshake | Self::Fresh | Self::Head => Doing::Head,
            Self::Handler | Self::Gone => Doing::Handler,
            Self::Body => Doing::Body,
            Self::Send => Doing::Sending,
            Self::Idle | Self::Http2Idle => Doing::Idle,
            Self::Parked => Doing::Parked,
            Self::Moving => Doing::Moving,
            Self::Upgraded => Doing::Upgraded,
            Self::Http2Leaving | Self::Lingering | Self::Farewell => Doing::Closing,
        }
    }
}

/// What the sweep wants a connection to do; the greater one wins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Order {
    /// Nothing.
    #[default]
    None,
    /// Give hyper's buffers back.
    Park,
    /// See which of its streams have had their time.
    Look,
    /// Go to another process, where there are fewer.
    Shed,
    /// The worker drains.
    Drain,
    /// The limit of the phase has passed.
    Expire,
}

/// How long a drain waits for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Patience {
    /// For a client that has to say something, or to close.
    client: Duration,
    /// For an application that was given a connection.
    upgraded: Duration,
    /// That time is over, and the rest is for clients that are still there.
    ends: bool,
}

impl Patience {
    /// When so much is left of the drain.
    ///
    /// Connections that could not move have the last half of it, or 3 s: in that a
    /// client has to be waited for, and then to have its time to close. Applications
    /// have nearly all of it: they were told to end what they do.
    pub(crate) fn of(left: Duration) -> Self {
        Self { client: WINDOW.min(left / 5), upgraded: left - Duration::from_secs(2).min(left / 4), ends: false }
    }

    /// The same so long after the drain has begun.
    pub(crate) fn after(self, passed: Duration) -> Self {
        Self { ends: passed >= self.upgraded, ..self }
    }
}

/// What has to happen to a connection that has been in `phase` for `age`.
///
/// `patience` is that of a drain, `None` while there is none. The start of a
/// phase is as coarse as the pace, so that much is added to each limit: none ends early.
pub(crate) fn judge(
    phase: Phase,
    age: Duration,
    pace: Duration,
    limits: &Resolved,
    patience: Option<Patience>,
) -> Order {
    let soon = |limit: Duration| patience.map_or(limit, |patience| limit.min(patience.client));
    let limit = match phase {
        Phase::Handshake => soon(limits.handshake),
        Phase::Fresh | Phase::Head => soon(limits.head),
        Phase::Idle | Phase::Parked | Phase::Http2Idle => soon(limits.idle),
        Phase::Body => within(limits.body, patience),
        Phase::Send | Phase::Gone => within(limits.send, patience),
        Phase::Http2Leaving => soon(WINDOW),
        Phase::Lingering => soon(LINGER),
        Phase::Farewell => FAREWELL,
        Phase::Upgraded => match patience {
            Some(patience) => patience.upgraded,
            None => return Order::None,
        },
        Phase::Handler | Phase::Moving => return Order::None,
    };
    if age > limit.saturating_add(pace) {
        Order::Expire
    } else if phase == Phase::Idle && age > pace {
        Order::Park
    } else {
        Order::None
    }
}

/// How long a client may be silent in the middle of a request: a drain does not wait for it to its own end.
pub(crate) fn within(limit: Duration, patience: Option<Patience>) -> Duration {
    match patience {
        Some(patience) if patience.ends => limit.min(patience.client),
        Some(_) | None => limit,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Limits;

    const PACE: Duration = Duration::from_millis(100);

    fn limits() -> Resolved {
        let secs = Duration::from_secs;
        Limits::default()
            .head(secs(15))
            .body(secs(30))
            .send(secs(40))
            .idle(secs(75))
            .handshake(secs(10))
            .resolve(&hatchery_worker::Limits::default())
    }

    /// The last age in milliseconds that is not yet too old, serving and draining.
    #[test]
    fn each_phase_has_its_limit() {
        for (phase, serving, draining) in [
            (Phase::Handshake, Some(10_100), Some(1_100)),
            (Phase::Fresh, Some(15_100), Some(1_100)),
            (Phase::Head, Some(15_100), Some(1_100)),
            (Phase::Handler, None, None),
            (Phase::Body, Some(30_100), Some(30_100)),
            (Phase::Send, Some(40_100), Some(40_100)),
            (Phase::Gone, Some(40_100), Some(40_100)),
            (Phase::Idle, Some(75_100), Some(1_100)),
            (Phase::Parked, Some(75_100), Some(1_100)),
            (Phase::Moving, None, None),
            (Phase::Upgraded, None, Some(8_100)),
            (Phase::Http2Idle, Some(75_100), Some(1_100)),
            (Phase::Http2Leaving, Some(1_100), Some(1_100)),
            (Phase::Lingering, Some(1_100), Some(1_100)),
            (Phase::Farewell, Some(200), Some(200)),
        ] {
            let drain = Patience::of(Duration::from_secs(10));
            for (patience, last) in [(None, serving), (Some(drain), draining)] {
                let judge = |ms| judge(phase, Duration::from_millis(ms), PACE, &limits(), patience);
                match last {
                    Some(last) => {
                        assert_ne!(judge(last), Order::Expire, "{phase:?} draining with {patience:?}");
                        assert_eq!(judge(last + 1), Order::Expire, "{phase:?} draining with {patience:?}");
                    }
                    None => assert_eq!(judge(1_000_000_000), Order::None, "{phase:?}"),
                }
            }
        }
    }

    #[test]
    fn at_the_end_of_a_drain_silent_clients_have_a_moment() {
        let drain = Patience::of(Duration::from_secs(10));
        for (passed, last) in [(7_999, 30_100), (8_000, 1_100)] {
            let patience = Some(drain.after(Duration::from_millis(passed)));
            let judge = |ms| judge(Phase::Body, Duration::from_millis(ms), PACE, &limits(), patience);
            assert_eq!((judge(last), judge(last + 1)), (Order::None, Order::Expire), "after {passed} ms");
        }
    }

    #[test]
    fn only_an_idle_connection_is_parked() {
        let judge = |phase| judge(phase, PACE * 2, PACE, &limits(), None);
        assert_eq!(judge(Phase::Idle), Order::Park);
        assert_eq!(judge(Phase::Parked), Order::None);
        assert_eq!(judge(Phase::Handler), Order::None);
        assert_eq!(judge(Phase::Head), Order::None);
    }

    /// Whoever gives up moving has half of the time, or 3 s of it, for both windows.
    #[test]
    fn what_a_drain_waits_for_fits_into_what_is_left_of_it() {
        for left in [0, 100, 1000, 4000, 30_000].map(Duration::from_millis) {
            let rest = (left / 2).min(Duration::from_secs(3));
            let patience = Patience::of(left);
            assert!(patience.client * 2 <= rest, "{left:?}");
            assert!(patience.upgraded + patience.client <= left, "{left:?}");
        }
        assert_eq!(Patience::of(Duration::from_secs(5)).client, WINDOW);
    }
}
