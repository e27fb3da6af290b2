//! The `hatchery` command, asked of a lab.

use std::process::{Child, Command, Output, Stdio};

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;

use crate::lab::Lab;
use crate::program;

/// What the command said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Its exit code.
    pub code: Option<i32>,
    /// Its standard output.
    pub output: String,
    /// Its standard error.
    pub errors: String,
}

/// The command, while it waits.
#[derive(Debug)]
pub struct Asking(Child);

/// The command with this lab's control socket.
#[must_use]
pub fn command(lab: &Lab, arguments: &[&str]) -> Command {
    let mut command = bare(arguments);
    command.env("HATCHERY_CONTROL", lab.control_path());
    command
}

/// The command with nothing but its arguments.
#[must_use]
pub fn bare(arguments: &[&str]) -> Command {
    let mut command = Command::new(program::hatchery());
    command.args(arguments).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.stdin(Stdio::null());
    command
}

/// Runs the command on this lab, and returns what it said.
///
/// # Panics
/// When it cannot be started.
#[must_use]
pub fn hatchery(lab: &Lab, arguments: &[&str]) -> Told {
    Told::from(command(lab, arguments).output().expect("the command"))
}

/// Starts the command on this lab.
///
/// # Panics
/// When it cannot be started.
#[must_use]
pub fn begin(lab: &Lab, arguments: &[&str]) -> Asking {
    let mut command = command(lab, arguments);
    Asking(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the command"))
}

impl Asking {
    /// Interrupts it, as Ctrl-C does.
    ///
    /// # Panics
    /// When it has no pid.
    pub fn interrupt(&self) {
        let pid = i32::try_from(self.0.id()).expect("a pid");
        let _ = signal::kill(Pid::from_raw(pid), Signal::SIGINT);
    }

    /// Waits until it has ended.
    ///
    /// # Panics
    /// When it was lost.
    #[must_use]
    pub fn told(self) -> Told {
        Told::from(self.0.wait_with_output().expect("its end"))
    }
}

impl Told {
    /// Asserts that it was done, and returns what was said.
    ///
    /// # Panics
    /// When it was not.
    #[must_use]
    pub fn done(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.output
    }

    /// Asserts that it was not done, with the reason as the last of the lines on
    /// standard error, and returns that line.
    ///
    /// # Panics
    /// When it was, or gave no reason.
    #[must_use]
    pub fn failed(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert_eq!(self.output, "", "{self:?}");
        let line = self.errors.lines().last().and_then(|line| line.strip_prefix("hatchery: error: "));
        line.unwrap_or_else(|| panic!("no reason: {self:?}")).to_owned()
    }
}

impl From<Output> for Told {
    fn from(output: Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { code: output.status.code(), output: text(&output.stdout), errors: text(&output.stderr) }
    }
}
