//! What one more worker costs that does nothing.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::figures::Figures;
use super::group::PATIENCE;
use super::peers::{Peer, Running};
use super::procfs::{self, Memory};

/// From how many workers to how many.
const WORKERS: std::ops::RangeInclusive<u16> = 2..=8;

/// Prints what each further worker adds to the group's memory: the lab gets it by SIGTTIN, nginx by a new start.
///
/// # Errors
///
/// When a server fails.
pub fn compare(peer: Peer) -> io::Result<()> {
    let mut sums = Vec::new();
    let mut running = peer.start(*WORKERS.start())?;
    for workers in WORKERS {
        if workers > *WORKERS.start() {
            match peer {
                Peer::Lab => {
                    let master = running.group.leader();
                    running.group.signal(master, Signal::SIGTTIN)?;
                    running.wait_for_workers(master, workers)?;
                }
                Peer::Floor | Peer::Nginx | Peer::Axum => running = peer.start(workers)?,
            }
        }
        sums.push(settled(&running)?);
    }
    let more = |of: fn(Memory) -> u64| {
        let kilobytes = |memory: Memory| f64::from(u32::try_from(of(memory)).unwrap_or(u32::MAX));
        Figures::new(sums.windows(2).map(|pair| kilobytes(pair[1]) - kilobytes(pair[0])).collect())
    };
    println!("{:<8} one more idle worker, kB: {:.0}", peer.name(), more(Memory::total));
    println!(
        "{:<8} of it PSS {:.0}, page tables {:.0}",
        "",
        more(|memory| memory.pss).median(),
        more(|memory| memory.tables).median()
    );
    Ok(())
}

/// The group's memory once it has been the same for half a second.
fn settled(running: &Running) -> io::Result<Memory> {
    let deadline = Instant::now() + PATIENCE;
    let mut last = (Instant::now(), procfs::memory(&running.group.pids())?);
    while Instant::now() < deadline {
        let now = procfs::memory(&running.group.pids())?;
        // A kB for each process is rounding.
        if now.total().abs_diff(last.1.total()) > 8 {
            last = (Instant::now(), now);
        } else if last.0.elapsed() > Duration::from_millis(500) {
            return Ok(now);
        }
        thread::sleep(Duration::from_millis(50));
    }
    Err(io::Error::other("memory does not settle"))
}
