//! How the workers are: whose loop stands still, who has more connections than
//! the others, who has become large, and whether anybody comes at all.
//!
//! All of it is seen on the board, which the driver samples when the core asks
//! for it: often while it matters, and once a second while nobody works.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::action::Action;
use crate::ids::{Pid, Slot};
use crate::master::{Actions, Master};
use crate::policy::ListenMode;
use crate::rollout::Rollout;
use crate::shutdown::Life;
use crate::time::Moment;
use crate::upgrade::Upgrade;
use crate::wire::worker::{MasterSays, Whose};
use crate::worker::{Phase, Worker};

use balance::Balance;
use idle::Idle;
use turns::Turns;

mod balance;
mod idle;
mod turns;

/// How often turns are looked at while a loop may be blocked, and while none is.
const CLOSE_LOOK: Duration = Duration::from_millis(50);
const GLANCE: Duration = Duration::from_millis(125);

/// How often connections are counted while they are evened out.
const ROUND: Duration = Duration::from_millis(100);

/// How often anything is looked at while there is nothing to be seen.
const CALM_ROUND: Duration = Duration::from_secs(1);

/// What the board and the system say about one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sample {
    /// The process.
    pub pid: Pid,
    /// Its connections.
    pub open: u64,
    /// Connections that it has accepted so far.
    pub accepted: u64,
    /// The turns of its loop: odd while it works.
    pub turn: u64,
    /// Whether it is stopped, by SIGSTOP or a debugger: it cannot answer.
    pub stopped: bool,
    /// The memory that it has resident, in bytes, if that was asked for.
    pub resident: Option<u64>,
}

/// What was seen of the workers so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Pulse {
    /// When the board is sampled next.
    next: Option<Moment>,
    /// How many were ready when that was decided: with others, a look is worth it soon.
    ready: usize,
    turns: Turns,
    balance: Balance,
    idle: Idle,
    /// When memory is looked at next.
    weigh: Option<Moment>,
    /// Until when nobody is replaced for its size.
    pub(crate) respite: Option<Moment>,
}

/// What there is to look for.
#[derive(Clone, Copy)]
struct Reasons {
    /// With a queue for each worker, clients of a blocked one wait.
    divided: bool,
    balance: bool,
    heartbeat: bool,
    memory: bool,
    idle: bool,
}

impl Reasons {
    fn any(self) -> bool {
        self.divided || self.balance || self.heartbeat || self.memory || self.idle
    }
}

impl Pulse {
    pub(crate) fn deadline(&self) -> Option<Moment> {
        self.next
    }

    /// Those that stand still while others could take from their queues.
    pub(crate) fn blocked(&self) -> &BTreeSet<Pid> {
        self.turns.blocked()
    }

    pub(crate) fn crowded(&self) -> BTreeSet<Pid> {
        self.balance.crowded()
    }

    /// It is gone, or drains.
    pub(crate) fn forget(&mut self, pid: Pid) {
        self.turns.forget(pid);
        self.balance.forget(pid);
    }

    pub(crate) fn map(&mut self, pid: &impl Fn(Pid) -> Pid, moment: &impl Fn(Moment) -> Moment) {
        self.next = self.next.map(moment);
        self.weigh = self.weigh.map(moment);
        self.respite = self.respite.map(moment);
        self.turns.map(pid, moment);
        self.balance.map(pid, moment);
        self.idle.map(pid, moment);
    }

    /// How soon the next look is worth its price.
    fn pace(&self, reasons: Reasons, heartbeat: Duration) -> Duration {
        let mut pace = if self.balance.is_evening() { ROUND } else { CALM_ROUND };
        if reasons.divided {
            pace = pace.min(match self.turns.mood() {
                turns::Mood::Works => CLOSE_LOOK,
                turns::Mood::Restless => GLANCE,
                turns::Mood::Calm => CALM_ROUND,
            });
        }
        if reasons.heartbeat { pace.min((heartbeat / 4).max(CLOSE_LOOK)) } else { pace }
    }
}

impl Master {
    /// Keeps looking for as long as there is something to be seen.
    pub(crate) fn settle_pulse(&mut self, now: Moment, out: &mut Actions) {
        if !self.may_even_out() {
            let told = self.pulse.balance.calm_down();
            for pid in &told {
                self.tell_shed(*pid, 0, out);
            }
            if !told.is_empty() {
                self.assign_queues(out);
            }
        }
        let ready = self.roster.iter().filter(|worker| worker.is_ready()).count();
        let reasons = self.reasons();
        if !reasons.divided && !self.pulse.blocked().is_empty() {
            self.pulse.turns = Turns::default();
            self.assign_queues(out);
        }
        if !reasons.any() {
            self.pulse = Pulse { respite: self.pulse.respite, ..Pulse::default() };
        } else if self.pulse.ready != ready {
            let soon = now + self.pulse.pace(reasons, self.policy.heartbeat_timeout).min(ROUND);
            self.pulse.ready = ready;
            self.pulse.next = Some(self.pulse.next.map_or(soon, |next| next.min(soon)));
        }
    }

    pub(crate) fn pulse_due(&mut self, now: Moment, out: &mut Actions) {
        if self.pulse.next.is_some_and(|next| next <= now) {
            let reasons = self.reasons();
            self.pulse.next = Some(now + self.pulse.pace(reasons, self.policy.heartbeat_timeout));
            let weigh = reasons.memory && self.pulse.weigh.is_none_or(|at| at <= now);
            if weigh {
                self.pulse.weigh = Some(now + CALM_ROUND);
            }
            out.push(Action::Sample { weigh });
        }
    }

    pub(crate) fn sampled(&mut self, samples: &[Sample], now: Moment, out: &mut Actions) {
        let ready: BTreeMap<Pid, Slot> = self.roster.iter().filter(|w| w.is_ready()).map(|w| (w.pid, w.slot)).collect();
        let samples: Vec<Sample> = samples.iter().copied().filter(|sample| ready.contains_key(&sample.pid)).collect();
        let reasons = self.reasons();
        if reasons.divided || reasons.heartbeat {
            self.look_at_turns(&samples, reasons, now, out);
        }
        let is_worker = |pid: Pid| ready.get(&pid).is_some_and(|slot| !slot.is_companion());
        let of_workers: Vec<Sample> = samples.iter().copied().filter(|sample| is_worker(sample.pid)).collect();
        if self.may_even_out() && of_workers.len() > 1 {
            let opens = of_workers.iter().map(|sample| (sample.pid, sample.open)).collect();
            let orders = self.pulse.balance.even_out(&opens, now);
            // First: nobody takes in what it hands over itself.
            self.assign_queues(out);
            for (pid, connections) in orders {
                self.tell_shed(pid, connections, out);
            }
        }
        let resident = samples.iter().filter_map(|sample| Some((sample.pid, sample.resident?))).collect();
        self.renew_the_large(&resident, now, out);
        if reasons.idle {
            self.look_for_anybody(&samples, now, out);
        }
        if self.pulse.next.is_some() {
            let reasons = self.reasons();
            self.pulse.next = Some(now + self.pulse.pace(reasons, self.policy.heartbeat_timeout));
        }
    }

    fn reasons(&self) -> Reasons {
        let ready = self.roster.ready_count();
        let anybody = self.roster.iter().any(Worker::is_ready);
        let several = self.accepts() && ready > 1;
        Reasons {
            divided: several && self.is_divided(),
            balance: several && self.policy.balance,
            heartbeat: anybody && self.policy.heartbeat_timeout > Duration::ZERO,
            memory: anybody && self.policy.max_memory > 0,
            idle: ready > 0 && self.policy.idle_timeout.is_some() && self.is_undisturbed(),
        }
    }

    fn tell_shed(&self, pid: Pid, connections: u32, out: &mut Actions) {
        if let Some(heir) = self.as_heir(Whose::Own) {
            out.push(Action::Tell { pid, says: MasterSays::Shed { connections, heir } });
        }
    }

    fn is_divided(&self) -> bool {
        self.listen_mode == ListenMode::Reuseport && self.queues.are_divided()
    }

    /// Not while connections move for another reason: their numbers say nothing then.
    fn may_even_out(&self) -> bool {
        let drains = |phase: Phase| matches!(phase, Phase::Draining { .. } | Phase::Killed { .. });
        self.policy.balance
            && self.is_undisturbed()
            && self.accepts()
            && !self.roster.serving().any(|worker| drains(worker.phase))
    }

    /// It serves, and no operation is under way.
    fn is_undisturbed(&self) -> bool {
        self.life == Life::Serving && self.upgrade == Upgrade::Idle && self.rollout == Rollout::Idle
    }
}

#[cfg(test)]
mod tests;
