//! The pid file: who holds it, and who takes it next.
//!
//! The lock (`flock`) decides, the number is for people. The lock belongs to
//! the open file, so a copy of its descriptor in some child would keep it: it
//! is close-on-exec, and no child keeps what it inherited. It is never unlocked
//! by hand.
//!
//! There is a pid file at every moment between ready and stop. A first master
//! reserves the path by a locked file beside it, `PATH.new`, and renames that
//! when it is ready: of two that start at once, one is refused. A successor first gives the old file its
//! second name, `PATH.oldbin`, and then renames its own over the first. A
//! predecessor that takes back renames `PATH.oldbin` over the path again.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use hatchery_core::Pid;
use hatchery_sys::{lock, process};
use thiserror::Error;

/// More than any pid and its line break.
const LONGEST: u64 = 64;

/// A pid file that is held, or will be.
///
/// Purposefully without a `Drop` that removes anything: forked children drop it
/// as well.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    hold: Hold,
}

/// What this master has of the file.
#[derive(Debug)]
enum Hold {
    /// Nothing.
    None,
    /// A locked file beside it, with the pid in it, to be renamed.
    Reserved {
        /// The file.
        file: File,
        /// What it is called until then.
        name: PathBuf,
    },
    /// The locked file.
    Held(File),
}

/// Why a pid file cannot be had.
#[derive(Debug, Error)]
pub enum PidFileError {
    /// A living master holds it.
    #[error("pid file {} is held by a running master{}", path.display(), who(*pid))]
    Held {
        /// The file.
        path: PathBuf,
        /// The number that stands in it, if one does.
        pid: Option<i32>,
    },
    /// Something else has that name, and is not to be replaced.
    #[error("pid file {}: what is there is no pid file; remove it or choose another path", path.display())]
    NotOurs {
        /// The path.
        path: PathBuf,
    },
    /// The system does not let us.
    #[error("cannot write pid file {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Its reason.
        source: io::Error,
    },
}

impl PidFile {
    /// A pid file that nobody has taken yet.
    #[must_use]
    pub fn at(path: PathBuf) -> Self {
        Self { path, hold: Hold::None }
    }

    /// The locked file, for this same master to go on with as another program image.
    #[must_use]
    pub fn lock_fd(&self) -> Option<BorrowedFd<'_>> {
        match &self.hold {
            Hold::None | Hold::Reserved { .. } => None,
            Hold::Held(file) => Some(file.as_fd()),
        }
    }

    /// Goes on with the file that this master has locked as another program image.
    /// One with another path is let go: it is nobody's then.
    pub fn go_on_with(&mut self, lock: OwnedFd) {
        let file = File::from(lock);
        if is_at(&file, &self.path) {
            self.hold = Hold::Held(file);
        }
    }

    /// Whether this master holds its pid file.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.is_ours(&self.path)
    }

    /// Whether a first master may start with this file: a look, before anything
    /// that takes long.
    ///
    /// # Errors
    /// When a living master holds it, something else has its name, or there is no folder for it.
    pub fn check(&self) -> Result<(), PidFileError> {
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        folder.map_or(Ok(()), |folder| fs::metadata(folder).map(drop)).map_err(|error| self.error(error))?;
        self.refuse_if_held()
    }

    /// Keeps others from starting with this file while this first master boots.
    ///
    /// The pid file itself is written when it is ready; until then a file beside
    /// it, `PATH.new`, is locked. One that a killed master left is taken over.
    ///
    /// # Errors
    /// As [`check`](Self::check), or when another master boots with it or the
    /// folder cannot be written to.
    pub fn reserve(&mut self) -> Result<(), PidFileError> {
        let name = self.reservation_name();
        loop {
            let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o644).open(&name);
            let mut file = opened.map_err(|error| self.error(error))?;
            if !lock::try_lock(&file).map_err(|error| self.error(error))? {
                let mut text = String::new();
                let _ = file.take(LONGEST).read_to_string(&mut text);
                return Err(PidFileError::Held { path: self.path.clone(), pid: text.trim().parse().ok() });
            }
            // Between the open and the lock its master may have renamed or removed it.
            if !is_at(&file, &name) {
                continue;
            }
            let written = self.refuse_if_held().and_then(|()| self.write_pid(&mut file));
            if written.is_err() {
                let _ = fs::remove_file(&name);
            }
            written?;
            self.hold = Hold::Reserved { file, name };
            return Ok(());
        }
    }

    /// Makes the file with which a successor will take over, beside its predecessor's.
    ///
    /// What can fail is done here, before anything is committed; taking over is
    /// then a matter of names.
    ///
    /// # Errors
    /// When the folder or the disk does not take it.
    pub fn prepare(&mut self) -> Result<(), PidFileError> {
        let name = self.draft_name(process::pid().as_raw());
        let file = self.draft(&name)?;
        self.hold = Hold::Reserved { file, name };
        Ok(())
    }

    /// Makes the reserved file the pid file, once the first master is ready.
    ///
    /// # Errors
    /// When something has come to have its name meanwhile, or it cannot be written.
    pub fn take_first(&mut self) -> Result<(), PidFileError> {
        if self.is_ours(&self.path) {
            return Ok(());
        }
        if matches!(self.hold, Hold::None) {
            self.reserve()?;
        }
        self.refuse_if_held()?;
        self.put_reserved()
    }

    /// Takes the file over from a predecessor, which keeps its own under
    /// `PATH.oldbin`. Does nothing if it is this master's already.
    ///
    /// # Errors
    /// When a file cannot be written, linked or renamed.
    pub fn take_over(&mut self) -> Result<(), PidFileError> {
        if self.is_ours(&self.path) {
            return Ok(());
        }
        let predecessor_lives = match self.refuse_if_held() {
            Ok(()) => false,
            Err(PidFileError::Held { .. }) => true,
            Err(other @ (PidFileError::NotOurs { .. } | PidFileError::Io { .. })) => return Err(other),
        };
        if matches!(self.hold, Hold::None) {
            self.prepare()?;
        }
        if predecessor_lives {
            // Over an older one, whose master drains as well: the name is the newest's.
            let step = self.with_suffix(".oldbin.new");
            let _ = fs::remove_file(&step);
            fs::hard_link(&self.path, &step).map_err(|error| self.error(error))?;
            self.put(&step, &self.old_name())?;
        }
        self.put_reserved()
    }

    /// Puts this master's own file back, whatever has become of it.
    ///
    /// # Errors
    /// When a file cannot be written or renamed.
    pub fn take_back(&mut self) -> Result<(), PidFileError> {
        if self.is_ours(&self.path) {
            return Ok(());
        }
        if self.is_ours(&self.old_name()) {
            return self.put(&self.old_name(), &self.path);
        }
        self.prepare()?;
        self.put_reserved()
    }

    /// Removes what a successor that is dead had [prepared](Self::prepare).
    pub fn remove_draft_of(&self, successor: Pid) {
        let _ = fs::remove_file(self.draft_name(successor.0));
    }

    /// Removes `PATH.oldbin` if the predecessor that it names is dead, and so
    /// could not do that itself. Returns whether there is none any more.
    #[must_use]
    pub fn remove_dead(&self) -> bool {
        let old = self.old_name();
        match File::open(&old) {
            Ok(file) if lock::is_free(&file).unwrap_or(false) => fs::remove_file(old).is_ok(),
            Ok(_) => false,
            Err(_) => true,
        }
    }

    /// Removes what was reserved and never came to be the pid file.
    pub fn release(&mut self) {
        if let Hold::Reserved { name, .. } = &self.hold {
            let _ = fs::remove_file(name);
            self.hold = Hold::None;
        }
    }

    /// Removes this master's own file, under whichever name, and nobody else's
    /// that lives.
    pub fn remove(&mut self) {
        self.release();
        for name in [self.path.clone(), self.old_name()] {
            if self.is_ours(&name) {
                let _ = fs::remove_file(name);
            }
        }
        // A living one's stays.
        let _ = self.remove_dead();
        self.hold = Hold::None;
    }

    fn put_reserved(&mut self) -> Result<(), PidFileError> {
        if let Hold::Reserved { name, .. } = &self.hold {
            self.put(name, &self.path)?;
        }
        self.hold = match std::mem::replace(&mut self.hold, Hold::None) {
            Hold::Reserved { file, .. } | Hold::Held(file) => Hold::Held(file),
            Hold::None => Hold::None,
        };
        Ok(())
    }

    /// A complete and locked file, under a name of its own.
    fn draft(&self, name: &Path) -> Result<File, PidFileError> {
        // Left by a master of the same pid that was killed in the middle of this.
        let _ = fs::remove_file(name);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o644)
            .open(name)
            .map_err(|error| self.error(error))?;
        lock::try_lock(&file).map_err(|error| self.error(error))?;
        let written = self.write_pid(&mut file);
        if written.is_err() {
            let _ = fs::remove_file(name);
        }
        written.map(|()| file)
    }

    fn write_pid(&self, file: &mut File) -> Result<(), PidFileError> {
        let written = file.set_len(0).and_then(|()| writeln!(file, "{}", process::pid()));
        written.map_err(|error| self.error(error))
    }

    /// An error if a living master holds the file.
    fn refuse_if_held(&self) -> Result<(), PidFileError> {
        // Before it is opened: to open a pipe could take for ever.
        match fs::symlink_metadata(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(self.error(error)),
            Ok(metadata) if !metadata.is_file() => return Err(self.not_ours()),
            Ok(_) => {}
        }
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(self.error(error)),
        };
        let free = lock::is_free(&file).map_err(|error| self.error(error))?;
        let mut text = String::new();
        let read = file.take(LONGEST).read_to_string(&mut text);
        let pid: Option<i32> = text.trim().parse().ok();
        if read.is_err() || (pid.is_none() && !text.trim().is_empty()) {
            return Err(self.not_ours());
        }
        if free { Ok(()) } else { Err(PidFileError::Held { path: self.path.clone(), pid }) }
    }

    fn put(&self, from: &Path, to: &Path) -> Result<(), PidFileError> {
        fs::rename(from, to).map_err(|error| self.error(error))
    }

    fn is_ours(&self, name: &Path) -> bool {
        match &self.hold {
            Hold::None | Hold::Reserved { .. } => false,
            Hold::Held(file) => is_at(file, name),
        }
    }

    fn reservation_name(&self) -> PathBuf {
        self.with_suffix(".new")
    }

    fn old_name(&self) -> PathBuf {
        self.with_suffix(".oldbin")
    }

    fn draft_name(&self, pid: i32) -> PathBuf {
        self.with_suffix(&format!(".{pid}.new"))
    }

    fn with_suffix(&self, suffix: &str) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(suffix);
        PathBuf::from(name)
    }

    fn not_ours(&self) -> PidFileError {
        PidFileError::NotOurs { path: self.path.clone() }
    }

    fn error(&self, source: io::Error) -> PidFileError {
        PidFileError::Io { path: self.path.clone(), source }
    }
}

/// Whether the open file is the one that has this name now.
fn is_at(file: &File, name: &Path) -> bool {
    let there = fs::symlink_metadata(name).ok();
    file.metadata().ok().zip(there).is_some_and(|(ours, there)| inode(&ours) == inode(&there))
}

fn inode(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

fn who(pid: Option<i32>) -> String {
    pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default()
}

#[cfg(test)]
mod tests;
