//! Replacing the running program: the predecessor's half of an upgrade.
//!
//! ```text
//!        USR2            READY             TAKEN             probation over
//! Idle ───────▶ Preparing ─────▶ Committed ─────▶ Probation ───────────────▶ Retiring ──▶ (exit)
//!  ▲               │ error, EOF,     │ timeout        │    │ Released            │ Released
//!  │               │ boot-timeout    │                │    └──────▶ Leaving ◀────┘
//!  │               ▼                 ▼                │ successor dies          │ successor dies
//!  └─────────── Aborting ◀───────────┴──── take back ◀┴─────────────────────────┘
//! ```
//! Until TAKEN this generation accepts; until it exits it can take back.
//! Aborting lasts until the successor's workers are gone too: they hold copies
//! of the link, which closes with the last of them.

use crate::ids::Pid;
use crate::time::Moment;

mod steps;

/// How far an upgrade has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Upgrade {
    /// There is none.
    Idle,
    /// A successor is being started.
    Starting,
    /// It boots.
    Preparing {
        /// Its process.
        successor: Pid,
        /// When it has to be ready.
        deadline: Moment,
        /// Whether it can still speak.
        link: Link,
    },
    /// COMMIT was sent.
    Committed {
        /// Its process.
        successor: Pid,
        /// When it has to have taken over.
        deadline: Moment,
    },
    /// It serves; the workers here accept no more, but keep what they have.
    Probation {
        /// Its process.
        successor: Pid,
        /// When the workers begin to drain.
        until: Moment,
    },
    /// It serves; the workers here drain, and with the last one this master goes.
    Retiring {
        /// Its process.
        successor: Pid,
    },
    /// As Retiring, but nothing is taken back: the successor has been released.
    Leaving,
    /// It failed, or was called off, and is on its way out.
    Aborting {
        /// Its process, until it was reaped.
        successor: Option<Pid>,
        /// Whether some process of its generation is left.
        link: Link,
        /// What the clock does next.
        patience: Patience,
    },
}

/// The channel between the masters, of which each process of the successor's generation holds a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Link {
    /// Somebody holds the other end.
    Open,
    /// Nobody does.
    Closed,
}

/// What the clock does to a successor that is not wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Patience {
    /// SIGTERM was sent.
    Kill {
        /// When SIGKILL follows.
        at: Moment,
    },
    /// SIGKILL was sent, or it is dead; its workers may be left.
    Forget {
        /// When they are not waited for any longer.
        at: Moment,
    },
}

impl Upgrade {
    /// The successor, if it is a child that was not reaped.
    #[must_use]
    pub fn successor(&self) -> Option<Pid> {
        match self {
            Self::Preparing { successor, .. }
            | Self::Committed { successor, .. }
            | Self::Probation { successor, .. }
            | Self::Retiring { successor } => Some(*successor),
            Self::Aborting { successor, .. } => *successor,
            Self::Idle | Self::Starting | Self::Leaving => None,
        }
    }

    /// Whether the successor has taken over.
    #[must_use]
    pub fn is_handed_over(&self) -> bool {
        match self {
            Self::Probation { .. } | Self::Retiring { .. } | Self::Leaving => true,
            Self::Idle | Self::Starting | Self::Preparing { .. } | Self::Committed { .. } | Self::Aborting { .. } => {
                false
            }
        }
    }

    /// Whether this generation ends with its last worker.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        matches!(self, Self::Retiring { .. } | Self::Leaving)
    }

    /// Whether an unwanted successor has to be waited for.
    #[must_use]
    pub fn has_child(&self) -> bool {
        self.successor().is_some() || *self == Self::Starting
    }

    /// When the clock alone changes something.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        match self {
            Self::Preparing { deadline, .. } | Self::Committed { deadline, .. } => Some(*deadline),
            Self::Probation { until, .. } => Some(*until),
            Self::Aborting { patience: Patience::Kill { at } | Patience::Forget { at }, .. } => Some(*at),
            Self::Idle | Self::Starting | Self::Retiring { .. } | Self::Leaving => None,
        }
    }

    pub(crate) fn map(&mut self, pid: &impl Fn(Pid) -> Pid, moment: &impl Fn(Moment) -> Moment) {
        match self {
            Self::Preparing { successor, deadline: at, .. }
            | Self::Committed { successor, deadline: at }
            | Self::Probation { successor, until: at } => {
                *successor = pid(*successor);
                *at = moment(*at);
            }
            Self::Retiring { successor } => *successor = pid(*successor),
            Self::Aborting { successor, patience: Patience::Kill { at } | Patience::Forget { at }, .. } => {
                *successor = successor.map(pid);
                *at = moment(*at);
            }
            Self::Idle | Self::Starting | Self::Leaving => {}
        }
    }
}

#[cfg(test)]
mod tests;
