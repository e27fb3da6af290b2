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
use hatchery_sys::poll::{self, Interest};
use hatchery_sys::signals::{Caught, SelfPipe, Sender, Startup};
use hatchery_sys::{Signal, wait};
use tracing::{info, warn};

use crate::anchor::Line;
use crate::commands::{self, SIGNALS};
use crate::control::{Awoken, Control, Dormant};
use crate::notify::Notify;

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
    /// The same, over the control socket, where it is still to be heard.
    Asked,
}

/// Waits for somebody, before anything is loaded.
///
/// Signals are caught from here on, and go on being caught: there is somebody
/// who waits for an answer, so none must end the process while it loads.
///
/// # Errors
/// When the self-pipe cannot be made, or the kernel has no memory left.
pub fn lie_low(
    startup: &Startup,
    anchor: Option<&Line>,
    asks: (&mut Control, &Dormant<'_>),
    failures: u32,
    notify: &mut Notify,
    reopen: impl FnMut(),
) -> io::Result<(Wake, SelfPipe)> {
    let mut caught = SelfPipe::install(&SIGNALS)?;
    // After a sleep all are blocked until there are handlers.
    startup.restore_mask()?;
    caught.let_through()?;
    let outlives_terminal = startup.ignores(Signal::SIGHUP);
    let wake = wait_for_somebody(&mut caught, anchor, asks, outlives_terminal, rest(failures), notify, reopen)?;
    Ok((wake, caught))
}

pub(crate) fn wait_for_somebody(
    caught: &mut SelfPipe,
    anchor: Option<&Line>,
    (control, dormant): (&mut Control, &Dormant<'_>),
    outlives_terminal: bool,
    rest: Duration,
    notify: &mut Notify,
    mut reopen: impl FnMut(),
) -> io::Result<Wake> {
    info!(target: "hatchery", "on demand: waiting for the first connection");
    notify.dormant();
    let rests_until = Instant::now() + rest;
    loop {
        if let Some(wake) = answer(control, dormant, &mut reopen) {
            if wake == Wake::Stop {
                notify.stopping("stopping");
            }
            return Ok(wake);
        }
        let rest = rests_until.saturating_duration_since(Instant::now());
        let mut sources: Vec<BorrowedFd<'_>> = vec![caught.as_fd()];
        sources.extend(anchor.map(AsFd::as_fd));
        let others = sources.len();
        // Whoever has come meanwhile waits in the queue.
        if rest.is_zero() {
            sources.extend(dormant.listeners.iter().flat_map(hatchery_net::Listener::queues).map(AsFd::as_fd));
        }
        let mut sources: Vec<_> = sources.into_iter().map(|fd| (fd, Interest::Read)).collect();
        let doors = sources.len();
        sources.extend(control.sources());
        let until_clients = control.deadline().map(|at| at.saturating_duration_since(Instant::now()));
        let rest = Some(rest).filter(|rest| !rest.is_zero());
        let timeout = rest.into_iter().chain(until_clients).chain(notify.keep_up_dormant()).min();
        let mut readable = poll::ready(&sources, timeout)?;
        control.take_in(&readable.split_off(doors));
        control.pass_deadlines();
        if anchor.is_some_and(Line::is_cut) {
            warn!(target: "hatchery", "the anchor is gone: stopping");
            return Ok(Wake::Stop);
        }
        if let Some(wake) = heed(&caught.take(), outlives_terminal, &mut reopen) {
            if wake == Wake::Stop {
                notify.stopping("stopping");
            }
            return Ok(wake);
        }
        // Orphans that were given to this process, as they are to a container's first one.
        while wait::reap()?.is_some() {}
        if readable.iter().skip(others).any(|readable| *readable) {
            return Ok(Wake::Connection);
        }
    }
}

/// Answers who has asked; `None` if it goes on waiting.
pub(crate) fn answer(control: &mut Control, dormant: &Dormant<'_>, reopen: &mut impl FnMut()) -> Option<Wake> {
    control.while_dormant(dormant, reopen).map(|awoken| match awoken {
        Awoken::ToStop => Wake::Stop,
        Awoken::ToObey => Wake::Asked,
    })
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
            Command::Stop | Command::StopAtOnce => return Some(Wake::Stop),
            Command::Upgrade | Command::Reload => wake = Some(Wake::Command(command)),
            Command::Reopen => reopen(),
            Command::Rest | Command::More | Command::Fewer | Command::Scale(_) | Command::Recycle(_) => {
                warn!(target: "hatchery", "{command} refused: no worker is there before the first connection");
            }
        }
    }
    wake
}
