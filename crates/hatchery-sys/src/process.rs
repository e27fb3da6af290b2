//! This process, and signals to others.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::{self, Signal};
use nix::sys::stat::{self, Mode};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{self, Pid};

use crate::signals::dispose;

/// The pid of this process.
#[must_use]
pub fn pid() -> Pid {
    unistd::getpid()
}

/// The pid of this process' parent: another one as soon as the parent has died.
#[must_use]
pub fn parent() -> Pid {
    unistd::getppid()
}

/// The system's monotonic clock, as `CLOCK_MONOTONIC` of `clock_gettime(2)` has it; zero if
/// there is none.
#[must_use]
pub fn monotonic() -> Duration {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Into::into)
}

/// Sends a signal to one process.
///
/// A pid stays taken until its process has been reaped, so a signal to a child
/// that has not been reaped never reaches a stranger.
///
/// # Errors
/// `ESRCH` if there is no such process, `EPERM` if it belongs to somebody else.
/// `EINVAL` for a pid that is not positive: `kill(2)` would mean a group, or everybody.
pub fn kill(pid: Pid, signal: Signal) -> io::Result<()> {
    if pid.as_raw() <= 0 {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    Ok(signal::kill(pid, signal)?)
}

/// Ends this process at once: no destructor runs, nothing is flushed.
///
/// This is how a forked child ends, since what its parent would do at exit is
/// the parent's to do.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: `_exit` has no precondition.
    unsafe { libc::_exit(code) }
}

/// Asks the kernel to send `signal` to this process when its parent dies.
///
/// The parent may have died just before: compare [`parent`] with the pid that
/// it should be *afterwards*. The setting survives exec and is cleared by
/// `setuid`. A no-op where it is not to be had, that is outside of Linux.
///
/// # Errors
/// None that the kernel documents for a valid signal.
pub fn die_with_parent(signal: Signal) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    nix::sys::prctl::set_pdeathsig(signal)?;
    #[cfg(not(target_os = "linux"))]
    let _ = signal;
    Ok(())
}

/// Makes the orphans among this process' descendants its children, as they are
/// those of pid 1 otherwise. A no-op where that is not to be had, outside of Linux.
///
/// It survives exec, and no fork.
///
/// # Errors
/// None that the kernel documents.
pub fn adopt_orphans() -> io::Result<()> {
    #[cfg(target_os = "linux")]
    nix::sys::prctl::set_child_subreaper(true)?;
    Ok(())
}

/// From now on neither this process nor a program that it becomes or starts gains
/// a privilege by an exec, as by a set-user-ID bit. There is no way back.
///
/// # Errors
/// Where it is not to be had, that is outside of Linux.
pub fn gain_no_privileges() -> io::Result<()> {
    #[cfg(target_os = "linux")]
    return Ok(nix::sys::prctl::set_no_new_privs()?);
    #[cfg(not(target_os = "linux"))]
    Err(io::ErrorKind::Unsupported.into())
}

/// Makes this process the leader of a new session and a new process group, without a terminal.
///
/// # Errors
/// `EPERM` if it leads a process group already: a child that was forked just now does not.
pub fn lead_session() -> io::Result<()> {
    unistd::setsid()?;
    Ok(())
}

/// Whether this process leads its session: the hang-up of a terminal is told to it alone.
#[must_use]
pub fn leads_session() -> bool {
    unistd::getsid(None) == Ok(unistd::getpid())
}

/// Has the kernel end this process by SIGALRM after `after`, rounded up to whole seconds.
///
/// The backstop of a process that should have ended by itself by then. Zero
/// clears it; a new one replaces the one before. It survives exec, not fork.
pub fn alarm(after: Duration) {
    let whole = after.as_secs().saturating_add(u64::from(after.subsec_nanos() > 0));
    let seconds = u32::try_from(whole).unwrap_or(u32::MAX);
    // Whatever was to happen then: now it is the end.
    dispose(libc::SIGALRM, libc::SIG_DFL);
    // SAFETY: `alarm` has no precondition.
    unsafe { libc::alarm(seconds) };
}

/// Whether this process leaves core dumps, and whether others of its user may look at its
/// memory and its descriptors, see `PR_SET_DUMPABLE` in `prctl(2)`. On Linux; elsewhere nothing changes.
pub fn allow_dumps(allowed: bool) {
    #[cfg(target_os = "linux")]
    // It has nothing to refuse.
    let _ = nix::sys::prctl::set_dumpable(allowed);
    #[cfg(not(target_os = "linux"))]
    let _ = allowed;
}

/// Sets the permission bits that files made by this process do not get.
pub fn set_umask(mask: u32) {
    let bits = libc::mode_t::try_from(mask & 0o777).unwrap_or(0o777);
    stat::umask(Mode::from_bits_truncate(bits));
}

/// Makes `dir` the working directory.
///
/// # Errors
/// When it does not exist or must not be entered.
pub fn set_working_dir(dir: &Path) -> io::Result<()> {
    std::env::set_current_dir(dir)
}

/// The memory that a process has resident, in bytes, what it shares included.
///
/// `None` if there is no such process, or no /proc to ask.
#[must_use]
pub fn resident(pid: Pid) -> Option<u64> {
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    let page = unistd::sysconf(unistd::SysconfVar::PAGE_SIZE).ok()??;
    pages.checked_mul(u64::try_from(page).ok()?)
}

/// Whether a process is stopped (by SIGSTOP, a terminal or a tracer).
///
/// `None` if there is no such process, or no /proc to ask.
#[must_use]
pub fn is_stopped(pid: Pid) -> Option<bool> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    // The name before the state is in brackets and may itself hold any byte, brackets too.
    let after_name = stat.iter().rposition(|byte| *byte == b')')?;
    let state = stat[after_name + 1..].iter().find(|byte| **byte != b' ')?;
    Some(matches!(state, b'T' | b't'))
}
