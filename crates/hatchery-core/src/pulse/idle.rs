//! Whether anybody comes at all.

use std::collections::BTreeMap;

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
    /// What each had accepted by the last look.
    accepted: BTreeMap<Pid, u64>,
}

impl Idle {
    pub(super) fn map(&mut self, pid: &impl Fn(Pid) -> Pid, moment: &impl Fn(Moment) -> Moment) {
        self.over_at = self.over_at.map(moment);
        self.accepted = self.accepted.iter().map(|(known, accepted)| (pid(*known), *accepted)).collect();
    }
}

impl Master {
    /// Without connections for idle-timeout, everything is let go. Of a job server,
    /// what is open are jobs: nobody may wait for one, and yet it is to be done.
    pub(super) fn look_for_anybody(&mut self, samples: &[Sample], now: Moment, out: &mut Actions) {
        let Some(timeout) = self.policy.idle_timeout else { return };
        let idle = &mut self.pulse.idle;
        // Whoever came and went between two looks has counted; a worker that is new has not by being new.
        let before = |pid: Pid| idle.accepted.get(&pid).copied().unwrap_or(0);
        let anybody = samples.iter().any(|sample| sample.open > 0 || sample.accepted > before(sample.pid));
        idle.accepted = samples.iter().map(|sample| (sample.pid, sample.accepted)).collect();
        if anybody || idle.over_at.is_none() {
            idle.over_at = Some(now + timeout);
        }
        if self.pulse.idle.over_at.is_some_and(|at| at <= now) && !self.lineage.has_predecessor() {
            self.life = Life::Dozing;
            self.pulse.idle = Idle::default();
            self.postponed.clear();
            out.push(Action::Log(Notice::Dozing));
            self.let_all_go(now, out);
            self.shut_relay(out);
        }
    }
}
