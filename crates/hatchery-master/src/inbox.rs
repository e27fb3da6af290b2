//! Where the master's facts come from: one wait over everything that can speak.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use hatchery_core::wire::upgrade::{PredecessorSays, SuccessorSays};
use hatchery_core::{Ending, Event, Pid};
use hatchery_sys::channel::{Channel, Received, Speaker};
use hatchery_sys::poll::{self, Interest};
use hatchery_sys::signals::{SelfPipe, Sender};
use hatchery_sys::{Signal, wait};
use tracing::warn;

use crate::anchor::Line;
use crate::anchor::echo::Echo;
use crate::children::Children;
use crate::commands;
use crate::control::Control;

const MESSAGE_LIMIT: usize = 64 * 1024;

/// Facts that the driver has not told the core yet, and their sources.
#[derive(Debug)]
pub(crate) struct Inbox {
    pub(crate) waiting: VecDeque<Event>,
    pub(crate) signals: SelfPipe,
    pub(crate) successor: Option<Successor>,
    pub(crate) predecessor: Option<Channel>,
    pub(crate) anchor: Option<Line>,
    /// What has come by itself, or from the anchor, and may come once more.
    pub(crate) echo: Echo,
    /// Started with SIGHUP ignored, as `nohup` does: the terminal may go.
    pub(crate) outlives_terminal: bool,
}

/// The successor that was started.
#[derive(Debug)]
pub(crate) struct Successor {
    /// Who alone may speak for it: its workers hold the other end of the link as well.
    pub(crate) pid: Pid,
    pub(crate) link: Channel,
}

impl Inbox {
    /// Waits until something can be read or `timeout` is over, and takes in what there is.
    /// `doors` are queues that nobody accepts from, and yet somebody may wait in them.
    pub(crate) fn fill(
        &mut self,
        children: &mut Children,
        doors: &[BorrowedFd<'_>],
        control: &mut Control,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        let speakers: Vec<Pid> = children.speakers().map(|(pid, _)| pid).collect();
        let readable = {
            let mut sources: Vec<BorrowedFd<'_>> = vec![self.signals.as_fd()];
            sources.extend(children.speakers().map(|(_, fd)| fd));
            sources.extend(self.successor.as_ref().map(|successor| successor.link.as_fd()));
            sources.extend(self.predecessor.as_ref().map(AsFd::as_fd));
            // Only its end is ever heard, which the driver looks for.
            sources.extend(self.anchor.as_ref().map(AsFd::as_fd));
            sources.extend(doors);
            let mut sources: Vec<_> = sources.into_iter().map(|fd| (fd, Interest::Read)).collect();
            let others = sources.len();
            sources.extend(control.sources());
            let mut ready = poll::ready(&sources, timeout)?;
            control.take_in(&ready.split_off(others));
            ready
        };
        let knocked = readable[readable.len() - doors.len()..].contains(&true);
        let mut readable = readable.into_iter();
        let signalled = readable.next() == Some(true);
        for pid in speakers {
            if readable.next() == Some(true) {
                self.waiting.extend(children.listen(pid));
            }
        }
        if self.successor.is_some() && readable.next() == Some(true) {
            self.hear_successor();
        }
        if self.predecessor.is_some() && readable.next() == Some(true) {
            self.hear_predecessor();
        }
        if signalled {
            self.take_signals(children)?;
        }
        // Last: a stop that has come as well goes before.
        self.waiting.extend(knocked.then_some(Event::Knocked));
        Ok(())
    }

    fn take_signals(&mut self, children: &mut Children) -> io::Result<()> {
        for caught in self.signals.take() {
            if self.outlives_terminal && caught.signal == Signal::SIGHUP && caught.sender == Sender::Kernel {
                continue;
            }
            let command = commands::command(&caught);
            let times = match self.anchor {
                Some(_) => self.echo.originals(&caught, Instant::now()),
                None => caught.times,
            };
            self.waiting.extend((0..times).filter_map(|_| command).map(Event::Command));
        }
        // Signals coalesce: one SIGCHLD may stand for many children, so reap
        // until nobody is left, whichever signal it was.
        let mut ends: Vec<(Pid, Ending)> = Vec::new();
        while let Some((pid, status)) = wait::reap()? {
            let pid = Pid(pid.as_raw());
            // Its last words came before its end, though perhaps after the poll.
            self.waiting.extend(children.listen(pid));
            self.hear_successor();
            ends.push((pid, ending(status)));
        }
        // A successor first: a master that leaves with its last worker has to know
        // by then that it is needed after all.
        ends.sort_by_key(|(pid, _)| children.is_worker(*pid));
        self.waiting.extend(ends.into_iter().map(|(pid, ending)| Event::Exited { pid, ending }));
        Ok(())
    }

    fn hear_successor(&mut self) {
        while let Some(Successor { pid, link }) = &self.successor {
            let is_itself = |speaker: Speaker| speaker.is(hatchery_sys::Pid::from_raw(pid.0));
            match receive(link, "successor", is_itself, SuccessorSays::decode) {
                Heard::Message(says) => self.waiting.push_back(Event::Successor(says)),
                Heard::Skipped => {}
                Heard::Nothing => return,
                Heard::Closed => {
                    self.successor = None;
                    self.waiting.push_back(Event::SuccessorLinkClosed);
                }
            }
        }
    }

    fn hear_predecessor(&mut self) {
        while let Some(link) = &self.predecessor {
            match receive(link, "predecessor", |_| true, PredecessorSays::decode) {
                Heard::Message(says) => self.waiting.push_back(Event::Predecessor(says)),
                Heard::Skipped => {}
                Heard::Nothing => return,
                Heard::Closed => {
                    self.predecessor = None;
                    self.waiting.push_back(Event::PredecessorLinkClosed);
                }
            }
        }
    }
}

enum Heard<T> {
    Message(T),
    /// Something that this version need not, or cannot, understand.
    Skipped,
    Nothing,
    Closed,
}

fn receive<T, E: std::fmt::Display>(
    link: &Channel,
    who: &str,
    is_believed: impl Fn(Speaker) -> bool,
    decode: impl Fn(&[u8]) -> Result<Option<T>, E>,
) -> Heard<T> {
    let mut message = vec![0; MESSAGE_LIMIT];
    match link.recv_from(&mut message) {
        Ok((Received::Closed, _)) => Heard::Closed,
        Ok((_, speaker)) if !is_believed(speaker) => {
            warn!(target: "hatchery", "{speaker} speaks as the {who}: not believed");
            Heard::Skipped
        }
        Ok((Received::Message { len, .. }, _)) => match decode(&message[..len]) {
            Ok(Some(says)) => Heard::Message(says),
            Ok(None) => Heard::Skipped,
            Err(error) => {
                warn!(target: "hatchery", "the {who} sent something that is no message: {error}");
                Heard::Skipped
            }
        },
        Ok((Received::Truncated | Received::Stripped { .. }, _)) => {
            warn!(target: "hatchery", "the {who} sent a message that is too long");
            Heard::Skipped
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Heard::Nothing,
        Err(error) => {
            warn!(target: "hatchery", "the link to the {who} is broken: {error}");
            Heard::Closed
        }
    }
}

fn ending(status: wait::Status) -> Ending {
    match status {
        wait::Status::Exited(code) => Ending::Code(code),
        wait::Status::Killed { signal, .. } => Ending::Signal(signal),
    }
}
