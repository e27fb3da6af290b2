//! One sweep over all connections of a server enforces every limit.
//!
//! Each connection has an [`Entry`]: what it is doing and since when. The hot
//! path stores two numbers there; a timer a request would cost 1400
//! instructions. The sweep looks at the entries a few times within the smallest
//! limit, writes an [`Order`] into those that have to act, and wakes their tasks.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use hatchery_worker::{Counters, Ledger};
use slab::Slab;
use tokio::task::AbortHandle;

use crate::clock::{Clock, ago, elapsed};
use crate::entry::Entry;
use crate::limits::Resolved;
use crate::phase::{Order, Patience, Phase, WINDOW, judge, within};
use crate::ticker::Ticker;

/// How many connections may keep hyper's buffers while they wait for their next request.
pub(crate) const MAX_ACTIVE: usize = 256;

/// How often the sweep looks while the worker drains.
const DRAIN_PACE: Duration = Duration::from_millis(20);

/// An [`Entry`] that is swept until it is given back to [`Hub::remove`].
#[derive(Debug)]
pub(crate) struct Registered {
    pub(crate) entry: Rc<Entry>,
    key: usize,
}

/// What all connections of one server share.
pub(crate) struct Hub {
    pub(crate) limits: Resolved,
    pub(crate) counters: Counters,
    ledger: &'static Ledger,
    entries: RefCell<Slab<Rc<Entry>>>,
    clock: Clock,
    active: Cell<usize>,
    draining: Cell<bool>,
    /// How long a drain waits for clients and applications, and when it has begun.
    patience: Cell<(Patience, u32)>,
    relieved: Cell<bool>,
    sweeper: RefCell<Option<AbortHandle>>,
    ticker: Ticker,
}

impl Hub {
    pub(crate) fn new(limits: Resolved, counters: Counters, ledger: &'static Ledger) -> Rc<Self> {
        Rc::new(Self {
            limits,
            counters,
            ledger,
            entries: RefCell::default(),
            clock: Clock::new(),
            active: Cell::new(0),
            draining: Cell::new(false),
            patience: Cell::new((Patience::of(Duration::MAX), 0)),
            relieved: Cell::new(false),
            sweeper: RefCell::new(None),
            ticker: Ticker::new(),
        })
    }

    /// Adds a connection that has been in its phase for a while; the first one wakes the sweep.
    ///
    /// One that comes while the worker drains has the order to do so already.
    pub(crate) fn register(self: &Rc<Self>, phase: Phase, waited: Duration) -> Registered {
        let order = if self.draining.get() { Order::Drain } else { Order::None };
        let entry = Rc::new(Entry::new(phase, ago(self.now(), waited), order));
        let key = self.entries.borrow_mut().insert(Rc::clone(&entry));
        if self.sweeper.borrow().is_none() {
            self.start_sweeping();
        }
        Registered { entry, key }
    }

    /// The connection is gone.
    pub(crate) fn remove(&self, registered: &Registered) {
        self.entries.borrow_mut().remove(registered.key);
    }

    /// The time in milliseconds, as coarse as the sweep's pace.
    pub(crate) fn now(&self) -> u32 {
        self.clock.now()
    }

    /// How long a connection has been in its phase.
    pub(crate) fn age(&self, entry: &Entry) -> Duration {
        elapsed(self.now(), entry.since())
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// Whether an idle connection should give its buffers back without waiting for the sweep.
    pub(crate) fn is_crowded(&self) -> bool {
        if self.active.get() > MAX_ACTIVE {
            self.relieve();
            return true;
        }
        self.draining.get()
    }

    /// Parks all that is idle, at most once between two sweeps.
    ///
    /// What it frees is what the connections that come next are made of: a
    /// burst of connections, all idle at its end, never grows the heap beyond
    /// what [`MAX_ACTIVE`] of them need.
    #[cold]
    fn relieve(&self) {
        if self.relieved.replace(true) {
            return;
        }
        for (_key, entry) in self.entries.borrow().iter() {
            if entry.phase() == Phase::Idle {
                entry.order(Order::Park);
            }
        }
    }

    /// Counts a connection as active for as long as the value lives.
    pub(crate) fn activate(self: &Rc<Self>) -> Activity {
        self.active.set(self.active.get() + 1);
        Activity(Rc::clone(self))
    }

    /// Tells every connection that the worker drains and has so much time for it, and sweeps faster from now on.
    pub(crate) fn drain(self: &Rc<Self>, left: Duration) {
        self.draining.set(true);
        self.clock.advance(self.pace());
        self.patience.set((Patience::of(left), self.now()));
        for (_key, entry) in self.entries.borrow().iter() {
            entry.order(Order::Drain);
        }
        if let Some(sweeper) = self.sweeper.take() {
            sweeper.abort();
            self.start_sweeping();
        }
    }

    /// Orders so many of the idle connections to other processes, those first that have no buffers here.
    ///
    /// Whether one goes is decided when its task sees the order: it may have become busy.
    pub(crate) fn shed(&self, connections: usize) {
        let entries = self.entries.borrow();
        let parked = entries.iter().filter(|(_key, entry)| entry.phase() == Phase::Parked);
        let idle = entries.iter().filter(|(_key, entry)| entry.phase() == Phase::Idle);
        let may_move = parked.chain(idle).filter(|(_key, entry)| !entry.stays());
        for (_key, entry) in may_move.take(connections) {
            entry.order(Order::Shed);
        }
    }

    /// Whether a drain may close this connection at once: its client was not busy within the last moment.
    ///
    /// Else a request may be on its way, sent before anything told the client that we are about to close.
    pub(crate) fn is_long_idle(&self, entry: &Entry) -> bool {
        self.age(entry) > WINDOW + self.limits.interval()
    }

    /// How long a client may be silent for which that limit holds: a drain does not wait for it to its end.
    pub(crate) fn patient(&self, limit: Duration) -> Duration {
        within(limit, self.patience())
    }

    /// That of the drain, while there is one.
    fn patience(&self) -> Option<Patience> {
        let (patience, since) = self.patience.get();
        self.draining.get().then(|| patience.after(elapsed(self.now(), since)))
    }

    fn pace(&self) -> Duration {
        if self.draining.get() { DRAIN_PACE.min(self.limits.interval()) } else { self.limits.interval() }
    }

    fn start_sweeping(self: &Rc<Self>) {
        let task = tokio::task::spawn_local(sweep(Rc::clone(self)));
        *self.sweeper.borrow_mut() = Some(task.abort_handle());
    }

    fn sweep_once(&self) {
        let pace = self.pace();
        self.clock.advance(pace);
        let patience = self.patience();
        self.ledger.loop_turns();
        self.relieved.set(false);
        for (_key, entry) in self.entries.borrow().iter() {
            match judge(entry.phase(), self.age(entry), pace, &self.limits, patience) {
                Order::None if entry.has_streams() => entry.order(Order::Look),
                Order::None => {}
                order @ (Order::Park | Order::Look | Order::Shed | Order::Drain | Order::Expire) => entry.order(order),
            }
        }
    }
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub").field("active", &self.active.get()).field("draining", &self.draining.get()).finish()
    }
}

/// Counts one connection as active.
#[derive(Debug)]
pub(crate) struct Activity(Rc<Hub>);

impl Drop for Activity {
    fn drop(&mut self) {
        self.0.active.set(self.0.active.get() - 1);
    }
}

/// Runs until there is no connection left; the next connection starts it again.
async fn sweep(hub: Rc<Hub>) {
    let pace = hub.pace();
    hub.ticker.start(pace);
    loop {
        hub.ticker.tick(pace).await;
        hub.sweep_once();
        if hub.entries.borrow().is_empty() {
            hub.ticker.stop();
            hub.sweeper.take();
            return;
        }
    }
}
