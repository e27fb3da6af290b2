//! Logs: one line, one write, on standard error or in `--log`.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use hatchery_core::{Generation, Slot};
use hatchery_sys::{process, streams};
use tracing::{Level, Span, error, error_span};
use tracing_subscriber::EnvFilter;

use crate::settings::LogFormat;
use crate::{Error, Settings, starter};

pub(crate) use access::{begin as begin_access, check as check_access};
use lines::Lines;

mod access;
mod lines;

/// Sends the standard streams to the log, if there is one, and installs a
/// subscriber, unless the program has set its own.
pub(crate) fn install(settings: &Settings) -> Result<(), Error> {
    let filter = filter()?;
    if let Some(path) = &settings.log {
        let before = starter::stderr();
        streams::append_to(path).map_err(|source| Error::Log { path: path.clone(), source })?;
        starter::reads(before);
    }
    // The layer formats a line into a buffer of its own and writes it at once;
    // standard error has no buffer that a fork could copy.
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(|| Lines);
    // A log that cannot be written (a full disk, a reader that is gone) costs lines.
    // To complain about that, the subscriber would write to standard error, fail
    // again, and panic.
    let builder = builder.log_internal_errors(false);
    // Refused where the program has set one: that one is wanted.
    let _ = match settings.log_format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    Ok(())
}

/// The log, opened as a start would do.
pub(crate) fn open(path: &Path) -> Result<OwnedFd, Error> {
    streams::open_log(path).map(OwnedFd::from).map_err(|source| Error::Log { path: path.to_owned(), source })
}

/// Whether [`open`] would do, as far as that can be told without making a file that is this user's.
pub(crate) fn check(path: &Path) -> Result<(), Error> {
    streams::could_append(path).map_err(|source| Error::Log { path: path.to_owned(), source })
}

/// Sends the standard streams to a log that was opened.
pub(crate) fn go_on_with(path: &Path, log: BorrowedFd<'_>) {
    if let Err(reason) = streams::send_to(log) {
        error!(target: "hatchery", "cannot go on with the log file {} as it was opened again: {reason}", path.display());
    }
}

/// Opens the log again, so that a renamed one is let go.
pub(crate) fn reopen(settings: &Settings) {
    if let Some(path) = &settings.log
        && let Err(reason) = streams::append_to(path)
    {
        error!(target: "hatchery", "cannot append to the log file {}, the old one is kept: {reason}", path.display());
    }
}

/// In a worker: goes on with the log that its master has opened, and sends. Without
/// one the worker opens it itself, unless it is somebody who may not: the master will send it.
pub(crate) fn take(settings: &Settings, sent: Option<OwnedFd>) {
    access::reopen(settings);
    match (&settings.log, sent) {
        (Some(path), Some(opened)) => go_on_with(path, opened.as_fd()),
        (Some(_), None) if settings.user.is_none() => reopen(settings),
        (Some(_) | None, _) => {}
    }
}

/// What `RUST_LOG` says, or everything from info on.
fn filter() -> Result<EnvFilter, Error> {
    let filter = EnvFilter::builder()
        .with_default_directive(Level::INFO.into())
        .from_env()
        .map_err(|source| Error::LogFilter { source: source.into() })?;
    // Whatever else is filtered, what is left says which process it comes from.
    Ok(match "hatchery::process=error".parse() {
        Ok(process) => filter.add_directive(process),
        Err(_) => filter,
    })
}

/// What every event of a forked process has in it, its application's too: which process it is.
///
/// It is entered once, for the rest of the process' life, and costs what is not logged nothing.
pub(crate) fn this_process(who: &str, slot: Slot, generation: Generation) -> Span {
    let (pid, generation) = (process::pid().as_raw(), generation.0);
    match slot.as_companion() {
        None => error_span!(target: "hatchery::process", "worker", slot = slot.0, pid, generation),
        Some(_) => error_span!(target: "hatchery::process", "companion", companion = who, pid, generation),
    }
}
