//! Companions: job servers and sidecars, which live as workers do and serve nobody.
//!
//! They have slots of their own, boot, are replaced in a roll-out and drain; but
//! no queue is assigned to them, no connection moves to them, and their number
//! is what the program says.
//!
//! Where a generation ends, whoever may send somebody something goes before
//! whoever gets it: the workers, then the sidecars, then job servers and the
//! admin process. Until then one that crashes is replaced.

use std::fmt;
use std::time::Duration;

use crate::ids::{Pid, Slot};
use crate::master::{Actions, Master};
use crate::time::Moment;
use crate::upgrade::Upgrade;
use crate::worker::{Phase, Worker};

/// The most companions that a master runs.
pub const MAX_COMPANIONS: u16 = 64;

/// What a sidecar has for draining at the least, where the workers have used up
/// the time: or the whole drain-timeout, if that is less.
pub const SIDECARS_LEAST: Duration = Duration::from_secs(5);

/// A process of the program's own beside the workers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Companion {
    /// What the program calls it.
    pub name: String,
    /// What it is for.
    pub kind: CompanionKind,
}

/// What a companion is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CompanionKind {
    /// It runs jobs for the workers.
    Jobs,
    /// What the program likes.
    Sidecar,
    /// It tells operators how the server is: it goes after the last worker, as a job server does.
    Admin,
}

/// A worker or a companion, as people know it.
///
/// ```
/// use hatchery_core::{Companion, CompanionKind, Slot, Who};
///
/// assert_eq!(Who { slot: Slot(3), companion: None }.to_string(), "worker 3");
/// let thumbnails = Companion { name: "thumbnails".to_owned(), kind: CompanionKind::Jobs };
/// let who = Who { slot: Slot::companion(0), companion: Some(thumbnails) };
/// assert_eq!(who.to_string(), "job server `thumbnails`");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Who {
    /// Its place.
    pub slot: Slot,
    /// Which companion it is, if it is no worker.
    pub companion: Option<Companion>,
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.companion {
            None => write!(f, "worker {}", self.slot),
            Some(Companion { name, kind: CompanionKind::Jobs }) => write!(f, "job server `{name}`"),
            Some(Companion { name, kind: CompanionKind::Sidecar | CompanionKind::Admin }) => {
                write!(f, "sidecar `{name}`")
            }
        }
    }
}

/// When somebody's turn to go has come, at the end of a generation: once nobody is left of those before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Turn {
    Worker,
    Sidecar,
    /// Who answers workers and sidecars, or tells of them.
    Last,
}

impl CompanionKind {
    fn turn(self) -> Turn {
        match self {
            Self::Sidecar => Turn::Sidecar,
            Self::Jobs | Self::Admin => Turn::Last,
        }
    }
}

impl Master {
    /// Who has this slot, as people know it.
    #[must_use]
    pub fn who(&self, slot: Slot) -> Who {
        Who { slot, companion: slot.as_companion().and_then(|index| self.companions.get(index)).cloned() }
    }

    fn turn(&self, slot: Slot) -> Turn {
        let companion = slot.as_companion().and_then(|index| self.companions.get(index));
        companion.map_or(Turn::Worker, |companion| companion.kind.turn())
    }

    /// The companions whose place has to be filled.
    pub(crate) fn wanted_companions(&self) -> impl Iterator<Item = Slot> {
        let serves = self.wanted() > 0;
        let first = self.roster.iter().filter(|it| may_send(it)).map(|it| self.turn(it.slot)).min();
        let wanted = move |kind: CompanionKind| serves || first.is_some_and(|first| first < kind.turn());
        let slots = (0..).map(Slot::companion).zip(&self.companions);
        slots.filter(move |(_, companion)| wanted(companion.kind)).map(|(slot, _)| slot)
    }

    /// Whether as many companions are ready as the program has.
    pub(crate) fn companions_are_ready(&self) -> bool {
        let ready = self.roster.newest_ready();
        (0..).map(Slot::companion).zip(&self.companions).all(|(slot, _)| ready.contains_key(&slot))
    }

    /// Those that nobody needs any more drain.
    pub(crate) fn retire_companions(&mut self, now: Moment, out: &mut Actions) {
        if self.companions.is_empty() {
            return;
        }
        // On probation the workers go on with what they have, and take back if need be.
        if self.wanted() > 0 || matches!(self.upgrade, Upgrade::Probation { .. }) {
            self.drained_by = None;
            return;
        }
        self.drained_by.get_or_insert(now + self.policy.drain_timeout);
        let Some(first) = self.roster.slots().map(|slot| self.turn(slot)).min() else { return };
        let leaving = self.roster.iter().filter(|it| it.slot.is_companion() && it.is_current());
        let leaving = leaving.filter(|it| self.turn(it.slot) == first);
        let leaving: Vec<Pid> = leaving.map(|companion| companion.pid).collect();
        for pid in leaving {
            self.let_go(pid, now, out);
        }
    }

    /// When one is killed that is told to drain now. A generation that ends has one
    /// drain-timeout for its workers and its sidecars; job servers, which have
    /// accepted what they have, begin theirs with their order.
    pub(crate) fn drain_deadline(&self, slot: Slot, now: Moment) -> Moment {
        let whole = self.policy.drain_timeout;
        match (self.turn(slot), self.drained_by) {
            (Turn::Sidecar, Some(by)) => by.max(now + SIDECARS_LEAST.min(whole)),
            (Turn::Sidecar, None) | (Turn::Worker | Turn::Last, _) => now + whole,
        }
    }

    /// How long the workers and the sidecars of a generation take to go, at the most.
    pub(crate) fn whole_drain(&self) -> Duration {
        let whole = self.policy.drain_timeout;
        let has_sidecars = self.companions.iter().any(|companion| companion.kind == CompanionKind::Sidecar);
        if has_sidecars { whole + SIDECARS_LEAST.min(whole) } else { whole }
    }
}

/// Somebody who serves, or still drains: it may order jobs, or tell a sidecar something.
fn may_send(worker: &Worker) -> bool {
    match worker.phase {
        Phase::Ready(_) | Phase::Finishing { .. } | Phase::Draining { .. } => true,
        Phase::Starting { .. } | Phase::Failed { .. } | Phase::Blocked { .. } | Phase::Killed { .. } => false,
    }
}

#[cfg(test)]
mod tests;
