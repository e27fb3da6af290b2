//! How many connections are to go to others while the worker serves on.

use std::cell::Cell;

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// What the master has asked for last.
#[derive(Debug, Default)]
pub(crate) struct Shed {
    left: Cell<u32>,
    /// How often it has asked.
    orders: Cell<u64>,
    asked: Notify,
}

impl Shed {
    /// So many are to go, whatever was asked for before.
    pub(crate) fn ask(&self, connections: u32) {
        self.left.set(connections);
        self.orders.set(self.orders.get() + 1);
        self.asked.notify_waiters();
    }

    /// The number of the last order.
    pub(crate) fn orders(&self) -> u64 {
        self.orders.get()
    }

    /// Completes with the next order after this call.
    pub(crate) fn next_order(&self) -> Notified<'_> {
        self.asked.notified()
    }

    /// Takes one of those that are to go.
    pub(crate) fn take(&self) -> bool {
        let left = self.left.get();
        self.left.set(left.saturating_sub(1));
        left > 0
    }

    /// Completes with how many are to go, once an order; `heard` is the last one that was heard.
    pub(crate) async fn asked(&self, heard: &Cell<u64>) -> usize {
        loop {
            let next = self.next_order();
            let left = self.left.get();
            if heard.replace(self.orders()) != self.orders() && left > 0 {
                return usize::try_from(left).unwrap_or(usize::MAX);
            }
            next.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn poll(future: impl Future<Output = usize>) -> Poll<usize> {
        pin!(future).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn an_order_is_heard_once_and_carried_out_once() {
        let (shed, one, other) = (Shed::default(), Cell::new(0), Cell::new(0));
        assert!(poll(shed.asked(&one)).is_pending());
        assert!(!shed.take());
        shed.ask(2);
        assert_eq!(poll(shed.asked(&one)), Poll::Ready(2));
        assert!(poll(shed.asked(&one)).is_pending(), "it has heard that");
        assert_eq!(poll(shed.asked(&other)), Poll::Ready(2), "another server has not");
        assert_eq!([shed.take(), shed.take(), shed.take()], [true, true, false]);
        shed.ask(5);
        shed.ask(0);
        assert!(poll(shed.asked(&one)).is_pending(), "it is called off");
        assert!(!shed.take());
    }
}
