//! How a server ends, as the return value of `main`.

use std::ffi::OsStr;
use std::fmt;
use std::io::{self, Write};
use std::path::Path;
use std::process::{ExitCode, Termination};

use hatchery_core::Outcome;

use crate::{Error, starter};

/// How a server ended: what `main` returns.
///
/// | code | |
/// |---|---|
/// | 0 | drained and stopped |
/// | 1 | bad settings, or a listener or the pid file could not be had |
/// | 2 | stopped, but something had to be killed |
/// | 3 | the application did not boot, or crashed too often |
///
/// An error is printed on standard error as one line, `name: error: …`, when
/// `main` returns.
///
/// ```no_run
/// use std::convert::Infallible;
///
/// use hatchery::{Exit, Server, http};
///
/// fn main() -> Exit {
///     Server::new().run(http::serve_fn(async |_request| Ok::<_, Infallible>(http::text("Hello, World!"))))
/// }
/// ```
#[derive(Debug)]
#[must_use = "return it from `main`: it prints the error and carries the exit code"]
pub struct Exit(End);

#[derive(Debug)]
enum End {
    Drained,
    Killed,
    BootFailed(String),
    Failed(Error),
}

impl Exit {
    /// The exit code.
    ///
    /// ```
    /// use std::convert::Infallible;
    ///
    /// use hatchery::{Server, http};
    ///
    /// let exit = Server::new()
    ///     .bind("nowhere")
    ///     .run(http::serve_fn(async |_request| Ok::<_, Infallible>(http::text("never served"))));
    /// assert_eq!(exit.code(), 1);
    /// ```
    #[must_use]
    pub fn code(&self) -> u8 {
        match &self.0 {
            End::Drained => 0,
            End::Killed => 2,
            End::BootFailed(_) => 3,
            End::Failed(error) => error.exit_code(),
        }
    }

    /// Why the server did not start, if that is how it ended.
    #[must_use]
    pub fn error(&self) -> Option<&Error> {
        match &self.0 {
            End::Failed(error) => Some(error),
            End::Drained | End::Killed | End::BootFailed(_) => None,
        }
    }
}

/// What there is to say about it: nothing of an orderly end.
impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            End::Drained => f.write_str("drained and stopped"),
            End::Killed => f.write_str("stopped, but something had to be killed"),
            End::BootFailed(text) => write!(f, "the application did not boot: {text}"),
            End::Failed(error) => f.write_str(&error.one_line()),
        }
    }
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        match &self.0 {
            End::BootFailed(_) | End::Failed(_) => complain(&self.to_string()),
            End::Drained | End::Killed => {}
        }
        ExitCode::from(self.code())
    }
}

impl From<Outcome> for Exit {
    fn from(outcome: Outcome) -> Self {
        Self(match outcome {
            // Dormant: the next image could not be had, and nobody was waiting.
            Outcome::Drained | Outcome::Dormant => End::Drained,
            Outcome::Killed => End::Killed,
            Outcome::BootFailed { text } => End::BootFailed(text),
        })
    }
}

impl From<Error> for Exit {
    fn from(error: Error) -> Self {
        Self(End::Failed(error))
    }
}

/// Prints `name: error: text` on standard error, in one write; and also where
/// standard error was before a log took its place, as long as nobody serves:
/// who starts a server looks there.
pub(crate) fn complain(text: &str) {
    let line = format!("{}: error: {text}\n", program_name());
    // Nobody is left who could be told that it did not work.
    let _ = io::stderr().write_all(line.as_bytes());
    starter::tell(&line);
}

/// Prints `name: warning: text` on standard error.
pub(crate) fn warn(text: &str) {
    let line = format!("{}: warning: {text}\n", program_name());
    let _ = io::stderr().write_all(line.as_bytes());
}

fn program_name() -> String {
    let program = std::env::args_os().next();
    let name = program.as_deref().map(Path::new).and_then(Path::file_name);
    name.map_or_else(|| "hatchery".into(), OsStr::to_string_lossy).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes() {
        assert_eq!(Exit::from(Outcome::Drained).code(), 0);
        assert_eq!(Exit::from(Outcome::Killed).code(), 2);
        assert_eq!(Exit::from(Outcome::BootFailed { text: "no".to_owned() }).code(), 3);
        assert_eq!(Exit::from(Error::Threads { names: Vec::new() }).code(), 1);
        assert_eq!(Exit::from(Error::Preload { source: "no".into() }).code(), 3);
    }
}
