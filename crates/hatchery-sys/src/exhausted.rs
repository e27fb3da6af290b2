//! What a process says when it ends because there was no memory for it.
//!
//! # Safety
//!
//! A Rust program that gets no memory aborts, and so do many others. In the
//! handler of that signal `errno` still is what the failed allocation has left:
//! by that the one abort is told from all others. The handler reads statics,
//! sends and changes a disposition: all of it is async-signal-safe.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicUsize, Ordering::SeqCst};

use nix::errno::Errno;
use nix::sys::signal::{SigHandler, Signal};

use crate::signals::{dispose, handle};

static SOCKET: AtomicI32 = AtomicI32::new(-1);
static MESSAGE: AtomicPtr<u8> = AtomicPtr::new(ptr::null_mut());
static LENGTH: AtomicUsize = AtomicUsize::new(0);

/// From now on this process, if it aborts right after the system has refused it
/// memory, sends `message` over `socket` before it ends by that signal.
///
/// It is a guess, though a good one: a process that has coped with such a refusal
/// and aborts later, for another reason and without a failed system call in
/// between, sends it too. The socket has to stay open.
///
/// # Errors
/// None that the kernel documents.
pub fn say_at_abort(socket: BorrowedFd<'static>, message: &'static [u8]) -> io::Result<()> {
    SOCKET.store(socket.as_raw_fd(), SeqCst);
    LENGTH.store(message.len(), SeqCst);
    MESSAGE.store(message.as_ptr().cast_mut(), SeqCst);
    Errno::clear();
    handle(Signal::SIGABRT, SigHandler::Handler(testify))
}

extern "C" fn testify(_signal: i32) {
    let (socket, message) = (SOCKET.load(SeqCst), MESSAGE.load(SeqCst));
    if Errno::last() == Errno::ENOMEM && !message.is_null() {
        // SAFETY: the message is a static of that length, and `send` is async-signal-safe.
        unsafe { libc::send(socket, message.cast(), LENGTH.load(SeqCst), libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) };
    }
    dispose(libc::SIGABRT, libc::SIG_DFL);
    // SAFETY: async-signal-safe. The signal is blocked here: it comes as soon as this returns.
    unsafe { libc::raise(libc::SIGABRT) };
}
