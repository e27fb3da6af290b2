//! The synchronous master: it performs what `hatchery-core` decides.
//!
//! It owns every listening socket, forks the workers, relays signals, and on
//! SIGUSR2 starts its own successor. It runs on one thread and never touches
//! tokio, not even through a dependency: a runtime that was used before a fork
//! is broken in the child.
//!
//! * [`driver`]: the loop, and the only place where actions are performed
//! * [`children`]: workers as the driver sees them: a channel and a cell of the board
//! * [`successor`]: the exec that an upgrade begins with
//! * [`predecessor`]: what such an exec hands over, read by the new program
//! * [`relays`]: where connections move to
//! * [`pid_file`]: who holds it, and who takes it next
//! * [`commands`]: which signal asks for what
#![forbid(unsafe_code)]

pub mod children;
pub mod commands;
pub mod driver;
pub mod hooks;
pub mod inbox;
pub mod pid_file;
pub mod predecessor;
pub mod relays;
pub mod role;
pub mod successor;

pub use driver::{Driver, Setup};
pub use hooks::{Hooks, WorkerExit};
pub use pid_file::PidFile;
pub use predecessor::Predecessor;
pub use relays::Relays;
pub use role::{Newborn, Role};
