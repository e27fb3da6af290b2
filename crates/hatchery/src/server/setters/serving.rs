//! How many serve, and from which queues.

use hatchery_core::ListenMode;

use super::switch;
use crate::Server;

/// How many serve, and from which queues.
impl<P: 'static> Server<P> {
    /// How many worker processes to run: 1 to 512. By default as many as there
    /// are CPUs that this process may use.
    ///
    /// ```
    /// let settings = hatchery::Server::new().workers(4).settings()?;
    /// assert_eq!(settings.workers, 4);
    /// # Ok::<(), hatchery::Error>(())
    /// ```
    pub fn workers(self, count: u16) -> Self {
        self.set("workers", count.to_string())
    }

    /// How many accept queues a TCP address has; by default one that all workers share.
    ///
    /// ```
    /// let settings = hatchery::Server::new().listen_mode(hatchery::ListenMode::Reuseport).settings()?;
    /// assert_eq!(settings.listen_mode.to_string(), "reuseport");
    /// # Ok::<(), hatchery::Error>(())
    /// ```
    pub fn listen_mode(self, mode: ListenMode) -> Self {
        self.set("listen-mode", mode.to_string())
    }

    /// How many connections may wait to be accepted; by default 4096.
    ///
    /// ```
    /// let settings = hatchery::Server::new().backlog(1024).settings()?;
    /// assert_eq!(settings.backlog, 1024);
    /// # Ok::<(), hatchery::Error>(())
    /// ```
    pub fn backlog(self, connections: u32) -> Self {
        self.set("backlog", connections.to_string())
    }

    /// Whether a worker with clearly more connections than the others hands idle
    /// ones over; on by default.
    ///
    /// ```
    /// let settings = hatchery::Server::new().balance(false).settings()?;
    /// assert!(!settings.balance);
    /// # Ok::<(), hatchery::Error>(())
    /// ```
    pub fn balance(self, on: bool) -> Self {
        self.set("balance", switch(on))
    }

    /// Peers that say who their client is before anything else, by the PROXY protocol:
    /// addresses, networks, or `unix`, with commas between them; nobody by default.
    ///
    /// Connections from there have to begin with such a header, version 1 or 2; from
    /// elsewhere none is read.
    ///
    /// ```
    /// let settings = hatchery::Server::new().proxy_protocol_from("10.0.0.0/8, unix").settings()?;
    /// assert_eq!(settings.proxy_protocol_from[0].to_string(), "10.0.0.0/8");
    /// # Ok::<(), hatchery::Error>(())
    /// ```
    pub fn proxy_protocol_from(self, networks: &str) -> Self {
        self.set("proxy-protocol-from", networks)
    }
}
