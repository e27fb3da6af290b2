//! What a descriptor that came from elsewhere is.
//!
//! # Safety
//! Unsafe where a signal handler asks by a bare number, and nix would want more.

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use nix::sys::socket::sockopt::{AcceptConn, SockType};
use nix::sys::socket::{AddressFamily, SockType as Type, SockaddrLike, SockaddrStorage, getsockname, getsockopt};

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
