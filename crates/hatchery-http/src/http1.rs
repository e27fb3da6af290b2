//! An active HTTP/1 connection: hyper's, driven so that it can be taken back.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use hatchery_worker::Counter;
use hatchery_worker::ledger::Protocol;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;

use crate::entry::Entry;
use crate::guard::Guarded;
use crate::io::LineIo;
use crate::line::Line;
use crate::parked::Parked;
use crate::peek::Peeked;
use crate::phase::Phase;
use crate::server::Shared;
use crate::service::Handle;
use crate::upgrade::Way;

/// hyper's connection, and the facts that it shares with its io and its requests.
pub(crate) struct Http1<S: Handle> {
    conn: http1::Connection<TokioIo<LineIo>, Guarded<S>>,
    line: Rc<Line>,
}

/// How an active connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It is idle: nothing is in flight, everything is flushed.
    Idle,
    /// Our last answer is out; the client may have more to send, which nobody will read.
    Finished,
    /// There is nobody left to talk to.
    Dead,
    /// A request asks for an upgrade, or to be connected: it was not looked at by any handler.
    Asks { connect: bool },
}

/// hyper's settings for HTTP/1; no timer, since the sweep enforces the limits.
pub(crate) fn builder(max_head_size: usize) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .header_read_timeout(None)
        .max_header_size(max_head_size)
        // A client may shut its side after its request and still be answered. It
        // also makes hyper read only when it wants bytes: see `settle`.
        .half_close(true);
    builder
}

impl<S: Handle> Http1<S> {
    pub(crate) fn new(server: &Rc<Shared<S>>, seat: &S::Seat, parked: Parked, entry: &Rc<Entry>) -> Box<Self> {
        let line = Line::new(parked, entry, &server.hub, false);
        line.record().speaks(Protocol::Http1);
        line.rename(entry.phase());
        let io = TokioIo::new(LineIo(Rc::clone(&line)));
        let conn = server.http1.serve_connection(io, Guarded::new(server, seat, &line));
        Box::new(Self { conn, line })
    }

    /// Drives the connection until it ends or should be parked.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Exit> {
        self.line.begin_poll();
        let _polled = self.line.record().poll();
        match Pin::new(&mut self.conn).poll(cx) {
            Poll::Pending => self.settle(cx),
            Poll::Ready(_) if self.line.ended.get() => Poll::Ready(Exit::Dead),
            Poll::Ready(Ok(())) => Poll::Ready(Exit::Finished),
            // hyper has answered it with a 4xx.
            Poll::Ready(Err(error)) => {
                if error.is_parse_too_large() {
                    self.line.hub.counters.count(Counter::HeadTooLarge);
                }
                Poll::Ready(Exit::Finished)
            }
        }
    }

    /// Takes a connection back from hyper on which no request is in flight.
    ///
    /// hyper ends at once only if it agrees that there is none. It does not
    /// when a handler has kept a request body of unknown length beyond its
    /// answer: then the connection goes on until that body is read, and is closed.
    #[inline(never)]
    pub(crate) fn take_back(&mut self, cx: &mut Context<'_>) -> Poll<Exit> {
        // hyper would wait for the rest of its first head, and then say `connection: close`.
        // There cannot be a body that anybody has kept.
        if self.line.requests.get() == 0 {
            return Poll::Ready(Exit::Idle);
        }
        Pin::new(&mut self.conn).graceful_shutdown();
        match Pin::new(&mut self.conn).poll(cx) {
            Poll::Pending => {
                self.line.entry.stay();
                if self.line.read_on() {
                    cx.waker().wake_by_ref();
                }
                Poll::Pending
            }
            Poll::Ready(_) if self.line.ended.get() => Poll::Ready(Exit::Dead),
            Poll::Ready(Ok(())) => Poll::Ready(Exit::Idle),
            Poll::Ready(Err(_)) => Poll::Ready(Exit::Finished),
        }
    }

    /// Whether another process takes the connection when its requests are answered.
    pub(crate) fn may_move(&self) -> bool {
        self.line.may_move()
    }

    /// From now on only the request in flight is read and answered here, and what hyper has read behind it.
    pub(crate) fn leave_the_rest(&self) {
        self.line.leave_the_rest();
    }

    /// The client does not read: what waits for it in the kernel is not to be kept.
    pub(crate) fn give_up(&self) {
        self.line.give_up();
    }

    /// Whether the client is expected to begin a request.
    pub(crate) fn is_idle(&self) -> bool {
        self.line.entry.phase() == Phase::Idle
    }

    /// Whether the client has begun a request, and nothing more.
    pub(crate) fn is_in_head(&self) -> bool {
        matches!(self.line.entry.phase(), Phase::Fresh | Phase::Head) && self.is_silent()
    }

    /// Whether nothing of an answer has been written for what the client is sending.
    pub(crate) fn is_silent(&self) -> bool {
        !self.line.is_in_request() && !self.line.dirty.get()
    }

    /// The connection without hyper; `None` if something of a request still holds it.
    pub(crate) fn into_parked(self) -> Option<Parked> {
        let Self { conn, line } = self;
        let parts = conn.into_parts();
        let read_buf = parts.read_buf;
        drop((parts.io, parts.service));
        Rc::into_inner(line)?.into_parked(&read_buf)
    }

    /// After a poll that changed nothing more: what is the connection waiting for?
    ///
    /// hyper does not say. But it reads only when it wants a head or a body (for
    /// `half_close` is set), so a read that found nothing means that it waits for
    /// the client; and a write without its flush means that the client does not read.
    fn settle(&mut self, cx: &mut Context<'_>) -> Poll<Exit> {
        let line = &*self.line;
        let (now, phase) = (line.hub.now(), line.entry.phase());
        if line.dirty.get() {
            if phase != Phase::Send || line.sent.get() {
                line.enter(Phase::Send, now);
            }
        } else if line.is_in_request() {
            return self.settle_in_request(phase, cx);
        } else if line.starved.get() {
            match phase {
                Phase::Fresh => line.rename(Phase::Head),
                Phase::Head => {}
                _ if line.received.get() => line.enter(Phase::Head, now),
                Phase::Idle => {}
                _ => {
                    line.enter(Phase::Idle, now);
                    if line.hub.is_crowded() {
                        return self.take_back(cx);
                    }
                }
            }
        }
        Poll::Pending
    }

    #[inline(never)]
    fn settle_in_request(&mut self, phase: Phase, cx: &mut Context<'_>) -> Poll<Exit> {
        let line = &*self.line;
        let now = line.hub.now();
        match line.way_elsewhere() {
            None | Some(Way::Ordinary) => {}
            Some(Way::Upgradable { connect }) => return Poll::Ready(Exit::Asks { connect }),
        }
        if phase == Phase::Body {
            line.note_lag(line.entry.since(), now);
        }
        if line.starved.get() {
            if phase != Phase::Body || line.received.get() {
                line.wait_for_body(now);
            }
            return Poll::Pending;
        }
        // The handler is at work and hyper does not read. A client that goes away
        // is worth knowing; one that only shut its side gets its answer, if that
        // comes within the limit for sending.
        let gone = line.poll_readable(cx).is_ready()
            && match line.peek() {
                Peeked::Nothing | Peeked::Bytes => false,
                Peeked::End => true,
                Peeked::Broken => return Poll::Ready(Exit::Dead),
            };
        match (phase, gone) {
            (Phase::Handler, false) => {}
            (Phase::Gone, true) if !line.sent.get() => {}
            (_, true) => line.enter(Phase::Gone, now),
            (_, false) => line.enter(Phase::Handler, now),
        }
        Poll::Pending
    }
}
