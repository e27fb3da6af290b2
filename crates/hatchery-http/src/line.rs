//! The socket of an active connection, with the few facts that hyper does not tell.

use std::any::Any;
use std::cell::{Cell, OnceCell, RefCell};
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hatchery_worker::Counter;
use hatchery_worker::ledger::Record;
use http_body::Body as _;
use socket2::SockRef;
use tokio::io::ReadBuf;

use crate::Request;
use crate::ahead;
use crate::client::{Client, Facts};
use crate::entry::Entry;
use crate::limits::Resolved;
use crate::parked::{FAILED, Parked};
use crate::peek::Peeked;
use crate::phase::Phase;
use crate::sweep::{Activity, Hub};
use crate::transport::Transport;
use crate::upgrade::{Aside, Way};

/// How much is read at once of a body behind which another process goes on.
const PIECE: usize = 8192;

/// The most that hyper reads at once.
const LARGEST_READ: u64 = 8192 + 4096 * 100;

/// The least that is read at once of what may be a head.
const LEAST: u64 = 1024;

/// An active connection: what its task, hyper's io and its requests in flight share.
///
/// hyper owns its io and shows nothing of its own state, so the socket and the
/// facts live here, where the task can look at them between two polls.
pub(crate) struct Line {
    pub(crate) hub: Rc<Hub>,
    pub(crate) entry: Rc<Entry>,
    pub(crate) http2: bool,
    pub(crate) way: Way,
    /// A request that asks for an upgrade, which this hyper cannot give.
    aside: OnceCell<Box<Aside>>,
    /// Requests since the connection became active.
    pub(crate) requests: Cell<u32>,
    /// Requests whose answer is not complete: from the service's call to the drop of the response body.
    pub(crate) in_flight: Cell<u32>,
    /// The last read found nothing.
    pub(crate) starved: Cell<bool>,
    /// Bytes came; cleared by the task, by the start and by the end of a request.
    pub(crate) received: Cell<bool>,
    /// Bytes went; cleared by the task.
    pub(crate) sent: Cell<bool>,
    /// Something was written and the flush after it has not completed.
    pub(crate) dirty: Cell<bool>,
    /// The client has shut its side, or the socket is broken: nothing more can come.
    pub(crate) ended: Cell<bool>,
    /// The address in hyper's buffer at which the last read ended; see `ahead`.
    pub(crate) read_end: Cell<usize>,
    /// How many bytes of the request in flight are still to be read; below 0 when more may have been read.
    pub(crate) ahead: Cell<i64>,
    /// How far that may fall while the request in flight is not too long.
    floor: Cell<i64>,
    /// What of the request in flight was still to come when its handler began.
    pub(crate) missing: Cell<Missing>,
    /// The request in flight was too long, and cut off.
    cut_off: Cell<bool>,
    /// What was still to be read when the client's time was last looked at, and how far it is behind, in milliseconds.
    looked: Cell<(i64, u32)>,
    /// An answer that waits for a moment while the worker drains.
    pub(crate) held: Cell<Option<Box<dyn Any>>>,
    facts: Facts,
    /// `None` where it may be given away: then it is in the tunnel.
    transport: RefCell<Option<Transport>>,
    source: Cell<Source>,
    /// Bytes to read before the socket's.
    prefix: RefCell<Box<[u8]>>,
    prefix_at: Cell<usize>,
    _activity: Activity,
}

/// What a read reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// The socket.
    Socket,
    /// The socket, so little at once that no more than a body may have can stand behind a head.
    Little,
    /// The prefix, and then the socket.
    Prefix,
    /// The rest of the request in flight, wherever that is: what follows is for another process.
    Rest,
}

impl Line {
    pub(crate) fn new(parked: Parked, entry: &Rc<Entry>, hub: &Rc<Hub>, http2: bool) -> Rc<Self> {
        let Parked { transport, prefix, facts } = parked;
        Rc::new(Self::of(Some(transport), prefix, facts, entry, hub, http2, Way::Ordinary))
    }

    /// One whose socket is in a tunnel.
    pub(crate) fn without_socket(facts: Facts, entry: &Rc<Entry>, hub: &Rc<Hub>, way: Way) -> Rc<Self> {
        Rc::new(Self::of(None, Box::default(), facts, entry, hub, false, way))
    }

    #[inline]
    fn of(
        transport: Option<Transport>,
        prefix: Box<[u8]>,
        facts: Facts,
        entry: &Rc<Entry>,
        hub: &Rc<Hub>,
        http2: bool,
        way: Way,
    ) -> Self {
        Self {
            hub: Rc::clone(hub),
            entry: Rc::clone(entry),
            http2,
            way,
            aside: OnceCell::new(),
            requests: Cell::new(0),
            in_flight: Cell::new(0),
            starved: Cell::new(false),
            received: Cell::new(false),
            sent: Cell::new(false),
            dirty: Cell::new(false),
            ended: Cell::new(false),
            read_end: Cell::new(0),
            ahead: Cell::new(0),
            floor: Cell::new(i64::MIN),
            missing: Cell::new(Missing::Nothing),
            cut_off: Cell::new(false),
            looked: Cell::new((0, 0)),
            held: Cell::new(None),
            facts,
            transport: RefCell::new(transport),
            source: Cell::new(Source::of(&prefix, http2, &hub.limits)),
            prefix: RefCell::new(prefix),
            prefix_at: Cell::new(0),
            _activity: hub.activate(),
        }
    }

    /// The connection as a plain value again; `read_buf` is what hyper had read and not used.
    pub(crate) fn into_parked(self, read_buf: &[u8]) -> Option<Parked> {
        let head = self.aside.into_inner().map(|aside| aside.head).unwrap_or_default();
        let prefix = self.prefix.into_inner();
        let unread = &prefix[self.prefix_at.get()..];
        let prefix = [&head, read_buf, unread].concat().into();
        Some(Parked { transport: self.transport.into_inner()?, prefix, facts: self.facts })
    }

    /// What it was.
    pub(crate) fn into_facts(self) -> Facts {
        self.facts
    }

    /// Keeps a request that somebody else is to answer. This hyper waits for an answer, and so reads nothing more.
    pub(crate) fn put_aside(&self, aside: Aside) {
        let _the_only_one = self.aside.set(Box::new(aside));
        self.in_flight.set(self.in_flight.get() + 1);
        self.enter(Phase::Handler, self.hub.now());
    }

    /// The way that the request which was put aside has to go.
    pub(crate) fn way_elsewhere(&self) -> Option<Way> {
        self.aside.get().map(|aside| aside.way)
    }

    /// Whether answers may have to say that they are the last one.
    pub(crate) fn is_parting(&self) -> bool {
        self.hub.is_draining() || self.way != Way::Ordinary || self.cut_off.get()
    }

    /// Whether the body of the request in flight was too long, and cut off.
    pub(crate) fn is_cut_off(&self) -> bool {
        self.cut_off.get()
    }

    /// A request has begun that has a body, or of which not all is read. Returns whether its body may be as long as it
    /// says, or as what is read of it.
    #[cold]
    pub(crate) fn begin_body(&self, request: &Request, ahead: i64) -> bool {
        self.ahead.set(ahead);
        let most = i64::try_from(self.hub.limits.max_body_size).unwrap_or(i64::MAX).min(i64::MAX / 4);
        let length = request.body().size_hint().exact();
        self.missing.set(match length {
            _ if ahead == 0 => Missing::Nothing,
            Some(_) => Missing::Known,
            None => Missing::Unknown,
        });
        let counts = length.is_none() && most < i64::MAX / 4;
        let read = if counts { ahead::behind(request, self.read_end.get()) } else { 0 };
        // Less than was read only where that may be less than `LEAST`: requests behind the body are counted there.
        let left = most - i64::try_from(read).unwrap_or(i64::MAX);
        self.floor.set(if counts { ahead::UNKNOWN - left.max(0) } else { i64::MIN });
        self.looked.set((self.ahead.get(), 0));
        let fits = left >= 0 && length.is_none_or(|length| length <= self.hub.limits.max_body_size);
        if !fits {
            self.hub.counters.count(Counter::BodyTooLarge);
            self.entry.stay();
        }
        fits
    }

    /// How many bytes may be read now; more than there ever are where nothing limits them.
    #[inline]
    fn left(&self) -> u64 {
        self.ahead.get().wrapping_sub(self.floor.get()).cast_unsigned()
    }

    /// More is to be read than a request may have.
    #[cold]
    fn reach_the_floor(&self) -> io::Result<()> {
        self.floor.set(i64::MIN);
        self.hub.counters.count(Counter::BodyTooLarge);
        self.cut_off.set(true);
        self.entry.stay();
        Err(io::Error::new(io::ErrorKind::FileTooLarge, "the request's body is longer than max-body-size"))
    }

    /// Notes how far a client is behind that was sending its body, and whose phase began then.
    pub(crate) fn note_lag(&self, since: u32, now: u32) {
        let (ahead, _) = self.looked.get();
        let read = u64::try_from(ahead.saturating_sub(self.ahead.get())).unwrap_or(0);
        let credit = match (read, self.hub.limits.min_body_rate) {
            (0, _) => 0,
            (_, 0) => u32::MAX,
            (read, rate) => u32::try_from(read.saturating_mul(1000) / u64::from(rate)).unwrap_or(u32::MAX),
        };
        self.looked.set((self.ahead.get(), now.wrapping_sub(since).saturating_sub(credit)));
    }

    /// Waits for the body, since so long ago as the client is behind.
    pub(crate) fn wait_for_body(&self, now: u32) {
        let (_, lag) = self.looked.get();
        self.enter(Phase::Body, now.wrapping_sub(lag));
    }

    /// What is said of the client in the middle of a request.
    pub(crate) fn client(&self) -> Client {
        self.facts.client()
    }

    /// What is written down of the connection, for the case that the worker is aborted.
    pub(crate) fn record(&self) -> &'static Record {
        self.facts.permit.record()
    }

    /// Enters a phase, or notes progress within it.
    pub(crate) fn enter(&self, phase: Phase, now: u32) {
        self.entry.enter(phase, now);
        self.record().enter(phase.doing());
    }

    /// Enters a phase that goes on counting from the start of the one before.
    pub(crate) fn rename(&self, phase: Phase) {
        self.entry.rename(phase);
        self.record().enter(phase.doing());
    }

    /// Whether another process takes the connection when its requests are answered.
    pub(crate) fn may_move(&self) -> bool {
        !self.http2 && !self.entry.stays() && self.facts.has_heir()
    }

    /// Leaves everything behind the request in flight to another process.
    pub(crate) fn leave_the_rest(&self) {
        self.source.set(Source::Rest);
    }

    /// The connection stays: reads what comes, as ever. Returns whether it did not before.
    pub(crate) fn read_on(&self) -> bool {
        let left = self.source.get() == Source::Rest;
        if left {
            self.source.set(Source::of(&self.prefix.borrow(), self.http2, &self.hub.limits));
        }
        left
    }

    /// Whether some of the body of the request in flight is, or may be, still to come.
    ///
    /// If nobody reads that, hyper closes the connection behind the answer, and says so only in one that it is given
    /// after it has noticed.
    pub(crate) fn misses_body(&self) -> bool {
        match self.missing.get() {
            Missing::Nothing => false,
            Missing::Known => self.ahead.get() > 0,
            Missing::Unknown => self.ahead.get() != 0,
        }
    }

    /// Whether a request is in flight, or a handler has kept its body beyond the answer and some of it is missing.
    pub(crate) fn is_in_request(&self) -> bool {
        self.in_flight.get() > 0 || self.ahead.get() > 0
    }

    /// Forgets what happened before this poll.
    pub(crate) fn begin_poll(&self) {
        self.starved.set(false);
        self.received.set(false);
        self.sent.set(false);
    }

    /// Closing the socket is a reset from now on: the client does not read, and the kernel would keep the rest of the
    /// answer for minutes.
    pub(crate) fn give_up(&self) {
        if let Some(transport) = &*self.transport.borrow() {
            let _then_the_kernel_keeps_it = SockRef::from(transport.socket()).set_linger(Some(Duration::ZERO));
        }
    }

    /// Asks the kernel, whatever the event loop knows: is there anything to read?
    pub(crate) fn peek(&self) -> Peeked {
        self.transport.borrow_mut().as_mut().map_or(Peeked::Nothing, Transport::peek)
    }

    /// Answers a request whose service panicked in its call, if nothing else stands in the way.
    pub(crate) fn say_failed(&self) {
        if !self.dirty.get()
            && let Some(transport) = &mut *self.transport.borrow_mut()
        {
            transport.say(FAILED);
        }
    }

    /// Wakes the task when the client sends something or goes, without reading it.
    pub(crate) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        match &*self.transport.borrow() {
            Some(transport) => transport.socket().poll_read_ready(cx).map(|_readiness| ()),
            None => Poll::Pending,
        }
    }

    /// Reads for hyper, and notes what that says.
    #[inline(always)] // Into hyper's own reading: a call costs 22 instructions a request.
    pub(crate) fn poll_read(&self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let room = buf.remaining();
        let polled = match self.source.get() {
            Source::Socket if self.left() >= room as u64 => match &mut *self.transport.borrow_mut() {
                Some(transport) => transport.poll_read(cx, buf),
                None => Poll::Pending,
            },
            Source::Socket | Source::Little | Source::Prefix | Source::Rest => self.read_aside(cx, buf),
        };
        match polled {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => {
                // A client that was cut off is still there, and to be told.
                if !self.cut_off.get() {
                    self.ended.set(true);
                }
                return Poll::Ready(Err(error));
            }
            Poll::Pending => {
                self.starved.set(true);
                return Poll::Pending;
            }
        }
        let read = room - buf.remaining();
        if read == 0 {
            self.ended.set(true);
        } else {
            self.starved.set(false);
            self.received.set(true);
            self.read_end.set(buf.filled().as_ptr_range().end.addr());
            // No buffer is as large as that.
            self.ahead.set(self.ahead.get() - (read as u64).cast_signed());
        }
        Poll::Ready(Ok(()))
    }

    /// Writes for hyper, and notes what that says.
    pub(crate) fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.dirty.set(true);
        let written = match &mut *self.transport.borrow_mut() {
            Some(transport) => transport.poll_write(cx, bytes),
            None => Poll::Pending,
        };
        self.note_written(&written);
        written
    }

    /// Like [`Line::poll_write`], from several buffers at once.
    pub(crate) fn poll_write_vectored(&self, cx: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.dirty.set(true);
        let written = match &mut *self.transport.borrow_mut() {
            Some(transport) => transport.poll_write_vectored(cx, parts),
            None => Poll::Pending,
        };
        self.note_written(&written);
        written
    }

    fn note_written(&self, written: &Poll<io::Result<usize>>) {
        match written {
            Poll::Ready(Ok(_)) => self.sent.set(true),
            Poll::Ready(Err(_)) => self.ended.set(true),
            Poll::Pending => self.note_progress(),
        }
    }

    /// Passes on what lies between hyper and the kernel: nothing, but for TLS.
    pub(crate) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        #[cfg(feature = "tls")]
        if let Some(transport) = &mut *self.transport.borrow_mut() {
            let flushed = transport.poll_flush(cx);
            if transport.has_sent() {
                self.sent.set(true);
            }
            if let Err(error) = ready!(flushed) {
                self.ended.set(true);
                return Poll::Ready(Err(error));
            }
        }
        let _nothing_to_wait_for = cx;
        // hyper flushes after its last byte was written.
        self.dirty.set(false);
        Poll::Ready(Ok(()))
    }

    /// With TLS, a part of what was written before may have gone.
    fn note_progress(&self) {
        #[cfg(feature = "tls")]
        if self.transport.borrow().as_ref().is_some_and(Transport::has_sent) {
            self.sent.set(true);
        }
    }

    /// Reads when there is more to it than the socket.
    #[cold]
    fn read_aside(&self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.in_flight.get() == 0 {
            self.floor.set(i64::MIN);
        } else if self.left() == 0 {
            return Poll::Ready(self.reach_the_floor());
        }
        let most = match self.source.get() {
            Source::Socket | Source::Little | Source::Prefix => buf.remaining(),
            // No waker: the task takes the connection back when hyper wants a head and nothing else.
            Source::Rest if !self.is_in_request() => return Poll::Pending,
            Source::Rest => match usize::try_from(self.ahead.get()) {
                // A client that sends request after request would be answered here for ever.
                Ok(missing @ 1..) => missing.min(buf.remaining()),
                // Nobody knows where a chunked body ends: what is read behind it is answered here.
                Ok(0) | Err(_) => buf.remaining(),
            },
        };
        let bound = if self.http2 { u64::MAX } else { self.left().min(self.hub.limits.max_body_size.max(LEAST)) };
        let most = most.min(usize::try_from(bound).unwrap_or(usize::MAX));
        if !self.prefix.borrow().is_empty() {
            self.replay(buf, most);
            return Poll::Ready(Ok(()));
        }
        let mut space = [MaybeUninit::uninit(); PIECE];
        let mut piece = ReadBuf::uninit(&mut space[..most.min(PIECE)]);
        let Some(transport) = &mut *self.transport.borrow_mut() else { return Poll::Pending };
        ready!(transport.poll_read(cx, &mut piece))?;
        buf.put_slice(piece.filled());
        Poll::Ready(Ok(()))
    }

    fn replay(&self, buf: &mut ReadBuf<'_>, most: usize) {
        let mut prefix = self.prefix.borrow_mut();
        let unread = &prefix[self.prefix_at.get()..];
        let fits = unread.len().min(most);
        buf.put_slice(&unread[..fits]);
        self.prefix_at.set(self.prefix_at.get() + fits);
        if self.prefix_at.get() == prefix.len() {
            *prefix = Box::default();
            self.prefix_at.set(0);
            if self.source.get() == Source::Prefix {
                self.source.set(Source::of(&[], self.http2, &self.hub.limits));
            }
        }
    }
}

/// What of a request is still to come when its handler begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    Nothing,
    /// Maybe some of a body that has said how long it is.
    Known,
    /// Maybe some of one that has not.
    Unknown,
}

impl Source {
    fn of(prefix: &[u8], http2: bool, limits: &Resolved) -> Self {
        match prefix {
            [] if http2 || limits.max_body_size >= LARGEST_READ => Self::Socket,
            [] => Self::Little,
            _ => Self::Prefix,
        }
    }
}
