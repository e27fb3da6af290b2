//! What clients are held to.

use std::time::Duration;

use crate::Server;
use crate::settings;

/// What clients are held to.
impl<P: 'static> Server<P> {
    /// For a request's head, from its first byte or from accept, never
    /// refreshed; by default 15 s.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let settings = hatchery::Server::new().header_timeout(Duration::from_secs(5)).settings()?;
    /// assert_eq!(settings.header_timeout, Duration::from_secs(5));
    /// # Ok::<(), hatchery::Error>(())
    /// ```
    pub fn header_timeout(self, timeout: Duration) -> Self {
        self.set("header-timeout", settings::spell(timeout))
    }

    /// For a request's body without progress; by default 30 s.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let settings = hatchery::Server::new().body_timeout(Duration::from_secs(10)).settings()?;
    /// assert_eq!(settings.body_timeout, Duration::from_secs(10));
    /// # Ok::<(), hatchery::Error>(())
    /// ```
    pub fn body_timeout(self, timeout: Duration) -> Self {
        self.set("body-timeout", settings::spell(timeout))
    }

    /// For an answer that the client does not read; by default 30 s.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let settings = hatchery::Server::new().send_timeout(Duration::from_secs(10)).settings()?;
    /// assert_eq!(settings.send_timeout, Duration::from_secs(10));
    /// # Ok::<(), hatchery::Error>(())
    /// ```
    pub fn send_timeout(self, timeout: Duration) -> Self {
        self.set("send-timeout", settings::spell(timeout))
    }

    /// For a connection between two requests; by default 75 s.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let settings = hatchery::Server::new().keep_alive_timeout(Duration::from_secs(20)).settings()?;
    /// assert_eq!(settings.keep_alive_timeout, Duration::from_secs(20));
    /// # Ok::<(), hatchery::Error>(())
    /// ```
    pub fn keep_alive_timeout(self, timeout: Duration) -> Self {
        self.set("keep-alive-timeout", settings::spell(timeout))
    }

    /// The longest request head, in bytes, 8 KiB at least and by default 64 KiB: a
    /// longer one is answered with 431.
    ///
    /// ```
    /// let settings = hatchery::Server::new().max_header_size(16 << 10).settings()?;
    /// assert_eq!(settings.max_header_size, 16 << 10);
    /// # Ok::<(), hatchery::Error>(())
    /// ```
    pub fn max_header_size(self, bytes: u32) -> Self {
        self.set("max-header-size", format!("{bytes}B"))
    }

    /// The longest request body, in bytes, by default 64 MiB: a longer one is answered
    /// with 413; 0: any.
    ///
    /// ```
    /// let settings = hatchery::Server::new().max_body_size(1 << 30).settings()?;
    /// assert_eq!(settings.max_body_size, 1 << 30);
    /// # Ok::<(), hatchery::Error>(())
    /// ```
    pub fn max_body_size(self, bytes: u64) -> Self {
        self.set("max-body-size", format!("{bytes}B"))
    }

    /// How many bytes a second of a request body are expected, by default 500; 0: any
    /// byte is progress. A client may fall behind that by the body timeout.
    ///
    /// ```
    /// let settings = hatchery::Server::new().min_body_rate(1000).settings()?;
    /// assert_eq!(settings.min_body_rate, 1000);
    /// # Ok::<(), hatchery::Error>(())
    /// ```
    pub fn min_body_rate(self, bytes: u32) -> Self {
        self.set("min-body-rate", bytes.to_string())
    }

    /// How many open connections a worker takes before it stops accepting; 0,
    /// the default: as many as its limit of open files allows.
    ///
    /// ```
    /// let settings = hatchery::Server::new().max_connections(1000).settings()?;
    /// assert_eq!(settings.max_connections, 1000);
    /// # Ok::<(), hatchery::Error>(())
    /// ```
    pub fn max_connections(self, connections: u32) -> Self {
        self.set("max-connections", connections.to_string())
    }

    /// How many open connections a worker takes from one address, or from one IPv6
    /// network of 64 bits, before it closes others at once; 0, the default: any number.
    ///
    /// ```
    /// let settings = hatchery::Server::new().max_connections_per_peer(100).settings()?;
    /// assert_eq!(settings.max_connections_per_peer, 100);
    /// # Ok::<(), hatchery::Error>(())
    /// ```
    pub fn max_connections_per_peer(self, connections: u32) -> Self {
        self.set("max-connections-per-peer", connections.to_string())
    }
}
