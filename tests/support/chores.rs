//! The server with jobs and a sidecar: see `tests/helpers/chores.rs`.

use std::fs;
use std::path::Path;

use crate::client::{Answer, Client};
use crate::lab::Lab;
use crate::procfs::Process;
use crate::program::Program;
use crate::start::Start;
use crate::wait;

/// What it takes to start it; `path` is the program's.
#[must_use]
pub fn start(path: &str) -> Start {
    Start::default().program(Program::Link(path.into()))
}

/// The same program with other variables than it was started with.
#[must_use]
pub fn with(path: &str, variables: &str) -> Program {
    Program::Script(format!("{variables} exec {path} \"$@\""))
}

impl Lab {
    /// The living processes whose title begins so, in the order of their pids.
    #[must_use]
    pub fn titled(&self, title: &str) -> Vec<Process> {
        self.processes().into_iter().filter(|it| it.title.starts_with(title) && !it.is_zombie()).collect()
    }

    /// Waits until there is one process whose title begins so.
    ///
    /// # Panics
    /// When there is none, or there stay several.
    #[must_use]
    pub fn one_titled(&self, title: &str) -> i32 {
        wait::until(&format!("there is one process `{title}`"), || match self.titled(title).as_slice() {
            [only] => Some(only.pid),
            _ => None,
        })
    }

    /// A request on a connection of its own, of which the answer is read later.
    ///
    /// # Panics
    /// When it cannot be sent.
    #[must_use]
    pub fn asked(&self, path: &str) -> Client {
        let mut client = Client::connect(self.address()).expect("a server that listens");
        client.ask(path).expect("sent");
        client
    }

    /// The answer to a request on a connection of its own, which has to be a good one.
    ///
    /// # Panics
    /// When it is not.
    #[must_use]
    pub fn output(&self, path: &str) -> String {
        good(&self.get(path).unwrap_or_else(|failure| panic!("{path}: {failure}")))
    }

    /// The first word of the error that a job ends in.
    ///
    /// # Panics
    /// When it ends in none.
    #[must_use]
    pub fn error(&self, path: &str) -> String {
        let answer = self.get(path).unwrap_or_else(|failure| panic!("{path}: {failure}"));
        assert!(answer.status >= 500, "{path}: {}", answer.text());
        answer.text()
    }

    /// A file in its folder, once it is there.
    ///
    /// # Panics
    /// When it does not appear.
    #[must_use]
    pub fn file(&self, name: &str) -> String {
        // It is made before it is written.
        self.until(&format!("there is something in a file {name}"), || !self.lines_of(name).is_empty());
        self.lines_of(name).join("\n")
    }

    /// The lines of a file in its folder, if it is there.
    #[must_use]
    pub fn lines_of(&self, name: &str) -> Vec<String> {
        fs::read_to_string(self.path(name)).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    /// Leaves an empty file in its folder, that somebody waits for.
    ///
    /// # Panics
    /// When the file system refuses.
    pub fn put(&self, name: &str) {
        fs::write(self.path(name), "").expect("a file");
    }

    /// Waits until a job that waits for a file has begun, and returns its process.
    ///
    /// # Panics
    /// When it does not begin.
    #[must_use]
    pub fn begun(&self, name: &str) -> i32 {
        self.file(&format!("{name}.begun")).trim().parse().expect("a pid")
    }

    /// Waits until a process is gone, reaped and all.
    ///
    /// # Panics
    /// When it stays.
    pub fn until_gone(&self, pid: i32) {
        self.until(&format!("process {pid} is gone"), || {
            let _ = self.processes();
            !Path::new(&format!("/proc/{pid}")).exists()
        });
    }
}

/// The body of a good answer.
///
/// # Panics
/// When it is no good answer.
#[must_use]
pub fn good(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.text()
}
