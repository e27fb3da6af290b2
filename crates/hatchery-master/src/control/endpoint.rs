//! The control socket as a file: whose name it is, and who takes it next.
//!
//! A master makes its socket as `PATH.PID`, and gives it the name `PATH` when it
//! serves. A successor first gives its predecessor's socket the name that has its
//! pid, and then renames its own over the first: there is one at every moment, and
//! whoever drains can still be asked.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use hatchery_core::Pid;
use hatchery_sys::process;
use hatchery_sys::socket_file::{self, Occupant};
use thiserror::Error;

/// Clients that may wait to be accepted, which happens at once.
const BACKLOG: i32 = 128;

/// The file of a control socket.
///
/// Purposefully without a `Drop` that removes anything: forked children drop it
/// as well.
#[derive(Debug)]
pub struct Endpoint {
    path: PathBuf,
    mode: u32,
    /// The master whose it is: this process.
    pid: Pid,
    socket: Option<Bound>,
}

#[derive(Debug)]
struct Bound {
    listener: UnixListener,
    file: (u64, u64),
}

/// Why there is no control socket.
#[derive(Debug, Error)]
pub enum ControlError {
    /// Somebody listens there.
    #[error("control socket {} is served by a running process{}", path.display(), who(*pid))]
    Held {
        /// The path.
        path: PathBuf,
        /// The process, if the system tells.
        pid: Option<i32>,
    },
    /// Something else has that name, and is not to be replaced.
    #[error("control socket {}: what is there is no socket; remove it or choose another path", path.display())]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// The system does not let us.
    #[error("cannot make control socket {}", path.display())]
    Io {
        /// The path.
        path: PathBuf,
        /// Its reason.
        source: io::Error,
    },
}

impl Endpoint {
    /// A socket that is not made yet, at this absolute path; `mode` says who may connect.
    #[must_use]
    pub fn at(path: PathBuf, mode: u32) -> Self {
        Self { path, mode, pid: Pid(process::pid().as_raw()), socket: None }
    }

    /// Whether others than root and this user may ask: the system lets those in whom the mode names.
    pub(super) fn is_open_to_others(&self) -> bool {
        self.mode & 0o022 != 0
    }

    pub(super) fn listener(&self) -> Option<&UnixListener> {
        self.socket.as_ref().map(|socket| &socket.listener)
    }

    /// Whether a first master may start with this path: a look, before anything that takes long.
    ///
    /// # Errors
    /// When somebody listens there, something else has the name, or there is no folder for it.
    pub fn check(&self) -> Result<(), ControlError> {
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        folder.map_or(Ok(()), |folder| fs::metadata(folder).map(drop)).map_err(|error| self.error(error))?;
        match self.look()? {
            Occupant::Nobody | Occupant::Dead => Ok(()),
            Occupant::Alive(who) => Err(self.held(who.map(|who| who.pid))),
            Occupant::NoSocket => Err(ControlError::NotASocket { path: self.path.clone() }),
        }
    }

    /// Makes the socket, under the name that has this master's pid.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn prepare(&mut self) -> Result<(), ControlError> {
        let name = self.own_name();
        // Left by a master of the same pid.
        let _ = fs::remove_file(&name);
        let listener = socket_file::listen_at(&name, self.mode, BACKLOG).map_err(|error| self.error(error))?;
        let file = inode(&name).map_err(|error| self.error(error))?;
        self.socket = Some(Bound { listener, file });
        Ok(())
    }

    /// Goes on with the socket that this master has listened on as another program image.
    /// One with another path is let go.
    pub fn go_on_with(&mut self, socket: OwnedFd) {
        let ours = socket_file::inode(socket.as_fd()).ok();
        if let Some(file) = inode(&self.path).ok().filter(|(_, ino)| ours.is_none_or(|ours| same(*ino, ours))) {
            self.socket = Some(Bound { listener: UnixListener::from(socket), file });
        }
    }

    /// The socket, for this same master to go on with as another program image.
    #[must_use]
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.listener().map(AsFd::as_fd)
    }

    /// Whether this master has the path.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.is_ours(&self.path)
    }

    /// Gives the socket its name. It may be taken from `other`, the master that served
    /// before, and from whoever is dead.
    ///
    /// # Errors
    /// When somebody else listens there, or the system refuses.
    pub fn take(&mut self, other: Option<Pid>) -> Result<(), ControlError> {
        if self.is_held() {
            self.drop_second_name();
            return Ok(());
        }
        if !self.is_ours(&self.own_name()) {
            self.prepare()?;
        }
        let name = self.own_name();
        let named = match self.look()? {
            // Not renamed: whoever was faster by a moment has it.
            Occupant::Nobody => fs::hard_link(&name, &self.path).and_then(|()| fs::remove_file(&name)),
            Occupant::Dead => fs::rename(&name, &self.path),
            Occupant::Alive(Some(who)) if other == Some(Pid(who.pid)) => {
                let second = self.name_of(Pid(who.pid));
                let _ = fs::remove_file(&second);
                // Without it the other one cannot be asked any more, and makes a new one to take back.
                let _ = fs::hard_link(&self.path, &second);
                fs::rename(&name, &self.path)
            }
            Occupant::Alive(who) => return Err(self.held(who.map(|who| who.pid))),
            Occupant::NoSocket => return Err(ControlError::NotASocket { path: self.path.clone() }),
        };
        named.map_err(|error| self.error(error))
    }

    /// Where a master that drains can be asked, if it can.
    #[must_use]
    pub fn second_name(&self, pid: Pid) -> Option<PathBuf> {
        Some(self.name_of(pid)).filter(|name| name.exists())
    }

    /// Removes the second name of a master that is gone. Returns whether there is none any more.
    #[must_use]
    pub fn remove_dead(&self, pid: Pid) -> bool {
        let name = self.name_of(pid);
        match socket_file::occupant(&name) {
            Ok(Occupant::Dead) => fs::remove_file(name).is_ok(),
            Ok(Occupant::Alive(_)) => false,
            Ok(Occupant::Nobody | Occupant::NoSocket) | Err(_) => true,
        }
    }

    /// Removes what was made and never came to have the path.
    pub fn release(&mut self) {
        let name = self.own_name();
        if self.is_ours(&name) {
            let _ = fs::remove_file(name);
        }
    }

    /// Removes this master's own socket, under whichever name, and nobody else's.
    pub fn remove(&mut self) {
        for name in [self.path.clone(), self.own_name()] {
            if self.is_ours(&name) {
                let _ = fs::remove_file(name);
            }
        }
        self.socket = None;
    }

    fn drop_second_name(&self) {
        let name = self.own_name();
        if self.is_ours(&name) {
            let _ = fs::remove_file(name);
        }
    }

    fn look(&self) -> Result<Occupant, ControlError> {
        socket_file::occupant(&self.path).map_err(|error| self.error(error))
    }

    fn is_ours(&self, name: &Path) -> bool {
        let ours = self.socket.as_ref().map(|socket| socket.file);
        ours.is_some() && ours == inode(name).ok()
    }

    fn own_name(&self) -> PathBuf {
        self.name_of(self.pid)
    }

    fn name_of(&self, pid: Pid) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{pid}"));
        PathBuf::from(name)
    }

    fn held(&self, pid: Option<i32>) -> ControlError {
        ControlError::Held { path: self.path.clone(), pid }
    }

    fn error(&self, source: io::Error) -> ControlError {
        ControlError::Io { path: self.path.clone(), source }
    }
}

/// Takes in somebody who has connected; the stream does not block.
pub(super) fn accept(listener: &UnixListener) -> io::Result<UnixStream> {
    let (stream, _) = listener.accept()?;
    stream.set_nonblocking(true)?;
    Ok(stream)
}

fn inode(name: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(name).map(|found| (found.dev(), found.ino()))
}

/// The kernel tells the lower half of an inode's number.
fn same(ino: u64, told: u32) -> bool {
    ino & u64::from(u32::MAX) == u64::from(told)
}

fn who(pid: Option<i32>) -> String {
    pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_taken_from_the_dead_and_from_nobody_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("ctl");
        let mut ours = Endpoint::at(path.clone(), 0o600);
        let somebody = UnixListener::bind(&path).expect("nothing is there");
        assert!(matches!(ours.check(), Err(ControlError::Held { .. })));
        assert!(matches!(ours.take(None), Err(ControlError::Held { .. })));
        assert!(UnixStream::connect(&path).is_ok() && !ours.is_held());
        drop(somebody);
        ours.check().expect("it is dead");
        ours.take(None).expect("it is dead");
        assert!(ours.is_held());
        ours.take(None).expect("it has it");
        ours.remove();
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0);
    }

    #[test]
    fn it_passes_to_a_successor_and_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("ctl");
        let here = Pid(process::pid().as_raw());
        let of = |pid| Endpoint { pid, ..Endpoint::at(path.clone(), 0o600) };
        let (mut old, mut new) = (of(here), of(Pid(2)));
        old.take(None).expect("nothing is there");
        let file = inode(&path).expect("it is there");
        new.take(Some(here)).expect("it may");
        assert!(new.is_held() && !old.is_held() && old.second_name(here).is_some());
        assert_eq!(inode(&old.own_name()).expect("its second name"), file);

        // And back, with the pids the other way round: the one that serves is this process.
        let second = path.with_extension("3");
        fs::rename(old.own_name(), &second).expect("a rename");
        old.pid = Pid(3);
        // As the name is made: `PATH.PID`.
        assert_eq!(old.own_name(), second);
        old.take(Some(here)).expect("it may");
        assert!(old.is_held() && inode(&path).expect("it is there") == file);
        new.remove();
        assert!(old.is_held());
    }

    #[test]
    fn what_is_no_socket_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("ctl");
        fs::write(&path, "text").expect("a file");
        let mut ours = Endpoint::at(path.clone(), 0o600);
        assert!(matches!(ours.check(), Err(ControlError::NotASocket { .. })));
        assert!(ours.take(None).is_err());
        ours.remove();
        assert_eq!(fs::read_to_string(&path).expect("the file"), "text");
    }
}
