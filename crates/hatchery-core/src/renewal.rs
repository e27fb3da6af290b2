//! Workers that are too old or too large are replaced, as a TERM to them would have it.
//!
//! Here they are only marked: the roll-out does the rest, one slot at a time and
//! with a replacement first. If that does not boot, nobody is marked for a while.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::action::Action;
use crate::ids::{Pid, Slot};
use crate::master::{Actions, Master};
use crate::notice::Notice;
use crate::time::Moment;
use crate::worker::Renewal;

/// After a replacement that did not boot.
const RESPITE: Duration = Duration::from_secs(30);

impl Master {
    /// Its age counts from now on.
    pub(crate) fn begin_age(&mut self, pid: Pid, now: Moment) {
        let lifetime = self.policy.max_lifetime;
        if let Some(worker) = self.roster.get_mut(pid).filter(|_| lifetime > Duration::ZERO) {
            worker.expires = Some(now + lifetime + extra(worker.slot, lifetime / 10));
        }
    }

    pub(crate) fn renew_the_old(&mut self, now: Moment, out: &mut Actions) {
        let is_old = |expires: Option<Moment>| expires.is_some_and(|expires| expires <= now);
        let mut old: Vec<(Slot, Pid)> = Vec::new();
        for worker in self.roster.iter_mut() {
            if worker.is_ready() && worker.renewal == Renewal::None && is_old(worker.expires) {
                worker.renewal = Renewal::Due;
                old.push((worker.slot, worker.pid));
            }
        }
        out.extend(old.into_iter().map(|(slot, pid)| Action::Log(Notice::TooOld { who: self.who(slot), pid })));
    }

    /// `resident` is what each process holds, in bytes.
    pub(crate) fn renew_the_large(&mut self, resident: &BTreeMap<Pid, u64>, now: Moment, out: &mut Actions) {
        let limit = self.policy.max_memory;
        if limit == 0 || self.pulse.respite.is_some_and(|until| now < until) {
            return;
        }
        self.pulse.respite = None;
        let mut large: Vec<(Slot, Pid, u64)> = Vec::new();
        for worker in self.roster.iter_mut().filter(|worker| worker.is_ready() && worker.renewal == Renewal::None) {
            if let Some(resident) = resident.get(&worker.pid).filter(|resident| **resident > limit) {
                worker.renewal = Renewal::Due;
                large.push((worker.slot, worker.pid, *resident));
            }
        }
        for (slot, pid, resident) in large {
            out.push(Action::Log(Notice::TooLarge { who: self.who(slot), pid, resident, limit }));
        }
    }

    /// Nobody is replaced for its age or size for a while.
    pub(crate) fn spare(&mut self, now: Moment) {
        let until = now + RESPITE;
        self.pulse.respite = Some(until);
        for worker in self.roster.iter_mut() {
            worker.expires = worker.expires.map(|expires| expires.max(until));
        }
    }
}

/// Up to `most`, another one in each slot, so that slots do not come of age together.
fn extra(slot: Slot, most: Duration) -> Duration {
    // The golden ratio spreads neighbours as far apart as can be.
    let share = slot.0.wrapping_mul(40_503);
    most.mul_f64(f64::from(share) / f64::from(u16::MAX))
}

#[cfg(test)]
mod tests;
