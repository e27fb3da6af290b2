//! How often processes wake that have nothing to do.

use std::fmt;
use std::fs;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use crate::compare::peers;
use crate::compare::procfs;

/// Until the boot has settled: what is looked at closely for a while is not looked at so closely any more.
const SETTLED: Duration = Duration::from_secs(8);

/// What was seen of a master, and of one of its workers.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// The master.
    pub master: Wakes,
    /// A worker, on average.
    pub worker: Wakes,
}

/// How often a process came to a CPU, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Wakes {
    /// Voluntary context switches a second: each ends with a wake-up.
    pub a_second: f64,
    /// The part of one CPU, from 0 to 1.
    pub cpu: f64,
}

/// Lets a lab with so many workers idle for `span`.
///
/// # Errors
///
/// When it does not start, or ends.
pub fn measure(mode: &str, workers: u16, span: Duration) -> io::Result<Seen> {
    let server = peers::lab(workers, &["--listen-mode", mode])?;
    let master = server.group.leader();
    let all = server.wait_for_workers(master, workers)?;
    thread::sleep(SETTLED);
    let counts = |pids: &[i32]| -> io::Result<(u64, Duration)> {
        let switches = pids.iter().map(|pid| voluntary_switches(*pid)).sum::<io::Result<u64>>()?;
        Ok((switches, procfs::cpu(pids)?))
    };
    let (begin, before) = (Instant::now(), (counts(&[master])?, counts(&all)?));
    thread::sleep(span);
    let (after, took) = ((counts(&[master])?, counts(&all)?), begin.elapsed().as_secs_f64());
    let wakes = |before: (u64, Duration), after: (u64, Duration), of: f64| Wakes {
        #[expect(clippy::cast_precision_loss, reason = "there are no 2^52 switches")]
        a_second: (after.0 - before.0) as f64 / took / of,
        cpu: after.1.saturating_sub(before.1).as_secs_f64() / took / of,
    };
    Ok(Seen { master: wakes(before.0, after.0, 1.0), worker: wakes(before.1, after.1, f64::from(workers)) })
}

fn voluntary_switches(pid: i32) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let count = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")?.trim().parse().ok());
    count.ok_or_else(|| io::Error::other("status tells no context switches"))
}

impl fmt::Display for Wakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} wake-ups a second, {:.4} % of a CPU", self.a_second, self.cpu * 100.0)
    }
}
