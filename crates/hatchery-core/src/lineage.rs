//! What stands before a master: the successor's half of an upgrade.
//!
//! ```text
//!            workers ready          COMMIT              USR2, stop
//! Awaiting ───────────────▶ Awaiting ─────▶ Backed ───────────────▶ Released
//! (Booting)                 (Ready)           │                        │
//!     │ predecessor dies       │              │ predecessor gone       │
//!     └──────────▶ Heir ◀──────┘              ▼                        │
//!                   └── a worker is ready ▶ Alone ◀────────────────────┘
//! ```
//! Until COMMIT the predecessor serves, and no queue is assigned here.

use crate::action::Action;
use crate::master::{Actions, Master};
use crate::notice::Notice;
use crate::shutdown::Life;
use crate::time::Moment;
use crate::upgrade::Upgrade;
use crate::wire::upgrade::{PredecessorSays, SuccessorSays};
use crate::wire::worker::Whose;

/// What stands before a master.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lineage {
    /// Nobody: this is the first.
    First,
    /// A predecessor that serves.
    Awaiting(Readiness),
    /// The predecessor died before it handed over: everything is this one's as
    /// soon as it has a worker.
    Heir,
    /// A predecessor that has handed over, and takes back if this one dies.
    Backed {
        /// How many older ones still drain.
        older: u8,
    },
    /// A predecessor that drains and leaves this one alone.
    Released {
        /// How many older ones still drain.
        older: u8,
    },
    /// The predecessor is gone.
    Alone,
}

/// How far a successor has come before COMMIT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Readiness {
    /// Its workers boot.
    Booting,
    /// READY was said.
    Ready,
}

impl Lineage {
    /// Whether this generation may assign the queues.
    #[must_use]
    pub fn accepts(self) -> bool {
        match self {
            Self::First | Self::Backed { .. } | Self::Released { .. } | Self::Alone => true,
            Self::Awaiting(_) | Self::Heir => false,
        }
    }

    /// Whether somebody serves on if this generation gives up.
    #[must_use]
    pub fn has_predecessor(self) -> bool {
        match self {
            Self::Awaiting(_) | Self::Backed { .. } => true,
            Self::First | Self::Heir | Self::Released { .. } | Self::Alone => false,
        }
    }

    /// How many predecessors drain behind this one.
    #[must_use]
    pub fn draining(self) -> u8 {
        match self {
            Self::Backed { older } | Self::Released { older } => older.saturating_add(1),
            Self::First | Self::Awaiting(_) | Self::Heir | Self::Alone => 0,
        }
    }
}

impl Master {
    pub(crate) fn announce_boot(&self, out: &mut Actions) {
        if matches!(self.lineage, Lineage::Awaiting(_)) {
            out.push(Action::TellPredecessor(SuccessorSays::Phase { name: "booting workers".to_owned() }));
        }
    }

    pub(crate) fn tell_ready(&mut self, out: &mut Actions) {
        if self.lineage == Lineage::Awaiting(Readiness::Booting) {
            self.lineage = Lineage::Awaiting(Readiness::Ready);
            let takes = self.kin.own.clone();
            out.push(Action::TellPredecessor(SuccessorSays::Ready { takes }));
        }
    }

    pub(crate) fn predecessor_says(&mut self, says: PredecessorSays, now: Moment, out: &mut Actions) {
        match (says, self.lineage) {
            (PredecessorSays::Commit { draining, takes: _ }, Lineage::Awaiting(Readiness::Ready))
                if self.life == Life::Booting && self.roster.ready_count() == 0 =>
            {
                // READY was true, but they died since. TAKEN would be a lie.
                self.lineage = Lineage::Backed { older: draining };
                self.give_up("no worker was left when the predecessor handed over".to_owned(), now, out);
            }
            (PredecessorSays::Commit { draining, takes }, Lineage::Awaiting(Readiness::Ready))
                if self.life == Life::Booting =>
            {
                self.lineage = Lineage::Backed { older: draining };
                self.kin.predecessor = takes;
                self.tell_refuge(Whose::Predecessor, out);
                self.prove_anew(now);
                self.take_over(out);
                self.begin_serving(out);
                // The queues first: TAKEN means that they are served here.
                self.assign_queues(out);
                out.push(Action::TellPredecessor(SuccessorSays::Taken));
            }
            (PredecessorSays::Abort, Lineage::Awaiting(_) | Lineage::Backed { .. }) => self.aborted(now, out),
            (PredecessorSays::Behind { draining }, Lineage::Backed { older } | Lineage::Released { older })
                if older != draining =>
            {
                self.lineage = match self.lineage {
                    Lineage::Backed { .. } => Lineage::Backed { older: draining },
                    _ => Lineage::Released { older: draining },
                };
                self.tell_behind(out);
            }
            // It could not take the release any more and serves on: the queues are its own.
            (PredecessorSays::Abort, Lineage::Released { older }) => {
                self.keep_queues_open();
                if !self.life.is_ending() && !self.upgrade.is_handed_over() {
                    self.lineage = Lineage::Backed { older };
                    self.aborted(now, out);
                } else {
                    // Each would wait for the other's end.
                    self.lineage = Lineage::Alone;
                }
            }
            // Said twice, or too late to matter; or it matters to the clients of the control socket alone.
            (
                PredecessorSays::Commit { .. }
                | PredecessorSays::Abort
                | PredecessorSays::Behind { .. }
                | PredecessorSays::Answered { .. },
                Lineage::First
                | Lineage::Awaiting(_)
                | Lineage::Heir
                | Lineage::Backed { .. }
                | Lineage::Released { .. }
                | Lineage::Alone,
            ) => {}
        }
    }

    pub(crate) fn predecessor_gone(&mut self, out: &mut Actions) {
        match self.lineage {
            Lineage::Awaiting(_) => {
                self.lineage = Lineage::Heir;
                out.push(Action::Log(Notice::PredecessorLost));
                self.go_on_after_all(Life::Booting, out);
            }
            Lineage::Backed { .. } => {
                self.lineage = Lineage::Alone;
                out.push(Action::Log(Notice::PredecessorDone));
                self.tell_behind(out);
                self.go_on_after_all(Life::Serving, out);
            }
            Lineage::Released { .. } => {
                self.lineage = Lineage::Alone;
                out.push(Action::Log(Notice::PredecessorDone));
                self.tell_behind(out);
            }
            Lineage::First | Lineage::Heir | Lineage::Alone => {}
        }
    }

    /// An heir waits for nobody: its first worker gets the queues, while the others still boot.
    pub(crate) fn inherit_if_alone(&mut self, out: &mut Actions) {
        if self.lineage == Lineage::Heir {
            self.lineage = Lineage::Alone;
            self.take_over(out);
        }
    }

    /// From now on the predecessor must not take back: an operator ends this
    /// generation, or the next one follows.
    pub(crate) fn release_predecessor(&mut self, out: &mut Actions) {
        if let Lineage::Backed { older } = self.lineage {
            self.lineage = Lineage::Released { older };
            out.push(Action::TellPredecessor(SuccessorSays::Released));
        }
    }

    /// An operator waits no longer, for a predecessor that drains as little as for the workers.
    pub(crate) fn hurry_predecessor(&mut self, out: &mut Actions) {
        if matches!(self.lineage, Lineage::Released { .. }) {
            self.lineage = Lineage::Alone;
            self.killed = true;
            out.push(Action::TellPredecessor(SuccessorSays::Hurry));
        }
    }

    fn take_over(&self, out: &mut Actions) {
        out.push(Action::TakePidFile);
        out.push(Action::Log(Notice::TookOver { generation: self.generation }));
    }

    /// The predecessor calls the upgrade off and keeps, or has taken back, what is its own.
    fn aborted(&mut self, now: Moment, out: &mut Actions) {
        match self.life {
            Life::Booting | Life::Serving | Life::LameDuck { .. } | Life::Resting | Life::Dozing => {
                self.stop_untaken(now, out);
            }
            // The predecessor has heard it: from here on it answers for the service.
            Life::GivingUp { .. } => self.lineage = Lineage::Alone,
            Life::Stopping { .. } | Life::Over => {}
        }
    }

    /// Giving up was right while somebody could take back. The predecessor went
    /// before it had said that it did, so nobody can: trying on is better than an end.
    fn go_on_after_all(&mut self, life: Life, out: &mut Actions) {
        if !matches!(self.life, Life::GivingUp { .. }) {
            return;
        }
        if life == Life::Serving {
            // It may have taken the pid file back in its last moment.
            self.take_over(out);
        }
        self.life = life;
        self.open_relay(out);
        if self.throttle.degrade() {
            out.push(Action::Log(Notice::Degraded { crashes: self.throttle.row() }));
        }
    }

    fn tell_behind(&self, out: &mut Actions) {
        // COMMIT told it the number; what changes after that has to follow.
        if self.upgrade.is_handed_over() || matches!(self.upgrade, Upgrade::Committed { .. }) {
            let says = PredecessorSays::Behind { draining: self.lineage.draining() };
            out.push(Action::TellSuccessor(says));
        }
    }
}

#[cfg(test)]
mod tests;
