//! The master: what it says, and what follows when it says nothing any more.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use hatchery_core::wire::worker::{MasterSays, WorkerSays};
use hatchery_sys::channel::Received;
use hatchery_sys::process;
use tracing::{debug, warn};

use super::{LOG, Server, Stage};

/// A master says nothing longer.
const MESSAGE_LIMIT: usize = 256 * 1024;

impl Server {
    pub(super) fn hear_master(&mut self) {
        let mut message = vec![0; MESSAGE_LIMIT];
        while let Some(channel) = &self.channel {
            match channel.recv(&mut message) {
                Ok(Received::Message { len, fds }) => self.obey(&message[..len], fds.into_iter().next()),
                Ok(Received::Stripped { len }) => self.obey(&message[..len], None),
                Ok(Received::Truncated) => warn!(target: LOG, "the master sent a message that is too long"),
                Ok(Received::Closed) => self.orphaned(),
                Err(failure) if failure.kind() == io::ErrorKind::WouldBlock => return,
                Err(failure) => {
                    warn!(target: LOG, "the channel to the master is broken: {failure}");
                    self.orphaned();
                }
            }
        }
    }

    fn obey(&mut self, message: &[u8], enclosed: Option<OwnedFd>) {
        match MasterSays::decode(message) {
            Ok(MasterSays::Drain { .. } | MasterSays::Finish { .. }) => self.no_more_orders(),
            Ok(MasterSays::Reopen) => (self.reopen)(enclosed),
            // It has no queues, and no connections.
            Ok(
                MasterSays::Assign { .. }
                | MasterSays::Shed { .. }
                | MasterSays::Refuge { .. }
                | MasterSays::Ask
                | MasterSays::Status
                | MasterSays::Queue { .. },
            ) => {}
            Err(failure) => warn!(target: LOG, "the master sent something that is no message: {failure}"),
        }
    }

    /// Nobody watches the time any more, and nobody comes after this one.
    fn orphaned(&mut self) {
        // Zero would clear it.
        process::alarm(self.drain_timeout.max(Duration::from_secs(1)));
        self.channel = None;
        match self.stage {
            Stage::Serving => self.stage = Stage::Orphaned,
            Stage::Orphaned | Stage::Draining => {}
        }
        self.entitle("draining");
    }

    /// One that is gone does not hear it.
    pub(super) fn say(&self, says: &WorkerSays) {
        let sent = self.channel.as_ref().map_or(Ok(()), |channel| channel.send(&says.encode(), &[]));
        if let Err(failure) = sent {
            debug!(target: LOG, "cannot tell the master {says:?}: {failure}");
        }
    }
}
