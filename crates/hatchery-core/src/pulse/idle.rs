//! Whether anybody comes at all.

use crate::action::Action;
use crate::ids::Pid;
use crate::master::{Actions, Master};
use crate::notice::Notice;
use crate::shutdown::Life;
use crate::time::Moment;

use super::Sample;

/// Since when nobody has come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Idle {
    /// When that is long enough.
    over_at: Option<Moment>,
    /// Connections that were accepted by then, and by whom.
    accepted: Vec<(Pid, u64)>,
}

impl Idle {
    pub(super) fn map(&mut self, pid: &impl Fn(Pid) -> Pid, moment: &impl Fn(Moment) -> Moment) {
        self.over_at = self.over_at.map(moment);
        self.accepted.iter_mut().for_each(|(known, _)| *known = pid(*known));
    }
}

impl Master {
    /// Without connections for idle-timeout, everything is let go. Of a job server,
    /// what is open are jobs: nobody may wait for one, and yet it is to be done.
    pub(super) fn look_for_anybody(&mut self, samples: &[Sample], now: Moment, out: &mut Actions) {
        let Some(timeout) = self.policy.idle_timeout else { return };
        let accepted: Vec<(Pid, u64)> = samples.iter().map(|sample| (sample.pid, sample.accepted)).collect();
        let anybody = samples.iter().any(|sample| sample.open > 0);
        // Whoever came and went between two looks has counted.
        if anybody || self.pulse.idle.accepted != accepted {
            self.pulse.idle = Idle { over_at: Some(now + timeout), accepted };
        }
        if self.pulse.idle.over_at.is_some_and(|at| at <= now) && !self.lineage.has_predecessor() {
            self.life = Life::Dozing;
            self.postponed.clear();
            out.push(Action::Log(Notice::Dozing));
            self.let_all_go(now, out);
            self.shut_relay(out);
        }
    }
}
