//! What is asked, in its order: some is answered at once, the rest is asked of the core.

use hatchery_control::{Refusal, Reply, Request, Until, Whom};
use hatchery_core::companion::MAX_COMPANIONS;
use hatchery_core::shutdown::Life;
use hatchery_core::{Command, Generation, Master, Notice, Slot};
use hatchery_net::Listeners;
use hatchery_sys::board::Board;
use hatchery_sys::socket::Credentials;
use tracing::info;

use super::Control;
use super::client::{Client, State};
use super::listing::Cursor;
use super::status::{self, View};
use super::waiting::{Goal, Stage, Wait};

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

/// What a client wants of the core.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order {
    pub(super) client: u64,
    pub(crate) command: Command,
}

impl Control {
    /// What is asked of a master that has nothing but the sockets. Whether it has to wake is the answer.
    pub(crate) fn while_dormant(&mut self, dormant: &Dormant<'_>, reopen: &mut impl FnMut()) -> Option<Awoken> {
        while let Some((key, request)) = self.asked.pop_front() {
            match (order(&request), &request) {
                (Some((command @ (Command::Upgrade | Command::Reload), until)), _) => {
                    // The program may take long to load.
                    if let Some(client) = self.clients.get_mut(&key).filter(|_| until != Until::Begun) {
                        client.goes_on(&format!("{command} waits: the server wakes first"));
                    }
                    self.asked.push_front((key, request));
                    return Some(Awoken::ToObey);
                }
                (Some((command @ Command::Stop, until)), _) => {
                    self.log(key, command, dormant.generation);
                    if let Some(client) = self.clients.get_mut(&key) {
                        client.state = State::Waiting(Wait { goal: Goal::Stop, stage: Stage::Running, until });
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
                (None, Request::Recycle { whom, .. }) => {
                    let text = format!("recycle of {whom} refused: no worker is there before the first connection");
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
                Request::Recycle { whom: Whom::Name(name), wait } => match called(&name, view.core) {
                    Ok(slot) => self.asked.push_front((key, Request::Recycle { whom: Whom::Slot(slot.0), wait })),
                    Err(why) => {
                        let text = format!("recycle of `{name}` refused: {why}");
                        self.answer(key, &Reply::Failed { because: Refusal::Refused, text });
                    }
                },
                other => {
                    let (command, until) = order(&other)?;
                    // Opening logs again is over within the step.
                    let waits = until != Until::Begun && command != Command::Reopen;
                    if let Some(why) = waits.then(|| self.too_many_waits(key)).flatten() {
                        let text = format!("{command} refused: {why}");
                        self.answer(key, &Reply::Failed { because: Refusal::Refused, text });
                        continue;
                    }
                    self.log(key, command, view.core.generation());
                    // A second stop would begin at once, or end, what the first one has asked for.
                    let stops = matches!(view.core.life(), Life::LameDuck { .. } | Life::Stopping { .. });
                    let Some(mut wait) = Wait::new(command, until, view.core) else { continue };
                    if command == Command::Stop && stops {
                        wait.stage = Stage::Running;
                    }
                    let begins = wait.stage == Stage::Asked;
                    let is_to_the_end = wait.is_to_the_end();
                    if let Some(client) = self.clients.get_mut(&key) {
                        client.state = State::Waiting(wait);
                    }
                    if begins {
                        return Some(Order { client: key, command });
                    }
                    self.says_how_it_begins(key, "it stops already", is_to_the_end);
                }
            }
        }
        None
    }

    /// An operation has begun, or waits: to whoever waits for no more that is the answer, and to the others
    /// the sign that they were heard.
    pub(super) fn says_how_it_begins(&mut self, key: u64, text: &str, is_to_the_end: bool) {
        if !is_to_the_end {
            self.answer(key, &Reply::Done { text: text.to_owned() });
        } else if let Some(client) = self.clients.get_mut(&key) {
            client.goes_on(text);
        }
    }

    fn log(&self, key: u64, command: Command, generation: Generation) {
        if let Some(Client { who: Credentials { uid, pid }, .. }) = self.clients.get(&key) {
            info!(target: "hatchery", generation = generation.0, "control socket: user {uid} (pid {pid}) asks for {command}");
        }
    }
}

/// The slot of the companion that the program calls so.
fn called(name: &str, core: &Master) -> Result<Slot, &'static str> {
    let is_it = |slot: &Slot| core.who(*slot).companion.is_some_and(|companion| companion.name == name);
    let mut found = (0..MAX_COMPANIONS).map(Slot::companion).filter(is_it);
    match (found.next(), found.next()) {
        (None, _) => Err("no job server or sidecar has this name"),
        (Some(slot), None) => Ok(slot),
        (Some(_), Some(_)) => Err("a job server and a sidecar have this name: say which slot"),
    }
}

/// What a request asks of the core, and what is waited for.
fn order(request: &Request) -> Option<(Command, Until)> {
    match request {
        Request::Upgrade { wait } => Some((Command::Upgrade, *wait)),
        Request::Reload { wait } => Some((Command::Reload, Until::from(*wait))),
        Request::Scale { workers, wait } => Some((Command::Scale(*workers), Until::from(*wait))),
        Request::Recycle { whom: Whom::Slot(slot), wait } => Some((Command::Recycle(Slot(*slot)), Until::from(*wait))),
        Request::Stop { wait } => Some((Command::Stop, Until::from(*wait))),
        Request::Reopen => Some((Command::Reopen, Until::Done)),
        _ => None,
    }
}
