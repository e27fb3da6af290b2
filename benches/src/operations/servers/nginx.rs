//! nginx: <https://nginx.org/en/docs/control.html>. A daemon, since it ignores WINCH otherwise.

use std::path::Path;
use std::process::Command;
use std::{fs, io};

use nix::sys::signal::Signal;

use super::run::{Run, look, wait};
use crate::operations::subject::{Listen, Operation, Subject, WORKERS, has_none};

/// Where Debian puts it.
pub(in crate::operations) const PROGRAM: &str = "/usr/sbin/nginx";

pub(in crate::operations) const fn manual(operation: Operation) -> Option<&'static str> {
    match operation {
        Operation::Nothing => Some("wait a second"),
        Operation::Reload => Some("HUP"),
        Operation::Upgrade => Some("USR2, then WINCH and QUIT to the old master"),
        Operation::Scale => Some("`worker_processes` 4 and HUP, 2 and HUP"),
        Operation::Recycle => Some("QUIT to a worker"),
        Operation::MaxRequests => None,
    }
}

#[derive(Debug)]
pub(in crate::operations) struct Nginx {
    run: Run,
    master: i32,
    listen: Listen,
}

impl Nginx {
    pub(in crate::operations) fn start(listen: Listen) -> io::Result<Self> {
        let run = Run::start_daemon(is_worker, |folder, port| {
            configure(folder, port, listen, WORKERS)?;
            let mut command = Command::new(PROGRAM);
            command.arg("-p").arg(folder).arg("-c").arg(folder.join("nginx.conf"));
            Ok(command)
        })?;
        let master = run.pid_file("pid")?;
        run.only_new(master, WORKERS.into(), &[])?;
        Ok(Self { run, master, listen })
    }

    fn upgrade(&mut self) -> io::Result<()> {
        let old = self.master;
        let workers = self.run.workers(old);
        self.run.group.signal(old, Signal::SIGUSR2)?;
        let (run, mut pid) = (&self.run, old);
        run.until("the new binary has its workers", || {
            pid = fs::read_to_string(run.files.path().join("pid")).ok()?.trim().parse().ok()?;
            (pid != old && run.workers(pid).len() == usize::from(WORKERS)).then_some(())
        })?;
        look();
        run.group.signal(old, Signal::SIGWINCH)?;
        run.only_new(pid, WORKERS.into(), &workers)?;
        run.group.signal(old, Signal::SIGQUIT)?;
        run.gone(old)?;
        self.master = pid;
        Ok(())
    }

    fn scale(&mut self) -> io::Result<()> {
        for workers in [2 * WORKERS, WORKERS] {
            let old = self.run.workers(self.master);
            configure(self.run.files.path(), self.run.port, self.listen, workers)?;
            self.run.group.signal(self.master, Signal::SIGHUP)?;
            self.run.only_new(self.master, workers.into(), &old)?;
            look();
        }
        Ok(())
    }
}

impl Subject for Nginx {
    fn port(&self) -> u16 {
        self.run.port
    }

    fn perform(&mut self, operation: Operation) -> io::Result<()> {
        match operation {
            Operation::Nothing => wait(),
            Operation::Reload => self.run.replace_all(self.master, Signal::SIGHUP),
            Operation::Upgrade => self.upgrade(),
            Operation::Scale => self.scale(),
            Operation::Recycle => self.run.replace_one(self.master, Signal::SIGQUIT),
            Operation::MaxRequests => Err(has_none(operation)),
        }
    }
}

/// One that shuts down has another title.
fn is_worker(title: &str) -> bool {
    title == "nginx: worker process"
}

fn configure(folder: &Path, port: u16, listen: Listen, workers: u16) -> io::Result<()> {
    let reuseport = if listen == Listen::Shared { "" } else { " reuseport" };
    let config = CONFIG
        .replace("{workers}", &workers.to_string())
        .replace("{port}", &port.to_string())
        .replace("{reuseport}", reuseport)
        .replace("{folder}", &folder.to_string_lossy());
    fs::write(folder.join("nginx.conf"), config)
}

/// As Debian has it, without logs; connections are not closed for the number of their requests.
const CONFIG: &str = "
worker_processes {workers};
pid {folder}/pid;
error_log stderr crit;
events { worker_connections 1024; }
http {
    access_log off;
    keepalive_timeout 75s;
    keepalive_requests 1000000000;
    default_type text/plain;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {
        listen 127.0.0.1:{port} backlog=4096{reuseport};
        location / { return 200 'Hello, World!'; }
    }
}
";
