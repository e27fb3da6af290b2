//! The loop, and the only place where actions are performed.
//!
//! ```text
//! perform every action          fork, exec, kill, send, rename, log
//! take the next fact            or wait for one until the core's deadline
//! ask the core what follows
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use hatchery_core::shutdown::Life;
use hatchery_core::wire::upgrade::PredecessorSays;
use hatchery_core::wire::worker::{MasterSays, WorkerSays};
use hatchery_core::{
    Action, Command, Companion, Event, Generation, Lineage, ListenMode, Master, Moment, Outcome, Pid, Policy,
    Readiness, Seed, Slot,
};
use hatchery_net::{Kept, Listener, Listeners};
use hatchery_sys::board::{Board, Counter};
use hatchery_sys::channel::Channel;
use hatchery_sys::origin::Origin;
use hatchery_sys::signals::{self, Blocked, SelfPipe, Startup};
use hatchery_sys::{Signal, process, socket, title};
use tracing::{error, info, warn};

use crate::anchor::Line;
use crate::anchor::echo::Echo;
use crate::children::Children;
use crate::clock::Clock;
use crate::commands::SIGNALS;
use crate::control::{Control, Endpoint, Order, View};
use crate::hooks::Hooks;
use crate::inbox::Inbox;
use crate::notify::Notify;
use crate::pid_file::PidFile;
use crate::relays::Relays;
use crate::role::{Newborn, Role};
use barred::Barred;
use closing::Closing;

mod admin;
mod barred;
mod closing;
mod effects;
mod sleep;
mod snapshot;

use admin::Admin;

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
    /// The board of all generations.
    pub board: Board,
    /// How this program was started, for its successor.
    pub origin: Origin,
    /// The signal mask and dispositions that it was started with.
    pub startup: Startup,
    /// The pid file, if one is wanted.
    pub pid_file: Option<PidFile>,
    /// The link to the predecessor, if there is one.
    pub predecessor: Option<Channel>,
    /// Where connections move to.
    pub relays: Relays,
    /// How many queues there should be a listener.
    pub listen_mode: ListenMode,
    /// What the program wants to be asked or told.
    pub hooks: Hooks,
    /// Job servers and sidecars.
    pub companions: Vec<Companion>,
    /// What an operator has asked for before it began.
    pub asked: Option<Command>,
    /// Whether it has served before it slept: what does not boot then is no reason to end.
    pub has_served: bool,
    /// The handlers, where they are in place already.
    pub signals: Option<SelfPipe>,
    /// What the program keeps open across upgrades.
    pub kept: Kept,
    /// Where operators look at the server.
    pub admin: Option<Listener>,
    /// The line to the anchor, if there is one.
    pub anchor: Option<Line>,
    /// Who asks over the control socket.
    pub control: Control,
    /// How the service manager is told what goes on.
    pub notify: Notify,
    /// Whether it stores the listeners that the program binds.
    pub stores: bool,
}

/// A master: the core's state and everything that it decides about.
#[derive(Debug)]
pub struct Driver {
    core: Master,
    clock: Clock,
    actions: VecDeque<Action>,
    inbox: Inbox,
    children: Children,
    listeners: Listeners,
    relays: Relays,
    board: Board,
    /// Workers that are to be replaced, and what for.
    due: BTreeMap<Pid, Counter>,
    /// Workers that an upgrade or a reload has brought, until they are ready: if they fail, it does.
    trials: BTreeSet<Pid>,
    origin: Origin,
    startup: Startup,
    kept: Kept,
    admin: Admin,
    pid_file: Option<PidFile>,
    /// Until when a dead predecessor's second name is looked for.
    burial: Option<Instant>,
    hooks: Hooks,
    closing: Closing,
    /// While it is waited for the last clients of a stop.
    barred: Option<Barred>,
    /// The listeners that the successor was given, in the order in which it knows them.
    handed: Vec<u16>,
    control: Control,
    /// Whose order the core is hearing.
    order: Option<Order>,
    /// The successor that was started last.
    heir: Option<Pid>,
    /// The predecessor that has started this one.
    elder: Option<Pid>,
    /// When the program wants its upkeep done again.
    upkeep: Option<Instant>,
    notify: Notify,
    stores: bool,
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
            None if setup.has_served => Lineage::Alone,
            None => Lineage::First,
        };
        let lineage_is_first = setup.predecessor.is_none();
        let core = Master::new(Seed {
            policy: setup.policy,
            generation: setup.generation,
            queues: setup.listeners.queue_counts(),
            listen_mode: setup.listen_mode,
            lineage,
            scaled: setup.scaled,
            companions: setup.companions,
        });
        let elder = setup.predecessor.as_ref().and_then(|link| socket::credentials(link.as_fd()).ok());
        let elder = elder.map(|who| Pid(who.pid));
        let control = match (elder, setup.generation.0.checked_sub(1)) {
            (Some(pid), Some(before)) => setup.control.behind(pid, Generation(before)),
            _ => setup.control,
        };
        let inbox = Inbox {
            waiting: [Event::Begin].into_iter().chain(setup.asked.map(Event::Command)).collect(),
            signals: setup.signals.map_or_else(|| SelfPipe::install(&SIGNALS), |early| early.widen(&SIGNALS))?,
            successor: None,
            predecessor: setup.predecessor,
            anchor: setup.anchor,
            echo: Echo::default(),
            outlives_terminal: setup.startup.ignores(Signal::SIGHUP),
        };
        Ok(Self {
            core,
            clock: Clock::start(),
            actions: VecDeque::new(),
            inbox,
            children: Children::new(),
            listeners: setup.listeners,
            relays: setup.relays,
            board: setup.board,
            due: BTreeMap::new(),
            trials: BTreeSet::new(),
            origin: setup.origin,
            startup: setup.startup,
            kept: setup.kept,
            admin: Admin::new(setup.admin, lineage_is_first),
            pid_file: setup.pid_file,
            burial: None,
            hooks: setup.hooks,
            notify: setup.notify,
            stores: setup.stores,
            closing: Closing::default(),
            barred: None,
            handed: Vec::new(),
            control,
            order: None,
            heir: None,
            elder,
            upkeep: None,
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
                Turn::Over(Outcome::Dormant) => match self.sleep() {
                    Turn::Over(outcome) => {
                        self.clean_up(&outcome);
                        return Role::Done(outcome);
                    }
                    Turn::Go | Turn::Born(_) => {}
                },
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
        if let Some(listener) = &self.admin.listener {
            info!(target: LOG, generation = generation.0, "admin: status and metrics at {}", listener.bound());
        }
    }

    fn turn(&mut self) -> Turn {
        while let Some(action) = self.actions.pop_front() {
            match self.perform(action) {
                Turn::Go => {}
                other @ (Turn::Born(_) | Turn::Over(_)) => return other,
            }
        }
        self.control.looks(self.order.take(), &self.core);
        self.tell_of_answers();
        let event = self.next_event();
        let event = self.translated(event);
        if let Event::Exited { pid, .. } = event {
            let was_worker = self.children.reaped(pid, &self.board);
            self.admin.gone(pid);
            if let Some(pid_file) = self.pid_file.as_ref().filter(|_| !was_worker) {
                pid_file.remove_draft_of(pid);
            }
            if !was_worker {
                self.control.bury(pid);
            }
        }
        if let Event::Predecessor(PredecessorSays::Answered { whom }) = event {
            self.control.predecessor_answered(whom);
        }
        if event == Event::Predecessor(PredecessorSays::Abort) {
            self.withdraw_stored();
            self.notify.hands_back();
        }
        if event == Event::PredecessorLinkClosed {
            self.relays.forget_predecessor();
            self.board.sweep();
            self.control.predecessor_gone();
            self.elder.into_iter().for_each(|pid| self.control.bury(pid));
        }
        if let Event::Worker { pid, says: WorkerSays::HowIsIt } = &event {
            self.say_how_it_is(*pid);
        }
        let steps = self.core.step(self.now(), event);
        self.actions.extend(steps);
        Turn::Go
    }

    fn next_event(&mut self) -> Event {
        if self.inbox.waiting.is_empty() {
            let unfinished = self.children.flush() | self.bury() | self.relays.salvage() | self.close_listeners();
            let until_deadline = self.core.deadline().map(|deadline| deadline.since(self.now()));
            let until_deadline = until_deadline.into_iter().chain(self.keep_up()).min();
            let timeout = if unfinished { Some(until_deadline.unwrap_or(RETRY).min(RETRY)) } else { until_deadline };
            let until_clients = self.control.deadline().map(|at| at.saturating_duration_since(Instant::now()));
            // A request may be read that other facts came before.
            let until_clients = if self.control.is_asked() { Some(Duration::ZERO) } else { until_clients };
            let timeout = timeout
                .into_iter()
                .chain(until_clients)
                .chain(self.inform_manager())
                .chain(self.look_at_barred())
                .min();
            let timeout = Clock::at_most(timeout);
            // Somebody may come while everything is being let go.
            let doors = match self.core.life() {
                Life::Dozing => self.listeners.iter().flat_map(Listener::queues).map(AsFd::as_fd).collect(),
                _ => Vec::new(),
            };
            if let Err(failure) = self.inbox.fill(&mut self.children, &doors, &mut self.control, timeout) {
                // Out of memory for a moment: nothing was taken in, nothing is lost.
                error!(target: "hatchery", "waiting for events failed: {failure}");
            }
            self.clock.waited(timeout);
            self.control.pass_deadlines();
            self.look_at_anchor();
        }
        // Time passes last: what has happened by now, above all a death, is known
        // before a deadline decides something.
        self.inbox.waiting.pop_front().or_else(|| self.take_order()).unwrap_or(Event::Tick)
    }

    /// What somebody asks for over the control socket, behind all that has happened.
    fn take_order(&mut self) -> Option<Event> {
        let now = self.now();
        let Self { core, children, listeners, board, .. } = self;
        self.order = self.control.next_order(View { core, children, listeners, board, now });
        self.order.map(|order| Event::Command(order.command))
    }

    /// Lets the program do what it does from time to time; answers in how long it wants to do so again.
    fn keep_up(&mut self) -> Option<Duration> {
        let now = Instant::now();
        if self.upkeep.is_none_or(|due| due <= now) {
            self.upkeep = self.hooks.upkeep().and_then(|span| now.checked_add(span));
        }
        self.upkeep.map(|due| due - now)
    }

    /// Returns when there is something more to say at the latest.
    fn inform_manager(&mut self) -> Option<Duration> {
        self.notify.update_store(&mut self.listeners);
        let Self { notify, core, children, board, .. } = self;
        let (silent, due) = notify.keep_up(core, || children.signs(board));
        for pid in silent {
            // One that does not read is the core's to judge.
            let _ = children.tell(Pid(pid.as_raw()), MasterSays::Ask, None);
        }
        due
    }

    /// The predecessor serves again, and knows nothing of what was stored here.
    fn withdraw_stored(&mut self) {
        self.notify.take_out(self.listeners.withdraw());
        self.notify.store(&mut self.listeners);
    }

    /// Without its anchor nobody attends to this master: whoever had started the
    /// anchor starts another one, which is to find address and pid file free.
    fn look_at_anchor(&mut self) {
        if self.inbox.anchor.as_ref().is_some_and(Line::is_cut) {
            self.inbox.anchor = None;
            warn!(target: LOG, generation = self.core.generation().0, "the anchor is gone: stopping");
            if let Some(pid_file) = &mut self.pid_file {
                pid_file.remove();
            }
            self.control.endpoint().into_iter().for_each(Endpoint::remove);
            self.inbox.waiting.push_back(Event::Command(Command::StopAtOnce));
        }
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
        self.clock.now()
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
            relay: self.relays.into_own(),
            channel: birth.channel,
            board: self.board,
            cell: birth.cell,
            admin: self.admin.listener,
            boot_timeout: self.core.policy().boot_timeout,
            drain_timeout: self.core.policy().drain_timeout,
            blocked: birth.blocked,
            presence: {
                let anchor = self.inbox.anchor.map(Line::presence);
                self.inbox.predecessor.map(Channel::into_fd).into_iter().chain(anchor).collect()
            },
        }
    }

    /// A successor that gives up leaves the pid file for its predecessor to
    /// rename its own over: there is one at every moment. Where operators look they
    /// find the predecessor again.
    fn clean_up(&mut self, outcome: &Outcome) {
        if matches!(self.core.lineage(), Lineage::Awaiting(_)) {
            self.listeners.abandon();
        }
        let is_given_back = matches!(outcome, Outcome::BootFailed { .. }) && self.inbox.predecessor.is_some();
        if !is_given_back {
            self.admin.clean_up();
        }
        match &mut self.pid_file {
            Some(pid_file) if is_given_back => pid_file.release(),
            Some(pid_file) => pid_file.remove(),
            None => {}
        }
        match self.control.endpoint() {
            Some(endpoint) if is_given_back => endpoint.release(),
            Some(endpoint) => endpoint.remove(),
            None => {}
        }
        // Who hears that the server has stopped finds nothing of it any more.
        self.control.farewell(outcome, self.core.upgrade().is_handed_over());
    }
}
