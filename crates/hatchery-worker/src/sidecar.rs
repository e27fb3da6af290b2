//! Sidecars: processes of the program's own with a runtime and no listener.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;

use hatchery_core::wire::worker::WorkerSays;
use hatchery_core::{Generation, Pid};
use hatchery_net::{Listeners, Relay};
use tokio::time::Instant;

use crate::{Jobs, Seed, Worker, runtime};

/// The process that a sidecar runs in: one with the life of a worker, and
/// nothing to accept from. It is for what a service needs once, beside its
/// workers: a consumer of a queue, a pusher of metrics, a refresher of a cache.
///
/// Cheap to clone; stays on its thread.
///
/// ```no_run
/// use std::time::Duration;
///
/// use hatchery_worker::Sidecar;
///
/// async fn push_metrics(sidecar: Sidecar) -> std::io::Result<()> {
///     let target = tokio::net::UdpSocket::bind("127.0.0.1:0").await?;
///     // From here on the master counts on it.
///     sidecar.ready();
///     loop {
///         tokio::select! {
///             () = sidecar.draining() => return Ok(()),
///             () = tokio::time::sleep(Duration::from_secs(10)) => {}
///         }
///         target.send_to(b"up 1\n", "127.0.0.1:8125").await?;
///     }
/// }
/// # let _ = push_metrics;
/// ```
#[derive(Clone)]
pub struct Sidecar {
    worker: Worker,
    name: &'static str,
}

/// Runs `app` in this process, a forked child, until it ends.
///
/// As [`run`](crate::run) for a worker, of which it takes the seed: but it
/// closes the listeners and the relay, and has no quota.
///
/// # Panics
/// If there is no descriptor left for the sidecar's own use.
pub fn run<A, P, E>(seed: Seed, name: String, preloaded: &'static P, app: A) -> i32
where
    A: AsyncFn(Sidecar, &'static P) -> Result<(), E>,
    E: Into<Box<dyn Error + Send + Sync>>,
{
    // The process ends without anybody who could free it.
    let name: &'static str = name.leak();
    let relay = match Relay::pair() {
        Ok(relay) => relay,
        Err(failure) => {
            let text = format!("no descriptor is left for a sidecar: {failure}");
            let _master_gone = seed.channel.send(&WorkerSays::BootFailed { text }.encode(), &[]);
            return 1;
        }
    };
    let seed = alone(seed, name, relay);
    runtime::run(seed, preloaded, async move |worker: Worker, preloaded: &'static P| {
        app(Sidecar { worker, name }, preloaded).await
    })
}

/// Nothing to accept from, and a relay that nobody sends into: that of its
/// generation is none of its business, also when the master dies.
fn alone(seed: Seed, name: &str, relay: Relay) -> Seed {
    relay.shut();
    Seed { listeners: Listeners::default(), relay, quota: None, sidecar: Some(name.to_owned()), ..seed }
}

impl Sidecar {
    /// What the program calls it.
    #[must_use]
    pub fn name(&self) -> &str {
        self.name
    }

    /// The generation that it belongs to: one more with every upgrade.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.worker.generation()
    }

    /// This process.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.worker.pid()
    }

    /// The master of this generation.
    #[must_use]
    pub fn master(&self) -> Pid {
        self.worker.master()
    }

    /// Tells the master that the sidecar has booted, and does its work from now on.
    ///
    /// A server is not ready, and no old sidecar goes, before this is said; one
    /// that has not said it by the `boot-timeout` is killed and counts as crashed.
    ///
    /// ```no_run
    /// use std::convert::Infallible;
    ///
    /// async fn app(sidecar: hatchery_worker::Sidecar) -> Result<(), Infallible> {
    ///     connect_to_what_it_needs().await;
    ///     sidecar.ready();
    ///     sidecar.draining().await;
    ///     Ok(())
    /// }
    /// # async fn connect_to_what_it_needs() {}
    /// # let _ = app;
    /// ```
    pub fn ready(&self) {
        self.worker.ready();
    }

    /// Completes when the sidecar is to finish and to return: when its replacement
    /// is ready, at a reload for one; at a stop, and after an upgrade, when the last
    /// worker of its generation has gone. For the latter it has what the workers
    /// have left of the `drain-timeout`, but 5 s at the least or the whole
    /// `drain-timeout`, whichever is less; otherwise the whole of it. When the
    /// master was killed, it completes at once.
    ///
    /// A sidecar that returns before it was told is started again, ever slower,
    /// as a worker that crashes. The future is `Send`, unlike the sidecar itself.
    ///
    /// # Cancel safety
    /// The future may be dropped and asked for again at any time.
    pub fn draining(&self) -> impl Future<Output = ()> + Send + use<> {
        self.worker.draining()
    }

    /// Whether it is to finish.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.worker.is_draining()
    }

    /// When this process is ended by force, once it is on its way to the end; `None` before.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.worker.deadline()
    }

    /// The jobs of one name; see [`Worker::jobs`].
    ///
    /// # Panics
    /// As [`Worker::jobs`].
    #[must_use]
    #[track_caller]
    pub fn jobs(&self, name: &str) -> Jobs {
        self.worker.jobs(name)
    }

    /// A descriptor that the program keeps across upgrades; see [`Worker::kept`].
    ///
    /// # Errors
    /// As [`Worker::kept`].
    pub fn kept(&self, name: &str) -> io::Result<OwnedFd> {
        self.worker.kept(name)
    }
}

impl fmt::Debug for Sidecar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sidecar")
            .field("name", &self.name)
            .field("generation", &self.generation())
            .finish_non_exhaustive()
    }
}
