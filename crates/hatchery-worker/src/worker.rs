//! What the application gets.

use std::fmt;
use std::future::Future;
use std::rc::Rc;

use hatchery_core::{Generation, Pid, QueueId, Slot};
use hatchery_net::{Address, Listener};
use hatchery_sys::process;

use crate::shared::Shared;
use crate::{Counters, Limits, ServeError};

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
    pub(crate) queues: usize,
}

impl Worker {
    pub(crate) fn new(shared: &Rc<Shared>) -> Self {
        Self { shared: Rc::clone(shared), scope: Ok((0..shared.listeners.len()).collect()) }
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

    pub(crate) fn shared(&self) -> &Rc<Shared> {
        &self.shared
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
        Self { shared: Rc::clone(&self.shared), scope }
    }
}

impl ListenerInfo {
    pub(crate) fn of(listener: &Listener) -> Self {
        Self {
            name: listener.name().map(str::to_owned),
            address: listener.bound().clone(),
            queues: listener.queues().len(),
        }
    }
}

impl Shared {
    /// The index of the listener that a queue belongs to.
    pub(crate) fn listener_of(&self, id: QueueId) -> Option<usize> {
        let mut after = 0;
        self.listeners.iter().position(|listener| {
            after += listener.queues;
            usize::from(id.0) < after
        })
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
