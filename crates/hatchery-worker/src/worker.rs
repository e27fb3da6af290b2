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
    #[must_use]
    pub fn slot(&self) -> Slot {
        self.shared.slot
    }

    /// The generation that it belongs to: one more with every upgrade.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.shared.generation
    }

    /// This process.
    #[must_use]
    pub fn pid(&self) -> Pid {
        Pid(process::pid().as_raw())
    }

    /// The master of this generation.
    #[must_use]
    pub fn master(&self) -> Pid {
        Pid(self.shared.master.as_raw())
    }

    /// What clients are granted.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.shared.limits
    }

    /// The listeners that this value would serve.
    pub fn listeners(&self) -> impl Iterator<Item = &ListenerInfo> {
        self.scope.iter().flat_map(|scope| scope.iter()).map(|&index| &self.shared.listeners[index])
    }

    /// The same worker with one listener only.
    ///
    /// A name that no listener has is an error when it is served.
    #[must_use]
    pub fn only(&self, name: &str) -> Self {
        self.narrowed(name, |is_it| is_it)
    }

    /// The same worker with all listeners but one.
    ///
    /// A name that no listener has is an error when the rest is served.
    #[must_use]
    pub fn without(&self, name: &str) -> Self {
        self.narrowed(name, |is_it| !is_it)
    }

    /// Requests that this worker has taken so far; protocols count them with [`Counters`].
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.shared.counters.requests()
    }

    /// What this worker counts on the board.
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
    pub fn draining(&self) -> impl Future<Output = ()> + Send + use<> {
        self.shared.drained.clone().cancelled_owned()
    }

    /// Whether the worker has begun to drain.
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
