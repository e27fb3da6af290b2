//! The last clients of a stop: nobody new is let in, and those who are half way in are waited for.

use std::time::{Duration, Instant};

use hatchery_core::Event;
use hatchery_net::Listener;

use super::Driver;

/// How soon is looked for the first time: a SYN that had come before is in a handshake by
/// then. The kernel looks through all its connections for it, so each time that it was in
/// vain the next one is twice as far.
pub(super) const FIRST_LOOK: Duration = Duration::from_millis(5);

/// The listeners that let nobody in.
#[derive(Debug)]
pub(super) struct Barred {
    listeners: Vec<usize>,
    next_look: Instant,
    pause: Duration,
}

impl Driver {
    pub(super) fn bar_queues(&mut self) {
        let barred = self.listeners.iter().enumerate().filter(|(_, listener)| listener.bar_for_good());
        let listeners: Vec<usize> = barred.map(|(index, _)| index).collect();
        if listeners.is_empty() {
            self.inbox.waiting.push_front(Event::QueuesQuiet);
        } else {
            self.barred = Some(Barred { listeners, next_look: Instant::now() + FIRST_LOOK, pause: FIRST_LOOK });
        }
    }

    /// Tells the core when nobody is left. Returns when to look again, if at all.
    pub(super) fn look_at_barred(&mut self) -> Option<Duration> {
        let barred = self.barred.as_mut()?;
        let now = Instant::now();
        if now >= barred.next_look {
            let mut listeners = barred.listeners.iter().filter_map(|index| self.listeners.get(*index));
            if listeners.all(Listener::is_quiet) {
                self.barred = None;
                self.inbox.waiting.push_back(Event::QueuesQuiet);
                return Some(Duration::ZERO);
            }
            barred.pause *= 2;
            barred.next_look = now + barred.pause;
        }
        Some(barred.next_look.saturating_duration_since(now))
    }
}
