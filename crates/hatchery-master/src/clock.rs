//! The master's time, which stands still while the master does.
//!
//! Nothing is anybody's fault that happened, or did not happen, while this
//! process was stopped, or the whole machine was: workers were not supervised, and
//! may not have run either. So a wait that ends late does not count beyond the time
//! at which it should have ended. Waits are short enough for that to be most of it.

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
    lost: Duration,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { begin: Instant::now(), lost: Duration::ZERO }
    }

    /// Milliseconds, rounded up, so that a deadline is never asked for a moment too early, again and again.
    pub(crate) fn now(&self) -> Moment {
        let elapsed = self.begin.elapsed().saturating_sub(self.lost);
        let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        Moment(millis.saturating_add(u64::from(!elapsed.subsec_nanos().is_multiple_of(1_000_000))))
    }

    /// How long to wait for something that is due after `timeout`.
    pub(crate) fn at_most(timeout: Option<Duration>) -> Option<Duration> {
        timeout.map(|timeout| timeout.min(LONGEST_WAIT))
    }

    /// Takes in how long a wait has taken that should have ended after `timeout` at the latest.
    pub(crate) fn waited(&mut self, timeout: Option<Duration>, took: Duration) {
        let Some(late) = timeout.and_then(|timeout| took.checked_sub(timeout)) else { return };
        if late > LATE {
            self.lost += late;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn clock(ago: Duration) -> Clock {
        Clock { begin: Instant::now().checked_sub(ago).unwrap(), lost: Duration::ZERO }
    }

    #[test]
    fn a_standstill_does_not_count() {
        let mut clock = clock(100 * SECOND);
        clock.waited(Some(SECOND), 61 * SECOND);
        assert!((40_000..41_000).contains(&clock.now().0), "{:?}", clock.now());
    }

    #[test]
    fn a_wait_that_is_a_little_late_counts() {
        let mut clock = clock(100 * SECOND);
        clock.waited(Some(SECOND), SECOND + LATE);
        clock.waited(None, 50 * SECOND);
        clock.waited(Some(SECOND), Duration::ZERO);
        assert!((100_000..101_000).contains(&clock.now().0), "{:?}", clock.now());
    }

    #[test]
    fn waits_for_a_deadline_are_short() {
        assert_eq!(Clock::at_most(Some(30 * SECOND)), Some(SECOND));
        assert_eq!(Clock::at_most(Some(SECOND / 2)), Some(SECOND / 2));
        assert_eq!(Clock::at_most(None), None);
    }
}
