//! What goes from master to master: clients that wait, and who is still there of those before.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use hatchery_control::Until;
use hatchery_core::wire::upgrade::Whom;
use hatchery_core::{Generation, Pid};
use hatchery_sys::peer::Peer;
use hatchery_sys::socket;

use super::Control;
use super::client::{Client, State};
use super::waiting::{Goal, Stage, Wait};

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
    pub fn with_clients(self, clients: Vec<(OwnedFd, Until)>) -> Self {
        self.and(clients, |_| State::Asking)
    }

    /// Takes in whoever waits for the upgrade that has started this program. While the
    /// predecessor lives it is for it to answer.
    #[must_use]
    pub fn entrusted_with(self, clients: Vec<(OwnedFd, Until)>) -> Self {
        self.and(clients, State::Entrusted)
    }

    fn and(mut self, clients: Vec<(OwnedFd, Until)>, state: impl Fn(Until) -> State) -> Self {
        for (stream, until) in clients {
            if let Ok(who) = socket::credentials(stream.as_fd()) {
                self.clients.insert(self.next_key, Client::new(UnixStream::from(stream), who, state(until)));
                self.next_key += 1;
            }
        }
        self
    }

    /// Whoever waits for the upgrade: their connections, for the successor, and how long each waits.
    pub(crate) fn upgraders(&self) -> impl Iterator<Item = (BorrowedFd<'_>, Until)> {
        let waits = |client: &Client| match &client.state {
            State::Waiting(wait) if wait.goal == Goal::Upgrade => Some(wait.until),
            _ => None,
        };
        self.clients.values().filter_map(move |client| Some((client.fd(), waits(client)?)))
    }

    /// All clients of whom nothing is held here, for this same master as another program image.
    pub(crate) fn everybody(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.clients.values().filter(|client| client.is_idle()).map(Client::fd)
    }

    /// Masters that may still drain: their process and their generation.
    pub(crate) fn elders(&self) -> impl Iterator<Item = (Pid, Generation)> {
        self.elders.iter().filter(|elder| !elder.process.has_ended()).map(|elder| (elder.pid, elder.generation))
    }

    /// Who of those that waited for the upgrade have been answered since this was last asked.
    pub(crate) fn take_upgrade_answered(&mut self) -> Option<Whom> {
        let waits_on = |client: &Client| match &client.state {
            State::Waiting(Wait { goal: Goal::Upgrade, stage: Stage::Running, until }) => *until == Until::Proven,
            _ => false,
        };
        let whom = || if self.clients.values().any(waits_on) { Whom::ForTheTakeover } else { Whom::Everybody };
        let answered = self.upgrade_answered.then(whom);
        self.upgrade_answered = false;
        answered
    }

    /// The predecessor has answered these of those that it had entrusted to this master.
    pub(crate) fn predecessor_answered(&mut self, whom: Whom) {
        self.clients.retain(|_, client| match (&client.state, whom) {
            (State::Entrusted(_), Whom::Everybody) => false,
            (State::Entrusted(until), Whom::ForTheTakeover) => *until == Until::Proven,
            _ => true,
        });
    }

    /// The predecessor is gone: those whom it has not answered are this master's.
    pub(crate) fn predecessor_gone(&mut self) {
        for client in self.clients.values_mut() {
            if let State::Entrusted(until) = client.state {
                client.state = State::Waiting(Wait::succession(until));
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn clients(until: &[Until]) -> Vec<(OwnedFd, Until)> {
        let stream = || UnixStream::pair().expect("a pair").0.into();
        until.iter().map(|until| (stream(), *until)).collect()
    }

    #[test]
    fn whom_the_predecessor_has_answered_the_successor_need_not() {
        let entrusted = || Control::default().entrusted_with(clients(&[Until::Done, Until::Proven]));
        let mut control = entrusted();
        control.predecessor_answered(Whom::Everybody);
        assert!(control.clients.is_empty());
        let mut control = entrusted();
        control.predecessor_answered(Whom::ForTheTakeover);
        control.predecessor_gone();
        let waits =
            |client: &Client| matches!(&client.state, State::Waiting(wait) if *wait == Wait::succession(Until::Proven));
        assert!(control.clients.len() == 1 && control.clients.values().all(waits));
    }

    #[test]
    fn who_waits_for_the_probation_is_left_when_the_others_are_answered() {
        let mut control = Control::default().entrusted_with(clients(&[Until::Proven]));
        let waiting = |stage| State::Waiting(Wait { goal: Goal::Upgrade, stage, until: Until::Proven });
        assert_eq!(control.take_upgrade_answered(), None);
        for (state, whom) in [
            (waiting(Stage::Running), Whom::ForTheTakeover),
            // For the next one.
            (waiting(Stage::Postponed), Whom::Everybody),
            (State::Asking, Whom::Everybody),
        ] {
            control.clients.values_mut().for_each(|client| client.state = waiting(Stage::Running));
            assert_eq!(control.upgraders().map(|(_, until)| until).collect::<Vec<_>>(), [Until::Proven]);
            let client = control.clients.values_mut().next().expect("one");
            client.state = state;
            control.upgrade_answered = true;
            assert_eq!(control.take_upgrade_answered(), Some(whom));
            assert_eq!(control.take_upgrade_answered(), None);
        }
    }
}
