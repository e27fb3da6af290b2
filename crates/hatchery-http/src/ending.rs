//! How a connection comes to its end here: politely, unless it has had its time.

use std::rc::Rc;
use std::task::{Context, Poll};

use hatchery_worker::Counter;

use crate::connection::{Connection, Link};
use crate::parked::Parked;
use crate::peek::Peeked;
use crate::phase::Phase;
use crate::service::Handle;

impl<S: Handle> Connection<S> {
    /// The worker drains: what can move does so, at once or when its requests are
    /// answered. Of what cannot, idle connections go at once; what was busy a
    /// moment ago gets a moment.
    pub(crate) fn drain(&mut self, cx: &mut Context<'_>) {
        if self.depart() {
            return;
        }
        let entry = Rc::clone(&self.registered.entry);
        match &mut self.link {
            Link::Parked(_) => self.drain_parked(),
            Link::Http1(active) if active.may_move() => {
                active.leave_the_rest();
                if active.is_idle() || active.is_in_head() {
                    self.give_back(cx);
                }
            }
            Link::Http1(active) if active.is_idle() => {
                let long_idle = self.server.hub.is_long_idle(&entry);
                self.give_back(cx);
                if long_idle && entry.phase() == Phase::Parked {
                    self.retire();
                }
            }
            Link::Http1(_) if entry.phase() == Phase::Head => self.enter(Phase::Head),
            Link::Http2(active) => active.leave(),
            Link::Upgrade(active) => active.drain(),
            // In flight: its answer says `connection: close`, or it is taken back when it is idle.
            Link::Http1(_) | Link::Moving(_) | Link::Closing(_) | Link::Closed => {}
        }
    }

    /// A parked connection that does not move while the worker drains.
    pub(crate) fn drain_parked(&mut self) {
        let entry = &self.registered.entry;
        let phase = entry.phase();
        if phase == Phase::Head {
            self.enter(phase);
            self.resume();
        } else if self.server.hub.is_long_idle(entry) {
            self.retire();
        } else {
            self.enter(phase);
        }
    }

    /// The limit of the phase has passed.
    pub(crate) fn expire(&mut self, cx: &mut Context<'_>) {
        // Somebody may take it who did not when the drain began.
        if self.server.hub.is_draining() && self.depart() {
            return;
        }
        let phase = self.registered.entry.phase();
        self.note_limit(phase);
        match self.take_link() {
            Link::Parked(parked) if phase == Phase::Head => self.close_late(parked),
            Link::Parked(parked) => {
                self.link = Link::Parked(parked);
                self.retire();
            }
            Link::Http1(mut active) => match phase {
                Phase::Idle => {
                    if let Poll::Ready(exit) = active.take_back(cx) {
                        self.link = Link::Http1(active);
                        self.leave_http1(exit);
                        if self.registered.entry.phase() == Phase::Parked {
                            self.retire();
                        }
                    }
                }
                Phase::Head if active.is_silent() => {
                    if let Some(parked) = active.into_parked() {
                        self.close_late(parked);
                    }
                }
                Phase::Send | Phase::Gone => active.give_up(),
                _ => {}
            },
            Link::Http2(mut active) => match phase {
                Phase::Http2Idle => {
                    active.leave();
                    self.link = Link::Http2(active);
                }
                Phase::Http2Leaving => self.close(active.into_parked(), Phase::Lingering),
                Phase::Send => active.give_up(),
                _ => {}
            },
            Link::Upgrade(active) => {
                if phase == Phase::Upgraded {
                    active.end();
                    self.link = Link::Upgrade(active);
                }
            }
            // It has had an order that is older than its departure.
            Link::Moving(parked) => self.link = Link::Moving(parked),
            Link::Closing(_) | Link::Closed => {}
        }
    }

    /// What was too slow, for the board. A drain ends phases before their limits.
    fn note_limit(&self, phase: Phase) {
        let limit = match phase {
            Phase::Fresh | Phase::Head if !self.server.hub.is_draining() => Counter::HeaderTimeout,
            Phase::Idle | Phase::Parked | Phase::Http2Idle if !self.server.hub.is_draining() => Counter::IdleTimeout,
            Phase::Body => Counter::BodyTimeout,
            Phase::Send | Phase::Gone => Counter::SendTimeout,
            Phase::Handshake
            | Phase::Fresh
            | Phase::Head
            | Phase::Handler
            | Phase::Idle
            | Phase::Parked
            | Phase::Moving
            | Phase::Upgraded
            | Phase::Http2Idle
            | Phase::Http2Leaving
            | Phase::Lingering
            | Phase::Farewell => return,
        };
        self.server.hub.counters.count(limit);
    }

    fn give_back(&mut self, cx: &mut Context<'_>) {
        if let Link::Http1(active) = &mut self.link
            && let Poll::Ready(exit) = active.take_back(cx)
        {
            self.leave_http1(exit);
        }
    }

    /// Closes a parked connection in which nothing goes on, unless something does.
    fn retire(&mut self) {
        let Link::Parked(mut parked) = self.take_link() else { return };
        match parked.transport.peek() {
            // The event loop will tell us of these bytes; they are a request that was sent in time.
            Peeked::Bytes => {
                self.enter(Phase::Head);
                self.link = Link::Parked(parked);
            }
            Peeked::Nothing => self.close(Some(parked), Phase::Farewell),
            Peeked::End | Peeked::Broken => {}
        }
    }

    /// A request head took too long.
    fn close_late(&mut self, mut parked: Parked) {
        parked.say_too_late();
        self.close(Some(parked), Phase::Lingering);
    }

    /// Shuts our side and waits a moment for the client to do the same.
    pub(crate) fn close(&mut self, parked: Option<Parked>, phase: Phase) {
        let Some(parked) = parked else { return };
        if parked.shut().is_ok() {
            self.enter(phase);
            self.link = Link::Closing(Box::new(parked));
        }
    }
}
