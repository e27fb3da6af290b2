//! What is said on the control socket of a hatchery server, for both of its ends.
//!
//! The socket is a stream socket with a path. A client writes one [`Request`] a
//! line, the master answers with one [`Reply`] a line; both are JSON objects. A
//! request is answered by any number of replies that are [not the last
//! one](Reply::is_last), and by one that is; then the next request may come.
//!
//! ```text
//! > {"version":1,"command":"reload","wait":true}
//! < {"version":1,"reply":"progress","text":"reload begins"}
//! < {"version":1,"reply":"done","text":"reload is done: every worker is new"}
//! ```
//!
//! [`VERSION`] grows when a line means something else than before. New keys and
//! new commands may come without that: whoever reads ignores what it does not know.
//!
//! * [`Request`], [`Until`], [`Whom`]: what a client asks for, how long it waits, and of whom it speaks
//! * [`Reply`], [`Refusal`], [`Level`]: what it is told
//! * [`Status`], [`Connection`]: what a server looks like
//! * [`Snapshot`]: all that is counted, for metrics
//! * [`Client`]: the client's end, blocking
#![forbid(unsafe_code)]

mod client;
mod connection;
mod reply;
mod request;
mod snapshot;
mod status;
mod until;
mod whom;

pub use client::{Client, ClientError};
pub use connection::Connection;
pub use reply::{Level, Refusal, Reply};
pub use request::{Request, Unreadable};
pub use snapshot::{Counts, Histogram, SlotMeasures, Snapshot};
pub use status::{Listener, MasterState, Operation, Predecessor, Status, Totals, WorkerState, WorkerStatus};
pub use until::Until;
pub use whom::Whom;

/// The version of the protocol.
pub const VERSION: u32 = 1;

/// The longest line, in bytes, that a master reads.
pub const LONGEST_REQUEST: usize = 4096;
