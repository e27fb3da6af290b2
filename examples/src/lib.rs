//! The examples are programs beside this file, each started by its name:
//! `cargo run --release --example hello`.
//!
//! * `hello`: HTTP in ten lines
//! * `echo`: a protocol of one's own
//! * `axum`: a router, state that is loaded before the fork, flags
//! * `thumbnails`: work that may go wrong, each time in a process of its own
//! * `udp`: a socket for each worker, kept across upgrades
//! * `upgrade`: replaces itself, and prints what to type
//! * `lab`: the server that hatchery's tests drive

#[cfg(doctest)]
mod guide;
