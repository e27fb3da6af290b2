//! Connections that move to another process, and those that arrive from one.
//!
//! * [`journey`]: what goes along with a connection, and why one stays
//! * `outlet`, `turnstile`: to whom connections go, and who waits while there is no room
//! * `refuge`: to whom they go if the master dies
//! * `inlet`, `arrival`: those that come in, and what is refused
//! * `shed`: how many are to go while the worker serves on

pub(crate) mod arrival;
pub(crate) mod inlet;
pub mod journey;
pub(crate) mod outlet;
pub(crate) mod refuge;
pub(crate) mod shed;
pub(crate) mod spare;
pub(crate) mod turnstile;
pub(crate) mod watched;

pub use journey::{Journey, Luggage, Stay};
