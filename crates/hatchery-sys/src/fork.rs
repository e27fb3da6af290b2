//! Fork, with proof that no signal can come between.
//!
//! # Safety
//!
//! `fork(2)` copies one thread. Locks that another thread held stay locked for
//! ever in the child, which is why [`crate::threads::count`] comes first.

use std::io;

use nix::unistd::{self, ForkResult, Pid};

use crate::signals::Blocked;

/// Which of the two processes this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fork {
    /// The process that forked.
    Parent {
        /// The new process.
        child: Pid,
    },
    /// The new process.
    Child,
}

/// Forks this process.
///
/// `blocked` is the proof that all signals are blocked: one that came to the
/// child before it has reset its handlers would run the parent's handler, and
/// be written to the parent's pipe. Both processes hold the value afterwards,
/// and both unblock in their own time.
///
/// Nothing is flushed: what std holds back for the standard streams would be
/// written twice, see [`crate::streams::flush`]. The process must have one
/// thread, see [`crate::threads::count`]; if it has more, the child can wait
/// for ever for a lock that one of them held.
///
/// # Errors
/// When there is no process left (EAGAIN) or no memory (ENOMEM).
pub fn fork(blocked: &Blocked) -> io::Result<Fork> {
    let _ = blocked;
    // SAFETY: the child may do anything if the parent has one thread. The
    // master checks that before its first fork; at later ones it prefers a
    // child that might hang, and is then replaced, to a service without workers.
    match unsafe { unistd::fork() }? {
        ForkResult::Parent { child } => Ok(Fork::Parent { child }),
        ForkResult::Child => Ok(Fork::Child),
    }
}
