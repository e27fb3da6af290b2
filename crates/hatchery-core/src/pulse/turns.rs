//! Whose loop stands still.
//!
//! A loop that is in the same odd turn for a quarter of a second is *blocked*:
//! with a queue for each worker, a neighbour accepts from its queues as well.
//! One that is there for heartbeat-timeout *hangs*: it is aborted. A loop that
//! waits is in an even turn, however long, and a request that takes long without
//! blocking the loop lets that turn.
//!
//! A loop that always has something to do never waits, and may be in one odd turn
//! for as long as that lasts. So whoever has been in one for half of that time is
//! asked whether it is there: its loop comes to the question between two other
//! things, and answers with a turn.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::action::Action;
use crate::ids::Pid;
use crate::master::{Actions, Master};
use crate::notice::Notice;
use crate::time::Moment;
use crate::wire::worker::MasterSays;
use crate::worker::Phase;

use super::{Reasons, Sample};

/// A loop that stands still for so long is blocked.
const BLOCKED: Duration = Duration::from_millis(250);

/// From SIGABRT to SIGKILL: it writes down what it was doing, and perhaps a core file.
const ABORT_GRACE: Duration = Duration::from_secs(5);

/// For so long after a look at loops that turn, the next ones are close.
const RESTLESS: Duration = Duration::from_secs(5);

/// What a loop with nothing to do but look at its idle connections turns in a second.
const QUIET_TURNS: u64 = 8;

/// The turns that loops are in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Turns {
    stands: BTreeMap<Pid, Stand>,
    blocked: BTreeSet<Pid>,
    /// Until when the next look is a close one.
    restless: Option<Moment>,
}

/// A turn, and what follows if the loop does not leave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Stand {
    turn: u64,
    /// When it is asked whether it is there, if that was not done.
    ask_at: Option<Moment>,
    blocked_at: Moment,
    hangs_at: Moment,
}

/// How much goes on.
pub(super) enum Mood {
    /// Some loop was at work at the last look.
    Works,
    /// Some loop has worked a moment ago.
    Restless,
    /// Nobody works.
    Calm,
}

impl Turns {
    pub(super) fn blocked(&self) -> &BTreeSet<Pid> {
        &self.blocked
    }

    pub(super) fn mood(&self) -> Mood {
        match self.restless {
            _ if self.stands.values().any(|stand| stand.turn % 2 == 1) => Mood::Works,
            Some(_) => Mood::Restless,
            None => Mood::Calm,
        }
    }

    pub(super) fn forget(&mut self, pid: Pid) {
        self.stands.remove(&pid);
        self.blocked.remove(&pid);
    }

    pub(super) fn map(&mut self, pid: &impl Fn(Pid) -> Pid, moment: &impl Fn(Moment) -> Moment) {
        let stand = |stand: &Stand| Stand {
            turn: stand.turn & 1,
            ask_at: stand.ask_at.map(moment),
            blocked_at: moment(stand.blocked_at),
            hangs_at: moment(stand.hangs_at),
        };
        self.stands = self.stands.iter().map(|(known, known_stand)| (pid(*known), stand(known_stand))).collect();
        self.blocked = self.blocked.iter().map(|known| pid(*known)).collect();
        self.restless = self.restless.map(moment);
    }

    /// Takes a look in. One that is stopped cannot turn, so it is as if it had begun now.
    fn look(&mut self, samples: &[Sample], reasons: Reasons, heartbeat: Duration, now: Moment) {
        let soonest = match (reasons.divided, reasons.heartbeat) {
            (true, true) => BLOCKED.min(heartbeat),
            (true, false) => BLOCKED,
            (false, _) => heartbeat,
        };
        if self.restless.is_some_and(|until| until <= now) {
            self.restless = None;
        }
        // Of whoever stops, or drains, nothing more is seen.
        self.stands.retain(|pid, _| samples.iter().any(|sample| sample.pid == *pid));
        for sample in samples {
            let new = Stand {
                turn: sample.turn,
                ask_at: Some(now + soonest / 2),
                blocked_at: now + BLOCKED,
                hangs_at: now + heartbeat,
            };
            let known = self.stands.entry(sample.pid).or_insert(new);
            if sample.turn.wrapping_sub(known.turn) > QUIET_TURNS {
                self.restless = Some(now + RESTLESS);
            }
            if known.turn != sample.turn || sample.stopped {
                *known = new;
            }
        }
    }

    /// Whom to ask whether it is there, once a turn.
    fn in_question(&mut self, now: Moment) -> Vec<Pid> {
        let is_due = |stand: &Stand| stand.turn % 2 == 1 && stand.ask_at.is_some_and(|at| at <= now);
        let due: Vec<Pid> = self.stands.iter().filter(|(_, stand)| is_due(stand)).map(|(pid, _)| *pid).collect();
        for pid in &due {
            self.stands.entry(*pid).and_modify(|stand| stand.ask_at = None);
        }
        due
    }

    fn late(&self, at: impl Fn(&Stand) -> Moment, now: Moment) -> impl Iterator<Item = Pid> {
        self.stands.iter().filter(move |(_, stand)| stand.turn % 2 == 1 && at(stand) <= now).map(|(pid, _)| *pid)
    }

    /// Who is blocked now and was not before, and the reverse.
    fn news_of_blocked(&mut self, now: Moment) -> (Vec<Pid>, Vec<Pid>) {
        let blocked: BTreeSet<Pid> = self.late(|stand| stand.blocked_at, now).collect();
        let (fell, rose) = (&blocked - &self.blocked, &self.blocked - &blocked);
        self.blocked = blocked;
        (fell.into_iter().collect(), rose.into_iter().collect())
    }
}

impl Master {
    pub(super) fn look_at_turns(&mut self, samples: &[Sample], reasons: Reasons, now: Moment, out: &mut Actions) {
        let heartbeat = self.policy.heartbeat_timeout;
        self.pulse.turns.look(samples, reasons, heartbeat, now);
        for pid in self.pulse.turns.in_question(now) {
            out.push(Action::Tell { pid, says: MasterSays::Ask });
        }
        if reasons.divided {
            let (fell, rose) = self.pulse.turns.news_of_blocked(now);
            self.tell_of(fell, |who, pid| Notice::WorkerBlocked { who, pid }, out);
            self.tell_of(rose, |who, pid| Notice::WorkerAnswers { who, pid }, out);
        }
        if reasons.heartbeat {
            let hang: Vec<Pid> = self.pulse.turns.late(|stand| stand.hangs_at, now).collect();
            self.tell_of(hang.clone(), |who, pid| Notice::WorkerHung { who, pid }, out);
            for pid in hang {
                self.abort_worker(pid, now, out);
            }
        }
        // Of whoever goes on with its queues, settling tells.
    }

    fn tell_of(&self, pids: Vec<Pid>, notice: impl Fn(crate::Who, Pid) -> Notice, out: &mut Actions) {
        let slots: BTreeMap<Pid, _> = self.roster.iter().map(|worker| (worker.pid, worker.slot)).collect();
        let known = pids.into_iter().filter_map(|pid| Some((self.who(*slots.get(&pid)?), pid)));
        out.extend(known.map(|(who, pid)| Action::Log(notice(who, pid))));
    }

    fn abort_worker(&mut self, pid: Pid, now: Moment, out: &mut Actions) {
        if let Some(worker) = self.roster.get_mut(pid).filter(|worker| worker.is_ready()) {
            worker.phase = Phase::Blocked { deadline: now + ABORT_GRACE };
            out.push(Action::Abort { pid });
        }
        self.queues.forget(pid);
        self.pulse.forget(pid);
    }
}
