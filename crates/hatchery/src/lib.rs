//! Network servers that never drop a client: one master, forked workers, and
//! upgrades nobody notices.
//!
//! ```no_run
//! use std::convert::Infallible;
//!
//! use hatchery::{Server, http};
//!
//! fn main() -> hatchery::Exit {
//!     Server::new()
//!         .bind("127.0.0.1:8080")
//!         .run(http::serve_fn(async |_request| Ok::<_, Infallible>(http::text("Hello, World!"))))
//! }
//! ```
//!
//! The process that was started becomes the master: it owns the listening
//! sockets, forks workers and looks after them, and never runs a runtime. Each
//! worker has a single-threaded tokio runtime of its own, so futures need not be
//! `Send`. `kill -USR2` on the master starts the program anew, as it is then on
//! disk; the new one takes over when its workers are ready, and until it has
//! proven itself the old one can take back.
//!
//! A worker that goes hands its connections to the process that comes after it:
//! an HTTP/1.1 keep-alive connection is not closed by a reload, an upgrade, a
//! scale-down or a recycle, it moves (see [`http`]). A protocol of one's own takes
//! its state along with [`Conn::hand_over`].
//!
//! | signal to the master | effect |
//! |---|---|
//! | TERM, QUIT, INT | drain and stop; the second one: stop now |
//! | HUP | read the settings again, replace the workers one by one |
//! | USR1 | open the log again |
//! | USR2 | upgrade |
//! | WINCH | drain all workers, keep the master and the listeners; HUP or TTIN brings them back. To the predecessor of an upgrade: its connections move now |
//! | TTIN, TTOU | one worker more, one less |
//!
//! * [`Server`]: the builder, and [`Server::run`]
//! * [`http`]: HTTP/1.1 and HTTP/2 over hyper, for functions and services
//! * [`Worker`] and [`Conn`]: what an application gets, for HTTP and for raw protocols
//! * [`Server::jobs`] and [`Server::sidecar`]: processes beside the workers; [`Server::keep`]: what survives upgrades
//! * [`cli`], [`Settings`]: flags, environment variables and a file
//! * [`Exit`], [`Error`]: how it ends
//!
//! The examples are those of the crates that these things come from. A program has
//! them all from this one: where an example has `use hatchery_worker::Worker`, or
//! `hatchery_net::JobConfig`, write `use hatchery::Worker` and `hatchery::JobConfig`;
//! for `hatchery_http`, write `hatchery::http`.
//!
//! An application is built with `lto = "thin"` and `codegen-units = 1` in its
//! release profile, and with `panic = "unwind"`: a panic then costs one request
//! and not the worker.
#![forbid(unsafe_code)]

mod admin;
pub mod cli;
mod error;
mod exit;
mod hooks;
mod kept;
mod logging;
mod run;
mod server;
mod settings;
mod starter;

/// HTTP/1.1 and HTTP/2 over hyper, with the limits that a server needs.
pub use hatchery_http as http;

pub use hatchery_core::policy::UnknownListenMode;
pub use hatchery_core::wire::WireError;
pub use hatchery_core::{Companion, CompanionKind, ListenMode, Slot, Who};
pub use hatchery_master::pid_file::PidFileError;
pub use hatchery_master::predecessor::HandoffError;
pub use hatchery_net::{Address, AddressError, Bind, Fault, JobConfig, ListenError, PassedError};
pub use hatchery_worker::Limits as WorkerLimits;
pub use hatchery_worker::{
    Accepted, Conn, Counters, DrainSignal, HandOverError, JobError, Jobs, Journey, LONGEST_STATE, ListenerInfo,
    Luggage, Network, Peer, Permit, ServeError, Sidecar, Stay, Stream, UnknownNetwork, Worker,
};

pub use error::{BoxError, Error};
pub use exit::Exit;
pub use hooks::{Cause, Ending, Generation, Pid, WorkerExit};
pub use kept::kept;
pub use server::Server;
pub use settings::{
    AccessLogTo, Anchor, LogFormat, Origin, Settings, SettingsError, TlsClientAuth, UnknownAnchor, UnknownLogFormat,
    UnknownTlsClientAuth,
};
