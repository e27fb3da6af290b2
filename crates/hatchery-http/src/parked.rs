//! A connection that waits: a socket, the bytes already read, and what it was.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hatchery_worker::{Accepted, Luggage, Stay};
use tokio::io::ReadBuf;
use tokio::time::timeout;

use crate::client::Facts;
use crate::peek::Peeked;
use crate::phase::{LINGER, Phase};
use crate::sniff::{Protocol, sniff};
use crate::transport::Transport;

/// Enough for nearly every request head: one read, as hyper would have made.
const FIRST_READ: usize = 8192;

/// What a client gets whose request head took too long.
const TOO_LATE: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// What a client gets when its request cannot even be begun.
pub(crate) const FAILED: &[u8] =
    b"HTTP/1.1 500 Internal Server Error\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// A connection that waits, as a plain value.
///
/// Nothing here belongs to this process but the socket's registration with the
/// event loop and the permit: given the descriptor, the prefix and the facts,
/// any worker can go on with it.
#[derive(Debug)]
pub(crate) struct Parked {
    pub(crate) transport: Transport,
    /// Read, but not used: the beginning of the next request. Empty but for
    /// clients that send their head in pieces, or more than one request at once.
    pub(crate) prefix: Box<[u8]>,
    pub(crate) facts: Facts,
}

/// A connection as it comes.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) parked: Parked,
    /// How long its client has been taking over a request head.
    pub(crate) waited: Duration,
    /// What the application has saved of it elsewhere.
    pub(crate) saved: Option<Vec<u8>>,
}

impl From<Accepted> for Arrival {
    fn from(accepted: Accepted) -> Self {
        let Accepted { stream, peer, permit, journey, unread, state: saved, local: _, listener: _ } = accepted;
        let facts = Facts::new(peer, permit, &journey);
        Self {
            parked: Parked { transport: Transport::Plain(stream), prefix: unread, facts },
            waited: journey.waited,
            saved,
        }
    }
}

impl Parked {
    /// What it is doing.
    pub(crate) fn phase(&self) -> Phase {
        match (self.prefix.is_empty(), self.facts.requests()) {
            (false, _) => Phase::Head,
            (true, 0) => Phase::Fresh,
            (true, _) => Phase::Parked,
        }
    }

    /// Writes down what the connection is doing, for the case that the worker is aborted.
    pub(crate) fn note(&self, phase: Phase) {
        self.facts.permit.record().enter(phase.doing());
    }

    /// What the prefix calls for, unless more has to be read for that.
    pub(crate) fn wake(&self) -> Option<Wake> {
        if self.prefix.is_empty() {
            return None;
        }
        // What the handshake has agreed on is what is spoken.
        if let Some(agreed) = self.transport.agreed() {
            return Some(agreed);
        }
        // The preface of HTTP/2 may only be the first thing that a client says.
        if self.facts.requests() > 0 {
            return Some(Wake::Http1);
        }
        match sniff(&self.prefix) {
            Protocol::Http1 => Some(Wake::Http1),
            Protocol::Http2 => Some(Wake::Http2),
            // The preface is 24 bytes long: this cannot go on for long, and the limit for a head bounds it.
            Protocol::Undecided => None,
        }
    }

    /// Waits for bytes and adds them to the prefix.
    ///
    /// Reads them at once instead of asking which protocol they are: a peek
    /// would cost a system call a connection, the copy costs next to nothing,
    /// and a client that has gone is noticed without any of hyper's state.
    pub(crate) fn poll_wake(&mut self, cx: &mut Context<'_>) -> Poll<Wake> {
        loop {
            if !ready!(self.poll_more(cx)) {
                return Poll::Ready(Wake::Ended);
            }
            if let Some(wake) = self.wake() {
                return Poll::Ready(wake);
            }
        }
    }

    /// Waits for bytes and adds them to the prefix; `false` if there will be none.
    pub(crate) fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let mut space = [MaybeUninit::<u8>::uninit(); FIRST_READ];
        let mut buf = ReadBuf::uninit(&mut space);
        if ready!(self.transport.poll_read(cx, &mut buf)).is_err() || buf.filled().is_empty() {
            return Poll::Ready(false);
        }
        if self.prefix.is_empty() {
            self.prefix = buf.filled().into();
        } else {
            self.prefix = [&self.prefix, buf.filled()].concat().into();
        }
        Poll::Ready(true)
    }

    /// Sends the connection to another process, with what the application has saved of it.
    ///
    /// `age` is that of its phase: a client that takes its time over a head gets no new time by it.
    /// What the client sends meanwhile stays in the kernel.
    pub(crate) fn poll_move(
        &self,
        cx: &mut Context<'_>,
        age: Duration,
        state: Option<&[u8]>,
    ) -> Poll<Result<(), Stay>> {
        let Some(stream) = self.transport.plain() else { return Poll::Ready(Err(Stay::NoHeir)) };
        let waited = if self.phase() == Phase::Parked { Duration::ZERO } else { age };
        let journey = &self.facts.journey(waited);
        let luggage = Luggage { journey, unread: &self.prefix, state };
        self.facts.permit.poll_move(cx, self.facts.listener(), stream, self.facts.peer, &luggage)
    }

    /// Says that the request head took too long, as far as that can be said without waiting.
    pub(crate) fn say_too_late(&mut self) {
        self.transport.say(TOO_LATE);
    }

    /// Shuts our side: what was written still arrives, then the client sees the end.
    ///
    /// # Errors
    ///
    /// When the client has gone already.
    pub(crate) fn shut(&self) -> io::Result<()> {
        self.transport.shut()
    }

    /// Waits until the client has closed, throwing away what it still sends.
    ///
    /// Closing at once would turn what it still sends into a reset, and a reset
    /// can destroy an answer that the client has not read yet.
    pub(crate) fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if ready!(self.transport.poll_shut(cx)).is_err() {
            return Poll::Ready(());
        }
        loop {
            let mut space = [MaybeUninit::<u8>::uninit(); FIRST_READ];
            let mut buf = ReadBuf::uninit(&mut space);
            if ready!(self.transport.poll_read(cx, &mut buf)).is_err() || buf.filled().is_empty() {
                return Poll::Ready(());
            }
        }
    }
}

/// A connection for which there is no service.
impl Parked {
    /// Answers a request that may have come, and closes.
    pub(crate) async fn turn_away(mut self) {
        if !self.prefix.is_empty() || self.transport.peek() == Peeked::Bytes {
            self.transport.say(FAILED);
        }
        if self.shut().is_ok() {
            let _closed_or_not = timeout(LINGER, poll_fn(|cx| self.poll_closed(cx))).await;
        }
    }
}

/// What ended a connection's rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wake {
    /// The prefix begins with something that is not HTTP/2.
    Http1,
    /// The prefix begins with the preface of HTTP/2.
    Http2,
    /// The client has gone.
    Ended,
}
