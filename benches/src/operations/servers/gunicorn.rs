//! gunicorn: <https://docs.gunicorn.org/en/stable/signals.html>. A daemon, since it ignores WINCH otherwise.

use std::process::Command;
use std::{fs, io};

use nix::sys::signal::Signal;

use super::run::{Run, look, wait};
use crate::operations::subject::{Listen, Operation, Subject, WORKERS};

/// Where Debian puts it.
pub(in crate::operations) const PROGRAM: &str = "/usr/bin/gunicorn";

/// Requests after which a worker ends.
const MAX_REQUESTS: &str = "5000";

pub(in crate::operations) const fn manual(operation: Operation) -> &'static str {
    match operation {
        Operation::Nothing => "wait a second",
        Operation::Reload => "HUP",
        Operation::Upgrade => "USR2, then WINCH and TERM to the old master",
        Operation::Scale => "TTIN, TTIN, TTOU, TTOU",
        Operation::Recycle => "TERM to a worker",
        Operation::MaxRequests => "--max-requests",
    }
}

#[derive(Debug)]
pub(in crate::operations) struct Gunicorn {
    run: Run,
    master: i32,
}

impl Gunicorn {
    pub(in crate::operations) fn start(listen: Listen, operation: Operation) -> io::Result<Self> {
        let run = Run::start_daemon(
            |_| true,
            |folder, port| {
                fs::write(folder.join("app.py"), APP)?;
                let mut command = Command::new(PROGRAM);
                let (bind, workers) = (format!("127.0.0.1:{port}"), WORKERS.to_string());
                command.args(["app:app", "--bind", &bind, "--workers", &workers, "--pid", "pid", "--daemon"]);
                command.args(["--worker-class", "gthread", "--threads", "16", "--keep-alive", "75"]);
                if listen == Listen::Reuseport {
                    command.arg("--reuse-port");
                }
                if operation == Operation::MaxRequests {
                    command.args(["--max-requests", MAX_REQUESTS, "--max-requests-jitter", "500"]);
                }
                Ok(command)
            },
        )?;
        let master = run.pid_file("pid")?;
        run.only_new(master, WORKERS.into(), &[])?;
        Ok(Self { run, master })
    }

    fn upgrade(&mut self) -> io::Result<()> {
        let old = self.master;
        let workers = self.run.workers(old);
        self.run.group.signal(old, Signal::SIGUSR2)?;
        let new = self.run.pid_file("pid.2")?;
        self.run.only_new(new, WORKERS.into(), &[])?;
        look();
        self.run.group.signal(old, Signal::SIGWINCH)?;
        self.run.only_new(new, WORKERS.into(), &workers)?;
        self.run.group.signal(old, Signal::SIGTERM)?;
        self.run.gone(old)?;
        let run = &self.run;
        run.until("the new master has the pid file", || (run.pid_file("pid").ok()? == new).then_some(()))?;
        self.master = new;
        Ok(())
    }
}

impl Subject for Gunicorn {
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

const APP: &str = "
def app(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain'), ('Content-Length', '13')])
    return [b'Hello, World!']
";
