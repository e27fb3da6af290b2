//! The life of one worker process.
//!
//! ```text
//!            Ready             drain            exit
//! Starting ────────▶ Ready ─────────▶ Draining ─────▶ (reaped)
//!    │                 │ finish           ▲  │
//!    │                 └──▶ Finishing ────┘  │ drain-timeout
//!    ├── BootFailed ──▶ Failed Emptied       ▼
//!    └── boot-timeout ────────────────▶   Killed ───▶ (reaped)
//!                                            ▲
//!              Ready ── heartbeat-timeout ──▶ Blocked
//! ```
//! A process can exit in every phase. Nothing is sent to a pid after it was
//! reaped: the roster forgets it in the same step.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::event::Ending;
use crate::ids::{Pid, Slot};
use crate::notice::Cause;
use crate::policy::STEADY;
use crate::takes::Takes;
use crate::time::Moment;
use crate::wire::worker::{Whose, WorkerSays};

/// How long a worker whose application did not boot may take to exit.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// One worker process.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Worker {
    /// Its process.
    pub pid: Pid,
    /// Its place.
    pub slot: Slot,
    /// How far it has come.
    pub phase: Phase,
    /// Whether a new one should take its place.
    pub renewal: Renewal,
    /// Which connections it can go on with, once it is ready.
    pub takes: Takes,
    /// When it is old enough to be replaced, once it is ready.
    pub expires: Option<Moment>,
    /// Listeners that it does not serve: added after its fork, or retired before.
    pub lacks: BTreeSet<u16>,
    /// What keeps it from being ready, as it has said.
    pub waits_for: Option<String>,
}

/// How far a worker has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Forked; its application boots.
    Starting {
        /// When it is killed for not being ready.
        deadline: Moment,
    },
    /// Its application did not boot; it is about to exit.
    Failed {
        /// When it is killed for not having exited.
        deadline: Moment,
    },
    /// It may accept.
    Ready(Standing),
    /// The final stop: it accepts until its queues are empty.
    Finishing {
        /// When it is killed for not having drained.
        deadline: Moment,
    },
    /// It accepts no more and finishes what is open.
    Draining {
        /// When it is killed for not having drained.
        deadline: Moment,
        /// What it was told about its connections.
        bequest: Bequest,
    },
    /// Its loop stands still. SIGABRT is on its way, and it may say what it was doing.
    Blocked {
        /// When it is killed for not having ended by that.
        deadline: Moment,
    },
    /// SIGKILL is on its way.
    Killed {
        /// What for.
        cause: Cause,
    },
}

/// What becomes of the connections of a worker that drains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Bequest {
    /// Who takes them.
    pub heir: Option<Whose>,
    /// Whether its whole generation goes, so that it reads what is left in the relay.
    pub last: bool,
}

impl Bequest {
    /// They are closed politely, and nobody comes after.
    pub const NOTHING: Self = Self { heir: None, last: true };
}

/// Whether a ready worker has shown that it stays up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// Not yet: a crash before this moment counts towards the crash limit.
    Fresh {
        /// When it has stayed ready for [`STEADY`].
        steady_at: Moment,
    },
    /// It has.
    Steady,
}

/// Whether a new process should take a worker's place: the later, the more urgently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Renewal {
    /// It is as new as can be.
    None,
    /// A replacement is wanted, for its age or size or because somebody said
    /// so; it serves until that is ready.
    Due,
    /// The same, since it was there before the reload that goes on: the reload
    /// is not over until it is replaced.
    Outdated,
}

/// What a worker's message means for its master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It has become ready.
    Ready,
    /// It is not ready for want of this.
    Waits(String),
    /// It wants to be replaced.
    Recycle,
    /// Its queues are empty at the final stop.
    Emptied,
    /// Its application did not boot.
    BootFailed(String),
    /// Nothing, in its phase: it was said too late, or twice.
    Nothing,
}

/// What the time means for a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing yet.
    Nothing,
    /// It has stayed ready long enough.
    Steady,
    /// It has to be killed.
    Kill(Cause),
}

impl Worker {
    /// A worker that was just forked.
    #[must_use]
    pub fn starting(pid: Pid, slot: Slot, now: Moment, boot_timeout: Duration) -> Self {
        Self {
            pid,
            slot,
            phase: Phase::Starting { deadline: now + boot_timeout },
            renewal: Renewal::None,
            takes: Takes::nothing(),
            expires: None,
            lacks: BTreeSet::new(),
            waits_for: None,
        }
    }

    /// Takes a message in.
    pub fn hears(&mut self, says: WorkerSays, now: Moment) -> Heard {
        match (says, self.phase) {
            (WorkerSays::Ready { takes }, Phase::Starting { .. }) => {
                self.takes = takes;
                self.phase = Phase::Ready(Standing::Fresh { steady_at: now + STEADY });
                Heard::Ready
            }
            (WorkerSays::Waits { text }, Phase::Starting { .. }) => {
                self.waits_for = Some(text.clone());
                Heard::Waits(text)
            }
            (WorkerSays::BootFailed { text }, Phase::Starting { deadline }) => {
                self.phase = Phase::Failed { deadline: deadline.min(now + LAST_WORDS) };
                Heard::BootFailed(text)
            }
            (WorkerSays::Recycle, Phase::Ready(_)) => {
                self.renew();
                Heard::Recycle
            }
            (WorkerSays::Emptied, Phase::Finishing { deadline }) => {
                self.phase = Phase::Draining { deadline, bequest: Bequest::NOTHING };
                Heard::Emptied
            }
            (
                WorkerSays::Ready { .. }
                | WorkerSays::Waits { .. }
                | WorkerSays::BootFailed { .. }
                | WorkerSays::Recycle
                | WorkerSays::Emptied
                | WorkerSays::HowIsIt,
                Phase::Starting { .. }
                | Phase::Failed { .. }
                | Phase::Ready(_)
                | Phase::Finishing { .. }
                | Phase::Draining { .. }
                | Phase::Blocked { .. }
                | Phase::Killed { .. },
            ) => Heard::Nothing,
        }
    }

    /// Asks for a replacement, if none is wanted yet.
    pub fn renew(&mut self) {
        self.renewal = self.renewal.max(Renewal::Due);
    }

    /// A ready worker has to show once more that it stays up.
    pub fn prove_anew(&mut self, now: Moment) {
        if self.is_ready() {
            self.phase = Phase::Ready(Standing::Fresh { steady_at: now + STEADY });
        }
    }

    /// What is due by `now`; moves on by itself.
    pub fn due(&mut self, now: Moment) -> Due {
        let (due, phase) = match self.phase {
            Phase::Starting { deadline } if deadline <= now => kill(Cause::BootTimeout),
            Phase::Failed { deadline } if deadline <= now => kill(Cause::BootFailed),
            Phase::Finishing { deadline } | Phase::Draining { deadline, .. } if deadline <= now => {
                kill(Cause::DrainTimeout)
            }
            Phase::Blocked { deadline } if deadline <= now => kill(Cause::Blocked),
            Phase::Ready(Standing::Fresh { steady_at }) if steady_at <= now => {
                (Due::Steady, Phase::Ready(Standing::Steady))
            }
            Phase::Starting { .. }
            | Phase::Failed { .. }
            | Phase::Ready(_)
            | Phase::Finishing { .. }
            | Phase::Draining { .. }
            | Phase::Blocked { .. }
            | Phase::Killed { .. } => (Due::Nothing, self.phase),
        };
        self.phase = phase;
        due
    }

    /// When [`due`](Self::due) has something to say; changes with the phase only.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        match self.phase {
            Phase::Starting { deadline }
            | Phase::Failed { deadline }
            | Phase::Finishing { deadline }
            | Phase::Draining { deadline, .. }
            | Phase::Blocked { deadline } => Some(deadline),
            Phase::Ready(Standing::Fresh { steady_at }) => Some(self.expires_first(steady_at)),
            Phase::Ready(Standing::Steady) => self.expires.filter(|_| self.renewal == Renewal::None),
            Phase::Killed { .. } => None,
        }
    }

    /// Why it is gone, now that it was reaped.
    #[must_use]
    pub fn cause_of_end(&self, ending: Ending) -> Cause {
        match self.phase {
            Phase::Starting { .. } => Cause::CrashedBooting,
            Phase::Failed { .. } => Cause::BootFailed,
            Phase::Ready(_) => Cause::Crashed,
            Phase::Finishing { .. } | Phase::Draining { .. } => match ending {
                Ending::Code(0) => Cause::Drained,
                Ending::Code(_) | Ending::Signal(_) => Cause::CrashedDraining,
            },
            Phase::Blocked { .. } => Cause::Blocked,
            Phase::Killed { cause } => cause,
        }
    }

    fn expires_first(&self, other: Moment) -> Moment {
        self.expires.filter(|_| self.renewal == Renewal::None).map_or(other, |expires| expires.min(other))
    }

    /// Whether it may be given queues.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        matches!(self.phase, Phase::Ready(_))
    }

    /// Whether it is on its way to ready.
    #[must_use]
    pub fn is_starting(&self) -> bool {
        matches!(self.phase, Phase::Starting { .. })
    }

    /// Whether it serves, or will: neither draining nor killed.
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.is_ready() || self.is_starting()
    }

    pub(crate) fn map_moments(&mut self, map: &impl Fn(Moment) -> Moment) {
        self.expires = self.expires.map(map);
        match &mut self.phase {
            Phase::Starting { deadline }
            | Phase::Failed { deadline }
            | Phase::Finishing { deadline }
            | Phase::Draining { deadline, .. }
            | Phase::Blocked { deadline } => *deadline = map(*deadline),
            Phase::Ready(Standing::Fresh { steady_at }) => *steady_at = map(*steady_at),
            Phase::Ready(Standing::Steady) | Phase::Killed { .. } => {}
        }
    }
}

fn kill(cause: Cause) -> (Due, Phase) {
    (Due::Kill(cause), Phase::Killed { cause })
}

#[cfg(test)]
mod tests;
