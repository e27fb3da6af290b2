//! `accept4(2)`: one call that takes a connection, with its peer, as it is needed.
//!
//! # Safety
//! Unsafe because std's and socket2's `accept` need a second call to make the
//! socket non-blocking, and nix's does not tell the peer.

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;

/// Takes the first connection of a listening socket's queue, non-blocking and
/// close-on-exec. The peer is `None` for a unix socket, whose clients have no name.
///
/// # Errors
/// `WouldBlock` when the queue is empty; EMFILE, ENFILE, ENOBUFS, ENOMEM; what the
/// network says of a connection that broke while it waited; EINVAL when the queue was shut.
pub fn accept(queue: BorrowedFd<'_>) -> io::Result<(OwnedFd, Option<SocketAddr>)> {
    let mut address = MaybeUninit::<libc::sockaddr_storage>::zeroed();
    let mut len = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    loop {
        // SAFETY: the kernel writes at most `len` bytes to an address of that size.
        let fd = unsafe { libc::accept4(queue.as_raw_fd(), address.as_mut_ptr().cast(), &raw mut len, flags) };
        match Errno::result(fd) {
            Ok(fd) => {
                // SAFETY: a descriptor that the kernel made just now for this process.
                let fd = unsafe { OwnedFd::from_raw_fd(fd) };
                // SAFETY: zeroed is a valid value, and the kernel has written over it.
                return Ok((fd, peer(&unsafe { address.assume_init() })));
            }
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// The address in a storage that is zero or that the kernel has filled; `None` for another family.
pub(crate) fn peer(address: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match i32::from(address.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says which of the structs this storage holds; it is aligned for all of them.
            let v4 = unsafe { &*(&raw const *address).cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
            Some(SocketAddrV4::new(ip, u16::from_be(v4.sin_port)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let v6 = unsafe { &*(&raw const *address).cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            let port = u16::from_be(v6.sin6_port);
            Some(SocketAddrV6::new(ip, port, u32::from_be(v6.sin6_flowinfo), v6.sin6_scope_id).into())
        }
        _ => None,
    }
}
