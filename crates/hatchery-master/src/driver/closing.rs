//! Listeners that come with new settings, and those that go with them.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use hatchery_core::Event;
use hatchery_core::wire::upgrade::SuccessorSays;
use hatchery_net::Listener;
use hatchery_sys::poll;
use tracing::info;

use super::{Driver, LOG};
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
}

impl Closing {
    pub(super) fn begin(&mut self, listeners: Vec<u16>) {
        let until = Instant::now() + PATIENCE;
        self.0.extend(listeners.into_iter().map(|listener| Leaving { listener, until }));
    }
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

    /// Closes what nobody waits at. Those who accept there go on until then: a client
    /// that the kernel has let in is not reset. Returns whether there is more to close.
    pub(super) fn close_listeners(&mut self) -> bool {
        let now = Instant::now();
        let mut closed = Vec::new();
        for Leaving { listener, until } in std::mem::take(&mut self.closing.0) {
            let place = self.listeners.get(usize::from(listener));
            if place.is_some_and(has_somebody) && now < until {
                self.closing.0.push(Leaving { listener, until });
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

fn has_somebody(listener: &Listener) -> bool {
    let queues: Vec<_> = listener.queues().iter().map(AsFd::as_fd).collect();
    poll::readable(&queues, Some(Duration::ZERO)).is_ok_and(|readable| readable.contains(&true))
}
