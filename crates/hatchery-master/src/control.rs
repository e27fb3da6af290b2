//! The control socket: operators ask, the master answers from inside its loop.
//!
//! Everything here is non-blocking and bounded: so many clients, so long a request,
//! so much that waits to be read. A client that does not get on is closed after a
//! while; what it can cost the master is a wake-up.
//!
//! * [`endpoint`]: the socket's file, and who has its name
//! * `door`, `places`: who is let in, and who makes room
//! * `client`: one client, what it has sent and what it has not read
//! * `orders`: what is asked
//! * `waiting`: who waits for which operation, and how that ends
//! * `answers`: telling them
//! * `generations`: what goes from master to master
//! * `status`, `listing`: what is told

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use hatchery_control::{Reply, Request};
use hatchery_core::Pid;
use hatchery_sys::poll::Interest;

pub use endpoint::{ControlError, Endpoint};
pub use orders::Dormant;

use client::{Client, Heard, State};
use generations::Elder;
pub(crate) use orders::{Awoken, Order};
pub(crate) use status::View;

mod answers;
mod client;
mod door;
pub mod endpoint;
mod generations;
mod listing;
mod orders;
mod places;
mod status;
mod waiting;

/// The master's end of the control socket.
#[derive(Debug, Default)]
pub struct Control {
    endpoint: Option<Endpoint>,
    clients: BTreeMap<u64, Client>,
    next_key: u64,
    /// Requests that nobody has looked at, in their order.
    asked: VecDeque<(u64, Request)>,
    /// Nobody is taken in before this.
    rests_until: Option<Instant>,
    /// Masters of older generations, the newest last.
    elders: Vec<Elder>,
    /// Whose second name is to be removed, and until when that is tried.
    dead: Vec<(Pid, Instant)>,
    /// The number of workers that somebody has asked for, until there are so many.
    scaling: Option<u16>,
    upgrade_answered: bool,
}

impl Control {
    /// A master's end, with a socket if it is to have one.
    #[must_use]
    pub fn new(endpoint: Option<Endpoint>) -> Self {
        Self { endpoint, ..Self::default() }
    }

    /// The socket, for the same.
    pub(crate) fn socket(&self) -> Option<BorrowedFd<'_>> {
        self.endpoint.as_ref().and_then(Endpoint::fd)
    }

    /// The socket's file.
    pub fn endpoint(&mut self) -> Option<&mut Endpoint> {
        self.endpoint.as_mut()
    }

    /// What to wait for.
    pub(crate) fn sources(&self) -> Vec<(BorrowedFd<'_>, Interest)> {
        let door = self.door().map(|listener| (listener.as_fd(), Interest::Read));
        door.into_iter().chain(self.clients.values().map(Client::source)).collect()
    }

    /// Whether somebody has asked, and nobody has looked at it.
    pub(crate) fn is_asked(&self) -> bool {
        !self.asked.is_empty()
    }

    /// When a client is closed, answered, or taken in again, at the latest.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let buried = self.dead.first().map(|_| Instant::now() + Duration::from_millis(20));
        let clients = self.clients.values().flat_map(|client| [client.deadline(), client.answered_at()]).flatten();
        clients.chain(self.rests_until).chain(buried).min()
    }

    /// Takes in what has come: one flag for each of the [`sources`](Self::sources).
    pub(crate) fn take_in(&mut self, ready: &[bool]) {
        let mut ready = ready.iter().copied();
        let knocks = self.door().is_some() && ready.next() == Some(true);
        let mut gone = Vec::new();
        for (key, client) in &mut self.clients {
            if ready.next() != Some(true) {
                continue;
            }
            let had_read_all = client.has_read_all();
            if client.flush().is_err() && !matches!(client.state, State::Asked) {
                gone.push(*key);
                continue;
            }
            let heard = match client.state {
                State::Asking if had_read_all => client.hear(),
                State::Asking => client.next_request(),
                // Nothing but its end was waited for.
                State::Waiting(_) | State::Entrusted(_) if had_read_all => Heard::Gone,
                // What was asked is obeyed, also behind another one's request in the same moment: that its
                // client has not stayed for the answer is found out when it was looked at.
                State::Asked | State::Waiting(_) | State::Entrusted(_) | State::Listing(_) | State::Leaving => {
                    Heard::Nothing
                }
            };
            match heard {
                Heard::Request(request) => self.asked.push_back((*key, request)),
                Heard::Nothing => {}
                Heard::Gone => gone.push(*key),
            }
        }
        for key in gone {
            self.forget(key);
        }
        if knocks {
            self.let_in();
        }
    }

    /// Closes whoever does not get on, and buries who is dead.
    pub(crate) fn pass_deadlines(&mut self) {
        let now = Instant::now();
        let late = |client: &Client| client.is_done() || client.deadline().is_some_and(|deadline| deadline <= now);
        let late: Vec<u64> = self.clients.iter().filter(|(_, client)| late(client)).map(|(key, _)| *key).collect();
        for key in late {
            self.forget(key);
        }
        self.rests_until = self.rests_until.filter(|until| *until > now);
        let endpoint = &self.endpoint;
        let is_left = |pid| endpoint.as_ref().is_some_and(|endpoint| !endpoint.remove_dead(pid));
        self.dead.retain(|(pid, until)| is_left(*pid) && *until > now);
    }

    fn answer(&mut self, key: u64, reply: &Reply) {
        let Some(client) = self.clients.get_mut(&key) else { return };
        client.answer(reply);
        if let Heard::Request(request) = client.next_request() {
            self.asked.push_back((key, request));
        }
    }

    fn forget(&mut self, key: u64) {
        self.clients.remove(&key);
        self.asked.retain(|(other, _)| *other != key);
    }
}
