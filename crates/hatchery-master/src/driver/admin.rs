//! Who tells operators how the server is: the process for that, and when it accepts.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use hatchery_core::wire::worker::MasterSays;
use hatchery_core::{CompanionKind, Pid, QueueId, Who};
use hatchery_net::Listener;
use hatchery_sys::sheet::sheet;
use tracing::warn;

use super::Driver;

/// The socket, and the processes that accept from it.
#[derive(Debug)]
pub(super) struct Admin {
    pub(super) listener: Option<Listener>,
    /// Those that were ready: two during a reload. Dead ones hear nothing.
    processes: BTreeSet<Pid>,
    /// Whether this master is the one to be asked.
    fronts: bool,
}

impl Admin {
    /// Whoever has a predecessor is not asked before it takes over.
    pub(super) fn new(listener: Option<Listener>, fronts: bool) -> Self {
        Self { listener, processes: BTreeSet::new(), fronts }
    }

    /// The end: nobody is asked here any more.
    pub(super) fn clean_up(&self) {
        if let Some(listener) = self.listener.as_ref().filter(|_| self.fronts) {
            listener.shut();
            listener.remove_file();
        }
    }

    pub(super) fn gone(&mut self, pid: Pid) {
        self.processes.remove(&pid);
    }
}

/// Whether it is the process that tells operators.
pub(super) fn is_it(who: &Who) -> bool {
    who.companion.as_ref().is_some_and(|companion| companion.kind == CompanionKind::Admin)
}

impl Driver {
    pub(super) fn admin_is_ready(&mut self, pid: Pid) {
        self.admin.processes.insert(pid);
        self.tell_admin(pid);
    }

    /// This master is the one to be asked from now on, or another one is.
    pub(super) fn front(&mut self, fronts: bool) {
        self.admin.fronts = fronts;
        for pid in self.admin.processes.clone() {
            self.tell_admin(pid);
        }
    }

    fn tell_admin(&mut self, pid: Pid) {
        let queues = if self.admin.fronts { vec![QueueId { listener: 0, index: 0 }] } else { Vec::new() };
        let _one_that_does_not_read_hangs = self.children.tell(pid, MasterSays::Assign { queues, relay: false }, None);
    }

    /// Answers the process that tells operators, and nobody else: nobody else asks.
    pub(super) fn say_how_it_is(&mut self, pid: Pid) {
        if !self.admin.processes.contains(&pid) {
            return;
        }
        let written = self.write_snapshot();
        let enclosed =
            written.inspect_err(|error| warn!(target: "hatchery", "cannot say how the server is: {error}")).ok();
        let _as_above = self.children.tell(pid, MasterSays::Status, enclosed.map(Into::into));
    }

    fn write_snapshot(&self) -> io::Result<File> {
        let file = sheet()?;
        file.write_all_at(&self.snapshot().to_json(), 0)?;
        Ok(file)
    }
}
