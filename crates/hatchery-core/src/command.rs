//! What an operator asks for, and when it has to wait or is refused.
//!
//! One operation at a time. A stop always wins.

use crate::action::Action;
use crate::event::Command;
use crate::ids::Slot;
use crate::lineage::Lineage;
use crate::master::{Actions, Master};
use crate::notice::Notice;
use crate::policy::MAX_WORKERS;
use crate::rollout::Rollout;
use crate::shutdown::Life;
use crate::time::Moment;
use crate::upgrade::Upgrade;
use crate::wire::upgrade::SuccessorSays;
use crate::wire::worker::MasterSays;

/// What a master is busy with, as far as commands are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Busy {
    /// Nothing stands in the way.
    No,
    /// The first workers start.
    Booting,
    /// Workers are being replaced.
    Reloading,
    /// A successor is being prepared, or one that has failed is on its way out of a generation that rests.
    Upgrading,
    /// A successor that has failed is on its way out; this one serves as ever.
    ClearingUp,
    /// The predecessor serves; nothing is this one's yet.
    NotYetServing,
    /// The successor serves; this one only finishes what it has.
    Replaced,
    /// Everything is let go until the next connection.
    Dozing,
    /// It serves, and goes down in a while.
    Announced,
    /// It is going down.
    Ending,
}

impl Master {
    pub(crate) fn obey(&mut self, command: Command, now: Moment, out: &mut Actions) {
        if command == Command::Reopen {
            return self.reopen(out);
        }
        match self.busy() {
            Busy::Ending => match command {
                Command::Stop | Command::StopAtOnce => self.stop_now(out),
                _ => Self::refuse(command, "stopping", out),
            },
            Busy::Announced => match command {
                Command::Stop | Command::StopAtOnce => self.stop(now, out),
                _ => Self::refuse(command, "stopping", out),
            },
            Busy::Dozing => match command {
                Command::Stop | Command::StopAtOnce => self.stop(now, out),
                Command::Reload | Command::Upgrade | Command::More => {
                    self.wake(out);
                    self.carry_out(command, now, out);
                }
                Command::Scale(workers) => self.scale_as_told(workers, out),
                Command::Rest | Command::Fewer | Command::Reopen | Command::Recycle(_) => {
                    Self::refuse(command, "no worker is there", out);
                }
            },
            // Its workers need not wait for the end of the probation, if an operator says so.
            Busy::Replaced if command == Command::Rest && self.cut_probation_short(now, out) => {}
            Busy::Replaced => Self::refuse(command, "the successor serves, this one drains", out),
            Busy::NotYetServing => match command {
                Command::Stop | Command::StopAtOnce => {
                    out.push(Action::TellPredecessor(SuccessorSays::Failed { text: "it was told to stop".to_owned() }));
                    self.stop_untaken(now, out);
                }
                _ => Self::refuse(command, "an upgrade is under way", out),
            },
            Busy::Upgrading => match command {
                Command::Stop => self.announce_stop(now, out),
                Command::StopAtOnce => self.stop(now, out),
                _ => Self::refuse(command, "an upgrade is under way", out),
            },
            Busy::ClearingUp => match command {
                Command::Reload | Command::Upgrade => {
                    self.postpone(command, "the end of the successor that failed", out);
                }
                Command::Stop => self.announce_stop(now, out),
                Command::StopAtOnce => self.stop(now, out),
                Command::Rest
                | Command::More
                | Command::Fewer
                | Command::Reopen
                | Command::Scale(_)
                | Command::Recycle(_) => Self::refuse(command, "a successor that failed has not ended yet", out),
            },
            Busy::Booting => match command {
                Command::Reload | Command::Upgrade => self.postpone(command, "the boot", out),
                Command::Rest => Self::refuse(command, "still booting", out),
                Command::Stop
                | Command::StopAtOnce
                | Command::More
                | Command::Fewer
                | Command::Reopen
                | Command::Scale(_)
                | Command::Recycle(_) => self.carry_out(command, now, out),
            },
            Busy::Reloading => match command {
                Command::Reload | Command::Upgrade => self.postpone(command, "the reload", out),
                Command::Stop
                | Command::StopAtOnce
                | Command::Rest
                | Command::More
                | Command::Fewer
                | Command::Reopen
                | Command::Scale(_)
                | Command::Recycle(_) => self.carry_out(command, now, out),
            },
            Busy::No => self.carry_out(command, now, out),
        }
    }

    fn busy(&self) -> Busy {
        match (&self.life, &self.upgrade, self.rollout) {
            (Life::Stopping { .. } | Life::GivingUp { .. } | Life::Over, _, _) => Busy::Ending,
            (Life::Dozing, _, _) => Busy::Dozing,
            (Life::LameDuck { .. }, _, _) => Busy::Announced,
            (_, Upgrade::Probation { .. } | Upgrade::Retiring { .. } | Upgrade::Leaving, _) => Busy::Replaced,
            (Life::Serving, Upgrade::Aborting { .. }, _) => Busy::ClearingUp,
            (
                _,
                Upgrade::Starting | Upgrade::Preparing { .. } | Upgrade::Committed { .. } | Upgrade::Aborting { .. },
                _,
            ) => Busy::Upgrading,
            (Life::Booting, Upgrade::Idle, _) => match self.lineage {
                Lineage::Awaiting(_) => Busy::NotYetServing,
                Lineage::First | Lineage::Heir | Lineage::Backed { .. } | Lineage::Released { .. } | Lineage::Alone => {
                    Busy::Booting
                }
            },
            (Life::Serving | Life::Resting, Upgrade::Idle, Rollout::Rereading | Rollout::Rolling) => Busy::Reloading,
            (Life::Serving | Life::Resting, Upgrade::Idle, Rollout::Idle) => Busy::No,
        }
    }

    fn carry_out(&mut self, command: Command, now: Moment, out: &mut Actions) {
        match command {
            Command::Stop => self.announce_stop(now, out),
            Command::StopAtOnce => self.stop(now, out),
            Command::Reload => self.begin_reload(out),
            Command::Upgrade => self.begin_upgrade(out),
            Command::Reopen => self.reopen(out),
            Command::Rest => self.rest(now, out),
            Command::More => self.more(out),
            Command::Fewer => self.fewer(out),
            Command::Scale(workers) => self.scale_as_told(workers, out),
            Command::Recycle(slot) => self.recycle(slot, out),
        }
    }

    fn reopen(&self, out: &mut Actions) {
        out.push(Action::Reopen);
        out.push(Action::Log(Notice::Reopened));
        out.extend(self.roster.iter().map(|worker| Action::Tell { pid: worker.pid, says: MasterSays::Reopen }));
    }

    fn rest(&mut self, now: Moment, out: &mut Actions) {
        if self.life == Life::Resting {
            return Self::refuse(Command::Rest, "no worker is there", out);
        }
        self.life = Life::Resting;
        self.rollout = Rollout::Idle;
        self.postponed.clear();
        out.push(Action::Log(Notice::Resting));
        self.let_all_go(now, out);
        self.shut_relay(out);
    }

    /// Ends a rest, or a sleep that has not begun; nothing if there is none.
    pub(crate) fn wake(&mut self, out: &mut Actions) {
        if self.life.is_resting() {
            self.life = Life::Serving;
            self.throttle.forget();
            out.push(Action::Log(Notice::Woken));
            self.open_relay(out);
        }
    }

    fn more(&mut self, out: &mut Actions) {
        if self.life == Life::Resting {
            return self.wake(out);
        }
        if self.target >= MAX_WORKERS {
            return Self::refuse(Command::More, "512 workers are the most", out);
        }
        self.scale_to(self.target + 1, out);
    }

    fn fewer(&mut self, out: &mut Actions) {
        if self.life == Life::Resting {
            return Self::refuse(Command::Fewer, "no worker is there", out);
        }
        if self.target <= 1 {
            return Self::refuse(Command::Fewer, "one worker is the least", out);
        }
        self.scale_to(self.target - 1, out);
    }

    fn scale_as_told(&mut self, workers: u16, out: &mut Actions) {
        if !(1..=MAX_WORKERS).contains(&workers) {
            return Self::refuse(Command::Scale(workers), "1 to 512 workers can run", out);
        }
        self.wake(out);
        self.scale_to(workers, out);
    }

    /// The same as if the worker had asked for it itself.
    fn recycle(&mut self, slot: Slot, out: &mut Actions) {
        let newest = self.roster.newest_ready().get(&slot).copied();
        match newest.and_then(|pid| self.roster.get_mut(pid)) {
            Some(worker) => worker.renew(),
            None => {
                let why =
                    if slot.is_companion() { "it is not ready, or not there" } else { "no worker is ready there" };
                Self::refuse(Command::Recycle(slot), why, out);
            }
        }
    }

    fn scale_to(&mut self, target: u16, out: &mut Actions) {
        self.target = target;
        out.push(Action::Log(Notice::Scaled { workers: target }));
    }
}

#[cfg(test)]
mod tests;
