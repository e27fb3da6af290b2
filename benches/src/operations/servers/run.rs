//! What all servers that run have in common.

use std::io;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use std::{fs, thread};

use nix::sys::signal::Signal;

use crate::client::Client;
use crate::compare::group::{Group, PATIENCE};
use crate::compare::procfs;
use crate::operations::subject::WORKERS;

/// How long an operation may take: some servers wait half a minute for idle clients.
const LONGEST: Duration = Duration::from_secs(120);

/// How often is looked: seldom, since the clients share the machine with this program.
const INTERVAL: Duration = Duration::from_millis(5);

/// The processes of a server, and its files.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) group: Group,
    pub(super) port: u16,
    pub(super) files: tempfile::TempDir,
    /// Whether a child of the master with this title is a worker that serves.
    serves: fn(&str) -> bool,
}

impl Run {
    /// Starts the command that is made of a folder and a port, and waits for the first answer.
    pub(super) fn start(
        serves: fn(&str) -> bool,
        command: impl FnOnce(&Path, u16) -> io::Result<Command>,
    ) -> io::Result<Self> {
        Self::begin(serves, |folder, port| Group::start(command(folder, port)?.current_dir(folder)))
    }

    /// Like [`start`](Self::start), for a command that makes a daemon, which writes its pid into `pid`.
    pub(super) fn start_daemon(
        serves: fn(&str) -> bool,
        command: impl FnOnce(&Path, u16) -> io::Result<Command>,
    ) -> io::Result<Self> {
        Self::begin(serves, |folder, port| {
            Group::start_daemon(command(folder, port)?.current_dir(folder), &folder.join("pid"))
        })
    }

    fn begin(serves: fn(&str) -> bool, start: impl FnOnce(&Path, u16) -> io::Result<Group>) -> io::Result<Self> {
        let files = tempfile::tempdir()?;
        let port = free_port()?;
        let run = Self { group: start(files.path(), port)?, port, files, serves };
        run.until("the first answer", || Client::connect(port).ok()?.ask_within(PATIENCE).ok())?;
        Ok(run)
    }

    /// The workers of `master` that serve.
    pub(super) fn workers(&self, master: i32) -> Vec<i32> {
        let children = procfs::children(master).into_iter();
        children.filter(|pid| (self.serves)(&procfs::title(*pid))).collect()
    }

    /// Waits until `master` has exactly `count` workers that serve, and none of `old` is left.
    pub(super) fn only_new(&self, master: i32, count: usize, old: &[i32]) -> io::Result<()> {
        self.until("only new workers are left", || {
            let all = self.group.pids();
            let is_over = old.iter().all(|pid| !all.contains(pid)) && self.workers(master).len() == count;
            is_over.then_some(())
        })
    }

    /// Waits until `pid` is gone.
    pub(super) fn gone(&self, pid: i32) -> io::Result<()> {
        self.until("the old one is gone", || (!self.group.pids().contains(&pid)).then_some(()))
    }

    /// Sends `signal`, upon which one worker that was there is replaced.
    pub(super) fn replace_one(&self, master: i32, signal: Signal) -> io::Result<()> {
        let victim = *self.workers(master).first().ok_or_else(|| io::Error::other("there is no worker"))?;
        self.group.signal(victim, signal)?;
        self.only_new(master, WORKERS.into(), &[victim])
    }

    /// Sends `signal`, upon which all workers that were there are replaced.
    pub(super) fn replace_all(&self, master: i32, signal: Signal) -> io::Result<()> {
        let old = self.workers(master);
        self.group.signal(master, signal)?;
        self.only_new(master, WORKERS.into(), &old)
    }

    /// Two workers more by one TTIN each, and two less by TTOU.
    pub(super) fn scale_by_signals(&self, master: i32) -> io::Result<()> {
        for signal in [Signal::SIGTTIN, Signal::SIGTTIN, Signal::SIGTTOU, Signal::SIGTTOU] {
            let before = self.all_workers(master);
            let change = if signal == Signal::SIGTTIN { before.len() + 1 } else { before.len() - 1 };
            self.group.signal(master, signal)?;
            self.until("one worker more or less", || {
                // The one that goes may take long, and is counted until it is gone.
                (self.workers(master).len() == change && self.all_workers(master).len() == change).then_some(())
            })?;
            look();
        }
        Ok(())
    }

    /// Waits until each worker that is there now has ended by itself.
    pub(super) fn ended_by_themselves(&self, master: i32) -> io::Result<()> {
        let old = self.all_workers(master);
        self.only_new(master, WORKERS.into(), &old)
    }

    /// A pid that the server has written into a file of its folder.
    pub(super) fn pid_file(&self, name: &str) -> io::Result<i32> {
        let path = self.files.path().join(name);
        self.until(&format!("{name} has a pid"), || fs::read_to_string(&path).ok()?.trim().parse().ok())
    }

    /// Waits until `probe` has an answer.
    pub(super) fn until<T>(&self, what: &str, mut probe: impl FnMut() -> Option<T>) -> io::Result<T> {
        let deadline = Instant::now() + LONGEST;
        loop {
            if let Some(answer) = probe() {
                return Ok(answer);
            }
            if Instant::now() > deadline {
                let log = self.group.last_lines();
                return Err(io::Error::other(format!("waited {} s in vain: {what}; {log}", LONGEST.as_secs())));
            }
            thread::sleep(INTERVAL);
        }
    }

    fn all_workers(&self, master: i32) -> Vec<i32> {
        procfs::children(master)
    }
}

/// An operator looks whether all is well before going on.
pub(super) fn look() {
    thread::sleep(Duration::from_millis(500));
}

/// The operation that is none.
#[expect(clippy::unnecessary_wraps, reason = "it stands beside operations that may fail")]
pub(super) fn wait() -> io::Result<()> {
    thread::sleep(Duration::from_secs(1));
    Ok(())
}

/// Free a moment ago: not every server can be asked which port it got.
fn free_port() -> io::Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
