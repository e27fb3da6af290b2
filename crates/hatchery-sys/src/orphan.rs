//! A process whose parent has died while its loop is blocked: it lets go of the
//! sockets that listen, and ends in time.
//!
//! Copies of a listening socket keep the address taken, and clients in a queue
//! that nobody accepts from. The loop would close them, and cannot.
//!
//! # Safety
//!
//! Two signal handlers, which make nothing but system calls. A number that stands
//! for a socket elsewhere in the program goes on to be an open descriptor, of the
//! null device: nothing that is opened later is mistaken for it.

use std::mem::size_of;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use nix::sys::signal::{SigHandler, Signal};

use crate::limits;
use crate::signals::{dispose, handle};

/// How long a loop has to hear of it by itself, before this is done behind its back.
const HEARING: libc::timeval = libc::timeval { tv_sec: 0, tv_usec: 250_000 };

/// After which it is ended, in seconds.
static ALARM: AtomicU32 = AtomicU32::new(0);

/// The most descriptors that this process can have.
static MOST: AtomicI32 = AtomicI32::new(0);

/// Notes what [`begin`] needs, which may not ask.
pub(crate) fn prepare(span: Duration) {
    let seconds = span.as_secs().saturating_add(u64::from(span.subsec_nanos() > 0));
    ALARM.store(u32::try_from(seconds).unwrap_or(u32::MAX).max(1), SeqCst);
    MOST.store(i32::try_from(limits::open_files().0).unwrap_or(i32::MAX), SeqCst);
}

/// The parent is gone. Called by a signal handler.
///
/// [`crate::process::alarm`] puts an end to it: who calls that hears for himself.
pub(crate) fn begin() {
    let timer = libc::itimerval { it_interval: libc::timeval { tv_sec: 0, tv_usec: 0 }, it_value: HEARING };
    let hears = handle(Signal::SIGALRM, SigHandler::Handler(let_go)).is_ok();
    // SAFETY: a system call that reads `timer`.
    if !hears || unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, std::ptr::null_mut()) } != 0 {
        end_later();
    }
}

extern "C" fn let_go(_signal: i32) {
    let errno = nix::errno::Errno::last_raw();
    // SAFETY: all of these are async-signal-safe, and take numbers that are no
    // descriptors for what they are.
    unsafe {
        let null = libc::open(c"/dev/null".as_ptr(), libc::O_RDWR | libc::O_CLOEXEC);
        if null >= 0 {
            for fd in (0..MOST.load(SeqCst)).filter(|fd| listens(*fd)) {
                libc::dup2(null, fd);
                libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC);
            }
            libc::close(null);
        }
    }
    end_later();
    nix::errno::Errno::set_raw(errno);
}

/// Unless it has ended by then.
fn end_later() {
    dispose(libc::SIGALRM, libc::SIG_DFL);
    // SAFETY: async-signal-safe, and takes no pointer. It replaces the timer.
    unsafe { libc::alarm(ALARM.load(SeqCst)) };
}

fn listens(fd: i32) -> bool {
    let mut answer: libc::c_int = 0;
    let mut len = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: it writes at most `len` bytes to `answer`.
    let asked =
        unsafe { libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_ACCEPTCONN, (&raw mut answer).cast(), &raw mut len) };
    asked == 0 && answer != 0
}
