//! What goes from master to master: clients that wait, and who is still there of those before.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use hatchery_core::{Generation, Pid};
use hatchery_sys::peer::Peer;
use hatchery_sys::socket;

use super::Control;
use super::client::{Client, State};
use super::waiting::{Goal, Wait};

/// How long a master that is gone may take to have closed its socket.
const BURIAL: Duration = Duration::from_secs(1);

/// A master of an older generation.
#[derive(Debug)]
pub(super) struct Elder {
    pub(super) pid: Pid,
    pub(super) generation: Generation,
    pub(super) process: Peer,
}

impl Control {
    /// Goes on with clients that this master had before it slept.
    #[must_use]
    pub fn with_clients(self, clients: Vec<OwnedFd>) -> Self {
        self.and(clients, || State::Asking)
    }

    /// Takes in whoever waits for the upgrade that has started this program. While the
    /// predecessor lives it is for it to answer.
    #[must_use]
    pub fn entrusted_with(self, clients: Vec<OwnedFd>) -> Self {
        self.and(clients, || State::Entrusted)
    }

    fn and(mut self, clients: Vec<OwnedFd>, state: impl Fn() -> State) -> Self {
        for stream in clients {
            if let Ok(who) = socket::credentials(stream.as_fd()) {
                self.clients.insert(self.next_key, Client::new(UnixStream::from(stream), who, state()));
                self.next_key += 1;
            }
        }
        self
    }

    /// Whoever waits for the upgrade: their connections, for the successor.
    pub(crate) fn upgraders(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let waits = |client: &&Client| matches!(&client.state, State::Waiting(wait) if wait.goal == Goal::Upgrade);
        self.clients.values().filter(waits).map(Client::fd)
    }

    /// All clients of whom nothing is held here, for this same master as another program image.
    pub(crate) fn everybody(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.clients.values().filter(|client| client.is_idle()).map(Client::fd)
    }

    /// Masters that may still drain: their process and their generation.
    pub(crate) fn elders(&self) -> impl Iterator<Item = (Pid, Generation)> {
        self.elders.iter().filter(|elder| !elder.process.has_ended()).map(|elder| (elder.pid, elder.generation))
    }

    /// Whether somebody who waited for the upgrade has been answered since this was last asked.
    pub(crate) fn take_upgrade_answered(&mut self) -> bool {
        std::mem::take(&mut self.upgrade_answered)
    }

    /// The predecessor has answered those that it had entrusted to this master.
    pub(crate) fn predecessor_answered(&mut self) {
        self.clients.retain(|_, client| !matches!(client.state, State::Entrusted));
    }

    /// The predecessor is gone: those whom it has not answered are this master's.
    pub(crate) fn predecessor_gone(&mut self) {
        for client in self.clients.values_mut().filter(|client| matches!(client.state, State::Entrusted)) {
            client.state = State::Waiting(Wait::succession());
        }
    }

    /// A master of an older generation, which may still drain.
    #[must_use]
    pub fn behind(mut self, pid: Pid, generation: Generation) -> Self {
        self.elders.push(Elder { pid, generation, process: Peer::of(hatchery_sys::Pid::from_raw(pid.0)) });
        self
    }

    /// A master is gone: the name under which it was reachable goes as well.
    pub(crate) fn bury(&mut self, pid: Pid) {
        self.dead.push((pid, Instant::now() + BURIAL));
    }
}
