//! How many connections are to go to others while the worker serves on.

use std::cell::{Cell, RefCell};
use std::task::{Context, Poll, Waker};

/// What the master has asked for last.
#[derive(Debug, Default)]
pub(crate) struct Shed {
    left: Cell<u32>,
    /// How often it has asked.
    orders: Cell<u64>,
    waiting: RefCell<Vec<Waker>>,
}

impl Shed {
    /// So many are to go, whatever was asked for before.
    pub(crate) fn ask(&self, connections: u32) {
        self.left.set(connections);
        self.orders.set(self.orders.get() + 1);
        for waker in self.waiting.take() {
            waker.wake();
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.left.get() == 0
    }

    /// Takes one of those that are to go.
    pub(crate) fn take(&self) -> bool {
        let left = self.left.get();
        self.left.set(left.saturating_sub(1));
        left > 0
    }

    /// Ready with how many are to go, once an order; `heard` is the last one that was heard.
    pub(crate) fn poll_asked(&self, cx: &mut Context<'_>, heard: &Cell<u64>) -> Poll<usize> {
        if heard.replace(self.orders.get()) != self.orders.get() && !self.is_over() {
            return Poll::Ready(usize::try_from(self.left.get()).unwrap_or(usize::MAX));
        }
        let mut waiting = self.waiting.borrow_mut();
        if !waiting.iter().any(|known| known.will_wake(cx.waker())) {
            waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_heard_once_and_carried_out_once() {
        let (shed, one, other) = (Shed::default(), Cell::new(0), Cell::new(0));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(shed.poll_asked(&mut cx, &one).is_pending());
        assert!(!shed.take());
        shed.ask(2);
        assert_eq!(shed.poll_asked(&mut cx, &one), Poll::Ready(2));
        assert!(shed.poll_asked(&mut cx, &one).is_pending(), "it has heard that");
        assert_eq!(shed.poll_asked(&mut cx, &other), Poll::Ready(2), "another server has not");
        assert_eq!([shed.take(), shed.take(), shed.take()], [true, true, false]);
        shed.ask(5);
        shed.ask(0);
        assert!(shed.poll_asked(&mut cx, &one).is_pending(), "it is called off");
        assert!(shed.is_over());
    }
}
