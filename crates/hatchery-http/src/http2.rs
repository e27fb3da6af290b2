//! An active HTTP/2 connection: hyper's, with pings against dead peers and a way out of idleness.
//!
//! The limits of its streams are in `wire`, by what `accounts` takes down of its `frames`.

mod accounts;
mod frames;
mod wire;

use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use h2::Reason;
use hatchery_worker::Counter;
use hatchery_worker::ledger::Protocol;
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};

use crate::clock::elapsed;
use crate::entry::Entry;
use crate::http1::Exit;
use crate::limits::Resolved;
use crate::line::Line;
use crate::parked::Parked;
use crate::phase::Phase;
use crate::server::Shared;
use crate::service::Handle;
use crate::streams::Streams;

pub(crate) use wire::{Outlook, Refusing, Wire};

use accounts::WINDOW;
use wire::WireIo;

/// How long a client that was told to go may open streams. Its answer to a ping ends that sooner.
const LAST_STREAMS: Duration = Duration::from_secs(3);

/// hyper's connection, and the facts that it shares with its io and its requests.
pub(crate) struct Http2<S: Handle> {
    conn: http2::Connection<TokioIo<WireIo>, Streams<S>, LocalTasks>,
    line: Rc<Line>,
    wire: Rc<Wire>,
}

/// Streams run as tasks of this thread: they need not be `Send`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LocalTasks;

impl<F: Future<Output = ()> + 'static> Executor<F> for LocalTasks {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

/// hyper's settings for HTTP/2.
///
/// The reset limits are those that answer CVE-2023-44487 and RUSTSEC-2024-0003.
pub(crate) fn builder(limits: &Resolved) -> http2::Builder<LocalTasks> {
    let mut builder = http2::Builder::new(LocalTasks);
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(limits.pings.every)
        .keep_alive_timeout(limits.pings.timeout)
        .max_concurrent_streams(limits.max_streams)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(1024)
        .max_header_list_size(u32::try_from(limits.max_head_size).unwrap_or(u32::MAX));
    builder
}

impl<S: Handle> Http2<S> {
    pub(crate) fn new(server: &Rc<Shared<S>>, seat: &S::Seat, parked: Parked, entry: &Rc<Entry>) -> Box<Self> {
        let line = Line::new(parked, entry, &server.hub, true);
        line.record().speaks(Protocol::Http2);
        let wire = Wire::new(&server.hub);
        let io = TokioIo::new(WireIo { line: Rc::clone(&line), wire: Rc::clone(&wire) });
        let conn = server.http2.serve_connection(io, Streams::new(server, seat, &line, &wire));
        let mut http2 = Box::new(Self { conn, line, wire });
        // Until the first request the limit for a head goes on counting.
        http2.line.rename(Phase::Head);
        if server.hub.is_draining() {
            http2.leave();
        }
        http2
    }

    /// Says GOAWAY: requests under way are finished, new ones belong elsewhere.
    ///
    /// hyper says it twice: at first for no stream at all, with a ping, and with
    /// the last stream that it takes when the client has answered that.
    pub(crate) fn leave(&mut self) {
        let line = &*self.line;
        Pin::new(&mut self.conn).graceful_shutdown();
        if self.wire.told.get().is_none() {
            self.wire.told.set(Some(line.hub.now()));
        }
        if !self.is_busy() {
            line.enter(Phase::Http2Leaving, line.hub.now());
        }
    }

    /// The client does not read: what waits for it in the kernel is not to be kept.
    pub(crate) fn give_up(&self) {
        self.line.give_up();
    }

    /// Condemns streams that have had their time; the next poll ends them.
    pub(crate) fn look(&self) -> Outlook {
        let (outlook, doing) = self.wire.look(&self.line);
        if self.line.entry.phase() == Phase::Handler {
            self.line.record().enter(doing);
        }
        outlook
    }

    /// Drives the connection until it ends.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Exit> {
        self.line.begin_poll();
        let _polled = self.line.record().poll();
        let mut polled = Pin::new(&mut self.conn).poll(cx);
        if polled.is_pending() && self.wire.has_orders(&self.line) {
            polled = Pin::new(&mut self.conn).poll(cx);
        }
        match polled {
            Poll::Pending => {
                self.settle();
                Poll::Pending
            }
            Poll::Ready(ended) => {
                if ended.is_err_and(|error| is_flood(&error)) {
                    self.line.hub.counters.count(Counter::ResetFlood);
                }
                Poll::Ready(if self.line.ended.get() { Exit::Dead } else { Exit::Finished })
            }
        }
    }

    /// The socket without hyper, to be closed; `None` if a request still holds it.
    pub(crate) fn into_parked(self) -> Option<Parked> {
        let Self { conn, line, wire: _ } = self;
        drop(conn);
        Rc::into_inner(line)?.into_parked(&[])
    }

    fn is_busy(&self) -> bool {
        self.line.in_flight.get() > 0 || self.wire.has_streams()
    }

    fn settle(&self) {
        let line = &*self.line;
        let (now, phase, busy) = (line.hub.now(), line.entry.phase(), self.is_busy());
        line.entry.note_streams(busy);
        if line.dirty.get() {
            // The client does not read from the socket.
            if phase != Phase::Send || line.sent.get() {
                line.enter(Phase::Send, now);
            }
            return;
        }
        match phase {
            Phase::Handler if busy => {}
            Phase::Head | Phase::Http2Idle | Phase::Http2Leaving if !busy => {}
            _ if busy => line.enter(Phase::Handler, now),
            // A client that never answers the ping gets no new time with each stream that ends.
            _ => match self.wire.told.get() {
                Some(told) => line.enter(Phase::Http2Leaving, told),
                None => line.enter(Phase::Http2Idle, now),
            },
        }
    }
}

/// Whether h2 has ended the connection since the client kept it busy with what costs more to take than to send.
fn is_flood(error: &hyper::Error) -> bool {
    let h2 = error.source().and_then(|source| source.downcast_ref::<h2::Error>());
    h2.is_some_and(|error| {
        error.is_go_away() && error.is_library() && error.reason() == Some(Reason::ENHANCE_YOUR_CALM)
    })
}

/// Whether the client goes on opening streams long after it was told to go.
pub(crate) fn refuses(line: &Line, wire: &Wire) -> bool {
    wire.told.get().is_some_and(|told| elapsed(line.hub.now(), told) > LAST_STREAMS)
}
