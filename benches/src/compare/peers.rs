//! Which servers are compared, and how each is started.

use std::fs;
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::group::{Group, PATIENCE, until};
use super::{procfs, serve};
use crate::client::Client;

/// Where Debian's `nginx-light` puts it.
pub const NGINX: &str = "/usr/sbin/nginx";

/// A server to compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// hatchery's `lab` example, as a user would start it.
    Lab,
    /// hyper and an accept loop in forked workers.
    Floor,
    /// nginx, `return 200`.
    Nginx,
    /// `axum::serve` on tokio's multi-thread runtime.
    Axum,
}

/// A server that runs and answers.
#[derive(Debug)]
pub struct Running {
    /// Its processes.
    pub group: Group,
    /// Where it speaks HTTP/1.1; the lab HTTP/2 too.
    pub port: u16,
    /// Where it speaks HTTP/2 with prior knowledge.
    pub http2: u16,
    _files: Option<tempfile::TempDir>,
}

impl Peer {
    /// Its name in a table.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lab => "lab",
            Self::Floor => "floor",
            Self::Nginx => "nginx",
            Self::Axum => "axum",
        }
    }

    /// Whether it is there.
    #[must_use]
    pub fn is_installed(self) -> bool {
        match self {
            Self::Nginx => Path::new(NGINX).exists(),
            Self::Lab | Self::Floor | Self::Axum => true,
        }
    }

    /// Starts it with so many workers, or threads, and waits until it answers.
    ///
    /// # Errors
    ///
    /// When it does not start or does not answer.
    pub fn start(self, workers: u16) -> io::Result<Running> {
        let running = match self {
            Self::Lab => lab(workers, &[])?,
            Self::Floor | Self::Axum => {
                let group = Group::start(&mut serve::command(self.name(), workers)?)?;
                let line = group.wait_for("", 0)?;
                let port = line.text.trim().parse().map_err(|_| io::Error::other(line.text))?;
                Running { group, port, http2: port, _files: None }
            }
            Self::Nginx => nginx(workers, 1024)?,
        };
        Client::connect(running.port)?.ask_within(PATIENCE)?;
        Ok(running)
    }
}

impl Running {
    /// The pids of the workers: the children of `master` whose title says that they serve.
    #[must_use]
    pub fn workers(&self, master: i32) -> Vec<i32> {
        let serves = |title: String| title.ends_with(" ready") || title.starts_with("nginx: worker process");
        procfs::children(master).into_iter().filter(|pid| serves(procfs::title(*pid))).collect()
    }

    /// Waits until `master` has exactly so many workers that serve.
    ///
    /// # Errors
    ///
    /// When that does not happen.
    pub fn wait_for_workers(&self, master: i32, count: u16) -> io::Result<Vec<i32>> {
        until(&format!("{count} workers serve"), || {
            let workers = self.workers(master);
            (workers.len() == usize::from(count)).then_some(workers)
        })
    }
}

/// Builds the examples that are started, if cargo is there; once, so that all is measured of one build.
///
/// # Errors
///
/// When they do not build.
pub fn build_examples() -> io::Result<()> {
    let Some(cargo) = std::env::var_os("CARGO") else { return Ok(()) };
    let mut build = Command::new(cargo);
    build.args(["build", "--quiet", "--release", "-p", "hatchery-examples", "--example", "lab", "--example", "hello"]);
    if let Some(target) = release()?.parent() {
        build.arg("--target-dir").arg(target);
    }
    if build.status()?.success() { Ok(()) } else { Err(io::Error::other("the examples do not build")) }
}

/// The path of an example in the release profile.
///
/// # Errors
///
/// When it has not been built.
pub fn example(name: &str) -> io::Result<PathBuf> {
    let path = release()?.join("examples").join(name);
    if path.exists() { Ok(path) } else { Err(io::Error::other(format!("{} is missing", path.display()))) }
}

/// The folder that this program was built into.
fn release() -> io::Result<PathBuf> {
    let own = std::env::current_exe()?;
    own.parent().map(Path::to_owned).ok_or_else(|| io::Error::other("this program is nowhere"))
}

/// The lab, with these arguments as well.
///
/// # Errors
///
/// When it does not start.
pub fn lab(workers: u16, arguments: &[&str]) -> io::Result<Running> {
    let mut command = Command::new(example("lab")?);
    command.args(["--bind", "127.0.0.1:0", "--workers", &workers.to_string()]).args(arguments);
    let group = Group::start(&mut command)?;
    let line = group.wait_for("listening on", 0)?;
    let port = line.text.split_once("listening on ").and_then(|(_, rest)| rest.split_whitespace().next());
    let port = port.and_then(|address| address.rsplit_once(':')?.1.parse().ok());
    let port = port.ok_or_else(|| io::Error::other(line.text))?;
    let running = Running { group, port, http2: port, _files: None };
    running.wait_for_workers(running.group.leader(), workers)?;
    Ok(running)
}

/// nginx, with room for so many connections in each worker.
///
/// # Errors
///
/// When it does not start.
pub fn nginx(workers: u16, connections: u32) -> io::Result<Running> {
    let files = tempfile::tempdir()?;
    let (port, http2) = (free_port()?, free_port()?);
    let path = files.path().join("nginx.conf");
    let config = NGINX_CONFIG
        .replace("{workers}", &workers.to_string())
        .replace("{connections}", &connections.to_string())
        .replace("{port}", &port.to_string())
        .replace("{http2}", &http2.to_string())
        .replace("{dir}", &files.path().to_string_lossy());
    fs::write(&path, config)?;
    let group = Group::start(Command::new(NGINX).arg("-c").arg(&path))?;
    let running = Running { group, port, http2, _files: Some(files) };
    running.wait_for_workers(running.group.leader(), workers)?;
    Ok(running)
}

/// Free a moment ago: nginx cannot be asked which port it got.
fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// The same answer as the others, no log, one listener that all workers share.
const NGINX_CONFIG: &str = "
daemon off;
worker_processes {workers};
pid {dir}/pid;
error_log stderr crit;
events { worker_connections {connections}; }
http {
    access_log off;
    keepalive_requests 1000000000;
    default_type text/plain;
    client_body_temp_path {dir}/body;
    proxy_temp_path {dir}/proxy;
    fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi;
    scgi_temp_path {dir}/scgi;
    server {
        listen 127.0.0.1:{port} backlog=4096;
        listen 127.0.0.1:{http2} backlog=4096 http2;
        location / { return 200 'Hello, World!'; }
    }
}
";
