//! What hatchery's master decides, as pure code.
//!
//! Nothing here asks the system for anything: no clock, no pid, no random
//! number. The driver in `hatchery-master` tells [`Master::step`] what
//! happened and when, performs the actions that it answers, and asks
//! [`Master::deadline`] how long it may sleep. So every decision can be tested
//! as a table, driven by random events, or explored by a model checker.
//!
//! * [`master`]: the dispatch, [`event`] in, [`action`] out, [`notice`] for people
//! * [`worker`], [`roster`]: the life of one worker process, and all of them
//! * [`rollout`], [`upgrade`], [`shutdown`]: the operations
//! * [`lineage`]: the successor's side of an upgrade
//! * [`throttle`], [`queues`]: crash loops, and who accepts from which queue
//! * [`companion`]: job servers and sidecars, which live as workers do
//! * `heirs`, [`pulse`]: who takes connections that move, and whether they are spread evenly
//! * [`policy`]: the validated limits that all of it obeys
//! * [`takes`]: which connections a process can go on with
//! * [`wire`]: the codecs of everything that processes say to each other
#![forbid(unsafe_code)]

pub mod action;
mod command;
pub mod companion;
pub mod event;
mod heirs;
pub mod ids;
pub mod lineage;
pub mod listeners;
pub mod master;
pub mod notice;
pub mod policy;
pub mod pulse;
pub mod queues;
mod renewal;
pub mod rollout;
pub mod roster;
pub mod shutdown;
mod supervise;
pub mod takes;
#[cfg(test)]
mod testing;
pub mod throttle;
pub mod time;
pub mod upgrade;
pub mod wire;
pub mod worker;

pub use action::{Action, Outcome};
pub use companion::{Companion, CompanionKind, Who};
pub use event::{Command, Ending, Event};
pub use ids::{Generation, Pid, QueueId, Slot};
pub use lineage::{Lineage, Readiness};
pub use listeners::Revision;
pub use master::{Master, Seed};
pub use notice::Notice;
pub use policy::{ListenMode, Policy};
pub use pulse::Sample;
pub use takes::{Service, Takes};
pub use time::Moment;
