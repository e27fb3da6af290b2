//! Job servers: single-threaded, synchronous, one fork for each job.
//!
//! ```text
//! worker ──order──▶ job server ──fork──▶ job
//!    ▲   ◀─accepted─────┘  ▲               │
//!    │                     └──── reaped ───┤
//!    └───────────── output ────────────────┘
//! ```
//! * [`server`]: the loop, which accepts, forks, keeps the time and reaps
//! * [`job`]: what a forked child does
//!
//! The server forks, so it is of the master's wing: it has no runtime, and a job
//! finds the memory that its server has. As a worker leaves the master's loop, a
//! job leaves the server's loop by value: nothing of the server is left below it.

pub mod job;
pub mod server;

use std::fmt;
use std::os::fd::OwnedFd;
use std::time::Duration;

use hatchery_core::Generation;
use hatchery_net::JobConfig;
use hatchery_sys::Pid;
use hatchery_sys::board::Board;
use hatchery_sys::channel::Channel;
use hatchery_sys::signals::Blocked;

pub use job::Job;
pub use server::serve;

/// What operators read comes from hatchery, whichever crate of it.
const LOG: &str = "hatchery";

/// Everything that a forked child needs to become a job server.
///
/// All signals are blocked and have their default action, as
/// [`reset_in_child`](hatchery_sys::signals::reset_in_child) leaves them.
pub struct JobSeed {
    /// What the program calls its jobs.
    pub name: String,
    /// What they are granted.
    pub config: JobConfig,
    /// The generation that it belongs to.
    pub generation: Generation,
    /// Its master's process, which must be its parent.
    pub master: Pid,
    /// The channel to its master.
    pub channel: Channel,
    /// The exit of its queue: no process that sends orders may be kept from seeing it closed.
    pub orders: Channel,
    /// The board of all generations.
    pub board: Board,
    /// Its own cell of the board.
    pub cell: usize,
    /// How long it may go on after its master has gone; a master that lives keeps the time itself.
    pub drain_timeout: Duration,
    /// The mask to return to.
    pub blocked: Blocked,
    /// What it holds so that others know that it is there; see [`Newborn`](crate::Newborn).
    pub presence: Vec<OwnedFd>,
    /// Opens the log files again; the master sends the one that it has opened.
    pub reopen: Box<dyn Fn(Option<OwnedFd>)>,
}

/// What a job server's process turns out to be when [`serve`] returns.
#[derive(Debug)]
pub enum JobRole {
    /// The server, and it is done, with this exit code.
    Done(i32),
    /// A job that was forked just now.
    Job(Box<Job>),
}

impl fmt::Debug for JobSeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobSeed")
            .field("name", &self.name)
            .field("config", &self.config)
            .field("generation", &self.generation)
            .field("master", &self.master)
            .finish_non_exhaustive()
    }
}
