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
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

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
    /// The locked `PATH.new` of a first master that boots: nobody else may.
    Reserved(File),
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
            self.hold = Hold::Reserved(file);
            return Ok(());
        }
    }

    /// Makes the reserved file the pid file, once the first master is ready.
    ///
    /// # Errors
    /// When something has come to have its name meanwhile, or it cannot be written.
    pub fn take_first(&mut self) -> Result<(), PidFileError> {
        if matches!(self.hold, Hold::None) {
            self.reserve()?;
        }
        self.refuse_if_held()?;
        self.put(&self.reservation_name(), &self.path)?;
        if let Hold::Reserved(file) = std::mem::replace(&mut self.hold, Hold::None) {
            self.hold = Hold::Held(file);
        }
        Ok(())
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
        let draft = self.draft()?;
        if predecessor_lives {
            // Over an older one, whose master drains as well: the name is the newest's.
            let step = self.with_suffix(".oldbin.new");
            let _ = fs::remove_file(&step);
            fs::hard_link(&self.path, &step).map_err(|error| self.error(error))?;
            self.put(&step, &self.old_name())?;
        }
        self.put(&self.draft_name(), &self.path)?;
        self.hold = Hold::Held(draft);
        Ok(())
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
        let draft = self.draft()?;
        self.put(&self.draft_name(), &self.path)?;
        self.hold = Hold::Held(draft);
        Ok(())
    }

    /// Removes `PATH.oldbin` if the predecessor that it names is dead, and so
    /// could not do that itself.
    pub fn remove_dead(&self) {
        let old = self.old_name();
        if File::open(&old).is_ok_and(|file| lock::try_lock(&file).unwrap_or(false)) {
            let _ = fs::remove_file(old);
        }
    }

    /// Removes this master's own file, under whichever name, and nobody else's
    /// that lives.
    pub fn remove(&mut self) {
        for name in [self.path.clone(), self.old_name(), self.reservation_name()] {
            if self.is_ours(&name) {
                let _ = fs::remove_file(name);
            }
        }
        self.remove_dead();
        self.hold = Hold::None;
    }

    /// A complete and locked file, under a name of its own.
    fn draft(&self) -> Result<File, PidFileError> {
        let name = self.draft_name();
        // Left by a master of the same pid that was killed in the middle of this.
        let _ = fs::remove_file(&name);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o644)
            .open(&name)
            .map_err(|error| self.error(error))?;
        lock::try_lock(&file).map_err(|error| self.error(error))?;
        let written = self.write_pid(&mut file);
        if written.is_err() {
            let _ = fs::remove_file(&name);
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
        let free = lock::try_lock(&file).map_err(|error| self.error(error))?;
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
            Hold::None => false,
            Hold::Reserved(file) | Hold::Held(file) => is_at(file, name),
        }
    }

    fn reservation_name(&self) -> PathBuf {
        self.with_suffix(".new")
    }

    fn old_name(&self) -> PathBuf {
        self.with_suffix(".oldbin")
    }

    fn draft_name(&self) -> PathBuf {
        self.with_suffix(&format!(".{}.new", process::pid()))
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
mod tests {
    use super::*;

    /// In one process the lock of one open file still stands against that of another.
    fn pair() -> (tempfile::TempDir, PidFile, PidFile) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app.pid");
        (dir, PidFile::at(path.clone()), PidFile::at(path))
    }

    fn names(dir: &tempfile::TempDir) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn the_first_master_takes_it_and_a_second_is_refused() {
        let (dir, mut first, mut second) = pair();
        first.check().unwrap();
        assert_eq!(names(&dir), [""; 0], "a check leaves nothing");
        first.reserve().unwrap();
        assert_eq!(names(&dir), ["app.pid.new"]);
        let error = second.reserve().unwrap_err().to_string();
        assert!(error.contains("is held by a running master"), "{error}");
        first.take_first().unwrap();
        assert_eq!(names(&dir), ["app.pid"]);
        assert_eq!(fs::read_to_string(dir.path().join("app.pid")).unwrap(), format!("{}\n", process::pid()));
        let error = second.check().unwrap_err().to_string();
        assert!(error.ends_with(&format!("is held by a running master (pid {})", process::pid())), "{error}");
        assert!(second.take_first().is_err());
        assert_eq!(names(&dir), ["app.pid"]);
        first.remove();
        assert_eq!(names(&dir), [""; 0]);
    }

    #[test]
    fn what_is_no_pid_file_is_left_alone() {
        let (dir, file, _) = pair();
        let path = dir.path().join("app.pid");
        fs::write(&path, "my data\n").unwrap();
        let error = file.check().unwrap_err().to_string();
        assert!(error.ends_with("what is there is no pid file; remove it or choose another path"), "{error}");
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(matches!(file.check(), Err(PidFileError::NotOurs { .. })));
        fs::remove_dir(&path).unwrap();
        std::os::unix::fs::symlink("/dev/null", &path).unwrap();
        assert!(matches!(file.check(), Err(PidFileError::NotOurs { .. })));
        assert_eq!(names(&dir), ["app.pid"]);
    }

    #[test]
    fn a_file_that_nobody_holds_is_replaced() {
        let (dir, mut first, _) = pair();
        fs::write(dir.path().join("app.pid"), "1\n").unwrap();
        fs::write(dir.path().join("app.pid.new"), "99999999\n").unwrap();
        first.check().unwrap();
        first.take_first().unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("app.pid")).unwrap(), format!("{}\n", process::pid()));
        assert_eq!(names(&dir), ["app.pid"]);
    }

    #[test]
    fn a_successor_takes_over_and_each_removes_its_own() {
        let (dir, mut old, mut new) = pair();
        old.take_first().unwrap();
        new.take_over().unwrap();
        assert_eq!(names(&dir), ["app.pid", "app.pid.oldbin"]);
        assert!(new.is_ours(&new.path) && old.is_ours(&old.old_name()));
        old.remove();
        assert_eq!(names(&dir), ["app.pid"]);
        new.remove();
        assert_eq!(names(&dir), [""; 0]);
    }

    #[test]
    fn a_predecessor_takes_back() {
        let (dir, mut old, mut new) = pair();
        old.take_first().unwrap();
        new.take_over().unwrap();
        old.take_back().unwrap();
        assert_eq!(names(&dir), ["app.pid"]);
        assert!(old.is_ours(&old.path));
        new.remove();
        assert_eq!(names(&dir), ["app.pid"], "the file is not the dead successor's any more");
        old.take_back().unwrap();
        fs::remove_file(dir.path().join("app.pid")).unwrap();
        old.take_back().unwrap();
        assert_eq!(names(&dir), ["app.pid"], "made anew where somebody removed it");
    }

    #[test]
    fn with_two_predecessors_the_second_name_is_the_newer_ones() {
        let (dir, mut first, mut second) = pair();
        let mut third = PidFile::at(first.path.clone());
        first.take_first().unwrap();
        second.take_over().unwrap();
        third.take_over().unwrap();
        assert!(second.is_ours(&second.old_name()));
        first.remove();
        assert_eq!(names(&dir), ["app.pid", "app.pid.oldbin"]);
    }

    #[test]
    fn an_heir_leaves_no_second_name_of_a_dead_master() {
        let (dir, _, mut heir) = pair();
        fs::write(dir.path().join("app.pid"), "1\n").unwrap();
        heir.take_over().unwrap();
        assert_eq!(names(&dir), ["app.pid"]);
    }

    #[test]
    fn a_folder_that_is_not_there_is_said_at_start() {
        let file = PidFile::at(PathBuf::from("/nonexistent/app.pid"));
        assert_eq!(file.check().unwrap_err().to_string(), "cannot write pid file /nonexistent/app.pid");
    }
}
