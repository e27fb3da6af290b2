//! What a predecessor does at each step of an upgrade.

use std::time::Duration;

use super::{Link, Patience, Upgrade};
use crate::action::Action;
use crate::event::{Command, Ending};
use crate::ids::Pid;
use crate::master::{Actions, Master};
use crate::notice::Notice;
use crate::time::Moment;
use crate::wire::upgrade::{PredecessorSays, SuccessorSays};
use crate::wire::worker::Whose;

/// From COMMIT to TAKEN: the successor assigns its queues and renames a file.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(10);

/// From SIGTERM to SIGKILL for a successor that is not wanted; it has no clients.
const ABORT_GRACE: Duration = Duration::from_secs(2);

/// How long a successor that closed its link may take to say with its exit code why.
const LAST_WORDS: Duration = Duration::from_secs(1);

impl Master {
    pub(crate) fn begin_upgrade(&mut self, out: &mut Actions) {
        if self.lineage.draining() >= 2 {
            return Self::refuse(Command::Upgrade, "two predecessors still drain", out);
        }
        // From here on, if this generation dies, its successor boots on by
        // itself: its predecessor must not take back beside it.
        self.release_predecessor(out);
        self.upgrade = Upgrade::Starting;
        self.successor_at.clear();
        self.queues.orphan(&[]);
        out.push(Action::Log(Notice::UpgradeBegun));
        out.push(Action::StartSuccessor {
            generation: self.generation.next(),
            workers: self.target,
            configured: self.policy.workers,
        });
    }

    pub(crate) fn successor_started(&mut self, pid: Pid, now: Moment, out: &mut Actions) {
        if self.upgrade == Upgrade::Starting {
            let deadline = now + self.policy.boot_timeout;
            self.upgrade = Upgrade::Preparing { successor: pid, deadline, link: Link::Open };
            // An end was begun between the order to start it and the start.
            if self.life.is_sealed() {
                self.call_off_upgrade(now, out);
            }
        }
    }

    pub(crate) fn successor_not_started(&mut self, text: String, out: &mut Actions) {
        if self.upgrade == Upgrade::Starting {
            self.upgrade = Upgrade::Idle;
            out.push(Action::Log(Notice::UpgradeFailed { text }));
        }
    }

    pub(crate) fn successor_says(&mut self, says: SuccessorSays, now: Moment, out: &mut Actions) {
        match (self.upgrade, says) {
            (Upgrade::Preparing { successor: pid, .. }, SuccessorSays::Phase { name }) => {
                self.successor_at.clone_from(&name);
                out.push(Action::Log(Notice::UpgradePhase { pid, name }));
            }
            (Upgrade::Preparing { .. }, SuccessorSays::Leaves { listeners }) => self.queues.orphan(&listeners),
            (Upgrade::Preparing { successor, .. }, SuccessorSays::Ready { takes }) => {
                self.kin.successor = takes;
                self.commit(successor, now, out);
            }
            // It is on its way out by itself: to hurry it would look like an operator's stop.
            (Upgrade::Preparing { successor, link, .. }, SuccessorSays::Failed { text }) => {
                let patience = Patience::Kill { at: now + ABORT_GRACE };
                self.upgrade = Upgrade::Aborting { successor: Some(successor), link, patience };
                out.push(Action::Log(Notice::UpgradeFailed { text }));
            }
            (Upgrade::Preparing { .. }, SuccessorSays::Taken | SuccessorSays::Released | SuccessorSays::Hurry) => {
                self.abort("the successor spoke out of turn".to_owned(), now, out);
            }
            (Upgrade::Committed { successor, .. }, SuccessorSays::Taken) => {
                self.upgrade = Upgrade::Probation { successor, until: now + self.policy.probation };
                out.push(Action::Log(Notice::UpgradeDone { pid: successor }));
                self.tell_refuge(Whose::Successor, out);
                self.warn_of_what_stays(out);
            }
            (
                Upgrade::Committed { .. } | Upgrade::Probation { .. } | Upgrade::Retiring { .. },
                SuccessorSays::Failed { text },
            ) => self.take_back(text, now, out),
            (Upgrade::Committed { .. } | Upgrade::Probation { .. }, SuccessorSays::Released) => {
                self.upgrade = Upgrade::Leaving;
                self.retire(now, out);
            }
            (Upgrade::Retiring { .. }, SuccessorSays::Released) => self.upgrade = Upgrade::Leaving,
            (Upgrade::Leaving, SuccessorSays::Hurry) => self.stop_now(out),
            // COMMIT reached it late: it has taken the pid file, and hears next that it must not serve.
            (Upgrade::Aborting { .. }, SuccessorSays::Taken) => out.push(Action::TakeBackPidFile),
            // A phase after the commit, something said twice, or the last words of one that was given up.
            (
                Upgrade::Committed { .. },
                SuccessorSays::Phase { .. }
                | SuccessorSays::Leaves { .. }
                | SuccessorSays::Ready { .. }
                | SuccessorSays::Hurry,
            )
            | (
                Upgrade::Probation { .. } | Upgrade::Retiring { .. },
                SuccessorSays::Phase { .. }
                | SuccessorSays::Leaves { .. }
                | SuccessorSays::Ready { .. }
                | SuccessorSays::Taken
                | SuccessorSays::Hurry,
            )
            | (Upgrade::Idle | Upgrade::Starting | Upgrade::Leaving | Upgrade::Aborting { .. }, _) => {}
        }
    }

    pub(crate) fn successor_exited(&mut self, ending: Ending, now: Moment, out: &mut Actions) {
        match &mut self.upgrade {
            Upgrade::Preparing { link, .. } => {
                let link = *link;
                self.upgrade = self.forgetting(None, link, now);
                let text = format!("the successor ended before it was ready: {ending}");
                out.push(Action::Log(Notice::UpgradeFailed { text }));
            }
            Upgrade::Committed { .. } | Upgrade::Probation { .. } | Upgrade::Retiring { .. } => {
                // Reaped: nobody is to be told or killed. Its workers drain by
                // themselves, and may take their time: they have clients.
                self.upgrade = Upgrade::Idle;
                self.open_relay(out);
                out.push(Action::CloseSuccessorLink);
                self.reclaim(format!("the successor died: {ending}"), out);
            }
            Upgrade::Aborting { successor, link, .. } => {
                *successor = None;
                let link = *link;
                self.upgrade = self.forgetting(None, link, now);
            }
            Upgrade::Idle | Upgrade::Starting | Upgrade::Leaving => {}
        }
        self.finish_abort(out);
    }

    pub(crate) fn successor_link_closed(&mut self, now: Moment, out: &mut Actions) {
        match &mut self.upgrade {
            // Its end is next, and with it the reason.
            Upgrade::Preparing { link, deadline, .. } => {
                *link = Link::Closed;
                *deadline = (*deadline).min(now + LAST_WORDS);
            }
            Upgrade::Aborting { link, .. } => *link = Link::Closed,
            Upgrade::Idle
            | Upgrade::Starting
            | Upgrade::Committed { .. }
            | Upgrade::Probation { .. }
            | Upgrade::Retiring { .. }
            | Upgrade::Leaving => {}
        }
        self.finish_abort(out);
    }

    pub(crate) fn upgrade_due(&mut self, now: Moment, out: &mut Actions) {
        if self.upgrade.deadline().is_none_or(|deadline| now < deadline) {
            return;
        }
        match self.upgrade {
            Upgrade::Preparing { link: Link::Open, .. } => {
                let last = std::mem::take(&mut self.successor_at);
                let last = if last.is_empty() { last } else { format!("; its last word: {last}") };
                self.abort(format!("the successor was not ready within boot-timeout{last}"), now, out);
            }
            Upgrade::Preparing { link: Link::Closed, .. } => {
                self.abort("the successor closed its link and lives on".to_owned(), now, out);
            }
            Upgrade::Committed { .. } => {
                self.take_back("the successor did not take over in time".to_owned(), now, out);
            }
            Upgrade::Probation { .. } => {
                self.cut_probation_short(now, out);
            }
            Upgrade::Aborting { successor, link, patience: Patience::Kill { .. } } => {
                out.extend(successor.map(|pid| Action::Kill { pid }));
                self.upgrade = self.forgetting(successor, link, now);
            }
            Upgrade::Aborting { successor: None, patience: Patience::Forget { .. }, .. } => {
                self.upgrade = Upgrade::Idle;
                out.push(Action::CloseSuccessorLink);
            }
            // SIGKILL was sent: it will be reaped, however long the kernel takes.
            Upgrade::Aborting { successor: Some(_), link, patience: Patience::Forget { .. } } => {
                self.upgrade = self.forgetting(self.upgrade.successor(), link, now);
            }
            Upgrade::Idle | Upgrade::Starting | Upgrade::Retiring { .. } | Upgrade::Leaving => {}
        }
    }

    /// An operator stops this generation, or it gives up: so must a successor that is not serving yet.
    pub(crate) fn call_off_upgrade(&mut self, now: Moment, out: &mut Actions) {
        match self.upgrade {
            Upgrade::Preparing { successor, link, .. } => self.dismiss(successor, link, now, out),
            // It may have taken over in this very moment: ABORT ends it either way.
            Upgrade::Committed { successor, .. } => self.dismiss(successor, Link::Open, now, out),
            // One that goes by itself might stay after all, if it saw this one die without a word.
            Upgrade::Aborting { link: Link::Open, .. } => out.push(Action::TellSuccessor(PredecessorSays::Abort)),
            Upgrade::Idle
            | Upgrade::Starting
            | Upgrade::Aborting { link: Link::Closed, .. }
            | Upgrade::Probation { .. }
            | Upgrade::Retiring { .. }
            | Upgrade::Leaving => {}
        }
    }

    fn commit(&mut self, successor: Pid, now: Moment, out: &mut Actions) {
        self.upgrade = Upgrade::Committed { successor, deadline: now + COMMIT_TIMEOUT };
        out.push(Action::Log(Notice::UpgradeCommitted { pid: successor }));
        out.push(Action::TellSuccessor(PredecessorSays::Commit {
            draining: self.lineage.draining(),
            takes: self.kin.own.clone(),
        }));
    }

    /// The upgrade failed before anything was handed over.
    fn abort(&mut self, text: String, now: Moment, out: &mut Actions) {
        out.push(Action::Log(Notice::UpgradeFailed { text }));
        self.call_off_upgrade(now, out);
    }

    /// The upgrade failed after the commit, and the successor still lives.
    fn take_back(&mut self, text: String, now: Moment, out: &mut Actions) {
        if let Some(successor) = self.upgrade.successor() {
            self.dismiss(successor, Link::Open, now, out);
        }
        self.reclaim(text, out);
    }

    /// Everything is this generation's again; settling forks what is missing and assigns the queues.
    fn reclaim(&mut self, text: String, out: &mut Actions) {
        self.throttle.forget();
        self.queues.orphan(&[]);
        self.open_relay(out);
        // What was killed in the retreat was no end.
        self.killed = false;
        out.push(Action::TakeBackPidFile);
        out.push(Action::Log(Notice::TakenBack { text }));
        // Workers that an operator had sent to rest: somebody served since.
        self.wake(out);
    }

    fn dismiss(&mut self, successor: Pid, link: Link, now: Moment, out: &mut Actions) {
        out.push(Action::TellSuccessor(PredecessorSays::Abort));
        let grace = match self.upgrade {
            // One that may have served drains its clients first. No SIGTERM: it
            // would be an operator's stop to it, and shut the queues of both.
            Upgrade::Committed { .. } | Upgrade::Probation { .. } | Upgrade::Retiring { .. } => {
                self.whole_drain() + ABORT_GRACE
            }
            // One that has not come to its loop yet reads no link.
            Upgrade::Idle
            | Upgrade::Starting
            | Upgrade::Preparing { .. }
            | Upgrade::Leaving
            | Upgrade::Aborting { .. } => {
                out.push(Action::Terminate { pid: successor });
                ABORT_GRACE
            }
        };
        self.upgrade =
            Upgrade::Aborting { successor: Some(successor), link, patience: Patience::Kill { at: now + grace } };
    }

    fn forgetting(&self, successor: Option<Pid>, link: Link, now: Moment) -> Upgrade {
        // Not at once even without a drain timeout: SIGKILL takes effect when it does.
        let at = now + self.whole_drain().max(ABORT_GRACE);
        Upgrade::Aborting { successor, link, patience: Patience::Forget { at } }
    }

    fn finish_abort(&mut self, out: &mut Actions) {
        if matches!(self.upgrade, Upgrade::Aborting { successor: None, link: Link::Closed, .. }) {
            self.upgrade = Upgrade::Idle;
            out.push(Action::CloseSuccessorLink);
        }
    }

    fn retire(&mut self, now: Moment, out: &mut Actions) {
        out.push(Action::Log(Notice::Retiring));
        let listeners = self.queues.take_orphans();
        if !listeners.is_empty() {
            out.push(Action::ShutListeners { listeners });
        }
        self.let_all_go(now, out);
        self.shut_relay(out);
    }

    /// An operator does not want to wait for the end of the probation. Returns whether there was one.
    pub(crate) fn cut_probation_short(&mut self, now: Moment, out: &mut Actions) -> bool {
        let Upgrade::Probation { successor, .. } = self.upgrade else { return false };
        self.upgrade = Upgrade::Retiring { successor };
        self.retire(now, out);
        true
    }
}
