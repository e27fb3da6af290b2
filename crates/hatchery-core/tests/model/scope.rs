//! How much may happen in one exploration.

use std::time::Duration;

use hatchery_core::{Command, Companion, CompanionKind, Generation, Lineage, Policy, Seed};

use crate::choice::Deed;
use crate::world::mode_of;

/// What a world starts with, and how much of each kind may happen to it.
///
/// What processes do when all is well costs nothing: they boot, drain and speak
/// in every order. Time passes for nothing where everybody waits for it.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
    pub(crate) name: &'static str,
    pub(crate) workers: u16,
    /// Accept queues of each listener.
    pub(crate) queues: &'static [u16],
    pub(crate) companions: &'static [CompanionKind],
    /// What the master looks at the board for.
    pub(crate) looks: Looks,
    pub(crate) stop_delay: Duration,
    pub(crate) drain: Duration,
    pub(crate) probation: Duration,
    pub(crate) crash_limit: u32,
    /// What an operator may ask for.
    pub(crate) commands: &'static [Command],
    /// What else can become of a worker that is ready.
    pub(crate) moods: &'static [Deed],
    /// Whether each reload asks for another listener in the place of the last one.
    pub(crate) revises: bool,
    /// How many masters there can be at a time.
    pub(crate) masters: usize,
    pub(crate) budget: Budget,
}

/// What a master looks at the board for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Looks {
    pub(crate) balance: bool,
    pub(crate) heartbeat: Duration,
    pub(crate) lifetime: Duration,
    pub(crate) memory: bool,
    pub(crate) idle: Option<Duration>,
}

/// The memory above which a worker is replaced, where that is looked at.
pub(crate) const LARGE: u64 = 1000;

/// How often things may happen that need not happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Budget {
    /// Commands of an operator.
    pub(crate) commands: u8,
    /// Workers that crash, or whose application does not boot.
    pub(crate) crashes: u8,
    /// Masters that are killed, or fail before their loop.
    pub(crate) deaths: u8,
    /// Forks, starts, settings and queues that are refused.
    pub(crate) refusals: u8,
    /// Workers that ask to be replaced.
    pub(crate) recycles: u8,
    /// Workers whose loop stands still, that are stopped, crowded or large.
    pub(crate) moods: u8,
    /// The clock moves on although somebody could do something.
    pub(crate) delays: u8,
}

impl Scope {
    pub(crate) fn policy(&self) -> Policy {
        Policy {
            workers: self.workers,
            boot_timeout: Duration::from_secs(5),
            stop_delay: self.stop_delay,
            drain_timeout: self.drain,
            crash_limit: self.crash_limit,
            probation: self.probation,
            balance: self.looks.balance,
            heartbeat_timeout: self.looks.heartbeat,
            max_lifetime: self.looks.lifetime,
            max_memory: if self.looks.memory { LARGE } else { 0 },
            idle_timeout: self.looks.idle,
        }
    }

    pub(crate) fn seed(&self, generation: Generation, lineage: Lineage, scaled: Option<u16>, queues: Vec<u16>) -> Seed {
        let companions = self.companions.iter().map(|kind| Companion { name: "it".to_owned(), kind: *kind });
        Seed {
            policy: self.policy(),
            generation,
            listen_mode: mode_of(&queues),
            queues,
            lineage,
            scaled,
            companions: companions.collect(),
        }
    }
}
