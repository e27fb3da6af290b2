//! Who waits for which operation, and how that ends.
//!
//! What an operation comes to is what the core says of it: its notices, and where
//! there is none, its state after the step.
//!
//! ```text
//! Asked ──▶ Postponed ──▶ Running ──▶ answered
//!   └── refused, or not waited for ──────▲
//! ```

use std::time::Instant;

use hatchery_control::{Refusal, Reply, Until};
use hatchery_core::{Command, Master, Notice, Outcome};

pub(super) use goal::Goal;

mod goal;
mod hears;
mod looks;

/// Somebody's operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wait {
    pub(super) goal: Goal,
    pub(super) stage: Stage,
    pub(super) until: Until,
}

/// How far it has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The core is being told.
    Asked,
    /// Something else comes first.
    Postponed,
    /// It has begun.
    Running,
    /// It has failed for this reason, and what there is of the successor goes: until then
    /// another one would have to wait.
    Aborting(String),
    /// The predecessor of this master has died, and nobody is left who could take back: what
    /// the probation would have shown is looked at here.
    Watching { until: Instant },
}

impl Wait {
    pub(super) fn new(command: Command, until: Until, core: &Master) -> Option<Self> {
        let goal = match command {
            Command::Upgrade => Goal::Upgrade,
            Command::Reload => Goal::Reload,
            Command::Scale(workers) => Goal::Scale(workers),
            Command::Recycle(slot) => Goal::Recycle { slot, old: core.ready().get(&slot).copied() },
            Command::Reopen => Goal::Reopen,
            Command::Stop => Goal::Stop,
            Command::StopAtOnce | Command::Rest | Command::More | Command::Fewer => return None,
        };
        Some(Self { goal, stage: Stage::Asked, until })
    }

    pub(super) fn succession(until: Until) -> Self {
        Self { goal: Goal::Succession, stage: Stage::Running, until }
    }

    /// Whether its end is waited for, and not its beginning.
    pub(super) fn is_to_the_end(&self) -> bool {
        self.until != Until::Begun
    }

    /// When the clock alone answers it.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Watching { until } => Some(*until),
            Stage::Asked | Stage::Postponed | Stage::Running | Stage::Aborting(_) => None,
        }
    }

    /// What the end of the master means for it.
    pub(super) fn ends(&self, outcome: &Outcome, replaced: bool) -> Reply {
        let failed = |because, text: &str| Reply::Failed { because, text: text.to_owned() };
        match (self.goal, outcome) {
            (Goal::Stop, Outcome::Drained) => {
                Reply::Done { text: "stopped: everything was drained, exit code 0".to_owned() }
            }
            (Goal::Stop, Outcome::Killed) => {
                failed(Refusal::Failed, "stopped, but something had to be killed: exit code 2")
            }
            (_, Outcome::BootFailed { text }) => failed(Refusal::Failed, text),
            (_, Outcome::Drained | Outcome::Killed) if replaced => {
                failed(Refusal::Replaced, "the successor serves by now: ask there")
            }
            (_, Outcome::Drained | Outcome::Killed | Outcome::Dormant) => {
                failed(Refusal::Failed, "the server has stopped")
            }
        }
    }

    fn passes_to(&mut self, stage: Stage, notice: &Notice) -> Option<Reply> {
        self.stage = stage;
        (!self.is_to_the_end()).then(|| Reply::Done { text: notice.to_string() })
    }
}
