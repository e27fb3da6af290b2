//! The lab beside a floor, nginx and axum: CPU time, memory, and how long changes take.
//!
//! `cargo run --release -p hatchery-benches --bin compare`, with `-- --only load,memory,deaths,upgrade,reload`
//! for some parts, `--rounds N`, `--seconds N` and `--connections N` for more or less load. It needs Linux; of Debian
//! the packages `wrk`, `nghttp2-client` and `nginx-light`, and goes on without what is missing.

use std::io;
use std::process::ExitCode;

use hatchery_benches::arguments::{number, text};
use hatchery_benches::compare::group::kill_all_when_told_to_end;
use hatchery_benches::compare::load::{Load, Tool};
use hatchery_benches::compare::peers::{Peer, build_examples};
use hatchery_benches::compare::serve::serve_if_asked;
use hatchery_benches::compare::{changes, deaths, pairs, worker_memory};

/// Workers, or threads, of each server: Debian's nginx and hatchery take the number of CPUs.
const WORKERS: u16 = 2;

fn main() -> ExitCode {
    serve_if_asked();
    match measure() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("compare: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure() -> io::Result<()> {
    if cfg!(debug_assertions) {
        return Err(io::Error::other("an unoptimised build tells nothing: cargo run --release"));
    }
    kill_all_when_told_to_end()?;
    build_examples()?;
    let args: Vec<String> = std::env::args().skip(1).collect();
    let only = text(&args, "--only");
    let wanted = |part: &str| only.is_none_or(|parts| parts.split(',').any(|one| one == part));

    if wanted("load") {
        under_load(&args)?;
    }
    if wanted("memory") {
        println!(
            "\nmemory of one more worker: the group's sum of `Pss` in smaps_rollup and `VmPTE`, from 2 workers to 8"
        );
        each(&[Peer::Lab, Peer::Floor, Peer::Nginx], worker_memory::compare)?;
    }
    if wanted("deaths") {
        println!(
            "\na worker is killed: kill() to the answer that a new connection gets, and to its successor's title saying that it serves"
        );
        let times = number(&args, "--times", 20)?;
        for workers in [1, WORKERS] {
            each(&[Peer::Lab, Peer::Nginx], |peer| deaths::compare(peer, workers, times))?;
        }
    }
    if wanted("upgrade") {
        println!("\nupgrade: kill() to the line in the log");
        changes::upgrades(number(&args, "--times", 10)?)?;
    }
    if wanted("reload") {
        println!("\nreload: kill() to the line in the log, and to the end of the last old worker");
        let times = number(&args, "--times", 10)?;
        each(&[Peer::Lab, Peer::Nginx], |peer| changes::reloads(peer, WORKERS, times))?;
    }
    Ok(())
}

fn under_load(args: &[String]) -> io::Result<()> {
    let load = Load { connections: number(args, "--connections", 64)?, seconds: number(args, "--seconds", 2)? };
    let rounds = number(args, "--rounds", 7)?;
    let workers = number(args, "--workers", WORKERS)?;
    println!("GET /, interleaved pairs; CPU time of all processes of the server by schedstat");
    for (tool, peers) in [(Tool::Wrk, &[Peer::Floor, Peer::Nginx, Peer::Axum][..]), (Tool::H2load, &[Peer::Nginx])] {
        println!("{} {}", tool.name(), tool.arguments(load, 0).join(" ").replace(":0/", ":PORT/"));
        if tool.is_installed() {
            each(peers, |peer| pairs::compare(peer, tool, load, workers, rounds))?;
        } else {
            println!("*** SKIPPED: {} is missing, it is in the package {} ***", tool.name(), tool.package());
        }
    }
    Ok(())
}

fn each(peers: &[Peer], mut measure: impl FnMut(Peer) -> io::Result<()>) -> io::Result<()> {
    for peer in peers {
        if peer.is_installed() {
            measure(*peer)?;
        } else {
            println!("*** SKIPPED: {} is missing, it is in the package nginx-light ***", peer.name());
        }
    }
    Ok(())
}
