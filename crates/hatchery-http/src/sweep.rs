//! One sweep over all connections of a server enforces every limit.
//!
//! Each connection has an [`Entry`]: what it is doing and since when. The hot
//! path stores two numbers there; a timer a request would cost 1400
//! instructions. The sweep looks at the entries a few times within the smallest
//! limit, writes an [`Order`] into those that have to act, and wakes their tasks.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::task::Waker;
use std::time::{Duration, Instant};

use hatchery_worker::Counters;
use slab::Slab;
use tokio::task::AbortHandle;

use crate::limits::Resolved;
use crate::ticker::Ticker;

/// How many connections may keep hyper's buffers while they wait for their next request.
pub(crate) const MAX_ACTIVE: usize = 256;

/// How long a drain waits for the next request of a client that was busy a moment ago, and for the rest of a head.
const WINDOW: Duration = Duration::from_secs(1);

/// How long a connection that we have shut down may take to be closed by its client.
const LINGER: Duration = Duration::from_secs(1);

/// How long a client that had nothing to say may take to see that we have closed.
const FAREWELL: Duration = Duration::from_millis(100);

/// How often the sweep looks while the worker drains.
const DRAIN_PACE: Duration = Duration::from_millis(20);

/// What a connection is doing, as far as limits are concerned.
///
/// ```text
/// Fresh -> Head -> Handler <-> Body, Send, Gone -> Idle -> Parked
///            ^                                      |        |
///            +--------------------------------------+--------+
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Accepted, and not a byte seen.
    Fresh,
    /// A part of a request head has come. Its start is never refreshed.
    Head,
    /// A handler has the request, or makes the answer: no limit.
    Handler,
    /// The rest of a request body is waited for.
    Body,
    /// The client does not read the answer.
    Send,
    /// The client has shut its side while a handler works for it.
    Gone,
    /// Active, and waiting for the next request.
    Idle,
    /// Parked, and waiting for the next request.
    Parked,
    /// HTTP/2 without a request, after at least one.
    Http2Idle,
    /// HTTP/2 that was told to go and has nothing in flight.
    Http2Leaving,
    /// Shut by us after an answer; the client has not closed yet.
    Lingering,
    /// Shut by us while nothing was going on.
    Farewell,
}

/// What the sweep wants a connection to do; the greater one wins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Order {
    /// Nothing.
    #[default]
    None,
    /// Give hyper's buffers back.
    Park,
    /// The worker drains.
    Drain,
    /// The limit of the phase has passed.
    Expire,
}

/// What the sweep knows of one connection.
#[derive(Debug)]
pub(crate) struct Entry {
    phase: Cell<Phase>,
    since: Cell<u32>,
    order: Cell<Order>,
    waker: OnceCell<Waker>,
}

impl Entry {
    pub(crate) fn phase(&self) -> Phase {
        self.phase.get()
    }

    /// Enters a phase, or notes progress within it.
    pub(crate) fn enter(&self, phase: Phase, now: u32) {
        self.phase.set(phase);
        self.since.set(now);
    }

    /// Enters a phase that goes on counting from the start of the one before.
    pub(crate) fn rename(&self, phase: Phase) {
        self.phase.set(phase);
    }

    pub(crate) fn take_order(&self) -> Order {
        self.order.take()
    }

    /// Keeps the waker of the connection's task. It never changes: a task keeps its waker for life.
    pub(crate) fn remember(&self, waker: &Waker) {
        self.waker.get_or_init(|| waker.clone());
    }

    fn order(&self, order: Order) {
        // An order that was not seen yet is not lost to a lesser one.
        self.order.set(self.order.get().max(order));
        if let Some(waker) = self.waker.get() {
            waker.wake_by_ref();
        }
    }
}

/// An [`Entry`] that is swept for as long as this value lives.
#[derive(Debug)]
pub(crate) struct Registered {
    entry: Rc<Entry>,
    hub: Rc<Hub>,
    key: usize,
}

impl Registered {
    pub(crate) fn entry(&self) -> &Rc<Entry> {
        &self.entry
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.hub.entries.borrow_mut().remove(self.key);
    }
}

/// What all connections of one server share.
pub(crate) struct Hub {
    pub(crate) limits: Resolved,
    pub(crate) counters: Counters,
    entries: RefCell<Slab<Rc<Entry>>>,
    clock: Clock,
    active: Cell<usize>,
    draining: Cell<bool>,
    relieved: Cell<bool>,
    sweeper: RefCell<Option<AbortHandle>>,
    ticker: Ticker,
}

impl Hub {
    pub(crate) fn new(limits: Resolved, counters: Counters) -> Rc<Self> {
        Rc::new(Self {
            limits,
            counters,
            entries: RefCell::default(),
            clock: Clock::new(),
            active: Cell::new(0),
            draining: Cell::new(false),
            relieved: Cell::new(false),
            sweeper: RefCell::new(None),
            ticker: Ticker::new(),
        })
    }

    /// Adds a connection; the first one wakes the sweep.
    pub(crate) fn register(self: &Rc<Self>) -> Registered {
        let entry = Rc::new(Entry {
            phase: Cell::new(Phase::Fresh),
            since: Cell::new(self.now()),
            order: Cell::default(),
            waker: OnceCell::new(),
        });
        let key = self.entries.borrow_mut().insert(Rc::clone(&entry));
        if self.sweeper.borrow().is_none() {
            self.start_sweeping();
        }
        Registered { entry, hub: Rc::clone(self), key }
    }

    /// The time in milliseconds, as coarse as the sweep's pace.
    pub(crate) fn now(&self) -> u32 {
        self.clock.now.get()
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

    /// Tells every connection that the worker drains, and sweeps faster from now on.
    pub(crate) fn drain(self: &Rc<Self>) {
        self.draining.set(true);
        self.clock.advance(self.pace());
        for (_key, entry) in self.entries.borrow().iter() {
            entry.order(Order::Drain);
        }
        if let Some(sweeper) = self.sweeper.take() {
            sweeper.abort();
            self.start_sweeping();
        }
    }

    /// Whether a drain may close this connection at once: its client was not busy within the last moment.
    ///
    /// Else a request may be on its way, sent before anything told the client that we are about to close.
    pub(crate) fn is_long_idle(&self, entry: &Entry) -> bool {
        elapsed(self.now(), entry.since.get()) > WINDOW + self.limits.interval()
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
        self.relieved.set(false);
        let now = self.now();
        for (_key, entry) in self.entries.borrow().iter() {
            let age = elapsed(now, entry.since.get());
            match judge(entry.phase.get(), age, pace, &self.limits, self.draining.get()) {
                Order::None => {}
                order @ (Order::Park | Order::Drain | Order::Expire) => entry.order(order),
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

/// What has to happen to a connection that has been in `phase` for `age`.
///
/// `since` is as coarse as the pace, so that much is added to each limit: none ends early.
fn judge(phase: Phase, age: Duration, pace: Duration, limits: &Resolved, draining: bool) -> Order {
    let soon = |limit: Duration| if draining { limit.min(WINDOW) } else { limit };
    let limit = match phase {
        Phase::Fresh | Phase::Head => soon(limits.head),
        Phase::Idle | Phase::Parked | Phase::Http2Idle => soon(limits.idle),
        Phase::Body => limits.body,
        Phase::Send | Phase::Gone => limits.send,
        Phase::Http2Leaving => WINDOW,
        Phase::Lingering => LINGER,
        Phase::Farewell => FAREWELL,
        Phase::Handler => return Order::None,
    };
    if age > limit.saturating_add(pace) {
        Order::Expire
    } else if phase == Phase::Idle && age > pace {
        Order::Park
    } else {
        Order::None
    }
}

/// A clock that is read by everybody and moved by the sweep alone.
///
/// It runs in milliseconds, wraps after 49 days, and does not count time in
/// which the whole worker was blocked or stopped: the clients' bytes may have
/// been waiting in the kernel all the while.
struct Clock {
    now: Cell<u32>,
    last: Cell<Instant>,
}

impl Clock {
    fn new() -> Self {
        Self { now: Cell::new(0), last: Cell::new(Instant::now()) }
    }

    fn advance(&self, pace: Duration) {
        let passed = self.last.replace(Instant::now()).elapsed().min(pace * 2);
        let millis = u32::try_from(passed.as_millis()).unwrap_or(u32::MAX);
        self.now.set(self.now.get().wrapping_add(millis));
    }
}

fn elapsed(now: u32, since: u32) -> Duration {
    Duration::from_millis(u64::from(now.wrapping_sub(since)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Duration = Duration::from_millis(100);

    fn limits() -> Resolved {
        Resolved {
            head: Duration::from_secs(15),
            body: Duration::from_secs(30),
            send: Duration::from_secs(40),
            idle: Duration::from_secs(75),
            max_head_size: 65_536,
            max_streams: 200,
        }
    }

    /// The last age in milliseconds that is not yet too old, serving and draining.
    #[test]
    fn each_phase_has_its_limit() {
        for (phase, serving, draining) in [
            (Phase::Fresh, Some(15_100), Some(1_100)),
            (Phase::Head, Some(15_100), Some(1_100)),
            (Phase::Handler, None, None),
            (Phase::Body, Some(30_100), Some(30_100)),
            (Phase::Send, Some(40_100), Some(40_100)),
            (Phase::Gone, Some(40_100), Some(40_100)),
            (Phase::Idle, Some(75_100), Some(1_100)),
            (Phase::Parked, Some(75_100), Some(1_100)),
            (Phase::Http2Idle, Some(75_100), Some(1_100)),
            (Phase::Http2Leaving, Some(1_100), Some(1_100)),
            (Phase::Lingering, Some(1_100), Some(1_100)),
            (Phase::Farewell, Some(200), Some(200)),
        ] {
            for (is_draining, last) in [(false, serving), (true, draining)] {
                let judge = |ms| judge(phase, Duration::from_millis(ms), PACE, &limits(), is_draining);
                match last {
                    Some(last) => {
                        assert_ne!(judge(last), Order::Expire, "{phase:?} draining {is_draining}");
                        assert_eq!(judge(last + 1), Order::Expire, "{phase:?} draining {is_draining}");
                    }
                    None => assert_eq!(judge(1_000_000_000), Order::None, "{phase:?}"),
                }
            }
        }
    }

    #[test]
    fn only_an_idle_connection_is_parked() {
        let judge = |phase| judge(phase, PACE * 2, PACE, &limits(), false);
        assert_eq!(judge(Phase::Idle), Order::Park);
        assert_eq!(judge(Phase::Parked), Order::None);
        assert_eq!(judge(Phase::Handler), Order::None);
        assert_eq!(judge(Phase::Head), Order::None);
    }

    #[test]
    fn ages_survive_the_wrap_of_the_clock() {
        assert_eq!(elapsed(5, u32::MAX - 4), Duration::from_millis(10));
    }
}
