//! Coming up, resting, going down.
//!
//! ```text
//!             Dozing ─────────────────────▶ Over
//!                ▲ idle-timeout
//! Booting ──▶ Serving ◀──▶ Resting
//!    │           │ stop       │
//!    │           ▼            │
//!    │       LameDuck         │
//!    │           │ stop-delay │
//!    ├───────────┴────────────┴──▶ Stopping ──▶ Over
//!    └──▶ GivingUp ───────────────────────────▶ Over
//! ```
//! A lame duck serves as before, and says that it goes to whoever asks: load
//! balancers look elsewhere before anything is closed. Where there is no
//! `stop-delay`, or nobody was told that it is ready, the stop begins at once.
//!
//! At the final stop everything that waits in a queue is accepted first:
//!
//! ```text
//! Emptying ─────────────────────▶ Settling ────────────────────▶ Done
//!    │  workers have seen them        │   nobody is half way in,  ▲
//!    │  empty: no newcomers           │   or 500 ms are over      │
//!    └────────────────────────────────┴───────────────────────────┘
//!          no worker is left, or another generation has the queues as well
//! ```
//! Then the queues are shut for every process that holds a copy of them: clients
//! would otherwise connect to a service that is gone, and a restart would meet
//! "address in use". Whoever connects between the last `accept` and that would be
//! reset; so newcomers are kept out before, and workers accept all the while.

use std::time::Duration;

use crate::action::Action;
use crate::ids::Pid;
use crate::lineage::Lineage;
use crate::master::{Actions, Master};
use crate::notice::{Cause, Notice};
use crate::rollout::Rollout;
use crate::time::Moment;
use crate::upgrade::Upgrade;
use crate::wire::upgrade::SuccessorSays;
use crate::wire::worker::MasterSays;
use crate::worker::{Bequest, Phase, Worker};

/// How long workers may take to empty their queues before these are shut all the
/// same: at the most, and half of the time that they have for draining.
const EMPTYING: Duration = Duration::from_secs(1);

/// How long those who are half way in may take, at the most, and a quarter of the time
/// for draining: the round trip of a handshake.
const SETTLING: Duration = Duration::from_millis(500);

/// What a master is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Life {
    /// The first workers start.
    Booting,
    /// As many workers run as should, or will again.
    Serving,
    /// An operator has ended it: it serves on for a while, and no more clients should be sent.
    LameDuck {
        /// When the stop begins.
        until: Moment,
    },
    /// An operator has sent the workers away; the queues are kept.
    Resting,
    /// Nobody has come for a while: everything is let go but the queues.
    Dozing,
    /// An operator has ended it.
    Stopping {
        /// What becomes of the queues.
        closing: Closing,
    },
    /// The application does not boot, or crashes too often.
    GivingUp {
        /// Why.
        text: String,
    },
    /// The last action was asked for.
    Over,
}

/// What becomes of the queues at a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Closing {
    /// Workers accept until they are empty.
    Emptying {
        /// When they are shut at the latest.
        until: Moment,
    },
    /// Nobody new is let in; who is half way in comes in, and is accepted.
    Settling {
        /// When they are shut at the latest.
        until: Moment,
    },
    /// They are shut, or somebody else serves them.
    Done,
}

impl Life {
    /// Whether it goes down, whatever else happens.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        match self {
            Self::Stopping { .. } | Self::GivingUp { .. } | Self::Over => true,
            Self::Booting | Self::Serving | Self::LameDuck { .. } | Self::Resting | Self::Dozing => false,
        }
    }

    /// Whether nothing is to be begun any more: it goes down, or will in a while.
    #[must_use]
    pub fn is_sealed(&self) -> bool {
        match self {
            Self::LameDuck { .. } | Self::Stopping { .. } | Self::GivingUp { .. } | Self::Over => true,
            Self::Booting | Self::Serving | Self::Resting | Self::Dozing => false,
        }
    }

    /// Whether it has come up, and its workers are there for clients.
    #[must_use]
    pub fn is_serving(&self) -> bool {
        match self {
            Self::Serving | Self::LameDuck { .. } => true,
            Self::Booting
            | Self::Resting
            | Self::Dozing
            | Self::Stopping { .. }
            | Self::GivingUp { .. }
            | Self::Over => false,
        }
    }

    /// Whether the workers go and the queues stay.
    #[must_use]
    pub fn is_resting(&self) -> bool {
        matches!(self, Self::Resting | Self::Dozing)
    }

    /// When the clock alone changes something.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        match self {
            Self::LameDuck { until }
            | Self::Stopping { closing: Closing::Emptying { until } | Closing::Settling { until } } => Some(*until),
            Self::Stopping { closing: Closing::Done }
            | Self::Booting
            | Self::Serving
            | Self::Resting
            | Self::Dozing
            | Self::GivingUp { .. }
            | Self::Over => None,
        }
    }

    pub(crate) fn map_moments(&mut self, map: &impl Fn(Moment) -> Moment) {
        match self {
            Self::LameDuck { until }
            | Self::Stopping { closing: Closing::Emptying { until } | Closing::Settling { until } } => {
                *until = map(*until);
            }
            Self::Stopping { closing: Closing::Done }
            | Self::Booting
            | Self::Serving
            | Self::Resting
            | Self::Dozing
            | Self::GivingUp { .. }
            | Self::Over => {}
        }
    }
}

impl Master {
    /// An operator's stop that load balancers are to hear of first, if they were told otherwise.
    pub(crate) fn announce_stop(&mut self, now: Moment, out: &mut Actions) {
        let delay = self.policy.stop_delay;
        if self.life != Life::Serving || delay.is_zero() {
            return self.stop(now, out);
        }
        out.push(Action::Log(Notice::StopAnnounced { delay }));
        // A reload may well be done by then. Nobody else is to serve when this one has gone.
        self.postponed.clear();
        self.call_off_upgrade(now, out);
        self.release_predecessor(out);
        self.life = Life::LameDuck { until: now + delay };
    }

    /// An operator's stop, in a generation that has the queues to itself.
    pub(crate) fn stop(&mut self, now: Moment, out: &mut Actions) {
        out.push(Action::Log(Notice::StopBegun));
        self.call_off_operations(now, out);
        self.release_predecessor(out);
        let timeout = self.policy.drain_timeout;
        for worker in self.roster.iter_mut().filter(|worker| !worker.slot.is_companion()) {
            let pid = worker.pid;
            if worker.is_ready() {
                worker.phase = Phase::Finishing { deadline: now + timeout };
                out.push(Action::Tell { pid, says: MasterSays::Finish { timeout } });
            } else if worker.is_starting() {
                worker.phase = Phase::Killed { cause: Cause::Unwanted };
                out.push(Action::Kill { pid });
            }
        }
        self.life = Life::Stopping { closing: Closing::Emptying { until: now + EMPTYING.min(timeout / 2) } };
    }

    /// A stop before anything was taken over: the predecessor serves on, the queues are its own.
    pub(crate) fn stop_untaken(&mut self, now: Moment, out: &mut Actions) {
        out.push(Action::Log(Notice::StopBegun));
        self.call_off_operations(now, out);
        self.life = Life::Stopping { closing: Closing::Done };
        self.let_all_go(now, out);
        self.shut_relay(out);
    }

    /// The second stop: nobody waits any longer.
    pub(crate) fn stop_now(&mut self, out: &mut Actions) {
        out.push(Action::Log(Notice::StopNow));
        let mut victims: Vec<Pid> = Vec::new();
        for worker in self.roster.iter_mut() {
            if !matches!(worker.phase, Phase::Killed { .. }) {
                worker.phase = Phase::Killed { cause: Cause::StopNow };
                victims.push(worker.pid);
            }
        }
        self.killed |= !victims.is_empty();
        victims.extend(self.upgrade.successor());
        self.hurry_predecessor(out);
        out.extend(victims.into_iter().map(|pid| Action::Kill { pid }));
    }

    /// Ends a generation that cannot serve, with exit code 3; one that was told to stop stops.
    pub(crate) fn give_up(&mut self, text: String, now: Moment, out: &mut Actions) {
        if self.life.is_ending() {
            return;
        }
        // Nobody serves whom load balancers would still send: there is nothing to wait for.
        if matches!(self.life, Life::LameDuck { .. }) {
            out.push(Action::Log(Notice::StopHurried { text }));
            return self.stop(now, out);
        }
        out.push(Action::Log(Notice::GaveUp { text: text.clone() }));
        if self.lineage.has_predecessor() {
            out.push(Action::TellPredecessor(SuccessorSays::Failed { text: text.clone() }));
            self.shut_relay(out);
        } else {
            out.push(Action::ShutQueues);
        }
        self.call_off_operations(now, out);
        self.life = Life::GivingUp { text };
        self.let_all_go(now, out);
    }

    fn call_off_operations(&mut self, now: Moment, out: &mut Actions) {
        self.call_off_upgrade(now, out);
        self.rollout = Rollout::Idle;
        self.postponed.clear();
    }

    /// A worker was killed at its drain deadline: that shows in the exit code if it is an end.
    pub(crate) fn note_kill(&mut self) {
        self.killed |= matches!(self.life, Life::Stopping { .. }) || self.upgrade.is_handed_over();
    }

    pub(crate) fn life_due(&mut self, now: Moment, out: &mut Actions) {
        match self.life {
            Life::LameDuck { until } if until <= now => self.stop(now, out),
            Life::Stopping { closing: Closing::Emptying { until } } if until <= now => self.bar_queues(now, out),
            Life::Stopping { closing: Closing::Settling { until } } if until <= now => self.shut_queues(out),
            Life::LameDuck { .. }
            | Life::Stopping { closing: Closing::Emptying { .. } | Closing::Settling { .. } | Closing::Done }
            | Life::Booting
            | Life::Serving
            | Life::Resting
            | Life::Dozing
            | Life::GivingUp { .. }
            | Life::Over => {}
        }
    }

    pub(crate) fn finish_closing(&mut self, now: Moment, out: &mut Actions) {
        let finishing = self.roster.iter().any(|worker| matches!(worker.phase, Phase::Finishing { .. }));
        match self.life {
            Life::Stopping { closing: Closing::Emptying { .. } } if !finishing => self.bar_queues(now, out),
            Life::Stopping { closing: Closing::Settling { .. } } if !self.somebody_accepts() => self.shut_queues(out),
            Life::Stopping { .. }
            | Life::LameDuck { .. }
            | Life::Booting
            | Life::Serving
            | Life::Resting
            | Life::Dozing
            | Life::GivingUp { .. }
            | Life::Over => {}
        }
    }

    pub(crate) fn queues_quiet(&mut self, out: &mut Actions) {
        if matches!(self.life, Life::Stopping { closing: Closing::Settling { .. } }) {
            self.shut_queues(out);
        }
    }

    /// Newcomers are kept out by what belongs to the sockets, and would stay there if this master
    /// were killed before it has shut them. So not while another generation may come to serve them.
    fn bar_queues(&mut self, now: Moment, out: &mut Actions) {
        let alone = match self.lineage {
            Lineage::First | Lineage::Heir | Lineage::Alone => self.upgrade == Upgrade::Idle,
            Lineage::Awaiting(_) | Lineage::Backed { .. } | Lineage::Released { .. } => false,
        };
        if !alone || !self.somebody_accepts() {
            return self.shut_queues(out);
        }
        out.push(Action::BarQueues);
        let until = now + SETTLING.min(self.policy.drain_timeout / 4);
        self.life = Life::Stopping { closing: Closing::Settling { until } };
    }

    /// Whether a worker is left that may accept until the queues are shut.
    fn somebody_accepts(&self) -> bool {
        let accepts = |worker: &Worker| matches!(worker.phase, Phase::Finishing { .. } | Phase::Draining { .. });
        self.roster.iter().any(|worker| !worker.slot.is_companion() && accepts(worker))
    }

    /// Somebody else serves the queues after all.
    pub(crate) fn keep_queues_open(&mut self) {
        if let Life::Stopping { closing } = &mut self.life {
            *closing = Closing::Done;
        }
    }

    fn shut_queues(&mut self, out: &mut Actions) {
        if let Life::Stopping { closing } = &mut self.life {
            *closing = Closing::Done;
            out.push(Action::ShutQueues);
        }
        for worker in self.roster.iter_mut() {
            if let Phase::Finishing { deadline } = worker.phase {
                worker.phase = Phase::Draining { deadline, bequest: Bequest::NOTHING };
            }
        }
    }
}

#[cfg(test)]
mod tests;
