//! A socket that an application may get.

use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::transport::Transport;

/// The task's end: it gets the socket back when nobody else has it any more.
#[derive(Debug)]
pub(crate) struct Tunnel(Arc<Mutex<State>>);

/// What hyper reads and writes, and gives away.
#[derive(Debug)]
pub(crate) struct TunnelIo(Arc<Mutex<State>>);

/// What has happened since the last look.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    /// The last read found nothing.
    pub(crate) starved: bool,
    /// Bytes came.
    pub(crate) received: bool,
    /// Bytes went.
    pub(crate) sent: bool,
    /// Something was written and the flush after it has not completed.
    pub(crate) dirty: bool,
}

/// Locked for the length of a system call, by one thread as a rule: nobody ever waits.
#[derive(Debug)]
struct State {
    transport: Option<Transport>,
    /// To be read before what the socket has.
    prefix: Box<[u8]>,
    prefix_at: usize,
    seen: Seen,
    ended: bool,
    released: bool,
    task: Option<Waker>,
}

impl Tunnel {
    pub(crate) fn new(transport: Transport, prefix: Box<[u8]>) -> (Self, TunnelIo) {
        let state = State {
            transport: Some(transport),
            prefix,
            prefix_at: 0,
            seen: Seen::default(),
            ended: false,
            released: false,
            task: None,
        };
        let state = Arc::new(Mutex::new(state));
        (Self(Arc::clone(&state)), TunnelIo(state))
    }

    pub(crate) fn begin_poll(&self) {
        let seen = &mut lock(&self.0).seen;
        *seen = Seen { dirty: seen.dirty, ..Seen::default() };
    }

    pub(crate) fn seen(&self) -> Seen {
        lock(&self.0).seen
    }

    /// Whether the client has gone.
    pub(crate) fn has_ended(&self) -> bool {
        lock(&self.0).ended
    }

    /// Ready when the other end was dropped.
    pub(crate) fn poll_released(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = lock(&self.0);
        if state.released {
            return Poll::Ready(());
        }
        state.task = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Ends both directions: whoever has the socket reads its end, and the client too.
    pub(crate) fn shut(&self) {
        if let Some(transport) = &lock(&self.0).transport {
            let _the_client_has_gone = SockRef::from(transport.socket()).shutdown(Shutdown::Both);
        }
    }

    /// The socket, once the other end was dropped.
    pub(crate) fn into_transport(self) -> Option<Transport> {
        lock(&self.0).transport.take()
    }
}

/// A panic while it was locked has left nothing half-done: there is no code of anybody else's inside.
fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    /// The socket; it is taken only after the last read and write.
    fn transport(&mut self) -> io::Result<&mut Transport> {
        self.transport.as_mut().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    fn note_written(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &written {
            Poll::Ready(Ok(_)) => self.seen.sent = true,
            Poll::Ready(Err(_)) => self.ended = true,
            Poll::Pending => {}
        }
        written
    }

    fn replay(&mut self, buf: &mut ReadBuf<'_>) {
        let unread = &self.prefix[self.prefix_at..];
        let fits = unread.len().min(buf.remaining());
        buf.put_slice(&unread[..fits]);
        self.prefix_at += fits;
        if self.prefix_at == self.prefix.len() {
            self.prefix = Box::default();
        }
    }
}

impl AsyncRead for TunnelIo {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut state = lock(&self.0);
        if !state.prefix.is_empty() {
            state.replay(buf);
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let polled = state.transport()?.poll_read(cx, buf);
        match &polled {
            Poll::Ready(Ok(())) if buf.filled().len() > before => {
                (state.seen.starved, state.seen.received) = (false, true);
            }
            Poll::Ready(Ok(()) | Err(_)) => state.ended = true,
            Poll::Pending => state.seen.starved = true,
        }
        polled
    }
}

impl AsyncWrite for TunnelIo {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = lock(&self.0);
        state.seen.dirty = true;
        let written = state.transport()?.poll_write(cx, bytes);
        state.note_written(written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut state = lock(&self.0);
        state.seen.dirty = true;
        let written = state.transport()?.poll_write_vectored(cx, parts);
        state.note_written(written)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = lock(&self.0);
        let flushed = state.transport()?.poll_flush(cx);
        state.seen.dirty &= flushed.is_pending();
        flushed
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        lock(&self.0).transport()?.poll_shutdown(cx)
    }
}

impl Drop for TunnelIo {
    fn drop(&mut self) {
        let mut state = lock(&self.0);
        state.released = true;
        if let Some(task) = state.task.take() {
            drop(state);
            task.wake();
        }
    }
}
