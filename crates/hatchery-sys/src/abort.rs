//! What a process says when it is aborted, before it ends by that.
//!
//! # Safety
//!
//! The handler interrupts anything: code that holds a lock, that has borrowed a
//! cell, that is inside the allocator. So what it says comes from [`on_abort`]'s
//! function, which must touch nothing but atomics; it is formatted on the stack
//! and written with `write(2)`. What cannot be had that way, a backtrace, comes
//! last, and an alarm ends the process if it never comes.

use std::backtrace::Backtrace;
use std::fmt::{self, Write};
use std::io;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use nix::errno::Errno;
use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal, sigprocmask};

use crate::Pid;
use crate::process::pid;
use crate::signals::{dispose, handle};

/// How long the last words may take, in seconds: a standard error that nobody
/// reads, or a backtrace that waits for the allocator's lock, for ever.
const LONGEST: u32 = 4;

/// For handlers that run because the stack has overflown, in bytes: an abort that
/// follows has another two of the kernel's frames, of 3 KiB each, on what std sets
/// aside. Never touched before.
const SIGNAL_STACK: usize = 128 * 1024;

/// The most lines of a backtrace; a recursion has many.
const LONGEST_TRACE: usize = 120;

/// What a process does to tell what it was doing.
///
/// It runs in a signal handler, on top of whatever the process was about. So it
/// may load atomics, ask the kernel by system calls that are async-signal-safe,
/// read the clock and format numbers and texts; it must not allocate or free,
/// lock, borrow a `RefCell`, panic, or log. A write never fails.
pub type Say = dyn Fn(&mut Lines) + Sync;

/// Lines for standard error, each of them one `write(2)`.
///
/// A line that does not fit into 1024 bytes is cut off.
pub struct Lines {
    buffer: [u8; 1024],
    len: usize,
}

/// What is said, and by which process: not by one that was forked from it since.
struct Witness {
    pid: Pid,
    say: &'static Say,
}

static WITNESS: OnceLock<Witness> = OnceLock::new();

/// Whether it is being said already: an abort within the handler is not said as well.
static SAYING: AtomicBool = AtomicBool::new(false);

/// From now on SIGABRT, sent by anybody or by an `abort` of this process, makes
/// it tell on standard error what it was doing before it ends by that signal as it
/// would have done. If it was sent, that is followed by a backtrace: where it stood.
///
/// See [`Say`] for what `say` may do. [`reset_in_child`](crate::signals::reset_in_child)
/// undoes it in a forked child; a child that does not call that says nothing.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`] if this process, or the one that it was
/// forked from, has done so already.
///
/// # Example
/// ```no_run
/// use std::fmt::Write;
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// static DONE: AtomicU64 = AtomicU64::new(0);
///
/// fn main() -> std::io::Result<()> {
///     hatchery_sys::abort::on_abort(&|lines| {
///         let _ = writeln!(lines, "{} jobs were done", DONE.load(Ordering::Relaxed));
///     })
/// }
/// ```
pub fn on_abort(say: &'static Say) -> io::Result<()> {
    if WITNESS.set(Witness { pid: pid(), say }).is_err() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "this process has last words already"));
    }
    widen_signal_stack();
    handle(Signal::SIGABRT, SigHandler::SigAction(testify))
}

/// Leaked: the kernel knows of it until the process ends.
fn widen_signal_stack() {
    let memory = Box::leak(Box::<[u8]>::new_uninit_slice(SIGNAL_STACK));
    let stack = libc::stack_t { ss_sp: memory.as_mut_ptr().cast(), ss_flags: 0, ss_size: memory.len() };
    // SAFETY: the memory is this long and nobody else's. Where it fails, handlers keep the stack that they had.
    unsafe { libc::sigaltstack(&raw const stack, ptr::null_mut()) };
}

/// Of the threads of a process, the kernel picks the first one for a signal
/// that is sent to the process: a worker's loop, and so its backtrace.
extern "C" fn testify(_signal: i32, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    // SAFETY: the kernel passes a valid siginfo to a handler with SA_SIGINFO, which nix sets.
    let was_sent = unsafe { (*info).si_code } == libc::SI_USER;
    let witness = WITNESS.get().filter(|witness| witness.pid == pid());
    if let Some(witness) = witness
        && !SAYING.swap(true, SeqCst)
    {
        end_within(LONGEST);
        let mut lines = Lines::new();
        (witness.say)(&mut lines);
        lines.end();
        if was_sent {
            say_where(&mut lines);
            lines.end();
        }
    }
    end()
}

/// Best effort: it allocates, and locks what belongs to panics. Where the process
/// was inside of the allocator or of a panic, it may never come back.
///
/// Not for an abort of the process' own. Whoever calls that has said why, or is
/// an allocator that has found itself broken; and looking up the names takes some
/// hundred milliseconds with debug information, which a crash should not last.
fn say_where(lines: &mut Lines) {
    let _ = write!(Trace { lines, left: LONGEST_TRACE }, "{}", Backtrace::force_capture());
}

/// As if there had been no handler.
fn end() -> ! {
    dispose(libc::SIGABRT, libc::SIG_DFL);
    let mut mask = SigSet::empty();
    mask.add(Signal::SIGABRT);
    // It fails for an unknown `how` only. One that has come meanwhile ends it here.
    let _ = sigprocmask(SigmaskHow::SIG_UNBLOCK, Some(&mask), None);
    // SAFETY: both are async-signal-safe and take no pointer.
    unsafe {
        libc::raise(libc::SIGABRT);
        libc::_exit(128 + libc::SIGABRT)
    }
}

extern "C" fn end_late(_signal: i32) {
    end()
}

/// Arms the alarm, unless one that comes sooner is armed already.
fn end_within(seconds: u32) {
    if handle(Signal::SIGALRM, SigHandler::Handler(end_late)).is_err() {
        return;
    }
    let mut mask = SigSet::empty();
    mask.add(Signal::SIGALRM);
    let _ = sigprocmask(SigmaskHow::SIG_UNBLOCK, Some(&mask), None);
    // SAFETY: `alarm` is async-signal-safe and takes no pointer.
    unsafe {
        let before = libc::alarm(seconds);
        if (1..seconds).contains(&before) {
            libc::alarm(before);
        }
    }
}

impl Lines {
    fn new() -> Self {
        Self { buffer: [0; 1024], len: 0 }
    }

    /// Writes what there is of a line, if anything.
    fn end(&mut self) {
        if self.len == 0 {
            return;
        }
        self.buffer[self.len] = b'\n';
        let line = &self.buffer[..=self.len];
        loop {
            // SAFETY: `line` is there for as many bytes; `write` is async-signal-safe.
            let written = unsafe { libc::write(libc::STDERR_FILENO, line.as_ptr().cast(), line.len()) };
            // There is nobody who could be told of anything else.
            if written >= 0 || Errno::last() != Errno::EINTR {
                break;
            }
        }
        self.len = 0;
    }

    /// Adds as much as there is room for, and for the end of the line after it.
    fn add(&mut self, text: &str) {
        let mut fits = text.len().min(self.buffer.len() - 1 - self.len);
        while !text.is_char_boundary(fits) {
            fits -= 1;
        }
        self.buffer[self.len..self.len + fits].copy_from_slice(&text.as_bytes()[..fits]);
        self.len += fits;
    }
}

impl Write for Lines {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some((line, after)) = rest.split_once('\n') {
            self.add(line);
            self.end();
            rest = after;
        }
        self.add(rest);
        Ok(())
    }
}

/// A backtrace, up to its longest.
struct Trace<'a> {
    lines: &'a mut Lines,
    left: usize,
}

impl Write for Trace<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.left = self.left.checked_sub(text.matches('\n').count()).ok_or(fmt::Error)?;
        self.lines.write_str(text)
    }
}

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lines").field("len", &self.len).finish_non_exhaustive()
    }
}
