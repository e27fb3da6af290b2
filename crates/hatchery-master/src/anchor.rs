//! The anchor: a process before the master, whose pid never changes.
//!
//! ```text
//! anchor     forked before anything is loaded; holds nothing
//!  └ master  one of several, one after the other
//! ```
//!
//! An upgrade replaces the master, and with it the pid that a container or a
//! supervisor knows. With an anchor they know that one. It adopts orphans, as
//! pid 1 has to and as a subreaper does, so a successor becomes its child when
//! the predecessor has left. It passes on every signal that a master listens to,
//! and ends as the last master did.
//!
//! **Who serves** it is told by whoever takes over, or takes back, over the
//! *line*: a channel whose other end every master holds, handed on by each to
//! the next one. Each is believed only about itself, as the kernel knows it. A signal that comes while nobody serves is kept for who does next;
//! only a stop is for a first master that boots as well.
//!
//! **The line is also how each sees the other's end.** Workers hold a copy, so it is
//! cut on that side when the last process of the last generation is gone: then the
//! anchor ends, as it does when the last master has left in order, which it does
//! after its workers. The line is cut on the other side when the anchor is gone, and then the
//! master stops: whoever has started the anchor will start another one. A signal at
//! the parent's death would not do: after an upgrade the parent is another one.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use hatchery_core::wire::anchor::AnchorHears;
use hatchery_sys::channel::{Channel, Received, Speaker};
use hatchery_sys::fork::{self, Fork};
use hatchery_sys::peer::Peer;
use hatchery_sys::signals::{self, Caught, SelfPipe, Sender, Startup};
use hatchery_sys::wait::{self, Status};
use hatchery_sys::{Pid, Signal, poll, process, streams, title};
use tracing::{error, info, warn};

use crate::commands::SIGNALS;
use crate::notify::Notify;

pub(crate) mod echo;

const LOG: &str = "hatchery";

/// No message of a master is longer.
const MESSAGE_LIMIT: usize = 4096;

/// A stop that comes so soon after another one is the same.
const ONE_STOP: Duration = Duration::from_millis(100);

/// Signals that are kept while nobody serves. More than a moment holds.
const KEPT: usize = 16;

/// Which process this is, after [`cast`].
#[derive(Debug)]
pub enum Side {
    /// The one that stays what it is.
    Anchor(Box<Anchor>),
    /// The first master.
    Master(Line),
}

/// The anchor.
#[derive(Debug)]
pub struct Anchor {
    signals: SelfPipe,
    line: Channel,
    master: Master,
    /// Every master that has ever served and was not reaped here, the last one at the end.
    masters: Vec<Peer>,
    /// How the last one of them ended that was reaped here.
    ended: Option<Status>,
    kept: VecDeque<Signal>,
    /// When a stop was passed on last.
    stopped: Option<Instant>,
    startup: Startup,
}

/// Whom signals are for.
#[derive(Debug)]
enum Master {
    /// The first one, which has not said yet that it serves: it may not be listening.
    Boots(Peer),
    /// The one that has said so last.
    Serves(Peer),
}

/// A master's end of the line to the anchor.
#[derive(Debug)]
pub struct Line(Channel);

/// What the line says.
enum Heard {
    Serving(Pid),
    /// For the service manager, with descriptors that it is to store.
    Notify(String, Vec<OwnedFd>),
    /// Something that is not understood, or not believed.
    Skipped,
    Nothing,
    Cut,
}

/// Whether a start at this place asks for an anchor by itself: as pid 1, or as the
/// child of a pid 1 that does nothing but wait for it, such as `tini`. systemd
/// follows a main process by itself.
#[must_use]
pub fn is_called_for() -> bool {
    let first = Pid::from_raw(1);
    let is_systemd = || match fs::read_to_string("/proc/1/comm") {
        Ok(name) => name.trim_end() == "systemd",
        // What cannot be seen may be anything.
        Err(_) => true,
    };
    process::pid() == first || (process::parent() == first && !is_systemd())
}

/// Forks: the parent is the anchor from now on, the child goes on as the master.
///
/// The process must have one thread, see [`hatchery_sys::threads::count`].
///
/// # Errors
/// In the process that was started, when there is no process or descriptor left.
pub fn cast() -> io::Result<Side> {
    let startup = Startup::capture();
    process::adopt_orphans()?;
    let (ours, theirs) = Channel::pair_that_tells()?;
    streams::flush();
    let blocked = signals::block_all()?;
    match fork::fork(&blocked) {
        Ok(Fork::Parent { child }) => {
            drop(theirs);
            let installed = SelfPipe::install(&SIGNALS);
            blocked.restore();
            let signals = installed.and_then(|signals| signals.let_through().map(|()| signals));
            let signals = signals.inspect_err(|_| {
                // Or it would run unattended.
                let _ = process::kill(child, Signal::SIGKILL);
            })?;
            let (master, masters) = (Master::Boots(Peer::of(child)), vec![Peer::of(child)]);
            let anchor = Anchor {
                signals,
                line: ours,
                master,
                masters,
                ended: None,
                kept: VecDeque::new(),
                stopped: None,
                startup,
            };
            Ok(Side::Anchor(Box::new(anchor)))
        }
        Ok(Fork::Child) => {
            blocked.restore();
            Ok(Side::Master(Line(theirs)))
        }
        Err(failure) => {
            blocked.restore();
            Err(failure)
        }
    }
}

impl Anchor {
    /// Stays until the last process of the last generation is gone, and answers the
    /// exit code: the last master's, or 128 and the signal that has killed it.
    ///
    /// `notify` is how the service manager is told what the serving master has to say,
    /// `reopen` opens the log files again. The caller leaves with
    /// [`exit_now`](hatchery_sys::process::exit_now): the frames above are the master's.
    pub fn hold(mut self, mut notify: Notify, mut reopen: impl FnMut()) -> i32 {
        title::set("hatchery: anchor");
        info!(target: LOG, "anchor (pid {}) stands before master (pid {})", process::pid(), self.master.peer().pid());
        loop {
            // Asked first: whatever a process has said, and how it has ended, is known to the two that follow.
            let are_gone = self.masters.iter().all(Peer::has_ended);
            let heard = self.hear();
            self.reap();
            match heard {
                Heard::Serving(pid) => self.serves(pid),
                Heard::Notify(text, fds) => {
                    notify.pass_on(&text, &fds.iter().map(AsFd::as_fd).collect::<Vec<_>>());
                    self.take_signals(&mut reopen);
                }
                // Whoever says more and more of it must not keep signals from being passed on.
                Heard::Skipped => self.take_signals(&mut reopen),
                Heard::Nothing if are_gone && self.has_left() => return self.conclude(),
                Heard::Nothing => {
                    self.take_signals(&mut reopen);
                    // Out of memory for a moment: it looks again.
                    let _ = poll::readable(&[self.signals.as_fd(), self.line.as_fd()], None);
                }
                Heard::Cut => return self.conclude(),
            }
        }
    }

    fn hear(&self) -> Heard {
        let mut message = [0; MESSAGE_LIMIT];
        match self.line.recv_from(&mut message) {
            Ok((Received::Message { len, fds }, speaker)) => match AnchorHears::decode(&message[..len]) {
                Ok(Some(AnchorHears::Serving { pid })) => match believe(Pid::from_raw(pid.0), speaker) {
                    true => Heard::Serving(Pid::from_raw(pid.0)),
                    false => Heard::Skipped,
                },
                Ok(Some(AnchorHears::Notify { text })) if believe(self.master.peer().pid(), speaker) => {
                    Heard::Notify(text, fds)
                }
                Ok(Some(AnchorHears::Notify { .. }) | None) | Err(_) => Heard::Skipped,
            },
            Ok((Received::Truncated | Received::Stripped { .. }, _)) => Heard::Skipped,
            Ok((Received::Closed, _)) => Heard::Cut,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Heard::Nothing,
            Err(error) => {
                error!(target: LOG, "the line to the master is broken: {error}");
                Heard::Cut
            }
        }
    }

    fn serves(&mut self, pid: Pid) {
        self.master = Master::Serves(Peer::of(pid));
        self.masters.retain(|known| known.pid() != pid);
        self.masters.push(Peer::of(pid));
        for signal in std::mem::take(&mut self.kept) {
            self.pass_on(signal);
        }
    }

    fn reap(&mut self) {
        while let Ok(Some((pid, status))) = wait::reap() {
            if self.masters.iter().any(|known| known.pid() == pid) {
                self.bury(pid, status);
            }
        }
    }

    /// Whether the last one that was reaped has left by itself, hence after its workers.
    /// Programs that forked themselves off may hold the line for as long as they like.
    fn has_left(&self) -> bool {
        matches!(self.ended, Some(Status::Exited(_)))
    }

    fn bury(&mut self, pid: Pid, status: Status) {
        self.masters.retain(|known| known.pid() != pid);
        self.ended = Some(status);
        if matches!(status, Status::Killed { .. }) {
            error!(target: LOG, "master (pid {pid}) {status}");
        }
    }

    fn take_signals(&mut self, reopen: &mut impl FnMut()) {
        for caught in self.signals.take() {
            let Some(signal) = self.meaning(&caught) else { continue };
            if signal == Signal::SIGUSR1 {
                reopen();
            }
            let times = if is_stop(signal) { u32::from(self.means_another_stop()) } else { caught.times };
            for _ in 0..times {
                self.pass_on(signal);
            }
        }
    }

    /// Who signals this process and then its group, as `timeout` does, means one stop.
    fn means_another_stop(&mut self) -> bool {
        let now = Instant::now();
        let is_copy = self.stopped.is_some_and(|at| now.duration_since(at) < ONE_STOP);
        self.stopped = self.stopped.filter(|_| is_copy).or(Some(now));
        !is_copy
    }

    /// What is to be passed on of a signal.
    ///
    /// What a terminal makes it sends to the whole group, so the master has its own.
    /// Only the hang-up goes to the leader of the session alone; from there it would
    /// come as one that a process has sent, so it is passed on as what it means.
    fn meaning(&self, caught: &Caught) -> Option<Signal> {
        match (caught.signal, caught.sender) {
            (Signal::SIGCHLD, _) => None,
            (signal, Sender::Process | Sender::Relay) => Some(signal),
            (Signal::SIGHUP, Sender::Kernel) => {
                let is_for_us = process::leads_session() && !self.startup.ignores(Signal::SIGHUP);
                is_for_us.then_some(Signal::SIGTERM)
            }
            (_, Sender::Kernel) => None,
        }
    }

    fn pass_on(&mut self, signal: Signal) {
        let peer = self.master.peer();
        let is_stop = is_stop(signal);
        match &self.master {
            Master::Boots(_) if !is_stop => {}
            Master::Boots(_) | Master::Serves(_) => {
                if !peer.has_ended() && peer.pass_on(signal).is_ok() {
                    return;
                }
                warn!(target: LOG, "master (pid {}) is gone: {signal} is kept for the next one", peer.pid());
            }
        }
        if self.kept.len() < KEPT {
            self.kept.push_back(signal);
        }
    }

    /// Everybody is gone, or about to be: a process closes its files before it can be reaped.
    fn conclude(mut self) -> i32 {
        let pids: Vec<Pid> = self.masters.iter().map(Peer::pid).collect();
        for pid in pids {
            // One that its predecessor has reaped is nobody's child any more.
            if let Ok(Some(status)) = wait::reap_one(pid) {
                self.bury(pid, status);
            }
        }
        match self.ended {
            Some(Status::Exited(code)) => code,
            Some(Status::Killed { signal, .. }) => 128 + signal,
            None => 1,
        }
    }
}

fn is_stop(signal: Signal) -> bool {
    matches!(signal, Signal::SIGTERM | Signal::SIGINT | Signal::SIGQUIT)
}

/// Workers hold the line as well, and may be somebody who must not have signals sent in the anchor's name.
fn believe(pid: Pid, speaker: Speaker) -> bool {
    let is_it = speaker.is(pid) && speaker.has_our_user();
    if !is_it {
        warn!(target: LOG, "{speaker} speaks as the master that serves: not believed");
    }
    is_it
}

impl Master {
    fn peer(&self) -> &Peer {
        match self {
            Self::Boots(peer) | Self::Serves(peer) => peer,
        }
    }
}

impl Line {
    /// Takes the line that a predecessor has handed over.
    ///
    /// # Errors
    /// When it is no channel.
    pub fn from_fd(fd: OwnedFd) -> io::Result<Self> {
        Channel::from_fd(fd).map(Self)
    }

    /// Tells the anchor that this process is the master that serves.
    pub fn serving(&self) {
        let says = AnchorHears::Serving { pid: hatchery_core::Pid(process::pid().as_raw()) };
        // An anchor that is gone is seen as gone.
        let _ = self.0.send(&says.encode(), &[]);
    }

    /// Tells the anchor something, without waiting.
    pub(crate) fn say(&self, says: &AnchorHears, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.0.send(&says.encode(), fds)
    }

    /// A second descriptor of the same end.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }

    /// Whether the anchor is gone.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        !matches!(self.0.next(), Ok(hatchery_sys::channel::Next::Nothing))
    }

    /// What a worker holds, so that the anchor knows that somebody is still there.
    #[must_use]
    pub fn presence(self) -> OwnedFd {
        self.0.into_fd()
    }
}

impl AsFd for Line {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
