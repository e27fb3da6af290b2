//! valgrind counts instructions, strace counts system calls.

use std::fs;
use std::io;

use crate::client;
use crate::server::{Server, Which};

/// User-space instructions of one run, by callgrind.
///
/// # Errors
///
/// When valgrind is missing or the server fails.
pub fn instructions(which: Which, connections: u32, requests: u32) -> io::Result<f64> {
    let files = tempfile::tempdir()?;
    let log = files.path().join("log");
    let tool = [
        "valgrind".to_owned(),
        "--tool=callgrind".to_owned(),
        format!("--callgrind-out-file={}", profile(which, connections, requests)),
        format!("--log-file={}", log.display()),
    ];
    let server = Server::start(which, &tool)?;
    client::run(server.port(), connections, requests)?;
    server.stop()?;
    let log = fs::read_to_string(log)?;
    let collected = log.lines().find_map(|line| line.split_once("Collected : "));
    collected
        .and_then(|(_, count)| count.trim().parse().ok())
        .ok_or_else(|| io::Error::other(format!("valgrind printed no count:\n{log}")))
}

/// Where callgrind's profile of a run is left, for `callgrind_annotate`.
#[must_use]
pub fn profile(which: Which, connections: u32, requests: u32) -> String {
    let dir = std::env::temp_dir();
    dir.join(format!("callgrind.{}.{connections}x{requests}", which.name())).display().to_string()
}

/// System calls of one run, by strace.
///
/// # Errors
///
/// When strace is missing or the server fails.
pub fn system_calls(which: Which, connections: u32, requests: u32) -> io::Result<f64> {
    let files = tempfile::tempdir()?;
    let summary = files.path().join("summary");
    let tool = ["strace".to_owned(), "-f".to_owned(), "-c".to_owned(), "-o".to_owned(), summary.display().to_string()];
    let server = Server::start(which, &tool)?;
    client::run(server.port(), connections, requests)?;
    server.stop()?;
    let summary = fs::read_to_string(summary)?;
    let total = summary.lines().find(|line| line.trim_end().ends_with(" total"));
    total
        .and_then(|line| line.split_whitespace().nth(3)?.parse().ok())
        .ok_or_else(|| io::Error::other(format!("strace printed no total:\n{summary}")))
}
