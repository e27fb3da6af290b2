//! Letting nobody new in, before a listener is shut.
//!
//! A connection that the kernel completes between the last `accept` and the `shutdown`
//! is reset. So newcomers are kept out first: those who are half way in come in, and are
//! accepted, and what is shut then is empty.
//!
//! Over TCP a filter does it, which drops every SYN (`SO_ATTACH_FILTER`, see `socket(7)`). The
//! kernel shows it what comes for the listener, from the TCP header on, whichever IP it came
//! with, also the last ACK of a handshake, which passes. Nothing answers the client: it sends its
//! SYN again after a second, and is refused then, or served by whoever listens there by then.
//! Of a unix socket the file is removed.

use std::os::fd::AsFd;
use std::time::Duration;

use hatchery_sys::{handshakes, poll};

use crate::{Address, Holder, Listener};

impl Listener {
    /// Lets nobody new in over TCP, until it is shut or [`unbar`](Self::unbar) is called. Returns
    /// whether it does: neither a unix socket, nor what a service manager holds or stores, nor
    /// anything on a system that does not take the filter.
    ///
    /// The filter is the socket's and not this process': nobody else may be about to serve it.
    #[must_use]
    pub fn bar(&self) -> bool {
        match (&self.bound, &self.holder) {
            (Address::Tcp(_), Holder::Program) if !self.queues.is_empty() => {
                self.queues.iter().all(|queue| filter::attach(queue).is_ok())
            }
            (Address::Tcp(_) | Address::Unix(_), Holder::Program | Holder::Manager { .. } | Holder::Store { .. }) => {
                false
            }
        }
    }

    /// The same for one that is not served again: the file of a unix socket is removed.
    #[must_use]
    pub fn bar_for_good(&self) -> bool {
        match (&self.bound, &self.file) {
            (Address::Unix(_), Some(_)) => {
                self.remove_file();
                !self.holder.outlives_us() && !self.queues.is_empty()
            }
            (Address::Tcp(_) | Address::Unix(_), _) => self.bar(),
        }
    }

    /// Lets newcomers in again.
    pub fn unbar(&self) {
        if matches!(self.bound, Address::Tcp(_)) {
            self.queues.iter().for_each(filter::detach);
        }
    }

    /// Whether nobody waits in its queues, nor is in the middle of a handshake. Where the
    /// kernel does not tell of handshakes, that is never said.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        // In this order: who leaves a handshake is in a queue by then.
        !self.is_shaking_hands() && !self.has_somebody()
    }

    /// Whether somebody waits in its queues.
    #[must_use]
    pub fn has_somebody(&self) -> bool {
        let queues: Vec<_> = self.queues.iter().map(AsFd::as_fd).collect();
        poll::readable(&queues, Some(Duration::ZERO)).is_ok_and(|readable| readable.contains(&true))
    }

    fn is_shaking_hands(&self) -> bool {
        match self.bound {
            Address::Tcp(address) => handshakes::under_way(address.port()).unwrap_or(true),
            Address::Unix(_) => false,
        }
    }
}

#[cfg(target_os = "linux")]
mod filter {
    use std::io;

    use socket2::{SockFilter, SockRef};

    use crate::Queue;

    /// Where the flags stand in a TCP header, of which SYN and ACK are looked at.
    const FLAGS: u32 = 13;
    const SYN: u32 = 0x02;
    const ACK: u32 = 0x10;

    /// The instructions of `linux/filter.h` that are used here.
    const LOAD_BYTE: u16 = 0x30;
    const AND: u16 = 0x54;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;

    const NO_NEWCOMERS: [SockFilter; 5] = [
        SockFilter::new(LOAD_BYTE, 0, 0, FLAGS),
        SockFilter::new(AND, 0, 0, SYN | ACK),
        SockFilter::new(JUMP_IF_EQUAL, 0, 1, SYN),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
    ];

    pub(super) fn attach(queue: &Queue) -> io::Result<()> {
        SockRef::from(queue).attach_filter(&NO_NEWCOMERS)
    }

    pub(super) fn detach(queue: &Queue) {
        // It fails for one that has none.
        let _ = SockRef::from(queue).detach_filter();
    }
}

#[cfg(not(target_os = "linux"))]
mod filter {
    use std::io;

    use crate::Queue;

    pub(super) fn attach(_queue: &Queue) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn detach(_queue: &Queue) {}
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests;
