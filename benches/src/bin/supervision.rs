//! What supervision costs, and how fast it is.
//!
//! `cargo run --release -p hatchery-benches --bin supervision`, with `-- --only deaths`, `idle`, `calls` or
//! `demand` for one part, `--rounds N`, `--workers N` of the idle master and `--seconds N`. `calls` needs strace.

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use hatchery_benches::arguments::{number, text};
use hatchery_benches::compare::group::kill_all_when_told_to_end;
use hatchery_benches::compare::peers::build_examples;
use hatchery_benches::supervision::{calls, deaths, demand, idle};

/// Both modes of listening.
const MODES: [&str; 2] = ["shared", "reuseport"];

fn main() -> ExitCode {
    match measure() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("supervision: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure() -> io::Result<()> {
    if cfg!(debug_assertions) {
        return Err(io::Error::other("an unoptimised build tells nothing: cargo run --release"));
    }
    kill_all_when_told_to_end()?;
    hatchery_sys::limits::raise_open_files()?;
    build_examples()?;
    let args: Vec<String> = std::env::args().skip(1).collect();
    let only = text(&args, "--only");
    let wanted = |part: &str| only.is_none_or(|parts| parts.split(',').any(|one| one == part));
    let rounds = number(&args, "--rounds", 20)?;
    let seconds = Duration::from_secs(number(&args, "--seconds", 30)?);
    let workers = number(&args, "--workers", 64)?;
    for mode in MODES {
        if wanted("deaths") {
            let (ready, answers) = deaths::measure(mode, 2, rounds)?;
            println!("{mode}: SIGKILL of a worker to its replacement's `ready`, ms: {ready:.2}");
            println!("{mode}: SIGKILL of a worker to the next answer, ms: {answers:.2}");
        }
        if wanted("idle") {
            let seen = idle::measure(mode, workers, seconds)?;
            println!("{mode}: an idle master of {workers} workers, {} s: {}", seconds.as_secs(), seen.master);
            println!("{mode}: each of its workers: {}", seen.worker);
        }
        if wanted("calls") {
            println!("{mode}: system calls of one idle worker of 2, 10 s: {}", calls::idle(mode)?);
            println!("{mode}: system calls of a worker a request: {:.2}", calls::a_request(mode)?);
        }
    }
    if wanted("demand") {
        for workers in [1, 2] {
            let (first, later) = demand::measure(workers, rounds.min(10))?;
            println!("on demand, {workers} workers: connect to whole answer, ms: first {first:.2}, later {later:.2}");
        }
    }
    Ok(())
}
