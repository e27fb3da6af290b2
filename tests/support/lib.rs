//! What the tests share: they start real servers, talk to them with clients
//! that never retry, and look at what the kernel says about the processes.
//!
//! * [`lab`]: a running server in a process group of its own, [`start`]: how it is started
//! * [`chores`]: a server with jobs, a sidecar and something that it keeps
//! * [`program`]: where the examples are, and what can stand in for a new version
//! * [`control`]: an operator at the control socket, [`stranger`]: other users there
//! * [`admin`], [`browser`]: what operators are told over HTTP, and how it looks
//! * [`certificates`]: who trusts whom
//! * [`client`], [`load`]: one careful client, and many at once
//! * [`command`]: the `hatchery` command, asked of a lab
//! * [`eve`]: the moment before connections move
//! * [`storm`]: clients of every kind at once, on one event loop
//! * [`procfs`]: processes, their titles and their descriptors
//! * [`log`]: every log line that a test relies on
//! * [`namespace`]: a server as pid 1
//! * [`neighbour`]: nginx and haproxy, from the files in `examples/deploy`
//! * [`network`]: hosts with a network between them
//! * [`manager`]: a service manager that hears what it is told, and by whom
//! * [`systemd`]: a real one, in namespaces of its own
//! * [`limit`]: resources that a running process is denied
//! * [`sources`], [`document`]: what stands in the sources, and in the guide
//! * [`tools`]: programs that check what is no Rust
//! * [`terminal`]: shells in which the commands of the guide are typed
//! * [`pty`], [`pipe`]: a program under a terminal, or with a log that somebody reads
//! * [`wait`]: waiting for an event under a deadline, the one place that sleeps
#![forbid(unsafe_code)]

pub mod admin;
pub mod browser;
pub mod certificates;
pub mod chores;
pub mod client;
pub mod command;
pub mod control;
pub mod document;
pub mod eve;
pub mod flood;
pub mod lab;
pub mod limit;
pub mod load;
pub mod log;
pub mod manager;
pub mod namespace;
pub mod neighbour;
pub mod network;
pub mod openssl;
pub mod pipe;
pub mod procfs;
pub mod program;
pub mod pty;
pub mod sources;
pub mod start;
pub mod storm;
pub mod stranger;
pub mod systemd;
pub mod terminal;
pub mod tools;
pub mod wait;

pub use lab::{End, Lab, Whoami};
pub use program::Program;
pub use start::{Ended, Start};
