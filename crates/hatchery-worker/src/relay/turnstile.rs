//! Who waits for room in the relay, and in which order they get it.
//!
//! One place for all connections of a worker: a hundred of them that each asked
//! the event loop would all be woken whenever one message fits.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::task::Waker;

use tokio::time::Instant;

/// How many are let through before the event loop has its turn again.
const ADMITTED: usize = 64;

/// The order in which connections have begun to wait.
#[derive(Debug)]
pub(crate) struct Turnstile {
    waiting: RefCell<BTreeMap<NonZeroU64, Waker>>,
    next: Cell<NonZeroU64>,
    obstacle: Cell<Obstacle>,
    keeper: RefCell<Option<Waker>>,
}

/// A place in the order, kept until the connection has moved or is gone.
#[derive(Debug, Default)]
pub(crate) struct Ticket(Cell<Option<NonZeroU64>>);

/// What keeps everybody from sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// Nothing that is known of.
    None,
    /// The relay was full; the event loop tells when that changes.
    Full,
    /// The system has nothing to spare, and nobody tells when it has.
    Scarce {
        /// When to try again.
        until: Instant,
    },
}

impl Turnstile {
    pub(crate) fn new() -> Self {
        Self {
            waiting: RefCell::default(),
            next: Cell::new(NonZeroU64::MIN),
            obstacle: Cell::new(Obstacle::None),
            keeper: RefCell::default(),
        }
    }

    /// Whether a connection may try now. Nobody overtakes those that wait.
    pub(crate) fn is_free_for(&self, ticket: &Ticket) -> bool {
        let first = self.waiting.borrow().first_key_value().map(|(first, _)| *first);
        let is_next = match (first, ticket.0.get()) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(first), Some(own)) => own <= first,
        };
        is_next && self.obstacle.get() == Obstacle::None
    }

    /// Queues a task up, in the place that it had before if it had one.
    pub(crate) fn enter(&self, ticket: &Ticket, waker: &Waker) {
        let number = ticket.0.get().unwrap_or_else(|| {
            let number = self.next.get();
            self.next.set(number.saturating_add(1));
            number
        });
        ticket.0.set(Some(number));
        self.waiting
            .borrow_mut()
            .entry(number)
            .and_modify(|known| known.clone_from(waker))
            .or_insert_with(|| waker.clone());
        self.wake_keeper();
    }

    /// It has moved, stays, or is gone.
    pub(crate) fn leave(&self, ticket: &Ticket) {
        if let Some(number) = ticket.0.take() {
            self.waiting.borrow_mut().remove(&number);
        }
    }

    pub(crate) fn obstacle(&self) -> Obstacle {
        self.obstacle.get()
    }

    pub(crate) fn set_obstacle(&self, obstacle: Obstacle) {
        self.obstacle.set(obstacle);
        self.wake_keeper();
    }

    /// Wakes those who have waited longest; they keep their tickets in case that
    /// it was in vain. Returns whether others still wait.
    ///
    /// Whether they act on it does not matter to those behind them.
    pub(crate) fn admit(&self) -> bool {
        for _ in 0..ADMITTED {
            let Some((_, waker)) = self.waiting.borrow_mut().pop_first() else { return false };
            waker.wake();
        }
        !self.waiting.borrow().is_empty()
    }

    pub(crate) fn remember_keeper(&self, waker: &Waker) {
        self.keeper.replace(Some(waker.clone()));
    }

    pub(crate) fn wake_keeper(&self) {
        if let Some(keeper) = &*self.keeper.borrow() {
            keeper.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicU32);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn woken(counts: &[Arc<Count>]) -> Vec<u32> {
        counts.iter().map(|count| count.0.load(Ordering::Relaxed)).collect()
    }

    #[test]
    fn nobody_overtakes_and_who_was_woken_in_vain_keeps_its_place() {
        let turnstile = Turnstile::new();
        let (first, second, late) = (Ticket::default(), Ticket::default(), Ticket::default());
        let counts: Vec<Arc<Count>> = (0..2).map(|_| Arc::default()).collect();
        let wakers: Vec<Waker> = counts.iter().map(|count| Waker::from(Arc::clone(count))).collect();
        assert!(turnstile.is_free_for(&first), "nobody waits");
        turnstile.set_obstacle(Obstacle::Full);
        assert!(!turnstile.is_free_for(&first));
        turnstile.enter(&first, &wakers[0]);
        turnstile.enter(&second, &wakers[1]);
        turnstile.set_obstacle(Obstacle::None);
        assert!(turnstile.is_free_for(&first) && !turnstile.is_free_for(&second) && !turnstile.is_free_for(&late));
        assert!(!turnstile.admit());
        assert_eq!(woken(&counts), [1, 1]);
        // The second one is polled first, and finds the relay full again.
        assert!(turnstile.is_free_for(&second));
        turnstile.enter(&second, &wakers[1]);
        turnstile.enter(&first, &wakers[0]);
        assert!(turnstile.is_free_for(&first) && !turnstile.is_free_for(&second));
    }

    #[test]
    fn who_is_gone_holds_up_nobody() {
        let turnstile = Turnstile::new();
        let (gone, deaf, last) = (Ticket::default(), Ticket::default(), Ticket::default());
        let count = Arc::<Count>::default();
        turnstile.enter(&gone, Waker::noop());
        turnstile.enter(&deaf, Waker::noop());
        turnstile.enter(&last, &Waker::from(Arc::clone(&count)));
        turnstile.leave(&gone);
        assert!(turnstile.is_free_for(&deaf));
        assert!(!turnstile.admit());
        assert_eq!(woken(&[count]), [1]);
        // The deaf one has not moved, and does not wait any more.
        assert!(turnstile.is_free_for(&last));
    }

    #[test]
    fn a_crowd_is_let_through_in_portions() {
        let turnstile = Turnstile::new();
        let tickets: Vec<Ticket> = (0..=ADMITTED).map(|_| Ticket::default()).collect();
        tickets.iter().for_each(|ticket| turnstile.enter(ticket, Waker::noop()));
        assert!(turnstile.admit());
        assert!(turnstile.is_free_for(&tickets[0]) && turnstile.is_free_for(&tickets[ADMITTED]));
        assert!(!turnstile.is_free_for(&Ticket::default()), "one still waits");
        assert!(!turnstile.admit());
    }
}
