//! How long starts, upgrades and stops may take.

use std::time::Duration;

use crate::Server;
use crate::settings;

/// How long starts, upgrades and stops may take.
impl<P: 'static> Server<P> {
    /// From the start of a worker, or of a successor, to ready; by default 30 s.
    ///
    /// Timeouts are kept in milliseconds, rounded up.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let settings = hatchery::Server::new().boot_timeout(Duration::from_secs(60)).settings()?;
    /// assert_eq!(settings.boot_timeout, Duration::from_secs(60));
    /// # Ok::<(), hatchery::Error>(())
    /// ```
    pub fn boot_timeout(self, timeout: Duration) -> Self {
        self.set("boot-timeout", settings::spell(timeout))
    }

    /// How long the workers of a predecessor wait, serving what they have but
    /// not accepting, before they drain; by default 2 s. As long as they wait,
    /// a successor that dies is taken back from at no cost.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let settings = hatchery::Server::new().upgrade_probation(Duration::from_secs(10)).settings()?;
    /// assert_eq!(settings.upgrade_probation, Duration::from_secs(10));
    /// # Ok::<(), hatchery::Error>(())
    /// ```
    pub fn upgrade_probation(self, probation: Duration) -> Self {
        self.set("upgrade-probation", settings::spell(probation))
    }

    /// From the order to stop to the beginning of the stop; by default none.
    ///
    /// Meanwhile the server accepts and serves as before, and `/readyz` at the [admin](Self::admin)
    /// address answers 503: load balancers that look there send new clients elsewhere, before the
    /// first one is refused. SIGTERM, SIGQUIT and `hatchery stop` wait for it; SIGINT does not,
    /// and a second signal begins the stop at once.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let settings = hatchery::Server::new().stop_delay(Duration::from_secs(10)).settings()?;
    /// assert_eq!(settings.stop_delay, Duration::from_secs(10));
    /// # Ok::<(), hatchery::Error>(())
    /// ```
    pub fn stop_delay(self, delay: Duration) -> Self {
        self.set("stop-delay", settings::spell(delay))
    }

    /// From the order to drain to SIGKILL; by default 30 s.
    ///
    /// At a stop workers and [sidecars](Self::sidecar) share it; these have 5 s at the
    /// least. [Job servers](Self::jobs) have one of their own after that.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let settings = hatchery::Server::new().drain_timeout(Duration::from_secs(120)).settings()?;
    /// assert_eq!(settings.drain_timeout, Duration::from_secs(120));
    /// # Ok::<(), hatchery::Error>(())
    /// ```
    pub fn drain_timeout(self, timeout: Duration) -> Self {
        self.set("drain-timeout", settings::spell(timeout))
    }
}
