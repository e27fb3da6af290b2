//! How the workers are: who does not answer, and who has more connections than the others.
//!
//! Both are seen on the board, which the driver samples when the core asks for
//! it. With a queue for each worker a blocked one keeps clients waiting that a
//! neighbour could serve, so its turns are watched. And connections stick to the
//! worker that has accepted them, so their numbers are evened out now and then.
//!
//! ```text
//!         one has clearly more              all are about even
//! Calm ─────────────────────────▶ Evening ─────────────────────▶ Calm
//!                                    │ it does not help
//!                                    └──▶ Pausing ── a while ──▶ Calm
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::action::Action;
use crate::ids::{Pid, Slot};
use crate::master::{Actions, Master};
use crate::notice::Notice;
use crate::policy::ListenMode;
use crate::rollout::Rollout;
use crate::shutdown::Life;
use crate::time::Moment;
use crate::upgrade::Upgrade;
use crate::wire::worker::{MasterSays, Whose};
use crate::worker::Phase;

/// A loop that stands still for so long is blocked.
const BLOCKED: Duration = Duration::from_millis(250);

/// How often turns are looked at while a loop may be blocked, and while none is.
const CLOSE_LOOK: Duration = Duration::from_millis(50);
const GLANCE: Duration = Duration::from_millis(125);

/// How often connections are counted while they are evened out, and while they are even.
const ROUND: Duration = Duration::from_millis(100);
const CALM_ROUND: Duration = Duration::from_secs(1);

/// After so many rounds those that are left over cannot move.
const MOST_ROUNDS: u32 = 20;
const PAUSE: Duration = Duration::from_secs(30);

/// What the board says about one worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sample {
    /// Its process.
    pub pid: Pid,
    /// Its connections.
    pub open: u64,
    /// The turns of its loop: odd while it works.
    pub turn: u64,
}

/// What was seen of the workers so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Pulse {
    /// When the board is sampled next.
    next: Option<Moment>,
    /// By when it has to be: a master that comes later was stopped itself.
    latest: Option<Moment>,
    /// How many were ready when that was decided: with others, a look is worth it soon.
    ready: usize,
    /// The turn that a loop is in, and when it is blocked if it has not left that.
    turns: BTreeMap<Pid, (u64, Moment)>,
    pub(crate) blocked: BTreeSet<Pid>,
    balance: Balance,
}

/// How the connections are spread.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
enum Balance {
    #[default]
    Calm,
    Evening {
        round: u32,
        /// Those above the mean: they take in none.
        crowded: BTreeSet<Pid>,
        /// Those that were told to hand some over.
        shedding: BTreeSet<Pid>,
    },
    Pausing {
        until: Moment,
    },
}

impl Pulse {
    pub(crate) fn deadline(&self) -> Option<Moment> {
        self.next
    }

    pub(crate) fn crowded(&self) -> BTreeSet<Pid> {
        match &self.balance {
            Balance::Evening { crowded, .. } => crowded.clone(),
            Balance::Calm | Balance::Pausing { .. } => BTreeSet::new(),
        }
    }

    /// It is gone, or drains.
    pub(crate) fn forget(&mut self, pid: Pid) {
        self.turns.remove(&pid);
        self.blocked.remove(&pid);
        if let Balance::Evening { crowded, shedding, .. } = &mut self.balance {
            crowded.remove(&pid);
            shedding.remove(&pid);
        }
    }

    pub(crate) fn map(&mut self, pid: &impl Fn(Pid) -> Pid, moment: &impl Fn(Moment) -> Moment) {
        let pids = |set: &BTreeSet<Pid>| set.iter().map(|known| pid(*known)).collect();
        self.next = self.next.map(moment);
        self.latest = self.latest.map(moment);
        self.turns =
            self.turns.iter().map(|(known, (turn, until))| (pid(*known), (turn & 1, moment(*until)))).collect();
        self.blocked = pids(&self.blocked);
        match &mut self.balance {
            Balance::Calm => {}
            Balance::Evening { crowded, shedding, .. } => {
                *crowded = pids(crowded);
                *shedding = pids(shedding);
            }
            Balance::Pausing { until } => *until = moment(*until),
        }
    }

    /// How soon the next look is worth its price.
    fn pace(&self, divided: bool) -> Duration {
        let count = match self.balance {
            Balance::Evening { .. } => ROUND,
            Balance::Calm | Balance::Pausing { .. } => CALM_ROUND,
        };
        let works = self.turns.values().any(|(turn, _)| turn % 2 == 1);
        match (divided, works) {
            (true, true) => count.min(CLOSE_LOOK),
            (true, false) => count.min(GLANCE),
            (false, _) => count,
        }
    }

    /// Who stands in an odd turn for too long. Returns those who do so now and did not before, and the reverse.
    fn watch(&mut self, samples: &[Sample], now: Moment) -> (Vec<Pid>, Vec<Pid>) {
        // A master that was stopped itself, or that had no processor, knows nothing of that time.
        let slept = self.latest.is_none_or(|latest| latest < now);
        self.latest = Some(now + BLOCKED);
        for sample in samples {
            let new = (sample.turn, now + BLOCKED);
            let known = self.turns.entry(sample.pid).or_insert(new);
            if known.0 != sample.turn || slept {
                *known = new;
            }
        }
        let stands = |(turn, until): &(u64, Moment)| turn % 2 == 1 && *until <= now;
        let blocked: BTreeSet<Pid> = self.turns.iter().filter(|(_, seen)| stands(seen)).map(|(pid, _)| *pid).collect();
        let (fell, rose) = (&blocked - &self.blocked, &self.blocked - &blocked);
        self.blocked = blocked;
        (fell.into_iter().collect(), rose.into_iter().collect())
    }

    /// What every worker with too many connections is told.
    fn even_out(&mut self, opens: &BTreeMap<Pid, u64>, now: Moment) -> Vec<(Pid, u32)> {
        let total: u64 = opens.values().sum();
        let mean = total.div_ceil(opens.len().max(1) as u64);
        let above = |slack: u64| opens.iter().filter(move |(_, open)| **open > mean + slack);
        let round = match &self.balance {
            Balance::Pausing { until } if now < *until => return Vec::new(),
            Balance::Calm | Balance::Pausing { .. } if above((mean / 8).max(8)).next().is_none() => {
                self.balance = Balance::Calm;
                return Vec::new();
            }
            Balance::Calm | Balance::Pausing { .. } => 0,
            Balance::Evening { round, .. } => round + 1,
        };
        let mut orders: BTreeMap<Pid, u32> = above((mean / 16).max(1))
            .map(|(pid, open)| (*pid, u32::try_from(open - mean).unwrap_or(u32::MAX)))
            .collect();
        let shedding: BTreeSet<Pid> = orders.keys().copied().collect();
        if let Balance::Evening { shedding: before, .. } = &self.balance {
            orders.extend(before.difference(&shedding).map(|pid| (*pid, 0)));
        }
        self.balance = if shedding.is_empty() {
            Balance::Calm
        } else if round >= MOST_ROUNDS {
            orders.values_mut().for_each(|number| *number = 0);
            Balance::Pausing { until: now + PAUSE }
        } else {
            let crowded = above(0).map(|(pid, _)| *pid).collect();
            Balance::Evening { round, crowded, shedding }
        };
        orders.into_iter().collect()
    }

    /// Everybody keeps what it has. Returns who has to hear that.
    fn calm_down(&mut self) -> BTreeSet<Pid> {
        match std::mem::take(&mut self.balance) {
            Balance::Evening { shedding, .. } => shedding,
            paused @ Balance::Pausing { .. } => {
                self.balance = paused;
                BTreeSet::new()
            }
            Balance::Calm => BTreeSet::new(),
        }
    }
}

impl Master {
    /// Keeps looking for as long as there is something to be seen.
    pub(crate) fn settle_pulse(&mut self, now: Moment, out: &mut Actions) {
        if !self.may_even_out() {
            let told = self.pulse.calm_down();
            for pid in &told {
                self.tell_shed(*pid, 0, out);
            }
            if !told.is_empty() {
                self.assign_queues(out);
            }
        }
        let (divided, ready) = (self.is_divided(), self.roster.ready_count());
        let worth_it = self.accepts() && ready > 1 && (divided || self.policy.balance);
        if !worth_it {
            if self.pulse != Pulse::default() {
                self.pulse = Pulse::default();
                self.assign_queues(out);
            }
        } else if self.pulse.ready != ready {
            let soon = now + self.pulse.pace(divided).min(ROUND);
            self.pulse.ready = ready;
            self.pulse.next = Some(self.pulse.next.map_or(soon, |next| next.min(soon)));
        }
    }

    pub(crate) fn pulse_due(&mut self, now: Moment, out: &mut Actions) {
        if self.pulse.next.is_some_and(|next| next <= now) {
            self.pulse.next = Some(now + self.pulse.pace(self.is_divided()));
            out.push(Action::Sample);
        }
    }

    pub(crate) fn sampled(&mut self, samples: &[Sample], now: Moment, out: &mut Actions) {
        let ready: BTreeMap<Pid, Slot> = self.roster.iter().filter(|w| w.is_ready()).map(|w| (w.pid, w.slot)).collect();
        let samples: Vec<Sample> = samples.iter().copied().filter(|sample| ready.contains_key(&sample.pid)).collect();
        if self.is_divided() {
            let (fell, rose) = self.pulse.watch(&samples, now);
            out.extend(fell.iter().map(|pid| Action::Log(Notice::WorkerBlocked { slot: ready[pid], pid: *pid })));
            let answers = rose.iter().filter_map(|pid| Some((*ready.get(pid)?, *pid)));
            out.extend(answers.map(|(slot, pid)| Action::Log(Notice::WorkerAnswers { slot, pid })));
        }
        if self.may_even_out() && samples.len() > 1 {
            let opens = samples.iter().map(|sample| (sample.pid, sample.open)).collect();
            let orders = self.pulse.even_out(&opens, now);
            // First: nobody takes in what it hands over itself.
            self.assign_queues(out);
            for (pid, connections) in orders {
                self.tell_shed(pid, connections, out);
            }
        }
        if self.pulse.next.is_some() {
            self.pulse.next = Some(now + self.pulse.pace(self.is_divided()));
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
            && self.life == Life::Serving
            && self.upgrade == Upgrade::Idle
            && self.rollout == Rollout::Idle
            && self.accepts()
            && !self.roster.iter().any(|worker| drains(worker.phase))
    }
}

#[cfg(test)]
mod tests;
