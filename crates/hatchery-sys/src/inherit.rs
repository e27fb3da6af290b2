//! Descriptors that were open when this program started.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;

/// Closes a descriptor if it was left open by the program which started this
/// one, and nobody has taken it over: that alone has no close-on-exec flag, since
/// [`adopt`] sets it, and so does everything in Rust that opens something.
pub fn close_stray(fd: RawFd) {
    // SAFETY: F_GETFD on any number reads a flag, or fails with EBADF.
    if unsafe { libc::fcntl(fd, libc::F_GETFD) } == 0 {
        // SAFETY: it is open and, by its flag, nobody's in this program.
        drop(unsafe { OwnedFd::from_raw_fd(fd) });
    }
}

/// Takes over a descriptor that the program which started this one has left
/// open, and marks it so that no further exec inherits it.
///
/// What has the mark already cannot have come through an exec: it belongs to
/// some part of this program, or was taken over before, and would be closed twice.
///
/// # Errors
/// `EBADF` if no such descriptor is open, [`io::ErrorKind::InvalidInput`] if it
/// was not inherited.
pub fn adopt(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: F_GETFD on any number reads a flag, or fails with EBADF.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
    if flags == -1 {
        return Err(Errno::last().into());
    }
    if flags & libc::FD_CLOEXEC != 0 {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not inherited, or taken over before"));
    }
    // SAFETY: it is open, and only this flag changes.
    if unsafe { libc::fcntl(fd, libc::F_SETFD, flags | libc::FD_CLOEXEC) } == -1 {
        return Err(Errno::last().into());
    }
    // SAFETY: it is open, and by its flag nobody in this program owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
