//! When a worker is replaced, and when the master gives up.

use std::time::Duration;

use crate::Server;
use crate::settings;

/// When a worker is replaced, and when the master gives up.
impl<P: 'static> Server<P> {
    /// After how many requests a worker is replaced; 0, the default: never.
    ///
    /// Its connections move to the others, and a worker is never taken away
    /// before its replacement is ready.
    ///
    /// ```
    /// let settings = hatchery::Server::new().max_requests(100_000).settings()?;
    /// assert_eq!(settings.max_requests, 100_000);
    /// # Ok::<(), hatchery::Error>(())
    /// ```
    pub fn max_requests(self, requests: u64) -> Self {
        self.set("max-requests", requests.to_string())
    }

    /// Up to how many requests more, by chance, so that workers are not replaced
    /// together; by default a tenth of [`max_requests`](Self::max_requests).
    ///
    /// ```
    /// let settings = hatchery::Server::new().max_requests(100_000).max_requests_jitter(0).settings()?;
    /// assert_eq!(settings.max_requests_jitter, Some(0));
    /// # Ok::<(), hatchery::Error>(())
    /// ```
    pub fn max_requests_jitter(self, requests: u64) -> Self {
        self.set("max-requests-jitter", requests.to_string())
    }

    /// The age at which a worker is replaced, and up to a tenth more by chance;
    /// by default none.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let settings = hatchery::Server::new().max_lifetime(Duration::from_secs(3600)).settings()?;
    /// assert_eq!(settings.max_lifetime, Duration::from_secs(3600));
    /// # Ok::<(), hatchery::Error>(())
    /// ```
    pub fn max_lifetime(self, age: Duration) -> Self {
        self.set("max-lifetime", settings::spell(age))
    }

    /// The resident memory, in bytes, above which a worker is replaced; by default none.
    ///
    /// What workers share with their master counts as well.
    ///
    /// ```
    /// let settings = hatchery::Server::new().max_memory(300 << 20).settings()?;
    /// assert_eq!(settings.max_memory, 300 << 20);
    /// # Ok::<(), hatchery::Error>(())
    /// ```
    pub fn max_memory(self, bytes: u64) -> Self {
        self.set("max-memory", format!("{bytes}B"))
    }

    /// How long the loop of a worker may stand still before the worker is
    /// aborted, with a dump of what it was doing, and replaced; by default 30 s.
    /// Zero: it may for ever.
    ///
    /// A request that takes long without blocking the loop is no such case.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let settings = hatchery::Server::new().heartbeat_timeout(Duration::from_secs(5)).settings()?;
    /// assert_eq!(settings.heartbeat_timeout, Duration::from_secs(5));
    /// # Ok::<(), hatchery::Error>(())
    /// ```
    pub fn heartbeat_timeout(self, timeout: Duration) -> Self {
        self.set("heartbeat-timeout", settings::spell(timeout))
    }

    /// How many crashes in a row, of workers that did not stay ready for a
    /// second, make the master give up; by default 8.
    ///
    /// ```
    /// let settings = hatchery::Server::new().crash_limit(3).settings()?;
    /// assert_eq!(settings.crash_limit, 3);
    /// # Ok::<(), hatchery::Error>(())
    /// ```
    pub fn crash_limit(self, crashes: u32) -> Self {
        self.set("crash-limit", crashes.to_string())
    }
}
