//! The synchronous master: it performs what `hatchery-core` decides.
//!
//! Programs use what they need of this through `hatchery`: write
//! `use hatchery::WorkerExit` where an example has `use hatchery_master::WorkerExit`.
//!
//! It owns every listening socket, forks the workers, relays signals, and on
//! SIGUSR2 starts its own successor. It runs on one thread and never touches
//! tokio, not even through a dependency: a runtime that was used before a fork
//! is broken in the child.
//!
//! * [`driver`]: the loop, and the only place where actions are performed
//! * `clock`: time that stands still while the master does
//! * [`dormant`]: waiting for the first connection with nothing but the sockets
//! * [`children`]: workers as the driver sees them: a channel and a cell of the board
//! * [`successor`]: the exec that an upgrade begins with
//! * [`predecessor`]: what such an exec hands over, read by the new program
//! * [`relays`]: where connections move to
//! * [`jobs`]: what runs jobs, a process of its own
//! * [`pid_file`]: who holds it, and who takes it next
//! * [`commands`]: which signal asks for what
//! * [`control`]: what operators ask for over a socket, and are told
//! * [`notify`]: what the service manager is told
//! * [`daemon`], [`anchor`]: processes before the first master
//! * [`privileges`]: what a forked child gives up
#![forbid(unsafe_code)]

pub mod anchor;
pub mod children;
mod clock;
pub mod commands;
pub mod control;
pub mod daemon;
pub mod dormant;
pub mod driver;
pub mod hooks;
pub mod inbox;
pub mod jobs;
pub mod notify;
pub mod pid_file;
pub mod predecessor;
pub mod privileges;
pub mod relays;
pub mod role;
pub mod successor;

pub use control::{Control, Endpoint};
pub use driver::{Driver, Setup};
pub use hooks::{Hooks, Reread, WorkerExit};
pub use jobs::{Job, JobRole, JobSeed};
pub use notify::Notify;
pub use pid_file::PidFile;
pub use predecessor::Predecessor;
pub use privileges::{Dumps, Privileges};
pub use relays::Relays;
pub use role::{Newborn, Role};
