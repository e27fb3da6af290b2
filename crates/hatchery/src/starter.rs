//! Who has started this server, and looks whether it comes up.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::sync::Mutex;

use hatchery_master::daemon;

use crate::Exit;

/// Told of an error, as long as nobody serves.
static STARTER: Mutex<Option<Starter>> = Mutex::new(None);

enum Starter {
    /// Standard error as it was before a log took its place. Closed by [`settle`],
    /// since whoever reads from a pipe waits until the last copy of its other end is closed.
    Reads(File),
    /// The command that a daemon was started by: it ends when the workers are ready.
    Waits(daemon::Starter),
}

/// Another descriptor of standard error.
pub(crate) fn stderr() -> Option<File> {
    io::stderr().as_fd().try_clone_to_owned().ok().map(File::from)
}

/// A log has taken the place of standard error, which was this before.
pub(crate) fn reads(before: Option<File>) {
    // A successor is started with the log as its standard error.
    let elsewhere = before.filter(|before| identity(before) != stderr().as_ref().and_then(identity));
    let Ok(mut starter) = STARTER.lock() else { return };
    match &*starter {
        Some(Starter::Waits(_)) => {}
        Some(Starter::Reads(_)) | None => *starter = elsewhere.map(Starter::Reads),
    }
}

/// This is a daemon, and a command waits for it.
pub(crate) fn waits(command: daemon::Starter) {
    if let Ok(mut starter) = STARTER.lock() {
        *starter = Some(Starter::Waits(command));
    }
}

/// The master's loop begins: who reads has read enough.
pub(crate) fn settle() {
    if let Ok(mut starter) = STARTER.lock()
        && matches!(&*starter, Some(Starter::Reads(_)))
    {
        *starter = None;
    }
}

/// The workers are ready.
pub(crate) fn ready() {
    if let Some(Starter::Waits(command)) = take() {
        command.ready();
    }
}

/// This process is not the one that comes up: a worker, or an anchor.
pub(crate) fn forget() {
    drop(take());
}

/// The server has ended, perhaps before it was ready.
pub(crate) fn ended(exit: &Exit) {
    let Ok(mut starter) = STARTER.lock() else { return };
    match starter.take() {
        Some(Starter::Waits(command)) => match exit.code() {
            // It was told to stop: then it was not ready.
            0 => command.failed(1, "stopped before it was ready"),
            code => command.failed(code, &exit.to_string()),
        },
        // Told when `main` returns.
        reads @ Some(Starter::Reads(_)) => *starter = reads,
        None => {}
    }
}

/// Writes a line where standard error was before a log took its place.
pub(crate) fn tell(line: &str) {
    if let Ok(mut starter) = STARTER.lock()
        && let Some(Starter::Reads(stream)) = starter.as_mut()
    {
        // Nobody is left who could be told that it did not work.
        let _ = stream.write_all(line.as_bytes());
    }
}

fn take() -> Option<Starter> {
    STARTER.lock().ok()?.take()
}

/// Which file it is, under whatever name.
fn identity(file: &File) -> Option<(u64, u64)> {
    file.metadata().ok().map(|metadata| (metadata.dev(), metadata.ino()))
}
