//! A message of the relay, judged: a connection, or something that is refused.

use std::fmt;
use std::io;
use std::net;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix;
use std::time::Duration;

use hatchery_core::wire::WireError;
use hatchery_core::wire::relay::Transfer;
use hatchery_net::Address;
use hatchery_sys::socket::{self, Kind};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::Instant;
use tracing::warn;

use crate::permit::Gate;
use crate::shared::Shared;
use crate::{Accepted, Journey, Peer, Permit, Stream};

/// Refusals that are closer together are logged as one.
const EPISODE: Duration = Duration::from_secs(10);

/// Why a message is no connection.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// It was longer than a message can be, or had more descriptors than there was room for.
    Truncated,
    /// It has no bytes.
    Empty,
    /// It cannot be read.
    Damaged(WireError),
    /// It came with this number of descriptors, where one is right.
    Descriptors(usize),
    /// Nobody here serves that.
    Service { name: String, state: u32, listener: String },
    /// Its descriptor is no connection of that listener's kind.
    Socket,
    /// The event loop does not take it.
    Unwatchable(io::Error),
}

/// What is said about refusals: not a line for each.
#[derive(Debug, Default)]
pub(crate) struct Complaints {
    said: Option<Instant>,
    unsaid: u64,
}

/// Makes a connection of a message, and brings it to whoever serves it.
pub(crate) fn admit(shared: &Shared, message: &[u8], fds: Vec<OwnedFd>) -> Result<(), Refusal> {
    let transfer = Transfer::decode(message).map_err(Refusal::Damaged)?;
    let count = fds.len();
    let [socket] = <[OwnedFd; 1]>::try_from(fds).map_err(|_| Refusal::Descriptors(count))?;
    let (gate, listener) = shared.gate_of(&transfer.service).ok_or_else(|| {
        let service = transfer.service.clone();
        Refusal::Service { name: service.name, state: service.state, listener: service.listener }
    })?;
    let local = shared.listeners[listener].address.clone();
    let (stream, peer) = stream(&local, transfer.peer, socket)?;
    let Transfer { age, waited, requests, moves, real_peer, unread, saved, .. } = transfer;
    let now = Instant::now();
    let journey = Journey {
        // An age that reaches back behind the clock's own beginning is not to be believed.
        began: now.checked_sub(age).unwrap_or(now),
        requests,
        moves: moves.saturating_add(1),
        real_peer,
        waited,
    };
    let permit = Permit::moved(&gate, listener, &stream, &journey);
    // One that was taken somewhere is not refused here.
    if let Some(client) = real_peer.or(peer.address()) {
        let _granted_there = permit.counts_for(client.ip());
    }
    gate.arrived(Accepted { stream, peer, local, listener, permit, journey, unread: unread.into(), state: saved });
    Ok(())
}

/// The socket, if it is what its listener accepts.
fn stream(local: &Address, peer: Option<net::SocketAddr>, socket: OwnedFd) -> Result<(Stream, Peer), Refusal> {
    let kind = socket::kind(socket.as_fd());
    match (local, kind, peer) {
        (Address::Tcp(_), Ok(Kind::Tcp), Some(peer)) => {
            let socket = net::TcpStream::from(socket);
            let stream = socket.set_nonblocking(true).and_then(|()| TcpStream::from_std(socket));
            Ok((Stream::Tcp(stream.map_err(Refusal::Unwatchable)?), Peer::Tcp(peer)))
        }
        (Address::Unix(_), Ok(Kind::Unix), None) => {
            let socket = unix::net::UnixStream::from(socket);
            let stream = socket.set_nonblocking(true).and_then(|()| UnixStream::from_std(socket));
            Ok((Stream::Unix(stream.map_err(Refusal::Unwatchable)?), Peer::Unix))
        }
        (Address::Tcp(_) | Address::Unix(_), _, _) => Err(Refusal::Socket),
    }
}

impl Shared {
    /// Who serves a service that was declared, and on which listener.
    fn gate_of(&self, service: &hatchery_core::Service) -> Option<(std::rc::Rc<Gate>, usize)> {
        let listener = self.services.borrow().iter().position(|known| known.as_ref() == Some(service))?;
        let gates = self.gates.borrow();
        let gate = gates.iter().find(|gate| gate.serves(listener))?;
        Some((std::rc::Rc::clone(gate), listener))
    }
}

impl Complaints {
    /// Logs a refusal, or counts it for the next line.
    pub(crate) fn add(&mut self, refusal: &Refusal) {
        if self.said.is_some_and(|said| said.elapsed() < EPISODE) {
            self.unsaid += 1;
            return;
        }
        match std::mem::take(&mut self.unsaid) {
            0 => warn!("refused a message of the relay: {refusal}"),
            more => warn!("refused a message of the relay, after {more} others: {refusal}"),
        }
        self.said = Some(Instant::now());
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("it is too long, or has too many descriptors"),
            Self::Empty => f.write_str("it is empty"),
            Self::Damaged(error) => error.fmt(f),
            Self::Descriptors(count) => write!(f, "it has {count} descriptors"),
            Self::Service { name, state, listener } => {
                write!(f, "nobody here serves {name:?} with state {state} on {listener:?}")
            }
            Self::Socket => f.write_str("its descriptor is no connection of its listener"),
            Self::Unwatchable(error) => write!(f, "its connection cannot be watched: {error}"),
        }
    }
}
