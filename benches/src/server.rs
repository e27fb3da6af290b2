//! A server under measurement, as a process of its own.

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use hatchery_core::QueueId;
use hatchery_core::wire::worker::MasterSays;
use hatchery_sys::channel::Channel;
use hatchery_sys::process::kill;
use hatchery_sys::{Pid, Signal};

/// The argument that makes a benchmark program a server.
const SERVE: &str = "--serve";

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// hyper and an accept loop.
    Floor,
    /// A worker of hatchery, with all its protections.
    Hatchery,
    /// The same, which measures how long requests take, as with `--admin`.
    Measuring,
    /// The same, with an access log in the combined format, a write for each line.
    Logging,
    /// nginx, one process.
    Nginx,
}

impl Which {
    /// Those that are compared; nginx only if it is installed.
    #[must_use]
    pub fn installed() -> Vec<Self> {
        let mut all = vec![Self::Floor, Self::Hatchery];
        if Path::new(NGINX).exists() {
            all.push(Self::Nginx);
        }
        all
    }

    /// Those, and hatchery with what is off by default.
    #[must_use]
    pub fn with_extras() -> Vec<Self> {
        [Self::installed(), vec![Self::Measuring, Self::Logging]].concat()
    }

    /// Its name in a table.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Hatchery => "hatchery",
            Self::Measuring => "measuring",
            Self::Logging => "logging",
            Self::Nginx => "nginx",
        }
    }
}

/// Becomes a server if this process was started as one; to be called first in `main`.
///
/// # Panics
///
/// If it was started as a server that there is not.
pub fn serve_if_asked() {
    let mut args = std::env::args().skip(1);
    if args.next().as_deref() == Some(SERVE) {
        match args.next().as_deref() {
            Some("floor") => crate::floor::serve(),
            Some("hatchery") => crate::worker::serve(false),
            Some("measuring") => crate::worker::serve(true),
            Some("logging") => crate::worker::serve_logging(),
            other => panic!("cannot serve {other:?}"),
        }
    }
}

/// A server that runs; killed when dropped, if it was not stopped.
#[derive(Debug)]
pub struct Server {
    which: Which,
    child: Child,
    channel: Option<Channel>,
    port: u16,
    _files: Option<tempfile::TempDir>,
}

impl Server {
    /// Starts a server below `tool`, a command and its arguments, or by itself if that is empty.
    ///
    /// # Errors
    ///
    /// When a program is missing or does not come up.
    pub fn start(which: Which, tool: &[String]) -> io::Result<Self> {
        match which {
            Which::Floor | Which::Hatchery | Which::Measuring | Which::Logging => Self::start_own(which, tool),
            Which::Nginx => Self::start_nginx(tool),
        }
    }

    /// The port that it serves.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process that was started: the server, if no tool was given.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends the server and waits for it and its tool.
    ///
    /// # Errors
    ///
    /// Those of `kill` and `wait`.
    pub fn stop(mut self) -> io::Result<()> {
        self.end()?;
        self.child.wait().map(|_status| ())
    }

    fn end(&mut self) -> io::Result<()> {
        match self.channel.take() {
            // A worker whose channel ends drains and exits.
            Some(channel) => drop(channel),
            None => {
                let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap_or(i32::MAX));
                kill(child_of(pid).unwrap_or(pid), Signal::SIGTERM)?;
            }
        }
        Ok(())
    }

    fn start_own(which: Which, tool: &[String]) -> io::Result<Self> {
        let (channel, theirs) = Channel::pair()?;
        let mut child = below(tool, std::env::current_exe()?.as_os_str())
            .args([SERVE, which.name()])
            .stdin(Stdio::from(theirs.into_fd()))
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        let port = line.trim().parse().map_err(|_| io::Error::other("the server did not start"))?;
        let channel = match which {
            Which::Floor | Which::Nginx => None,
            Which::Hatchery | Which::Measuring | Which::Logging => {
                let ready = hatchery_sys::poll::readable(&[channel.as_fd()], Some(Duration::from_secs(60)))?;
                if !ready[0] {
                    return Err(io::Error::other("the worker did not become ready"));
                }
                channel.send(
                    &MasterSays::Assign { queues: vec![QueueId { listener: 0, index: 0 }], relay: false }.encode(),
                    &[],
                )?;
                Some(channel)
            }
        };
        Ok(Self { which, child, channel, port, _files: None })
    }

    fn start_nginx(tool: &[String]) -> io::Result<Self> {
        let files = tempfile::tempdir()?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let config = files.path().join("nginx.conf");
        fs::write(
            &config,
            NGINX_CONFIG.replace("{port}", &port.to_string()).replace("{dir}", &files.path().to_string_lossy()),
        )?;
        let child = below(tool, NGINX.as_ref()).arg("-c").arg(&config).stdin(Stdio::null()).spawn()?;
        Ok(Self { which: Which::Nginx, child, channel: None, port, _files: Some(files) })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _already_gone = self.end();
            if self.which == Which::Floor {
                let _already_gone = self.child.kill();
            }
            let _ = self.child.wait();
        }
    }
}

const NGINX: &str = "/usr/sbin/nginx";

/// One process, the same answer as the others, no log.
const NGINX_CONFIG: &str = "
daemon off;
master_process off;
pid {dir}/pid;
error_log stderr crit;
events { worker_connections 20000; }
http {
    access_log off;
    keepalive_requests 1000000;
    default_type text/plain;
    client_body_temp_path {dir}/body;
    proxy_temp_path {dir}/proxy;
    fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi;
    scgi_temp_path {dir}/scgi;
    server { listen 127.0.0.1:{port} backlog=4096; location / { return 200 'Hello, World!'; } }
}
";

fn below(tool: &[String], program: &std::ffi::OsStr) -> Command {
    match tool {
        [] => Command::new(program),
        [first, rest @ ..] => {
            let mut command = Command::new(first);
            command.args(rest).arg(program);
            command
        }
    }
}

/// The server below strace, which is its parent; valgrind is the server's own process.
fn child_of(pid: Pid) -> Option<Pid> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok().map(Pid::from_raw)
}
