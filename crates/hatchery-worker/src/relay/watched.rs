//! One end of a relay, registered with the event loop.

use std::io;
use std::os::fd::AsFd;
use std::os::unix;
use std::task::{Context, Poll};

use hatchery_sys::poll;
use tokio::io::Interest;
use tokio::net::UnixDatagram;

/// A socket that the event loop watches. One task at a time can be waiting for
/// each of what it tells.
#[derive(Debug)]
pub(crate) struct Watched<T> {
    socket: T,
    watch: Watch,
}

/// Another handle on a socket, by which the event loop watches it.
///
/// It is no datagram socket, but nothing is sent or received through this handle:
/// it only tells when there may be something, or room.
#[derive(Debug)]
pub(crate) struct Watch(UnixDatagram);

impl<T: AsFd> Watched<T> {
    /// Call this inside of the runtime.
    pub(crate) fn register(socket: T) -> io::Result<Self> {
        let watch = Watch::of(&socket)?;
        Ok(Self { socket, watch })
    }

    pub(crate) fn socket(&self) -> &T {
        &self.socket
    }

    pub(crate) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.watch.0.poll_recv_ready(cx)
    }

    pub(crate) fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.watch.0.poll_send_ready(cx)
    }

    /// There was nothing: the next thing that comes is an event again.
    pub(crate) fn was_empty(&self) {
        self.watch.forget(Interest::READABLE);
    }

    /// There was no room: an event tells when there is.
    pub(crate) fn was_full(&self) {
        self.watch.forget(Interest::WRITABLE);
    }
}

impl Watch {
    /// Call this inside of the runtime.
    pub(crate) fn of(socket: &impl AsFd) -> io::Result<Self> {
        let handle = unix::net::UnixDatagram::from(socket.as_fd().try_clone_to_owned()?);
        UnixDatagram::from_std(handle).map(Self)
    }

    /// Returns when nothing can be received any more, of a socket that receives nothing but that end.
    pub(crate) async fn closed(&self) {
        while self.0.readable().await.is_ok() && !poll::is_read_closed(self.0.as_fd()) {
            self.forget(Interest::READABLE);
        }
    }

    /// What the event loop has said so far. An event that it has not looked at yet still counts.
    fn forget(&self, what: Interest) {
        let _ = self.0.try_io(what, || Err::<(), _>(io::ErrorKind::WouldBlock.into()));
    }
}
