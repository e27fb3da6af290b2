//! Everything that is to be known of a server at one moment: what its metrics are made of.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{MasterState, Status, WorkerState};

/// How a server is, and all that it has counted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// What operators are told.
    pub status: Status,
    /// What was counted since the first generation began. Never less than before.
    pub counts: Counts,
    /// The places of processes, by their number, with what is in them and what was counted there.
    pub slots: Vec<SlotMeasures>,
    /// The master's resident memory, in bytes; `None` where the system does not tell.
    pub master_resident: Option<u64>,
}

/// What was counted, by all processes of all generations.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Counts {
    /// Connections accepted.
    pub connections: u64,
    /// Requests that were begun.
    pub requests: u64,
    /// Answers by the class of their status, `1xx` to `5xx`.
    pub responses: BTreeMap<String, u64>,
    /// Connections that have come from another process.
    pub moved: u64,
    /// What was sent from another process and could not be taken.
    pub refused: u64,
    /// Handlers that panicked.
    pub panics: u64,
    /// Connections closed, and requests refused, by the limit that was reached.
    pub limits: BTreeMap<String, u64>,
    /// Workers that were replaced outside of operations, by the cause.
    pub restarts: BTreeMap<String, u64>,
    /// Job servers and sidecars that were, by the same causes.
    pub companion_restarts: BTreeMap<String, u64>,
    /// How long requests took.
    pub latency: Histogram,
    /// How long loops were at work before they came by again.
    pub steps: Histogram,
}

/// How often something has taken how long.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Histogram {
    /// The upper ends of the buckets but for the last one, which has none. In seconds.
    pub bounds: Vec<f64>,
    /// How often, a bucket; one more than there are bounds.
    pub buckets: Vec<u64>,
    /// All of it, in seconds.
    pub sum: f64,
}

/// One place for a process, whoever is in it. During a replacement there are two.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SlotMeasures {
    /// Its number.
    pub slot: u16,
    /// The name, if it is that of a job server or a sidecar.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// How many processes are in it: of all generations, those that drain too.
    pub processes: u64,
    /// Connections that are open.
    pub connections: u64,
    /// Requests that are being answered.
    pub in_flight: u64,
    /// Connections that were ever accepted here.
    pub accepted: u64,
    /// Requests that were ever begun here.
    pub requests: u64,
    /// Answers that were ever given here, by the class of their status.
    #[serde(default)]
    pub responses: BTreeMap<String, u64>,
    /// Connections that have come here from another process.
    #[serde(default)]
    pub moved: u64,
    /// How long requests took here.
    #[serde(default)]
    pub latency: Histogram,
    /// Resident memory, in bytes.
    pub resident: u64,
    /// For how long a loop has not come by, the worst one. In seconds; 0 for one that waits.
    pub lag_seconds: f64,
}

impl Status {
    /// Whether the server accepts connections now.
    ///
    /// # Errors
    /// The reason why it does not.
    pub fn readiness(&self) -> Result<(), &'static str> {
        let is_ready = |worker: &crate::WorkerStatus| worker.name.is_none() && worker.state == WorkerState::Ready;
        match self.state {
            MasterState::Starting => Err("starting: no worker is ready yet"),
            MasterState::LameDuck => Err("stopping soon: connections are still accepted, and no more should be sent"),
            MasterState::Draining => Err("draining: new connections are not accepted any more"),
            MasterState::Resting => Err("resting: the workers were sent away"),
            MasterState::Dormant => Err("dormant: nothing is loaded"),
            MasterState::Serving | MasterState::Degraded if self.workers.iter().any(is_ready) => Ok(()),
            MasterState::Serving | MasterState::Degraded => Err("no worker is ready"),
            MasterState::Unknown => Err("in a state that only a newer version knows"),
        }
    }
}

impl Snapshot {
    /// As the master writes it: one JSON object.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads what a master has written.
    ///
    /// # Errors
    /// When it is something else.
    pub fn from_json(json: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(json)
    }
}
