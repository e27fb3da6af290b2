//! Whether the service lives, for the service manager's watchdog.
//!
//! The master speaks for its workers: as long as the loop of one that is ready goes round.
//! A loop waits in an even turn. One that is in the same odd turn as at the last look, and
//! has answered nothing since, is asked whether it is there: if it is only busy, it
//! answers, with another turn.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hatchery_core::Master;
use hatchery_core::shutdown::Life;
use hatchery_sys::Pid;

/// A loop that is busy is known to live at the second look: by half of the time.
const LOOKS: u32 = 4;

/// What a worker shows of life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Signs {
    pub(crate) pid: Pid,
    /// Of its loop; even while it waits.
    pub(crate) turn: u64,
    /// What it has accepted and answered.
    pub(crate) work: u64,
}

#[derive(Debug)]
pub(super) struct Watchdog {
    every: Duration,
    due: Instant,
    before: BTreeMap<i32, Signs>,
    asked: BTreeMap<i32, u64>,
}

impl Watchdog {
    pub(super) fn new(timeout: Duration) -> Self {
        Self { every: timeout / LOOKS, due: Instant::now(), before: BTreeMap::new(), asked: BTreeMap::new() }
    }

    pub(super) fn due(&self) -> Instant {
        self.due
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.due <= now
    }

    pub(super) fn postpone(&mut self, now: Instant) {
        self.due = now + self.every;
    }

    /// Whether the service lives, and who is to be asked.
    pub(super) fn look(&mut self, now: Instant, core: &Master, signs: Vec<Signs>) -> (bool, Vec<Pid>) {
        self.postpone(now);
        let signs: BTreeMap<i32, Signs> = signs.into_iter().map(|signs| (signs.pid.as_raw(), signs)).collect();
        let stands = |pid: &i32, now: &Signs| now.turn % 2 == 1 && self.before.get(pid) == Some(now);
        let standing = signs.iter().filter(|(pid, now)| stands(pid, now));
        let standing: BTreeMap<i32, u64> = standing.map(|(pid, now)| (*pid, now.turn)).collect();
        // Once a turn: whoever does not read lets the questions pile up.
        let unasked = standing.iter().filter(|(pid, turn)| self.asked.get(pid) != Some(turn));
        let silent: Vec<Pid> = unasked.map(|(pid, _)| Pid::from_raw(*pid)).collect();
        let is_ready = |pid: &i32| {
            core.workers().any(|worker| worker.pid.0 == *pid && worker.is_ready() && !worker.slot.is_companion())
        };
        let lives = match core.life() {
            Life::Serving | Life::LameDuck { .. } => signs.iter().any(|(pid, now)| is_ready(pid) && !stands(pid, now)),
            // Nobody has to be there, or not yet, or not any more: other limits are kept there.
            Life::Booting
            | Life::Resting
            | Life::Dozing
            | Life::Stopping { .. }
            | Life::GivingUp { .. }
            | Life::Over => true,
        };
        self.before = signs;
        self.asked = standing;
        (lives, silent)
    }
}
