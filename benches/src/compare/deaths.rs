//! A worker is killed: how long until somebody answers, and until its place is taken.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::figures::Figures;
use super::group::{PATIENCE, until};
use super::peers::Peer;
use crate::client::Client;

/// Kills a worker `times` and prints how long the next answer and the replacement took.
///
/// # Errors
///
/// When the server does not recover.
pub fn compare(peer: Peer, workers: u16, times: u32) -> io::Result<()> {
    let server = peer.start(workers)?;
    let master = server.group.leader();
    let (mut answers, mut replacements) = (Vec::new(), Vec::new());
    for _ in 0..times {
        let before = server.wait_for_workers(master, workers)?;
        // A worker that dies within a second of its start counts as a crash loop.
        thread::sleep(Duration::from_millis(1200));
        // Looked for by another thread: both are wanted of the same death.
        let (answered, replaced) = thread::scope(|scope| {
            let victim = before[0];
            let killed = server.group.signal(victim, Signal::SIGKILL)?;
            let server = &server;
            let replaced = scope.spawn(move || {
                until("the replacement serves", || {
                    let now = server.workers(master);
                    let is_new = |pid: &i32| !before.contains(pid);
                    (now.len() == usize::from(workers) && now.iter().any(is_new)).then(|| killed.elapsed())
                })
            });
            let answered = next_answer(server.port, killed)?;
            let replaced = replaced.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            io::Result::Ok((answered, replaced))
        })?;
        answers.push(answered.as_secs_f64() * 1e3);
        replacements.push(replaced.as_secs_f64() * 1e3);
    }
    println!("{:<6} {workers} workers: SIGKILL to the next answer, ms: {:.2}", peer.name(), Figures::new(answers));
    println!(
        "{:<6} {workers} workers: SIGKILL to the replacement's ready, ms: {:.2}",
        peer.name(),
        Figures::new(replacements)
    );
    Ok(())
}

/// A client that connects anew until it is answered.
fn next_answer(port: u16, since: Instant) -> io::Result<Duration> {
    while since.elapsed() < PATIENCE {
        // The dying worker may still have taken the connection: then it is reset, and asked again.
        if Client::connect(port).and_then(|mut client| client.ask_within(PATIENCE)).is_ok() {
            return Ok(since.elapsed());
        }
    }
    Err(io::Error::other("nobody answers any more"))
}
