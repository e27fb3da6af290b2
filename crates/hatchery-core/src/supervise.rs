//! Workers that speak, die, or take too long.

use crate::action::Action;
use crate::event::Ending;
use crate::ids::{Pid, Slot};
use crate::lineage::Lineage;
use crate::master::{Actions, Master};
use crate::notice::{Cause, Notice};
use crate::shutdown::Life;
use crate::throttle::Trust;
use crate::time::Moment;
use crate::wire::upgrade::SuccessorSays;
use crate::wire::worker::WorkerSays;
use crate::worker::{Due, Heard, Phase, Renewal, Standing, Worker};

impl Master {
    pub(crate) fn worker_says(&mut self, pid: Pid, says: WorkerSays, now: Moment, out: &mut Actions) {
        let Some(worker) = self.roster.get_mut(pid) else { return };
        let (slot, renewal) = (worker.slot, worker.renewal);
        let heard = worker.hears(says, now);
        let who = self.who(slot);
        match heard {
            Heard::Ready => {
                out.push(Action::Log(Notice::WorkerReady { who, pid }));
                self.begin_age(pid, now);
                if !slot.is_companion() {
                    self.declared(pid, out);
                }
            }
            Heard::Waits(text) => self.worker_waits(slot, pid, text, out),
            Heard::BootFailed(text) => {
                out.push(Action::Log(Notice::BootFailed { who, pid, text: text.clone() }));
                self.boot_failed(slot, renewal, &text, now, out);
            }
            // Settling sees that the worker is due, or that the queues are empty.
            Heard::Recycle | Heard::Emptied | Heard::Nothing => {}
        }
    }

    /// All workers of a program wait for the same: whoever serves meanwhile is told once.
    fn worker_waits(&self, slot: Slot, pid: Pid, text: String, out: &mut Actions) {
        let who = self.who(slot);
        let is_first = self.roster.iter().all(|other| other.pid == pid || other.waits_for.is_none());
        if is_first && matches!(self.lineage, Lineage::Awaiting(_)) {
            let name = format!("{who} waits: {text}");
            out.push(Action::TellPredecessor(SuccessorSays::Phase { name }));
        }
        out.push(Action::Log(Notice::WorkerWaits { who, pid, text }));
    }

    pub(crate) fn worker_exited(&mut self, worker: &Worker, ending: Ending, now: Moment, out: &mut Actions) {
        let (slot, pid, cause) = (worker.slot, worker.pid, worker.cause_of_end(ending));
        self.queues.forget(pid);
        self.pulse.forget(pid);
        out.push(Action::Log(Notice::WorkerExited { who: self.who(slot), pid, ending, cause }));
        match worker.phase {
            Phase::Starting { .. } => {
                let text = format!("it ended before it was ready: {ending}");
                self.failed_early(slot, worker.renewal, &text, now, out);
            }
            Phase::Ready(Standing::Fresh { .. }) => {
                let text = format!("it ended soon after it was ready: {ending}");
                self.failed_early(slot, worker.renewal, &text, now, out);
            }
            // One that had stayed up is replaced at once, and its crash starts no row.
            Phase::Ready(Standing::Steady)
            | Phase::Failed { .. }
            | Phase::Finishing { .. }
            | Phase::Draining { .. }
            | Phase::Blocked { .. }
            | Phase::Killed { .. } => {}
        }
    }

    pub(crate) fn workers_due(&mut self, now: Moment, out: &mut Actions) {
        self.renew_the_old(now, out);
        let mut overdue: Vec<(Worker, Cause)> = Vec::new();
        for worker in self.roster.iter_mut() {
            match worker.due(now) {
                Due::Nothing => {}
                Due::Steady => {
                    if worker.slot.is_companion() {
                        self.throttle.stays_up(worker.slot);
                    } else if self.throttle.steady(worker.slot) {
                        out.push(Action::Log(Notice::Recovered));
                    }
                }
                Due::Kill(cause) => overdue.push((worker.clone(), cause)),
            }
        }
        for (worker, cause) in overdue {
            out.push(Action::Kill { pid: worker.pid });
            match cause {
                Cause::BootTimeout => self.boot_timed_out(&worker, now, out),
                Cause::DrainTimeout => self.note_kill(),
                Cause::Drained
                | Cause::CrashedDraining
                | Cause::Crashed
                | Cause::CrashedBooting
                | Cause::BootFailed
                | Cause::Blocked
                | Cause::Unwanted
                | Cause::StopNow => {}
            }
        }
    }

    fn boot_timed_out(&mut self, worker: &Worker, now: Moment, out: &mut Actions) {
        let mut text = "it did not become ready within boot-timeout".to_owned();
        if let Some(reason) = &worker.waits_for {
            text = format!("{text}: {reason}");
            out.push(Action::Log(Notice::BootFailed {
                who: self.who(worker.slot),
                pid: worker.pid,
                text: text.clone(),
            }));
        }
        self.boot_failed(worker.slot, worker.renewal, &text, now, out);
    }

    /// The application itself said that it cannot boot, or took too long: at the
    /// first boot that is the end, since the next try would do the same.
    fn boot_failed(&mut self, slot: Slot, renewal: Renewal, text: &str, now: Moment, out: &mut Actions) {
        if self.life == Life::Booting && self.may_give_up() {
            return self.give_up(format!("{}: {text}", self.who(slot)), now, out);
        }
        self.failed_early(slot, renewal, text, now, out);
    }

    fn failed_early(&mut self, slot: Slot, renewal: Renewal, text: &str, now: Moment, out: &mut Actions) {
        let replaced = self.roster.filled().contains(&slot);
        // One that was to be replaced says nothing about the new ones.
        if renewal == Renewal::None {
            self.newcomer_failed(slot, text, now, out);
        }
        if !replaced {
            self.count_crash(slot, text, now, out);
        }
    }

    pub(crate) fn count_crash(&mut self, slot: Slot, text: &str, now: Moment, out: &mut Actions) {
        // Nobody is worse served by a companion that does not stay up: it tries again, ever slower,
        // also for workers that drain.
        if slot.is_companion() && self.life != Life::Booting {
            return self.throttle.delay(slot, now);
        }
        // Nobody takes its place, so it begins no row: least of all one that
        // would end in shutting the queues which a successor serves.
        if self.wanted() == 0 {
            return;
        }
        let crashes = self.throttle.crashed(slot, now);
        if crashes < self.crash_limit() {
            return;
        }
        if self.throttle.trust() == Trust::Unproven && self.may_give_up() {
            self.give_up(format!("{crashes} crashes in a row, the last in {}: {text}", self.who(slot)), now, out);
        } else if self.throttle.degrade() {
            out.push(Action::Log(Notice::Degraded { crashes }));
        }
    }

    /// What workers have shown before they had queues does not count.
    pub(crate) fn prove_anew(&mut self, now: Moment) {
        self.throttle.prove_anew();
        for worker in self.roster.iter_mut() {
            worker.prove_anew(now);
        }
    }

    /// While a predecessor can take back, a new program that has shown nothing
    /// yet is given up sooner: one round of crashes, but never for a single one.
    fn crash_limit(&self) -> u32 {
        match (self.lineage, self.throttle.trust()) {
            (Lineage::Backed { .. }, Trust::Unproven) => self.policy.crash_limit.min(u32::from(self.target).max(2)),
            (Lineage::Backed { .. }, Trust::Proven | Trust::Degraded)
            | (Lineage::First | Lineage::Awaiting(_) | Lineage::Heir | Lineage::Released { .. } | Lineage::Alone, _) => {
                self.policy.crash_limit
            }
        }
    }

    /// A first boot may fail, and a successor with somebody behind it. Where
    /// nobody else would serve, trying on is better than an end; so it is where
    /// the program that cures it is on its way.
    fn may_give_up(&self) -> bool {
        (self.lineage == Lineage::First && !self.upgrade.has_child()) || self.lineage.has_predecessor()
    }
}
