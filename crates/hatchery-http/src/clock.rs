//! The time, as limits see it.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// A clock that is read by everybody and moved by the sweep alone.
///
/// It runs in milliseconds, wraps after 49 days, and does not count time in
/// which the whole worker was blocked or stopped: the clients' bytes may have
/// been waiting in the kernel all the while.
#[derive(Debug)]
pub(crate) struct Clock {
    now: Cell<u32>,
    last: Cell<Instant>,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { now: Cell::new(0), last: Cell::new(Instant::now()) }
    }

    pub(crate) fn now(&self) -> u32 {
        self.now.get()
    }

    pub(crate) fn advance(&self, pace: Duration) {
        let passed = self.last.replace(Instant::now()).elapsed().min(pace * 2);
        self.now.set(self.now.get().wrapping_add(millis(passed)));
    }
}

/// How long ago something began.
pub(crate) fn elapsed(now: u32, since: u32) -> Duration {
    Duration::from_millis(u64::from(now.wrapping_sub(since)))
}

/// When something began that has been going on for so long; half of the clock's round at most.
pub(crate) fn ago(now: u32, passed: Duration) -> u32 {
    now.wrapping_sub(millis(passed).min(u32::MAX / 2))
}

fn millis(span: Duration) -> u32 {
    u32::try_from(span.as_millis()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_survive_the_wrap_of_the_clock() {
        assert_eq!(elapsed(5, u32::MAX - 4), Duration::from_millis(10));
        assert_eq!(ago(5, Duration::from_millis(10)), u32::MAX - 4);
    }

    #[test]
    fn an_age_that_no_clock_can_hold_is_still_old() {
        assert!(elapsed(7, ago(7, Duration::MAX)) > Duration::from_secs(1_000_000));
    }
}
