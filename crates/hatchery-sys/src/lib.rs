//! What touches the kernel for hatchery: fork, exec, signals, descriptors passed, shared memory.
//!
//! This is the only crate of hatchery with `unsafe` in it, so that all others
//! can forbid it. Nothing here decides anything: every function does one thing
//! with the kernel and says how it went.
//!
//! * [`fork`], [`threads`], [`exec`], [`wait`], [`process`], [`peer`]: processes; [`user`]: who they are
//! * [`signals`]: the self-pipe, and what is restored before an exec; [`abort`]: last words
//! * [`channel`], [`poll`], [`inherit`]: descriptors, passed and waited for
//! * [`accept`], [`socket_file`], [`mod@socket`]: sockets that listen, and connections; [`handshakes`]: what comes between
//! * [`board`]: memory that all processes of all generations share; [`time`]: the clock that they share
//! * [`key_ring`]: keys that all generations share; [`random`]: what they are made of
//! * [`origin`], [`mod@env`], [`title`]: how this program was started, how it shows
//! * [`limits`], [`streams`], [`lock`]: files
//! * [`mod@sheet`], [`exhausted`]: bytes for another process, and last words without memory
//!
//! Linux is where it is used. What only Linux has (memfd, `close_range`,
//! PDEATHSIG, `unshare`) has a fall-back, on old kernels and inside containers
//! that forbid it as well as on other Unix systems.
//!
//! # Safety
//!
//! Two facts carry most of the unsafe blocks: a master has one thread, which
//! [`threads::count`] checks before the first fork, and whoever forks has
//! blocked all signals, which [`fork::fork`] takes as an argument.

pub mod abort;
pub mod accept;
pub mod board;
pub mod channel;
pub mod datagrams;
pub mod env;
pub mod exec;
pub mod exhausted;
pub mod fork;
pub mod handshakes;
pub mod inherit;
pub mod key_ring;
pub mod ledger;
pub mod limits;
pub mod lock;
pub mod origin;
mod orphan;
pub mod peer;
pub mod poll;
pub mod process;
pub mod random;
pub mod sheet;
pub mod signals;
pub mod socket;
pub mod socket_file;
mod start;
pub mod streams;
pub mod threads;
pub mod time;
pub mod title;
pub mod turn;
pub mod user;
pub mod wait;

pub use nix::sys::signal::Signal;
pub use nix::unistd::Pid;
