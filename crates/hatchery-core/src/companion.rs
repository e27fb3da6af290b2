//! Companions: job servers and sidecars, which live as workers do and serve nobody.
//!
//! They have slots of their own, boot, are replaced in a roll-out and drain; but
//! no queue is assigned to them, no connection moves to them, and their number
//! is what the program says. A sidecar goes together with the workers. A job
//! server goes after the last one, since workers that drain may wait for jobs.

use std::fmt;

use crate::ids::{Pid, Slot};
use crate::master::{Actions, Master};
use crate::time::Moment;
use crate::upgrade::Upgrade;
use crate::worker::{Phase, Worker};

/// The most companions that a master runs.
pub const MAX_COMPANIONS: u16 = 64;

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

impl CompanionKind {
    /// Whether it is there for as long as there are workers, also when those drain.
    fn outlasts_workers(self) -> bool {
        match self {
            Self::Jobs | Self::Admin => true,
            Self::Sidecar => false,
        }
    }
}

impl Master {
    /// Who has this slot, as people know it.
    #[must_use]
    pub fn who(&self, slot: Slot) -> Who {
        Who { slot, companion: slot.as_companion().and_then(|index| self.companions.get(index)).cloned() }
    }

    /// The companions whose place has to be filled.
    pub(crate) fn wanted_companions(&self) -> impl Iterator<Item = Slot> {
        let (serves, asks) = (self.wanted() > 0, self.roster.iter().any(may_ask_for_jobs));
        let wanted = move |companion: &Companion| serves || companion.kind.outlasts_workers() && asks;
        let slots = (0..).map(Slot::companion).zip(&self.companions);
        slots.filter(move |(_, companion)| wanted(companion)).map(|(slot, _)| slot)
    }

    /// Whether as many companions are ready as the program has.
    pub(crate) fn companions_are_ready(&self) -> bool {
        let ready = self.roster.newest_ready();
        (0..).map(Slot::companion).zip(&self.companions).all(|(slot, _)| ready.contains_key(&slot))
    }

    /// Those that nobody needs any more drain.
    pub(crate) fn retire_companions(&mut self, now: Moment, out: &mut Actions) {
        // On probation the workers go on with what they have, and take back if need be.
        if self.wanted() > 0 || matches!(self.upgrade, Upgrade::Probation { .. }) {
            return;
        }
        let workers_are_left = self.roster.has_workers();
        let needed = |slot: Slot| {
            let kind = slot.as_companion().and_then(|index| self.companions.get(index)).map(|it| it.kind);
            kind.is_some_and(CompanionKind::outlasts_workers) && workers_are_left
        };
        let leaving = self.roster.iter().filter(|it| it.slot.is_companion() && it.is_current() && !needed(it.slot));
        let leaving: Vec<Pid> = leaving.map(|companion| companion.pid).collect();
        for pid in leaving {
            self.let_go(pid, now, out);
        }
    }
}

/// Somebody who serves, or still drains.
fn may_ask_for_jobs(worker: &Worker) -> bool {
    let lives = match worker.phase {
        Phase::Ready(_) | Phase::Finishing { .. } | Phase::Draining { .. } => true,
        Phase::Starting { .. } | Phase::Failed { .. } | Phase::Blocked { .. } | Phase::Killed { .. } => false,
    };
    lives && !worker.slot.is_companion()
}

#[cfg(test)]
mod tests;
