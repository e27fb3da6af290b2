//! What can be wrong with settings, and where it was said.

use std::fmt;
use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Settings that a server cannot run with.
///
/// Each one is a line that names the setting and where it was given, what is
/// wrong and what would be right:
///
/// ```
/// let error = hatchery::Server::new().workers(0).settings().unwrap_err();
/// assert_eq!(error.to_string(), "workers (set by the program): `0`: expected a whole number from 1 to 512");
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// A value that cannot be, by itself or beside that of another setting.
    #[error("{setting} ({origin}): {reason}")]
    Value {
        /// The setting, written as it is at its origin: `--pid-file`,
        /// `HATCHERY_PID_FILE`, `pid_file`.
        setting: String,
        /// Where it was given.
        origin: Origin,
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// A key that the file must not have.
    #[error("{key} ({origin}): {reason}")]
    UnknownKey {
        /// The key.
        key: String,
        /// The file and the line.
        origin: Origin,
        /// What would be right.
        reason: String,
    },
    /// The file is not TOML.
    #[error("{origin}: {reason}")]
    Syntax {
        /// The file and the line.
        origin: Origin,
        /// What the parser says.
        reason: String,
    },
    /// The file cannot be read.
    #[error("cannot read the settings file {} that {setting} names", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The flag or the variable that names it.
        setting: String,
        /// Why not.
        source: io::Error,
    },
}

/// Where a setting was given.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// Nowhere: it is what the setting is by itself.
    Default,
    /// By the program itself, with a method of [`Server`](crate::Server).
    Program,
    /// In the file.
    File {
        /// Its path.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
    },
    /// In an environment variable.
    Environment,
    /// On the command line.
    CommandLine,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Program => f.write_str("set by the program"),
            Self::File { path, line } => write!(f, "{} line {line}", path.display()),
            Self::Environment => f.write_str("environment"),
            Self::CommandLine => f.write_str("command line"),
        }
    }
}
