//! On demand: a master that holds nothing but the sockets.
//!
//! It has loaded nothing and forked nobody. The first connection wakes it. When
//! nobody has come for a while it lets everything go again, and begins anew, in
//! the same process and as the same program: what was loaded leaves the memory
//! with the old image. Another program comes by an upgrade, as it always does.
//!
//! ```text
//! start ──▶ dormant ── a connection ──▶ preload, fork, serve ── idle-timeout ──▶ exec ──▶ dormant
//! ```

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use hatchery_core::Command;
use hatchery_net::Listeners;
use hatchery_sys::signals::{Caught, SelfPipe, Sender, Startup};
use hatchery_sys::{Signal, poll, wait};
use tracing::{info, warn};

use crate::anchor::Line;
use crate::commands::{self, SIGNALS};

/// Whoever comes waits at the most for so long before it tries to load once more.
const LONGEST_REST: Duration = Duration::from_secs(10);

/// Why a master is dormant no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// Somebody has connected, and waits in a queue.
    Connection,
    /// An operator has ended it.
    Stop,
    /// An operator wants something that takes a master with workers: it boots, and then obeys.
    Command(Command),
}

/// Waits for somebody, before anything is loaded.
///
/// Signals are caught from here on, and go on being caught: there is somebody
/// who waits for an answer, so none must end the process while it loads.
///
/// # Errors
/// When the self-pipe cannot be made, or the kernel has no memory left.
pub fn lie_low(
    listeners: &Listeners,
    startup: &Startup,
    anchor: Option<&Line>,
    failures: u32,
    reopen: impl FnMut(),
) -> io::Result<(Wake, SelfPipe)> {
    let mut caught = SelfPipe::install(&SIGNALS)?;
    // After a sleep all are blocked until there are handlers.
    startup.restore_mask()?;
    caught.let_through()?;
    let outlives_terminal = startup.ignores(Signal::SIGHUP);
    let wake = wait_for_somebody(listeners, &mut caught, anchor, outlives_terminal, rest(failures), reopen)?;
    Ok((wake, caught))
}

pub(crate) fn wait_for_somebody(
    listeners: &Listeners,
    caught: &mut SelfPipe,
    anchor: Option<&Line>,
    outlives_terminal: bool,
    rest: Duration,
    mut reopen: impl FnMut(),
) -> io::Result<Wake> {
    info!(target: "hatchery", "on demand: waiting for the first connection");
    let rests_until = Instant::now() + rest;
    loop {
        let rest = rests_until.saturating_duration_since(Instant::now());
        let mut sources: Vec<BorrowedFd<'_>> = vec![caught.as_fd()];
        sources.extend(anchor.map(AsFd::as_fd));
        let others = sources.len();
        // Whoever has come meanwhile waits in the queue.
        if rest.is_zero() {
            sources.extend(listeners.iter().flat_map(hatchery_net::Listener::queues).map(AsFd::as_fd));
        }
        let readable = poll::readable(&sources, Some(rest).filter(|rest| !rest.is_zero()))?;
        if anchor.is_some_and(Line::is_cut) {
            warn!(target: "hatchery", "the anchor is gone: stopping");
            return Ok(Wake::Stop);
        }
        if let Some(wake) = heed(&caught.take(), outlives_terminal, &mut reopen) {
            return Ok(wake);
        }
        // Orphans that were given to this process, as they are to a container's first one.
        while wait::reap()?.is_some() {}
        if readable.iter().skip(others).any(|readable| *readable) {
            return Ok(Wake::Connection);
        }
    }
}

/// How long nobody wakes it after it could not load so often: a second, and twice as long each time.
fn rest(failures: u32) -> Duration {
    match failures {
        0 => Duration::ZERO,
        _ => Duration::from_secs(1 << (failures - 1).min(5)).min(LONGEST_REST),
    }
}

/// What signals mean to a master without workers; `None` if it goes on waiting.
#[must_use]
pub fn heed(caught: &[Caught], outlives_terminal: bool, reopen: &mut impl FnMut()) -> Option<Wake> {
    let is_meant =
        |caught: &&Caught| !(outlives_terminal && caught.signal == Signal::SIGHUP && caught.sender == Sender::Kernel);
    let mut wake = None;
    for command in caught.iter().filter(is_meant).filter_map(commands::command) {
        match command {
            Command::Stop => return Some(Wake::Stop),
            Command::Upgrade | Command::Reload => wake = Some(Wake::Command(command)),
            Command::Reopen => reopen(),
            Command::Rest | Command::More | Command::Fewer => {
                warn!(target: "hatchery", "{command} refused: no worker is there before the first connection");
            }
        }
    }
    wake
}
