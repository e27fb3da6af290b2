//! What the core's state means for whoever waits, where no line of the log tells it.

use std::time::Instant;

use hatchery_control::{Refusal, Reply, Until};
use hatchery_core::rollout::Rollout;
use hatchery_core::shutdown::Life;
use hatchery_core::upgrade::Upgrade;
use hatchery_core::{Command, Master, Slot};

use super::{Goal, Stage, Wait};

impl Wait {
    /// It was not refused, and whatever begins without a line of the log has begun; how is the answer.
    pub(in super::super) fn begins(&mut self, core: &Master) -> Option<String> {
        let (stage, text) = match self.goal {
            Goal::Reload | Goal::Upgrade if core.has_postponed(command_of(self.goal)) => {
                (Stage::Postponed, "it follows what goes on already".to_owned())
            }
            Goal::Reload => (Stage::Running, "reload begins".to_owned()),
            Goal::Upgrade => (Stage::Running, "upgrade begins".to_owned()),
            Goal::Scale(_) => (Stage::Running, "scaled".to_owned()),
            Goal::Recycle { slot, .. } => (Stage::Running, format!("{} is being replaced", place(slot, core))),
            Goal::Stop => (Stage::Running, "stop begins: draining".to_owned()),
            Goal::Reopen | Goal::Succession => return None,
        };
        self.stage = stage;
        Some(text)
    }

    /// What the core's state means for it, after a step; an answer ends it.
    pub(in super::super) fn looks(&mut self, core: &Master) -> Option<Reply> {
        if let Stage::Aborting(text) = &self.stage {
            let over = || Reply::Failed { because: Refusal::Failed, text: text.clone() };
            // The next one may have begun in the same step.
            return (!matches!(core.upgrade(), Upgrade::Aborting { .. })).then(over);
        }
        match (self.goal, &self.stage) {
            (Goal::Reload | Goal::Upgrade, Stage::Postponed) => {
                (!core.has_postponed(command_of(self.goal))).then(|| self.called_off(core))
            }
            (Goal::Reload, _) => (core.rollout() == Rollout::Idle).then(|| self.called_off(core)),
            (Goal::Upgrade, _) => match core.upgrade() {
                Upgrade::Starting | Upgrade::Preparing { .. } | Upgrade::Committed { .. } => None,
                Upgrade::Probation { .. } if self.until == Until::Proven => None,
                Upgrade::Probation { .. } | Upgrade::Retiring { .. } | Upgrade::Leaving => Some(self.handed_over(core)),
                Upgrade::Idle | Upgrade::Aborting { .. } => Some(self.called_off(core)),
            },
            (Goal::Scale(workers), _) => self.scaled(workers, core),
            (Goal::Recycle { slot, old }, _) => {
                let now = core.ready().get(&slot).copied();
                let old_accepts = core.workers().any(|worker| Some(worker.pid) == old && worker.is_ready());
                match now {
                    Some(new) if Some(new) != old && !old_accepts => {
                        let what = if slot.is_companion() { "process" } else { "worker" };
                        let text = format!("{} is replaced: its {what} is pid {new}", place(slot, core));
                        Some(Reply::Done { text })
                    }
                    // Nobody wants that slot any more, and its worker goes without a successor.
                    _ if !is_wanted(slot, core) => Some(self.called_off(core)),
                    Some(_) | None => None,
                }
            }
            (Goal::Succession, Stage::Watching { until }) => {
                (*until <= Instant::now()).then(|| succeeded("proven", core))
            }
            (Goal::Succession, _) if !core.lineage().accepts() => None,
            (Goal::Succession, _) if self.until == Until::Proven => {
                self.stage = Stage::Watching { until: Instant::now() + core.policy().probation };
                None
            }
            (Goal::Succession, _) => Some(succeeded("done", core)),
            (Goal::Stop | Goal::Reopen, _) => None,
        }
    }

    fn scaled(&self, workers: u16, core: &Master) -> Option<Reply> {
        if core.scale().0 != workers || core.wanted() == 0 {
            return Some(self.called_off(core));
        }
        let ready = core.ready().into_keys().filter(|slot| !slot.is_companion()).collect::<Vec<_>>();
        let all = (0..workers).all(|slot| ready.contains(&Slot(slot)));
        let are = if workers == 1 { "worker is" } else { "workers are" };
        let text = || format!("scaled: {workers} {are} ready");
        (all && ready.len() == usize::from(workers)).then(|| Reply::Done { text: text() })
    }

    /// What it means for an upgrade that the successor has taken over, and that its probation goes on or is over.
    pub(super) fn handed_over(&self, core: &Master) -> Reply {
        match (self.until, core.upgrade()) {
            (Until::Proven, Upgrade::Retiring { successor }) => {
                let text = format!("upgrade is proven: the successor (pid {successor}) serves, its probation is over");
                Reply::Done { text }
            }
            // An operator's stop, or the next upgrade: what it would have shown nobody knows.
            (Until::Proven, _) => {
                let text = "upgrade is not proven: the successor was told to stop, or to upgrade, in its probation";
                Reply::Failed { because: Refusal::Failed, text: text.to_owned() }
            }
            (Until::Begun | Until::Done, _) => Reply::Done { text: "upgrade is done: the successor serves".to_owned() },
        }
    }

    fn called_off(&self, core: &Master) -> Reply {
        let why = match core.life() {
            Life::LameDuck { .. } | Life::Stopping { .. } | Life::GivingUp { .. } | Life::Over => "the server stops",
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
}

/// Whether a slot is to be filled for whoever is served; companions may stay longer, for those who drain.
fn is_wanted(slot: Slot, core: &Master) -> bool {
    if slot.is_companion() { core.wanted() > 0 } else { slot.0 < core.wanted() }
}

fn place(slot: Slot, core: &Master) -> String {
    if slot.is_companion() { core.who(slot).to_string() } else { format!("slot {slot}") }
}

fn succeeded(how: &str, core: &Master) -> Reply {
    let text = format!("upgrade is {how}: generation {} serves, its predecessor has died", core.generation());
    Reply::Done { text }
}

fn command_of(goal: Goal) -> Command {
    if goal == Goal::Upgrade { Command::Upgrade } else { Command::Reload }
}
