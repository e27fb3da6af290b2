//! What the application gets.

use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use hatchery_core::{Generation, Pid, Service, Slot};
use hatchery_net::{Address, Listener};
use hatchery_sys::process;
use tokio::time::Instant;

use crate::shared::Shared;
use crate::{Counters, DrainSignal, Jobs, Ledger, Limits, ServeError};

/// The process that the application runs in, and the listeners that it is to serve.
///
/// Cheap to clone; stays on its thread.
///
/// ```no_run
/// use hatchery_worker::{Conn, ServeError, Worker};
///
/// async fn app(worker: Worker) -> Result<(), ServeError> {
///     let raw = worker.only("raw").serve(async |conn: Conn| drop(conn));
///     let rest = worker.without("raw").serve(async |conn: Conn| drop(conn));
///     tokio::try_join!(raw, rest).map(|_| ())
/// }
/// # let _ = app;
/// ```
#[derive(Clone)]
pub struct Worker {
    shared: Rc<Shared>,
    scope: Result<Rc<[usize]>, ServeError>,
    /// What its connections carry when they move: the service's name and the version of its state.
    carrying: Option<(Rc<str>, u32)>,
    speaks_tls: bool,
    /// The last of the orders to shed that this value has heard.
    heard: Cell<u64>,
}

/// A listener, as the application knows it.
///
/// ```no_run
/// use hatchery_worker::ListenerInfo;
///
/// fn describe(listener: &ListenerInfo) -> String {
///     let name = listener.name.as_deref().unwrap_or("unnamed");
///     format!("{name} on {}", listener.address)
/// }
/// # let _ = describe;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListenerInfo {
    /// What the program calls it, if anything.
    pub name: Option<String>,
    /// Where it listens, with its real port.
    pub address: Address,
    /// Whether the settings ask for it; else it is a number and nothing more.
    pub(crate) is_asked: bool,
}

/// What listeners are called that speak TLS.
pub const TLS: &str = "tls";

impl Worker {
    pub(crate) fn new(shared: &Rc<Shared>) -> Self {
        Self {
            shared: Rc::clone(shared),
            scope: Ok(shared.scope()),
            carrying: None,
            speaks_tls: false,
            heard: Cell::new(0),
        }
    }

    /// Its place among the workers, counted from 0. Its replacement will have the same.
    ///
    /// ```no_run
    /// use hatchery_worker::Worker;
    ///
    /// fn label(worker: &Worker) -> String {
    ///     // Unlike the pid, it stays the same when the worker is replaced.
    ///     format!("worker-{}", worker.slot())
    /// }
    /// # let _ = label;
    /// ```
    #[must_use]
    pub fn slot(&self) -> Slot {
        self.shared.slot
    }

    /// The generation that it belongs to: one more with every upgrade.
    ///
    /// ```no_run
    /// use hatchery_worker::Worker;
    ///
    /// fn version(worker: &Worker) -> String {
    ///     // Tells the answers of an upgraded program from those of the one before.
    ///     format!("{} (generation {})", env!("CARGO_PKG_VERSION"), worker.generation())
    /// }
    /// # let _ = version;
    /// ```
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.shared.generation
    }

    /// This process.
    ///
    /// ```no_run
    /// use hatchery_worker::Worker;
    ///
    /// fn status(worker: &Worker) -> String {
    ///     format!("worker {} is pid {}\n", worker.slot(), worker.pid())
    /// }
    /// # let _ = status;
    /// ```
    #[must_use]
    pub fn pid(&self) -> Pid {
        Pid(process::pid().as_raw())
    }

    /// The master of this generation.
    ///
    /// ```no_run
    /// use hatchery_worker::Worker;
    ///
    /// fn how_to_upgrade(worker: &Worker) -> String {
    ///     // Signals are for the master, whichever worker is asked.
    ///     format!("kill -USR2 {}\n", worker.master())
    /// }
    /// # let _ = how_to_upgrade;
    /// ```
    #[must_use]
    pub fn master(&self) -> Pid {
        Pid(self.shared.master.as_raw())
    }

    /// What its connections are doing, as it would tell when it is aborted.
    ///
    /// ```no_run
    /// use hatchery_worker::Worker;
    ///
    /// /// For a task that runs now and then: the loop is not blocked.
    /// fn tick(worker: &Worker) {
    ///     worker.ledger().loop_turns();
    /// }
    /// # let _ = tick;
    /// ```
    #[doc(hidden)] // For protocol crates: applications have nothing to say there.
    #[must_use]
    pub fn ledger(&self) -> &'static Ledger {
        self.shared.records.ledger
    }

    /// What clients are granted.
    ///
    /// ```no_run
    /// use hatchery_worker::{Conn, Worker};
    /// use tokio::io::AsyncReadExt;
    ///
    /// async fn command(worker: &Worker, conn: &mut Conn) -> std::io::Result<u8> {
    ///     // A protocol of one's own keeps the time itself.
    ///     tokio::time::timeout(worker.limits().idle, conn.read_u8()).await?
    /// }
    /// # let _ = command;
    /// ```
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.shared.limits
    }

    /// The listeners that this value would serve.
    ///
    /// ```no_run
    /// use hatchery_worker::{Conn, ServeError, Worker};
    ///
    /// async fn app(worker: Worker) -> Result<(), ServeError> {
    ///     // Not every installation has an admin listener.
    ///     if worker.listeners().all(|listener| listener.name.as_deref() != Some("admin")) {
    ///         return worker.serve(public).await;
    ///     }
    ///     tokio::try_join!(worker.only("admin").serve(admin), worker.without("admin").serve(public)).map(|_| ())
    /// }
    /// # async fn public(_: Conn) {}
    /// # async fn admin(_: Conn) {}
    /// # let _ = app;
    /// ```
    pub fn listeners(&self) -> impl Iterator<Item = &ListenerInfo> {
        self.scope.iter().flat_map(|scope| scope.iter()).map(|&index| &self.shared.listeners[index])
    }

    /// The same worker with one listener only.
    ///
    /// A name that no listener has is an error when it is served.
    ///
    /// ```no_run
    /// use hatchery_worker::{Conn, ServeError, Worker};
    ///
    /// async fn app(worker: Worker) -> Result<(), ServeError> {
    ///     let public = worker.only("public").serve(async |conn: Conn| drop(conn));
    ///     let admin = worker.only("admin").serve(async |conn: Conn| drop(conn));
    ///     tokio::try_join!(public, admin).map(|_| ())
    /// }
    /// # let _ = app;
    /// ```
    #[must_use]
    pub fn only(&self, name: &str) -> Self {
        self.narrowed(name, |is_it| is_it)
    }

    /// The same worker with all listeners but one.
    ///
    /// A name that no listener has is an error when the rest is served.
    ///
    /// ```no_run
    /// use hatchery_worker::{Conn, ServeError, Worker};
    ///
    /// async fn app(worker: Worker) -> Result<(), ServeError> {
    ///     // However many public listeners the settings have, they need no names.
    ///     let public = worker.without("admin").serve(async |conn: Conn| drop(conn));
    ///     let admin = worker.only("admin").serve(async |conn: Conn| drop(conn));
    ///     tokio::try_join!(public, admin).map(|_| ())
    /// }
    /// # let _ = app;
    /// ```
    #[must_use]
    pub fn without(&self, name: &str) -> Self {
        self.narrowed(name, |is_it| !is_it)
    }

    /// The same worker, whose connections can move to another process instead of being closed.
    ///
    /// `name` says which protocol it is, `state` which version of what a connection
    /// carries: connections move only between processes that serve a listener
    /// with the same of both. To change what is carried, count `state` up.
    ///
    /// A name that is empty or has a `/` is an error when it is served.
    ///
    /// ```no_run
    /// use hatchery_worker::{Conn, ServeError, Worker};
    ///
    /// async fn app(worker: Worker) -> Result<(), ServeError> {
    ///     worker.carrying("echo", 1).serve(async |conn: Conn| drop(conn)).await
    /// }
    /// # let _ = app;
    /// ```
    #[must_use]
    pub fn carrying(&self, name: &str, state: u32) -> Self {
        let scope = match Service::check_name(name) {
            Ok(()) => self.scope.clone(),
            Err(_) => self.scope.clone().and(Err(ServeError::BadServiceName { name: name.to_owned() })),
        };
        Self { scope, carrying: Some((name.into(), state)), ..self.clone() }
    }

    /// Completes when others have fewer connections, with how many of those that are idle should move to them.
    ///
    /// Once for each time that the master asks: what cannot be moved then stays,
    /// and the master counts again.
    ///
    /// # Cancel safety
    /// The future may be dropped and asked for again at any time.
    ///
    /// # Example
    /// ```no_run
    /// use std::cell::RefCell;
    ///
    /// use hatchery_worker::Worker;
    ///
    /// /// Moves connections that wait for their next request to workers that have fewer.
    /// async fn even_out<C>(worker: &Worker, idle: &RefCell<Vec<C>>, move_one: fn(C)) {
    ///     loop {
    ///         worker.asked_to_shed().await;
    ///         while let Some(connection) = idle.borrow_mut().pop_if(|_| worker.shed_one()) {
    ///             move_one(connection);
    ///         }
    ///     }
    /// }
    /// # let _ = even_out::<()>;
    /// ```
    pub async fn asked_to_shed(&self) -> usize {
        poll_fn(|cx| self.shared.shed.poll_asked(cx, &self.heard)).await
    }

    /// Takes one of the connections that are to move; `false` when enough have.
    ///
    /// The next step is [`Permit::poll_move`](crate::Permit::poll_move).
    ///
    /// ```no_run
    /// use hatchery_worker::{Permit, Worker};
    ///
    /// fn moves(worker: &Worker, permit: &Permit, listener: usize) -> bool {
    ///     // In this order: one that nobody takes is none of those that are to go.
    ///     permit.has_heir(listener) && worker.shed_one()
    /// }
    /// # let _ = moves;
    /// ```
    #[must_use = "only what was taken is to move"]
    pub fn shed_one(&self) -> bool {
        self.shared.shed.take()
    }

    /// Requests that this worker has taken so far; protocols count them with [`Counters`].
    ///
    /// ```no_run
    /// use hatchery_worker::Worker;
    ///
    /// fn status(worker: &Worker) -> String {
    ///     format!("worker {} has taken {} requests\n", worker.slot(), worker.requests())
    /// }
    /// # let _ = status;
    /// ```
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.shared.counters.requests()
    }

    /// How the server is, in the words of its master: JSON, for the process that tells operators.
    ///
    /// Others get no answer.
    ///
    /// # Errors
    /// When the master, or this process, has no descriptor left for it.
    ///
    /// # Cancel safety
    /// The future may be dropped at any time.
    #[doc(hidden)]
    pub async fn how_is_it(&self) -> io::Result<Vec<u8>> {
        self.shared.how_is_it().await
    }

    /// What this worker counts on the board.
    ///
    /// ```no_run
    /// use hatchery_worker::{Conn, ServeError, Worker};
    ///
    /// async fn app(worker: Worker) -> Result<(), ServeError> {
    ///     let counters = worker.counters();
    ///     // One request a connection, as far as the board is concerned.
    ///     worker
    ///         .serve(async move |conn: Conn| {
    ///             counters.request_started();
    ///             answer(conn).await;
    ///             counters.request_finished();
    ///         })
    ///         .await
    /// }
    /// # async fn answer(_: Conn) {}
    /// # let _ = app;
    /// ```
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.shared.counters.clone()
    }

    /// Tells the master that the application has booted.
    ///
    /// Only an application without listeners needs it: for all others the
    /// master is told when every listener is being served, and until then this
    /// does nothing.
    ///
    /// ```no_run
    /// use std::convert::Infallible;
    ///
    /// async fn app(worker: hatchery_worker::Worker) -> Result<(), Infallible> {
    ///     worker.ready();
    ///     worker.draining().await;
    ///     Ok(())
    /// }
    /// # let _ = app;
    /// ```
    pub fn ready(&self) {
        self.shared.ready_if_claimed();
    }

    /// Completes when the worker begins to drain.
    ///
    /// The future is `Send`, unlike the worker itself: it can go where a framework
    /// wants state that is, such as an axum router.
    ///
    /// # Cancel safety
    /// The future may be dropped and asked for again at any time.
    ///
    /// # Example
    /// ```no_run
    /// use hatchery_worker::Worker;
    ///
    /// async fn in_the_background(worker: Worker) {
    ///     tokio::select! {
    ///         // What is left to do is for this worker's replacement.
    ///         () = worker.draining() => {}
    ///         () = watch_a_queue() => {}
    ///     }
    /// }
    /// # async fn watch_a_queue() {}
    /// # let _ = in_the_background;
    /// ```
    pub fn draining(&self) -> impl Future<Output = ()> + Send + use<> {
        self.shared.drained.clone().cancelled_owned()
    }

    /// What tells that the worker drains, as a value that can be kept and passed on.
    ///
    /// ```no_run
    /// use hatchery_worker::{DrainSignal, Worker};
    ///
    /// /// For a framework whose state has to be `Clone` and `Send`.
    /// #[derive(Clone)]
    /// struct State {
    ///     drain: DrainSignal,
    /// }
    ///
    /// fn state(worker: &Worker) -> State {
    ///     State { drain: worker.drain_signal() }
    /// }
    /// # let _ = state;
    /// ```
    #[must_use]
    pub fn drain_signal(&self) -> DrainSignal {
        DrainSignal(self.shared.drained.clone())
    }

    /// Whether the worker has begun to drain.
    ///
    /// ```no_run
    /// use hatchery_worker::Worker;
    ///
    /// fn connection_header(worker: &Worker) -> &'static str {
    ///     // The client's next request had better come over a new connection.
    ///     if worker.is_draining() { "close" } else { "keep-alive" }
    /// }
    /// # let _ = connection_header;
    /// ```
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.shared.stage().is_draining()
    }

    /// When this process is ended by force, once it is on its way to the end; `None` before.
    ///
    /// What a client is still granted then has to fit into what is left.
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// use hatchery_worker::Worker;
    /// use tokio::time::Instant;
    ///
    /// /// How long a client that was told goodbye may take to close.
    /// fn patience(worker: &Worker) -> Duration {
    ///     let left = worker.deadline().map(|deadline| deadline.duration_since(Instant::now()));
    ///     Duration::from_secs(1).min(left.map_or(Duration::MAX, |left| left / 2))
    /// }
    /// # let _ = patience;
    /// ```
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.shared.deadline.get()
    }

    /// The jobs that the program has declared under a name: work that is done in
    /// processes of its own, and may crash there.
    ///
    /// A name that it has not declared is an error when one is run.
    ///
    /// ```no_run
    /// use hatchery_worker::{JobError, Worker};
    ///
    /// async fn thumbnail(worker: &Worker, picture: &[u8]) -> Result<Vec<u8>, JobError> {
    ///     worker.jobs("thumbnails").run(picture).await
    /// }
    /// # let _ = thumbnail;
    /// ```
    #[must_use]
    pub fn jobs(&self, name: &str) -> Jobs {
        Jobs::new(name, &self.shared.jobs)
    }

    /// A descriptor of the caller's own for what the program keeps across
    /// upgrades under a name. All of them share what is behind it, with all
    /// processes: the offset of a file, and whether a socket blocks.
    ///
    /// # Errors
    /// [`NotFound`](std::io::ErrorKind::NotFound) if nothing is kept under that
    /// name; otherwise when no descriptor is left.
    ///
    /// # Example
    /// ```no_run
    /// use std::net::UdpSocket;
    ///
    /// use hatchery_worker::Worker;
    ///
    /// fn statistics(worker: &Worker) -> std::io::Result<UdpSocket> {
    ///     Ok(UdpSocket::from(worker.kept("statistics")?))
    /// }
    /// # let _ = statistics;
    /// ```
    pub fn kept(&self, name: &str) -> io::Result<OwnedFd> {
        self.shared.kept.get(name)
    }

    #[doc(hidden)] // For protocol crates: what handshakes are made with.
    #[must_use]
    pub fn secret(&self) -> Option<&dyn Any> {
        self.shared.secret.as_deref()
    }

    #[doc(hidden)] // For protocol crates: whether TLS is spoken on a listener, by its index.
    #[must_use]
    pub fn is_secure(&self, listener: usize) -> bool {
        self.shared.listeners.get(listener).is_some_and(ListenerInfo::is_secure)
    }

    #[doc(hidden)] // For protocol crates that make handshakes where that is wanted.
    #[must_use]
    pub fn speaking_tls(&self) -> Self {
        Self { speaks_tls: true, ..self.clone() }
    }

    /// What this call would take and cannot speak.
    pub(crate) fn unspeakable(&self) -> Option<ServeError> {
        let secure = self.listeners().find(|listener| listener.is_secure() && !self.speaks_tls)?;
        Some(ServeError::SpeaksTls { address: secure.address.clone() })
    }

    pub(crate) fn shared(&self) -> &Rc<Shared> {
        &self.shared
    }

    pub(crate) fn service(&self) -> Option<(&str, u32)> {
        self.carrying.as_ref().map(|(name, state)| (&**name, *state))
    }

    pub(crate) fn listener_indices(&self) -> Result<Rc<[usize]>, ServeError> {
        self.scope.clone()
    }

    fn narrowed(&self, name: &str, keep: impl Fn(bool) -> bool) -> Self {
        let is_it = |index: &usize| self.shared.listeners[*index].name.as_deref() == Some(name);
        let scope = self.scope.clone().and_then(|scope| {
            if !scope.iter().any(is_it) {
                return Err(ServeError::NoSuchListener { name: name.to_owned() });
            }
            Ok(scope.iter().copied().filter(|index| keep(is_it(index))).collect())
        });
        Self { scope, ..self.clone() }
    }
}

impl ListenerInfo {
    /// Whether TLS is spoken there.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.name.as_deref() == Some(TLS)
    }

    pub(crate) fn of(listener: &Listener) -> Self {
        let is_asked = listener.is_asked();
        Self { name: listener.name().map(str::to_owned), address: listener.bound().clone(), is_asked }
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker")
            .field("slot", &self.shared.slot)
            .field("generation", &self.shared.generation)
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}
