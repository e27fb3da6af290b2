//! hatchery's `lab`, as a user would start it.

use std::io;
use std::process::Command;

use nix::sys::signal::Signal;

use super::run::{Run, wait};
use crate::compare::peers::example;
use crate::operations::subject::{Listen, Operation, Subject, WORKERS};

/// Requests after which a worker ends.
const MAX_REQUESTS: &str = "5000";

pub(in crate::operations) const fn manual(operation: Operation) -> &'static str {
    match operation {
        Operation::Nothing => "wait a second",
        Operation::Reload => "HUP",
        Operation::Upgrade => "USR2",
        Operation::Scale => "TTIN, TTIN, TTOU, TTOU",
        Operation::Recycle => "TERM to a worker",
        Operation::MaxRequests => "--max-requests",
    }
}

#[derive(Debug)]
pub(in crate::operations) struct Lab {
    run: Run,
    master: i32,
}

impl Lab {
    pub(in crate::operations) fn start(listen: Listen, operation: Operation) -> io::Result<Self> {
        let run = Run::start(
            |title| title.ends_with(" ready"),
            |_, port| {
                let mut command = Command::new(example("lab")?);
                command.args(["--bind", &format!("127.0.0.1:{port}"), "--workers", &WORKERS.to_string()]);
                command.args(["--listen-mode", if listen == Listen::Shared { "shared" } else { "reuseport" }]);
                if operation == Operation::MaxRequests {
                    command.args(["--max-requests", MAX_REQUESTS]);
                }
                Ok(command)
            },
        )?;
        let master = run.group.leader();
        run.only_new(master, WORKERS.into(), &[])?;
        Ok(Self { run, master })
    }

    /// The successor is told of by the log; the predecessor goes by itself.
    fn upgrade(&mut self) -> io::Result<()> {
        let from = self.run.group.logged();
        self.run.group.signal(self.master, Signal::SIGUSR2)?;
        let line = self.run.group.wait_for("upgrade is done", from)?.text;
        let pid = line.split_once("(pid ").and_then(|(_, rest)| rest.split_once(')'));
        let old = self.master;
        self.master = pid.and_then(|(pid, _)| pid.parse().ok()).ok_or_else(|| io::Error::other(line))?;
        self.run.gone(old)
    }
}

impl Subject for Lab {
    fn port(&self) -> u16 {
        self.run.port
    }

    fn perform(&mut self, operation: Operation) -> io::Result<()> {
        match operation {
            Operation::Nothing => wait(),
            Operation::Reload => self.run.replace_all(self.master, Signal::SIGHUP),
            Operation::Upgrade => self.upgrade(),
            Operation::Scale => self.run.scale_by_signals(self.master),
            Operation::Recycle => self.run.replace_one(self.master, Signal::SIGTERM),
            Operation::MaxRequests => self.run.ended_by_themselves(self.master),
        }
    }
}
