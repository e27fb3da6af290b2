//! How a server is.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::VERSION;

/// How a server is, as the serving master sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The version of the protocol.
    pub version: u32,
    /// The serving master.
    pub master: i32,
    /// Its generation: one more with every upgrade.
    pub generation: u32,
    /// What it is about.
    pub state: MasterState,
    /// What an operator has asked for and that goes on.
    pub operation: Option<Operation>,
    /// When the stop begins that an operator has asked for; only before it has begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_in_seconds: Option<f64>,
    /// Masters of older generations that still drain.
    pub predecessors: Vec<Predecessor>,
    /// Its workers, also those that drain.
    pub workers: Vec<WorkerStatus>,
    /// What was counted since the first generation began. Never less than before.
    pub totals: Totals,
    /// Where it listens.
    pub listeners: Vec<Listener>,
}

/// What a master is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum MasterState {
    /// Its workers boot.
    Starting,
    /// It serves.
    Serving,
    /// It serves, with workers that do not stay up.
    Degraded,
    /// Its workers were sent away; it keeps the queues until a reload.
    Resting,
    /// On demand: it waits for somebody, with nothing but the sockets.
    Dormant,
    /// It serves, and stops in a while: no more clients should be sent to it.
    LameDuck,
    /// It stops, or its successor serves.
    Draining,
    /// What only a newer server has a name for.
    #[serde(other)]
    Unknown,
}

/// What goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Operation {
    /// Workers are being replaced.
    Reload,
    /// The program is being replaced.
    Upgrade,
    /// There are to be more workers, or fewer.
    Scale,
    /// Everything drains.
    Stop,
    /// What only a newer server has a name for.
    #[serde(other)]
    Unknown,
}

/// A master of an older generation that drains.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Predecessor {
    /// The process.
    pub master: i32,
    /// Its generation.
    pub generation: u32,
    /// Where it can be asked itself, above all for its connections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control: Option<PathBuf>,
}

/// One worker process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkerStatus {
    /// Its place.
    pub slot: u16,
    /// The process.
    pub pid: i32,
    /// The generation that it belongs to.
    pub generation: u32,
    /// What it is about.
    pub state: WorkerState,
    /// The name, if it is a job server or a sidecar.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Connections that are open.
    pub connections: u64,
    /// Requests that are being answered.
    pub in_flight: u64,
    /// Requests answered since it started.
    pub requests: u64,
    /// Connections accepted since it started; 0 where a server does not tell.
    #[serde(default)]
    pub accepted: u64,
    /// How long ago it was forked.
    pub age_seconds: f64,
}

/// What a worker is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum WorkerState {
    /// It boots.
    Starting,
    /// It serves.
    Ready,
    /// Its loop stands still: it was told to abort.
    Blocked,
    /// It accepts no more, and goes when nothing is left.
    Draining,
    /// It was killed, and is not gone yet.
    Killed,
    /// What only a newer server has a name for.
    #[serde(other)]
    Unknown,
}

/// What was counted, by all processes of all generations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Requests answered.
    pub requests: u64,
    /// Connections accepted.
    pub connections: u64,
    /// Connections that have come from another process.
    pub moved: u64,
    /// Workers that were started in the place of one that had died.
    pub restarts: u64,
}

/// An address that is listened on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// The address.
    pub address: String,
    /// Its accept queues.
    pub queues: u16,
    /// Connections that wait in them; `None` where the system does not tell.
    pub queued: Option<u32>,
    /// How many may wait.
    pub backlog: u32,
}

impl Status {
    /// The status as `hatchery status --json` prints it.
    #[must_use]
    pub fn to_json(&self) -> String {
        debug_assert_eq!(self.version, VERSION, "one version is written");
        serde_json::to_string_pretty(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_server_may_have_more_names() {
        assert_eq!(serde_json::from_str::<MasterState>("\"lame-duck\"").unwrap(), MasterState::LameDuck);
        assert_eq!(serde_json::from_str::<MasterState>("\"on-holiday\"").unwrap(), MasterState::Unknown);
        assert_eq!(serde_json::from_str::<Operation>("\"paint\"").unwrap(), Operation::Unknown);
        assert_eq!(serde_json::from_str::<WorkerState>("\"sings\"").unwrap(), WorkerState::Unknown);
    }
}
