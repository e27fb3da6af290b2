//! What the sweep knows of one connection.

use std::cell::{Cell, OnceCell};
use std::task::Waker;

use crate::phase::{Order, Phase};

/// What the sweep knows of one connection.
#[derive(Debug)]
pub(crate) struct Entry {
    phase: Cell<Phase>,
    since: Cell<u32>,
    order: Cell<Order>,
    /// It has tried to move and could not, or must not any more: it comes to its end here.
    stays: Cell<bool>,
    /// HTTP/2: it has streams, which have limits of their own.
    streams: Cell<bool>,
    waker: OnceCell<Waker>,
}

impl Entry {
    pub(crate) fn new(phase: Phase, since: u32, order: Order) -> Self {
        Self {
            phase: Cell::new(phase),
            since: Cell::new(since),
            order: Cell::new(order),
            stays: Cell::new(false),
            streams: Cell::new(false),
            waker: OnceCell::new(),
        }
    }

    pub(crate) fn phase(&self) -> Phase {
        self.phase.get()
    }

    /// When the phase began.
    pub(crate) fn since(&self) -> u32 {
        self.since.get()
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

    pub(crate) fn stays(&self) -> bool {
        self.stays.get()
    }

    /// From now on the connection does not move.
    pub(crate) fn stay(&self) {
        self.stays.set(true);
    }

    /// Whether its streams are to be looked at in each sweep.
    pub(crate) fn has_streams(&self) -> bool {
        self.streams.get()
    }

    pub(crate) fn note_streams(&self, some: bool) {
        self.streams.set(some);
    }

    pub(crate) fn take_order(&self) -> Order {
        self.order.take()
    }

    /// Keeps the waker of the connection's task. It never changes: a task keeps its waker for life.
    pub(crate) fn remember(&self, waker: &Waker) {
        self.waker.get_or_init(|| waker.clone());
    }

    /// Wakes the connection's task with an order. One that was not seen yet is not lost to a lesser one.
    pub(crate) fn order(&self, order: Order) {
        self.order.set(self.order.get().max(order));
        if let Some(waker) = self.waker.get() {
            waker.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_not_lost_to_a_lesser_one() {
        let entry = Entry::new(Phase::Idle, 0, Order::None);
        entry.order(Order::Drain);
        entry.order(Order::Shed);
        assert_eq!(entry.take_order(), Order::Drain);
        assert_eq!(entry.take_order(), Order::None);
    }
}
