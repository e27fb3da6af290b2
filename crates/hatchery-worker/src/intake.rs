//! One accept queue, registered with the event loop.

use std::io;
use std::net;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix;
use std::task::{Context, Poll, ready};

use hatchery_core::QueueId;
use hatchery_net::{Address, Listener, Queue};
use hatchery_sys::accept::accept;
use hatchery_sys::poll;
use nix::errno::Errno;
use tokio::io::Interest;
use tokio::net::{TcpListener, TcpStream, UnixDatagram, UnixStream};

use crate::{Peer, Stream};

/// A queue that this worker accepts from. Dropping it ends that, and nothing else.
#[derive(Debug)]
pub(crate) struct Intake {
    pub(crate) id: QueueId,
    /// The index of its listener.
    pub(crate) listener: usize,
    /// Where that listens.
    pub(crate) local: Address,
    /// Whether clients can wait there for the next start.
    pub(crate) outlives_us: bool,
    socket: Socket,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    /// Not tokio's own listener: see [`poll_accept_unix`].
    Unix(UnixDatagram),
}

/// What an error of `accept(2)` means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// This one connection was over before it was accepted.
    Passing,
    /// Descriptors or memory have run out; the queue is as full as it was.
    Shortage,
    /// The queue was shut, for everybody and for good.
    Shut,
}

impl Intake {
    /// Registers a queue. The descriptor is a duplicate, of the same queue.
    pub(crate) fn open(id: QueueId, index: usize, listener: &Listener, queue: &Queue) -> io::Result<Self> {
        let fd = queue.as_fd().try_clone_to_owned()?;
        let socket = match listener.bound() {
            Address::Tcp(_) => Socket::Tcp(TcpListener::from_std(net::TcpListener::from(fd))?),
            Address::Unix(_) => Socket::Unix(UnixDatagram::from_std(unix::net::UnixDatagram::from(fd))?),
        };
        Ok(Self {
            id,
            listener: index,
            local: listener.bound().clone(),
            outlives_us: listener.holder().outlives_us(),
            socket,
        })
    }

    /// Accepts a connection, if the event loop has been told that there is one.
    ///
    /// One system call, `accept4` with both flags, and the registration: no
    /// `fcntl`, no `setsockopt`. The stream counts as readable at once, since the
    /// client has usually spoken already: its first read does not wait for an event.
    pub(crate) fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Stream, Peer)>> {
        match &self.socket {
            Socket::Tcp(socket) => {
                socket.poll_accept(cx).map_ok(|(stream, peer)| (Stream::Tcp(stream), Peer::Tcp(peer)))
            }
            Socket::Unix(socket) => poll_accept_unix(socket, cx).map_ok(|stream| (stream, Peer::Unix)),
        }
    }

    /// Whether the queue was shut, asked of the kernel.
    pub(crate) fn is_shut(&self) -> bool {
        poll::is_read_closed(self.as_fd())
    }

    /// Accepts a connection past the event loop, which may not have heard of it yet.
    ///
    /// Its registration keeps what it knows: for a connection that comes after
    /// this has found nothing, the kernel makes a new event.
    ///
    /// # Errors
    /// `WouldBlock` when the queue is empty.
    pub(crate) fn accept_now(&self) -> io::Result<(Stream, Peer)> {
        let (fd, peer) = accept(self.as_fd())?;
        match (&self.socket, peer) {
            (Socket::Tcp(_), Some(peer)) => {
                Ok((Stream::Tcp(TcpStream::from_std(net::TcpStream::from(fd))?), Peer::Tcp(peer)))
            }
            // A TCP client without an address was gone before it was accepted.
            (Socket::Tcp(_), None) => Err(Errno::ECONNABORTED.into()),
            (Socket::Unix(_), _) => Ok((unix_stream(fd)?, Peer::Unix)),
        }
    }
}

/// A unix listener that was shut goes on answering `EAGAIN`, where a TCP listener
/// says `EINVAL`, and stays readable for ever: taken at its word, as tokio's own
/// listener does, that is a loop without an end. So the second `EAGAIN` in a row
/// is asked about. It is no datagram socket, but nothing is received through it:
/// it only tells when there is something.
fn poll_accept_unix(socket: &UnixDatagram, cx: &mut Context<'_>) -> Poll<io::Result<Stream>> {
    let mut empty_before = false;
    loop {
        ready!(socket.poll_recv_ready(cx))?;
        match socket.try_io(Interest::READABLE, || accept(socket.as_fd())) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if empty_before && poll::is_read_closed(socket.as_fd()) {
                    return Poll::Ready(Err(Errno::EINVAL.into()));
                }
                empty_before = true;
            }
            Err(error) => return Poll::Ready(Err(error)),
            Ok((fd, _)) => return Poll::Ready(unix_stream(fd)),
        }
    }
}

fn unix_stream(fd: OwnedFd) -> io::Result<Stream> {
    UnixStream::from_std(unix::net::UnixStream::from(fd)).map(Stream::Unix)
}

impl AsFd for Intake {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.socket {
            Socket::Tcp(socket) => socket.as_fd(),
            Socket::Unix(socket) => socket.as_fd(),
        }
    }
}

impl Trouble {
    /// Everything that is not known better is a shortage: trying again later is never wrong.
    pub(crate) fn of(error: &io::Error) -> Self {
        match error.raw_os_error().map(Errno::from_raw) {
            // accept(2) also returns errors that were pending on the new connection.
            Some(
                Errno::ECONNABORTED
                | Errno::ECONNRESET
                | Errno::EINTR
                | Errno::EPERM
                | Errno::EPROTO
                | Errno::ENOPROTOOPT
                | Errno::ENETDOWN
                | Errno::ENETUNREACH
                | Errno::EHOSTDOWN
                | Errno::EHOSTUNREACH
                | Errno::ETIMEDOUT,
            ) => Self::Passing,
            Some(Errno::EINVAL | Errno::EBADF | Errno::ENOTSOCK) => Self::Shut,
            Some(_) | None => Self::Shortage,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_one_connection_are_told_from_those_of_the_queue() {
        let trouble = |errno: Errno| Trouble::of(&errno.into());
        assert_eq!(trouble(Errno::ECONNABORTED), Trouble::Passing);
        assert_eq!(trouble(Errno::EINVAL), Trouble::Shut);
        for errno in [Errno::EMFILE, Errno::ENFILE, Errno::ENOBUFS, Errno::ENOMEM, Errno::ENOSPC, Errno::EOPNOTSUPP] {
            assert_eq!(trouble(errno), Trouble::Shortage);
        }
    }
}
