//! Signals: blocked around a fork, caught by a self-pipe, restored before an exec.
//!
//! # Safety
//!
//! A handler interrupts anything, so it may do almost nothing. These count in
//! atomics and write one byte to a pipe, and leave `errno` as it was.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, sigaction, sigprocmask};
use nix::unistd;

use crate::Pid;
use crate::orphan;
use crate::start::{AtStart, LAST_SIGNAL, bit};

/// The proof that all signals are blocked in this thread.
///
/// Dropping it does nothing: the mask stays until [`Blocked::restore`].
#[derive(Debug)]
#[must_use = "signals stay blocked until `restore`"]
pub struct Blocked {
    before: SigSet,
}

/// Blocks all signals that can be blocked.
///
/// # Errors
/// None that the kernel documents.
pub fn block_all() -> io::Result<Blocked> {
    let mut before = SigSet::empty();
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), Some(&mut before))?;
    Ok(Blocked { before })
}

impl Blocked {
    /// Sets the mask that was in place before [`block_all`]; what has come meanwhile is delivered.
    pub fn restore(self) {
        // It fails for an unknown `how` only.
        let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&self.before), None);
    }
}

/// The signal mask and the ignored signals that this program was started with.
///
/// Both survive an exec, so a successor has to be given what its predecessor
/// was given, not what the predecessor has made of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Startup(AtStart);

impl Startup {
    /// What this program was started with.
    ///
    /// On Linux it was noted before `main`, and thus before Rust's runtime began
    /// to ignore SIGPIPE; elsewhere it is what is found now.
    #[must_use]
    pub fn capture() -> Self {
        Self(AtStart::signals())
    }

    /// Whether this program was started with a signal ignored, as `nohup` does with SIGHUP.
    #[must_use]
    pub fn ignores(&self, signal: Signal) -> bool {
        self.0.ignored & bit(signal as i32) != 0
    }

    /// The same as bits, signal 1 being the lowest: those that were ignored, those that were blocked.
    #[must_use]
    pub fn to_bits(&self) -> [u64; 2] {
        [self.0.ignored, self.0.blocked]
    }

    /// What another image of this program has noted, when it was started itself.
    #[must_use]
    pub fn from_bits([ignored, blocked]: [u64; 2]) -> Self {
        Self(AtStart { ignored, blocked })
    }

    /// The same dispositions, and all signals blocked: for an exec that none must meet.
    #[must_use]
    pub fn all_blocked(&self) -> Self {
        Self(AtStart { ignored: self.0.ignored, blocked: u64::MAX })
    }

    /// The same dispositions, and these signals blocked as well: for an exec over which they are held.
    #[must_use]
    pub fn holding(&self, held: &[Signal]) -> Self {
        Self(AtStart { ignored: self.0.ignored, blocked: self.0.blocked | bits(held) })
    }

    /// What a program was started with over whose exec signals were held, as it
    /// would have been without: `before` tells which of them had been blocked.
    #[must_use]
    pub fn without(&self, held: &[Signal], before: &Self) -> Self {
        let blocked = self.0.blocked & !bits(held) | before.0.blocked & bits(held);
        Self(AtStart { ignored: self.0.ignored, blocked })
    }

    /// Sets dispositions, then the mask, to what was found at the start.
    ///
    /// # Errors
    /// None that the kernel documents.
    pub fn restore(&self) -> io::Result<()> {
        for signal in 1..=LAST_SIGNAL {
            let ignored = self.0.ignored & bit(signal) != 0;
            dispose(signal, if ignored { libc::SIG_IGN } else { libc::SIG_DFL });
        }
        self.restore_mask()
    }

    /// Sets the mask to what was found at the start.
    ///
    /// # Errors
    /// None that the kernel documents.
    pub fn restore_mask(&self) -> io::Result<()> {
        let mut mask = MaybeUninit::<libc::sigset_t>::zeroed();
        // SAFETY: `mask` is emptied, filled and then read, by the functions made for it.
        let set = unsafe {
            libc::sigemptyset(mask.as_mut_ptr());
            for signal in (1..=LAST_SIGNAL).filter(|signal| self.0.blocked & bit(*signal) != 0) {
                libc::sigaddset(mask.as_mut_ptr(), signal);
            }
            libc::sigprocmask(libc::SIG_SETMASK, mask.as_ptr(), ptr::null_mut())
        };
        Errno::result(set)?;
        Ok(())
    }
}

fn bits(signals: &[Signal]) -> u64 {
    signals.iter().fold(0, |set, signal| set | bit(*signal as i32))
}

/// One kind of signal that has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Caught {
    /// Which one.
    pub signal: Signal,
    /// How often its handler ran. The kernel merges what comes while one of its
    /// kind waits, so it may have been sent more often.
    pub times: u32,
    /// Who sent it.
    pub sender: Sender,
}

/// Where a signal came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sender {
    /// A process, by `kill`; or the end of a child.
    Process,
    /// The kernel itself, for a terminal: Ctrl-C, a resized window, a hang-up.
    Kernel,
    /// A process that passes on what it was sent, by [`Peer::pass_on`](crate::peer::Peer::pass_on).
    Relay,
}

/// A pipe that signal handlers write to, so that a loop can wait for signals as it waits for the rest.
///
/// A process has one at a time. If it is dropped, signals that come later are
/// caught and forgotten.
#[derive(Debug)]
pub struct SelfPipe {
    read: OwnedFd,
    signals: Vec<Signal>,
    /// Which installation this is, see [`INSTALLED`].
    serial: u32,
}

/// How many self-pipes this process, and those it was forked from, have installed.
static INSTALLED: AtomicU32 = AtomicU32::new(0);

/// Where handlers write to, or -1. It is owned here and closed nowhere but in
/// [`reset_in_child`]: a handler on another thread may be about to write to it.
static WRITE: AtomicI32 = AtomicI32::new(-1);

/// Signals for which this process has set a handler, as bits.
static HANDLED: AtomicU64 = AtomicU64::new(0);

/// How often each signal has come, by its [`Sender`].
static CAUGHT: [[AtomicU32; 3]; LAST_SIGNAL as usize + 1] =
    [const { [const { AtomicU32::new(0) }; 3] }; LAST_SIGNAL as usize + 1];

impl SelfPipe {
    /// Catches `signals` from now on, and takes them out of this thread's mask.
    ///
    /// A program may have been started with some of them blocked or ignored.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] if this process has one already;
    /// otherwise when there is no descriptor left, or a signal cannot be caught.
    pub fn install(signals: &[Signal]) -> io::Result<Self> {
        let (read, write) = pipe()?;
        if WRITE.compare_exchange(-1, write.as_raw_fd(), SeqCst, SeqCst).is_err() {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "this process has a self-pipe already"));
        }
        let _ = write.into_raw_fd();
        let serial = INSTALLED.fetch_add(1, SeqCst).wrapping_add(1);
        let this = Self { read, signals: signals.to_vec(), serial };
        for signal in signals {
            handle(*signal, SigHandler::SigAction(count_and_wake))?;
        }
        this.let_through()?;
        Ok(this)
    }

    /// Catches these signals from now on, where it was some of them so far.
    ///
    /// # Errors
    /// When a signal cannot be caught.
    pub fn widen(mut self, signals: &[Signal]) -> io::Result<Self> {
        for signal in signals {
            handle(*signal, SigHandler::SigAction(count_and_wake))?;
        }
        self.signals = signals.to_vec();
        self.let_through()?;
        Ok(self)
    }

    /// Takes its signals out of this thread's mask, once more: where they were
    /// blocked at the start, [`Blocked::restore`] has blocked them again.
    ///
    /// # Errors
    /// None that the kernel documents.
    pub fn let_through(&self) -> io::Result<()> {
        let mut mask = SigSet::empty();
        self.signals.iter().for_each(|signal| mask.add(*signal));
        Ok(sigprocmask(SigmaskHow::SIG_UNBLOCK, Some(&mask), None)?)
    }

    /// What has come since it was last asked, in the order of the list given to
    /// [`SelfPipe::install`], and not in the order in which it came.
    pub fn take(&mut self) -> Vec<Caught> {
        // The pipe first: a signal that comes between the two leaves its byte in
        // the pipe and is at worst looked for twice, never missed.
        self.drain();
        let mut caught = Vec::new();
        for signal in &self.signals {
            for sender in [Sender::Process, Sender::Kernel, Sender::Relay] {
                let times = CAUGHT[*signal as usize][sender as usize].swap(0, SeqCst);
                if times > 0 {
                    caught.push(Caught { signal: *signal, times, sender });
                }
            }
        }
        caught
    }

    fn drain(&self) {
        let mut bytes = [0; 512];
        loop {
            match unistd::read(&self.read, &mut bytes) {
                Ok(0) | Err(Errno::EAGAIN) => return,
                Ok(_) | Err(Errno::EINTR) => {}
                // Nothing else can happen to a pipe; the counters are right anyway.
                Err(_) => return,
            }
        }
    }
}

impl AsFd for SelfPipe {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.read.as_fd()
    }
}

impl Drop for SelfPipe {
    /// Handlers must not write to a pipe that nobody reads. In a forked child
    /// that has installed its own, the parent's must not be mistaken for it.
    fn drop(&mut self) {
        if INSTALLED.load(SeqCst) == self.serial {
            WRITE.store(-1, SeqCst);
        }
    }
}

/// Whose child this process is meant to be, or 0.
static PARENT: AtomicI32 = AtomicI32::new(0);

/// From now on a SIGTERM that finds `parent` gone also arms SIGALRM. If this
/// process has not called [`process::alarm`](crate::process::alarm) within 250 ms,
/// its loop is blocked: it is made to let go of every socket that listens, and
/// `span` later, rounded up to seconds, it is ended.
///
/// Together with [`die_with_parent`](crate::process::die_with_parent) that bounds
/// what an orphan whose loop is blocked can hold up: an address for a moment, its
/// clients for the span.
pub fn alarm_if_orphaned(parent: Pid, span: Duration) {
    orphan::prepare(span);
    PARENT.store(parent.as_raw(), SeqCst);
}

/// Undoes in a forked child what its parent has done: every handler that
/// [`SelfPipe::install`] or [`ignore_by_handler`] has set becomes the default
/// action, and the parent's pipe is let go.
///
/// Signals are to be blocked, as they are after [`crate::fork::fork`]: one that
/// came earlier would be caught for the parent, one that comes in between is lost.
pub fn reset_in_child() {
    let handled = HANDLED.swap(0, SeqCst);
    for signal in (1..=LAST_SIGNAL).filter(|signal| handled & bit(*signal) != 0) {
        dispose(signal, libc::SIG_DFL);
    }
    PARENT.store(0, SeqCst);
    let write = WRITE.swap(-1, SeqCst);
    if write >= 0 {
        // SAFETY: the static owned it, and owns it no more. This child has one
        // thread and blocks signals, so no handler is about to use it.
        drop(unsafe { OwnedFd::from_raw_fd(write) });
    }
    // What the parent has counted but not taken yet is its own affair.
    for counter in CAUGHT.iter().flatten() {
        counter.store(0, SeqCst);
    }
}

/// Makes `signals` mean nothing to this process.
///
/// By a handler that does nothing: a signal that is ignored properly stays
/// ignored in every program that this process starts.
///
/// # Errors
/// When one cannot be caught, such as SIGKILL.
pub fn ignore_by_handler(signals: &[Signal]) -> io::Result<()> {
    signals.iter().try_for_each(|signal| handle(*signal, SigHandler::Handler(do_nothing)))
}

pub(crate) fn handle(signal: Signal, handler: SigHandler) -> io::Result<()> {
    let action = SigAction::new(handler, SaFlags::SA_RESTART | SaFlags::SA_NOCLDSTOP, SigSet::empty());
    // Before it is set, so that `reset_in_child` never misses one.
    HANDLED.fetch_or(bit(signal as i32), SeqCst);
    // SAFETY: all handlers, those of `abort` too, are async-signal-safe.
    unsafe { sigaction(signal, &action) }?;
    Ok(())
}

/// Sets a disposition that is not a handler. Numbers that have none (SIGKILL,
/// SIGSTOP, the C library's own) are left alone.
pub(crate) fn dispose(signal: i32, disposition: libc::sighandler_t) {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: zero is a value of this struct: no flags, an empty mask. Neither
    // disposition runs any code of ours.
    unsafe {
        (*action.as_mut_ptr()).sa_sigaction = disposition;
        libc::sigaction(signal, action.as_ptr(), ptr::null_mut());
    }
}

extern "C" fn do_nothing(_signal: i32) {}

extern "C" fn count_and_wake(signal: i32, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    let errno = Errno::last_raw();
    // SAFETY: the kernel passes a valid siginfo to a handler with SA_SIGINFO, which nix sets.
    let sender = match unsafe { (*info).si_code } {
        FROM_KERNEL => Sender::Kernel,
        libc::SI_QUEUE => Sender::Relay,
        _ => Sender::Process,
    };
    if let Some(counters) = usize::try_from(signal).ok().and_then(|signal| CAUGHT.get(signal)) {
        counters[sender as usize].fetch_add(1, SeqCst);
    }
    let parent = PARENT.load(SeqCst);
    // SAFETY: getppid is async-signal-safe and takes no pointer.
    if signal == libc::SIGTERM && parent != 0 && unsafe { libc::getppid() } != parent {
        orphan::begin();
    }
    let write: RawFd = WRITE.load(SeqCst);
    if write >= 0 {
        // SAFETY: `write` is async-signal-safe; the pipe is open for as long as
        // it stands in the static. It does not block: a full pipe wakes as well.
        unsafe { libc::write(write, [1_u8].as_ptr().cast(), 1) };
    }
    Errno::set_raw(errno);
}

#[cfg(target_os = "linux")]
const FROM_KERNEL: i32 = libc::SI_KERNEL;
/// Elsewhere a terminal's signals cannot be told from others by a code.
#[cfg(not(target_os = "linux"))]
const FROM_KERNEL: i32 = 0x80;

#[cfg(any(
    target_os = "linux",
    target_os = "android",
    target_os = "freebsd",
    target_os = "netbsd",
    target_os = "openbsd"
))]
fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(unistd::pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?)
}
