//! How long clients may take for what, and how many of them there may be.

use std::time::Duration;

use hatchery_sys::limits;

use crate::Network;

/// The most descriptors that are kept free for the worker's and the application's
/// own use, and the least, which is what the worker itself needs.
const RESERVE: u64 = 64;
const OWN: u64 = 24;

/// What a worker grants its clients.
///
/// The worker itself enforces the numbers of connections; the others are for the protocol.
///
/// ```
/// use std::time::Duration;
///
/// let limits = hatchery_worker::Limits::default();
/// assert_eq!(limits.head, Duration::from_secs(15));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From accept to the end of a TLS handshake. 10 s by default.
    pub handshake: Duration,
    /// From the first byte of a request head, or from accept, to its end; never refreshed. 15 s by default.
    pub head: Duration,
    /// A request body without progress. 30 s by default.
    pub body: Duration,
    /// An answer that the client does not read. 30 s by default.
    pub send: Duration,
    /// A connection between two requests. 75 s by default.
    pub idle: Duration,
    /// Open connections that a worker takes before it stops accepting; 0, the default: by the limit of open files.
    pub max_connections: usize,
    /// Open connections that a worker takes from one address, or from one IPv6 network of 64 bits, before it closes
    /// others at once; 0, the default: any number.
    pub max_connections_per_peer: usize,
    /// The longest request head, in bytes. 64 KiB by default.
    pub max_head_size: usize,
    /// The longest request body, in bytes; 0: any. 64 MiB by default.
    pub max_body_size: u64,
    /// How many bytes a second of a request body are expected; a client may fall behind that by the time in `body`.
    /// 500 by default, 0: any byte is progress.
    pub min_body_rate: u32,
    /// The peers that say who their client is before anything else, by the PROXY protocol. None by default.
    pub proxies: &'static [Network],
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            head: Duration::from_secs(15),
            body: Duration::from_secs(30),
            send: Duration::from_secs(30),
            idle: Duration::from_secs(75),
            max_connections: 0,
            max_connections_per_peer: 0,
            max_head_size: 64 << 10,
            max_body_size: 64 << 20,
            min_body_rate: 500,
            proxies: &[],
        }
    }
}

impl Limits {
    /// The most connections, with 0 resolved: the limit of open files, without
    /// a quarter of it or 64, whichever is less, but at least 24.
    pub(crate) fn most_connections(&self) -> usize {
        if self.max_connections > 0 {
            return self.max_connections;
        }
        let (soft, _) = limits::open_files();
        usize::try_from(soft.saturating_sub(RESERVE.min(soft / 4).max(OWN))).unwrap_or(usize::MAX).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_means_by_the_limit_of_open_files() {
        let by_limit = Limits::default().most_connections();
        let (soft, _) = limits::open_files();
        assert!(by_limit >= 1 && (by_limit as u64) < soft);
        assert_eq!(Limits { max_connections: 7, ..Limits::default() }.most_connections(), 7);
    }
}
