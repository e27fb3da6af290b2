//! What the process has for the application.

use std::any::Any;
use std::io;
use std::os::fd::OwnedFd;

use super::Worker;
use crate::{Counters, Jobs, Ledger, Limits};

impl Worker {
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

    /// The jobs that the program has declared under a name: work that is done in
    /// processes of its own, and may crash there.
    ///
    /// Ask for them before the worker serves: then a name that is wrong is a boot that has failed.
    ///
    /// # Panics
    /// If the program has declared no jobs of this name.
    ///
    /// # Example
    /// ```no_run
    /// use hatchery_worker::{JobError, Worker};
    ///
    /// async fn thumbnail(worker: &Worker, picture: &[u8]) -> Result<Vec<u8>, JobError> {
    ///     worker.jobs("thumbnails").run(picture).await
    /// }
    /// # let _ = thumbnail;
    /// ```
    #[must_use]
    #[track_caller]
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
}
