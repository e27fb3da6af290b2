//! One task a connection: parked, active, closed.
//!
//! ```text
//! accepted -> Parked <-> Http1 -> Closing -> Closed
//!                \----> Http2 ----^
//! ```

use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use crate::http1::{Exit, Http1};
use crate::http2::Http2;
use crate::io::{Peeked, peek};
use crate::parked::{Parked, Wake};
use crate::server::Shared;
use crate::service::Handle;
use crate::sweep::{Order, Phase, Registered};

/// The task of one connection.
pub(crate) struct Connection<S: Handle> {
    server: Rc<Shared<S>>,
    registered: Registered,
    link: Link<S>,
}

/// What the connection is at this moment.
enum Link<S: Handle> {
    /// Waits for bytes; a plain value.
    Parked(Parked),
    /// hyper has it.
    Http1(Box<Http1<S>>),
    /// hyper has it.
    Http2(Box<Http2<S>>),
    /// Our side is shut, the client's is not yet.
    Closing(Parked),
    /// Nothing is left.
    Closed,
}

impl<S: Handle> Connection<S> {
    pub(crate) fn new(server: &Rc<Shared<S>>, parked: Parked) -> Self {
        let registered = server.hub.register();
        Self { server: Rc::clone(server), registered, link: Link::Parked(parked) }
    }
}

// Nothing is pinned in place: hyper's connections are `Unpin` and boxed.
impl<S: Handle> Unpin for Connection<S> {}

impl<S: Handle> Future for Connection<S> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        this.registered.entry().remember(cx.waker());
        match this.registered.entry().take_order() {
            Order::None => {}
            Order::Park => this.park(cx),
            Order::Drain => this.drain(cx),
            Order::Expire => this.expire(cx),
        }
        loop {
            match &mut this.link {
                Link::Http1(active) => {
                    let exit = ready!(active.poll(cx));
                    this.leave_http1(exit);
                }
                Link::Parked(parked) => {
                    let wake = ready!(parked.poll_wake(cx));
                    this.activate(wake);
                }
                Link::Http2(active) => {
                    let exit = ready!(active.poll(cx));
                    this.leave_http2(exit);
                }
                Link::Closing(parked) => {
                    ready!(parked.poll_closed(cx));
                    this.link = Link::Closed;
                }
                Link::Closed => return Poll::Ready(()),
            }
        }
    }
}

impl<S: Handle> Connection<S> {
    fn enter(&self, phase: Phase) {
        self.registered.entry().enter(phase, self.server.hub.now());
    }

    fn take_link(&mut self) -> Link<S> {
        mem::replace(&mut self.link, Link::Closed)
    }

    /// A parked connection has been sent something.
    fn activate(&mut self, wake: Wake) {
        let Link::Parked(parked) = self.take_link() else { return };
        let entry = self.registered.entry();
        if entry.phase() == Phase::Parked {
            self.enter(Phase::Head);
        }
        self.link = match wake {
            Wake::Http1 => Link::Http1(Http1::new(&self.server, parked, entry)),
            Wake::Http2 => Link::Http2(Http2::new(&self.server, parked, entry)),
            Wake::Ended => Link::Closed,
        };
    }

    fn leave_http1(&mut self, exit: Exit) {
        let Link::Http1(active) = self.take_link() else { return };
        match exit {
            Exit::Idle => self.become_parked(active.into_parked()),
            Exit::Finished => self.close(active.into_parked(), Phase::Lingering),
            Exit::Dead => {}
        }
    }

    fn leave_http2(&mut self, exit: Exit) {
        let Link::Http2(active) = self.take_link() else { return };
        match exit {
            Exit::Idle | Exit::Finished => self.close(active.into_parked(), Phase::Lingering),
            Exit::Dead => {}
        }
    }

    /// A request head may have been begun: it is in the prefix, and its time starts now.
    fn become_parked(&mut self, parked: Option<Parked>) {
        let Some(parked) = parked else { return };
        self.enter(if parked.prefix.is_empty() { Phase::Parked } else { Phase::Head });
        self.link = Link::Parked(parked);
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

    /// The worker drains: idle connections go at once, what was busy a moment ago gets a moment.
    fn drain(&mut self, cx: &mut Context<'_>) {
        let entry = Rc::clone(self.registered.entry());
        let long_idle = self.server.hub.is_long_idle(&entry);
        match &mut self.link {
            Link::Parked(_) if entry.phase() == Phase::Head => self.enter(Phase::Head),
            Link::Parked(_) if long_idle => self.retire(),
            Link::Parked(_) => self.enter(entry.phase()),
            Link::Http1(active) if active.is_idle() => {
                if let Poll::Ready(exit) = active.take_back(cx) {
                    self.leave_http1(exit);
                    if long_idle && entry.phase() == Phase::Parked {
                        self.retire();
                    }
                }
            }
            Link::Http1(_) if entry.phase() == Phase::Head => self.enter(Phase::Head),
            Link::Http2(active) => active.leave(),
            // In flight: its answer says `connection: close`, or it is taken back when it is idle.
            Link::Http1(_) | Link::Closing(_) | Link::Closed => {}
        }
    }

    /// The limit of the phase has passed.
    fn expire(&mut self, cx: &mut Context<'_>) {
        let phase = self.registered.entry().phase();
        match self.take_link() {
            Link::Parked(parked) if phase == Phase::Head => self.close_late(parked, cx),
            Link::Parked(parked) => {
                self.link = Link::Parked(parked);
                self.retire();
            }
            Link::Http1(mut active) => match phase {
                Phase::Idle => {
                    if let Poll::Ready(exit) = active.take_back(cx) {
                        self.link = Link::Http1(active);
                        self.leave_http1(exit);
                        if self.registered.entry().phase() == Phase::Parked {
                            self.retire();
                        }
                    }
                }
                Phase::Head if active.is_silent() => {
                    if let Some(parked) = active.into_parked() {
                        self.close_late(parked, cx);
                    }
                }
                _ => {}
            },
            Link::Http2(mut active) => {
                if phase == Phase::Http2Idle {
                    active.leave();
                    self.link = Link::Http2(active);
                }
            }
            Link::Closing(_) | Link::Closed => {}
        }
    }

    /// Closes a parked connection in which nothing goes on, unless something does.
    fn retire(&mut self) {
        let Link::Parked(parked) = self.take_link() else { return };
        match peek(&parked.stream) {
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
    fn close_late(&mut self, mut parked: Parked, cx: &mut Context<'_>) {
        parked.say_too_late(cx);
        self.close(Some(parked), Phase::Lingering);
    }

    /// Shuts our side and waits a moment for the client to do the same.
    fn close(&mut self, parked: Option<Parked>, phase: Phase) {
        let Some(parked) = parked else { return };
        if parked.shut().is_ok() {
            self.enter(phase);
            self.link = Link::Closing(parked);
        }
    }
}
