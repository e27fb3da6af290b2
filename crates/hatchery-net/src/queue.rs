//! One accept queue.

use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use socket2::{SockAddr, SockRef, Socket, Type};

use crate::Address;

/// A listening socket: the kernel's queue of connections that wait for `accept`.
#[derive(Debug)]
pub struct Queue(OwnedFd);

impl Queue {
    pub(crate) fn new(socket: Socket) -> Self {
        Self(socket.into())
    }

    /// Takes a descriptor that was handed over, if it is a listening stream
    /// socket, bound to `address`; non-blocking and close-on-exec from then on.
    ///
    /// Service managers pass sockets that block, and one that blocks would stop
    /// a worker's loop. The flag belongs to the socket, not to the descriptor:
    /// it changes for every process that has it.
    pub(crate) fn adopt(fd: OwnedFd, address: &Address) -> Result<Self, String> {
        let socket = Socket::from(fd);
        let wrong = |error: io::Error| match error.raw_os_error() {
            Some(libc_enotsock) if libc_enotsock == ENOTSOCK => "it is not a socket".to_owned(),
            _ => error.to_string(),
        };
        if socket.r#type().map_err(wrong)? != Type::STREAM {
            return Err("it is not a stream socket".to_owned());
        }
        if !is_listening(&socket).map_err(wrong)? {
            return Err("it does not listen".to_owned());
        }
        let bound = socket.local_addr().map_err(wrong)?;
        if !is_at(&bound, address) {
            return Err(format!("it is bound to {}", describe(&bound)));
        }
        socket.set_nonblocking(true).map_err(wrong)?;
        socket.set_cloexec(true).map_err(wrong)?;
        Ok(Self::new(socket))
    }

    /// Another handle on the same queue.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub fn try_clone(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }

    /// Ends the queue for every process that holds a copy of it: whoever waits in
    /// it is reset, new clients are refused, and the address is free again.
    ///
    /// The tool of the final stop, and never while somebody else is to serve it.
    pub fn shut(&self) {
        // The only error is that it was done before.
        let _ = SockRef::from(&self.0).shutdown(Shutdown::Read);
    }
}

#[cfg(target_os = "linux")]
fn is_listening(socket: &Socket) -> io::Result<bool> {
    socket.is_listener()
}

#[cfg(not(target_os = "linux"))]
fn is_listening(_: &Socket) -> io::Result<bool> {
    Ok(true)
}

const ENOTSOCK: i32 = 88;

fn is_at(bound: &SockAddr, address: &Address) -> bool {
    match address {
        Address::Tcp(address) => bound.as_socket() == Some(*address),
        Address::Unix(path) => bound.as_pathname() == Some(path),
    }
}

fn describe(bound: &SockAddr) -> String {
    match (bound.as_socket(), bound.as_pathname()) {
        (Some(address), _) => address.to_string(),
        (None, Some(path)) => format!("unix:{}", path.display()),
        (None, None) => "another kind of address".to_owned(),
    }
}

impl AsFd for Queue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Queue {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}
