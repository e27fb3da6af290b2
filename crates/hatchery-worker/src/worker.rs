//! What the application gets.
//!
//! * `listeners`: which of them are served
//! * `moving`: connections that go on in other processes
//! * `life`: ready, and draining
//! * `belongings`: what the process has for the application

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;

use hatchery_core::{Generation, Pid, Slot};
use hatchery_sys::process;

use crate::ServeError;
use crate::shared::Shared;

pub use listeners::{ListenerInfo, TLS};

mod belongings;
mod life;
mod listeners;
mod moving;

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

    pub(crate) fn shared(&self) -> &Rc<Shared> {
        &self.shared
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
