//! An active HTTP/2 connection: hyper's, with pings against dead peers and a way out of idleness.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};

use crate::http1::Exit;
use crate::io::{Line, LineIo};
use crate::limits::Resolved;
use crate::parked::Parked;
use crate::server::Shared;
use crate::service::Handle;
use crate::streams::Streams;
use crate::sweep::{Entry, Phase};

/// How often a silent peer is asked whether it is still there, and how long it may take to say so.
const PING_EVERY: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// hyper's connection, and the facts that it shares with its io and its requests.
pub(crate) struct Http2<S: Handle> {
    conn: http2::Connection<TokioIo<LineIo>, Streams<S>, LocalTasks>,
    line: Rc<Line>,
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
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIMEOUT)
        .max_concurrent_streams(limits.max_streams)
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(1024)
        .max_header_list_size(u32::try_from(limits.max_head_size).unwrap_or(u32::MAX));
    builder
}

impl<S: Handle> Http2<S> {
    pub(crate) fn new(server: &Rc<Shared<S>>, parked: Parked, entry: &Rc<Entry>) -> Box<Self> {
        let line = Line::new(parked, entry, &server.hub, true);
        let io = TokioIo::new(LineIo(Rc::clone(&line)));
        let conn = server.http2.serve_connection(io, Streams::new(server, &line));
        let mut http2 = Box::new(Self { conn, line });
        // Until the first request the limit for a head goes on counting.
        http2.line.entry.rename(Phase::Head);
        if server.hub.is_draining() {
            http2.leave();
        }
        http2
    }

    /// Says GOAWAY: requests under way are finished, new ones belong elsewhere.
    pub(crate) fn leave(&mut self) {
        Pin::new(&mut self.conn).graceful_shutdown();
        if self.line.in_flight.get() == 0 && self.line.stalled.get() == 0 {
            self.line.entry.enter(Phase::Http2Leaving, self.line.hub.now());
        }
    }

    /// Drives the connection until it ends.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Exit> {
        self.line.begin_poll();
        match Pin::new(&mut self.conn).poll(cx) {
            Poll::Pending => {
                self.settle();
                Poll::Pending
            }
            Poll::Ready(_) if self.line.ended.get() => Poll::Ready(Exit::Dead),
            Poll::Ready(Ok(()) | Err(_)) => Poll::Ready(Exit::Finished),
        }
    }

    /// The socket without hyper, to be closed; `None` if a request still holds it.
    pub(crate) fn into_parked(self) -> Option<Parked> {
        let Self { conn, line } = self;
        drop(conn);
        Some(Rc::into_inner(line)?.into_parked(&[]))
    }

    fn settle(&self) {
        let line = &*self.line;
        let (now, phase) = (line.hub.now(), line.entry.phase());
        let (blocked, stalled) = (line.dirty.get(), line.stalled.get() > 0);
        if blocked || stalled {
            // The client does not read from the socket, or grants its streams no room.
            let progress = if stalled { line.advanced.take() } else { line.sent.get() };
            if phase != Phase::Send || progress {
                line.entry.enter(Phase::Send, now);
            }
            return;
        }
        let busy = line.in_flight.get() > 0;
        match phase {
            Phase::Handler if busy => {}
            Phase::Head | Phase::Http2Idle | Phase::Http2Leaving if !busy => {}
            _ if busy => line.entry.enter(Phase::Handler, now),
            _ if line.hub.is_draining() => line.entry.enter(Phase::Http2Leaving, now),
            _ => line.entry.enter(Phase::Http2Idle, now),
        }
    }
}
