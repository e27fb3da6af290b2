//! What a line of the log means for whoever waits.

use hatchery_control::{Refusal, Reply, Until};
use hatchery_core::notice::Cause;
use hatchery_core::upgrade::Upgrade;
use hatchery_core::{Master, Notice};

use super::{Goal, Stage, Wait};

impl Wait {
    /// What a line of the log means for it; an answer ends it.
    pub(in super::super) fn hears(&mut self, notice: &Notice, core: &Master) -> Option<Reply> {
        // What is begun or refused by now is another one.
        if matches!(self.stage, Stage::Aborting(_)) {
            return None;
        }
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
            | (Goal::Stop, Notice::StopAnnounced { .. } | Notice::StopBegun)
            | (Goal::Scale(_), Notice::Scaled { .. }) => self.passes_to(Stage::Running, notice),
            (Goal::Reopen, Notice::Reopened) => Some(done(notice)),
            (Goal::Succession, Notice::WorkerExited { cause: Cause::Crashed | Cause::Blocked, .. })
                if matches!(self.stage, Stage::Watching { .. }) =>
            {
                Some(failed(notice))
            }
            _ if !matches!(self.stage, Stage::Running | Stage::Watching { .. }) => None,
            (Goal::Upgrade, Notice::UpgradeDone { .. }) if self.until == Until::Proven => None,
            (Goal::Reload, Notice::ReloadDone) | (Goal::Upgrade, Notice::UpgradeDone { .. }) => Some(done(notice)),
            (Goal::Upgrade, Notice::Retiring) => Some(self.handed_over(core)),
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
