//! One task a connection: parked, active, gone.
//!
//! ```text
//!  accepted,                     +-> Moving -> Closed
//!  or moved here -> Parked <-> Http1 -> Closing -> Closed
//!                      \-----> Http2 ------^
//! ```
//!
//! Http1 -> Upgrade is in `upgrade`. What drains or ends a connection is in `ending`, what moves it in `departure`.

use std::future::Future;
use std::mem;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use crate::http1::{Exit, Http1};
use crate::http2::{Http2, Outlook};
use crate::parked::{Parked, Wake};
use crate::phase::{Order, Phase};
use crate::server::Shared;
use crate::service::Handle;
use crate::sweep::Registered;
use crate::upgrade::Upgradable;

/// The task of one connection.
pub(crate) struct Connection<S: Handle> {
    pub(crate) server: Rc<Shared<S>>,
    pub(crate) registered: Registered,
    pub(crate) seat: S::Seat,
    pub(crate) link: Link<S>,
}

/// What the connection is at this moment.
pub(crate) enum Link<S: Handle> {
    /// Waits for bytes; a plain value.
    Parked(Parked),
    /// hyper has it.
    Http1(Box<Http1<S>>),
    /// hyper has it.
    Http2(Box<Http2<S>>),
    /// hyper has it, for one request that may get it; then whoever has got it.
    Upgrade(Box<Upgradable<S>>),
    /// Waits for room on the way to another process; what the client sends is read there.
    ///
    /// Boxed, as all but the first: idle connections are many, and so each of them is 8 bytes smaller.
    Moving(Box<Parked>),
    /// Our side is shut, the client's is not yet.
    Closing(Box<Parked>),
    /// Nothing is left here.
    Closed,
}

impl<S: Handle> Connection<S> {
    /// `waited`: how long its client has been taking over a request head.
    pub(crate) fn new(server: &Rc<Shared<S>>, seat: S::Seat, parked: Parked, waited: Duration) -> Self {
        let registered = server.hub.register(parked.phase(), waited);
        let may_be_a_request = !parked.prefix.is_empty() && !server.hub.is_draining();
        let mut connection = Self { server: Rc::clone(server), registered, seat, link: Link::Parked(parked) };
        if may_be_a_request {
            connection.resume();
        }
        connection
    }
}

impl<S: Handle> Drop for Connection<S> {
    fn drop(&mut self) {
        self.server.hub.remove(&self.registered);
    }
}

// Nothing is pinned in place: hyper's connections are `Unpin` and boxed.
impl<S: Handle> Unpin for Connection<S> {}

impl<S: Handle> Future for Connection<S> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        this.registered.entry.remember(cx.waker());
        match this.registered.entry.take_order() {
            Order::None => {}
            order @ (Order::Park | Order::Look | Order::Shed | Order::Drain | Order::Expire) => this.obey(order, cx),
        }
        loop {
            // What a request needs, and nothing else: the rest has large frames.
            if let Link::Http1(active) = &mut this.link {
                let exit = ready!(active.poll(cx));
                this.leave_http1(exit);
            } else if ready!(this.poll_other(cx)).is_break() {
                return Poll::Ready(());
            }
        }
    }
}

impl<S: Handle> Connection<S> {
    #[cold]
    fn obey(&mut self, order: Order, cx: &mut Context<'_>) {
        match order {
            Order::None => {}
            Order::Park => self.park(cx),
            Order::Look => self.look(),
            Order::Shed => self.shed(cx),
            Order::Drain => self.drain(cx),
            Order::Expire => self.expire(cx),
        }
    }

    /// Ready when it is something else, or gone.
    #[inline(never)]
    fn poll_other(&mut self, cx: &mut Context<'_>) -> Poll<ControlFlow<()>> {
        match &mut self.link {
            Link::Parked(parked) => {
                parked.note(self.registered.entry.phase());
                let wake = ready!(parked.poll_wake(cx));
                self.activate(wake);
            }
            Link::Http2(active) => {
                let exit = ready!(active.poll(cx));
                self.leave_http2(exit);
            }
            Link::Upgrade(active) => {
                let exit = ready!(active.poll(cx));
                self.leave_upgrade(exit);
            }
            Link::Moving(parked) => {
                parked.note(Phase::Moving);
                ready!(self.poll_departure(cx));
            }
            Link::Closing(parked) => {
                parked.note(Phase::Lingering);
                ready!(parked.poll_closed(cx));
                self.link = Link::Closed;
            }
            Link::Http1(_) => {}
            Link::Closed => return Poll::Ready(ControlFlow::Break(())),
        }
        Poll::Ready(ControlFlow::Continue(()))
    }

    pub(crate) fn enter(&self, phase: Phase) {
        self.registered.entry.enter(phase, self.server.hub.now());
    }

    pub(crate) fn take_link(&mut self) -> Link<S> {
        mem::replace(&mut self.link, Link::Closed)
    }

    /// What a parked connection has read may be a whole request: nobody here has looked yet.
    pub(crate) fn resume(&mut self) {
        if let Link::Parked(parked) = &self.link
            && let Some(wake) = parked.wake()
        {
            self.activate(wake);
        }
    }

    /// A parked connection has been sent something.
    fn activate(&mut self, wake: Wake) {
        let Link::Parked(parked) = self.take_link() else { return };
        let entry = &self.registered.entry;
        if entry.phase() == Phase::Parked {
            self.enter(Phase::Head);
        }
        self.link = match wake {
            Wake::Http1 => Link::Http1(Http1::new(&self.server, &self.seat, parked, entry)),
            Wake::Http2 => Link::Http2(Http2::new(&self.server, &self.seat, parked, entry)),
            Wake::Ended => Link::Closed,
        };
    }

    #[inline(never)]
    pub(crate) fn leave_http1(&mut self, exit: Exit) {
        let Link::Http1(active) = self.take_link() else { return };
        match exit {
            Exit::Idle => self.become_parked(active.into_parked()),
            Exit::Finished => self.close(active.into_parked(), Phase::Lingering),
            Exit::Asks { connect } => self.upgrade(active.into_parked(), connect),
            Exit::Dead => {}
        }
    }

    /// Lets a request have the connection, unless the connection moves first.
    fn upgrade(&mut self, parked: Option<Parked>, connect: bool) {
        let Some(parked) = parked else { return };
        self.link = Link::Parked(parked);
        if self.server.hub.is_draining() && self.depart() {
            return;
        }
        if let Link::Parked(parked) = self.take_link() {
            let entry = &self.registered.entry;
            self.link = Link::Upgrade(Upgradable::new(&self.server, &self.seat, parked, entry, connect));
        }
    }

    fn leave_upgrade(&mut self, exit: Exit) {
        let Link::Upgrade(active) = self.take_link() else { return };
        match exit {
            Exit::Idle | Exit::Finished | Exit::Asks { .. } => self.close(active.into_parked(), Phase::Lingering),
            Exit::Dead => {}
        }
    }

    fn leave_http2(&mut self, exit: Exit) {
        let Link::Http2(active) = self.take_link() else { return };
        match exit {
            Exit::Idle | Exit::Finished | Exit::Asks { .. } => self.close(active.into_parked(), Phase::Lingering),
            Exit::Dead => {}
        }
    }

    /// A request head may have been begun: then it is in the prefix, and its
    /// time starts now, if it has not started before.
    fn become_parked(&mut self, parked: Option<Parked>) {
        let Some(parked) = parked else { return };
        let entry = &self.registered.entry;
        match (entry.phase(), parked.phase()) {
            (Phase::Fresh | Phase::Head, phase @ (Phase::Fresh | Phase::Head)) => entry.rename(phase),
            (_, phase) => self.enter(phase),
        }
        self.link = Link::Parked(parked);
        if self.server.hub.is_draining() {
            self.depart();
        }
    }

    fn look(&mut self) {
        if let Link::Http2(active) = &mut self.link
            && active.look() == Outlook::Hopeless
        {
            self.take_link();
        }
    }

    fn park(&mut self, cx: &mut Context<'_>) {
        let Link::Http1(active) = &mut self.link else { return };
        // A byte may have come after the sweep's look: then it is not idle any more.
        if active.is_idle()
            && let Poll::Ready(exit) = active.take_back(cx)
        {
            self.leave_http1(exit);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::service::IntoService;
    use crate::{Request, Response};

    /// tokio rounds a task up to a multiple of 128 bytes, and needs 104 for itself.
    /// Where a program turns on `rt-multi-thread`, tokio's sockets are a word larger.
    #[test]
    fn an_idle_connection_is_a_task_of_256_bytes() {
        fn size<H: Handle>(_: &H) -> usize {
            size_of::<Connection<H>>()
        }
        const SOCKET: usize = 32;
        let wider = size_of::<hatchery_worker::Stream>() - SOCKET;
        let service =
            hyper::service::service_fn(|_: Request| std::future::ready(Ok::<Response, Infallible>(crate::text(""))));
        let size = size(&service.into_service());
        assert!(size <= 152 + wider, "{size}, with sockets that are {wider} wider");
    }
}
