//! What a descriptor that came from elsewhere is.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::sys::socket::sockopt::{AcceptConn, SockType};
use nix::sys::socket::{AddressFamily, SockType as Type, SockaddrLike, SockaddrStorage, getsockname, getsockopt};

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
