//! Workers as the driver sees them: a channel each, and a cell of the board.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use hatchery_core::wire::worker::{MasterSays, WorkerSays};
use hatchery_core::{Event, Pid, Sample};
use hatchery_sys::board::Board;
use hatchery_sys::channel::{Channel, Received};
use hatchery_sys::ledger::Reader;
use hatchery_sys::process;
use tracing::warn;

use crate::notify::Signs;

/// Messages that wait for a worker that does not read. One that lets so many
/// pile up, behind the hundreds that the socket holds, will never read them.
const OUTBOX_LIMIT: usize = 64;

/// A message is at most so long, from either side.
const MESSAGE_LIMIT: usize = 64 * 1024;

/// All workers that have not been reaped.
#[derive(Debug)]
pub struct Children {
    by_pid: BTreeMap<Pid, Child>,
    /// Made once. To clear another one for each message would write to pages that workers share, and so
    /// cost each of them a copy; of this one nothing is written to but what messages reach.
    message: Box<[u8]>,
}

#[derive(Debug)]
struct Child {
    channel: Channel,
    cell: usize,
    born: Instant,
    speaks: Speaks,
    outbox: VecDeque<Letter>,
    /// What its connections do, once it is ready.
    ledger: Option<Reader>,
}

/// A message, and the descriptor that goes with it.
#[derive(Debug)]
struct Letter {
    says: MasterSays,
    enclosed: Option<OwnedFd>,
}

/// Whether a worker's end of the channel is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speaks {
    Yes,
    /// It closed its end: it is about to be reaped.
    No,
}

/// Whether a message found its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// It was sent, waits its turn, or has no reader any more.
    Done,
    /// The worker has stopped reading long ago.
    Stuck,
}

impl Default for Children {
    fn default() -> Self {
        Self { by_pid: BTreeMap::new(), message: vec![0; MESSAGE_LIMIT].into_boxed_slice() }
    }
}

impl Children {
    /// Nobody yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in a worker that was forked just now, with the cell that was claimed for it.
    pub fn born(&mut self, pid: Pid, channel: Channel, cell: usize) {
        let child =
            Child { channel, cell, born: Instant::now(), speaks: Speaks::Yes, outbox: VecDeque::new(), ledger: None };
        self.by_pid.insert(pid, child);
    }

    /// Forgets a worker that was reaped; the board keeps what it had counted. Returns
    /// whether it was one.
    pub fn reaped(&mut self, pid: Pid, board: &Board) -> bool {
        let Some(child) = self.by_pid.remove(&pid) else { return false };
        board.release(child.cell);
        true
    }

    /// Whether this is one of them, also if it is dead and nobody has said so yet.
    #[must_use]
    pub fn is_worker(&self, pid: Pid) -> bool {
        self.by_pid.contains_key(&pid)
    }

    /// What the board says about each of them, and the system, as far as it matters.
    #[must_use]
    pub fn sample(&self, board: &Board, weigh: bool) -> Vec<Sample> {
        let read = |(pid, child): (&Pid, &Child)| {
            let cell = board.cell(child.cell);
            let (raw, turn) = (hatchery_sys::Pid::from_raw(pid.0), cell.turn.load(Relaxed));
            // Of a loop that waits nobody asks whether its process is stopped.
            let stopped = turn % 2 == 1 && process::is_stopped(raw).unwrap_or(false);
            let resident = if weigh { process::resident(raw) } else { None };
            let (open, accepted) = (cell.open.load(Relaxed), cell.accepted());
            Sample { pid: *pid, open, accepted, turn, stopped, resident }
        };
        self.by_pid.iter().map(read).collect()
    }

    /// The cell of a worker that was not reaped, and how long ago it was forked.
    #[must_use]
    pub fn cell(&self, pid: Pid) -> Option<(usize, Duration)> {
        self.by_pid.get(&pid).map(|child| (child.cell, child.born.elapsed()))
    }

    /// What each of them shows of life.
    pub(crate) fn signs(&self, board: &Board) -> Vec<Signs> {
        let read = |(pid, child): (&Pid, &Child)| {
            let cell = board.cell(child.cell);
            let work = cell.accepted().wrapping_add(cell.requests());
            Signs { pid: hatchery_sys::Pid::from_raw(pid.0), turn: cell.turn.load(Relaxed), work }
        };
        self.by_pid.iter().map(read).collect()
    }

    /// What the connections of a worker do, if it has said so.
    #[must_use]
    pub fn ledger(&self, pid: Pid) -> Option<&Reader> {
        self.by_pid.get(&pid).and_then(|child| child.ledger.as_ref())
    }

    /// Whom to wait for.
    pub fn speakers(&self) -> impl Iterator<Item = (Pid, BorrowedFd<'_>)> {
        self.by_pid
            .iter()
            .filter(|(_, child)| child.speaks == Speaks::Yes)
            .map(|(pid, child)| (*pid, child.channel.as_fd()))
    }

    /// Sends a message without ever waiting for its reader.
    pub fn tell(&mut self, pid: Pid, says: MasterSays, enclosed: Option<OwnedFd>) -> Delivery {
        let Some(child) = self.by_pid.get_mut(&pid) else { return Delivery::Done };
        child.outbox.push_back(Letter { says, enclosed });
        child.flush();
        if child.outbox.len() > OUTBOX_LIMIT { Delivery::Stuck } else { Delivery::Done }
    }

    /// Tries again what did not fit. Returns whether something is still waiting.
    pub fn flush(&mut self) -> bool {
        let mut waiting = false;
        for child in self.by_pid.values_mut().filter(|child| !child.outbox.is_empty()) {
            child.flush();
            waiting |= !child.outbox.is_empty();
        }
        waiting
    }

    /// Everything that a worker has said and that nobody has heard yet.
    pub fn listen(&mut self, pid: Pid) -> Vec<Event> {
        let Some(child) = self.by_pid.get_mut(&pid) else { return Vec::new() };
        let mut heard = Vec::new();
        while child.speaks == Speaks::Yes {
            match child.channel.recv(&mut self.message) {
                Ok(Received::Message { len, fds }) => {
                    if let Some(fd) = fds.into_iter().next() {
                        child.ledger = Reader::new(File::from(fd)).ok();
                    }
                    match WorkerSays::decode(&self.message[..len]) {
                        Ok(says) => heard.push(Event::Worker { pid, says }),
                        Err(error) => {
                            warn!(target: "hatchery", "worker (pid {pid}) sent something that is no message: {error}");
                        }
                    }
                }
                Ok(Received::Truncated | Received::Stripped { .. }) => {
                    warn!(target: "hatchery", "worker (pid {pid}) sent a message that is too long");
                }
                Ok(Received::Closed) => child.speaks = Speaks::No,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => {
                    warn!(target: "hatchery", "the channel of worker (pid {pid}) is broken: {error}");
                    child.speaks = Speaks::No;
                }
            }
        }
        heard
    }
}

impl Child {
    fn flush(&mut self) {
        while let Some(Letter { says, enclosed }) = self.outbox.front() {
            let fds: Vec<BorrowedFd<'_>> = enclosed.iter().map(AsFd::as_fd).collect();
            match self.channel.send(&says.encode(), &fds) {
                Ok(()) => {
                    self.outbox.pop_front();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // The reader is gone, and about to be reaped.
                Err(_) => self.outbox.clear(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn to_listen_writes_no_further_than_messages_reach() {
        let (ours, theirs) = Channel::pair().expect("a pair");
        let mut children = Children::new();
        children.born(Pid(1), ours, 0);
        children.message.fill(7);
        let says = WorkerSays::HowIsIt.encode();
        theirs.send(&says, &[]).expect("room");
        assert_eq!(children.listen(Pid(1)), [Event::Worker { pid: Pid(1), says: WorkerSays::HowIsIt }]);
        assert!(children.message[says.len()..].iter().all(|byte| *byte == 7));
    }
}
