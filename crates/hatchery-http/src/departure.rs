//! How a connection goes to another process: because the worker drains, or because others have fewer.
//!
//! Both ways it has to be parked first. A connection that cannot go comes to
//! its end here if the worker drains, and goes on as before if it does not.

use std::task::{Context, Poll, ready};

use tracing::debug;

use crate::connection::{Connection, Link};
use crate::phase::Phase;
use crate::service::{Handle, Saved};

impl<S: Handle> Connection<S> {
    /// Lets a parked connection go, if somebody takes it. Returns whether it does.
    pub(crate) fn depart(&mut self) -> bool {
        if !self.may_depart() {
            return false;
        }
        if let Link::Parked(parked) = self.take_link() {
            // Its age stays that of the phase before: the client's time for a head goes on.
            self.registered.entry.rename(Phase::Moving);
            self.link = Link::Moving(Box::new(parked));
        }
        true
    }

    /// Others have fewer connections. Only an idle one goes, and only if that needs no waiting.
    pub(crate) fn shed(&mut self, cx: &mut Context<'_>) {
        if let Link::Http1(active) = &mut self.link
            && active.is_idle()
            && active.may_move()
            && let Poll::Ready(exit) = active.take_back(cx)
        {
            self.leave_http1(exit);
        }
        if self.registered.entry.phase() == Phase::Parked && self.may_depart() && self.server.worker.shed_one() {
            self.depart();
        }
    }

    fn may_depart(&self) -> bool {
        match &self.link {
            Link::Parked(parked) => !self.registered.entry.stays() && parked.facts.has_heir(),
            Link::Http1(_) | Link::Http2(_) | Link::Upgrade(_) | Link::Moving(_) | Link::Closing(_) | Link::Closed => {
                false
            }
        }
    }

    /// Ready when the connection is gone, or is to be polled as something else.
    pub(crate) fn poll_departure(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Link::Moving(parked) = &mut self.link else { return Poll::Ready(()) };
        // Saved at each attempt: the application may have changed it since the last one.
        let saved = match self.server.service.save(&self.seat) {
            Saved::Nothing => None,
            Saved::State(state) => Some(state),
            Saved::NotNow => {
                self.stay();
                return Poll::Ready(());
            }
        };
        let age = self.server.hub.age(&self.registered.entry);
        match ready!(parked.poll_move(cx, age, saved.as_deref())) {
            // The descriptor on its way keeps the connection.
            Ok(()) => self.link = Link::Closed,
            Err(why) => {
                debug!("a connection stays: {why}");
                self.stay();
            }
        }
        Poll::Ready(())
    }

    /// A connection that was to move does not.
    fn stay(&mut self) {
        let Link::Moving(parked) = self.take_link() else { return };
        self.registered.entry.rename(parked.phase());
        self.link = Link::Parked(*parked);
        if self.server.hub.is_draining() {
            self.registered.entry.stay();
            self.drain_parked();
        }
    }
}
