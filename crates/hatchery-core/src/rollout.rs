//! Replacing workers inside one generation: reload and recycle.
//!
//! ```text
//!        HUP             settings read                nobody is outdated any more
//! Idle ───────▶ Rereading ─────────────▶ Rolling ──────────────────────────────────▶ Idle
//!                   └── refused ──▶ Idle     └── a new worker fails ──▶ Idle
//! ```
//! A roll-out marks every worker as outdated. One at a time, such a worker gets a
//! new one beside it in its slot, and drains as soon as that is ready. When a new
//! one fails, the marks are taken away: the old ones serve on. A recycle is the
//! same with one weaker mark and no operation around it. A roll-out does not wait
//! for recycles, and they wait for it: else workers that come of age faster than
//! they are replaced would keep it from ever ending.

use crate::action::Action;
use crate::event::Command;
use crate::ids::{Pid, Slot};
use crate::master::{Actions, Master};
use crate::notice::Notice;
use crate::policy::Policy;
use crate::shutdown::Life;
use crate::time::Moment;
use crate::upgrade::Upgrade;
use crate::worker::{Renewal, Worker};

/// How far a reload has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rollout {
    /// There is none.
    Idle,
    /// The settings are being read.
    Rereading,
    /// Workers are being replaced.
    Rolling,
}

impl Master {
    pub(crate) fn begin_reload(&mut self, out: &mut Actions) {
        self.rollout = Rollout::Rereading;
        out.push(Action::Log(Notice::ReloadBegun));
        out.push(Action::Reread);
    }

    pub(crate) fn settings_read(&mut self, policy: Policy, out: &mut Actions) {
        if policy.workers != self.policy.workers {
            self.target = policy.workers;
        }
        self.policy = policy;
        if self.rollout != Rollout::Rereading {
            return;
        }
        self.rollout = Rollout::Rolling;
        self.throttle.forget();
        self.wake(out);
        for worker in self.roster.iter_mut().filter(|worker| worker.is_current()) {
            worker.renewal = Renewal::Outdated;
        }
    }

    pub(crate) fn settings_refused(&mut self, text: String, out: &mut Actions) {
        if self.rollout != Rollout::Rereading {
            return;
        }
        self.rollout = Rollout::Idle;
        out.push(Action::Log(Notice::ReloadFailed { text }));
        self.wake(out);
    }

    /// Remembers what has to wait until the boot or the roll-out is over.
    pub(crate) fn postpone(&mut self, command: Command, until: &'static str, out: &mut Actions) {
        if self.postponed.insert(command) {
            out.push(Action::Log(Notice::Postponed { command, until }));
        }
    }

    /// What was postponed, one operation at a time, a reload before an upgrade.
    pub(crate) fn run_postponed(&mut self, out: &mut Actions) {
        if self.life != Life::Serving || self.rollout != Rollout::Idle || self.upgrade != Upgrade::Idle {
            return;
        }
        match self.postponed.pop_first() {
            Some(Command::Reload) => self.begin_reload(out),
            Some(Command::Upgrade) => self.begin_upgrade(out),
            // Nothing else is ever postponed.
            Some(
                Command::Stop
                | Command::StopAtOnce
                | Command::Reopen
                | Command::Rest
                | Command::More
                | Command::Fewer
                | Command::Scale(_)
                | Command::Recycle(_),
            )
            | None => {}
        }
    }

    /// Old workers whose replacement is ready drain. The queues were assigned before.
    pub(crate) fn retire_replaced(&mut self, now: Moment, out: &mut Actions) {
        if self.wanted() == 0 {
            return;
        }
        let newest = self.roster.newest_ready();
        let replaced: Vec<Pid> = self
            .roster
            .iter()
            .filter(|worker| worker.is_ready() && newest.get(&worker.slot) != Some(&worker.pid))
            .map(|worker| worker.pid)
            .collect();
        for pid in self.spare_last_holders(replaced, out) {
            self.let_go(pid, now, out);
        }
    }

    /// Workers beyond the target drain as soon as enough others are ready: until
    /// then they stand in for slots that are empty, or boot.
    pub(crate) fn retire_surplus(&mut self, now: Moment, out: &mut Actions) {
        let wanted = self.wanted();
        let Some(spare) = self.roster.ready_count().checked_sub(usize::from(wanted)).filter(|_| wanted > 0) else {
            return;
        };
        let beyond = |worker: &&Worker| worker.slot.0 >= wanted && !worker.slot.is_companion();
        let booting = self.roster.iter().filter(beyond).filter(|worker| worker.is_starting()).map(|worker| worker.pid);
        let mut ready: Vec<(Slot, Pid)> =
            self.roster.iter().filter(beyond).filter(|worker| worker.is_ready()).map(|w| (w.slot, w.pid)).collect();
        ready.sort_unstable();
        let surplus: Vec<Pid> = booting.chain(ready.into_iter().rev().take(spare).map(|(_, pid)| pid)).collect();
        let surplus = self.spare_last_holders(surplus, out);
        if surplus.is_empty() {
            return;
        }
        let mut farewells = Actions::new();
        for pid in surplus {
            self.let_go(pid, now, &mut farewells);
        }
        // Their queues go to those who stay, before they hear that they go.
        self.assign_queues(out);
        out.append(&mut farewells);
    }

    /// Forks the next replacement, if none is on its way.
    pub(crate) fn roll_on(&mut self, out: &mut Actions) {
        // One that is replaced may have to stay for a listener that is to be closed.
        let stays_on = self.roster.iter().filter(|worker| worker.is_ready()).count() > self.roster.newest_ready().len();
        if self.upgrade != Upgrade::Idle || self.rollout == Rollout::Rereading || self.roster.is_replacing() || stays_on
        {
            return;
        }
        let wanted = self.wanted();
        let stays = |slot: Slot| wanted > 0 && (slot.0 < wanted || slot.is_companion());
        // Recycles wait for a roll-out.
        let least = if self.rollout == Rollout::Rolling { Renewal::Outdated } else { Renewal::Due };
        let next: Option<(Slot, Pid)> = self
            .roster
            .iter()
            .filter(|worker| worker.is_ready() && worker.renewal >= least && stays(worker.slot))
            .map(|worker| (worker.slot, worker.pid))
            .min();
        if let Some((slot, pid)) = next {
            if self.rollout != Rollout::Rolling {
                out.push(Action::Log(Notice::RecycleBegun { who: self.who(slot), pid }));
            }
            self.spawn(slot, out);
        }
    }

    /// A worker failed that was forked just now. If it was to replace another one, the roll-out ends.
    pub(crate) fn newcomer_failed(&mut self, slot: Slot, text: &str, now: Moment, out: &mut Actions) {
        let who = self.who(slot);
        let replaces = self.roster.current(slot).any(|worker| worker.renewal > Renewal::None);
        if self.rollout == Rollout::Rolling {
            self.rollout = Rollout::Idle;
            out.push(Action::Log(Notice::ReloadFailed { text: format!("{who}: {text}") }));
        } else if replaces {
            out.push(Action::Log(Notice::RecycleFailed { text: format!("{who}: {text}") }));
        } else {
            return;
        }
        // Whoever is too old or too large is not replaced again and again by what does not boot.
        self.spare(now);
        // One that is replaced already, and stays for a listener that is to be closed, goes all the same.
        let newest = self.roster.newest_ready();
        for worker in self.roster.iter_mut() {
            let is_replaced = worker.is_ready() && newest.get(&worker.slot) != Some(&worker.pid);
            worker.renewal = if is_replaced { Renewal::Due } else { Renewal::None };
        }
    }

    /// A reload is over when no old worker accepts any more and every new one does.
    pub(crate) fn finish_reload(&mut self, out: &mut Actions) {
        let outdated = self.roster.iter().any(|worker| worker.is_current() && worker.renewal == Renewal::Outdated);
        let ready = self.roster.ready_by_slot().len();
        let all_ready = ready >= usize::from(self.wanted()) && self.companions_are_ready();
        if self.rollout == Rollout::Rolling && !outdated && all_ready {
            self.rollout = Rollout::Idle;
            out.push(Action::Log(Notice::ReloadDone));
        }
    }
}

#[cfg(test)]
mod tests;
