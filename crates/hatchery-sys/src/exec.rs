//! Becoming another program.

use std::ffi::{CString, OsString};
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::unistd;

use crate::limits;
use crate::signals::Startup;

/// What to become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// The file to execute.
    pub path: PathBuf,
    /// Its arguments, the name it is called by included.
    pub args: Vec<OsString>,
    /// Its environment, as whole `NAME=value` strings.
    pub env: Vec<OsString>,
    /// The directory to start it in.
    pub dir: PathBuf,
}

/// The first descriptor that is not a standard stream.
const FIRST: RawFd = 3;

/// Replaces this process' program by another, and returns only if that fails.
///
/// Of all descriptors it leaves the standard streams and `keep`, under the
/// numbers that they have; the signal mask and dispositions become those of
/// `startup`. It changes this process step by step, so it is for a forked child
/// that ends if it fails.
///
/// The error names the step that failed and what it failed on; its kind is the cause's.
#[must_use]
pub fn exec(program: &Program, keep: &[BorrowedFd<'_>], startup: &Startup) -> io::Error {
    match prepare_and_exec(program, keep, startup) {
        Ok(never) => match never {},
        Err(error) => error,
    }
}

fn prepare_and_exec(
    program: &Program,
    keep: &[BorrowedFd<'_>],
    startup: &Startup,
) -> io::Result<std::convert::Infallible> {
    let path = program.path.display();
    let starting = |cause| during(&format!("cannot start {path}"), &cause);
    let file = c_string(program.path.as_os_str().as_bytes()).map_err(starting)?;
    let args = c_strings(&program.args).map_err(starting)?;
    let env = c_strings(&program.env).map_err(starting)?;

    mark_all();
    for fd in keep {
        let kept = fcntl(fd, FcntlArg::F_SETFD(FdFlag::empty())).map_err(io::Error::from);
        kept.map_err(|cause| during(&format!("cannot hand over descriptor {}", fd.as_raw_fd()), &cause))?;
    }
    unistd::chdir(&program.dir)
        .map_err(|errno| during(&format!("cannot enter {}", program.dir.display()), &errno.into()))?;
    startup.restore().map_err(|cause| during("cannot restore the signals", &cause))?;
    unistd::execve(&file, &args, &env).map_err(|errno| starting(errno.into()))
}

fn during(step: &str, cause: &io::Error) -> io::Error {
    let text = cause.raw_os_error().map_or_else(|| cause.to_string(), |raw| Errno::from_raw(raw).desc().to_owned());
    io::Error::new(cause.kind(), format!("{step}: {text}"))
}

fn c_string(bytes: &[u8]) -> io::Result<CString> {
    CString::new(bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "a zero byte in an argument"))
}

fn c_strings(strings: &[OsString]) -> io::Result<Vec<CString>> {
    strings.iter().map(|string| c_string(string.as_bytes())).collect()
}

/// Marks every descriptor from 3 on to be closed by the exec.
///
/// All of them, not only ours: a shell or a supervisor may have left some. They
/// are marked, not closed, so that a failed exec can still report over one.
fn mark_all() {
    for way in [mark_range, mark_listed] {
        if way().is_ok() {
            return;
        }
    }
    mark_each();
}

/// Since Linux 5.11.
#[cfg(target_os = "linux")]
fn mark_range() -> io::Result<()> {
    // By number: not every C library has a function for it.
    const CLOEXEC: libc::c_uint = 1 << 2;
    // SAFETY: with this flag it closes nothing, it only sets a flag.
    let marked = unsafe { libc::syscall(libc::SYS_close_range, FIRST as libc::c_uint, libc::c_uint::MAX, CLOEXEC) };
    Errno::result(marked)?;
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn mark_range() -> io::Result<()> {
    Err(Errno::ENOSYS.into())
}

/// Those that /proc lists.
fn mark_listed() -> io::Result<()> {
    // Collected first: the descriptor of the directory itself is listed too, and gone afterwards.
    let listed: Vec<RawFd> = fs::read_dir("/proc/self/fd")?
        .map(|entry| Ok(entry?.file_name().to_str().and_then(|name| name.parse().ok())))
        .filter_map(io::Result::transpose)
        .collect::<io::Result<_>>()?;
    listed.into_iter().filter(|fd| *fd >= FIRST).for_each(mark);
    Ok(())
}

/// Every number that there can be, up to a bound that is quick to reach.
fn mark_each() {
    const MOST: u64 = 1 << 20;
    let (_, hard) = limits::open_files();
    let end = RawFd::try_from(hard.min(MOST)).unwrap_or(RawFd::MAX);
    (FIRST..end).for_each(mark);
}

fn mark(fd: RawFd) {
    // SAFETY: it sets a flag, or fails for a number that is not open.
    unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
}
