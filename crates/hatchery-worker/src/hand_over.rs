//! Passing a connection of a protocol of the application's own on to another process.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use thiserror::Error;

use crate::{Conn, Luggage, Stay};

/// The most that an application's state may be, in bytes: together with 64 KiB
/// that are read and not used it fits into one message.
pub const LONGEST_STATE: usize = 128 * 1024;

/// A connection that stays where it is.
///
/// ```no_run
/// use hatchery_worker::Conn;
/// use tokio::io::AsyncWriteExt;
///
/// async fn part(conn: Conn, sum: u64) {
///     if let Err(stays) = conn.hand_over(&sum.to_be_bytes(), &[]).await {
///         let mut conn = stays.conn;
///         let _client_gone = conn.write_all(b"bye\n").await;
///     }
/// }
/// # let _ = part;
/// ```
#[derive(Debug, Error)]
#[error("the connection stays here")]
pub struct HandOverError {
    /// It is as it was before.
    pub conn: Conn,
    /// Why it does not move.
    #[source]
    pub why: Stay,
}

impl Conn {
    /// The state that the application gave to [`hand_over`](Self::hand_over), in
    /// another process; `None` for a connection that was accepted here.
    ///
    /// ```no_run
    /// use hatchery_worker::Conn;
    ///
    /// fn sum(conn: &Conn) -> u64 {
    ///     // Of the version that `Worker::carrying` names: others do not come here.
    ///     conn.carried().and_then(|state| state.try_into().ok()).map_or(0, u64::from_be_bytes)
    /// }
    /// # let _ = sum;
    /// ```
    #[must_use]
    pub fn carried(&self) -> Option<&[u8]> {
        self.state.as_deref()
    }

    /// What another process has read from the socket and handed over, as far as it was not read here yet.
    ///
    /// Reading from the connection itself begins with it.
    ///
    /// ```no_run
    /// use hatchery_worker::Conn;
    ///
    /// /// Whether a command has begun already.
    /// fn is_idle(conn: &Conn) -> bool {
    ///     conn.unread().is_empty()
    /// }
    /// # let _ = is_idle;
    /// ```
    #[must_use]
    pub fn unread(&self) -> &[u8] {
        &self.unread[self.read..]
    }

    /// Completes when this connection should go on in another process: the worker drains, or others have fewer
    /// connections and this one is among those that are to go there.
    ///
    /// What it asks for is [`hand_over`](Self::hand_over). It is all that a handler of a
    /// [service with a name](crate::Worker::carrying) has to await. One that awaits only
    /// [`draining`](Self::draining) does not take part in the balance: after a reload, an upgrade or a recycle
    /// most connections may be in one worker, and stay there.
    ///
    /// Of those that wait for it, no more complete than are to go, each once for each time that the master asks.
    /// Connections that nobody takes are not asked. A future knows nothing of what was
    /// asked before it was made; the master asks again while there is something to even out.
    ///
    /// # Cancel safety
    /// The future may be dropped and asked for again at any time. One that has completed has taken a place among
    /// those that go: hand the connection over then.
    ///
    /// # Example
    /// ```no_run
    /// use hatchery_worker::Conn;
    /// use tokio::io::AsyncReadExt;
    ///
    /// /// The next command; `None` when the connection is to be handed over.
    /// async fn next(conn: &mut Conn) -> std::io::Result<Option<u8>> {
    ///     let asked = conn.asked_to_move();
    ///     tokio::select! {
    ///         // What has come is answered first.
    ///         biased;
    ///         command = conn.read_u8() => command.map(Some),
    ///         () = asked => Ok(None),
    ///     }
    /// }
    /// # let _ = next;
    /// ```
    pub fn asked_to_move(&self) -> impl Future<Output = ()> + use<> {
        let (shared, listener, draining) = (Rc::clone(self.permit.shared()), self.listener, self.draining());
        let mut heard = shared.shed.orders();
        async move {
            let mut draining = pin!(draining);
            loop {
                let mut next = pin!(shared.shed.next_order());
                let orders = shared.shed.orders();
                // In this order: one that nobody takes is none of those that are to go.
                if orders != heard && shared.has_heir(listener) && shared.shed.take() {
                    return;
                }
                heard = orders;
                let is_draining = poll_fn(|cx| {
                    if draining.as_mut().poll(cx).is_ready() {
                        return Poll::Ready(true);
                    }
                    next.as_mut().poll(cx).map(|()| false)
                });
                if is_draining.await {
                    return;
                }
            }
        }
    }

    /// Passes the connection on to a process that goes on with it, where there is one.
    ///
    /// `state` is what that one finds in [`carried`](Self::carried), at most
    /// [`LONGEST_STATE`]; `unread` is what was read from this connection and not
    /// used: it is read there before anything else. Everything that was written
    /// must have been flushed.
    ///
    /// It is for a connection that is [asked to move](Self::asked_to_move): its worker
    /// drains, or others have fewer. A
    /// worker that drains has somebody to pass its connections on to unless the whole
    /// service stops. It waits while others are passed on
    /// first, for most of the time that it has to drain. A worker that serves on does not wait: where there is
    /// no room on the way the connection comes back, and its handler goes on with it.
    ///
    /// What grants a place without [`asked_to_move`](Self::asked_to_move) is
    /// [`Worker::shed_one`](crate::Worker::shed_one).
    ///
    /// # Errors
    /// When the connection stays here: it comes back, with the reason.
    ///
    /// # Cancel safety
    /// Not cancel safe: if the future is dropped, the connection is closed, unless it had moved.
    ///
    /// # Example
    /// ```no_run
    /// use hatchery_worker::{Conn, ServeError, Worker};
    /// use tokio::io::{AsyncReadExt, AsyncWriteExt};
    ///
    /// async fn app(worker: Worker) -> Result<(), ServeError> {
    ///     worker.carrying("counter", 1).serve(count).await
    /// }
    ///
    /// /// Adds up bytes, for as long as the client likes.
    /// async fn count(mut conn: Conn) {
    ///     let mut sum = conn.carried().and_then(|state| state.try_into().ok()).map_or(0, u64::from_be_bytes);
    ///     loop {
    ///         let asked = conn.asked_to_move();
    ///         tokio::select! {
    ///             // What was read must not be lost to an order that comes in the same moment.
    ///             biased;
    ///             byte = conn.read_u8() => match byte {
    ///                 Ok(byte) => sum += u64::from(byte),
    ///                 Err(_) => return,
    ///             },
    ///             () = asked => match conn.hand_over(&sum.to_be_bytes(), &[]).await {
    ///                 Ok(()) => return,
    ///                 Err(mut stays) if stays.conn.is_draining() => {
    ///                     let _client_gone = stays.conn.write_all(b"bye\n").await;
    ///                     return;
    ///                 }
    ///                 Err(stays) => {
    ///                     conn = stays.conn;
    ///                     continue;
    ///                 }
    ///             },
    ///         }
    ///         if conn.write_all(format!("{sum}\n").as_bytes()).await.is_err() {
    ///             return;
    ///         }
    ///     }
    /// }
    /// # let _ = app;
    /// ```
    pub async fn hand_over(self, state: &[u8], unread: &[u8]) -> Result<(), HandOverError> {
        if state.len() > LONGEST_STATE {
            let why = Stay::TooLarge { len: state.len(), most: LONGEST_STATE };
            return Err(HandOverError { conn: self, why });
        }
        let joined;
        let unread = match self.unread() {
            [] => unread,
            // It came after what the application has read.
            rest => {
                joined = [unread, rest].concat();
                &joined
            }
        };
        let luggage = Luggage { journey: &self.journey, unread, state: Some(state) };
        let Self { permit, stream, peer, listener, .. } = &self;
        match poll_fn(|cx| permit.poll_move(cx, *listener, stream, *peer, &luggage)).await {
            Ok(()) => Ok(()),
            Err(why) => Err(HandOverError { conn: self, why }),
        }
    }
}
