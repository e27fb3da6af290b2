//! Which system calls a worker makes because of its supervision. It writes to the board, and the master reads it.

use std::fs;
use std::io;
use std::process::{Child, Command};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::client::Client;
use crate::compare::group::{PATIENCE, until};
use crate::compare::peers::{self, Running};

/// How often a worker is asked.
const REQUESTS: u32 = 2000;

/// The summary of an idle worker, in a line: `none`, or how often which.
///
/// # Errors
///
/// When strace is missing.
pub fn idle(mode: &str) -> io::Result<String> {
    let server = start(mode, 2)?;
    // What comes of the boot is over then.
    thread::sleep(Duration::from_secs(2));
    let worker = server.wait_for_workers(server.group.leader(), 2)?[0];
    let calls = traced(worker, || {
        thread::sleep(Duration::from_secs(10));
        Ok(())
    })?;
    let text: Vec<String> = calls.iter().map(|(name, count)| format!("{name} {count}")).collect();
    Ok(if text.is_empty() { "none".to_owned() } else { text.join(", ") })
}

/// System calls a request, on a connection that is there already.
///
/// # Errors
///
/// When strace is missing, or the server does not answer.
pub fn a_request(mode: &str) -> io::Result<f64> {
    let server = start(mode, 1)?;
    let worker = server.wait_for_workers(server.group.leader(), 1)?[0];
    let mut client = Client::connect(server.port)?;
    client.ask()?;
    let calls = traced(worker, || (0..REQUESTS).try_for_each(|_| client.ask()))?;
    Ok(f64::from(calls.iter().map(|(_, count)| count).sum::<u32>()) / f64::from(REQUESTS))
}

fn start(mode: &str, workers: u16) -> io::Result<Running> {
    peers::lab(workers, &["--listen-mode", mode])
}

/// What a process calls while `act` runs, by `strace -c`.
fn traced(pid: i32, act: impl FnOnce() -> io::Result<()>) -> io::Result<Vec<(String, u32)>> {
    let files = tempfile::tempdir()?;
    let summary = files.path().join("summary");
    let mut strace = Command::new("strace");
    strace.args(["-q", "-c", "-U", "calls,name", "-p", &pid.to_string(), "-o"]).arg(&summary);
    let mut strace = Tool(strace.spawn()?);
    let traced = || Some(fs::read_to_string(format!("/proc/{pid}/status")).ok()?.contains("TracerPid:\t0\n"));
    until("strace has attached itself", || traced().filter(|free| !free))?;
    act()?;
    let id = i32::try_from(strace.0.id()).map_err(io::Error::other)?;
    kill(Pid::from_raw(id), Signal::SIGINT)?;
    until(&format!("strace ends within {} s", PATIENCE.as_secs()), || strace.0.try_wait().ok()?)?;
    let lines = fs::read_to_string(summary)?;
    let calls = lines.lines().filter_map(|line| {
        let (count, name) = line.trim().split_once(char::is_whitespace)?;
        Some((name.trim().to_owned(), count.parse().ok()?))
    });
    Ok(calls.filter(|(name, _): &(String, u32)| name != "total").collect())
}

/// A tool that goes with this program.
struct Tool(Child);

impl Drop for Tool {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
