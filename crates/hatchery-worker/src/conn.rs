//! A connection of a protocol of the application's own.

use std::any::Any;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

use hatchery_net::Address;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tracing::error;

use crate::ledger::{Doing, Protocol, Record};
use crate::{Accepted, Journey, Peer, Permit, ServeError, Stream, Worker};

/// A connection, as a raw handler gets it.
///
/// Reads and writes like a tokio stream. A worker that drains waits for its
/// connections, so a handler of a long-lived protocol watches
/// [`draining`](Self::draining). Where the service has a name (see
/// [`Worker::carrying`]), it need not end then: the handler watches
/// [`asked_to_move`](Self::asked_to_move), and [`hand_over`](Self::hand_over)
/// passes the connection on to another process.
///
/// ```no_run
/// use hatchery_worker::Conn;
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
///
/// async fn echo(mut conn: Conn) -> std::io::Result<()> {
///     let mut buffer = [0; 1024];
///     loop {
///         let draining = conn.draining();
///         tokio::select! {
///             // What was read must not be lost to a drain that begins in the same moment.
///             biased;
///             read = conn.read(&mut buffer) => match read? {
///                 0 => return Ok(()),
///                 read => conn.write_all(&buffer[..read]).await?,
///             },
///             () = draining => return conn.write_all(b"bye\n").await,
///         }
///     }
/// }
/// # let _ = echo;
/// ```
#[derive(Debug)]
pub struct Conn {
    pub(crate) stream: Stream,
    pub(crate) peer: Peer,
    local: Address,
    pub(crate) listener: usize,
    pub(crate) permit: Permit,
    pub(crate) journey: Journey,
    /// What another process has read and not used, as far as it is still to be read here.
    pub(crate) unread: Box<[u8]>,
    pub(crate) read: usize,
    pub(crate) state: Option<Vec<u8>>,
}

impl Conn {
    /// The client.
    ///
    /// ```no_run
    /// use hatchery_worker::{Conn, Peer};
    ///
    /// fn is_near(conn: &Conn) -> bool {
    ///     match conn.peer() {
    ///         Peer::Tcp(address) => address.ip().is_loopback(),
    ///         Peer::Unix => true,
    ///     }
    /// }
    /// # let _ = is_near;
    /// ```
    #[must_use]
    pub fn peer(&self) -> Peer {
        self.peer
    }

    /// Where the listener that it came to listens.
    ///
    /// ```no_run
    /// use hatchery_worker::Conn;
    ///
    /// fn log(conn: &Conn) {
    ///     tracing::info!("{:?} has come to {}", conn.peer(), conn.local());
    /// }
    /// # let _ = log;
    /// ```
    #[must_use]
    pub fn local(&self) -> &Address {
        &self.local
    }

    /// The index of that listener in the order of [`Worker::listeners`] of the undivided worker.
    ///
    /// ```no_run
    /// use hatchery_worker::{Conn, ServeError, Worker};
    ///
    /// async fn app(worker: Worker) -> Result<(), ServeError> {
    ///     let names: Vec<_> = worker.listeners().map(|listener| listener.name.clone()).collect();
    ///     worker.serve(async move |conn: Conn| println!("a client for {:?}", names[conn.listener()])).await
    /// }
    /// # let _ = app;
    /// ```
    #[must_use]
    pub fn listener(&self) -> usize {
        self.permit.place_of(self.listener)
    }

    /// Completes when the worker begins to drain: another one accepts, and this connection should come to an end.
    ///
    /// A handler that can [hand it over](Self::hand_over) awaits [`asked_to_move`](Self::asked_to_move) instead.
    ///
    /// # Cancel safety
    /// The future may be dropped and asked for again at any time.
    ///
    /// # Example
    /// ```no_run
    /// use hatchery_worker::Conn;
    /// use tokio::io::AsyncReadExt;
    ///
    /// async fn next(conn: &mut Conn) -> std::io::Result<Option<u8>> {
    ///     let draining = conn.draining();
    ///     tokio::select! {
    ///         biased;
    ///         command = conn.read_u8() => command.map(Some),
    ///         // The client asks for nothing: a good moment to part.
    ///         () = draining => Ok(None),
    ///     }
    /// }
    /// # let _ = next;
    /// ```
    pub fn draining(&self) -> impl Future<Output = ()> + use<> {
        self.permit.shared().drained.clone().cancelled_owned()
    }

    /// Whether the worker has begun to drain.
    ///
    /// ```no_run
    /// use hatchery_worker::Conn;
    /// use tokio::io::AsyncWriteExt;
    ///
    /// async fn list(mut conn: Conn, items: &[String]) -> std::io::Result<()> {
    ///     for item in items {
    ///         if conn.is_draining() {
    ///             return conn.write_all(b"to be continued\n").await;
    ///         }
    ///         conn.write_all(item.as_bytes()).await?;
    ///     }
    ///     Ok(())
    /// }
    /// # let _ = list;
    /// ```
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.permit.shared().stage().is_draining()
    }

    /// What it was before it came to this process.
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// use hatchery_worker::Conn;
    ///
    /// /// No connection is older than a day, however often it has moved.
    /// fn is_too_old(conn: &Conn) -> bool {
    ///     conn.journey().began.elapsed() > Duration::from_secs(86_400)
    /// }
    /// # let _ = is_too_old;
    /// ```
    #[must_use]
    pub fn journey(&self) -> &Journey {
        &self.journey
    }

    /// Says who the client behind a proxy is: it goes along when the connection moves.
    ///
    /// ```no_run
    /// use std::net::SocketAddr;
    ///
    /// use hatchery_worker::Conn;
    /// use tokio::io::AsyncReadExt;
    ///
    /// async fn introduced(conn: &mut Conn) -> std::io::Result<SocketAddr> {
    ///     // One that has moved was introduced before.
    ///     if let Some(known) = conn.journey().real_peer {
    ///         return Ok(known);
    ///     }
    ///     let client = read_proxy_header(conn).await?;
    ///     conn.set_real_peer(client);
    ///     Ok(client)
    /// }
    /// # async fn read_proxy_header(conn: &mut Conn) -> std::io::Result<SocketAddr> {
    /// #     conn.read_u8().await.map(|_| ([127, 0, 0, 1], 1).into())
    /// # }
    /// # let _ = introduced;
    /// ```
    pub fn set_real_peer(&mut self, client: SocketAddr) {
        self.journey.real_peer = Some(client);
    }

    /// The socket. What [`unread`](Self::unread) has comes before what it has.
    ///
    /// ```no_run
    /// use hatchery_worker::{Conn, Stream};
    ///
    /// /// The user that a client of a unix socket runs as.
    /// fn user(conn: &Conn) -> Option<u32> {
    ///     match conn.stream() {
    ///         Stream::Unix(socket) => socket.peer_cred().ok().map(|client| client.uid()),
    ///         Stream::Tcp(_) => None,
    ///     }
    /// }
    /// # let _ = user;
    /// ```
    #[must_use]
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// The socket, and what keeps the worker from ending before it is dropped.
    ///
    /// What is still [`unread`](Self::unread) is lost.
    ///
    /// ```no_run
    /// use hatchery_worker::Conn;
    /// use tokio::io::AsyncWriteExt;
    ///
    /// async fn order(conn: Conn) {
    ///     let (mut stream, permit) = conn.into_parts();
    ///     let _client_gone = stream.write_all(b"accepted\n").await;
    ///     drop(stream);
    ///     // The client has its answer; a draining worker still waits for the work.
    ///     work().await;
    ///     drop(permit);
    /// }
    /// # async fn work() {}
    /// # let _ = order;
    /// ```
    #[must_use]
    pub fn into_parts(self) -> (Stream, Permit) {
        (self.stream, self.permit)
    }
}

impl From<Accepted> for Conn {
    fn from(accepted: Accepted) -> Self {
        let Accepted { stream, peer, local, listener, permit, journey, unread, state } = accepted;
        permit.record().speaks(Protocol::Raw);
        permit.record().enter(Doing::Handler);
        Self { stream, peer, local, listener, permit, journey, unread, read: 0, state }
    }
}

impl Worker {
    /// Serves a protocol of the application's own: `handler` runs once a connection, each in its own task.
    ///
    /// A handler that panics costs its own connection: that is counted and
    /// logged, and the worker goes on. Calling this is the application's word
    /// that it has booted, as for [`accept`](Self::accept); it returns when the
    /// worker has drained.
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
    /// use hatchery_worker::{Conn, ServeError, Worker};
    /// use tokio::io::AsyncWriteExt;
    ///
    /// async fn app(worker: Worker) -> Result<(), ServeError> {
    ///     let greeting = format!("worker {}\n", worker.slot());
    ///     worker
    ///         .serve(async move |mut conn: Conn| {
    ///             let _client_gone = conn.write_all(greeting.as_bytes()).await;
    ///         })
    ///         .await
    /// }
    /// # let _ = app;
    /// ```
    pub async fn serve<H>(self, handler: H) -> Result<(), ServeError>
    where
        H: AsyncFn(Conn) + 'static,
    {
        let handler = Rc::new(handler);
        let counters = self.counters();
        self.accept(|accepted| {
            let (handler, counters, peer) = (Rc::clone(&handler), counters.clone(), accepted.peer);
            let record = accepted.permit.record();
            tokio::task::spawn_local(async move {
                let handled = handler(accepted.into());
                if let Err(panic) = catch(record, handled).await {
                    counters.panicked();
                    error!(?peer, "a handler has panicked, its connection is closed: {}", Message(&*panic));
                }
            });
        })
        .await
    }
}

/// Runs a future to its end or its panic.
async fn catch<T>(record: &'static Record, future: impl Future<Output = T>) -> Result<T, Box<dyn Any + Send>> {
    let mut future = pin!(future);
    poll_fn(move |cx| {
        let _polled = record.poll();
        // Whatever a panic leaves half-done in the handler is never looked at again.
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
            Ok(poll) => poll.map(Ok),
            Err(panic) => Poll::Ready(Err(panic)),
        }
    })
    .await
}

/// What a panic says.
#[doc(hidden)] // For the other wing's panics.
#[derive(Debug)]
pub struct Message<'a>(pub &'a (dyn Any + Send));

impl fmt::Display for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.downcast_ref::<&str>().copied();
        let text = text.or_else(|| self.0.downcast_ref::<String>().map(String::as_str));
        f.write_str(text.unwrap_or("it says nothing"))
    }
}

impl AsyncRead for Conn {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let unread = this.unread();
        if unread.is_empty() {
            return Pin::new(&mut this.stream).poll_read(cx, buffer);
        }
        let count = unread.len().min(buffer.remaining());
        buffer.put_slice(&unread[..count]);
        this.read += count;
        if this.read == this.unread.len() {
            (this.unread, this.read) = (Box::default(), 0);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Conn {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
