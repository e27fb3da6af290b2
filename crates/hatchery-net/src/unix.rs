//! Unix sockets: a file that outlives its listener, and whose it is.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use hatchery_sys::{lock, socket_file};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::bind::failure;
use crate::{Address, ListenError};

/// The file that a listener's socket has, for as long as it is the same one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// Absolute, since the working directory may change.
    path: PathBuf,
    dev: u64,
    ino: u64,
}

/// Binds a unix socket and listens on it. A file left by a program that is gone is replaced.
pub(crate) fn bind(address: &Address, path: &Path, backlog: i32) -> Result<(Socket, Identity), ListenError> {
    let failed = |step| move |source| failure(address, step, source);
    let name = SockAddr::unix(path).map_err(|source| too_long(address, path, source))?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(failed("socket"))?;
    socket.set_nonblocking(true).map_err(failed("setting O_NONBLOCK"))?;
    // Held until the socket listens: between bind and listen it looks as stale
    // as one whose program has died, and another start would replace it.
    let _guard = lock_directory(path);
    if is_stale(address, path)? {
        // Nobody listened, so no client loses anything while the name is missing.
        // Not a new name renamed over it: the kernel would go on showing that one.
        fs::remove_file(path).map_err(failed("removing the old socket file"))?;
    }
    socket.bind(&name).map_err(failed("bind"))?;
    socket.listen(backlog).map_err(failed("listen"))?;
    let file = Identity::of(path).map_err(failed("looking at the socket file"))?;
    Ok((socket, file))
}

impl Identity {
    /// The socket file at `path`.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        let found = fs::symlink_metadata(path)?;
        Ok(Self { path: std::path::absolute(path)?, dev: found.dev(), ino: found.ino() })
    }

    /// The file of a socket that was handed over; `None` if its name leads to
    /// nothing, or to a file that somebody else has put there.
    pub(crate) fn inherited(path: &Path, socket: &OwnedFd) -> Option<Self> {
        let found = Self::of(path).ok()?;
        match socket_file::inode(socket.as_fd()) {
            Ok(inode) if found.ino & u64::from(u32::MAX) != u64::from(inode) => None,
            // Where the kernel does not tell, the name has to do.
            Ok(_) | Err(_) => Some(found),
        }
    }

    /// Removes the file if it is still this one.
    pub(crate) fn remove(&self) {
        if Self::of(&self.path).is_ok_and(|found| found == *self) {
            // It may go between the look and this; then it is gone, as wanted.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Whether a socket file is there that nobody listens on; `false` if there is no file.
fn is_stale(address: &Address, path: &Path) -> Result<bool, ListenError> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(source) => return Err(failure(address, "looking at the path", source)),
    };
    if !found.file_type().is_socket() {
        return Err(ListenError::NotASocket { address: address.clone() });
    }
    match knock(path) {
        Err(refused) if refused.kind() == io::ErrorKind::ConnectionRefused => Ok(true),
        Err(gone) if gone.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) if source.kind() == io::ErrorKind::PermissionDenied => {
            Err(failure(address, "connecting to the socket there", source))
        }
        // It answers, or is too busy to answer.
        Ok(_) | Err(_) => Err(ListenError::InUse { address: address.clone() }),
    }
}

/// Connects without waiting: the queue of a live listener may be full.
fn knock(path: &Path) -> io::Result<()> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.connect(&SockAddr::unix(path)?)
}

/// Starts of hatchery programs in one directory, one after the other. Best
/// effort: a directory that cannot be read cannot be locked.
fn lock_directory(path: &Path) -> Option<File> {
    const PATIENCE: u32 = 100;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let directory = File::open(parent).ok()?;
    for _ in 0..PATIENCE {
        if lock::try_lock(&directory).ok()? {
            return Some(directory);
        }
        thread::sleep(Duration::from_millis(10));
    }
    // Somebody else uses this lock for something else.
    None
}

fn too_long(address: &Address, path: &Path, source: io::Error) -> ListenError {
    const MOST: usize = 107;
    match path.as_os_str().as_bytes().len() {
        len if len > MOST => ListenError::PathTooLong { address: address.clone(), len, most: MOST },
        _ => failure(address, "making the address", source),
    }
}
