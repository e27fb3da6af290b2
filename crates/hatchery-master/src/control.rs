//! The control socket: operators ask, the master answers from inside its loop.
//!
//! Everything here is non-blocking and bounded: so many clients, so long a request,
//! so much that waits to be read. A client that does not get on is closed after a
//! while; what it can cost the master is a wake-up.
//!
//! * [`endpoint`]: the socket's file, and who has its name
//! * `client`: one client, what it has sent and what it has not read
//! * `waiting`: who waits for which operation, and how that ends
//! * `status`, `listing`: what is told

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

use hatchery_control::{Refusal, Reply, Request};
use hatchery_core::shutdown::Life;
use hatchery_core::{Command, Generation, Master, Notice, Outcome, Pid, Slot};
use hatchery_net::Listeners;
use hatchery_sys::board::Board;
use hatchery_sys::peer::Peer;
use hatchery_sys::poll::Interest;
use hatchery_sys::socket::{self, Credentials};
use hatchery_sys::user;
use tracing::{info, warn};

pub use endpoint::{ControlError, Endpoint};

use client::{Client, Heard, State};
use listing::Cursor;
pub(crate) use status::View;
use waiting::{Goal, Stage, Wait};

mod client;
pub mod endpoint;
mod listing;
mod status;
mod waiting;

/// Clients at a time. One more takes the place of the one that has been idle for the longest.
const MOST_CLIENTS: usize = 64;

/// Clients that are taken in before anything else is looked at again.
const AT_A_TIME: usize = 16;

/// How long nobody is taken in when there is no descriptor left for it.
const REST: Duration = Duration::from_secs(1);

/// How long a master that is gone may take to have closed its socket.
const BURIAL: Duration = Duration::from_secs(1);

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

/// A master that has nothing but the sockets.
#[derive(Clone, Copy, Debug)]
pub struct Dormant<'a> {
    /// Its generation.
    pub generation: Generation,
    /// Where it listens.
    pub listeners: &'a Listeners,
    /// What was counted before.
    pub board: &'a Board,
}

/// Why a master wakes for an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Awoken {
    /// To go.
    ToStop,
    /// To do what takes workers; it is still to be asked for by [`Control::next_order`].
    ToObey,
}

/// A master of an older generation.
#[derive(Debug)]
struct Elder {
    pid: Pid,
    generation: Generation,
    process: Peer,
}

/// What a client wants of the core.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order {
    client: u64,
    pub(crate) command: Command,
}

impl Control {
    /// A master's end, with a socket if it is to have one.
    #[must_use]
    pub fn new(endpoint: Option<Endpoint>) -> Self {
        Self { endpoint, ..Self::default() }
    }

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

    /// The socket, for the same.
    pub(crate) fn socket(&self) -> Option<BorrowedFd<'_>> {
        self.endpoint.as_ref().and_then(Endpoint::fd)
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

    /// What is asked of a master that has nothing but the sockets. Whether it has to wake is the answer.
    pub(crate) fn while_dormant(&mut self, dormant: &Dormant<'_>, reopen: &mut impl FnMut()) -> Option<Awoken> {
        while let Some((key, request)) = self.asked.pop_front() {
            match (order(&request), &request) {
                (Some((Command::Upgrade | Command::Reload, _)), _) => {
                    self.asked.push_front((key, request));
                    return Some(Awoken::ToObey);
                }
                (Some((command @ Command::Stop, to_the_end)), _) => {
                    self.log(key, command, dormant.generation);
                    if let Some(client) = self.clients.get_mut(&key) {
                        client.state = State::Waiting(Wait { goal: Goal::Stop, stage: Stage::Running, to_the_end });
                    }
                    return Some(Awoken::ToStop);
                }
                (Some((Command::Reopen, _)), _) => {
                    self.log(key, Command::Reopen, dormant.generation);
                    reopen();
                    self.answer(key, &Reply::Done { text: Notice::Reopened.to_string() });
                }
                (Some((command, _)), _) => {
                    let text = format!("{command} refused: no worker is there before the first connection");
                    self.answer(key, &Reply::Failed { because: Refusal::Refused, text });
                }
                (None, Request::Connections) => {
                    self.answer(key, &Reply::Connections { connections: Vec::new(), more: false });
                }
                (None, _) => {
                    let status = Box::new(status::dormant(dormant, self));
                    self.answer(key, &Reply::Status { status });
                }
            }
        }
        None
    }

    /// The socket's file.
    pub fn endpoint(&mut self) -> Option<&mut Endpoint> {
        self.endpoint.as_mut()
    }

    /// A master of an older generation, which may still drain.
    #[must_use]
    pub fn behind(mut self, pid: Pid, generation: Generation) -> Self {
        self.elders.push(Elder { pid, generation, process: Peer::of(hatchery_sys::Pid::from_raw(pid.0)) });
        self
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

    /// When a client is closed, or taken in again, at the latest.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let buried = self.dead.first().map(|_| Instant::now() + Duration::from_millis(20));
        self.clients.values().filter_map(Client::deadline).chain(self.rests_until).chain(buried).min()
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
            if client.flush().is_err() {
                gone.push(*key);
                continue;
            }
            let heard = match client.state {
                State::Asking if had_read_all => client.hear(),
                State::Asking => client.next_request(),
                // Nothing but its end was waited for.
                State::Waiting(_) | State::Entrusted | State::Asked if had_read_all => Heard::Gone,
                State::Waiting(_) | State::Entrusted | State::Asked | State::Listing(_) | State::Leaving => {
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

    /// Answers what can be answered at once. The first request that is an order is returned.
    pub(crate) fn next_order(&mut self, view: View<'_>) -> Option<Order> {
        self.go_on_listing(view);
        while let Some((key, request)) = self.asked.pop_front() {
            match request {
                Request::Status => {
                    let status = Box::new(view.status(self));
                    self.answer(key, &Reply::Status { status });
                }
                Request::Connections => {
                    if let Some(client) = self.clients.get_mut(&key) {
                        client.state = State::Listing(Cursor::default());
                    }
                }
                other => {
                    let (command, to_the_end) = order(&other)?;
                    self.log(key, command, view.core.generation());
                    // A second stop would end at once what the first one drains.
                    let stops = matches!(view.core.life(), Life::Stopping { .. });
                    let Some(mut wait) = Wait::new(command, to_the_end, view.core) else { continue };
                    if command == Command::Stop && stops {
                        wait.stage = Stage::Running;
                    }
                    let begins = wait.stage == Stage::Asked;
                    let joins = (!begins && !to_the_end).then(|| Reply::Done { text: "it stops already".to_owned() });
                    if let Some(client) = self.clients.get_mut(&key) {
                        client.state = State::Waiting(wait);
                    }
                    if let Some(reply) = joins {
                        self.answer(key, &reply);
                    }
                    if begins {
                        return Some(Order { client: key, command });
                    }
                }
            }
        }
        None
    }

    /// A list goes on when what was told of it has been read.
    fn go_on_listing(&mut self, view: View<'_>) {
        let mut answers = Vec::new();
        for (key, client) in self.clients.iter_mut().filter(|(_, client)| client.has_read_all()) {
            let State::Listing(cursor) = &mut client.state else { continue };
            match view.list(*cursor) {
                (part, Some(next)) => {
                    *cursor = next;
                    client.progress(&part);
                }
                (end, None) => answers.push((*key, end)),
            }
        }
        self.answer_all(answers);
    }

    /// A line of the log, as it is written.
    pub(crate) fn hears(&mut self, notice: &Notice, core: &Master) {
        if let Notice::Scaled { workers } = notice {
            self.scaling = Some(*workers);
        }
        let line = Reply::Progress { text: notice.to_string() };
        let mut answers = Vec::new();
        for (key, client) in &mut self.clients {
            let State::Waiting(wait) = &mut client.state else { continue };
            match wait.hears(notice, core) {
                Some(reply) => answers.push((*key, reply)),
                None if wait.stage != Stage::Asked && wait.to_the_end => client.progress(&line),
                None => {}
            }
        }
        self.answer_all(answers);
    }

    /// The state of things after a step, when all that it asked for was done.
    pub(crate) fn looks(&mut self, order: Option<Order>, core: &Master) {
        if self.scaling.is_some_and(|workers| core.scale().0 != workers || has_scaled(workers, core)) {
            self.scaling = None;
        }
        let mut answers = Vec::new();
        for (key, client) in &mut self.clients {
            let State::Waiting(wait) = &mut client.state else { continue };
            // Whoever has asked since has not been heard by the core.
            if wait.stage != Stage::Asked || order.is_some_and(|order| order.client == *key) {
                answers.extend(wait.looks(core).map(|reply| (*key, reply)));
            }
        }
        self.answer_all(answers);
    }

    /// What was to be done cannot be: this master could not load, and sleeps on.
    pub fn cannot_wake(&mut self, text: &str) {
        while let Some((key, _)) = self.asked.pop_front() {
            self.answer(key, &Reply::Failed { because: Refusal::Failed, text: text.to_owned() });
        }
    }

    /// The last words of a master, to everybody who waits for some.
    pub fn farewell(&mut self, outcome: &Outcome, replaced: bool) {
        for client in self.clients.values_mut() {
            if let State::Waiting(wait) = &client.state {
                let reply = wait.ends(outcome, replaced);
                client.answer(&reply);
            }
        }
        self.clients.clear();
        self.asked.clear();
    }

    /// A master is gone: the name under which it was reachable goes as well.
    pub(crate) fn bury(&mut self, pid: Pid) {
        self.dead.push((pid, Instant::now() + BURIAL));
    }

    fn door(&self) -> Option<&UnixListener> {
        self.endpoint.as_ref().and_then(Endpoint::listener).filter(|_| self.rests_until.is_none())
    }

    fn let_in(&mut self) {
        for _ in 0..AT_A_TIME {
            let Some(listener) = self.endpoint.as_ref().and_then(Endpoint::listener) else { return };
            match endpoint::accept(listener) {
                Ok(stream) => self.meet(stream),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    warn!(target: "hatchery", "no client of the control socket can be taken in for a moment: {error}");
                    self.rests_until = Some(Instant::now() + REST);
                    return;
                }
            }
        }
    }

    fn meet(&mut self, stream: UnixStream) {
        let who = match socket::credentials(stream.as_fd()) {
            Ok(who) if self.may_ask(who) => who,
            // A process that may not even be known, or somebody whom the mode does not let in.
            Ok(who) => {
                warn!(target: "hatchery", "control socket: user {} (pid {}) may not ask", who.uid, who.pid);
                return turn_away(stream, who, Refusal::Forbidden, "only root and the server's own user may ask");
            }
            Err(error) => {
                warn!(target: "hatchery", "control socket: the system does not tell who asks: {error}");
                return;
            }
        };
        if self.clients.len() >= MOST_CLIENTS {
            let idle = self.clients.iter().filter_map(|(key, client)| Some((client.idle_since()?, *key))).min();
            match idle {
                Some((_, key)) => self.forget(key),
                None => return turn_away(stream, who, Refusal::Refused, "too many clients wait already"),
            }
        }
        let mut client = Client::new(stream, who, State::Asking);
        let heard = client.hear();
        let key = self.next_key;
        self.next_key += 1;
        match heard {
            Heard::Gone => return,
            Heard::Nothing => {}
            Heard::Request(request) => self.asked.push_back((key, request)),
        }
        self.clients.insert(key, client);
    }

    fn may_ask(&self, who: Credentials) -> bool {
        let is_open = self.endpoint.as_ref().is_some_and(Endpoint::is_open_to_others);
        who.uid == 0 || who.uid == user::effective() || is_open
    }

    fn log(&self, key: u64, command: Command, generation: Generation) {
        if let Some(Client { who: Credentials { uid, pid }, .. }) = self.clients.get(&key) {
            info!(target: "hatchery", generation = generation.0, "control socket: user {uid} (pid {pid}) asks for {command}");
        }
    }

    fn answer_all(&mut self, answers: Vec<(u64, Reply)>) {
        for (key, reply) in answers {
            let waited_for_upgrade =
                |client: &Client| matches!(&client.state, State::Waiting(wait) if wait.goal == Goal::Upgrade);
            self.upgrade_answered |= self.clients.get(&key).is_some_and(waited_for_upgrade);
            self.answer(key, &reply);
        }
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

/// What a request asks of the core, and whether its end is waited for.
fn order(request: &Request) -> Option<(Command, bool)> {
    match request {
        Request::Upgrade { wait } => Some((Command::Upgrade, *wait)),
        Request::Reload { wait } => Some((Command::Reload, *wait)),
        Request::Scale { workers, wait } => Some((Command::Scale(*workers), *wait)),
        Request::Recycle { slot, wait } => Some((Command::Recycle(Slot(*slot)), *wait)),
        Request::Stop { wait } => Some((Command::Stop, *wait)),
        Request::Reopen => Some((Command::Reopen, true)),
        _ => None,
    }
}

fn has_scaled(workers: u16, core: &Master) -> bool {
    let ready = core.ready().into_keys().filter(|slot| !slot.is_companion()).count();
    ready == usize::from(workers) || core.wanted() == 0
}

/// Says why, if that can be said at once, and closes.
fn turn_away(stream: UnixStream, who: Credentials, because: Refusal, text: &str) {
    Client::new(stream, who, State::Asking).refuse(because, text.to_owned());
}
