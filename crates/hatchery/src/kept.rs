//! What the program keeps open, for those who have neither a worker nor a sidecar.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, PoisonError};

use hatchery_net::Kept;

/// Set by `run`, before anything of the program's own runs. Nobody holds it at a fork: there is one thread then.
static KEPT: Mutex<Option<Kept>> = Mutex::new(None);

/// A descriptor of the caller's own for what [`Server::keep`](crate::Server::keep)
/// keeps under a name: in what is preloaded, in jobs, and everywhere else.
///
/// Workers and sidecars have a method for it: [`Worker::kept`](crate::Worker::kept).
///
/// # Errors
/// [`NotFound`](io::ErrorKind::NotFound) if nothing is kept under that name, or
/// the server does not run yet; otherwise when no descriptor is left.
///
/// # Example
/// ```no_run
/// use std::net::UdpSocket;
///
/// fn main() -> hatchery::Exit {
///     hatchery::Server::new()
///         .keep("statistics", || UdpSocket::bind("0.0.0.0:8125"))
///         .preload(|| hatchery::kept("statistics").map(UdpSocket::from))
///         .run(async |worker, statistics: &'static UdpSocket| {
///             statistics.send_to(b"workers:1|c", "127.0.0.1:9125")?;
///             worker.ready();
///             worker.draining().await;
///             Ok::<_, std::io::Error>(())
///         })
/// }
/// ```
pub fn kept(name: &str) -> io::Result<OwnedFd> {
    let kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner).clone().unwrap_or_default();
    kept.get(name)
}

pub(crate) fn publish(kept: Kept) {
    *KEPT.lock().unwrap_or_else(PoisonError::into_inner) = Some(kept);
}
