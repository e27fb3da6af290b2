//! To whom connections go, and what is done while they cannot.
//!
//! ```text
//!            an order names an heir            the heir's relay is shut
//! Closed ───────────────────────────▶ Open ───────────────────────────▶ Shut
//!    ▲                                 ▲ │                                │
//!    └── an order names none ──────────┼─┴────────────────────────────────┤
//!    ▲                                 └──── an order names another one ──┤
//!    └────────────────────────────────────────────── no order comes ──────┘
//! ```
//! Where the relay is full, or shut, connections wait: for room, for another
//! order, and no longer than until the time for that is over.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::os::fd::BorrowedFd;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hatchery_core::wire::relay::Transfer;
use hatchery_core::wire::worker::Whose;
use hatchery_core::{Service, Takes};
use hatchery_net::{Entry, Refused};
use tokio::time::{Instant, Sleep, sleep_until};
use tracing::warn;

use super::Stay;
use super::turnstile::{Obstacle, Ticket, Turnstile};
use super::watched::Watched;

/// How long is waited where nothing tells when a shortage is over.
const RETRY: Duration = Duration::from_millis(5);

/// So often in a row the event loop may say in vain that there is room: when
/// other workers have been faster. After that it is asked less often.
const FRUITLESS: u32 = 8;

/// What is left of the time to drain for those who did not come through, at most:
/// a request that is on its way is still answered, and its client may take its time to close.
const FAREWELL: Duration = Duration::from_secs(3);

/// How long another order is waited for when the relay is shut: nobody may come to give it.
const ORDERLESS: Duration = Duration::from_secs(1);

/// Where the connections of a worker go.
#[derive(Debug)]
pub(crate) struct Outlet {
    way: RefCell<Way>,
    patience: Cell<Patience>,
    turnstile: Turnstile,
    /// How often in a row there was said to be room, and was none.
    fruitless: Cell<u32>,
}

/// Somebody who takes connections, as an order has named it.
#[derive(Debug)]
pub(crate) struct Heir {
    pub(crate) whose: Whose,
    pub(crate) takes: Takes,
    pub(crate) entry: Entry,
}

/// Where connections can go.
#[derive(Debug)]
enum Way {
    /// Nowhere.
    Closed,
    /// Into this relay.
    Open { whose: Whose, takes: Takes, entry: Watched<Entry> },
    /// Into a relay that was shut: whoever shuts it may be about to name another.
    Shut { whose: Whose, takes: Takes, until: Instant },
}

/// How long a connection may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Patience {
    /// Not at all: it can as well go on here.
    None,
    /// The worker drains.
    Until(Instant),
    /// It is time for the polite close.
    Over,
}

/// What is sent, and with what.
pub(crate) struct Parcel<'a> {
    pub(crate) service: &'a Service,
    pub(crate) socket: BorrowedFd<'a>,
    /// The bytes that it has to carry, beside what describes it.
    pub(crate) weight: usize,
    pub(crate) pack: &'a dyn Fn() -> Transfer,
}

impl Outlet {
    pub(crate) fn new() -> Self {
        Self {
            way: RefCell::new(Way::Closed),
            patience: Cell::new(Patience::None),
            turnstile: Turnstile::new(),
            fruitless: Cell::new(0),
        }
    }

    /// From now on connections go to this one, also those that wait already.
    pub(crate) fn bequeath(&self, heir: Option<Heir>) {
        let way = match heir {
            None => Way::Closed,
            Some(Heir { whose, takes, entry }) => match Watched::register(entry) {
                Ok(entry) => Way::Open { whose, takes, entry },
                Err(error) => {
                    warn!("connections cannot move, the relay cannot be watched: {error}");
                    Way::Closed
                }
            },
        };
        self.way.replace(way);
        self.fruitless.set(0);
        self.turnstile.set_obstacle(Obstacle::None);
    }

    /// The worker drains, and has so long for it; connections may wait for most of that.
    pub(crate) fn wait_within(&self, timeout: Duration) {
        // An end that the clock cannot express is none.
        let end = Instant::now().checked_add(timeout - FAREWELL.min(timeout / 2));
        let far = || Instant::now() + Duration::from_secs(86_400 * 365);
        self.patience.set(Patience::Until(end.unwrap_or_else(far)));
        self.turnstile.wake_keeper();
    }

    /// Whether there is somebody who takes connections of this service.
    pub(crate) fn takes(&self, service: &Service) -> bool {
        match &*self.way.borrow() {
            Way::Closed => false,
            Way::Open { takes, .. } | Way::Shut { takes, .. } => takes.takes(service),
        }
    }

    /// Whether connections go to workers of the same generation.
    pub(crate) fn leads_to_own(&self) -> bool {
        match &*self.way.borrow() {
            Way::Closed => false,
            Way::Open { whose, .. } | Way::Shut { whose, .. } => *whose == Whose::Own,
        }
    }

    /// Whether connections go to another generation.
    pub(crate) fn leads_elsewhere(&self) -> bool {
        match &*self.way.borrow() {
            Way::Closed => false,
            Way::Open { whose, .. } | Way::Shut { whose, .. } => *whose != Whose::Own,
        }
    }

    pub(crate) fn poll_send(
        &self,
        cx: &mut Context<'_>,
        ticket: &Ticket,
        parcel: &Parcel<'_>,
    ) -> Poll<Result<(), Stay>> {
        let sent = ready!(self.poll_try(cx, ticket, parcel));
        self.turnstile.leave(ticket);
        Poll::Ready(sent)
    }

    /// The connection is gone.
    pub(crate) fn forget(&self, ticket: &Ticket) {
        self.turnstile.leave(ticket);
    }

    /// Lets those who wait through, for ever.
    pub(crate) async fn keep(self: Rc<Self>) {
        let mut timers = Timers::default();
        poll_fn(|cx| self.poll_keep(cx, &mut timers)).await;
    }

    fn poll_try(&self, cx: &mut Context<'_>, ticket: &Ticket, parcel: &Parcel<'_>) -> Poll<Result<(), Stay>> {
        let refused = match &*self.way.borrow() {
            Way::Closed => return Poll::Ready(Err(Stay::NoHeir)),
            Way::Open { takes, .. } | Way::Shut { takes, .. } if !takes.takes(parcel.service) => {
                return Poll::Ready(Err(Stay::NoHeir));
            }
            Way::Shut { .. } => return self.poll_wait(cx, ticket),
            Way::Open { entry, .. } => {
                let entry = entry.socket();
                if parcel.weight > entry.limit() {
                    return Poll::Ready(Err(Stay::TooLarge { len: parcel.weight, most: entry.limit() }));
                }
                if !self.turnstile.is_free_for(ticket) {
                    return self.poll_wait(cx, ticket);
                }
                let message = (parcel.pack)().encode();
                match entry.send(&message, &[parcel.socket]) {
                    Ok(()) => {
                        self.fruitless.set(0);
                        return Poll::Ready(Ok(()));
                    }
                    Err(Refused::TooLarge) => {
                        return Poll::Ready(Err(Stay::TooLarge { len: message.len(), most: entry.limit() }));
                    }
                    Err(Refused::Failed(error)) => return Poll::Ready(Err(Stay::Failed(error))),
                    Err(refused) => refused,
                }
            }
        };
        match refused {
            Refused::Full => self.is_full(),
            Refused::Scarce => self.pause(),
            Refused::Shut | Refused::TooLarge | Refused::Failed(_) => self.is_shut(),
        }
        self.poll_wait(cx, ticket)
    }

    fn poll_wait(&self, cx: &mut Context<'_>, ticket: &Ticket) -> Poll<Result<(), Stay>> {
        match self.patience.get() {
            Patience::None | Patience::Over => Poll::Ready(Err(Stay::GaveUp)),
            Patience::Until(_) => {
                self.turnstile.enter(ticket, cx.waker());
                Poll::Pending
            }
        }
    }

    fn is_full(&self) {
        if let Way::Open { entry, .. } = &*self.way.borrow() {
            entry.was_full();
        }
        if self.fruitless.get() < FRUITLESS {
            self.turnstile.set_obstacle(Obstacle::Full);
        } else {
            self.pause();
        }
    }

    fn pause(&self) {
        self.turnstile.set_obstacle(Obstacle::Scarce { until: Instant::now() + RETRY });
    }

    fn is_shut(&self) {
        let mut way = self.way.borrow_mut();
        *way = match (std::mem::replace(&mut *way, Way::Closed), self.patience.get()) {
            (Way::Open { whose, takes, .. }, Patience::Until(_) | Patience::Over) => {
                Way::Shut { whose, takes, until: Instant::now() + ORDERLESS }
            }
            (Way::Open { .. }, Patience::None) => Way::Closed,
            (other @ (Way::Closed | Way::Shut { .. }), _) => other,
        };
    }

    fn poll_keep(&self, cx: &mut Context<'_>, timers: &mut Timers) -> Poll<()> {
        self.turnstile.remember_keeper(cx.waker());
        if let Patience::Until(when) = self.patience.get()
            && timers.end.poll(when, cx).is_ready()
        {
            self.patience.set(Patience::Over);
            while self.turnstile.admit() {}
            return Poll::Pending;
        }
        match self.turnstile.obstacle() {
            Obstacle::None => {}
            Obstacle::Full => {
                ready!(self.poll_room(cx));
                self.fruitless.set(self.fruitless.get() + 1);
                self.turnstile.set_obstacle(Obstacle::None);
            }
            Obstacle::Scarce { until } => {
                ready!(timers.retry.poll(until, cx));
                self.turnstile.set_obstacle(Obstacle::None);
            }
        }
        if let Some(until) = self.waits_for_order() {
            ready!(timers.order.poll(until, cx));
            self.way.replace(Way::Closed);
        }
        // Those who were admitted are polled before this is.
        if self.turnstile.admit() {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// Until when only another order helps those who wait.
    fn waits_for_order(&self) -> Option<Instant> {
        match &*self.way.borrow() {
            Way::Closed | Way::Open { .. } => None,
            Way::Shut { until, .. } => Some(*until),
        }
    }

    /// Ready when there is room, as far as the event loop knows.
    fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        match &*self.way.borrow() {
            Way::Open { entry, .. } => entry.poll_writable(cx).map(|_| ()),
            Way::Closed | Way::Shut { .. } => Poll::Ready(()),
        }
    }
}

/// What is waited for beside the relay itself.
#[derive(Debug, Default)]
struct Timers {
    end: Timer,
    retry: Timer,
    order: Timer,
}

/// A timer that is set anew whenever another moment is asked for.
#[derive(Debug, Default)]
struct Timer(Option<Pin<Box<Sleep>>>);

impl Timer {
    fn poll(&mut self, when: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(when)));
        if sleep.deadline() != when {
            sleep.as_mut().reset(when);
        }
        sleep.as_mut().poll(cx)
    }
}
