//! The crash-loop throttle: how soon a slot may try again, and when to give up.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::ids::Slot;
use crate::time::Moment;

const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(10);

/// Counts crashes of workers that did not stay ready for
/// [`STEADY`](crate::policy::STEADY).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Throttle {
    /// Crashes in a row, over all slots.
    row: u32,
    /// Failures in a row of each slot that has some, and when it may try again.
    slots: BTreeMap<Slot, Delay>,
    trust: Trust,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Delay {
    failures: u8,
    retry_at: Moment,
}

/// What this generation has shown so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Trust {
    /// No worker has stayed ready long enough yet.
    #[default]
    Unproven,
    /// One has.
    Proven,
    /// One had, and then more crashed in a row than the limit allows.
    Degraded,
}

impl Throttle {
    /// A worker of `slot` crashed early; the slot waits, twice as long each time. Returns the crashes in a row.
    pub fn crashed(&mut self, slot: Slot, now: Moment) -> u32 {
        self.row = self.row.saturating_add(1);
        self.delay(slot, now);
        self.row
    }

    /// The slot could not even fork: it waits as after a crash, but that counts towards no limit.
    pub fn delay(&mut self, slot: Slot, now: Moment) {
        let failures = self.slots.get(&slot).map_or(0, |delay| delay.failures);
        let wait = FIRST_DELAY.saturating_mul(1 << failures.min(7)).min(LONGEST_DELAY);
        self.slots.insert(slot, Delay { failures: (failures + 1).min(8), retry_at: now + wait });
    }

    /// A worker of `slot` has stayed ready long enough. Returns whether that ends a degraded time.
    pub fn steady(&mut self, slot: Slot) -> bool {
        self.row = 0;
        self.slots.remove(&slot);
        std::mem::replace(&mut self.trust, Trust::Proven) == Trust::Degraded
    }

    /// So has a companion, which says nothing about workers.
    pub fn stays_up(&mut self, slot: Slot) {
        self.slots.remove(&slot);
    }

    /// Too many crashes in a row. Returns whether that is news.
    pub fn degrade(&mut self) -> bool {
        std::mem::replace(&mut self.trust, Trust::Degraded) != Trust::Degraded
    }

    /// The queues come only now: what was shown without them counts for nothing.
    pub fn prove_anew(&mut self) {
        self.row = 0;
        self.trust = Trust::Unproven;
    }

    /// Crashes in a row.
    #[must_use]
    pub fn row(&self) -> u32 {
        self.row
    }

    /// What this generation has shown so far.
    #[must_use]
    pub fn trust(&self) -> Trust {
        self.trust
    }

    /// Whether `slot` may be tried now.
    #[must_use]
    pub fn may_try(&self, slot: Slot, now: Moment) -> bool {
        self.slots.get(&slot).is_none_or(|delay| delay.retry_at <= now)
    }

    /// When `slot` may be tried again, if it has to wait.
    #[must_use]
    pub fn retry_at(&self, slot: Slot) -> Option<Moment> {
        self.slots.get(&slot).map(|delay| delay.retry_at)
    }

    /// An operator wants it tried now: no slot waits any more, the row starts anew.
    pub fn forget(&mut self) {
        self.row = 0;
        self.slots.clear();
    }

    pub(crate) fn map_moments(&mut self, map: &impl Fn(Moment) -> Moment) {
        for delay in self.slots.values_mut() {
            delay.retry_at = map(delay.retry_at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_waits_twice_as_long_each_time_up_to_ten_seconds() {
        let mut throttle = Throttle::default();
        let waits: Vec<u64> = (0..10)
            .map(|_| {
                throttle.crashed(Slot(0), Moment(0));
                throttle.retry_at(Slot(0)).unwrap().0
            })
            .collect();
        assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000, 10_000]);
        assert!(throttle.may_try(Slot(1), Moment(0)));
    }

    #[test]
    fn a_steady_worker_ends_the_row() {
        let mut throttle = Throttle::default();
        assert_eq!(throttle.crashed(Slot(0), Moment(0)), 1);
        assert_eq!(throttle.crashed(Slot(1), Moment(0)), 2);
        assert!(!throttle.steady(Slot(0)), "was not degraded");
        assert_eq!(throttle.trust(), Trust::Proven);
        assert_eq!(throttle.crashed(Slot(1), Moment(0)), 1);
        assert!(throttle.degrade());
        assert!(!throttle.degrade(), "said once");
        assert!(throttle.steady(Slot(1)));
    }
}
