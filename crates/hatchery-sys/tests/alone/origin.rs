//! How a program was started, seen by the program.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Case;

pub(crate) const CASES: &[Case] = &[
    ("origin::a_relative_path_becomes_absolute_and_links_stay", relative),
    ("origin::a_bare_name_is_looked_up", bare),
    ("origin::a_name_that_lies_is_not_believed", lies),
    ("origin::the_shells_name_of_the_directory_is_kept", shells_name),
];

fn this() -> PathBuf {
    std::env::current_exe().expect("a path")
}

/// (program, directory) as the role says them.
fn origin(role: &mut Command) -> (PathBuf, PathBuf) {
    let output = role.args(["--role", "say-origin"]).output().expect("it starts");
    let text = String::from_utf8(output.stdout).expect("text");
    let (program, dir) = text.split_once('\n').unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    (program.into(), dir.into())
}

/// A directory with `current/app`, a link to this program, where `current` is a link to `release`.
fn deployed() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a directory");
    let base = dir.path().canonicalize().expect("it exists");
    fs::create_dir(base.join("release")).expect("a directory");
    symlink("release", base.join("current")).expect("a link");
    symlink(this(), base.join("release/app")).expect("a link");
    (dir, base)
}

/// Through a shell: only there the child's path is relative to its own directory.
fn shell(script: &str) -> Command {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", &format!("{script} \"$@\""), "sh"]);
    shell
}

fn relative() {
    let (_dir, base) = deployed();
    let (program, dir) = origin(shell("exec ./current/app").current_dir(&base).env("PWD", &base));
    assert_eq!((program, dir), (base.join("./current/app"), base.clone()));
    let (program, _) = origin(&mut Command::new(base.join("current/app")));
    assert_eq!(program, base.join("current/app"));
}

fn bare() {
    let (_dir, base) = deployed();
    let elsewhere = base.join("elsewhere");
    fs::create_dir(&elsewhere).expect("a directory");
    // Another program of this name comes first in PATH, but it is not this one.
    symlink("/bin/true", elsewhere.join("app")).expect("a link");
    let path = format!("{}:{}", elsewhere.display(), base.join("current").display());
    let (program, _) = origin(Command::new(base.join("current/app")).arg0("app").env("PATH", &path));
    assert_eq!(program, base.join("current/app"));
    // An empty entry is the working directory.
    let (program, _) = origin(shell("cd current; PATH=:/nowhere; exec app").current_dir(&base).env("PWD", &base));
    assert_eq!(program, base.join("current/app"));
}

fn lies() {
    for name in ["true", "-login", "", "./not/there"] {
        let (program, _) = origin(Command::new(this()).arg0(name));
        assert_eq!(program, this().canonicalize().expect("it exists"), "called {name:?}");
    }
}

fn shells_name() {
    let (_dir, base) = deployed();
    let run = |pwd: &Path| origin(Command::new(this()).current_dir(base.join("release")).env("PWD", pwd)).1;
    assert_eq!(run(&base.join("current")), base.join("current"));
    assert_eq!(run(Path::new("/")), base.join("release"), "another directory");
    assert_eq!(run(Path::new(".")), base.join("release"), "not absolute");
    assert_eq!(run(Path::new("/no/such")), base.join("release"));
}
