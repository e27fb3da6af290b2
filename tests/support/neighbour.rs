//! What stands in front of servers: nginx and haproxy, started from the files in
//! `examples/deploy`.

use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::client::Client;
use crate::procfs::{self, Process};
use crate::wait;

/// A proxy in a process group of its own, which is killed when this is dropped.
#[derive(Debug)]
pub struct Neighbour {
    child: Child,
    folder: TempDir,
}

/// A file of `examples/deploy`.
///
/// # Panics
/// When it is not there.
#[must_use]
pub fn deployed(name: &str) -> String {
    let path = deployed_path(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Where a file of `examples/deploy` is.
#[must_use]
pub fn deployed_path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/deploy").join(name)
}

/// The text with these words in the place of others.
///
/// # Panics
/// When a word that is to be replaced is not there: then the file is not what the test means.
#[must_use]
pub fn with(text: &str, words: &[(&str, &str)]) -> String {
    let mut text = text.to_owned();
    for (old, new) in words {
        assert!(text.contains(old), "`{old}` is not in:\n{text}");
        text = text.replace(old, new);
    }
    text
}

/// An address for somebody who cannot be told to take any: nobody has it, and the kernel gives it to nobody who asks for
/// any.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn free_address() -> String {
    let first = u16::try_from(std::process::id() % 10_000).expect("a small number");
    let ports = (0..10_000).map(|port| 20_000 + (first + port) % 10_000);
    let free = ports.map(|port| format!("127.0.0.1:{port}")).find(|address| TcpListener::bind(address).is_ok());
    free.expect("a port")
}

impl Neighbour {
    /// nginx with two processes and this inside of its `http` block. It answers on `listens`.
    ///
    /// # Panics
    /// When it is not installed, or does not come up.
    #[must_use]
    pub fn nginx(launcher: &[&str], http: &str, listens: Option<&str>) -> Self {
        let folder = TempDir::with_prefix("nginx-").expect("a temporary folder");
        let place = folder.path().display();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .iter()
            .map(|kind| format!("    {kind}_temp_path {place}/{kind};\n"))
            .collect();
        // As root, so that its processes may enter temporary folders.
        let text = format!(
            "daemon off;\nuser root;\nworker_processes 2;\npid {place}/pid;\nerror_log {place}/log notice;\n\
             events {{ worker_connections 1024; }}\nhttp {{\n{temporary}    access_log off;\n{http}\n}}\n"
        );
        fs::write(folder.path().join("nginx.conf"), text).expect("a configuration");
        let mut command = command(launcher, "nginx");
        command.arg("-p").arg(folder.path()).args(["-e", "log", "-c"]).arg(folder.path().join("nginx.conf"));
        Self::start(command, folder, listens)
    }

    /// haproxy with this configuration. It answers on `listens`.
    ///
    /// # Panics
    /// When it is not installed, or does not come up.
    #[must_use]
    pub fn haproxy(launcher: &[&str], text: &str, listens: Option<&str>) -> Self {
        let folder = TempDir::with_prefix("haproxy-").expect("a temporary folder");
        fs::write(folder.path().join("haproxy.cfg"), text).expect("a configuration");
        let mut command = command(launcher, "haproxy");
        command.arg("-db").arg("-f").arg(folder.path().join("haproxy.cfg"));
        Self::start(command, folder, listens)
    }

    fn start(mut command: Command, folder: TempDir, listens: Option<&str>) -> Self {
        let said = File::create(folder.path().join("said")).expect("a log");
        command.stdin(Stdio::null()).stdout(said.try_clone().expect("a descriptor")).stderr(said).process_group(0);
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let neighbour = Self { child, folder };
        if let Some(address) = listens {
            wait::until("it listens", || {
                neighbour.assert_runs();
                Client::connect(address).ok()
            });
        }
        neighbour
    }

    /// Asserts that it has not ended.
    ///
    /// # Panics
    /// When it has; what it said is printed.
    pub fn assert_runs(&self) {
        let runs = Process::read(self.pid()).is_some_and(|process| !process.is_zombie());
        assert!(runs, "it has ended:\n{}", self.log());
    }

    /// Its first process.
    ///
    /// # Panics
    /// When its number is out of range, which it never is.
    #[must_use]
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("a pid")
    }

    /// The sockets that its processes have open, but for the first process, which only watches over them.
    #[must_use]
    pub fn sockets(&self) -> Vec<String> {
        let all = procfs::children(self.pid()).into_iter().flat_map(|pid| procfs::descriptors(pid).into_values());
        let mut sockets: Vec<String> = all.filter(|target| target.starts_with("socket:")).collect();
        sockets.sort();
        sockets
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let _ = signal::kill(Pid::from_raw(self.pid()), signal);
    }

    /// What it has said so far.
    #[must_use]
    pub fn log(&self) -> String {
        ["said", "log"].map(|name| fs::read_to_string(self.folder.path().join(name)).unwrap_or_default()).concat()
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("---- neighbour\n{}----", self.log());
        }
        let _ = signal::killpg(Pid::from_raw(self.pid()), Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

fn command(launcher: &[&str], program: &str) -> Command {
    match launcher {
        [] => Command::new(program),
        [launcher, rest @ ..] => {
            let mut command = Command::new(launcher);
            command.args(rest).arg(program);
            command
        }
    }
}
