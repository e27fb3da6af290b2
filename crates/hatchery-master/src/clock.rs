//! The master's time, which stands still while the master does.
//!
//! Nothing is anybody's fault that happened, or did not happen, while this
//! process was stopped, or the whole machine was: workers were not supervised, and
//! may not have run either. So a wait that ends late does not count beyond the time
//! at which it should have ended. Waits are short enough for that to be most of it.
//! Neither does anything else that takes long between two looks at the clock: it may
//! have been stopped in the middle of what it does.

use std::cell::Cell;
use std::time::{Duration, Instant};

use hatchery_core::Moment;

/// A wait that ends so much too late has been a standstill, and no busy machine.
const LATE: Duration = Duration::from_millis(300);

/// No wait with a deadline is longer: the time until its end could not be told from a standstill.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// How long the master has been running, standstills left out.
#[derive(Debug)]
pub(crate) struct Clock {
    begin: Instant,
    lost: Cell<Duration>,
    /// The last look.
    seen: Cell<Instant>,
}

impl Clock {
    pub(crate) fn start() -> Self {
        let begin = Instant::now();
        Self { begin, lost: Cell::default(), seen: Cell::new(begin) }
    }

    /// Milliseconds, rounded up, so that a deadline is never asked for a moment too early, again and again.
    pub(crate) fn now(&self) -> Moment {
        let since = self.seen.replace(Instant::now()).elapsed();
        if since > LATE {
            self.lost.set(self.lost.get() + since);
        }
        let elapsed = self.begin.elapsed().saturating_sub(self.lost.get());
        let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        Moment(millis.saturating_add(u64::from(!elapsed.subsec_nanos().is_multiple_of(1_000_000))))
    }

    /// How long to wait for something that is due after `timeout`.
    pub(crate) fn at_most(timeout: Option<Duration>) -> Option<Duration> {
        timeout.map(|timeout| timeout.min(LONGEST_WAIT))
    }

    /// Takes in a wait that has begun at the last look, and should have ended after `timeout` at the latest.
    pub(crate) fn waited(&self, timeout: Option<Duration>) {
        let since = self.seen.replace(Instant::now()).elapsed();
        let Some(late) = timeout.and_then(|timeout| since.checked_sub(timeout)) else { return };
        if late > LATE {
            self.lost.set(self.lost.get() + late);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn clock(ago: Duration) -> Clock {
        let now = Instant::now();
        Clock { begin: now.checked_sub(ago).unwrap(), lost: Cell::default(), seen: Cell::new(now) }
    }

    /// One whose last look was so long ago.
    fn unseen_for(span: Duration) -> Clock {
        let clock = clock(100 * SECOND);
        clock.seen.set(Instant::now().checked_sub(span).unwrap());
        clock
    }

    #[test]
    fn a_standstill_does_not_count() {
        let clock = unseen_for(61 * SECOND);
        clock.waited(Some(SECOND));
        assert!((40_000..41_000).contains(&clock.now().0), "{:?}", clock.now());
    }

    #[test]
    fn a_wait_that_is_a_little_late_counts() {
        for (span, timeout) in [(SECOND + LATE / 2, Some(SECOND)), (50 * SECOND, None), (Duration::ZERO, Some(SECOND))]
        {
            let clock = unseen_for(span);
            clock.waited(timeout);
            assert!((100_000..101_000).contains(&clock.now().0), "{:?}", clock.now());
        }
    }

    #[test]
    fn neither_does_one_between_two_looks() {
        let clock = clock(100 * SECOND);
        clock.seen.set(Instant::now().checked_sub(40 * SECOND).unwrap());
        assert!((60_000..61_000).contains(&clock.now().0), "{:?}", clock.now());
        clock.seen.set(Instant::now().checked_sub(LATE / 2).unwrap());
        assert!((60_000..61_000).contains(&clock.now().0), "{:?}", clock.now());
    }

    #[test]
    fn waits_for_a_deadline_are_short() {
        assert_eq!(Clock::at_most(Some(30 * SECOND)), Some(SECOND));
        assert_eq!(Clock::at_most(Some(SECOND / 2)), Some(SECOND / 2));
        assert_eq!(Clock::at_most(None), None);
    }
}
