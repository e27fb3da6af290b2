//! Who waits for which operation, and how that ends.
//!
//! What an operation comes to is what the core says of it: its notices, and where
//! there is none, its state after the step.
//!
//! ```text
//! Asked ──▶ Postponed ──▶ Running ──▶ answered
//!   └── refused, or not waited for ──────▲
//! ```

use hatchery_control::{Refusal, Reply};
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
    /// Whether its end is waited for, and not its beginning.
    pub(super) to_the_end: bool,
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
    /// another one would be refused, to whoever tries again at once.
    Aborting(String),
}

impl Wait {
    pub(super) fn new(command: Command, to_the_end: bool, core: &Master) -> Option<Self> {
        let goal = match command {
            Command::Upgrade => Goal::Upgrade,
            Command::Reload => Goal::Reload,
            Command::Scale(workers) => Goal::Scale(workers),
            Command::Recycle(slot) => Goal::Recycle { slot, old: core.ready().get(&slot).copied() },
            Command::Reopen => Goal::Reopen,
            Command::Stop => Goal::Stop,
            Command::StopAtOnce | Command::Rest | Command::More | Command::Fewer => return None,
        };
        Some(Self { goal, stage: Stage::Asked, to_the_end })
    }

    pub(super) fn succession() -> Self {
        Self { goal: Goal::Succession, stage: Stage::Running, to_the_end: true }
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
        self.passes(stage, &notice.to_string())
    }

    fn passes(&mut self, stage: Stage, text: &str) -> Option<Reply> {
        self.stage = stage;
        (!self.to_the_end).then(|| Reply::Done { text: text.to_owned() })
    }
}
