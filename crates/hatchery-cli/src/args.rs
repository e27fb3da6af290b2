//! The command line.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::Shell;
use hatchery_control::{Until, Whom};

use crate::failure::Failure;
use crate::words;

/// Looks at a running hatchery server, and tells it what to do.
///
/// The server has to be started with `--control PATH`. Exits with 0 when it was done, with 1
/// and the reason in one line when it was not, and with 130 when it was interrupted.
#[derive(Debug, Parser)]
#[command(name = "hatchery", version, max_term_width = 100)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) server: Server,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Which server, and how it is asked.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Server {
    /// The server's control socket
    #[arg(long, global = true, value_name = "PATH", env = "HATCHERY_CONTROL", value_hint = ValueHint::FilePath)]
    control: Option<PathBuf>,
    /// Give up waiting after this time, as in `500ms`, `10s` or `2m`; the operation goes on
    #[arg(long, global = true, value_name = "DUR", value_parser = words::span)]
    pub(crate) timeout: Option<Duration>,
    /// Say neither what goes on nor what was done, only errors
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// How the server is: master, workers, listeners, totals
    Status {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// A live view of the server
    Top {
        /// How often to look
        #[arg(long, value_name = "DUR", default_value = "1s", value_parser = words::interval)]
        interval: Duration,
    },
    /// Replace the program by the one at the path that it was started from
    Upgrade {
        /// Wait until the new program serves, or has failed; `--wait=proven`: until its probation is over, or it was taken back
        #[arg(long, value_name = "UNTIL", num_args = 0..=1, require_equals = true, default_missing_value = "serves")]
        wait: Option<UpgradeWait>,
    },
    /// Read the settings again and replace all workers
    Reload {
        /// Wait until every worker is new, or the reload has failed
        #[arg(long)]
        wait: bool,
    },
    /// Run so many workers, and wait until they do
    Scale {
        /// How many
        #[arg(value_name = "N", value_parser = clap::value_parser!(u16).range(1..=512))]
        workers: u16,
        /// Return when it has begun
        #[arg(long)]
        no_wait: bool,
    },
    /// Replace one worker, job server or sidecar, and wait until it is
    Recycle {
        /// The slot of a worker, or the name of a job server or sidecar, as `status` shows them
        #[arg(value_name = "SLOT|NAME", value_parser = words::whom)]
        whom: Whom,
        /// Return when it has begun
        #[arg(long)]
        no_wait: bool,
    },
    /// Who is connected, how long, and what each connection does
    Connections {
        /// A JSON object a line, one for each connection
        #[arg(long)]
        json: bool,
        /// Only connections that somebody who drains waits for
        #[arg(long)]
        draining: bool,
    },
    /// Open the log files again
    Reopen,
    /// Drain and stop
    Stop {
        /// Wait until everything is drained
        #[arg(long)]
        wait: bool,
    },
    /// Print completions for a shell
    Completions {
        /// For which shell
        shell: Shell,
    },
    /// Print the manual page of this command
    Manual,
}

/// What `upgrade --wait` waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum UpgradeWait {
    /// The new program serves
    Serves,
    /// The same, and its probation is over
    Proven,
}

impl UpgradeWait {
    /// What that is in the protocol; `None` where it was not said.
    pub(crate) fn until(wait: Option<Self>) -> Until {
        match wait {
            None => Until::Begun,
            Some(Self::Serves) => Until::Done,
            Some(Self::Proven) => Until::Proven,
        }
    }
}

impl Server {
    /// The control socket.
    pub(crate) fn control(&self) -> Result<&Path, Failure> {
        self.control.as_deref().filter(|path| !path.as_os_str().is_empty()).ok_or(Failure::WhichServer)
    }

    /// Another master, asked in the same way.
    pub(crate) fn of(&self, path: &Path) -> Self {
        Self { control: Some(path.to_owned()), ..self.clone() }
    }

    /// The same, with another time to wait.
    pub(crate) fn within(&self, timeout: Duration) -> Self {
        Self { timeout: Some(timeout), ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parsed(args: &[&str]) -> Args {
        Args::try_parse_from([&["hatchery"], args].concat()).unwrap()
    }

    fn refused(args: &[&str]) -> String {
        Failure::Arguments(Args::try_parse_from([&["hatchery"], args].concat()).unwrap_err()).to_string()
    }

    #[test]
    fn the_command_line_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn which_server_may_be_said_before_or_after_the_command() {
        for args in [&["--control", "/c", "status"], &["status", "--control", "/c"]] {
            assert_eq!(parsed(args).server.control().unwrap(), Path::new("/c"));
        }
    }

    #[test]
    fn without_a_server_there_is_nobody_to_ask() {
        let nowhere = Server { control: Some(PathBuf::new()), ..Server::default() };
        for server in [nowhere, Server::default()] {
            assert!(server.control().unwrap_err().to_string().contains("--control PATH"));
        }
    }

    #[test]
    fn an_upgrade_may_be_waited_for_in_two_ways() {
        for (said, until) in [
            (&["upgrade"][..], Until::Begun),
            (&["upgrade", "--wait"], Until::Done),
            (&["upgrade", "--wait=serves"], Until::Done),
            (&["upgrade", "--wait=proven", "--quiet"], Until::Proven),
        ] {
            let Command::Upgrade { wait } = parsed(said).command else { panic!("{said:?}") };
            assert_eq!(UpgradeWait::until(wait), until, "{said:?}");
        }
    }

    #[test]
    fn every_error_is_one_line() {
        let table = [
            (&[][..], "a command is missing; try '--help'"),
            (&["dance"], "unrecognized subcommand 'dance'; try '--help'"),
            (&["stauts"], "unrecognized subcommand 'stauts'; tip: a similar subcommand exists: 'status'; try '--help'"),
            (&["status", "--fast"], "unexpected argument '--fast' found; try '--help'"),
            (
                &["upgrade", "--wait=long"],
                "invalid value 'long' for '--wait[=<UNTIL>]' [possible values: serves, proven]; try '--help'",
            ),
            (&["scale"], "the following required arguments were not provided: <N>; try '--help'"),
            (
                &["recycle", "70000"],
                "invalid value '70000' for '<SLOT|NAME>': expected a slot of 65535 at most, or a name; try '--help'",
            ),
            (&["scale", "0"], "invalid value '0' for '<N>': 0 is not in 1..=512; try '--help'"),
            (
                &["top", "--interval", "1"],
                "invalid value '1' for '--interval <DUR>': expected a whole number and its unit, as in `500ms`, `10s` or `2m`; try '--help'",
            ),
            (
                &["upgrade", "--timeout", "0s"],
                "invalid value '0s' for '--timeout <DUR>': expected more than 0; try '--help'",
            ),
        ];
        for (args, expected) in table {
            assert_eq!(refused(args), expected, "{args:?}");
        }
    }
}
