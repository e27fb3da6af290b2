//! Requests that ask for an upgrade: WebSocket, CONNECT, and whatever else `hyper::upgrade` is used for.
//!
//! A connection can be taken back from hyper at any time, and hyper can give
//! one away, but not the same one: what it gives away has to be `Send`, and what
//! can be taken back shares its facts with its task. So every connection begins as
//! one that can be taken back. When a request asks for an upgrade, the handler is
//! not called; the connection is taken back with the request unread in front of
//! it, and given to a second hyper over a socket of its own, the *tunnel*. That
//! handles one request and no more. It may be any request of a connection, in one
//! piece or in many, and other requests cost nothing.
//!
//! ```text
//! Http1 -> taken back -> Upgradable: asked -> given away -> Closing
//!               \                        \-> answered ------^
//!                \-> Moving, if the worker drains: nobody has seen the request yet
//! ```

mod tunnel;

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use hatchery_worker::Worker;
use http::Method;
use http::header::{CONNECTION, HeaderMap, HeaderName, UPGRADE};
use http_body::Body as _;
use hyper::server::conn::http1::UpgradeableConnection;
use hyper_util::rt::TokioIo;

use self::tunnel::{Tunnel, TunnelIo};
use crate::Request;
use crate::entry::Entry;
use crate::guard::Guarded;
use crate::http1::Exit;
use crate::line::Line;
use crate::parked::Parked;
use crate::phase::Phase;
use crate::server::Shared;
use crate::service::Handle;

/// Which hyper a request has come through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// One that can be taken back.
    Ordinary,
    /// One that can give the connection away, for a CONNECT or for another upgrade.
    Upgradable { connect: bool },
}

/// A connection whose request may get it.
pub(crate) struct Upgradable<S: Handle> {
    /// `None` when the request was answered, or has got the connection.
    conn: Option<UpgradeableConnection<TokioIo<TunnelIo>, Guarded<S>>>,
    line: Rc<Line>,
    tunnel: Tunnel,
}

/// A request that somebody else is to answer.
pub(crate) struct Aside {
    /// As it may have been read.
    pub(crate) head: Vec<u8>,
    /// The way that it has to go.
    pub(crate) way: Way,
}

/// Makes a request ready that asks for an upgrade. Returns whether it can have one here; else it was put aside.
#[cold]
pub(crate) fn prepare(worker: &Worker, line: &Line, request: &mut Request) -> bool {
    match line.way {
        // A body, of which hyper has begun to decode what it has read, could not be read once more.
        Way::Ordinary if asks(request.method(), request.headers()) && request.body().is_end_stream() => {
            let way = Way::Upgradable { connect: request.method() == Method::CONNECT };
            line.put_aside(Aside { head: head(request), way });
            false
        }
        Way::Ordinary => true,
        Way::Upgradable { .. } => {
            request.extensions_mut().insert(worker.drain_signal());
            true
        }
    }
}

/// Whether this asks for an upgrade that an application can have an answer to.
///
/// The way to HTTP/2 by an upgrade is asked for by clients that are content with
/// HTTP/1, request after request, and never taken: their connections shall go on moving.
fn asks(method: &Method, headers: &HeaderMap) -> bool {
    *method == Method::CONNECT
        || any_token(headers, &CONNECTION, |token| token.eq_ignore_ascii_case("upgrade"))
            && any_token(headers, &UPGRADE, |token| !token.eq_ignore_ascii_case("h2c"))
}

fn any_token(headers: &HeaderMap, name: &HeaderName, is_one: impl Fn(&str) -> bool) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).any(|token| !token.is_empty() && is_one(token))
}

/// The head of a request as it may have been read.
fn head(request: &Request) -> Vec<u8> {
    let mut head = format!("{} {} {:?}\r\n", request.method(), request.uri(), request.version()).into_bytes();
    for (name, value) in request.headers() {
        head.extend_from_slice(name.as_ref());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head
}

impl<S: Handle> Upgradable<S> {
    /// `parked` has a request that asks for an upgrade in front.
    pub(crate) fn new(
        server: &Rc<Shared<S>>,
        seat: &S::Seat,
        parked: Parked,
        entry: &Rc<Entry>,
        connect: bool,
    ) -> Box<Self> {
        let Parked { transport, prefix, facts } = parked;
        entry.stay();
        let line = Line::without_socket(facts, entry, &server.hub, Way::Upgradable { connect });
        line.rename(Phase::Handler);
        let (tunnel, io) = Tunnel::new(transport, prefix);
        let service = Guarded::new(server, seat, &line);
        let conn = server.upgrades.serve_connection(TokioIo::new(io), service).with_upgrades();
        Box::new(Self { conn: Some(conn), line, tunnel })
    }

    /// Ready when whoever had the connection has let go of it.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Exit> {
        if let Some(conn) = &mut self.conn {
            self.tunnel.begin_poll();
            let _polled = self.line.record().poll();
            match Pin::new(conn).poll(cx) {
                Poll::Pending => {
                    self.settle();
                    return Poll::Pending;
                }
                Poll::Ready(Ok(()) | Err(_)) => {
                    self.conn = None;
                    self.line.enter(Phase::Upgraded, self.line.hub.now());
                }
            }
        }
        ready!(self.tunnel.poll_released(cx));
        Poll::Ready(if self.tunnel.has_ended() { Exit::Dead } else { Exit::Finished })
    }

    /// The worker drains. Who has the connection is told by a signal of its own, and has the time of the drain for it.
    pub(crate) fn drain(&self) {
        if self.conn.is_none() {
            self.line.enter(Phase::Upgraded, self.line.hub.now());
        }
    }

    /// The time of the drain is over: whoever has the connection finds it ended.
    pub(crate) fn end(&self) {
        self.tunnel.shut();
    }

    /// The socket, to be closed; `None` if something still holds it.
    pub(crate) fn into_parked(self) -> Option<Parked> {
        let Self { conn, line, tunnel } = self;
        drop(conn);
        let facts = Rc::into_inner(line)?.into_facts();
        Some(Parked { transport: tunnel.into_transport()?, prefix: Box::default(), facts })
    }

    /// What the connection is waiting for, as for one that can be taken back.
    fn settle(&self) {
        let (line, seen) = (&*self.line, self.tunnel.seen());
        let (now, phase) = (line.hub.now(), line.entry.phase());
        let (next, progress) = match (seen.dirty, seen.starved) {
            (true, _) => (Phase::Send, seen.sent),
            (false, true) => (Phase::Body, seen.received),
            (false, false) => (Phase::Handler, false),
        };
        if phase != next || progress {
            line.enter(next, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks_with(connection: &str, upgrade: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(CONNECTION, connection.parse().unwrap());
        headers.insert(UPGRADE, upgrade.parse().unwrap());
        asks(&Method::GET, &headers)
    }

    #[test]
    fn who_asks_for_an_upgrade() {
        assert!(asks_with("Upgrade", "websocket"));
        assert!(asks_with("keep-alive, Upgrade", "h2c, websocket"));
        assert!(asks(&Method::CONNECT, &HeaderMap::new()));
        // As Java's client does with each first request.
        assert!(!asks_with("Upgrade, HTTP2-Settings", "h2c"));
        assert!(!asks_with("keep-alive", "websocket"));
        assert!(!asks_with("upgrade", ""));
        assert!(!asks(&Method::GET, &HeaderMap::new()));
    }
}
