//! The access log: where the lines of requests go.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hatchery_http::{AccessFormat, AccessLog};
use hatchery_sys::streams;
use tracing::error;

use super::lines::{Written, write_line};
use crate::Settings;
use crate::settings::{AccessLogTo, LogFormat, SettingsError, Sources};

/// For how long a line may wait, if none was lost before it.
const PATIENCE: Duration = Duration::from_millis(100);

/// In a worker: begins the access log, if there is to be one.
pub(crate) fn begin(settings: &Settings) {
    let format = match settings.log_format {
        LogFormat::Text => AccessFormat::Combined,
        LogFormat::Json => AccessFormat::Json,
    };
    let log = match &settings.access_log {
        AccessLogTo::Off => return,
        AccessLogTo::On => AccessLog::new(format, to_stdout),
        AccessLogTo::File(path) => {
            open(path);
            AccessLog::new(format, to_access)
        }
    };
    // Refused where the program has set one: that one is wanted.
    let _ = log.install();
}

/// In the master: whether workers will be able to open the access log, as far as that can be told from here.
///
/// Workers that are somebody else may do what this process may not, or the other way round: then
/// rights are not looked at.
pub(crate) fn check(settings: &Settings, sources: &Sources) -> Result<(), SettingsError> {
    let AccessLogTo::File(path) = &settings.access_log else { return Ok(()) };
    let is_for_others = settings.user.is_some() || settings.group.is_some();
    match streams::could_append(path) {
        Ok(()) => Ok(()),
        Err(reason) if is_for_others && reason.kind() == ErrorKind::PermissionDenied => Ok(()),
        Err(reason) => {
            let expected = "expected `on`, `off`, or a file that workers can append to, in a folder that is there";
            let path = path.display();
            Err(sources.wrong("access-log", format!("cannot append to {path}: {reason}; {expected}")))
        }
    }
}

/// The file of the access log, if it could be opened.
static ACCESS: Mutex<Option<File>> = Mutex::new(None);

/// Opens the file again, so that a renamed one is let go.
pub(super) fn reopen(settings: &Settings) {
    if let AccessLogTo::File(path) = &settings.access_log
        && AccessLog::is_installed()
    {
        open(path);
    }
}

fn open(path: &Path) {
    match streams::open_log(path) {
        Ok(file) => *ACCESS.lock().unwrap_or_else(PoisonError::into_inner) = Some(file),
        Err(reason) => {
            error!(target: "hatchery", "cannot append to the access log {}: {reason}", path.display());
        }
    }
}

/// One write a line: nothing of another process comes in between. A disk or a pipe that is full costs lines.
fn to_access(line: &[u8]) {
    if let Some(file) = &mut *ACCESS.lock().unwrap_or_else(PoisonError::into_inner) {
        let _lost = file.write(line);
    }
}

/// A reader that stands still costs lines, as for the log: a worker serves on.
fn to_stdout(line: &[u8]) {
    static LOSING: AtomicBool = AtomicBool::new(false);
    let stdout = io::stdout();
    let patience = if LOSING.load(Ordering::Relaxed) { Duration::ZERO } else { PATIENCE };
    let written = write_line(stdout.as_fd(), &mut io::stdout(), line, patience);
    LOSING.store(!matches!(written, Ok(Written::All)), Ordering::Relaxed);
}
