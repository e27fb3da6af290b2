//! How many threads this process has.
//!
//! A fork copies one thread, and a lock that another one held stays locked in
//! the child. So the master asks before its first fork, and names the threads
//! to who has started them.

use std::fs;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;

/// What [`count`] found.
#[derive(Debug)]
pub enum Threads {
    /// The one that asks.
    One,
    /// Others too.
    Many {
        /// What the others are called; a thread without a name has its program's.
        names: Vec<String>,
    },
    /// It cannot be found out here.
    Unknown {
        /// What failed.
        why: io::Error,
    },
}

/// Whether this process has any thread besides the one that asks.
///
/// A thread that was joined lingers for a moment: as long as there seem to be
/// others it looks again, for up to `patience`.
#[must_use]
pub fn count(patience: Duration) -> Threads {
    let end = Instant::now() + patience;
    loop {
        let found = match ask_kernel() {
            Ok(()) => return Threads::One,
            // It is sure that there are others, or were a moment ago; who they are is for people.
            Err(Errno::EINVAL) => Threads::Many { names: others().unwrap_or_default() },
            // A container may forbid the question, and an old kernel not know it.
            Err(_) => match others() {
                Ok(names) if names.is_empty() => return Threads::One,
                Ok(names) => Threads::Many { names },
                Err(why) => return Threads::Unknown { why },
            },
        };
        if Instant::now() >= end {
            return found;
        }
        thread::sleep(PAUSE);
    }
}

/// How long to wait between two looks.
const PAUSE: Duration = Duration::from_millis(1);

/// Unsharing memory succeeds, and changes nothing, exactly when there is nobody to share it with.
#[cfg(target_os = "linux")]
fn ask_kernel() -> nix::Result<()> {
    // SAFETY: in a process with one thread this is a no-op, in any other it fails.
    match unsafe { libc::unshare(libc::CLONE_VM) } {
        0 => Ok(()),
        _ => Err(Errno::last()),
    }
}

#[cfg(not(target_os = "linux"))]
fn ask_kernel() -> nix::Result<()> {
    Err(Errno::ENOSYS)
}

/// The names of all threads but this process' first.
fn others() -> io::Result<Vec<String>> {
    let first = nix::unistd::getpid().to_string();
    let mut names = Vec::new();
    for task in fs::read_dir("/proc/self/task")? {
        let task = task?;
        if task.file_name() == *first {
            continue;
        }
        // It may have ended since the directory was read.
        if let Ok(name) = fs::read(task.path().join("comm")) {
            names.push(String::from_utf8_lossy(&name).trim_end().to_owned());
        }
    }
    Ok(names)
}
