//! The line that `systemctl status` shows.

use hatchery_core::rollout::Rollout;
use hatchery_core::shutdown::Life;
use hatchery_core::upgrade::Upgrade;
use hatchery_core::{Master, Notice};

use super::one_line;

/// What was said last, and what has to be added to how it is now.
#[derive(Debug, Default)]
pub(super) struct Status {
    said: String,
    /// What went wrong last, until the next attempt.
    remark: Option<String>,
}

impl Status {
    /// A new line, if it is another one.
    pub(super) fn news(&mut self, core: &Master) -> Option<String> {
        let now = self.of(core);
        if now == self.said {
            return None;
        }
        self.said.clone_from(&now);
        Some(now)
    }

    /// This was said.
    pub(super) fn said(&mut self, status: &str) {
        status.clone_into(&mut self.said);
    }

    pub(super) fn notice(&mut self, notice: &Notice) {
        match notice {
            Notice::ReloadFailed { .. }
            | Notice::Refused { .. }
            | Notice::UpgradeFailed { .. }
            | Notice::TakenBack { .. }
            | Notice::Degraded { .. }
            | Notice::GaveUp { .. } => {
                self.remark = Some(one_line(&notice.to_string()));
            }
            Notice::ReloadBegun
            | Notice::ReloadDone
            | Notice::UpgradeBegun
            | Notice::Recovered
            | Notice::StopAnnounced { .. }
            | Notice::StopBegun => {
                self.remark = None;
            }
            _ => {}
        }
    }

    pub(super) fn of(&self, core: &Master) -> String {
        let (wanted, _) = core.scale();
        let workers = core.workers().filter(|worker| !worker.slot.is_companion());
        let (ready, all) =
            workers.fold((0, 0), |(ready, all), worker| (ready + usize::from(worker.is_ready()), all + 1));
        let doing = match (core.life(), core.upgrade(), core.rollout()) {
            (Life::Booting, _, _) => "booting",
            (Life::LameDuck { .. }, _, _) => "serving until the stop begins",
            (Life::Resting, _, _) => "resting",
            (Life::Dozing, _, _) => "letting everything go",
            (Life::Stopping { .. } | Life::GivingUp { .. } | Life::Over, _, _) => "draining",
            (Life::Serving, Upgrade::Starting | Upgrade::Preparing { .. } | Upgrade::Committed { .. }, _) => {
                "upgrading"
            }
            (Life::Serving, Upgrade::Aborting { .. }, _) => "calling an upgrade off",
            (Life::Serving, Upgrade::Probation { .. } | Upgrade::Retiring { .. } | Upgrade::Leaving, _) => "replaced",
            (Life::Serving, Upgrade::Idle, Rollout::Rereading | Rollout::Rolling) => "reloading",
            (Life::Serving, Upgrade::Idle, Rollout::Idle) => "serving",
        };
        let workers = if core.life().is_ending() {
            format!("{all} workers left")
        } else {
            format!("{ready} of {wanted} workers ready")
        };
        let remark = self.remark.as_ref().map(|remark| format!("; {remark}")).unwrap_or_default();
        format!("{doing}: {workers}, generation {}{remark}", core.generation())
    }
}
