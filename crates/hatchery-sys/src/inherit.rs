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
/// Each number may be taken over once, early, and only if it was named by
/// whoever started this program: a number that some other part of this program
/// has opened and owns would be closed twice.
///
/// # Errors
/// `EBADF` if no such descriptor is open.
pub fn adopt(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: F_GETFD on any number reads a flag, or fails with EBADF.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
    if flags == -1 {
        return Err(Errno::last().into());
    }
    // SAFETY: it is open, and only this flag changes.
    if unsafe { libc::fcntl(fd, libc::F_SETFD, flags | libc::FD_CLOEXEC) } == -1 {
        return Err(Errno::last().into());
    }
    // SAFETY: it is open, and nobody else owns it: the caller names what was
    // inherited by exec, which no part of this program has opened.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
