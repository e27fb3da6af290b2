//! What processes say to each other, as bytes.
//!
//! Everything is one line of `key=value` fields, separated by `;`, with
//! percent-encoded values; messages have a verb in front. Such a line can be
//! read in a system-call trace, and a reader of another version skips the keys
//! that it does not know.
//!
//! * [`fields`]: the line itself
//! * [`anchor`]: what masters say to those who stand before them
//! * [`handoff`]: the environment variable that a successor is started with
//! * [`jobs`]: what a worker, a job server and a job say to each other
//! * [`relay`]: a connection that moves
//! * [`upgrade`]: what predecessor and successor say to each other
//! * [`worker`]: what master and worker say to each other

use std::fmt;

pub mod anchor;
pub mod fields;
pub mod handoff;
pub mod jobs;
pub mod relay;
pub mod upgrade;
pub mod worker;

/// Bytes that are not a message of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WireError {
    what: String,
}

impl WireError {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into() }
    }

    pub(crate) fn missing(key: &str) -> Self {
        Self::new(format!("`{key}` is missing"))
    }
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for WireError {}
