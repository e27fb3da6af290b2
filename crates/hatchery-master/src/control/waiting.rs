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
use hatchery_core::notice::Cause;
use hatchery_core::rollout::Rollout;
use hatchery_core::shutdown::Life;
use hatchery_core::upgrade::Upgrade;
use hatchery_core::{Command, Master, Notice, Outcome, Pid, Slot};

/// Somebody's operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wait {
    pub(super) goal: Goal,
    pub(super) stage: Stage,
    /// Whether its end is waited for, and not its beginning.
    pub(super) to_the_end: bool,
}

/// What is to come about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    Upgrade,
    Reload,
    Scale(u16),
    Recycle {
        slot: Slot,
        old: Option<Pid>,
    },
    Reopen,
    Stop,
    /// The predecessor is gone before it could say how its upgrade ended: this master is the successor.
    Succession,
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
            Command::Rest | Command::More | Command::Fewer => return None,
        };
        Some(Self { goal, stage: Stage::Asked, to_the_end })
    }

    pub(super) fn succession() -> Self {
        Self { goal: Goal::Succession, stage: Stage::Running, to_the_end: true }
    }

    /// What a line of the log means for it; an answer ends it.
    pub(super) fn hears(&mut self, notice: &Notice, core: &Master) -> Option<Reply> {
        match notice {
            Notice::Refused { command, .. } if self.stage != Stage::Running && self.goal.is(*command) => {
                let because = if core.upgrade().is_handed_over() { Refusal::Replaced } else { Refusal::Refused };
                return Some(Reply::Failed { because, text: notice.to_string() });
            }
            Notice::Postponed { command, .. } if self.stage == Stage::Asked && self.goal.is(*command) => {
                return self.passes_to(Stage::Postponed, notice);
            }
            _ => {}
        }
        match (self.goal, notice) {
            (Goal::Reload, Notice::ReloadBegun)
            | (Goal::Upgrade, Notice::UpgradeBegun)
            | (Goal::Stop, Notice::StopBegun)
            | (Goal::Scale(_), Notice::Scaled { .. }) => self.passes_to(Stage::Running, notice),
            (Goal::Reopen, Notice::Reopened) => Some(done(notice)),
            _ if self.stage != Stage::Running => None,
            (Goal::Reload, Notice::ReloadDone) | (Goal::Upgrade, Notice::UpgradeDone { .. }) => Some(done(notice)),
            (Goal::Upgrade, Notice::UpgradeFailed { .. }) if core.upgrade() != Upgrade::Idle => {
                self.stage = Stage::Aborting(notice.to_string());
                None
            }
            (Goal::Reload, Notice::ReloadFailed { .. })
            | (Goal::Upgrade, Notice::UpgradeFailed { .. } | Notice::TakenBack { .. })
            | (Goal::Recycle { .. }, Notice::RecycleFailed { .. } | Notice::ReloadFailed { .. }) => {
                Some(failed(notice))
            }
            (Goal::Succession, Notice::GaveUp { .. } | Notice::Degraded { .. }) => Some(failed(notice)),
            (Goal::Scale(_) | Goal::Succession, _) if is_failed_start(notice) => Some(failed(notice)),
            _ => None,
        }
    }

    /// What the core's state means for it, after a step; an answer ends it.
    pub(super) fn looks(&mut self, core: &Master) -> Option<Reply> {
        if self.stage == Stage::Asked {
            // It was not refused, and whatever begins without a line has begun.
            return match self.goal {
                Goal::Reload | Goal::Upgrade if core.has_postponed(command_of(self.goal)) => {
                    self.passes(Stage::Postponed, "it follows what goes on already")
                }
                Goal::Reload => self.passes(Stage::Running, "reload begins"),
                Goal::Upgrade => self.passes(Stage::Running, "upgrade begins"),
                Goal::Scale(_) => self.passes(Stage::Running, "scaled"),
                Goal::Recycle { slot, .. } => self.passes(Stage::Running, &format!("slot {slot} is being replaced")),
                Goal::Stop => self.passes(Stage::Running, "stop begins: draining"),
                Goal::Reopen | Goal::Succession => None,
            };
        }
        if let Stage::Aborting(text) = &self.stage {
            let over = || Reply::Failed { because: Refusal::Failed, text: text.clone() };
            return (core.upgrade() == Upgrade::Idle).then(over);
        }
        match (self.goal, &self.stage) {
            (Goal::Reload | Goal::Upgrade, Stage::Postponed) => {
                (!core.has_postponed(command_of(self.goal))).then(|| self.called_off(core))
            }
            (Goal::Reload, _) => (core.rollout() == Rollout::Idle).then(|| self.called_off(core)),
            (Goal::Upgrade, _) => match core.upgrade() {
                Upgrade::Starting | Upgrade::Preparing { .. } | Upgrade::Committed { .. } => None,
                Upgrade::Probation { .. } | Upgrade::Retiring { .. } | Upgrade::Leaving => {
                    Some(Reply::Done { text: "upgrade is done: the successor serves".to_owned() })
                }
                Upgrade::Idle | Upgrade::Aborting { .. } => Some(self.called_off(core)),
            },
            (Goal::Scale(workers), _) => self.scaled(workers, core),
            (Goal::Recycle { slot, old }, _) => {
                let now = core.ready().get(&slot).copied();
                let old_accepts = core.workers().any(|worker| Some(worker.pid) == old && worker.is_ready());
                match now {
                    Some(new) if Some(new) != old && !old_accepts => {
                        let text = format!("slot {slot} is replaced: its worker is pid {new}");
                        Some(Reply::Done { text })
                    }
                    // Nobody wants that slot any more, and its worker goes without a successor.
                    _ if core.wanted() <= slot.0 => Some(self.called_off(core)),
                    Some(_) | None => None,
                }
            }
            (Goal::Succession, _) => core.lineage().accepts().then(|| {
                let text =
                    format!("upgrade is done: generation {} serves, its predecessor has died", core.generation());
                Reply::Done { text }
            }),
            (Goal::Stop | Goal::Reopen, _) => None,
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

    fn scaled(&self, workers: u16, core: &Master) -> Option<Reply> {
        if core.scale().0 != workers || core.wanted() == 0 {
            return Some(self.called_off(core));
        }
        let ready = core.ready().into_keys().filter(|slot| !slot.is_companion()).collect::<Vec<_>>();
        let all = (0..workers).all(|slot| ready.contains(&Slot(slot)));
        let text = || format!("scaled: {workers} workers are ready");
        (all && ready.len() == usize::from(workers)).then(|| Reply::Done { text: text() })
    }

    fn called_off(&self, core: &Master) -> Reply {
        let why = match core.life() {
            Life::Stopping { .. } | Life::GivingUp { .. } | Life::Over => "the server stops",
            Life::Resting | Life::Dozing => "all workers were sent away",
            Life::Booting | Life::Serving => match self.goal {
                _ if core.upgrade().is_handed_over() => {
                    let text = format!("{} called off: the successor serves by now", self.goal.name());
                    return Reply::Failed { because: Refusal::Replaced, text };
                }
                Goal::Scale(_) => "somebody has asked for another number since",
                Goal::Upgrade | Goal::Reload | Goal::Recycle { .. } | Goal::Reopen | Goal::Stop | Goal::Succession => {
                    "something else came first"
                }
            },
        };
        Reply::Failed { because: Refusal::Failed, text: format!("{} called off: {why}", self.goal.name()) }
    }

    fn passes_to(&mut self, stage: Stage, notice: &Notice) -> Option<Reply> {
        self.passes(stage, &notice.to_string())
    }

    fn passes(&mut self, stage: Stage, text: &str) -> Option<Reply> {
        self.stage = stage;
        (!self.to_the_end).then(|| Reply::Done { text: text.to_owned() })
    }
}

impl Goal {
    fn is(self, command: Command) -> bool {
        match (self, command) {
            (Self::Upgrade, Command::Upgrade)
            | (Self::Reload, Command::Reload)
            | (Self::Reopen, Command::Reopen)
            | (Self::Stop, Command::Stop) => true,
            (Self::Scale(workers), Command::Scale(other)) => workers == other,
            (Self::Recycle { slot, .. }, Command::Recycle(other)) => slot == other,
            (
                Self::Upgrade
                | Self::Reload
                | Self::Reopen
                | Self::Stop
                | Self::Scale(_)
                | Self::Recycle { .. }
                | Self::Succession,
                _,
            ) => false,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Upgrade | Self::Succession => "upgrade",
            Self::Reload => "reload",
            Self::Scale(_) => "scale",
            Self::Recycle { .. } => "recycle",
            Self::Reopen => "reopen",
            Self::Stop => "stop",
        }
    }
}

fn command_of(goal: Goal) -> Command {
    if goal == Goal::Upgrade { Command::Upgrade } else { Command::Reload }
}

/// A worker that does not come up, whatever the reason.
fn is_failed_start(notice: &Notice) -> bool {
    match notice {
        Notice::BootFailed { .. } | Notice::WorkerNotForked { .. } => true,
        Notice::WorkerExited { cause, .. } => matches!(cause, Cause::CrashedBooting | Cause::BootTimeout),
        _ => false,
    }
}

fn done(notice: &Notice) -> Reply {
    Reply::Done { text: notice.to_string() }
}

fn failed(notice: &Notice) -> Reply {
    Reply::Failed { because: Refusal::Failed, text: notice.to_string() }
}
