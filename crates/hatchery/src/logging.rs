//! Logs: one line, one write, on standard error or in `--log`.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::sync::Mutex;

use hatchery_sys::streams;
use tracing::{Level, error};
use tracing_subscriber::EnvFilter;

use crate::settings::LogFormat;
use crate::{Error, Settings};

/// Standard error as it was before a log took its place: who starts a server
/// that cannot start is told there. Closed by [`settle`], since whoever reads
/// from a pipe waits until the last copy of its other end is closed.
static STARTER: Mutex<Option<File>> = Mutex::new(None);

/// Sends the standard streams to the log, if there is one, and installs a
/// subscriber, unless the program has set its own.
pub(crate) fn install(settings: &Settings) -> Result<(), Error> {
    let filter = filter()?;
    if let Some(path) = &settings.log {
        let before = stderr();
        streams::append_to(path).map_err(|source| Error::Log { path: path.clone(), source })?;
        // A successor is started with the log as its standard error.
        let elsewhere = before.filter(|before| identity(before) != stderr().as_ref().and_then(identity));
        if let Ok(mut starter) = STARTER.lock() {
            *starter = elsewhere;
        }
    }
    // The layer formats a line into a buffer of its own and writes it at once;
    // standard error has no buffer that a fork could copy.
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(io::stderr);
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

/// The server runs: from now on there is only the log.
pub(crate) fn settle() {
    if let Ok(mut starter) = STARTER.lock() {
        *starter = None;
    }
}

/// Opens the log again, so that a renamed one is let go.
pub(crate) fn reopen(settings: &Settings) {
    if let Some(path) = &settings.log
        && let Err(reason) = streams::append_to(path)
    {
        error!("cannot append to the log file {}, the old one is kept: {reason}", path.display());
    }
}

/// Writes a line where standard error was before a log took its place.
pub(crate) fn tell_starter(line: &str) {
    if let Ok(mut starter) = STARTER.lock()
        && let Some(starter) = starter.as_mut()
    {
        // Nobody is left who could be told that it did not work.
        let _ = starter.write_all(line.as_bytes());
    }
}

/// Another descriptor of standard error.
fn stderr() -> Option<File> {
    io::stderr().as_fd().try_clone_to_owned().ok().map(File::from)
}

/// Which file it is, under whatever name.
fn identity(file: &File) -> Option<(u64, u64)> {
    file.metadata().ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

/// What `RUST_LOG` says, or everything from info on.
fn filter() -> Result<EnvFilter, Error> {
    EnvFilter::builder()
        .with_default_directive(Level::INFO.into())
        .from_env()
        .map_err(|source| Error::LogFilter { source: source.into() })
}
