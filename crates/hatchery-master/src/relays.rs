//! The relays that a master holds: its own, its successor's, and the way back to its predecessor.
//!
//! A master reads and writes none of them while things go well. It holds both
//! ends so that what is queued outlives every worker, and it tells workers where
//! to send their connections. Only what a dead successor has left in its relay
//! is moved by the master itself.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use hatchery_core::wire::worker::Whose;
use hatchery_net::{Entry, Relay};
use tracing::{error, warn};

/// The relays of this generation and its neighbours.
#[derive(Debug)]
pub struct Relays {
    own: Relay,
    successor: Option<Relay>,
    predecessor: Option<Entry>,
    /// What a successor that is gone has left, as far as it did not fit into our own.
    leftovers: Option<Relay>,
}

impl Relays {
    /// The relay that this generation's workers read, and the entry of the predecessor's.
    #[must_use]
    pub fn new(own: Relay, predecessor: Option<Entry>) -> Self {
        Self { own, successor: None, predecessor, leftovers: None }
    }

    /// Where connections for somebody are sent to.
    pub(crate) fn entry(&self, whose: Whose) -> Option<BorrowedFd<'_>> {
        match whose {
            Whose::Own => Some(self.own.entry().as_fd()),
            Whose::Successor => self.successor.as_ref().map(|relay| relay.entry().as_fd()),
            Whose::Predecessor => self.predecessor.as_ref().map(AsFd::as_fd),
        }
    }

    /// The relay of this generation, for a worker that was forked just now.
    pub(crate) fn into_own(self) -> Relay {
        self.own
    }

    /// What a successor gets: both ends of its relay, and the entry of ours.
    pub(crate) fn handed(&self) -> [Option<BorrowedFd<'_>>; 3] {
        let relay = self.successor.as_ref();
        let (entry, exit) = (relay.map(|relay| relay.entry().as_fd()), relay.map(|relay| relay.exit().as_fd()));
        [entry, exit, self.entry(Whose::Own)]
    }

    /// Nobody writes to our own any more.
    pub(crate) fn shut_own(&self) {
        self.own.shut();
    }

    /// Our own again, after it was shut. Without one, connections are closed politely.
    pub(crate) fn open_own(&mut self) {
        match Relay::pair() {
            Ok(relay) => self.own = relay,
            Err(failure) => error!(target: "hatchery", "no new relay, connections will not move: {failure}"),
        }
    }

    /// There is no way back any more.
    pub(crate) fn forget_predecessor(&mut self) {
        self.predecessor = None;
    }

    /// A relay for a successor that is about to be started.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub(crate) fn for_successor(&mut self) -> io::Result<()> {
        self.successor = Some(Relay::pair()?);
        Ok(())
    }

    /// The successor is gone, or was never there: what it has not taken in comes back.
    pub(crate) fn end_successor(&mut self) {
        if let Some(relay) = self.successor.take() {
            // A worker that still sends there hears so, and waits for another order.
            relay.shut();
            self.leftovers = Some(relay);
            self.salvage();
        }
    }

    /// Moves what is left over into our own. Returns whether there is more, which did not fit.
    pub(crate) fn salvage(&mut self) -> bool {
        let Some(leftovers) = &mut self.leftovers else { return false };
        match leftovers.forward_to(&self.own) {
            Ok(forwarded) => {
                if forwarded.lost > 0 {
                    warn!(target: "hatchery", "{} connections on their way to the successor are lost", forwarded.lost);
                }
                if forwarded.left {
                    return true;
                }
            }
            Err(failure) => warn!(target: "hatchery", "connections on their way to the successor are lost: {failure}"),
        }
        self.leftovers = None;
        false
    }
}
