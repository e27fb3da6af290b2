//! Upgrade and reload, by the clock.

use std::io;
use std::net::TcpListener;
use std::process::Command;

use nix::sys::signal::Signal;

use super::figures::Figures;
use super::group::{Group, until};
use super::peers::{Peer, Running, example};
use super::procfs;

/// Where the `hello` example listens; it takes no arguments.
const HELLO: &str = "127.0.0.1:8080";

/// Upgrades `hello` to itself, and prints how long the commit and the end took.
///
/// # Errors
///
/// When an upgrade fails. A taken port is said, and nothing is measured.
pub fn upgrades(times: u32) -> io::Result<()> {
    if let Err(error) = TcpListener::bind(HELLO) {
        println!("*** SKIPPED: hello needs {HELLO}, which is not to be had: {error} ***");
        return Ok(());
    }
    let group = Group::start(&mut Command::new(example("hello")?))?;
    let ready = group.wait_for(" is ready, ", 0)?;
    let workers =
        ready.text.split_once("is ready, ").and_then(|(_, rest)| rest.split(' ').next()).unwrap_or("?").to_owned();
    let mut master = group.leader();
    let (mut commits, mut ends) = (Vec::new(), Vec::new());
    for _ in 0..times {
        let from = group.logged();
        let asked = group.signal(master, Signal::SIGUSR2)?;
        let commit = group.wait_for("it takes over", from)?;
        let end = group.wait_for("upgrade is done", commit.number)?;
        commits.push((commit.at - asked).as_secs_f64() * 1e3);
        ends.push((end.at - asked).as_secs_f64() * 1e3);
        let successor = end.text.split_once("(pid ").and_then(|(_, rest)| rest.split_once(')'));
        let old = master;
        master = successor.and_then(|(pid, _)| pid.parse().ok()).ok_or_else(|| io::Error::other(end.text.clone()))?;
        // The next one on a quiet machine: after the probation and the drain.
        until("the predecessor has gone", || (!group.pids().contains(&old)).then_some(()))?;
    }
    println!("hello, {workers} workers: SIGUSR2 to the commit, ms: {:.1}", Figures::new(commits));
    println!("hello, {workers} workers: SIGUSR2 to `upgrade is done`, ms: {:.1}", Figures::new(ends));
    Ok(())
}

/// Reloads a server, and prints how long that took until only new workers are left.
///
/// # Errors
///
/// When a reload fails.
pub fn reloads(peer: Peer, workers: u16, times: u32) -> io::Result<()> {
    let server = peer.start(workers)?;
    let master = server.group.leader();
    let (mut done, mut gone) = (Vec::new(), Vec::new());
    for _ in 0..times {
        let before = server.wait_for_workers(master, workers)?;
        let from = server.group.logged();
        let asked = server.group.signal(master, Signal::SIGHUP)?;
        until("only new workers serve", || only_new(&server, master, workers, &before).then_some(()))?;
        gone.push(asked.elapsed().as_secs_f64() * 1e3);
        if peer == Peer::Lab {
            let line = server.group.wait_for("reload is done", from)?;
            done.push((line.at - asked).as_secs_f64() * 1e3);
        }
    }
    if !done.is_empty() {
        println!("{:<6} {workers} workers: SIGHUP to `reload is done`, ms: {:.1}", peer.name(), Figures::new(done));
    }
    println!("{:<6} {workers} workers: SIGHUP to only new workers left, ms: {:.1}", peer.name(), Figures::new(gone));
    Ok(())
}

fn only_new(server: &Running, master: i32, workers: u16, before: &[i32]) -> bool {
    let old = procfs::children(master).iter().any(|pid| before.contains(pid));
    !old && server.workers(master).len() == usize::from(workers)
}
