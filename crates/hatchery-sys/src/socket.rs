//! What a descriptor that came from elsewhere is.
//!
//! # Safety
//! Unsafe where a signal handler asks by a bare number, and nix would want more.

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use nix::sys::socket::sockopt::{AcceptConn, SockType};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockType as Type, SockaddrLike, SockaddrStorage, getsockname, getsockopt,
};

use crate::accept;

/// The kinds of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Over TCP, of either family.
    Tcp,
    /// Over a unix socket.
    Unix,
}

/// The kind of connection that a descriptor is. The client may be gone already.
///
/// # Errors
/// When it is no socket, one that listens, or one for something else.
pub fn kind(fd: BorrowedFd<'_>) -> io::Result<Kind> {
    let other = || io::Error::new(io::ErrorKind::InvalidInput, "not a connection");
    if getsockopt(&fd, SockType)? != Type::Stream || getsockopt(&fd, AcceptConn)? {
        return Err(other());
    }
    let name: SockaddrStorage = getsockname(fd.as_raw_fd())?;
    match name.family() {
        Some(AddressFamily::Inet | AddressFamily::Inet6) => Ok(Kind::Tcp),
        Some(AddressFamily::Unix) => Ok(Kind::Unix),
        _ => Err(other()),
    }
}

/// Who is at the other end of a unix socket, as it was when the connection was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Credentials {
    /// The process; of a listener's other end, the one that had begun to listen.
    pub pid: i32,
    /// Its effective user.
    pub uid: u32,
}

/// Who is at the other end of a unix socket: see `SO_PEERCRED` in `unix(7)`.
///
/// # Errors
/// When it is no such socket, or the system does not tell.
#[cfg(target_os = "linux")]
pub fn credentials(fd: BorrowedFd<'_>) -> io::Result<Credentials> {
    let told = getsockopt(&fd, nix::sys::socket::sockopt::PeerCredentials)?;
    Ok(Credentials { pid: told.pid(), uid: told.uid() })
}

/// Who is at the other end of a unix socket: not to be had here.
///
/// # Errors
/// Always.
#[cfg(not(target_os = "linux"))]
pub fn credentials(_fd: BorrowedFd<'_>) -> io::Result<Credentials> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Writes what the other end takes at this moment, and is not ended by one that is gone.
///
/// # Errors
/// `WouldBlock` when it takes nothing, `BrokenPipe` when nobody is there.
pub fn send(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    Ok(nix::sys::socket::send(fd.as_raw_fd(), bytes, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL)?)
}

/// How full the accept queue of a TCP listener is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AcceptQueue {
    /// Connections that wait to be accepted.
    pub queued: u32,
    /// How many may wait.
    pub backlog: u32,
}

/// How full an accept queue is: of a listener `tcpi_unacked` and `tcpi_sacked` of
/// `TCP_INFO` say so, see `tcp(7)`. `None` for other sockets, and where the kernel does not tell.
#[must_use]
pub fn accept_queue(fd: BorrowedFd<'_>) -> Option<AcceptQueue> {
    /// `TCP_LISTEN` of the kernel.
    const LISTENS: u8 = 10;
    // Eight bytes, six words: only the beginning is asked for, which no kernel moves.
    let mut info = [0_u32; 8];
    let mut len = size_of_val(&info) as libc::socklen_t;
    #[cfg(target_os = "linux")]
    let option = libc::TCP_INFO;
    #[cfg(not(target_os = "linux"))]
    let option = -1;
    // SAFETY: the kernel writes at most `len` bytes to an array of that size.
    let told =
        unsafe { libc::getsockopt(fd.as_raw_fd(), libc::IPPROTO_TCP, option, info.as_mut_ptr().cast(), &raw mut len) };
    let is_whole = told == 0 && len as usize == size_of_val(&info) && info[0].to_ne_bytes()[0] == LISTENS;
    is_whole.then(|| AcceptQueue { queued: info[6], backlog: info[7] })
}

/// The other end of a TCP connection, by nothing but a system call: a signal
/// handler may ask, with a number that another part of the program has noted.
///
/// `None` when the number is no connection, or one of another kind, or one that is over.
#[must_use]
pub fn peer(fd: RawFd) -> Option<SocketAddr> {
    let mut address = MaybeUninit::<libc::sockaddr_storage>::zeroed();
    let mut len = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes to an address of that size,
    // and takes any number for a descriptor.
    if unsafe { libc::getpeername(fd, address.as_mut_ptr().cast(), &raw mut len) } != 0 {
        return None;
    }
    // SAFETY: zeroed is a valid value, and the kernel has written over it.
    accept::peer(&unsafe { address.assume_init() })
}
