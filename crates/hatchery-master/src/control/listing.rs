//! Telling somebody of all connections, some at a time.

use hatchery_control::{Connection, Reply};
use hatchery_core::worker::{Phase, Worker};
use hatchery_sys::ledger::Protocol;
use hatchery_sys::peer::Peer;
use hatchery_sys::socket;

use super::status::{View, millis};

/// Records that are looked at in one go, and then everything else is looked at again.
const AT_A_TIME: usize = 256;

/// How far the list has been told.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cursor {
    /// The worker.
    pid: i32,
    /// The first of its records that has not been looked at.
    record: u64,
}

impl View<'_> {
    /// The next part of the list, and how far it goes; `None` at the end of the list.
    pub(super) fn list(&self, from: Cursor) -> (Reply, Option<Cursor>) {
        let mut workers: Vec<&Worker> = self.core.workers().filter(|worker| worker.pid.0 >= from.pid).collect();
        workers.sort_unstable_by_key(|worker| worker.pid);
        for worker in workers {
            let record = if worker.pid.0 == from.pid { from.record } else { 0 };
            let read = self.children.ledger(worker.pid).and_then(|ledger| ledger.read(record, AT_A_TIME));
            if let Some((entries, next)) = read {
                let process = Peer::of(hatchery_sys::Pid::from_raw(worker.pid.0));
                let connections = entries.iter().map(|entry| self.connection(worker, &process, entry)).collect();
                let to = Cursor { pid: worker.pid.0, record: next };
                return (Reply::Connections { connections, more: true }, Some(to));
            }
        }
        (Reply::Connections { connections: Vec::new(), more: false }, None)
    }

    /// The worker may have done anything since: the client's address is that of the
    /// connection which has this descriptor now.
    fn connection(&self, worker: &Worker, process: &Peer, entry: &hatchery_sys::ledger::Entry) -> Connection {
        let listener = self.listeners.get(entry.listener.into()).map(|listener| listener.bound().to_string());
        let address = process.copy_of(entry.fd).ok().and_then(|fd| socket::peer(std::os::fd::AsRawFd::as_raw_fd(&fd)));
        Connection {
            pid: worker.pid.0,
            slot: worker.slot.0,
            generation: self.core.generation().0,
            draining: matches!(worker.phase, Phase::Draining { .. } | Phase::Finishing { .. }),
            listener: listener.unwrap_or_else(|| "?".to_owned()),
            peer: address.map(|address| address.to_string()),
            protocol: match entry.protocol {
                Protocol::Http1 => "http/1",
                Protocol::Http2 => "http/2",
                Protocol::Raw => "raw",
                Protocol::Unknown => "not begun",
            }
            .to_owned(),
            doing: entry.doing.to_string(),
            age_seconds: millis(std::time::Duration::from_nanos(entry.age)),
            requests: entry.requests,
        }
    }
}
