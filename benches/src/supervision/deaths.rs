//! A worker is killed: how long until its replacement is ready, and until somebody answers.

use std::io;
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::client::Client;
use crate::compare::figures::Figures;
use crate::compare::group::PATIENCE;
use crate::compare::peers;

/// One that dies earlier counts as the beginning of a crash loop, and is replaced with a delay.
const STEADY: Duration = Duration::from_millis(1200);

/// Kills a worker `rounds` times. In milliseconds: until the master has said that the replacement is ready, and
/// until a client that connects anew is answered.
///
/// # Errors
///
/// When the server does not recover.
pub fn measure(mode: &str, workers: u16, rounds: u32) -> io::Result<(Figures, Figures)> {
    let server = peers::lab(workers, &["--listen-mode", mode])?;
    let master = server.group.leader();
    let (mut ready, mut answered) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let victim = server.wait_for_workers(master, workers)?[0];
        thread::sleep(STEADY);
        let from = server.group.logged();
        let killed = server.group.signal(victim, Signal::SIGKILL)?;
        // The dying worker may still have taken the connection: then it is reset, and asked again.
        while Client::connect(server.port).and_then(|mut client| client.ask_within(PATIENCE)).is_err() {
            if killed.elapsed() > PATIENCE {
                return Err(io::Error::other("nobody answers any more"));
            }
        }
        answered.push(killed.elapsed().as_secs_f64() * 1e3);
        let line = server.group.wait_for(" is ready", from)?;
        ready.push((line.at - killed).as_secs_f64() * 1e3);
    }
    Ok((Figures::new(ready), Figures::new(answered)))
}
