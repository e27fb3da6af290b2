//! Ready, and draining.

use std::future::Future;

use tokio::time::Instant;

use super::Worker;
use crate::DrainSignal;

impl Worker {
    /// Tells the master that the application has booted.
    ///
    /// Only an application without listeners needs it: for all others the
    /// master is told when every listener is being served and the function waits
    /// for the first time since. While a listener is not served this does nothing.
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
        self.shared.ready();
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
}
