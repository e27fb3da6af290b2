//! Connections that others send: read as an accept queue is.
//!
//! Who reads, and until when:
//!
//! | the worker | reads |
//! |---|---|
//! | serves | while it is told to, and has room; an order to hand over ends that |
//! | serves, and is full | what nobody else has taken for a while |
//! | empties its queues at the final stop, or because its master is gone | whatever there is |
//! | drains, and is the last of its generation | until the end: the relay was shut, or is about to be |
//! | drains, and its master is gone | until it is empty |
//! | drains for any other reason | nothing: others do |
//!
//! And only while everything that it has declared is served: what a call of
//! `accept` that was dropped would have taken is left to other workers.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use hatchery_core::wire::relay::LONGEST;
use hatchery_sys::channel::{Channel, Next, Received};
use hatchery_sys::poll;
use tokio::time::{Sleep, sleep};
use tracing::warn;

use super::arrival::{Complaints, Refusal, admit};
use super::spare::Spare;
use super::watched::Watched;
use crate::backoff::Backoff;
use crate::boot::Boot;
use crate::drain::{Bond, Stage};
use crate::shared::Shared;

/// Connections before those that are open get their turn, and other workers their share.
const BURST: usize = 16;

/// How long one that is full leaves what is in the relay to others.
const GRACE: Duration = Duration::from_millis(250);

/// What is known of the relay of this generation.
#[derive(Debug)]
pub(crate) struct Inlet {
    /// Whether the master wants it read while this worker serves.
    pub(crate) assigned: Cell<bool>,
    /// Whether nobody stays who would read it after this worker.
    pub(crate) last: Cell<bool>,
    seen: Cell<Seen>,
    waker: RefCell<Option<Waker>>,
}

/// What a look into the relay has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    /// It has not been looked at since that mattered.
    Unknown,
    /// There was nothing in it.
    Empty,
    /// It was shut, and there was nothing in it.
    Ended,
}

/// How the relay is read at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    /// Not.
    No,
    /// As long as there is room.
    WithRoom,
    /// In any case: nobody else would.
    InAnyCase,
}

/// How the reader was left.
enum Left {
    /// There may be more.
    Unfinished,
    /// There was nothing.
    Empty,
    /// There will never be anything again.
    Ended,
    /// Nothing can be received for a while.
    Blocked,
}

/// The task that reads.
pub(crate) struct Reader {
    shared: Rc<Shared>,
    exit: Watched<Channel>,
    spare: Spare,
    backoff: Backoff,
    complaints: Complaints,
    /// How long something has been in the relay that there is no room for.
    grace: Option<Pin<Box<Sleep>>>,
    /// Made when it is first needed. Of its pages only those cost something that messages reach.
    buffer: Vec<u8>,
}

impl Inlet {
    pub(crate) fn new() -> Self {
        Self {
            assigned: Cell::new(false),
            last: Cell::new(false),
            seen: Cell::new(Seen::Unknown),
            waker: RefCell::default(),
        }
    }

    /// Something has changed that may matter to the reader.
    pub(crate) fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    /// It is to be looked at again, whatever was seen before.
    pub(crate) fn look_again(&self) {
        match self.seen.get() {
            Seen::Unknown | Seen::Empty => self.seen.set(Seen::Unknown),
            Seen::Ended => {}
        }
        self.wake();
    }
}

impl Shared {
    fn reading(&self) -> Reading {
        if !self.is_all_served() {
            return Reading::No;
        }
        let inlet = &self.inlet;
        match (self.stage(), self.bond.get()) {
            (Stage::Serving, _) if inlet.assigned.get() => Reading::WithRoom,
            (Stage::Draining, Bond::Whole) if inlet.last.get() && !self.outlet.leads_to_own() => Reading::InAnyCase,
            (Stage::Serving, _) | (Stage::Draining, Bond::Whole) => Reading::No,
            (Stage::Emptying(_) | Stage::Lingering, _) | (Stage::Draining, Bond::Broken) => Reading::InAnyCase,
        }
    }

    /// Whether somebody waits for everything that this worker has declared.
    fn is_all_served(&self) -> bool {
        let services = self.services.borrow();
        let mut declared = services.iter().enumerate().filter(|(_, service)| service.is_some()).peekable();
        declared.peek().is_some()
            && matches!(&*self.boot.borrow(), Boot::Ready)
            && declared.all(|(listener, _)| self.gates.borrow().iter().any(|gate| gate.serves(listener)))
    }

    /// Whether the relay may have something that this worker has to take before it empties no more.
    pub(crate) fn is_relay_unread(&self) -> bool {
        self.inlet.seen.get() == Seen::Unknown && self.is_all_served()
    }

    /// Whether the relay can have something more at any time, for this worker to take.
    pub(crate) fn is_relay_open(&self) -> bool {
        self.inlet.seen.get() != Seen::Ended && self.is_all_served()
    }

    /// Whether something may still come out of the relay that this worker has to take.
    pub(crate) fn awaits_relay(&self) -> bool {
        let has_more = match (self.inlet.seen.get(), self.bond.get()) {
            (Seen::Ended, _) | (Seen::Empty, Bond::Broken) => false,
            (Seen::Unknown, _) | (Seen::Empty, Bond::Whole) => true,
        };
        has_more && self.reading() == Reading::InAnyCase
    }
}

impl Reader {
    /// Call this inside of the runtime.
    pub(crate) fn register(exit: Channel, shared: &Rc<Shared>) -> io::Result<Self> {
        Ok(Self {
            shared: Rc::clone(shared),
            exit: Watched::register(exit)?,
            spare: Spare::default(),
            backoff: Backoff::new(),
            complaints: Complaints::default(),
            grace: None,
            buffer: Vec::new(),
        })
    }

    /// Takes in connections until there will be no more.
    pub(crate) async fn run(mut self) {
        poll_fn(|cx| self.poll(cx)).await;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.shared.inlet.waker.replace(Some(cx.waker().clone()));
        loop {
            let allowed = match self.shared.reading() {
                Reading::No => return Poll::Pending,
                // The event loop is not asked at the end, since it may not have heard yet.
                Reading::InAnyCase => Reading::InAnyCase,
                Reading::WithRoom => {
                    if ready!(self.exit.poll_readable(cx)).is_err() {
                        return Poll::Ready(());
                    }
                    if self.shared.is_full() {
                        // Whoever closes a connection at the limit wakes this task.
                        ready!(self.poll_grace(cx));
                        Reading::InAnyCase
                    } else {
                        Reading::WithRoom
                    }
                }
            };
            self.grace = None;
            if !self.shared.is_short() {
                self.backoff.hurry();
            }
            ready!(self.backoff.poll(cx));
            match self.take_burst(allowed) {
                Left::Unfinished => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Left::Blocked => {}
                Left::Empty => {
                    self.saw(Seen::Empty);
                    ready!(self.poll_more(cx));
                }
                Left::Ended => {
                    self.saw(Seen::Ended);
                    return Poll::Ready(());
                }
            }
        }
    }

    /// Registers for the next message.
    fn poll_more(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.exit.was_empty();
        self.exit.poll_readable(cx).map(|_| ())
    }

    /// Others may have room. But if nobody takes what waits in the relay, its
    /// clients wait for as long as everybody is full: they were admitted once.
    fn poll_grace(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.grace.get_or_insert_with(|| Box::pin(sleep(GRACE))).as_mut().poll(cx)
    }

    fn take_burst(&mut self, allowed: Reading) -> Left {
        for taken in 0..BURST {
            match self.shared.reading() {
                Reading::No => return Left::Unfinished,
                Reading::WithRoom if allowed == Reading::WithRoom && self.shared.is_full() => return Left::Unfinished,
                Reading::WithRoom | Reading::InAnyCase => {}
            }
            if let Err(error) = self.spare.hold(self.exit.socket().as_fd()) {
                return self.left_without_spare(&error);
            }
            match self.take() {
                // The last look is one that has found nothing: in between the tasks of
                // those that came see what their clients have sent, before a drain.
                Some(Left::Empty) if taken > 0 => return Left::Unfinished,
                Some(left) => return left,
                None => self.backoff.succeeded(),
            }
        }
        Left::Unfinished
    }

    /// Nothing can be received; whether there is something at all can be seen.
    fn left_without_spare(&mut self, error: &io::Error) -> Left {
        match self.exit.socket().next() {
            Ok(Next::Nothing) => Left::Empty,
            Ok(Next::End) => Left::Ended,
            Ok(Next::Message) | Err(_) => {
                self.backoff.failed(error);
                self.shared.note_shortage();
                Left::Blocked
            }
        }
    }

    /// Takes one message; `None` to go on.
    fn take(&mut self) -> Option<Left> {
        if self.buffer.is_empty() {
            self.buffer = vec![0; LONGEST];
        }
        let exit = self.exit.socket();
        self.spare.give();
        let received = exit.recv(&mut self.buffer);
        // At once, before anything else can take the number. If that fails, the
        // connection that has just come has it.
        let _ = self.spare.hold(exit.as_fd());
        let admitted = match received {
            Ok(Received::Message { len, fds }) => admit(&self.shared, &self.buffer[..len], fds),
            Ok(Received::Truncated | Received::Stripped { .. }) => Err(Refusal::Truncated),
            Ok(Received::Closed) if poll::is_read_closed(exit.as_fd()) => return Some(Left::Ended),
            // A message without bytes looks like the end, and is none.
            Ok(Received::Closed) => Err(Refusal::Empty),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Some(Left::Empty),
            Err(error) => {
                warn!("the relay cannot be read any more: {error}");
                return Some(Left::Ended);
            }
        };
        if let Err(refusal) = admitted {
            self.shared.counters.refused();
            self.complaints.add(&refusal);
        }
        None
    }

    fn saw(&self, seen: Seen) {
        self.shared.inlet.seen.set(seen);
        self.shared.check_empty();
        self.shared.check_shut();
        if self.shared.stage().is_draining() {
            self.shared.wake_gates();
        }
    }
}
