//! Listeners and their accept queues for hatchery: bound, inherited, shut; and the relay.
//!
//! Programs use what they need of this through `hatchery`: write
//! `use hatchery::JobConfig` where an example has `use hatchery_net::JobConfig`.
//!
//! A [`Listener`] is an address that is served. It has one accept [`Queue`] that
//! all workers share, or several with `SO_REUSEPORT`. The master owns all of
//! them, in its [`Listeners`], and closes none that may still be asked for:
//! a queue that is closed resets the connections in it.
//!
//! [`claim`] is how a program comes by its listeners: it takes what a
//! predecessor has handed over, and binds what is missing.
//!
//! A [`Relay`] is the queue of those connections that were accepted already, and
//! move from one process to another. A [`JobQueue`] is the queue of orders for
//! jobs, and [`Kept`] what a program keeps open across upgrades.
#![forbid(unsafe_code)]

mod address;
mod bar;
mod bind;
mod claim;
mod entry;
mod error;
mod inherit;
mod job_queue;
mod kept;
mod listener;
mod listeners;
mod passed;
pub mod relay;
mod revise;
mod stored;
mod unix;

pub use address::{Address, AddressError, Bind};
pub use claim::{Inherited, claim};
pub use entry::{Entry, Refused};
pub use error::{Fault, ListenError};
pub use hatchery_core::{ListenMode, QueueId};
pub use job_queue::{JobConfig, JobQueue};
pub use kept::Kept;
pub use listener::{Holder, Listener, Queue, Spec};
pub use listeners::Listeners;
pub use passed::{Passed, PassedError};
pub use relay::Relay;
