//! Every log line that a test relies on, so that a change of words is mended in one place.

use std::net::SocketAddr;

/// A log line, by what it has to contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line(pub &'static [&'static str]);

/// A worker said that it has booted.
pub const WORKER_READY: Line = Line(&["worker ", " is ready"]);
/// A worker is gone, and why.
pub const WORKER_EXITED: Line = Line(&["worker ", " exited: "]);
/// A worker could not be forked.
pub const NOT_FORKED: Line = Line(&["worker ", " could not be forked, trying again: "]);
/// The application in a worker returned an error.
pub const BOOT_FAILED: Line = Line(&["failed to boot", "lab told to fail"]);
/// A worker was killed at its drain deadline.
pub const DRAIN_TIMEOUT: Line = Line(&["exited: ", "drain-timeout"]);
/// A worker was killed at its boot deadline.
pub const BOOT_TIMEOUT: Line = Line(&["exited: ", "boot-timeout"]);
/// All workers have booted.
pub const READY: Line = Line(&["generation ", " is ready"]);
/// The master will not start workers any more.
pub const GAVE_UP: Line = Line(&["giving up"]);
/// Workers crash, and the master tries on.
pub const DEGRADED: Line = Line(&["degraded"]);
/// An operation was refused.
pub const REFUSED: Line = Line(&[" refused: "]);
/// A reload was refused.
pub const RELOAD_REFUSED: Line = Line(&["reload refused: "]);
/// An upgrade was refused.
pub const UPGRADE_REFUSED: Line = Line(&["upgrade refused: "]);
/// One worker more was refused.
pub const MORE_REFUSED: Line = Line(&["one worker more refused: "]);
/// One worker less was refused.
pub const FEWER_REFUSED: Line = Line(&["one worker less refused: "]);
/// A roll-out begins.
pub const RELOAD_BEGUN: Line = Line(&["reload begins"]);
/// A roll-out has ended well.
pub const RELOAD_DONE: Line = Line(&["reload is done"]);
/// A roll-out has ended badly.
pub const RELOAD_FAILED: Line = Line(&["reload failed"]);
/// One worker is being replaced.
pub const RECYCLE_BEGUN: Line = Line(&["is being replaced"]);
/// A worker's loop stands still, and a neighbour accepts from its queues as well.
pub const WORKER_BLOCKED: Line = Line(&["worker ", " does not answer"]);
/// A worker's loop goes on.
pub const WORKER_ANSWERS: Line = Line(&["worker ", " answers again"]);
/// There are more workers than queues, and more queues now.
pub const QUEUES_ADDED: Line = Line(&["listeners have more queues"]);
/// A connection came over the relay that its reader has not declared, or that is damaged.
pub const MESSAGE_REFUSED: Line = Line(&["refused a message of the relay"]);
/// A worker's loop stands still for too long.
pub const WORKER_HUNG: Line = Line(&["has not come back to its loop for heartbeat-timeout"]);
/// A worker is gone that was aborted.
pub const WORKER_ABORTED: Line = Line(&["exited: aborted: its loop stood still"]);
/// Somebody keeps masters from making keys for session tickets.
pub const KEYS_LOCKED: Line = Line(&["the keys of session tickets are not renewed: "]);
/// A worker is too old.
pub const TOO_OLD: Line = Line(&["has reached max-lifetime"]);
/// A worker is too large.
pub const TOO_LARGE: Line = Line(&["over max-memory"]);
/// A replacement has not come up.
pub const RECYCLE_FAILED: Line = Line(&["not replaced, the old one serves on"]);
/// Nothing is held but the sockets.
pub const DORMANT: Line = Line(&["on demand: waiting for the first connection"]);
/// Everything is let go, since nobody has come.
pub const DOZING: Line = Line(&["no connections for idle-timeout"]);
/// All workers go, and the master stays.
pub const RESTING: Line = Line(&["workers drain, the master keeps the queues"]);
/// An upgrade begins.
pub const UPGRADE_BEGUN: Line = Line(&["upgrade begins"]);
/// The successor was told to take over.
pub const UPGRADE_COMMITTED: Line = Line(&["is ready, it takes over"]);
/// The successor has taken over.
pub const UPGRADE_DONE: Line = Line(&["upgrade is done"]);
/// Connections of some service will not move to the successor.
pub const NOT_TAKEN: Line = Line(&["the successor does not take connections of"]);
/// The successor was not to be had.
pub const UPGRADE_FAILED: Line = Line(&["upgrade failed"]);
/// The predecessor serves again.
pub const TAKEN_BACK: Line = Line(&["taken back"]);
/// The predecessor's workers begin to drain.
pub const RETIRING: Line = Line(&["probation is over"]);
/// The predecessor has died under the successor, which takes over without it.
pub const PREDECESSOR_LOST: Line = Line(&["the predecessor died"]);
/// The predecessor has ended, or was killed after it had handed over.
pub const PREDECESSOR_DONE: Line = Line(&["the predecessor is gone"]);
/// A stop will begin in a while.
pub const STOP_ANNOUNCED: Line = Line(&["stop asked for, it begins in "]);
/// A stop begins.
pub const STOP_BEGUN: Line = Line(&["stop begins"]);
/// A second stop has come.
pub const STOP_NOW: Line = Line(&["stop now"]);

impl Line {
    /// Whether this is such a line.
    #[must_use]
    pub fn is(self, line: &str) -> bool {
        self.0.iter().all(|part| line.contains(part))
    }

    /// How many such lines a log has.
    #[must_use]
    pub fn count(self, log: &str) -> usize {
        log.lines().filter(|line| self.is(line)).count()
    }

    /// Where in the log the first such line is.
    #[must_use]
    pub fn position(self, log: &str) -> Option<usize> {
        log.lines().position(|line| self.is(line))
    }
}

/// The addresses that a log says are listened on, with their real ports.
#[must_use]
pub fn listening(log: &str) -> Vec<SocketAddr> {
    let mut found: Vec<SocketAddr> = Vec::new();
    for line in log.lines().filter(|line| line.contains("listening")) {
        let words = line.split(|c: char| c.is_whitespace() || c == ',' || c == '=' || c == '"');
        for address in words.filter_map(|word| word.parse::<SocketAddr>().ok()) {
            if address.port() != 0 && !found.contains(&address) {
                found.push(address);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_ports_are_found() {
        let log = "INFO hatchery: listening on 127.0.0.1:34567 (asked for 127.0.0.1:0)\nINFO listening addr=[::1]:80,";
        assert_eq!(listening(log), ["127.0.0.1:34567".parse().unwrap(), "[::1]:80".parse().unwrap()]);
    }
}
