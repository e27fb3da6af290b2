//! Resources that a running process is denied for a while.

use std::os::unix::fs::chown;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::unistd::geteuid;

use crate::procfs::Process;
use crate::program;

/// How many more descriptors, or processes, a process may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// Descriptors of the process.
    Files,
    /// Processes of its user; whoever is root is not held to it.
    Processes,
}

/// Sets the soft limit of another process, and leaves the hard one. One that has gone needs none.
///
/// # Panics
/// When that is refused.
pub fn set(pid: i32, resource: Resource, limit: u64) {
    set_through(&[], pid, resource, limit);
}

/// The same, for a process that was started through this command.
///
/// # Panics
/// When that is refused.
pub fn set_through(launcher: &[String], pid: i32, resource: Resource, limit: u64) {
    let option = match resource {
        Resource::Files => "nofile",
        Resource::Processes => "nproc",
    };
    let (pid_option, limit_option) = (format!("--pid={pid}"), format!("--{option}={limit}:"));
    let prlimit = ["prlimit", &pid_option, &limit_option].map(str::to_owned);
    let words: Vec<&String> = launcher.iter().chain(&prlimit).collect();
    let status = Command::new(words[0]).args(&words[1..]).status().expect("prlimit, of util-linux");
    let has_gone = Process::read(pid).is_none_or(|process| process.is_zombie());
    assert!(status.success() || has_gone, "{option} of process {pid} is not to be set to {limit}");
}

/// The command through which a program runs as a user that nobody else is, and
/// who owns `folder`; empty for who is not root anyway, `None` if such a user
/// cannot reach the programs that tests start.
///
/// # Panics
/// When the folder cannot be given away.
#[must_use]
pub fn as_nobody_else(folder: &Path) -> Option<Vec<String>> {
    if !geteuid().is_root() {
        return Some(Vec::new());
    }
    let user = 1_000_000 + std::process::id();
    chown(folder, Some(user), Some(user)).expect("the folder's new owner");
    let launcher = ["setpriv", &format!("--reuid={user}"), &format!("--regid={user}"), "--clear-groups"];
    let launcher: Vec<String> = launcher.iter().map(ToString::to_string).collect();
    let reaches = Command::new(&launcher[0])
        .args(&launcher[1..])
        .args(["test", "-x"])
        .arg(program::example("lab"))
        .stderr(Stdio::null())
        .status();
    reaches.is_ok_and(|status| status.success()).then_some(launcher)
}
