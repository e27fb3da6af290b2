//! haproxy in master-worker mode, as its unit file starts it.

use std::process::Command;
use std::{fs, io};

use nix::sys::signal::Signal;

use super::run::{Run, wait};
use crate::operations::subject::{Operation, Subject, WORKERS, has_none};

/// Where Debian puts it.
pub(in crate::operations) const PROGRAM: &str = "/usr/sbin/haproxy";

pub(in crate::operations) const fn manual(operation: Operation) -> Option<&'static str> {
    match operation {
        Operation::Nothing => Some("wait a second"),
        Operation::Reload => Some("USR2, which starts the program anew"),
        // The same signal; threads, and no worker that may end alone.
        Operation::Upgrade | Operation::Scale | Operation::Recycle | Operation::MaxRequests => None,
    }
}

#[derive(Debug)]
pub(in crate::operations) struct Haproxy(Run);

impl Haproxy {
    pub(in crate::operations) fn start() -> io::Result<Self> {
        let run = Run::start(
            |_| true,
            |folder, port| {
                let config = CONFIG
                    .replace("{threads}", &WORKERS.to_string())
                    .replace("{port}", &port.to_string())
                    .replace("{folder}", &folder.to_string_lossy());
                let path = folder.join("haproxy.cfg");
                fs::write(&path, config)?;
                let mut command = Command::new(PROGRAM);
                command.arg("-W").arg("-f").arg(path);
                Ok(command)
            },
        )?;
        Ok(Self(run))
    }
}

impl Subject for Haproxy {
    fn port(&self) -> u16 {
        self.0.port
    }

    fn perform(&mut self, operation: Operation) -> io::Result<()> {
        match operation {
            Operation::Nothing => wait(),
            Operation::Reload => {
                let master = self.0.group.leader();
                let old = self.0.workers(master);
                self.0.group.signal(master, Signal::SIGUSR2)?;
                self.0.only_new(master, 1, &old)
            }
            Operation::Upgrade | Operation::Scale | Operation::Recycle | Operation::MaxRequests => {
                Err(has_none(operation))
            }
        }
    }
}

/// The new process gets the listeners of the old one, by its own channel and by `expose-fd listeners`.
const CONFIG: &str = "
global
    maxconn 4000
    nbthread {threads}
    stats socket {folder}/stats mode 600 expose-fd listeners level admin
defaults
    mode http
    timeout connect 5s
    timeout client 75s
    timeout server 75s
    timeout http-request 75s
    timeout http-keep-alive 75s
frontend hello
    bind 127.0.0.1:{port} backlog 4096
    http-request return status 200 content-type text/plain string \"Hello, World!\"
";
