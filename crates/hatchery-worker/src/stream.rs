//! A connection's socket, whichever kind it is.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll};

use nix::sys::socket::{MsgFlags, recv};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// A connected socket.
///
/// TCP sockets have `TCP_NODELAY` set, which they inherit from their listener.
///
/// ```
/// use hatchery_worker::Stream;
/// use tokio::io::AsyncWriteExt;
///
/// async fn greet(mut stream: Stream) -> std::io::Result<()> {
///     stream.write_all(b"hello\n").await
/// }
/// # let _ = greet;
/// ```
#[derive(Debug)]
pub enum Stream {
    /// Over TCP.
    Tcp(TcpStream),
    /// Over a unix socket.
    Unix(UnixStream),
}

/// Who is at the other end.
///
/// ```
/// use std::net::SocketAddr;
///
/// use hatchery_worker::Peer;
///
/// fn may_administrate(peer: Peer) -> bool {
///     match peer {
///         Peer::Tcp(address) => address.ip().is_loopback(),
///         Peer::Unix => true,
///     }
/// }
/// assert!(may_administrate(Peer::Unix));
/// assert!(!may_administrate(Peer::Tcp(SocketAddr::from(([192, 0, 2, 1], 50_000)))));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Peer {
    /// A TCP client, by its address.
    Tcp(SocketAddr),
    /// A client of a unix socket: those have no address.
    Unix,
}

/// Calls the same method on whichever socket it is.
macro_rules! either {
    ($stream:expr, $socket:ident => $call:expr) => {
        match $stream {
            Stream::Tcp($socket) => $call,
            Stream::Unix($socket) => $call,
        }
    };
}

impl Stream {
    /// Waits until there may be something to read, or the client is gone.
    ///
    /// # Errors
    /// When the event loop ends.
    ///
    /// # Cancel safety
    /// Nothing is lost if the future is dropped.
    ///
    /// # Example
    /// ```no_run
    /// use hatchery_worker::Stream;
    /// use tokio::io::AsyncReadExt;
    ///
    /// async fn next(stream: &mut Stream) -> std::io::Result<Vec<u8>> {
    ///     stream.readable().await?;
    ///     // Only now: a client that is silent needs no memory.
    ///     let mut buffer = vec![0; 4096];
    ///     let read = stream.read(&mut buffer).await?;
    ///     buffer.truncate(read);
    ///     Ok(buffer)
    /// }
    /// # let _ = next;
    /// ```
    pub async fn readable(&self) -> io::Result<()> {
        either!(self, socket => socket.readable().await)
    }

    /// Waits until there may be room to write.
    ///
    /// # Errors
    /// When the event loop ends.
    ///
    /// # Cancel safety
    /// Nothing is lost if the future is dropped.
    ///
    /// # Example
    /// ```no_run
    /// use std::cell::Cell;
    ///
    /// use hatchery_worker::Stream;
    ///
    /// async fn send(stream: &Stream, latest: &Cell<u8>) -> std::io::Result<usize> {
    ///     stream.writable().await?;
    ///     // Chosen when there is room for it: a slow client misses values and gets no old ones.
    ///     stream.try_write(&[latest.get()])
    /// }
    /// # let _ = send;
    /// ```
    pub async fn writable(&self) -> io::Result<()> {
        either!(self, socket => socket.writable().await)
    }

    /// Polls for something to read. Only the task that polled last is woken.
    ///
    /// ```no_run
    /// use std::io;
    /// use std::task::{Context, Poll};
    ///
    /// use hatchery_worker::Stream;
    ///
    /// fn poll_either(one: &Stream, other: &Stream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
    ///     match one.poll_read_ready(cx) {
    ///         Poll::Ready(ready) => Poll::Ready(ready),
    ///         Poll::Pending => other.poll_read_ready(cx),
    ///     }
    /// }
    /// # let _ = poll_either;
    /// ```
    pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, socket => socket.poll_read_ready(cx))
    }

    /// Polls for room to write. Only the task that polled last is woken.
    ///
    /// ```no_run
    /// use std::io;
    /// use std::task::{Context, Poll, ready};
    ///
    /// use hatchery_worker::Stream;
    ///
    /// fn poll_send(stream: &Stream, bytes: &[u8], cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
    ///     loop {
    ///         ready!(stream.poll_write_ready(cx))?;
    ///         match stream.try_write(bytes) {
    ///             Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
    ///             sent => return Poll::Ready(sent),
    ///         }
    ///     }
    /// }
    /// # let _ = poll_send;
    /// ```
    pub fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, socket => socket.poll_write_ready(cx))
    }

    /// Reads what is there, without waiting.
    ///
    /// # Errors
    /// `WouldBlock` when there is nothing, else those of `recv(2)`.
    ///
    /// # Example
    /// ```no_run
    /// use std::io;
    ///
    /// use hatchery_worker::Stream;
    ///
    /// /// Whether the client has sent the next request already, or has ended.
    /// fn more(stream: &Stream, buffer: &mut [u8]) -> io::Result<Option<usize>> {
    ///     match stream.try_read(buffer) {
    ///         Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
    ///         read => read.map(Some),
    ///     }
    /// }
    /// # let _ = more;
    /// ```
    pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        either!(self, socket => socket.try_read(buffer))
    }

    /// Writes what fits, without waiting.
    ///
    /// # Errors
    /// `WouldBlock` when nothing fits, else those of `send(2)`.
    ///
    /// # Example
    /// ```no_run
    /// use hatchery_worker::Stream;
    ///
    /// fn turn_away(stream: Stream) {
    ///     // A last word that nobody waits for: it fits, or it is left unsaid.
    ///     let _unsaid = stream.try_write(b"busy\n");
    /// }
    /// # let _ = turn_away;
    /// ```
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        either!(self, socket => socket.try_write(bytes))
    }

    /// Like [`try_write`](Self::try_write), from several buffers at once.
    ///
    /// # Errors
    /// `WouldBlock` when nothing fits, else those of `send(2)`.
    ///
    /// # Example
    /// ```no_run
    /// use std::io::{self, IoSlice};
    ///
    /// use hatchery_worker::Stream;
    ///
    /// fn send(stream: &Stream, head: &[u8], body: &[u8]) -> io::Result<usize> {
    ///     // One system call, and no copy to join them.
    ///     stream.try_write_vectored(&[IoSlice::new(head), IoSlice::new(body)])
    /// }
    /// # let _ = send;
    /// ```
    pub fn try_write_vectored(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        either!(self, socket => socket.try_write_vectored(parts))
    }

    /// Waits for bytes and copies them without taking them; 0 when the client has ended.
    ///
    /// # Errors
    /// Those of `recv(2)`.
    ///
    /// # Cancel safety
    /// Nothing is lost if the future is dropped.
    ///
    /// # Example
    /// ```no_run
    /// use hatchery_worker::Stream;
    ///
    /// /// Whether a client begins with a TLS handshake, which is still there to be read.
    /// async fn speaks_tls(stream: &Stream) -> std::io::Result<bool> {
    ///     let mut first = [0];
    ///     Ok(stream.peek(&mut first).await? == 1 && first == [0x16])
    /// }
    /// # let _ = speaks_tls;
    /// ```
    pub async fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let fd = self.as_fd().as_raw_fd();
        let look = || recv(fd, buffer, MsgFlags::MSG_PEEK).map_err(io::Error::from);
        either!(self, socket => socket.async_io(Interest::READABLE, look).await)
    }

    /// The address that a TCP client has connected to.
    pub(crate) fn local_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(socket) => socket.local_addr().ok(),
            Self::Unix(_) => None,
        }
    }

    /// Takes the socket out of the event loop; it stays non-blocking.
    ///
    /// # Errors
    /// When the event loop does not let go of it.
    ///
    /// # Example
    /// ```no_run
    /// use std::net::TcpStream;
    ///
    /// use hatchery_worker::Stream;
    ///
    /// /// A TCP client, for a library that blocks, on a thread of its own.
    /// fn blocking(stream: Stream) -> std::io::Result<TcpStream> {
    ///     let socket = TcpStream::from(stream.into_std()?);
    ///     socket.set_nonblocking(false)?;
    ///     Ok(socket)
    /// }
    /// # let _ = blocking;
    /// ```
    pub fn into_std(self) -> io::Result<OwnedFd> {
        either!(self, socket => socket.into_std().map(OwnedFd::from))
    }
}

impl Peer {
    pub(crate) fn address(self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(address),
            Self::Unix => None,
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        either!(self, socket => socket.as_fd())
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        either!(self.get_mut(), socket => Pin::new(socket).poll_read(cx, buffer))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        either!(self.get_mut(), socket => Pin::new(socket).poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self.get_mut(), socket => Pin::new(socket).poll_write_vectored(cx, parts))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self.get_mut(), socket => Pin::new(socket).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self.get_mut(), socket => Pin::new(socket).poll_shutdown(cx))
    }
}
