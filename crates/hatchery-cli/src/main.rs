//! The `hatchery` command: looks at a running server, and tells it what to do.
//!
//! It speaks over the server's control socket, and is what docs/command.md describes.
//!
//! * [`args`]: the command line
//! * [`ask`]: one request and its answer, with a deadline, and Ctrl-C meanwhile
//! * [`operation`], [`status`], [`connections`]: what is asked for, and how it is shown
//! * [`top`]: the live view
//! * [`failure`]: every way in which it was not done, in one line
#![forbid(unsafe_code)]

mod args;
mod ask;
mod completions;
mod connections;
mod failure;
#[cfg(test)]
mod fake;
mod operation;
mod output;
mod progress;
mod status;
mod table;
mod top;
mod words;

use std::process::ExitCode;

use clap::Parser;
use hatchery_control::Until;

use crate::args::{Args, Command, UpgradeWait};
use crate::failure::Failure;
use crate::operation::Operation;

fn main() -> ExitCode {
    let done = match Args::try_parse() {
        Ok(args) => run(args),
        Err(error) if error.use_stderr() => Err(Failure::Arguments(error)),
        Err(help) => output::print(&help.render().to_string()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            progress::complain(&failure.to_string());
            failure.exit_code()
        }
    }
}

fn run(args: Args) -> Result<(), Failure> {
    let Args { server, command } = args;
    match command {
        Command::Status { json } => status::run(&server, json),
        Command::Top { interval } => top::run(&server, interval),
        Command::Connections { json, draining } => connections::run(&server, json, draining),
        Command::Upgrade { wait } => Operation::Upgrade.run(&server, UpgradeWait::until(wait)),
        Command::Reload { wait } => Operation::Reload.run(&server, wait.into()),
        Command::Scale { workers, no_wait } => Operation::Scale { workers }.run(&server, (!no_wait).into()),
        Command::Recycle { whom, no_wait } => Operation::Recycle { whom }.run(&server, (!no_wait).into()),
        Command::Stop { wait } => Operation::Stop.run(&server, wait.into()),
        Command::Reopen => Operation::Reopen.run(&server, Until::Done),
        Command::Completions { shell } => completions::completions(shell),
        Command::Manual => completions::manual(),
    }
}
