//! What the driver does about each action: every effect that a master has is below.

use std::error::Error;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use hatchery_core::notice::{Cause, Level};
use hatchery_core::rollout::Rollout;
use hatchery_core::wire::upgrade::PredecessorSays;
use hatchery_core::wire::worker::MasterSays;
use hatchery_core::{Action, Event, Generation, Lineage, Notice, Pid, Slot};
use hatchery_sys::board::{Claim, Counter};
use hatchery_sys::channel::Channel;
use hatchery_sys::fork::{self, Fork};
use hatchery_sys::{Signal, process, signals, streams, title};
use tracing::{error, info, warn};

use super::{BURIAL, Birth, Driver, LOG, Turn, admin};
use crate::children::Delivery;
use crate::hooks::WorkerExit;
use crate::inbox::Successor;
use crate::pid_file::PidFile;
use crate::successor::Legacy;

impl Driver {
    pub(super) fn perform(&mut self, action: Action) -> Turn {
        match action {
            Action::Spawn { slot } => return self.spawn(slot),
            Action::Tell { pid, says } => {
                let enclosed = self.enclosed(&says);
                if self.children.tell(pid, says, enclosed) == Delivery::Stuck {
                    warn!(target: "hatchery", "worker (pid {pid}) does not read its orders: killing it");
                    self.kill(pid, Signal::SIGKILL);
                }
            }
            Action::Kill { pid } => self.kill(pid, Signal::SIGKILL),
            Action::Terminate { pid } => self.kill(pid, Signal::SIGTERM),
            Action::Reread => {
                let event = self.reread();
                self.inbox.waiting.push_front(event);
            }
            Action::Reopen => self.hooks.reopen(),
            Action::StartSuccessor { generation, workers, configured } => {
                self.start_successor(generation, workers, configured);
            }
            Action::TellSuccessor(says) => {
                if let (PredecessorSays::Commit { .. }, Some(successor)) = (&says, &self.inbox.successor) {
                    self.notify.hands_over(hatchery_sys::Pid::from_raw(successor.pid.0));
                }
                tell(self.inbox.successor.as_ref().map(|successor| &successor.link), &says.encode());
            }
            Action::CloseSuccessorLink => {
                self.inbox.successor = None;
                self.relays.end_successor();
            }
            Action::TellPredecessor(says) => tell(self.inbox.predecessor.as_ref(), &says.encode()),
            Action::TakePidFile => {
                self.take_pid_file();
                self.take_control(self.elder);
                self.tell_who_serves();
                self.notify.takes_over(&self.core);
                self.front(true);
                self.hooks.serving();
            }
            Action::TakeBackPidFile => {
                self.listeners.doubt_store();
                self.with_pid_file(PidFile::take_back);
                self.take_control(self.heir);
                self.tell_who_serves();
                self.notify.takes_over(&self.core);
                self.front(true);
            }
            Action::Abort { pid } => self.kill(pid, Signal::SIGABRT),
            Action::Sample { weigh } => {
                let samples = self.children.sample(&self.board, weigh);
                self.inbox.waiting.push_front(Event::Sampled(samples));
            }
            Action::AddQueues { each } => {
                let event = match self.listeners.add_queues(each) {
                    Ok(()) => Event::QueuesAdded { counts: self.listeners.queue_counts() },
                    Err(failure) => Event::QueuesNotAdded { text: failure.to_string() },
                };
                self.inbox.waiting.push_front(event);
            }
            Action::ShutRelay => self.relays.shut_own(),
            Action::OpenRelay => self.relays.open_own(),
            Action::BarQueues => self.bar_queues(),
            Action::ShutQueues => {
                self.barred = None;
                self.relays.shut_own();
                self.listeners.shut_all();
                self.listeners.remove_files();
            }
            Action::ShutListeners { listeners } => {
                for listener in listeners.into_iter().filter_map(|index| self.listeners.get(index.into())) {
                    listener.end();
                }
            }
            Action::CloseListeners { listeners } => self.begin_closing(listeners),
            Action::Log(notice) => self.log(&notice),
            Action::Exit(outcome) => return Turn::Over(outcome),
        }
        Turn::Go
    }

    /// The descriptor that a message is about. One that cannot be copied is left
    /// out: the worker does without then.
    fn enclosed(&self, says: &MasterSays) -> Option<OwnedFd> {
        let fd = match says {
            MasterSays::Queue { id } => self.listeners.queue(*id).map(|(_, queue)| queue.as_fd()),
            // The log, as the master has just opened it: its workers may be somebody who may not.
            MasterSays::Reopen => return io::stderr().as_fd().try_clone_to_owned().ok(),
            MasterSays::Assign { .. }
            | MasterSays::Drain { .. }
            | MasterSays::Finish { .. }
            | MasterSays::Shed { .. }
            | MasterSays::Ask
            | MasterSays::Status
            | MasterSays::Refuge { .. } => says.heir().and_then(|heir| self.relays.entry(heir.relay)),
        };
        fd?.try_clone_to_owned()
            .inspect_err(|failure| error!(target: "hatchery", "no descriptor left for a worker: {failure}"))
            .ok()
    }

    /// Several children may have been reaped in one go. The core hears of one
    /// after the other, and may still speak of the last one when it hears of the
    /// first: that pid may be a stranger's by now.
    fn kill(&self, pid: Pid, signal: Signal) {
        let is_reaped = |event: &Event| matches!(event, Event::Exited { pid: gone, .. } if *gone == pid);
        if self.inbox.waiting.iter().any(is_reaped) {
            return;
        }
        if let Err(failure) = process::kill(hatchery_sys::Pid::from_raw(pid.0), signal) {
            warn!(target: "hatchery", "cannot send {signal} to pid {pid}: {failure}");
        }
    }

    fn spawn(&mut self, slot: Slot) -> Turn {
        self.hooks.before_fork(slot);
        match self.fork_worker(slot) {
            Ok(Turn::Born(birth)) => Turn::Born(birth),
            Ok(other @ (Turn::Go | Turn::Over(_))) => other,
            Err(failure) => {
                self.inbox.waiting.push_front(Event::SpawnFailed { slot, text: failure.to_string() });
                Turn::Go
            }
        }
    }

    fn fork_worker(&mut self, slot: Slot) -> io::Result<Turn> {
        let generation = u64::from(self.core.generation().0);
        let claim = Claim { slot: slot.0, generation, aside: slot.is_companion() };
        let cell = self.board.claim(claim).ok_or_else(|| io::Error::other("the board has no free cell"))?;
        self.fork_into(slot, cell).inspect_err(|_| self.board.release(cell))
    }

    fn fork_into(&mut self, slot: Slot, cell: usize) -> io::Result<Turn> {
        let (ours, theirs) = Channel::pair()?;
        let master = process::pid();
        streams::flush();
        let blocked = signals::block_all()?;
        match fork::fork(&blocked) {
            Ok(Fork::Child) => Ok(Turn::Born(Birth { slot, cell, channel: theirs, master, blocked })),
            Ok(Fork::Parent { child }) => {
                let pid = Pid(child.as_raw());
                // Its own process does so as well: now it is known also if that ends before.
                self.board.cell(cell).pid.store(u64::from(child.as_raw().unsigned_abs()), Relaxed);
                self.children.born(pid, ours, cell);
                if self.is_to_come() || self.core.rollout() == Rollout::Rolling {
                    self.trials.insert(pid);
                }
                blocked.restore();
                self.inbox.waiting.push_front(Event::Spawned { slot, pid });
                Ok(Turn::Go)
            }
            Err(failure) => {
                blocked.restore();
                Err(failure)
            }
        }
    }

    fn start_successor(&mut self, generation: Generation, workers: u16, configured: u16) {
        let event = match self.bequeath(generation, workers, configured) {
            Ok((pid, link)) => {
                self.inbox.successor = Some(Successor { pid, link });
                self.heir = Some(pid);
                Event::SuccessorStarted { pid }
            }
            Err(failure) => {
                self.relays.end_successor();
                Event::SuccessorNotStarted { text: failure.to_string() }
            }
        };
        self.inbox.waiting.push_front(event);
    }

    fn bequeath(&mut self, generation: Generation, workers: u16, configured: u16) -> io::Result<(Pid, Channel)> {
        // Its settings may ask for what is about to be closed here.
        self.let_newcomers_in();
        self.relays.for_successor()?;
        self.handed = self.listeners.open();
        self.legacy(generation, workers, configured).start()
    }

    /// Everything that a program gets which goes on from here.
    pub(super) fn legacy(&self, generation: Generation, workers: u16, configured: u16) -> Legacy<'_> {
        Legacy {
            origin: &self.origin,
            startup: &self.startup,
            listeners: &self.listeners,
            relays: &self.relays,
            board: &self.board,
            kept: &self.kept,
            admin: self.admin.listener.as_ref(),
            anchor: self.inbox.anchor.as_ref(),
            control: &self.control,
            generation,
            workers,
            configured,
        }
    }

    fn take_pid_file(&mut self) {
        if self.core.generation() == Generation::FIRST {
            self.with_pid_file(PidFile::take_first);
        } else {
            self.with_pid_file(PidFile::take_over);
        }
    }

    /// As with the pid file.
    fn take_control(&mut self, other: Option<Pid>) {
        if let Some(Err(failure)) = self.control.endpoint().map(|endpoint| endpoint.take(other)) {
            let reason = failure.source().map(|source| format!(": {source}")).unwrap_or_default();
            error!(target: "hatchery", "{failure}{reason}; serving goes on without it");
        }
    }

    /// Whom this master has answered its successor need not.
    pub(super) fn tell_of_answers(&mut self) {
        if let Some(whom) = self.control.take_upgrade_answered() {
            let says = PredecessorSays::Answered { whom };
            tell(self.inbox.successor.as_ref().map(|successor| &successor.link), &says.encode());
        }
    }

    fn tell_who_serves(&self) {
        if let Some(anchor) = &self.inbox.anchor {
            anchor.serving();
        }
    }

    /// A pid file that cannot be written is said, and costs nobody the service.
    fn with_pid_file<E: Error>(&mut self, change: impl FnOnce(&mut PidFile) -> Result<(), E>) {
        if let Some(Err(failure)) = self.pid_file.as_mut().map(change) {
            let reason = failure.source().map(|source| format!(": {source}")).unwrap_or_default();
            error!(target: "hatchery", "{failure}{reason}; serving goes on without it");
        }
    }

    /// Whether this is a successor whose predecessor serves.
    fn is_to_come(&self) -> bool {
        matches!(self.core.lineage(), Lineage::Awaiting(_))
    }

    fn log(&mut self, notice: &Notice) {
        let generation = self.core.generation();
        // Two masters write to one log during an upgrade: each says which it is.
        match notice.level() {
            Level::Info => info!(target: LOG, generation = generation.0, "{notice}"),
            Level::Warn => warn!(target: LOG, generation = generation.0, "{notice}"),
            Level::Error => error!(target: LOG, generation = generation.0, "{notice}"),
        }
        self.control.hears(notice, &self.core);
        self.tell_of_answers();
        if matches!(notice, Notice::GaveUp { .. }) && self.core.lineage().has_predecessor() {
            self.withdraw_stored();
        }
        self.notify.notice(notice, &self.core);
        match notice {
            Notice::WorkerExited { who, pid, ending, cause } => {
                let due = self.due.remove(pid);
                let on_trial = self.trials.remove(pid) || self.is_to_come();
                if let Some(restart) = restart(*cause, due).filter(|_| !on_trial) {
                    self.board.note(if who.companion.is_some() { restart.of_companion() } else { restart });
                }
                let exit = WorkerExit { who: who.clone(), pid: *pid, generation, ending: *ending, cause: *cause };
                self.hooks.worker_exited(&exit);
            }
            Notice::WorkerReady { who, pid } => {
                self.trials.remove(pid);
                if admin::is_it(who) {
                    self.admin_is_ready(*pid);
                }
            }
            Notice::UpgradeDone { .. } => self.front(false),
            Notice::TooOld { pid, .. } => {
                self.due.insert(*pid, Counter::RestartLifetime);
            }
            Notice::TooLarge { pid, .. } => {
                self.due.insert(*pid, Counter::RestartMemory);
            }
            Notice::RecycleBegun { pid, .. } => {
                self.due.entry(*pid).or_insert(Counter::RestartAsked);
            }
            Notice::RecycleFailed { .. } => self.due.clear(),
            // Both come with a predecessor that is gone: TookOver, if it died before it handed over.
            Notice::PredecessorDone | Notice::TookOver { .. } if self.inbox.predecessor.is_none() => {
                self.burial = Some(Instant::now() + BURIAL);
            }
            Notice::StopAnnounced { .. } => title::set(&format!("hatchery: master gen {generation} lame duck")),
            Notice::Retiring | Notice::StopBegun => title::set(&format!("hatchery: master gen {generation} draining")),
            Notice::TakenBack { .. } => title::set(&format!("hatchery: master gen {generation}")),
            _ => {}
        }
    }
}

/// What the end of a worker counts as, if it is no part of an operation; `due` is
/// what it was to be replaced for.
fn restart(cause: Cause, due: Option<Counter>) -> Option<Counter> {
    match cause {
        Cause::Crashed | Cause::CrashedBooting | Cause::CrashedDraining => Some(Counter::RestartCrash),
        Cause::BootFailed | Cause::BootTimeout => Some(Counter::RestartBoot),
        Cause::Blocked => Some(Counter::RestartBlocked),
        Cause::DrainTimeout => Some(Counter::RestartDrainTimeout),
        Cause::Drained => due,
        Cause::Unwanted | Cause::StopNow => None,
    }
}

/// Whoever does not listen any more is about to be known as gone.
fn tell(link: Option<&Channel>, message: &[u8]) {
    if let Some(link) = link {
        let _ = link.send(message, &[]);
    }
}
