//! Two servers in turn, many times: what changes slowly on a machine is in both.

use std::io;

use super::figures::Figures;
use super::load::{Load, Tool};
use super::peers::{Peer, Running};
use super::procfs;

/// One run against one server.
#[derive(Clone, Copy, Debug)]
struct Run {
    /// CPU time of all of the server's processes, in microseconds a request.
    cpu: f64,
    /// Requests a second.
    rate: f64,
}

/// Runs `rounds` pairs of the lab and a peer, and prints what came of it.
///
/// # Errors
///
/// When a server or the tool fails.
pub fn compare(peer: Peer, tool: Tool, load: Load, workers: u16, rounds: u32) -> io::Result<()> {
    let (lab, other) = (Peer::Lab.start(workers)?, peer.start(workers)?);
    // Once each for nothing: heaps grow, pages are touched, threads start.
    run(&lab, tool, load)?;
    run(&other, tool, load)?;
    let mut pairs = Vec::new();
    for round in 0..rounds {
        // Who is first changes, so that a machine that gets slower hurts both.
        pairs.push(if round % 2 == 0 {
            let first = run(&lab, tool, load)?;
            (first, run(&other, tool, load)?)
        } else {
            let first = run(&other, tool, load)?;
            (run(&lab, tool, load)?, first)
        });
    }
    report(peer, tool, workers, &pairs);
    Ok(())
}

fn run(server: &Running, tool: Tool, load: Load) -> io::Result<Run> {
    let port = match tool {
        Tool::Wrk => server.port,
        Tool::H2load => server.http2,
    };
    let pids = server.group.pids();
    let before = procfs::cpu(&pids)?;
    let counted = tool.run(load, port)?;
    let spent = procfs::cpu(&pids)?.saturating_sub(before);
    Ok(Run { cpu: spent.as_secs_f64() * 1e6 / counted.requests, rate: counted.rate })
}

fn report(peer: Peer, tool: Tool, workers: u16, pairs: &[(Run, Run)]) {
    let figures = |of: fn(&(Run, Run)) -> f64| Figures::new(pairs.iter().map(of).collect());
    let pair = format!("lab/{}, {workers} workers, {}", peer.name(), tool.name());
    println!("{pair:<32} CPU us a request {:.3}", figures(|(lab, other)| lab.cpu / other.cpu));
    println!("{:<32} requests a second {:.3}", "", figures(|(lab, other)| lab.rate / other.rate));
    println!(
        "{:<32} medians: {:.2} and {:.2} us, {:.0} and {:.0} requests a second",
        "",
        figures(|(lab, _)| lab.cpu).median(),
        figures(|(_, other)| other.cpu).median(),
        figures(|(lab, _)| lab.rate).median(),
        figures(|(_, other)| other.rate).median(),
    );
}
