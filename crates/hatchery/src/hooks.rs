//! What a program wants to do around the forks of its workers.

use std::fmt;

use hatchery_core::Slot;

pub use hatchery_core::notice::Cause;
pub use hatchery_core::{Ending, Generation, Pid};
pub use hatchery_master::WorkerExit;

/// A function that is told which worker it is about.
pub(crate) type SlotHook = Box<dyn FnMut(Slot)>;

/// A function that is told how a worker ended.
pub(crate) type ExitHook = Box<dyn FnMut(&WorkerExit)>;

/// The program's functions, in the order in which they were added.
#[derive(Default)]
pub(crate) struct Hooks {
    /// In the master, before a worker is forked.
    pub(crate) before_fork: Vec<SlotHook>,
    /// In the worker, before its runtime is made.
    pub(crate) after_fork: Vec<SlotHook>,
    /// In the master, after a worker was reaped.
    pub(crate) on_worker_exit: Vec<ExitHook>,
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks")
            .field("before_fork", &self.before_fork.len())
            .field("after_fork", &self.after_fork.len())
            .field("on_worker_exit", &self.on_worker_exit.len())
            .finish()
    }
}
