//! puma in cluster mode: <https://github.com/puma/puma/blob/v5.6.5/docs/signals.md>.

use std::process::Command;
use std::{fs, io};

use nix::sys::signal::Signal;

use super::run::{Run, wait};
use crate::operations::subject::{Operation, Subject, WORKERS, has_none};

/// Where Debian puts it.
pub(in crate::operations) const PROGRAM: &str = "/usr/bin/puma";

pub(in crate::operations) const fn manual(operation: Operation) -> Option<&'static str> {
    match operation {
        Operation::Nothing => Some("wait a second"),
        Operation::Reload => Some("USR1, a phased restart"),
        Operation::Upgrade => Some("USR2, a hot restart"),
        Operation::Scale => Some("TTIN, TTIN, TTOU, TTOU"),
        Operation::Recycle => Some("TERM to a worker"),
        Operation::MaxRequests => None,
    }
}

#[derive(Debug)]
pub(in crate::operations) struct Puma(Run);

impl Puma {
    pub(in crate::operations) fn start() -> io::Result<Self> {
        let run = Run::start(is_worker, |folder, port| {
            let config = CONFIG.replace("{workers}", &WORKERS.to_string()).replace("{port}", &port.to_string());
            let path = folder.join("puma.rb");
            fs::write(&path, config)?;
            let mut command = Command::new(PROGRAM);
            command.arg("--config").arg(path);
            Ok(command)
        })?;
        run.only_new(run.group.leader(), WORKERS.into(), &[])?;
        Ok(Self(run))
    }

    /// Replaces workers, and waits until each of the new ones says that it has booted.
    fn replace(&self, signal: Signal) -> io::Result<()> {
        let from = self.0.group.logged();
        let master = self.0.group.leader();
        self.0.replace_all(master, signal)?;
        for pid in self.0.workers(master) {
            self.0.group.wait_for(&format!("(PID: {pid}) booted"), from)?;
        }
        Ok(())
    }
}

impl Subject for Puma {
    fn port(&self) -> u16 {
        self.0.port
    }

    fn perform(&mut self, operation: Operation) -> io::Result<()> {
        let master = self.0.group.leader();
        match operation {
            Operation::Nothing => wait(),
            Operation::Reload => self.replace(Signal::SIGUSR1),
            Operation::Upgrade => self.replace(Signal::SIGUSR2),
            Operation::Scale => self.0.scale_by_signals(master),
            Operation::Recycle => self.0.replace_one(master, Signal::SIGTERM),
            Operation::MaxRequests => Err(has_none(operation)),
        }
    }
}

fn is_worker(title: &str) -> bool {
    title.starts_with("puma: cluster worker")
}

const CONFIG: &str = "
bind 'tcp://127.0.0.1:{port}'
workers {workers}
threads 4, 16
persistent_timeout 75
preload_app! false
environment 'production'
app { |env| [200, { 'Content-Type' => 'text/plain', 'Content-Length' => '13' }, ['Hello, World!']] }
";
