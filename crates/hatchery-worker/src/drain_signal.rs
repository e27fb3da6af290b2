//! What tells those who are not the worker's own that it drains.

use tokio_util::sync::CancellationToken;

/// Tells when a worker begins to drain: for who has a connection for long, such
/// as a WebSocket or an endless answer, and should bring it to an end then.
///
/// It may be cloned and sent to other threads, unlike the [`Worker`](crate::Worker).
///
/// ```
/// use std::time::Duration;
///
/// use hatchery_worker::DrainSignal;
///
/// async fn report(drain: DrainSignal) {
///     loop {
///         tokio::select! {
///             () = drain.wait() => return,
///             () = tokio::time::sleep(Duration::from_secs(60)) => println!("still here"),
///         }
///     }
/// }
/// # let _ = report;
/// ```
#[derive(Clone, Debug)]
pub struct DrainSignal(pub(crate) CancellationToken);

impl DrainSignal {
    /// Waits until the worker begins to drain; over at once if it does already.
    ///
    /// # Cancel safety
    /// The future may be dropped and asked for again at any time.
    pub async fn wait(&self) {
        self.0.cancelled().await;
    }

    /// Whether the worker has begun to drain.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.0.is_cancelled()
    }
}
