//! A worker of hatchery: one process, one single-threaded tokio runtime.
//!
//! Programs use all of this through `hatchery`: write `use hatchery::Worker`
//! where an example has `use hatchery_worker::Worker`.
//!
//! [`run`] turns a forked child into a worker. The application gets a
//! [`Worker`] and calls [`Worker::serve`] for a protocol of its own, or hands
//! it to a protocol crate, which calls [`Worker::accept`]. Which accept queues
//! a worker takes from is the master's decision, and can change at any time.
//!
//! * [`mod@worker`], [`conn`], [`stream`], [`counters`], [`drain_signal`], [`hand_over`]: what applications and protocol crates use
//! * [`mod@jobs`], [`mod@sidecar`]: what other processes of the program do
//! * [`relay`]: connections that move to another process, and those that arrive from one
//! * [`seed`], [`runtime`], and `boot`: from a fork to the exit code
//! * [`accept`], [`permit`], and `acceptor`, `intake`, `backoff`, `peers`: connections from the kernel's queues, and how many of them
//! * `control`, `drain`: what the master and the operator want, and the way to the end
//! * `heartbeat`: whether the loop is stuck, as others see it; `quota`: when it has served long enough
//! * [`mod@ledger`], `dump`: what each connection is doing, and what a worker says of that when it is aborted
//! * `shared`: the state of all this
//!
//! ```no_run
//! use hatchery_worker::{Conn, Worker};
//! use tokio::io::AsyncWriteExt;
//!
//! async fn app(worker: Worker, greeting: &'static String) -> Result<(), hatchery_worker::ServeError> {
//!     worker
//!         .serve(async move |mut conn: Conn| {
//!             let _client_gone = conn.write_all(greeting.as_bytes()).await;
//!         })
//!         .await
//! }
//! # let _ = app;
//! ```
#![forbid(unsafe_code)]

pub mod accept;
pub mod conn;
pub mod counters;
pub mod drain_signal;
pub mod error;
pub mod hand_over;
pub mod jobs;
pub mod ledger;
pub mod limits;
pub mod network;
pub mod permit;
pub mod relay;
pub mod runtime;
pub mod seed;
pub mod sidecar;
pub mod stream;
pub mod worker;

mod acceptor;
mod asked;
mod backoff;
mod boot;
mod control;
mod drain;
mod dump;
mod heartbeat;
mod intake;
mod peers;
mod quota;
mod shared;

pub use accept::Accepted;
pub use conn::Conn;
pub use counters::{Counters, Stopwatch};
pub use drain_signal::DrainSignal;
pub use error::ServeError;
pub use hand_over::{HandOverError, LONGEST_STATE};
pub use hatchery_sys::board::Counter;
pub use jobs::{JobDesk, JobError, Jobs};
pub use ledger::Ledger;
pub use limits::Limits;
pub use network::{Network, UnknownNetwork};
pub use permit::Permit;
pub use relay::{Journey, Luggage, Stay};
pub use runtime::run;
pub use seed::{Quota, Seed};
pub use sidecar::Sidecar;
pub use stream::{Peer, Stream};
pub use worker::{ListenerInfo, TLS, Worker};
