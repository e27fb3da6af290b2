//! Waiting for descriptors.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Waits until one of `fds` can be read, or has been hung up, or `timeout` is over.
///
/// The answer has one flag a descriptor. Without a timeout it waits for as long
/// as it takes. A signal ends the wait early, with all flags unset.
///
/// # Errors
/// When the kernel has no memory left.
pub fn readable(fds: &[BorrowedFd<'_>], timeout: Option<Duration>) -> io::Result<Vec<bool>> {
    // Every flag that the kernel may set means that a read will not block: data, end, error.
    let fds: Vec<_> = fds.iter().map(|fd| (*fd, Interest::Read)).collect();
    ready(&fds, timeout)
}

/// What a descriptor is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Interest {
    /// Something to be read, or the end.
    Read,
    /// Room for what is written.
    Write,
    /// Nothing but the end of it, from both sides.
    End,
}

/// Waits as [`readable`] does, for each descriptor's own event.
///
/// # Errors
/// When the kernel has no memory left.
pub fn ready(fds: &[(BorrowedFd<'_>, Interest)], timeout: Option<Duration>) -> io::Result<Vec<bool>> {
    let flags = |interest| match interest {
        Interest::Read => PollFlags::POLLIN,
        Interest::Write => PollFlags::POLLOUT,
        // An error and a hang-up are told without being asked for.
        Interest::End => PollFlags::empty(),
    };
    let mut polled: Vec<PollFd<'_>> = fds.iter().map(|(fd, interest)| PollFd::new(*fd, flags(*interest))).collect();
    match poll(&mut polled, timeout.map_or(PollTimeout::NONE, millis)) {
        Ok(_) => Ok(polled.iter().map(|fd| fd.revents().is_none_or(|flags| !flags.is_empty())).collect()),
        Err(Errno::EINTR) => Ok(vec![false; fds.len()]),
        Err(errno) => Err(errno.into()),
    }
}

/// Whether `fd` takes something now, or before `timeout` is over. Of a pipe that is as
/// much as a page; a file always does.
#[must_use]
pub fn is_writable(fd: BorrowedFd<'_>, timeout: Duration) -> bool {
    let mut polled = [PollFd::new(fd, PollFlags::POLLOUT)];
    let ready = match poll(&mut polled, millis(timeout)) {
        Err(Errno::EINTR) => poll(&mut polled, PollTimeout::ZERO),
        other => other,
    };
    // What cannot be asked about is written to, and says itself what is wrong.
    ready.map_or(true, |ready| ready > 0)
}

/// Whether nothing can ever arrive at a socket again, which the queue of a unix
/// listener that was shut tells in no other way. Never waits.
#[must_use]
pub fn is_read_closed(fd: BorrowedFd<'_>) -> bool {
    let mut polled = [PollFd::new(fd, READ_CLOSED)];
    let answer = poll(&mut polled, PollTimeout::ZERO);
    // `None` stands for flags that nix has no name for, as this one.
    answer.is_ok() && polled[0].revents().is_none_or(|flags| flags.intersects(READ_CLOSED | PollFlags::POLLHUP))
}

#[cfg(target_os = "linux")]
const READ_CLOSED: PollFlags = PollFlags::from_bits_retain(libc::POLLRDHUP);
#[cfg(not(target_os = "linux"))]
const READ_CLOSED: PollFlags = PollFlags::POLLHUP;

/// Rounded up: a wait that ends before its deadline would be begun again, and
/// spin through the last millisecond.
fn millis(timeout: Duration) -> PollTimeout {
    let millis = timeout.as_nanos().div_ceil(1_000_000);
    i32::try_from(millis).ok().and_then(|millis| PollTimeout::try_from(millis).ok()).unwrap_or(PollTimeout::MAX)
}
