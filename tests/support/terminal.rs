//! Terminals in which the commands of the guide are typed, as they stand there.

use std::fs;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;

use crate::wait;

/// A shell that is given one command after another. What it has started ends with it.
#[derive(Debug)]
pub struct Terminal {
    shell: Child,
    /// Where it writes what commands say: the folder, and what the shell calls it.
    folder: (PathBuf, String),
}

/// A command that was typed.
#[derive(Debug)]
pub struct Typed {
    /// The command.
    pub line: String,
    said: PathBuf,
    ended: PathBuf,
}

impl Terminal {
    /// One that is started by `launcher`, and writes what commands say into `folder`, which it calls `name`.
    ///
    /// # Panics
    /// When there is no shell.
    #[must_use]
    pub fn open(launcher: &[&str], folder: &Path, name: &str) -> Self {
        let words: Vec<&str> = launcher.iter().copied().chain(["bash"]).collect();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let shell = command.spawn().expect("a shell");
        Self { shell, folder: (folder.to_owned(), name.to_owned()) }
    }

    /// Types a command. The next one is read when this one has ended, or is in the background.
    ///
    /// # Panics
    /// When the shell is gone.
    pub fn enter(&mut self, line: &str) -> Typed {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = &self.folder.1;
        let (said, ended) = (format!("said.{number}"), format!("ended.{number}"));
        // What `$?` is for the next one stays what it is.
        let text = format!(
            "{{ {line}\n}} >{name}/{said} 2>&1\ncode=$?; echo $code >{name}/{ended}.draft; \
             mv {name}/{ended}.draft {name}/{ended}; (exit $code)\n"
        );
        self.shell.stdin.as_mut().expect("a pipe").write_all(text.as_bytes()).expect("the shell reads");
        let folder = &self.folder.0;
        Typed { line: line.to_owned(), said: folder.join(said), ended: folder.join(ended) }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = signal::killpg(Pid::from_raw(self.shell.id().cast_signed()), Signal::SIGKILL);
        let _ = self.shell.wait();
    }
}

impl Typed {
    /// What it has said so far.
    #[must_use]
    pub fn said(&self) -> String {
        fs::read_to_string(&self.said).unwrap_or_default()
    }

    /// Its exit code, when it has ended.
    #[must_use]
    pub fn code(&self) -> Option<i32> {
        fs::read_to_string(&self.ended).ok()?.trim().parse().ok()
    }

    /// Waits until it has said all of this.
    ///
    /// # Panics
    /// When it does not, with what it has said.
    pub fn until(&self, what: &str, is_all: impl Fn(&str) -> bool) {
        let all = wait::within(wait::PATIENCE, || is_all(&self.said()).then_some(()));
        assert!(all.is_some(), "`{}` has not said {what}, but:\n{}", self.line, self.said());
    }
}
