//! What hatchery costs, beside a floor and beside nginx.
//!
//! The floor is a bare accept loop around hyper, in the same binary and
//! profile: what it costs is what nobody can save. Every figure is the
//! difference of two runs, so that the start of a server does not count.
//!
//! * [`server`]: the servers, run as processes of their own, under a tool if need be
//! * [`floor`], [`worker`]: what these processes do
//! * [`client`]: a client that waits for each answer
//! * [`tools`]: valgrind and strace, and what they print
//! * [`compare`]: whole servers beside each other, by CPU time and by the clock
//! * [`operations`]: what reloads, upgrades and the like do to clients, of whole servers
//! * [`moves`]: connections that move from one worker to another, by the clock
//! * [`supervision`]: deaths, an idle master, a server on demand
//! * [`arguments`]: command lines

pub mod arguments;
pub mod client;
pub mod compare;
pub mod floor;
pub mod moves;
pub mod operations;
pub mod server;
pub mod supervision;
pub mod tools;
pub mod worker;
