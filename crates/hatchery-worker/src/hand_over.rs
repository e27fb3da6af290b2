//! Passing a connection of a protocol of the application's own on to another process.

use std::future::poll_fn;

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

    /// Passes the connection on to a process that goes on with it, where there is one.
    ///
    /// `state` is what that one finds in [`carried`](Self::carried), at most
    /// [`LONGEST_STATE`]; `unread` is what was read from this connection and not
    /// used: it is read there before anything else. Everything that was written
    /// must have been flushed.
    ///
    /// It is for a worker that [drains](Self::draining), or that was
    /// [asked to shed](crate::Worker::asked_to_shed) connections and has granted this one
    /// with [`shed_one`](crate::Worker::shed_one); at any other time the connection stays. A
    /// worker that drains has somebody to pass its connections on to unless the whole
    /// service stops. It waits while others are passed on
    /// first, for most of the time that it has to drain.
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
    ///         let draining = conn.draining();
    ///         tokio::select! {
    ///             // What was read must not be lost to a drain that begins in the same moment.
    ///             biased;
    ///             byte = conn.read_u8() => match byte {
    ///                 Ok(byte) => sum += u64::from(byte),
    ///                 Err(_) => return,
    ///             },
    ///             () = draining => break,
    ///         }
    ///         if conn.write_all(format!("{sum}\n").as_bytes()).await.is_err() {
    ///             return;
    ///         }
    ///     }
    ///     if let Err(mut stays) = conn.hand_over(&sum.to_be_bytes(), &[]).await {
    ///         let _client_gone = stays.conn.write_all(b"bye\n").await;
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
