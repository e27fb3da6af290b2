//! The standard streams.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::BorrowedFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::{self, AccessFlags};

/// Sends standard output and standard error to the end of a file, which is created if it is missing.
///
/// Every write goes to the end of the file as it is then, so processes can
/// share it. Calling it again after the file was moved away makes a new one.
///
/// It never waits: a pipe that nobody reads cannot be opened, and one that is not
/// read fast enough loses lines.
///
/// # Errors
/// When the file cannot be opened for writing; the streams then stay as they are.
pub fn append_to(path: &Path) -> io::Result<()> {
    let file = open_log(path)?;
    flush();
    // std opens 0, 1 and 2 before main if they were closed, so `file` is none of them.
    unistd::dup2_stdout(&file)?;
    unistd::dup2_stderr(&file)?;
    Ok(())
}

/// Opens a file to append lines to, and creates it if it is missing.
///
/// It never waits: a pipe that nobody reads cannot be opened, and a write to one that
/// is full fails.
///
/// # Errors
/// Those of `open(2)`; ENXIO for a pipe without a reader.
pub fn open_log(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).custom_flags(libc::O_NONBLOCK).open(path)
}

/// Whether [`open_log`] would find a file that it can append to, or a folder to make one in.
///
/// Nothing is opened and nothing made: whoever asks may be somebody else than who opens it later,
/// and the reader of a pipe would hear that its last writer has gone.
///
/// # Errors
/// Those of `stat(2)` and `faccessat(2)` for the effective user; EISDIR for a folder, ENXIO for a
/// socket. What a link leads to that is not there yet is not looked at, nor whether a pipe has a reader.
pub fn could_append(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => Err(io::Error::from_raw_os_error(libc::EISDIR)),
        Ok(found) if found.file_type().is_socket() => Err(io::Error::from_raw_os_error(libc::ENXIO)),
        Ok(_) => may(path, AccessFlags::W_OK),
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => {
            match (path.parent(), fs::symlink_metadata(path)) {
                (Some(folder), Err(_)) => may(folder, AccessFlags::W_OK | AccessFlags::X_OK),
                (Some(_), Ok(_)) | (None, _) => Ok(()),
            }
        }
        Err(error) => Err(error),
    }
}

fn may(path: &Path, access: AccessFlags) -> io::Result<()> {
    Ok(unistd::faccessat(AT_FDCWD, path, access, AtFlags::AT_EACCESS)?)
}

/// Lets go of all three standard streams: they lead to the null device.
///
/// # Errors
/// When the null device cannot be opened; the streams then stay as they are.
pub fn discard() -> io::Result<()> {
    let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
    flush();
    unistd::dup2_stdin(&null)?;
    unistd::dup2_stdout(&null)?;
    unistd::dup2_stderr(&null)?;
    Ok(())
}

/// Sends standard output and standard error to `log`, which somebody else has opened.
///
/// # Errors
/// None that the kernel documents for an open descriptor.
pub fn send_to(log: BorrowedFd<'_>) -> io::Result<()> {
    flush();
    unistd::dup2_stdout(log)?;
    unistd::dup2_stderr(log)?;
    Ok(())
}

/// Writes out what std holds back for standard output and standard error.
///
/// Before a fork, since both processes would write it otherwise, and before
/// [`crate::process::exit_now`], which does not. What cannot be written is lost.
pub fn flush() {
    let _ = io::stdout().flush();
    let _ = io::stderr().flush();
}
