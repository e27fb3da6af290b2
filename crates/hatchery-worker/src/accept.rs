//! Connections, for whoever speaks a protocol on them.

use std::future::poll_fn;
use std::rc::Rc;

use hatchery_net::Address;
use tokio::time::Instant;

use crate::acceptor::Acceptor;
use crate::permit::Gate;
use crate::{Journey, Peer, Permit, ServeError, Stream, Worker};

/// A connection that was just accepted, or has moved here from another process.
///
/// ```no_run
/// use hatchery_worker::{Accepted, ServeError, Worker};
/// use tokio::io::AsyncWriteExt;
///
/// async fn app(worker: Worker) -> Result<(), ServeError> {
///     let greet = |Accepted { mut stream, permit, .. }: Accepted| {
///         tokio::task::spawn_local(async move {
///             let _client_gone = stream.write_all(b"hello\n").await;
///             drop(stream);
///             drop(permit);
///         });
///     };
///     worker.accept(greet).await
/// }
/// # let _ = app;
/// ```
#[derive(Debug)]
pub struct Accepted {
    /// The socket.
    pub stream: Stream,
    /// The client.
    pub peer: Peer,
    /// Where its listener listens.
    pub local: Address,
    /// The number of its listener, by which the [`Permit`] knows it: not its place among [`Worker::listeners`].
    pub listener: usize,
    /// To be held as long as the connection is open.
    pub permit: Permit,
    /// What it was before it came to this process.
    pub journey: Journey,
    /// What another process has read from the socket and not used: it comes
    /// before what the socket has.
    pub unread: Box<[u8]>,
    /// The application's own state, for a service that has some; `None` for a
    /// connection that was accepted here.
    pub state: Option<Vec<u8>>,
}

impl Accepted {
    /// One that comes from an accept queue.
    pub(crate) fn fresh(stream: Stream, peer: Peer, local: Address, listener: usize, gate: &Rc<Gate>) -> Self {
        let journey = Journey::since(Instant::now());
        let permit = Permit::accepted(gate, listener, &stream, &journey);
        Self { stream, peer, local, listener, permit, journey, unread: Box::default(), state: None }
    }

    /// Whether its peer may have one more connection. A proxy may: its clients count when they are known.
    pub(crate) fn is_granted(&self) -> bool {
        let limits = &self.permit.shared().limits;
        let (Some(peer), 1..) = (self.peer.address(), limits.max_connections_per_peer) else { return true };
        limits.proxies.iter().any(|proxy| proxy.contains(self.peer)) || self.permit.counts_for(peer.ip())
    }
}

impl Worker {
    /// Accepts connections from this worker's listeners, for a protocol crate.
    ///
    /// `on` is called once a connection and should spawn a task that keeps the
    /// [`Permit`]. Calling this is the application's word that it has booted:
    /// when every listener has been claimed so and the application's function
    /// waits, the master is told.
    ///
    /// Returns when the worker drains and every permit of this call is dropped.
    ///
    /// # Errors
    /// When the listeners are not this call's to serve.
    ///
    /// # Cancel safety
    /// If the future is dropped, nothing is accepted here any more; open
    /// connections go on.
    ///
    /// # Example
    /// ```no_run
    /// use hatchery_worker::{Accepted, ServeError, Worker};
    ///
    /// async fn discard(worker: Worker) -> Result<(), ServeError> {
    ///     worker.accept(|accepted: Accepted| drop(accepted)).await
    /// }
    /// # let _ = discard;
    /// ```
    pub async fn accept(self, on: impl FnMut(Accepted)) -> Result<(), ServeError> {
        let listeners = self.listener_indices()?;
        if let Some(error) = self.unspeakable() {
            return Err(error);
        }
        // Before the claim: queues may be assigned as soon as the last one is claimed.
        let mut acceptor = Acceptor::new(self.shared(), Rc::clone(&listeners), on);
        self.shared().claim(&listeners, self.service())?;
        poll_fn(|cx| acceptor.poll(cx)).await;
        Ok(())
    }
}
