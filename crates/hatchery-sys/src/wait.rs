//! Reaping children.

use std::fmt;
use std::io;

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::unistd::Pid;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// By itself, with this exit code.
    Exited(i32),
    /// By a signal.
    Killed {
        /// The signal's number; real-time signals have no [`Signal`].
        signal: i32,
        /// Whether it left a core dump.
        core_dumped: bool,
    },
}

/// Reaps one child that has ended, whichever it is, without waiting.
///
/// `None` when no more have, or when there are no children. Signals coalesce,
/// so one SIGCHLD may stand for many: call it until it answers `None`.
///
/// # Errors
/// None that the kernel documents for these arguments.
pub fn reap() -> io::Result<Option<(Pid, Status)>> {
    loop {
        let mut raw = 0;
        // SAFETY: `raw` is a valid place for the status. Not nix's `waitpid`:
        // that reaps a child killed by a real-time signal and then loses its
        // pid, because the signal has no name.
        let pid = unsafe { libc::waitpid(-1, &raw mut raw, libc::WNOHANG) };
        match pid {
            0 => return Ok(None),
            -1 => match Errno::last() {
                Errno::EINTR => {}
                Errno::ECHILD => return Ok(None),
                other => return Err(other.into()),
            },
            pid => {
                if let Some(status) = status(raw) {
                    return Ok(Some((Pid::from_raw(pid), status)));
                }
                // Stopped: told to a tracer only, and no end.
            }
        }
    }
}

/// Waits for the end of one child, and reaps it. `None` if it is no child of this
/// process, or not any more.
///
/// # Errors
/// None that the kernel documents for these arguments.
pub fn reap_one(pid: Pid) -> io::Result<Option<Status>> {
    // Any other number would mean a group, or everybody.
    while pid.as_raw() > 0 {
        let mut raw = 0;
        // SAFETY: `raw` is a valid place for the status; see `reap` for why it is not nix's.
        match unsafe { libc::waitpid(pid.as_raw(), &raw mut raw, 0) } {
            -1 => match Errno::last() {
                Errno::EINTR => {}
                Errno::ECHILD => return Ok(None),
                other => return Err(other.into()),
            },
            _ => {
                if let Some(status) = status(raw) {
                    return Ok(Some(status));
                }
            }
        }
    }
    Ok(None)
}

fn status(raw: i32) -> Option<Status> {
    if libc::WIFEXITED(raw) {
        Some(Status::Exited(libc::WEXITSTATUS(raw)))
    } else if libc::WIFSIGNALED(raw) {
        Some(Status::Killed { signal: libc::WTERMSIG(raw), core_dumped: libc::WCOREDUMP(raw) })
    } else {
        None
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Exited(code) => write!(f, "exited with code {code}"),
            Self::Killed { signal, core_dumped } => {
                match Signal::try_from(signal) {
                    Ok(named) => write!(f, "was killed by {named}")?,
                    Err(_) => write!(f, "was killed by signal {signal}")?,
                }
                f.write_str(if core_dumped { " (core dumped)" } else { "" })
            }
        }
    }
}
