//! The accept loop.
//!
//! # Why an empty-handed `accept4` a wake-up is left in
//! The event loop is edge-triggered: the kernel reports a queue when something
//! is added to it, and not again because something is left in it. Two clients
//! that connect before one `epoll_wait` are one event. So after a successful
//! accept nobody can tell an empty queue from one in which a client would wait
//! until another one comes, but by asking: with `accept4`, which may bring a
//! connection, or with `TCP_INFO`, which never does. A batch of connections pays
//! for it once. A level-triggered registration would save it, and tokio has none:
//! neither a descriptor's own nor that of an epoll instance inside its own.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::time::{Sleep, sleep};

use crate::backoff::Backoff;
use crate::drain::{LINGER, Stage};
use crate::intake::{Intake, Trouble};
use crate::permit::Gate;
use crate::shared::Shared;
use crate::{Accepted, Peer, Stream};

/// Connections from one queue before the tasks of those that are open get their
/// turn, and other workers of a shared queue their share.
const BURST: usize = 16;

/// What one call of [`Worker::accept`](crate::Worker::accept) does.
pub(crate) struct Acceptor<F> {
    gate: Rc<Gate>,
    intakes: Vec<Intake>,
    /// The assignment that `intakes` were made by.
    assignment: u64,
    /// Which intake is asked first.
    first: usize,
    backoff: Backoff,
    lingering: Option<Pin<Box<Sleep>>>,
    on: F,
}

/// How an intake was left.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Left {
    /// Empty; an event follows when that changes.
    Empty,
    /// With a full burst taken: there may be more.
    Unfinished,
    /// Nothing can be accepted for a while, here or elsewhere.
    Blocked,
    /// Shut.
    Shut,
}

impl<F: FnMut(Accepted)> Acceptor<F> {
    pub(crate) fn new(shared: &Rc<Shared>, listeners: Rc<[usize]>, on: F) -> Self {
        let gate = Gate::new(shared, listeners);
        shared.enter_gate(&gate);
        let backoff = Backoff::new();
        Self { gate, intakes: Vec::new(), assignment: 0, first: 0, backoff, lingering: None, on }
    }

    fn shared(&self) -> &Rc<Shared> {
        &self.gate.shared
    }

    /// Ready when the worker drains and every connection of this call is closed.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.gate.remember(cx.waker());
        loop {
            while let Some(arrival) = self.gate.next_arrival() {
                (self.on)(arrival);
            }
            let stage = self.shared().stage();
            match stage {
                Stage::Serving => self.take_what_comes(cx),
                Stage::Lingering => {
                    self.leave_to_the_next_start();
                    self.take_what_comes(cx);
                    self.linger(cx);
                }
                Stage::Emptying(_) => {
                    self.leave_to_the_next_start();
                    self.empty(cx);
                }
                Stage::Draining => {
                    self.keep_intakes(|_| false);
                    let is_over = self.gate.open() == 0 && !self.shared().awaits_relay();
                    return if is_over { Poll::Ready(()) } else { Poll::Pending };
                }
            }
            // Having emptied the queues, or found them shut, may have been what others waited for.
            if self.shared().stage() == stage {
                return Poll::Pending;
            }
        }
    }

    /// Accepts what the event loop knows of.
    fn take_what_comes(&mut self, cx: &mut Context<'_>) {
        if !self.may_accept(cx) {
            return;
        }
        let again = self.each_intake(cx, Self::take_burst);
        if again {
            cx.waker().wake_by_ref();
        }
    }

    /// Nobody will ever shut a queue that a service manager holds: whoever waits there
    /// waits for the next start.
    fn leave_to_the_next_start(&mut self) {
        self.keep_intakes(|intake| !intake.outlives_us);
    }

    /// Ends when the queues are shut, or after a while.
    fn linger(&mut self, cx: &mut Context<'_>) {
        let lingering = self.lingering.get_or_insert_with(|| Box::pin(sleep(LINGER)));
        if lingering.as_mut().poll(cx).is_ready() {
            self.shared().drain();
        }
        self.shared().check_shut();
    }

    /// Accepts what the kernel has, until it has nothing more.
    fn empty(&mut self, cx: &mut Context<'_>) {
        if self.gate.emptied.get() {
            return self.take_what_comes(cx);
        }
        if !self.may_accept(cx) {
            return;
        }
        let before = self.gate.shared.accepted();
        let again = self.each_intake(cx, |acceptor, index, _| acceptor.empty_burst(index));
        // The last round is one that has found nothing: in between the tasks of
        // those that were found see the event loop once, and what their clients
        // have sent, before the drain that may follow.
        if again || self.gate.shared.accepted() != before {
            cx.waker().wake_by_ref();
        } else if self.backoff.poll(cx).is_ready() {
            self.gate.emptied.set(true);
            self.shared().check_empty();
        }
    }

    /// Whether this is a time to accept; if not, the task will be woken when it is.
    fn may_accept(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.shared().is_short() {
            self.backoff.hurry();
        }
        if self.backoff.poll(cx).is_pending() {
            return false;
        }
        if let Err(error) = self.follow_assignment() {
            self.failed(&error);
            return self.backoff.poll(cx).is_ready();
        }
        true
    }

    /// Visits every intake once, another one first each time. Returns whether one of them has more.
    fn each_intake(
        &mut self,
        cx: &mut Context<'_>,
        mut visit: impl FnMut(&mut Self, usize, &mut Context<'_>) -> Left,
    ) -> bool {
        let count = self.intakes.len();
        let (mut again, mut shut) = (false, Vec::new());
        self.first = if self.first + 1 < count { self.first + 1 } else { 0 };
        for index in (self.first..count).chain(0..self.first) {
            match visit(self, index, cx) {
                Left::Empty => {}
                Left::Unfinished => again = true,
                Left::Shut => shut.push(self.intakes[index].id),
                Left::Blocked => {
                    // Registers the wake-up; a wait that is over already is as good as more to do.
                    again |= self.backoff.poll(cx).is_ready() && !self.shared().is_full();
                    break;
                }
            }
        }
        if !shut.is_empty() {
            self.keep_intakes(|intake| !shut.contains(&intake.id));
        }
        again
    }

    fn take_burst(&mut self, index: usize, cx: &mut Context<'_>) -> Left {
        for _ in 0..BURST {
            // Whoever closes a connection at the limit wakes this task. At the end
            // there is no limit: whoever waits in the queue then would be reset.
            if self.shared().is_full() && self.shared().stage() == Stage::Serving {
                return Left::Blocked;
            }
            match self.intakes[index].poll_accept(cx) {
                Poll::Ready(accepted) => {
                    if let Some(left) = self.took(index, accepted) {
                        return left;
                    }
                }
                Poll::Pending => return Left::Empty,
            }
        }
        Left::Unfinished
    }

    fn empty_burst(&mut self, index: usize) -> Left {
        for _ in 0..BURST {
            match self.intakes[index].accept_now() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Left::Empty,
                accepted => {
                    if let Some(left) = self.took(index, accepted) {
                        return left;
                    }
                }
            }
        }
        Left::Unfinished
    }

    /// Hands a connection on, or judges why there is none; `None` to go on.
    fn took(&mut self, index: usize, accepted: io::Result<(Stream, Peer)>) -> Option<Left> {
        match accepted {
            Ok((stream, peer)) => {
                self.backoff.succeeded();
                let Intake { listener, ref local, .. } = self.intakes[index];
                let accepted = Accepted::fresh(stream, peer, local.clone(), listener, &self.gate);
                // Dropped, and so closed, before anything was read of it.
                if accepted.is_granted() {
                    (self.on)(accepted);
                }
                None
            }
            Err(error) => match Trouble::of(&error) {
                Trouble::Passing => None,
                Trouble::Shut => Some(Left::Shut),
                // Without a descriptor to spare, the kernel does not get to say so.
                Trouble::Shortage if self.intakes[index].is_shut() => Some(Left::Shut),
                Trouble::Shortage => {
                    self.failed(&error);
                    Some(Left::Blocked)
                }
            },
        }
    }

    fn failed(&mut self, error: &io::Error) {
        self.backoff.failed(error);
        self.shared().note_shortage();
    }

    /// Makes the intakes those that the master has assigned. What stays is not touched.
    fn follow_assignment(&mut self) -> io::Result<()> {
        let shared = Rc::clone(self.shared());
        if self.assignment == shared.assignment.get() {
            return Ok(());
        }
        let assigned = shared.assigned.borrow();
        self.keep_intakes(|intake| assigned.contains(&intake.id));
        let queues = shared.queues.borrow();
        for id in &*assigned {
            let wanted = Some(usize::from(id.listener)).filter(|index| self.gate.serves(*index));
            let is_known = self.intakes.iter().any(|intake| intake.id == *id);
            if let (Some(index), Some((listener, queue)), false) = (wanted, queues.queue(*id), is_known) {
                if listener.holder().outlives_us() && shared.stage() != Stage::Serving {
                    continue;
                }
                self.intakes.push(Intake::open(*id, index, listener, queue)?);
            }
        }
        self.gate.queues.set(self.intakes.len());
        self.assignment = shared.assignment.get();
        Ok(())
    }

    fn keep_intakes(&mut self, keep: impl Fn(&Intake) -> bool) {
        self.intakes.retain(keep);
        self.gate.queues.set(self.intakes.len());
    }
}

impl<F> Drop for Acceptor<F> {
    fn drop(&mut self) {
        self.gate.shared.leave_gate(&self.gate);
    }
}
