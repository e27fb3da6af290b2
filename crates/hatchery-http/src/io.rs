//! The socket as hyper sees it, with the few facts that hyper does not tell.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use hatchery_worker::Stream;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::parked::{Facts, Parked};
use crate::sweep::{Activity, Entry, Hub};

/// What a client gets when its request cannot even be begun.
const FAILED: &[u8] = b"HTTP/1.1 500 Internal Server Error\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// An active connection: what its task, hyper's io and its requests in flight share.
///
/// hyper owns its io and shows nothing of its own state, so the socket and the
/// facts live here, where the task can look at them between two polls.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) hub: Rc<Hub>,
    pub(crate) entry: Rc<Entry>,
    pub(crate) facts: Facts,
    pub(crate) http2: bool,
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
    /// The address in hyper's buffer at which the last read ended; see `guard::ahead`.
    pub(crate) read_end: Cell<usize>,
    /// How many bytes of the request in flight are still to be read; below 0 when more may have been read.
    pub(crate) ahead: Cell<i64>,
    /// HTTP/2: pieces of answers that are not sent, and bodies that nobody asks for more.
    pub(crate) stalled: Cell<u32>,
    /// HTTP/2: a piece of an answer was sent; cleared by the task.
    pub(crate) advanced: Cell<bool>,
    stream: RefCell<Stream>,
    /// Bytes to read before the socket's; `replaying` while there are some.
    prefix: RefCell<Box<[u8]>>,
    prefix_at: Cell<usize>,
    replaying: Cell<bool>,
    _activity: Activity,
}

impl Line {
    pub(crate) fn new(parked: Parked, entry: &Rc<Entry>, hub: &Rc<Hub>, http2: bool) -> Rc<Self> {
        let Parked { stream, prefix, facts, http1: _ } = parked;
        Rc::new(Self {
            hub: Rc::clone(hub),
            entry: Rc::clone(entry),
            facts,
            http2,
            in_flight: Cell::new(0),
            starved: Cell::new(false),
            received: Cell::new(false),
            sent: Cell::new(false),
            dirty: Cell::new(false),
            ended: Cell::new(false),
            read_end: Cell::new(0),
            ahead: Cell::new(0),
            stalled: Cell::new(0),
            advanced: Cell::new(false),
            stream: RefCell::new(stream),
            replaying: Cell::new(!prefix.is_empty()),
            prefix: RefCell::new(prefix),
            prefix_at: Cell::new(0),
            _activity: hub.activate(),
        })
    }

    /// The connection as a plain value again; `read_buf` is what hyper had read and not used.
    pub(crate) fn into_parked(self, read_buf: &[u8]) -> Parked {
        let prefix = self.prefix.into_inner();
        let unread = &prefix[self.prefix_at.get()..];
        Parked {
            stream: self.stream.into_inner(),
            prefix: [read_buf, unread].concat().into(),
            facts: self.facts,
            http1: !self.http2,
        }
    }

    /// Forgets what happened before this poll.
    pub(crate) fn begin_poll(&self) {
        self.starved.set(false);
        self.received.set(false);
        self.sent.set(false);
    }

    /// Asks the kernel, whatever the event loop knows: is there anything to read?
    pub(crate) fn peek(&self) -> Peeked {
        peek(&*self.stream.borrow())
    }

    /// Answers a request whose service panicked in its call, if nothing else stands in the way.
    pub(crate) fn say_failed(&self) {
        if !self.dirty.get() {
            let _nobody_left_to_tell = SockRef::from(&*self.stream.borrow()).send(FAILED);
        }
    }

    /// Wakes the task when the client sends something or goes, without reading it.
    pub(crate) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.stream.borrow().poll_read_ready(cx).map(|_readiness| ())
    }

    #[cold]
    fn replay(&self, buf: &mut ReadBuf<'_>) {
        let mut prefix = self.prefix.borrow_mut();
        let unread = &prefix[self.prefix_at.get()..];
        let fits = unread.len().min(buf.remaining());
        buf.put_slice(&unread[..fits]);
        self.prefix_at.set(self.prefix_at.get() + fits);
        if self.prefix_at.get() == prefix.len() {
            *prefix = Box::default();
            self.replaying.set(false);
            self.prefix_at.set(0);
        }
    }
}

/// What the kernel has for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peeked {
    /// Nothing yet.
    Nothing,
    /// Bytes.
    Bytes,
    /// The end of the stream: the client sends no more, and may still read.
    End,
    /// An error: there is nobody left.
    Broken,
}

/// Looks into the kernel's queue.
///
/// Past the event loop on purpose: what arrived since it last looked counts.
pub(crate) fn peek(stream: &impl AsFd) -> Peeked {
    let mut byte = [MaybeUninit::uninit(); 1];
    match SockRef::from(stream).peek(&mut byte) {
        Ok(0) => Peeked::End,
        Ok(_) => Peeked::Bytes,
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Peeked::Nothing,
        Err(_) => Peeked::Broken,
    }
}

/// What hyper reads from and writes to: a line, but its shutdown does nothing.
///
/// hyper shuts its io down when it has finished, and that is when the task takes the socket back.
#[derive(Debug)]
pub(crate) struct LineIo(pub(crate) Rc<Line>);

impl AsyncRead for LineIo {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let line = &*self.0;
        let before = buf.filled().len();
        if line.replaying.get() {
            line.replay(buf);
        } else {
            match Pin::new(&mut *line.stream.borrow_mut()).poll_read(cx, buf) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => {
                    line.ended.set(true);
                    return Poll::Ready(Err(error));
                }
                Poll::Pending => {
                    line.starved.set(true);
                    return Poll::Pending;
                }
            }
        }
        let filled = buf.filled();
        let read = filled.len() - before;
        if read == 0 {
            line.ended.set(true);
        } else {
            line.starved.set(false);
            line.received.set(true);
            line.read_end.set(filled.as_ptr_range().end.addr());
            line.ahead.set(line.ahead.get() - i64::try_from(read).unwrap_or(i64::MAX));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for LineIo {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let line = &*self.0;
        line.dirty.set(true);
        let written = Pin::new(&mut *line.stream.borrow_mut()).poll_write(cx, buf);
        line.note_written(&written);
        written
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let line = &*self.0;
        line.dirty.set(true);
        let written = Pin::new(&mut *line.stream.borrow_mut()).poll_write_vectored(cx, bufs);
        line.note_written(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A socket has no buffer of its own: hyper flushes after its last byte was written.
        self.0.dirty.set(false);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Line {
    fn note_written(&self, written: &Poll<io::Result<usize>>) {
        match written {
            Poll::Ready(Ok(_)) => self.sent.set(true),
            Poll::Ready(Err(_)) => self.ended.set(true),
            Poll::Pending => {}
        }
    }
}
