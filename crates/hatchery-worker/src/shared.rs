//! What all parts of a worker share: one thread, so cells and no locks.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::os::fd::BorrowedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hatchery_core::wire::worker::WorkerSays;
use hatchery_core::{Generation, QueueId, Service, Slot};
use hatchery_net::{Kept, Listeners};
use hatchery_sys::channel::Channel;
use hatchery_sys::{Pid, title};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::asked::Asked;
use crate::boot::Boot;
use crate::drain::{Bond, Stage};
use crate::ledger::{Ledger, Records};
use crate::peers::Peers;
use crate::permit::Gate;
use crate::relay::inlet::Inlet;
use crate::relay::outlet::Outlet;
use crate::relay::refuge::Refuge;
use crate::relay::shed::Shed;
use crate::{Counters, JobDesk, Limits, ListenerInfo};

/// The state of a worker.
pub(crate) struct Shared {
    pub(crate) slot: Slot,
    /// What logs and lists of processes call it.
    pub(crate) name: String,
    pub(crate) generation: Generation,
    pub(crate) master: Pid,
    /// Where jobs can be ordered.
    pub(crate) jobs: Vec<Arc<JobDesk>>,
    pub(crate) kept: Kept,
    pub(crate) secret: Option<Rc<dyn Any>>,
    pub(crate) limits: Limits,
    pub(crate) counters: Counters,
    pub(crate) listeners: Vec<ListenerInfo>,
    /// What is served on each, where its connections can move.
    pub(crate) services: RefCell<Vec<Option<Service>>>,
    pub(crate) channel: Channel,
    /// Fires when the worker begins to drain; never cancelled otherwise.
    pub(crate) drained: CancellationToken,
    pub(crate) boot_timeout: Duration,
    pub(crate) drain_timeout: Duration,
    /// When this process is ended by force, as far as it was told.
    pub(crate) deadline: Cell<Option<Instant>>,
    pub(crate) boot: RefCell<Boot>,
    pub(crate) stage: Cell<Stage>,
    pub(crate) bond: Cell<Bond>,
    /// The copies of the queues; closed when nothing more will be accepted.
    pub(crate) queues: RefCell<Listeners>,
    pub(crate) assigned: RefCell<Vec<QueueId>>,
    /// Grows with every assignment.
    pub(crate) assignment: Cell<u64>,
    pub(crate) gates: RefCell<Vec<Rc<Gate>>>,
    /// Where connections come in from other processes.
    pub(crate) inlet: Inlet,
    /// Where they go.
    pub(crate) outlet: Rc<Outlet>,
    /// Where they go if the master dies.
    pub(crate) refuge: Rc<Refuge>,
    pub(crate) shed: Shed,
    pub(crate) peers: Peers,
    /// Who waits for the master's word on how the server is.
    pub(crate) status: Asked,
    /// What each connection does, for whoever asks when this worker cannot.
    pub(crate) records: Records,
    most_connections: usize,
    open: Cell<usize>,
    /// Nothing was closed since accepting has failed.
    short: Cell<bool>,
}

/// What a worker's state is made of.
pub(crate) struct Parts {
    pub(crate) slot: Slot,
    pub(crate) sidecar: Option<String>,
    pub(crate) jobs: Vec<JobDesk>,
    pub(crate) kept: Kept,
    pub(crate) generation: Generation,
    pub(crate) master: Pid,
    pub(crate) secret: Option<Rc<dyn Any>>,
    pub(crate) limits: Limits,
    pub(crate) counters: Counters,
    pub(crate) queues: Listeners,
    pub(crate) channel: Channel,
    pub(crate) boot_timeout: Duration,
    pub(crate) drain_timeout: Duration,
}

impl Shared {
    pub(crate) fn new(parts: Parts) -> Rc<Self> {
        let Parts {
            slot,
            secret,
            sidecar,
            jobs,
            kept,
            generation,
            master,
            limits,
            counters,
            queues,
            channel,
            boot_timeout,
            drain_timeout,
        } = parts;
        let listeners: Vec<_> = queues.iter().map(ListenerInfo::of).collect();
        let shared = Rc::new(Self {
            slot,
            name: sidecar.map_or_else(|| format!("worker {slot}"), |name| format!("sidecar {name}")),
            generation,
            master,
            jobs: jobs.into_iter().map(Arc::new).collect(),
            kept,
            secret,
            limits,
            counters,
            channel,
            boot_timeout,
            drain_timeout,
            most_connections: limits.most_connections(),
            open: Cell::new(0),
            short: Cell::new(false),
            boot: RefCell::new(Boot::new(queues.iter().map(|listener| !listener.is_asked()).collect())),
            stage: Cell::new(Stage::Serving),
            bond: Cell::new(Bond::Whole),
            services: RefCell::new(vec![None; listeners.len()]),
            listeners,
            queues: RefCell::new(queues),
            assigned: RefCell::default(),
            assignment: Cell::new(0),
            gates: RefCell::default(),
            inlet: Inlet::new(),
            outlet: Rc::new(Outlet::new()),
            refuge: Rc::default(),
            deadline: Cell::new(None),
            shed: Shed::default(),
            peers: Peers::new(limits.max_connections_per_peer),
            status: Asked::default(),
            records: Records::new(Ledger::leak()),
            drained: CancellationToken::new(),
        });
        let _ = shared.counters.meter().worker.set(Rc::downgrade(&shared));
        shared
    }

    /// The listeners that the application is to serve, of all that the master has numbered.
    pub(crate) fn scope(&self) -> Rc<[usize]> {
        (0..self.listeners.len()).filter(|index| self.listeners[*index].is_asked).collect()
    }

    pub(crate) fn stage(&self) -> Stage {
        self.stage.get()
    }

    /// Shows in `ps` what this worker is about.
    pub(crate) fn entitle(&self, what: &str) {
        title::set(&format!("hatchery: {} gen {} {what}", self.name, self.generation));
    }

    /// Says something to the master; one that is gone does not hear it.
    pub(crate) fn say(&self, says: &WorkerSays) {
        self.say_with(says, &[]);
    }

    /// The same, with descriptors.
    pub(crate) fn say_with(&self, says: &WorkerSays, enclosed: &[BorrowedFd<'_>]) {
        if let Err(error) = self.channel.send(&says.encode(), enclosed) {
            // The channel's end is what tells that the master is gone. `WouldBlock`
            // takes hundreds of messages that it has not read.
            debug!("cannot tell the master {says:?}: {error}");
        }
    }
}

/// Connections.
impl Shared {
    pub(crate) fn is_full(&self) -> bool {
        self.open.get() >= self.most_connections
    }

    pub(crate) fn opened(&self) {
        self.open.set(self.open.get() + 1);
        self.counters.opened(self.open.get());
    }

    pub(crate) fn accepted(&self) -> u64 {
        self.counters.accepted()
    }

    pub(crate) fn closed(&self) {
        let was_full = self.is_full();
        self.open.set(self.open.get() - 1);
        self.counters.closed(self.open.get());
        let room = was_full && !self.is_full();
        if self.short.replace(false) || room {
            self.inlet.wake();
            if self.stage().accepts() {
                self.wake_gates();
            }
        }
    }

    pub(crate) fn is_short(&self) -> bool {
        self.short.get()
    }

    pub(crate) fn note_shortage(&self) {
        self.short.set(true);
    }

    pub(crate) fn enter_gate(&self, gate: &Rc<Gate>) {
        self.gates.borrow_mut().push(Rc::clone(gate));
    }

    /// A call of `accept` has ended, or was dropped.
    pub(crate) fn leave_gate(&self, gate: &Rc<Gate>) {
        self.gates.borrow_mut().retain(|known| !Rc::ptr_eq(known, gate));
        gate.drop_arrivals();
        self.check_empty();
        self.check_shut();
    }

    pub(crate) fn wake_gates(&self) {
        for gate in &*self.gates.borrow() {
            gate.wake();
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("slot", &self.slot)
            .field("generation", &self.generation)
            .field("stage", &self.stage)
            .field("open", &self.open)
            .finish_non_exhaustive()
    }
}
