//! Who is at the other end of a connection, and what the connection has been through.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hatchery_worker::{Journey, Peer, Permit};
use tokio::time::Instant;

use crate::TlsInfo;
use crate::moment::Moment;

/// The client of a connection, and what the connection has been through.
///
/// A connection outlives the worker that accepted it: when a worker drains, its
/// connections [move](crate#connections-that-move) to other workers, also of the
/// next program. What is said here counts from the accept, wherever that was.
///
/// Handlers find it in a request's extensions, if that is
/// [asked for](crate::Server::client_in_extensions); the factory of
/// [`Server::per_connection`](crate::Server::per_connection) is given it.
///
/// ```
/// use hatchery_http::{Client, Request, Response, text};
///
/// fn about(request: &Request) -> Response {
///     let Some(client) = request.extensions().get::<Client>() else { return text("not asked for") };
///     text(format!("request {} in {:?}, moved {} times", client.requests(), client.age(), client.moves()))
/// }
/// # let _ = about;
/// ```
#[derive(Clone, Debug)]
pub struct Client {
    peer: Peer,
    real_peer: Option<SocketAddr>,
    tls: Option<Arc<TlsInfo>>,
    began: Instant,
    requests: u64,
    moves: u32,
}

impl Client {
    /// The other end of the socket.
    #[must_use]
    pub fn peer(&self) -> Peer {
        self.peer
    }

    /// The client behind a proxy, where that has said so.
    #[must_use]
    pub fn real_peer(&self) -> Option<SocketAddr> {
        self.real_peer
    }

    /// What the TLS handshake has agreed on; `None` for a connection in the clear.
    #[must_use]
    pub fn tls(&self) -> Option<&TlsInfo> {
        self.tls.as_deref()
    }

    /// How long ago the connection was accepted.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.began.elapsed()
    }

    /// How many requests have come on the connection, the present one included; 0 in a factory for a new one.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests
    }

    /// How often the connection has moved from one worker to another.
    #[must_use]
    pub fn moves(&self) -> u32 {
        self.moves
    }
}

/// What a connection was when it came here; its own address can be asked of the socket.
///
/// Every idle connection has one, so that each byte counts: what few have is in [`Past`].
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) peer: Peer,
    pub(crate) permit: Permit,
    began: Moment,
    past: Option<Box<Past>>,
}

/// What only a connection has that has moved, came through a proxy, or speaks TLS.
#[derive(Clone, Debug, Default)]
struct Past {
    moves: u32,
    real_peer: Option<SocketAddr>,
    tls: Option<Arc<TlsInfo>>,
}

impl Facts {
    pub(crate) fn new(peer: Peer, permit: Permit, journey: &Journey) -> Self {
        let Journey { began, moves, real_peer, .. } = *journey;
        let has_past = moves > 0 || real_peer.is_some();
        let past = has_past.then(|| Box::new(Past { moves, real_peer, tls: None }));
        Self { peer, permit, began: began.into(), past }
    }

    /// The handshake is done.
    #[cfg(feature = "tls")]
    pub(crate) fn secured(&mut self, info: TlsInfo) {
        self.past.get_or_insert_default().tls = Some(Arc::new(info));
    }

    /// Requests so far, here and elsewhere, the present one included.
    pub(crate) fn requests(&self) -> u64 {
        self.permit.record().requests()
    }

    /// What is said of it.
    pub(crate) fn client(&self) -> Client {
        let Past { moves, real_peer, tls } = self.past.as_deref().cloned().unwrap_or_default();
        Client { peer: self.peer, real_peer, tls, began: self.began.into(), requests: self.requests(), moves }
    }

    /// What it takes along when its client has been taking so long over a head.
    pub(crate) fn journey(&self, waited: Duration) -> Journey {
        let mut journey = Journey::since(self.began.into());
        (journey.requests, journey.waited) = (self.requests(), waited);
        if let Some(past) = &self.past {
            (journey.moves, journey.real_peer) = (past.moves, past.real_peer);
        }
        journey
    }

    pub(crate) fn listener(&self) -> usize {
        self.permit.record().listener()
    }

    /// Whether somebody takes connections of its service.
    pub(crate) fn has_heir(&self) -> bool {
        self.permit.has_heir(self.listener())
    }
}
