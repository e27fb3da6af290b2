//! Why a server does not start.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use hatchery_worker::error::one_line;

use crate::settings::{Origin, SettingsError};

/// Any error, ready to be logged.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why a server did not start, or could not go on.
///
/// `Display` says one level; what was behind it is in `source`. [`Exit`](crate::Exit)
/// prints both in one line, and carries the exit code.
///
/// ```
/// let error = hatchery::Server::new().bind("localhost").settings().unwrap_err();
/// assert!(matches!(error, hatchery::Error::Settings(_)));
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting cannot be, or several cannot be together.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// What a setting, or the program, asks for could not be listened on.
    #[error("{setting} ({origin})")]
    Bind {
        /// The setting, written as it is at its origin; or `bind_named` and the name.
        setting: String,
        /// Where it was given.
        origin: Origin,
        /// Why not.
        source: Box<hatchery_net::ListenError>,
    },
    /// A listener could not be had that no setting asks for, or that was chosen by the system.
    #[error(transparent)]
    Listen(#[from] hatchery_net::ListenError),
    /// What a service manager has passed is not what it said.
    #[error(transparent)]
    Passed(#[from] hatchery_net::PassedError),
    /// The pid file could not be had.
    #[error(transparent)]
    PidFile(#[from] hatchery_master::pid_file::PidFileError),
    /// The control socket could not be had.
    #[error(transparent)]
    Control(#[from] hatchery_master::control::ControlError),
    /// What a predecessor handed over is not what it said.
    #[error(transparent)]
    Handoff(#[from] hatchery_master::predecessor::HandoffError),
    /// The log file could not be opened.
    #[error("log: cannot append to {}", path.display())]
    Log {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The variable `RUST_LOG` does not say what to log.
    #[error("RUST_LOG (environment) says no levels; expected for example `info` or `warn,hatchery=debug`")]
    LogFilter {
        /// Why not.
        source: BoxError,
    },
    /// The folder to work in could not be entered.
    #[error("working-dir: cannot work in {}", path.display())]
    WorkingDir {
        /// The folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The process has threads, which a fork would lose.
    #[error(
        "cannot fork: this process has other threads ({}); start threads, runtimes and pools in the function that is given to `run`, not before it",
        names.join(", ")
    )]
    Threads {
        /// Their names.
        names: Vec<String>,
    },
    /// `run` was called inside of a runtime, which no fork survives.
    #[error(
        "cannot fork inside of a tokio runtime: `main` has to be a plain function, without `#[tokio::main]`; each worker gets a runtime of its own"
    )]
    InRuntime,
    /// What is loaded before the first worker could not be loaded.
    #[error("the application failed to boot: preload failed")]
    Preload {
        /// Why not.
        source: BoxError,
    },
    /// How this program was started could not be found out.
    #[error("cannot tell how this program was started, as an upgrade needs")]
    Origin(#[source] io::Error),
    /// No memory could be shared with the workers.
    #[error("cannot share memory with the workers")]
    Board(#[source] io::Error),
    /// There is no channel for connections that move.
    #[error("no relay for connections that move")]
    Relay(#[source] io::Error),
    /// The server could not detach from its terminal.
    #[error("daemonize: cannot detach")]
    Detach(#[source] io::Error),
    /// No anchor could be had.
    #[error("anchor: cannot put one before the master")]
    Anchor(#[source] io::Error),
    /// There is no queue for jobs.
    #[error("no queue for jobs")]
    JobQueue(#[source] io::Error),
    /// Something that is to be kept across upgrades could not be made.
    #[error("keep {name:?}: it cannot be made")]
    Keep {
        /// What the program calls it.
        name: String,
        /// Why not.
        source: io::Error,
    },
    /// A server on demand could not begin anew.
    #[error("cannot begin anew")]
    Anew(#[source] io::Error),
    /// Signals could not be received.
    #[error("cannot receive signals")]
    Signals(#[source] io::Error),
}

impl Error {
    /// The error and everything behind it, in one line.
    pub(crate) fn one_line(&self) -> String {
        one_line(self)
    }

    /// The code that the process ends with: 3 where the application is to
    /// blame, 1 for everything else.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Preload { .. } => 3,
            Self::Settings(_)
            | Self::Bind { .. }
            | Self::Listen(_)
            | Self::Passed(_)
            | Self::PidFile(_)
            | Self::Control(_)
            | Self::Handoff(_)
            | Self::Log { .. }
            | Self::LogFilter { .. }
            | Self::WorkingDir { .. }
            | Self::Threads { .. }
            | Self::InRuntime
            | Self::Origin(_)
            | Self::Board(_)
            | Self::Relay(_)
            | Self::JobQueue(_)
            | Self::Keep { .. }
            | Self::Detach(_)
            | Self::Anchor(_)
            | Self::Anew(_)
            | Self::Signals(_) => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_is_one_line() {
        let source = io::Error::other("no\n\n  space left\n").into();
        let error = Error::Preload { source };
        assert_eq!(error.to_string(), "the application failed to boot: preload failed");
        assert_eq!(error.one_line(), "the application failed to boot: preload failed: no; space left");
        assert_eq!(error.exit_code(), 3);
    }

    #[test]
    fn a_cause_that_is_said_already_is_not_said_twice() {
        #[derive(Debug, Error)]
        #[error("outer: {0}")]
        struct Outer(#[source] io::Error);
        assert_eq!(one_line(&Outer(io::Error::other("inner"))), "outer: inner");
    }

    #[test]
    fn threads_are_named() {
        let error = Error::Threads { names: vec!["tokio-rt-worker".into(), "pool".into()] };
        assert!(error.one_line().contains("(tokio-rt-worker, pool)"));
    }
}
