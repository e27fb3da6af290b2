//! Listeners that come and go at a reload.
//!
//! ```text
//!            asked for again             nobody else accepts there
//!  open ◀──────────────────── retired ─────────────────────────────▶ closing ──▶ closed
//!    └──── not asked for ───────▲
//! ```
//! Workers that were forked before a reload lack what it has added, and those
//! that are forked after it lack what it has retired. So a roll-out moves the
//! service from one set of addresses to the other, and the way back stays open:
//! a retired listener is closed when the last worker that accepts there would
//! drain, and that one waits until it has accepted what is queued.

use std::collections::BTreeSet;

use crate::action::Action;
use crate::ids::Pid;
use crate::master::{Actions, Master};
use crate::rollout::Rollout;
use crate::upgrade::Upgrade;
use crate::worker::Worker;

/// The listeners after settings were read that ask for other ones than before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Revision {
    /// How many queues each has; those that were added stand at the end, those that are closed have none.
    pub counts: Vec<u16>,
    /// Those that no setting asks for any more, and that are not closed.
    pub retired: BTreeSet<u16>,
}

impl Master {
    pub(crate) fn listeners_revised(&mut self, revision: Option<Revision>) {
        // What is to be closed is decided anew: it may be what these settings ask for again.
        self.queues.keep_open();
        let Some(revision) = revision else { return };
        let added = self.queues.counts().len()..revision.counts.len();
        let added: Vec<u16> = added.filter_map(|index| u16::try_from(index).ok()).collect();
        self.roster.lack(&added);
        self.queues.revise(revision);
    }

    pub(crate) fn listeners_closed(&mut self, listeners: &[u16]) {
        self.queues.close(listeners);
    }

    /// Those of `leaving` that may go. Whoever is the last to accept from a retired listener stays until it is closed.
    pub(crate) fn spare_last_holders(&mut self, leaving: Vec<Pid>, out: &mut Actions) -> Vec<Pid> {
        let (mut spared, mut close) = (BTreeSet::new(), Vec::new());
        for listener in self.queues.retired() {
            let holders: Vec<Pid> = self.holders(listener, Worker::is_ready).collect();
            if holders.iter().all(|pid| leaving.contains(pid)) && !holders.is_empty() {
                spared.extend(holders);
                close.push(listener);
            }
        }
        self.close_listeners(close, out);
        leaving.into_iter().filter(|pid| !spared.contains(pid)).collect()
    }

    /// Closes what no worker accepts from or will: what was retired, and what a roll-out has added that failed.
    pub(crate) fn close_unserved(&mut self, out: &mut Actions) {
        let settled = self.life.is_serving() && self.upgrade == Upgrade::Idle && self.rollout == Rollout::Idle;
        if !settled || self.roster.ready_count() == 0 {
            return;
        }
        let unserved =
            self.queues.open().filter(|listener| self.holders(*listener, Worker::is_current).next().is_none());
        self.close_listeners(unserved.collect(), out);
    }

    fn holders(&self, listener: u16, kind: impl Fn(&Worker) -> bool) -> impl Iterator<Item = Pid> {
        let holds = move |worker: &&Worker| kind(worker) && !worker.lacks.contains(&listener);
        self.roster.serving().filter(holds).map(|worker| worker.pid)
    }

    fn close_listeners(&mut self, listeners: Vec<u16>, out: &mut Actions) {
        let listeners = self.queues.begin_closing(listeners);
        if !listeners.is_empty() {
            out.push(Action::CloseListeners { listeners });
        }
    }
}

#[cfg(test)]
mod tests;
