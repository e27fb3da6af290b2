//! Listeners that come with new settings, and those that go with them.

use std::time::{Duration, Instant};

use hatchery_core::Event;
use hatchery_core::wire::upgrade::SuccessorSays;
use hatchery_net::Listener;
use tracing::info;

use super::barred::FIRST_LOOK;
use super::{Driver, LOG, RETRY};
use crate::hooks::Reread;

/// How long a listener that goes may have somebody waiting at every look.
const PATIENCE: Duration = Duration::from_secs(1);

/// Listeners that are closed as soon as nobody waits in their queues.
#[derive(Debug, Default)]
pub(super) struct Closing(Vec<Leaving>);

#[derive(Debug)]
struct Leaving {
    listener: u16,
    until: Instant,
    door: Door,
}

/// Whether newcomers are let in.
#[derive(Clone, Copy, Debug)]
enum Door {
    Open,
    Barred { next_look: Instant },
}

impl Driver {
    pub(super) fn reread(&mut self) -> Event {
        let known = self.listeners.len();
        match self.hooks.reread(&mut self.listeners) {
            Ok(Reread { policy, listeners, warnings }) => {
                warnings.iter().for_each(|warning| self.control.warns(warning));
                if self.stores {
                    self.listeners.keep_stored();
                }
                // The core asks again for what is still to go.
                self.let_newcomers_in();
                self.closing.0.clear();
                for listener in self.listeners.iter().skip(known) {
                    let generation = self.core.generation().0;
                    info!(target: LOG, generation, "listening on {}", listener.bound());
                }
                Event::Settings { policy, listeners }
            }
            Err(text) => Event::SettingsRefused { text },
        }
    }

    /// Listeners that nobody will serve. Newcomers are kept out, unless another generation has the
    /// same sockets: it would be left with them if this one were killed now.
    pub(super) fn begin_closing(&mut self, listeners: Vec<u16>) {
        let now = Instant::now();
        let is_alone = self.inbox.predecessor.is_none() && self.inbox.successor.is_none();
        for listener in listeners {
            let place = self.listeners.get(usize::from(listener)).filter(|_| is_alone);
            let door = match place.is_some_and(Listener::bar) {
                true => Door::Barred { next_look: now + FIRST_LOOK },
                false => Door::Open,
            };
            self.closing.0.push(Leaving { listener, until: now + PATIENCE, door });
        }
    }

    /// What is to be closed may be served by somebody after all.
    pub(super) fn let_newcomers_in(&mut self) {
        for leaving in &mut self.closing.0 {
            if let (Door::Barred { .. }, Some(place)) = (leaving.door, self.listeners.get(leaving.listener.into())) {
                place.unbar();
                leaving.door = Door::Open;
            }
        }
    }

    /// Closes what nobody waits at. Those who accept there go on until then: a client
    /// that the kernel has let in is not reset. Returns whether there is more to close.
    pub(super) fn close_listeners(&mut self) -> bool {
        let now = Instant::now();
        let mut closed = Vec::new();
        for mut leaving in std::mem::take(&mut self.closing.0) {
            let listener = leaving.listener;
            let place = self.listeners.get(usize::from(listener));
            if now < leaving.until && place.is_some_and(|place| leaving.door.is_in_use(place, now)) {
                self.closing.0.push(leaving);
                continue;
            }
            if let Some(place) = place.filter(|place| !place.is_closed()) {
                let generation = self.core.generation().0;
                info!(target: LOG, generation, "{} is not served any more: no setting asks for it", place.bound());
            }
            let stored = place.filter(|place| place.is_stored()).map(Listener::store_name);
            self.notify.take_out(stored);
            self.listeners.close(listener);
            closed.push(listener);
        }
        if !closed.is_empty() {
            self.inbox.waiting.push_back(Event::ListenersClosed { listeners: closed });
        }
        !self.closing.0.is_empty()
    }

    /// What the successor says of listeners, by the numbers that they have here.
    pub(super) fn translated(&self, event: Event) -> Event {
        match event {
            Event::Successor(SuccessorSays::Leaves { listeners }) => {
                let here = |place: &u16| self.handed.get(usize::from(*place)).copied();
                Event::Successor(SuccessorSays::Leaves { listeners: listeners.iter().filter_map(here).collect() })
            }
            other => other,
        }
    }
}

impl Door {
    fn is_in_use(&mut self, listener: &Listener, now: Instant) -> bool {
        match self {
            Self::Open => listener.has_somebody(),
            Self::Barred { next_look } if now < *next_look => true,
            Self::Barred { next_look } => {
                *next_look = now + RETRY;
                !listener.is_quiet()
            }
        }
    }
}
