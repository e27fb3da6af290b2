//! Connections that move from one process to another: how long it takes, and whether clients feel it.
//!
//! * [`idle`]: idle keep-alive connections, and who answers on them
//! * [`changes`]: a reload and an upgrade with many of them, of the lab and of nginx
//! * [`floor`]: descriptors sent from one thread to another, and nothing else
//! * [`latency`]: what busy clients wait, in the second before an upgrade and in the one after it began

pub mod changes;
pub mod floor;
pub mod idle;
pub mod latency;
