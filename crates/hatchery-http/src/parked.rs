//! A connection that waits: a socket, the bytes already read, and what it was.

use std::io;
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hatchery_worker::{Accepted, Peer, Permit, Stream};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::sniff::{Protocol, sniff};

/// Enough for nearly every request head: one read, as hyper would have made.
const FIRST_READ: usize = 8192;

/// What a client gets whose request head took too long.
const TOO_LATE: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// A connection that waits, as a plain value.
///
/// Nothing here belongs to this process but the socket's registration with the
/// event loop and the permit: given the descriptor, the prefix and the facts,
/// any worker could go on with it.
#[derive(Debug)]
pub(crate) struct Parked {
    pub(crate) stream: Stream,
    /// Read, but not used: the beginning of the next request. Empty but for clients that send their head in pieces.
    pub(crate) prefix: Box<[u8]>,
    pub(crate) facts: Facts,
    /// It has spoken HTTP/1 before: the preface of HTTP/2 may only be the first thing that a client says.
    pub(crate) http1: bool,
}

/// What a connection was when it was accepted; its own address can be asked of the socket.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) peer: Peer,
    #[expect(dead_code, reason = "goes along when a connection moves to another process")]
    pub(crate) listener: usize,
    _permit: Permit,
}

impl Parked {
    pub(crate) fn new(accepted: Accepted) -> Self {
        let Accepted { stream, peer, listener, permit, local: _ } = accepted;
        Self { stream, prefix: Box::default(), facts: Facts { peer, listener, _permit: permit }, http1: false }
    }

    /// Waits for bytes and adds them to the prefix.
    ///
    /// Reads them at once instead of asking which protocol they are: a peek
    /// would cost a system call a connection, the copy costs next to nothing,
    /// and a client that has gone is noticed without any of hyper's state.
    pub(crate) fn poll_wake(&mut self, cx: &mut Context<'_>) -> Poll<Wake> {
        loop {
            let mut space = [MaybeUninit::<u8>::uninit(); FIRST_READ];
            let mut buf = ReadBuf::uninit(&mut space);
            if ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buf)).is_err() || buf.filled().is_empty() {
                return Poll::Ready(Wake::Ended);
            }
            if self.prefix.is_empty() {
                self.prefix = buf.filled().into();
            } else {
                self.prefix = [&self.prefix, buf.filled()].concat().into();
            }
            match sniff(&self.prefix) {
                _ if self.http1 => return Poll::Ready(Wake::Http1),
                Protocol::Http1 => return Poll::Ready(Wake::Http1),
                Protocol::Http2 => return Poll::Ready(Wake::Http2),
                // The preface is 24 bytes long: this cannot go on for long, and the limit for a head bounds it.
                Protocol::Undecided => {}
            }
        }
    }

    /// Says that the request head took too long, as far as that can be said without waiting.
    pub(crate) fn say_too_late(&mut self, cx: &mut Context<'_>) {
        let _too_late_to_care = Pin::new(&mut self.stream).poll_write(cx, TOO_LATE);
    }

    /// Shuts our side: what was written still arrives, then the client sees the end.
    ///
    /// # Errors
    ///
    /// When the client has gone already.
    pub(crate) fn shut(&self) -> io::Result<()> {
        SockRef::from(&self.stream).shutdown(Shutdown::Write)
    }

    /// Waits until the client has closed, throwing away what it still sends.
    ///
    /// Closing at once would turn what it still sends into a reset, and a reset
    /// can destroy an answer that the client has not read yet.
    pub(crate) fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let mut space = [MaybeUninit::<u8>::uninit(); FIRST_READ];
            let mut buf = ReadBuf::uninit(&mut space);
            if ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buf)).is_err() || buf.filled().is_empty() {
                return Poll::Ready(());
            }
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
