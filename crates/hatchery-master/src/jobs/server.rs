//! The loop of a job server.
//!
//! ```text
//!           Drain                   nothing waits, nothing runs
//! Serving ──────────▶ Draining ──────────────────────▶ Done
//!    │ the master is gone  ▲
//!    └──▶ Orphaned ────────┘ no process is left that could send orders
//! ```
//! Orders are read in the first state and the last but one. What is in the queue
//! when a server drains is for the next one, which has been ready before.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use hatchery_core::wire::worker::WorkerSays;
use hatchery_core::{Generation, Moment, Takes};
use hatchery_net::JobConfig;
use hatchery_sys::board::Board;
use hatchery_sys::channel::Channel;
use hatchery_sys::signals::{self, Blocked, SelfPipe};
use hatchery_sys::{Signal, limits, poll, process, title};
use tracing::{error, warn};

use super::job::Job;
use super::{JobRole, JobSeed, LOG};
use crate::clock::Clock;
use orders::Waiting;
use running::Running;

mod master;
mod orders;
mod running;

/// Descriptors that are not for jobs: its own, the application's, and what is open for a moment only.
const RESERVE: u64 = 64;

/// One that waits has two: where its answer goes, and its sheet.
const DESCRIPTORS_EACH: u64 = 2;

/// What the master decides, whoever else is told.
const NOT_FOR_JOB_SERVERS: [Signal; 7] = [
    Signal::SIGINT,
    Signal::SIGHUP,
    Signal::SIGWINCH,
    Signal::SIGUSR2,
    Signal::SIGTTIN,
    Signal::SIGTTOU,
    Signal::SIGPIPE,
];

/// How far a server is from its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Serving,
    /// The master is gone: workers that finish may still send orders.
    Orphaned,
    Draining,
}

struct Server {
    name: String,
    config: JobConfig,
    generation: Generation,
    board: Board,
    cell: usize,
    drain_timeout: Duration,
    reopen: Box<dyn Fn(Option<OwnedFd>)>,
    /// Never used: see [`JobSeed::presence`].
    _presence: Vec<OwnedFd>,
    /// To the master, until that is gone.
    channel: Option<Channel>,
    orders: Channel,
    signals: SelfPipe,
    stage: Stage,
    /// How many jobs there may be, waiting or running.
    room: usize,
    waiting: VecDeque<Waiting>,
    running: Vec<Running>,
    /// When a fork that has failed is tried again.
    retry: Option<Moment>,
    /// Of which no time is lost that this process was stopped for.
    clock: Clock,
}

/// Where a turn of the loop leads.
enum Turn {
    Go,
    Over,
    Born(Box<Job>),
}

/// Runs this process, a forked child, as a job server until it is told to go and has done what it has accepted.
///
/// Returns in the server with its exit code, and in every job that it forks. The
/// caller leaves with [`exit_now`](process::exit_now) in both cases.
#[must_use]
pub fn serve(seed: JobSeed) -> JobRole {
    let mut server = match Server::begin(seed) {
        Ok(server) => server,
        Err(code) => return JobRole::Done(code),
    };
    loop {
        match server.turn() {
            Turn::Go => {}
            Turn::Over => return JobRole::Done(0),
            // What the server holds is closed here, in the child.
            Turn::Born(job) => return JobRole::Job(job),
        }
    }
}

impl Server {
    fn begin(seed: JobSeed) -> Result<Self, i32> {
        let asked = process::die_with_parent(Signal::SIGKILL);
        if process::parent() != seed.master {
            return Err(1);
        }
        let cell = seed.board.cell(seed.cell);
        cell.pid.store(process::pid().as_raw().unsigned_abs().into(), Relaxed);
        match asked.and_then(|()| catch_signals(seed.blocked)) {
            Ok(signals) => {
                // A master's death is from now on a reason to drain, unless this loop stands still then.
                signals::alarm_if_orphaned(seed.master, seed.drain_timeout);
                if let Err(failure) = process::die_with_parent(Signal::SIGTERM) {
                    warn!(target: LOG, "cannot ask for a signal when the master dies: {failure}");
                }
                let server = Self {
                    room: room(&seed.name, &seed.config),
                    name: seed.name,
                    config: seed.config,
                    generation: seed.generation,
                    board: seed.board,
                    cell: seed.cell,
                    drain_timeout: seed.drain_timeout,
                    reopen: seed.reopen,
                    _presence: seed.presence,
                    channel: Some(seed.channel),
                    orders: seed.orders,
                    signals,
                    stage: Stage::Serving,
                    waiting: VecDeque::new(),
                    running: Vec::new(),
                    retry: None,
                    clock: Clock::start(),
                };
                server.entitle("ready");
                server.say(&WorkerSays::Ready { takes: Takes::nothing() });
                Ok(server)
            }
            Err(failure) => {
                let text = format!("cannot install signal handlers: {failure}");
                let _ = seed.channel.send(&WorkerSays::BootFailed { text }.encode(), &[]);
                Err(1)
            }
        }
    }

    fn turn(&mut self) -> Turn {
        self.cancel_expired();
        // A server on demand is not idle for as long as there are some.
        self.board.cell(self.cell).open.store((self.waiting.len() + self.running.len()) as u64, Relaxed);
        if let Some(job) = self.fork_jobs() {
            return Turn::Born(Box::new(job));
        }
        if self.stage == Stage::Draining && self.waiting.is_empty() && self.running.is_empty() {
            return Turn::Over;
        }
        if let Err(failure) = self.wait() {
            // Out of memory for a moment: nothing was taken in, nothing is lost.
            error!(target: LOG, "waiting for events failed: {failure}");
        }
        Turn::Go
    }

    fn wait(&mut self) -> io::Result<()> {
        let (hears, reads) = (self.channel.is_some(), self.reads());
        let mut sources: Vec<BorrowedFd<'_>> = vec![self.signals.as_fd()];
        sources.extend(self.channel.as_ref().map(AsFd::as_fd));
        sources.extend(reads.then(|| self.orders.as_fd()));
        // Callers say nothing: what there is to be read is that they are gone.
        sources.extend(self.waiting.iter().filter(|it| it.is_awaited()).map(|it| it.answer.as_fd()));
        sources.extend(self.running.iter().filter(|it| it.is_awaited()).map(|it| it.answer.as_fd()));
        self.parks();
        let timeout = Clock::at_most(self.timeout());
        let readable = poll::readable(&sources, timeout);
        self.works();
        drop(sources);
        self.clock.waited(timeout);
        let mut readable = readable?.into_iter();
        let signalled = readable.next() == Some(true);
        let master_spoke = hears && readable.next() == Some(true);
        let ordered = reads && readable.next() == Some(true);
        self.drop_deserted(readable);
        if signalled {
            self.take_signals()?;
        }
        if master_spoke {
            self.hear_master();
        }
        if ordered {
            self.read_orders();
        }
        Ok(())
    }

    fn reads(&self) -> bool {
        match self.stage {
            Stage::Serving | Stage::Orphaned => true,
            Stage::Draining => false,
        }
    }

    fn timeout(&self) -> Option<Duration> {
        let next = self.running.iter().filter_map(Running::deadline).chain(self.retry).min()?;
        Some(next.since(self.clock.now()))
    }

    fn entitle(&self, what: &str) {
        title::set(&format!("hatchery: jobs {} gen {} {what}", self.name, self.generation));
    }

    /// Even while it waits, odd while it works: what the master goes by to see that it is not stuck.
    fn parks(&self) {
        let turn = &self.board.cell(self.cell).turn;
        let now = turn.load(Relaxed);
        turn.store(now.wrapping_add(now & 1), Relaxed);
    }

    fn works(&self) {
        let turn = &self.board.cell(self.cell).turn;
        turn.store(turn.load(Relaxed) | 1, Relaxed);
    }
}

/// Gives this process its own signal handlers; from then on signals are let through.
fn catch_signals(blocked: Blocked) -> io::Result<SelfPipe> {
    let caught = SelfPipe::install(&[Signal::SIGTERM, Signal::SIGQUIT, Signal::SIGUSR1, Signal::SIGCHLD])?;
    signals::ignore_by_handler(&NOT_FOR_JOB_SERVERS)?;
    blocked.restore();
    Ok(caught)
}

/// How many jobs there may be: as many as the program wants, if there are descriptors for them.
fn room(name: &str, config: &JobConfig) -> usize {
    let open_files = limits::raise_open_files().unwrap_or_else(|_| limits::open_files().0);
    let wanted = config.queue.saturating_add(config.concurrency);
    let possible = usize::try_from(open_files.saturating_sub(RESERVE) / DESCRIPTORS_EACH).unwrap_or(usize::MAX).max(1);
    if possible < wanted {
        warn!(target: LOG, "jobs `{name}`: no more than {possible} can wait or run, by the limit of open files");
    }
    wanted.min(possible)
}
