//! Another process that is no child, held so that its number cannot come to mean a stranger.
//!
//! # Safety
//!
//! The kernel's calls for this (`pidfd_open(2)`, `pidfd_send_signal(2)`) have no
//! functions in every C library, so they are made by number.

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use nix::errno::Errno;

use crate::{Pid, Signal, poll};

/// A process that lives, or has lived when it was asked for.
///
/// Where the kernel has no descriptors for processes (before Linux 5.3, or in a
/// container that forbids them) it is the bare number.
#[derive(Debug)]
pub struct Peer {
    pid: Pid,
    fd: Option<OwnedFd>,
}

impl Peer {
    /// Takes hold of the process that has this number now.
    #[must_use]
    pub fn of(pid: Pid) -> Self {
        Self { pid, fd: open(pid).ok() }
    }

    /// Its number.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Whether it has ended, reaped or not.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        match &self.fd {
            // It can be read once the process has ended.
            Some(fd) => poll::readable(&[fd.as_fd()], Some(Duration::ZERO)).is_ok_and(|ended| ended == [true]),
            None => nix::sys::signal::kill(self.pid, None) == Err(Errno::ESRCH),
        }
    }

    /// A copy of one of its descriptors: see `pidfd_getfd(2)`.
    ///
    /// # Errors
    /// `EPERM` if this process may not look into that one, `EBADF` if it has no such
    /// descriptor (any more), `ENOSYS` where the kernel does not know the call.
    pub fn copy_of(&self, descriptor: RawFd) -> io::Result<OwnedFd> {
        let fd = self.fd.as_ref().ok_or(io::ErrorKind::Unsupported)?;
        copy(fd.as_raw_fd(), descriptor)
    }

    /// Passes a signal on to it, marked as one that was passed on: see
    /// [`Sender::Relay`](crate::signals::Sender::Relay).
    ///
    /// # Errors
    /// `ESRCH` if it is gone, `EPERM` if it belongs to somebody else.
    pub fn pass_on(&self, signal: Signal) -> io::Result<()> {
        if self.pid.as_raw() <= 0 {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        let Some(fd) = &self.fd else { return queue(self.pid, signal) };
        match send(fd.as_raw_fd(), signal) {
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Err(error),
            // It is there, but a filter forbids this call, or the kernel does not know it.
            Err(_) => queue(self.pid, signal),
            Ok(()) => Ok(()),
        }
    }
}

#[cfg(target_os = "linux")]
fn open(pid: Pid) -> io::Result<OwnedFd> {
    // SAFETY: it takes two integers; the descriptor is closed by an exec.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) };
    let fd = RawFd::try_from(Errno::result(fd)?).map_err(io::Error::other)?;
    // SAFETY: the kernel made it just now for this process.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[cfg(not(target_os = "linux"))]
fn open(_pid: Pid) -> io::Result<OwnedFd> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(target_os = "linux")]
fn copy(process: RawFd, descriptor: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: it takes integers; the copy is closed by an exec.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_getfd, process, descriptor, 0) };
    let fd = RawFd::try_from(Errno::result(fd)?).map_err(io::Error::other)?;
    // SAFETY: the kernel made it just now for this process.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[cfg(not(target_os = "linux"))]
fn copy(_process: RawFd, _descriptor: RawFd) -> io::Result<OwnedFd> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(target_os = "linux")]
fn send(fd: RawFd, signal: Signal) -> io::Result<()> {
    // SAFETY: all fields are integers and pointers, for which zero is a value.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    info.si_signo = signal as i32;
    info.si_code = libc::SI_QUEUE;
    // SAFETY: `info` is whole, and names the same signal, as the kernel demands.
    let sent = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, signal as i32, &raw const info, 0) };
    Errno::result(sent)?;
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn send(_fd: RawFd, _signal: Signal) -> io::Result<()> {
    Err(io::Error::from_raw_os_error(libc::ENOSYS))
}

/// By number, with the same mark.
#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd", target_os = "netbsd"))]
fn queue(pid: Pid, signal: Signal) -> io::Result<()> {
    let nothing = libc::sigval { sival_ptr: std::ptr::null_mut() };
    // SAFETY: it takes numbers; the value is not followed by anybody.
    Errno::result(unsafe { libc::sigqueue(pid.as_raw(), signal as i32, nothing) })?;
    Ok(())
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd", target_os = "netbsd")))]
fn queue(pid: Pid, signal: Signal) -> io::Result<()> {
    crate::process::kill(pid, signal)
}
