//! The loop, and the only place where actions are performed.
//!
//! ```text
//! perform every action          fork, exec, kill, send, rename, log
//! take the next fact            or wait for one until the core's deadline
//! ask the core what follows
//! ```

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use hatchery_core::notice::Level;
use hatchery_core::{
    Action, Event, Generation, Lineage, Master, Moment, Notice, Outcome, Pid, Policy, Readiness, Seed, Slot,
};
use hatchery_net::Listeners;
use hatchery_sys::board::Board;
use hatchery_sys::channel::Channel;
use hatchery_sys::fork::{self, Fork};
use hatchery_sys::origin::Origin;
use hatchery_sys::signals::{self, Blocked, SelfPipe, Startup};
use hatchery_sys::{Signal, process, streams, title};
use tracing::{error, info, warn};

use crate::children::{Children, Delivery};
use crate::commands::SIGNALS;
use crate::hooks::{Hooks, WorkerExit};
use crate::inbox::Inbox;
use crate::pid_file::PidFile;
use crate::role::{Newborn, Role};
use crate::successor::Legacy;

/// How soon messages that did not fit are tried again.
const RETRY: Duration = Duration::from_millis(20);

/// What operators read comes from hatchery, whichever crate of it: also for `RUST_LOG`.
const LOG: &str = "hatchery";

/// How long a predecessor that has closed its link may take to be dead.
const BURIAL: Duration = Duration::from_secs(1);

/// Everything that a master needs before its first step.
#[derive(Debug)]
pub struct Setup {
    /// The limits to obey.
    pub policy: Policy,
    /// How many workers to run, where an operator has scaled the predecessor.
    pub scaled: Option<u16>,
    /// Which generation this is.
    pub generation: Generation,
    /// The listeners, bound or inherited.
    pub listeners: Listeners,
    /// The board of this generation.
    pub board: Board,
    /// How this program was started, for its successor.
    pub origin: Origin,
    /// The signal mask and dispositions that it was started with.
    pub startup: Startup,
    /// The pid file, if one is wanted.
    pub pid_file: Option<PidFile>,
    /// The link to the predecessor, if there is one.
    pub predecessor: Option<Channel>,
    /// What the program wants to be asked or told.
    pub hooks: Hooks,
}

/// A master: the core's state and everything that it decides about.
#[derive(Debug)]
pub struct Driver {
    core: Master,
    begin: Instant,
    actions: VecDeque<Action>,
    inbox: Inbox,
    children: Children,
    listeners: Listeners,
    board: Board,
    origin: Origin,
    startup: Startup,
    pid_file: Option<PidFile>,
    /// Until when a dead predecessor's second name is looked for.
    burial: Option<Instant>,
    hooks: Hooks,
}

/// What performing an action, or a whole turn, leads to.
enum Turn {
    Go,
    /// This process is a child that was forked a moment ago.
    Born(Birth),
    Over(Outcome),
}

/// What only the newborn knows; the rest it takes from the driver that it was copied with.
struct Birth {
    slot: Slot,
    cell: usize,
    channel: Channel,
    master: hatchery_sys::Pid,
    blocked: Blocked,
}

impl Driver {
    /// A master that has not begun. Its signal handlers are in place from here on.
    ///
    /// # Errors
    /// When the self-pipe cannot be made.
    pub fn new(setup: Setup) -> io::Result<Self> {
        let lineage = match setup.predecessor {
            Some(_) => Lineage::Awaiting(Readiness::Booting),
            None => Lineage::First,
        };
        let core = Master::new(Seed {
            policy: setup.policy,
            generation: setup.generation,
            queues: setup.listeners.queue_counts(),
            lineage,
            scaled: setup.scaled,
        });
        let inbox = Inbox {
            waiting: VecDeque::from([Event::Begin]),
            signals: SelfPipe::install(&SIGNALS)?,
            successor: None,
            predecessor: setup.predecessor,
            outlives_terminal: setup.startup.ignores(Signal::SIGHUP),
        };
        Ok(Self {
            core,
            begin: Instant::now(),
            actions: VecDeque::new(),
            inbox,
            children: Children::new(setup.board.cells()),
            listeners: setup.listeners,
            board: setup.board,
            origin: setup.origin,
            startup: setup.startup,
            pid_file: setup.pid_file,
            burial: None,
            hooks: setup.hooks,
        })
    }

    /// Runs until the master is done, or this is a forked worker.
    #[must_use]
    pub fn run(mut self) -> Role {
        self.announce();
        loop {
            match self.turn() {
                Turn::Go => {}
                Turn::Born(birth) => return Role::Worker(Box::new(self.into_newborn(birth))),
                Turn::Over(outcome) => {
                    self.clean_up(&outcome);
                    return Role::Done(outcome);
                }
            }
        }
    }

    fn announce(&self) {
        let generation = self.core.generation();
        title::set(&format!("hatchery: master gen {generation}"));
        info!(target: LOG, generation = generation.0, "master (pid {}) starts", process::pid());
        for listener in &self.listeners {
            let name = listener.name().map(|name| format!(" for {name}")).unwrap_or_default();
            info!(target: LOG, generation = generation.0, "listening on {}{name}", listener.bound());
        }
    }

    fn turn(&mut self) -> Turn {
        while let Some(action) = self.actions.pop_front() {
            match self.perform(action) {
                Turn::Go => {}
                other @ (Turn::Born(_) | Turn::Over(_)) => return other,
            }
        }
        let event = self.next_event();
        if let Event::Exited { pid, .. } = event {
            let was_worker = self.children.reaped(pid, &self.board);
            if let Some(pid_file) = self.pid_file.as_ref().filter(|_| !was_worker) {
                pid_file.remove_draft_of(pid);
            }
        }
        let steps = self.core.step(self.now(), event);
        self.actions.extend(steps);
        Turn::Go
    }

    fn next_event(&mut self) -> Event {
        if self.inbox.waiting.is_empty() {
            let unfinished = self.children.flush() | self.bury();
            let until_deadline = self.core.deadline().map(|deadline| deadline.since(self.now()));
            let timeout = if unfinished { Some(until_deadline.unwrap_or(RETRY).min(RETRY)) } else { until_deadline };
            if let Err(failure) = self.inbox.fill(&mut self.children, timeout) {
                // Out of memory for a moment: nothing was taken in, nothing is lost.
                error!("waiting for events failed: {failure}");
            }
        }
        // Time passes last: what has happened by now, above all a death, is known
        // before a deadline decides something.
        self.inbox.waiting.pop_front().unwrap_or(Event::Tick)
    }

    /// Removes the second name of a predecessor's pid file. A process that dies
    /// closes one descriptor after the other: the link may be seen closed a moment
    /// before the lock is gone. Returns whether that moment is not over.
    fn bury(&mut self) -> bool {
        let Some(until) = self.burial else { return false };
        let buried = self.pid_file.as_ref().is_none_or(PidFile::remove_dead);
        if buried || Instant::now() > until {
            self.burial = None;
        }
        self.burial.is_some()
    }

    fn now(&self) -> Moment {
        // Rounded up, so that a deadline is never asked for a moment too early, again and again.
        let elapsed = self.begin.elapsed();
        let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        Moment(millis.saturating_add(u64::from(!elapsed.subsec_nanos().is_multiple_of(1_000_000))))
    }

    fn perform(&mut self, action: Action) -> Turn {
        match action {
            Action::Spawn { slot } => return self.spawn(slot),
            Action::Tell { pid, says } => {
                if self.children.tell(pid, says) == Delivery::Stuck {
                    warn!("worker (pid {pid}) does not read its orders: killing it");
                    self.kill(pid, Signal::SIGKILL);
                }
            }
            Action::Kill { pid } => self.kill(pid, Signal::SIGKILL),
            Action::Terminate { pid } => self.kill(pid, Signal::SIGTERM),
            Action::Reread => {
                let event = match self.hooks.reread() {
                    Ok(policy) => Event::Settings(policy),
                    Err(text) => Event::SettingsRefused { text },
                };
                self.inbox.waiting.push_front(event);
            }
            Action::Reopen => self.hooks.reopen(),
            Action::StartSuccessor { generation, workers, configured } => {
                self.start_successor(generation, workers, configured);
            }
            Action::TellSuccessor(says) => tell(self.inbox.successor.as_ref(), &says.encode()),
            Action::CloseSuccessorLink => self.inbox.successor = None,
            Action::TellPredecessor(says) => tell(self.inbox.predecessor.as_ref(), &says.encode()),
            Action::TakePidFile => self.take_pid_file(),
            Action::TakeBackPidFile => self.with_pid_file(PidFile::take_back),
            Action::ShutQueues => {
                self.listeners.shut_all();
                self.listeners.remove_files();
            }
            Action::ShutListeners { listeners } => {
                for listener in listeners.into_iter().filter_map(|index| self.listeners.get(index.into())) {
                    listener.shut();
                    listener.remove_file();
                }
            }
            Action::Log(notice) => self.log(&notice),
            Action::Exit(outcome) => return Turn::Over(outcome),
        }
        Turn::Go
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
            warn!("cannot send {signal} to pid {pid}: {failure}");
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
        let cell = self.children.free_cell().ok_or_else(|| io::Error::other("the board has no free cell"))?;
        let (ours, theirs) = Channel::pair()?;
        let master = process::pid();
        streams::flush();
        let blocked = signals::block_all()?;
        match fork::fork(&blocked) {
            Ok(Fork::Child) => Ok(Turn::Born(Birth { slot, cell, channel: theirs, master, blocked })),
            Ok(Fork::Parent { child }) => {
                let pid = Pid(child.as_raw());
                self.children.born(pid, ours);
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

    /// In the child: the master's handlers go first, while signals are still
    /// blocked, or one for the newborn would land in the master's pipe. What is
    /// left of the driver is dropped here: descriptors, and nothing that reaches
    /// outside.
    fn into_newborn(self, birth: Birth) -> Newborn {
        signals::reset_in_child();
        // What the program's own hooks hold may well reach outside when it is
        // dropped, and it is the master's.
        std::mem::forget(self.hooks);
        Newborn {
            slot: birth.slot,
            generation: self.core.generation(),
            master: birth.master,
            listeners: self.listeners,
            channel: birth.channel,
            board: self.board,
            cell: birth.cell,
            drain_timeout: self.core.policy().drain_timeout,
            blocked: birth.blocked,
            presence: self.inbox.predecessor.map(Channel::into_fd),
        }
    }

    fn start_successor(&mut self, generation: Generation, workers: u16, configured: u16) {
        let legacy = Legacy {
            origin: &self.origin,
            startup: &self.startup,
            listeners: &self.listeners,
            board: &self.board,
            generation,
            workers,
            configured,
        };
        let event = match legacy.start() {
            Ok((pid, link)) => {
                self.inbox.successor = Some(link);
                Event::SuccessorStarted { pid }
            }
            Err(failure) => Event::SuccessorNotStarted { text: failure.to_string() },
        };
        self.inbox.waiting.push_front(event);
    }

    fn take_pid_file(&mut self) {
        if self.core.generation() == Generation::FIRST {
            self.with_pid_file(PidFile::take_first);
        } else {
            self.with_pid_file(PidFile::take_over);
        }
    }

    /// A pid file that cannot be written is said, and costs nobody the service.
    fn with_pid_file<E: std::error::Error>(&mut self, change: impl FnOnce(&mut PidFile) -> Result<(), E>) {
        if let Some(Err(failure)) = self.pid_file.as_mut().map(change) {
            let reason = failure.source().map(|source| format!(": {source}")).unwrap_or_default();
            error!("{failure}{reason}; serving goes on without it");
        }
    }

    fn log(&mut self, notice: &Notice) {
        let generation = self.core.generation();
        // Two masters write to one log during an upgrade: each says which it is.
        match notice.level() {
            Level::Info => info!(target: LOG, generation = generation.0, "{notice}"),
            Level::Warn => warn!(target: LOG, generation = generation.0, "{notice}"),
            Level::Error => error!(target: LOG, generation = generation.0, "{notice}"),
        }
        match notice {
            Notice::WorkerExited { slot, pid, ending, cause } => {
                let exit = WorkerExit { slot: *slot, pid: *pid, generation, ending: *ending, cause: *cause };
                self.hooks.worker_exited(&exit);
            }
            Notice::PredecessorDone => self.burial = Some(Instant::now() + BURIAL),
            Notice::TookOver { .. } if self.inbox.predecessor.is_none() => self.burial = Some(Instant::now() + BURIAL),
            Notice::Retiring | Notice::StopBegun => title::set(&format!("hatchery: master gen {generation} draining")),
            Notice::TakenBack { .. } => title::set(&format!("hatchery: master gen {generation}")),
            _ => {}
        }
    }

    /// A successor that gives up leaves the pid file for its predecessor to
    /// rename its own over: there is one at every moment.
    fn clean_up(&mut self, outcome: &Outcome) {
        if matches!(self.core.lineage(), Lineage::Awaiting(_)) {
            self.listeners.abandon();
        }
        let is_given_back = matches!(outcome, Outcome::BootFailed { .. }) && self.inbox.predecessor.is_some();
        match &mut self.pid_file {
            Some(pid_file) if is_given_back => pid_file.release(),
            Some(pid_file) => pid_file.remove(),
            None => {}
        }
    }
}

/// Whoever does not listen any more is about to be known as gone.
fn tell(link: Option<&Channel>, message: &[u8]) {
    if let Some(link) = link {
        let _ = link.send(message, &[]);
    }
}
