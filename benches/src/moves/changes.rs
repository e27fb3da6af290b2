//! A reload and an upgrade while many connections are idle.

use std::time::{Duration, Instant};
use std::{io, thread};

use nix::sys::signal::Signal;

use super::idle::{Fate, Idle};
use crate::compare::figures::Figures;
use crate::compare::group::{Line, until};
use crate::compare::peers::{Running, lab, nginx};
use crate::compare::procfs;

/// Who changes its workers, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The lab is told to reload.
    Reload,
    /// The lab is told to upgrade; counted is from the end of the probation.
    Upgrade,
    /// nginx is told to reload.
    Nginx,
}

/// What the rounds have shown.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Milliseconds until the last old worker had gone.
    pub gone: Figures,
    /// Milliseconds until each connection had an answer, all being asked when the last old worker had gone.
    pub answered: Figures,
    /// Milliseconds of CPU time, of the old workers and of the new ones; of a reload of the lab.
    pub cpu: Option<[Figures; 2]>,
    /// The last round's.
    pub fate: Fate,
}

/// CPU time of the workers of one master.
struct Used {
    /// Of those that it had before.
    old: Duration,
    /// Of those that it has reaped.
    reaped: Duration,
}

impl Change {
    /// Its name in a table.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reload => "hatchery, reload",
            Self::Upgrade => "hatchery, upgrade",
            Self::Nginx => "nginx, reload",
        }
    }

    /// Does it again and again with so many connections and workers.
    ///
    /// # Errors
    ///
    /// When the server does not do as it is told.
    pub fn measure(self, workers: u16, connections: usize, rounds: u32) -> io::Result<Shown> {
        let server = match self {
            Self::Reload | Self::Upgrade => lab(workers, &["--upgrade-probation", "100ms"])?,
            Self::Nginx => nginx(workers, 20_000)?,
        };
        let path = if self == Self::Nginx { "/" } else { "/whoami" };
        let mut idle = Idle::open(server.port, path, connections)?;
        let mut master = server.group.leader();
        let (mut gone, mut answered, mut cpu) = (Vec::new(), Vec::new(), [Vec::new(), Vec::new()]);
        let mut fate = Fate::default();
        for _ in 0..rounds {
            idle.fill_up(connections)?;
            let old = server.wait_for_workers(master, workers)?;
            let used = Used::now(master, &old)?;
            let (began, ended) = self.once(&server, &mut master, &old)?;
            gone.push(millis(ended - began));
            if self == Self::Reload {
                let [before, after] = used.since(&server, master, workers)?;
                cpu[0].push(before);
                cpu[1].push(after);
            }
            let asked = Instant::now();
            fate = idle.look(&old);
            answered.push(millis(ended - began + asked.elapsed()));
        }
        let cpu = (self == Self::Reload).then(|| cpu.map(Figures::new));
        Ok(Shown { gone: Figures::new(gone), answered: Figures::new(answered), cpu, fate })
    }

    /// Once: when it began, and when the last old worker had gone.
    fn once(self, server: &Running, master: &mut i32, old: &[i32]) -> io::Result<(Instant, Instant)> {
        let from = server.group.logged();
        Ok(match self {
            Self::Reload => {
                let began = server.group.signal(*master, Signal::SIGHUP)?;
                (began, last_exit(server, old, from)?)
            }
            Self::Upgrade => {
                server.group.signal(*master, Signal::SIGUSR2)?;
                let done = server.group.wait_for("upgrade is done", from)?;
                let began = server.group.wait_for("probation is over", from)?.at;
                let ended = last_exit(server, old, from)?;
                let predecessor = std::mem::replace(master, successor(&done)?);
                until("the predecessor is gone", || (!server.group.pids().contains(&predecessor)).then_some(()))?;
                (began, ended)
            }
            Self::Nginx => {
                let began = server.group.signal(*master, Signal::SIGHUP)?;
                until("the old workers are gone", || {
                    let now = procfs::children(*master);
                    (!old.iter().any(|pid| now.contains(pid))).then(|| (began, Instant::now()))
                })?
            }
        })
    }
}

impl Used {
    fn now(master: i32, workers: &[i32]) -> io::Result<Self> {
        Ok(Self { old: procfs::cpu(workers)?, reaped: procfs::cpu_of_the_reaped(master)? })
    }

    /// Milliseconds that the old workers have had since, and the new ones.
    fn since(&self, server: &Running, master: i32, count: u16) -> io::Result<[f64; 2]> {
        let new = server.wait_for_workers(master, count)?;
        // What was queued when the last old worker went is read by now, or the machine is very busy.
        thread::sleep(Duration::from_millis(200));
        let old = procfs::cpu_of_the_reaped(master)?.saturating_sub(self.reaped).saturating_sub(self.old);
        Ok([millis(old), millis(procfs::cpu(&new)?)])
    }
}

fn millis(span: Duration) -> f64 {
    span.as_secs_f64() * 1e3
}

/// When the log said that the last of these workers had ended.
fn last_exit(server: &Running, workers: &[i32], from: usize) -> io::Result<Instant> {
    let exits = workers.iter().map(|pid| Ok(server.group.wait_for(&format!("(pid {pid}) exited"), from)?.at));
    let exits = exits.collect::<io::Result<Vec<_>>>()?;
    exits.into_iter().max().ok_or_else(|| io::Error::other("there was no worker"))
}

pub(super) fn successor(line: &Line) -> io::Result<i32> {
    let pid = line.text.split_once("(pid ").and_then(|(_, rest)| rest.split_once(')'));
    pid.and_then(|(pid, _)| pid.parse().ok()).ok_or_else(|| io::Error::other(line.text.clone()))
}
