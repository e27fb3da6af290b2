//! What a worker is made of.

use std::any::Any;
use std::fmt;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use hatchery_core::{Generation, Slot};
use hatchery_net::{Kept, Listeners, Relay};
use hatchery_sys::Pid;
use hatchery_sys::board::Board;
use hatchery_sys::channel::Channel;
use hatchery_sys::signals::Blocked;

use crate::{JobDesk, Limits};

/// After how many requests a worker asks to be replaced.
///
/// ```
/// use hatchery_worker::Quota;
///
/// // Workers that were started together do not go together.
/// let quota = Quota { requests: 100_000, jitter: 10_000 };
/// # let _ = quota;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Quota {
    /// So many at least.
    pub requests: u64,
    /// And up to so many more, each worker by a number of its own.
    pub jitter: u64,
}

/// Everything that a forked child needs to become a worker.
///
/// All signals are blocked and have their default action, as
/// [`reset_in_child`](hatchery_sys::signals::reset_in_child) leaves them.
///
/// [`run`](crate::run) shows what is done with one.
pub struct Seed {
    /// Its place among the workers.
    pub slot: Slot,
    /// The generation that it belongs to.
    pub generation: Generation,
    /// Its master's process, which must be its parent.
    pub master: Pid,
    /// Copies of every accept queue.
    pub listeners: Listeners,
    /// The relay of its generation.
    pub relay: Relay,
    /// The channel to its master.
    pub channel: Channel,
    /// The board of all generations.
    pub board: Board,
    /// Its own cell of the board.
    pub cell: usize,
    /// What handshakes are made with on listeners that speak TLS, for the protocol crate that does it.
    pub secret: Option<Rc<dyn Any>>,
    /// What it grants its clients.
    pub limits: Limits,
    /// After how many requests it asks to be replaced; `None` for never.
    pub quota: Option<Quota>,
    /// Whether it measures how long requests take, and its loop: that costs a look at the clock for each.
    pub measure: bool,
    /// How long it may take to be ready; its master keeps the time.
    pub boot_timeout: Duration,
    /// How long it may drain after its master has gone; a master that lives keeps the time itself.
    pub drain_timeout: Duration,
    /// The mask to return to when the worker has its own handlers.
    pub blocked: Blocked,
    /// Where it can order jobs.
    pub jobs: Vec<JobDesk>,
    /// What the program keeps open across upgrades.
    pub kept: Kept,
    /// What the program calls it, if it is a sidecar and no worker.
    pub sidecar: Option<String>,
    /// Opens the log files again; the master sends the one that it has opened.
    pub reopen: Box<dyn Fn(Option<OwnedFd>)>,
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seed")
            .field("slot", &self.slot)
            .field("generation", &self.generation)
            .field("master", &self.master)
            .field("listeners", &self.listeners)
            .field("cell", &self.cell)
            .field("relay", &self.relay)
            .field("limits", &self.limits)
            .field("quota", &self.quota)
            .field("boot_timeout", &self.boot_timeout)
            .field("drain_timeout", &self.drain_timeout)
            .finish_non_exhaustive()
    }
}
