//! Taking turns at a stream that several processes have inherited.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use nix::sys::stat::{SFlag, fstat};

/// A process' turn at a stream; it is over when this is dropped.
///
/// The lock is `fcntl(2)`'s: it belongs to the process and to the stream itself,
/// whatever descriptors lead there, and ends with the process. The threads of a
/// process do not exclude each other.
#[derive(Debug)]
#[must_use = "the turn is over when this is dropped"]
pub struct Turn<'a>(BorrowedFd<'a>);

/// Takes the turn, without waiting: `None` if another process has it.
///
/// # Errors
/// When what the descriptor leads to knows no such locks.
pub fn try_take(stream: BorrowedFd<'_>) -> io::Result<Option<Turn<'_>>> {
    match lock(stream, libc::F_WRLCK) {
        Ok(()) => Ok(Some(Turn(stream))),
        Err(Errno::EACCES | Errno::EAGAIN) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// Whether a write of any length goes there in one piece: to a file that is
/// appended to, other than to a pipe, a socket or a terminal.
#[must_use]
pub fn is_file(stream: BorrowedFd<'_>) -> bool {
    let kind = fstat(stream).map(|status| SFlag::from_bits_truncate(status.st_mode) & SFlag::S_IFMT);
    kind == Ok(SFlag::S_IFREG)
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let _ = lock(self.0.as_fd(), libc::F_UNLCK);
    }
}

fn lock(stream: BorrowedFd<'_>, kind: libc::c_int) -> Result<(), Errno> {
    let whole = libc::flock {
        l_type: libc::c_short::try_from(kind).unwrap_or_default(),
        l_whence: libc::c_short::try_from(libc::SEEK_SET).unwrap_or_default(),
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    fcntl(stream, FcntlArg::F_SETLK(&whole)).map(drop)
}
