//! One open connection.

use serde::{Deserialize, Serialize};

/// One open connection, and what it is doing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Connection {
    /// The worker that has it.
    pub pid: i32,
    /// That worker's slot.
    pub slot: u16,
    /// That worker's generation.
    pub generation: u32,
    /// Whether that worker drains, and this connection is what it waits for.
    pub draining: bool,
    /// Where it was accepted.
    pub listener: String,
    /// Its client's address, where one is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// What is spoken: `http/1`, `http/2`, `raw`.
    pub protocol: String,
    /// What it is doing: `handler`, `idle`, `sending` and so on.
    pub doing: String,
    /// How long ago it was accepted.
    pub age_seconds: f64,
    /// Requests that it has made.
    pub requests: u64,
}
