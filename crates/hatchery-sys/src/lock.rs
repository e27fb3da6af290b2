//! Locks on files.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use nix::errno::Errno;

/// Takes the exclusive lock on a file, without waiting: `false` if another one holds it.
///
/// It is `flock(2)`'s: it belongs to the open file, hence to every process that
/// has inherited the descriptor, and ends when the last of them has closed it.
///
/// # Errors
/// When the file system does not know locks.
pub fn try_lock(file: &File) -> io::Result<bool> {
    flock(file, libc::LOCK_EX)
}

/// Looks whether nobody holds the exclusive lock on a file, by a shared one: those
/// who only look do not take each other for a holder.
///
/// The shared lock ends with the open file.
///
/// # Errors
/// When the file system does not know locks.
pub fn is_free(file: &File) -> io::Result<bool> {
    flock(file, libc::LOCK_SH)
}

fn flock(file: &File, kind: libc::c_int) -> io::Result<bool> {
    loop {
        // SAFETY: the descriptor is open, `file` holds it.
        if unsafe { libc::flock(file.as_raw_fd(), kind | libc::LOCK_NB) } == 0 {
            return Ok(true);
        }
        match Errno::last() {
            Errno::EINTR => {}
            Errno::EWOULDBLOCK => return Ok(false),
            other => return Err(other.into()),
        }
    }
}
