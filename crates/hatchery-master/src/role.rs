//! What a process turns out to be when the master's loop returns.

use std::os::fd::OwnedFd;
use std::time::Duration;

use hatchery_core::{Generation, Outcome, Slot};
use hatchery_net::{Listener, Listeners, Relay};
use hatchery_sys::Pid;
use hatchery_sys::board::Board;
use hatchery_sys::channel::Channel;
use hatchery_sys::signals::Blocked;

/// What this process is from now on.
///
/// A forked child leaves the loop by value, on the frame of the one who called
/// it: nothing of the master is left below it that could be dropped twice.
#[derive(Debug)]
pub enum Role {
    /// The master, and it is done.
    Done(Outcome),
    /// A worker that was forked just now.
    Worker(Box<Newborn>),
}

/// What a worker is born with.
///
/// All signals are blocked, and no handler of the master's is installed.
#[derive(Debug)]
pub struct Newborn {
    /// Its place.
    pub slot: Slot,
    /// The generation that it belongs to.
    pub generation: Generation,
    /// Its master's process.
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
    /// How long it may take to be ready.
    pub boot_timeout: Duration,
    /// How long a drain may take.
    pub drain_timeout: Duration,
    /// The mask to return to.
    pub blocked: Blocked,
    /// Where operators look at the server: only the process that tells them keeps it.
    pub admin: Option<Listener>,
    /// The link to the predecessor, while there is one, and the line to the
    /// anchor. They are never used: as long as a copy is open, both know that this
    /// generation is not gone yet.
    pub presence: Vec<OwnedFd>,
}
