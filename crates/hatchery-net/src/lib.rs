//! Listeners and their accept queues for hatchery: bound, inherited, shut.
//!
//! A [`Listener`] is an address that is served. It has one accept [`Queue`] that
//! all workers share, or several with `SO_REUSEPORT`. The master owns all of
//! them, in its [`Listeners`], and closes none that may still be asked for:
//! a queue that is closed resets the connections in it.
//!
//! [`claim`] is how a program comes by its listeners: it takes what a
//! predecessor has handed over, and binds what is missing.
#![forbid(unsafe_code)]

mod address;
mod bind;
mod claim;
mod error;
mod inherit;
mod listener;
mod listeners;
mod unix;

pub use address::{Address, AddressError};
pub use claim::{Inherited, claim};
pub use error::{Fault, ListenError};
pub use hatchery_core::{ListenMode, QueueId};
pub use listener::{Listener, Queue, Spec};
pub use listeners::Listeners;
