//! A server in a PID namespace of its own, as in a container.

use std::process::{Command, Stdio};

/// What makes a program pid 1 of a namespace, by becoming its parent, which ends
/// with the same code. `None`, which is said, where nobody may make one.
#[must_use]
pub fn launcher() -> Option<Vec<&'static str>> {
    const ROOT: [&str; 4] = ["unshare", "--pid", "--fork", "--mount-proc"];
    const OTHER: [&str; 6] = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc"];
    let works = |command: &[&str]| {
        let tried = Command::new(command[0]).args(&command[1..]).arg("true").stdin(Stdio::null()).output();
        tried.is_ok_and(|tried| tried.status.success())
    };
    let found = [&ROOT[..], &OTHER[..]].into_iter().find(|command| works(command));
    if found.is_none() {
        eprintln!("SKIPPED: no PID namespace can be made here");
    }
    found.map(<[&str]>::to_vec)
}
