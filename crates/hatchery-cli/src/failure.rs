//! Every way in which it was not done, in one line.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::error::ErrorKind;
use hatchery_control::ClientError;
use thiserror::Error;

use crate::words::spell;

/// Why it was not done.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    /// The command line makes no sense.
    #[error("{}", one_line(.0))]
    Arguments(clap::Error),
    /// Nothing says where the server is.
    #[error("which server? say --control PATH, or set HATCHERY_CONTROL")]
    WhichServer,
    /// There is no answer.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The master says that it was not done.
    #[error("{}", folded(text))]
    Refused {
        /// Its reason.
        text: String,
    },
    /// The master does not say a word.
    #[error("no answer from the master at {} within {}: is it stopped, or very busy?", path.display(), spell(*span))]
    Silent {
        /// Its control socket.
        path: PathBuf,
        /// How long it was waited for.
        span: Duration,
    },
    /// The operation takes longer than was to be waited.
    #[error("the {what} has not ended within {}: it goes on, see `hatchery status`", spell(*span))]
    Unfinished {
        /// The operation.
        what: &'static str,
        /// How long it was waited for.
        span: Duration,
    },
    /// Ctrl-C while it was waited for.
    #[error("interrupted: the {what} goes on, see `hatchery status`")]
    Interrupted {
        /// The operation.
        what: &'static str,
    },
    /// The master has answered something else.
    #[error("the master's answer does not fit the question: is it of another version?")]
    Unexpected,
    /// `top` without a terminal.
    #[error("top needs a terminal; `hatchery status` does not")]
    NoTerminal,
    /// The terminal failed, or what was to be printed could not be.
    #[error("{what}: {source}")]
    Output {
        /// What could not be done.
        what: &'static str,
        /// What the system says.
        source: io::Error,
    },
}

impl Failure {
    /// The exit code.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            // 128 and the number of SIGINT, as a shell has it.
            Self::Interrupted { .. } => ExitCode::from(130),
            Self::Arguments(_)
            | Self::WhichServer
            | Self::Client(_)
            | Self::Refused { .. }
            | Self::Silent { .. }
            | Self::Unfinished { .. }
            | Self::Unexpected
            | Self::NoTerminal
            | Self::Output { .. } => ExitCode::FAILURE,
        }
    }
}

/// Several lines as one, of letters only.
pub(crate) fn folded(text: &str) -> String {
    let line = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ");
    // What an application says must not steer the terminal.
    line.chars().filter(|letter| !letter.is_control()).collect()
}

/// clap's paragraphs as one line, without the usage.
fn one_line(error: &clap::Error) -> String {
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        // Its text is the whole help.
        return "a command is missing; try '--help'".to_owned();
    }
    let text = error.render().to_string();
    let paragraphs = text.trim_start_matches("error: ").split("\n\n").map(str::trim);
    let wanted = paragraphs.filter(|paragraph| !paragraph.is_empty() && !paragraph.starts_with("Usage:"));
    let lines: Vec<String> = wanted.map(|words| words.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    lines.join("; ").replace("For more information, try", "try").trim_end_matches('.').to_owned()
}
