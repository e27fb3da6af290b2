//! One address that is served.

use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use hatchery_core::ListenMode;
use socket2::SockRef;

use crate::unix::Identity;
use crate::{Address, ListenError, bind, inherit};

/// A listener that is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Spec {
    /// What the program calls it, if it has several that it tells apart.
    pub name: Option<String>,
    /// Where it shall listen.
    pub address: Address,
}

/// An address that is served, with its accept queues.
///
/// Dropping it closes this process' copies and nothing else: other processes
/// that have inherited the queues go on.
#[derive(Debug)]
pub struct Listener {
    pub(crate) name: Option<String>,
    pub(crate) asked: Address,
    pub(crate) bound: Address,
    pub(crate) queues: Vec<Queue>,
    pub(crate) file: Option<Identity>,
    pub(crate) source: Source,
    pub(crate) holder: Holder,
    pub(crate) backlog: i32,
    pub(crate) standing: Standing,
}

/// Whether the settings ask for a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// They do.
    Asked,
    /// Not any more: those who serve it go on until it is closed.
    Retired,
    /// It has no queue any more, and keeps its place, by which others have their numbers.
    Closed,
}

/// Where a listener has come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// This program has bound it.
    Bound,
    /// A predecessor has, and may still serve it.
    Inherited,
}

/// Who keeps an address open.
///
/// ```
/// use hatchery_net::Holder;
///
/// assert!(Holder::Manager { name: "web".to_owned() }.outlives_us());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Holder {
    /// This program and its predecessors: it ends with them.
    #[default]
    Program,
    /// A service manager has passed it, and holds a copy for the next start.
    Manager {
        /// What the service manager calls it.
        name: String,
    },
    /// This program has bound it, and a service manager stores copies for the next start.
    Store {
        /// How many of its queues are stored, the first ones.
        copies: usize,
    },
}

impl Holder {
    /// Whether clients may still connect when this program is gone.
    #[must_use]
    pub fn outlives_us(&self) -> bool {
        match self {
            Self::Program => false,
            Self::Manager { .. } | Self::Store { .. } => true,
        }
    }

    /// What the service manager calls it, if one has passed it.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Program | Self::Store { .. } => None,
            Self::Manager { name } => Some(name),
        }
    }
}

/// An accept queue: what connections wait in until they are accepted.
///
/// It does not block, and no exec inherits it unless it is kept on purpose.
#[derive(Debug)]
pub struct Queue(OwnedFd);

impl Listener {
    /// Binds an address and listens on it.
    ///
    /// A TCP address has `queues` queues with [`ListenMode::Reuseport`], one
    /// with [`ListenMode::Shared`]; a unix socket has one. `backlog` is how many
    /// connections may wait in each; the kernel has a limit of its own.
    ///
    /// # Errors
    /// When somebody else listens there, or the system refuses.
    pub fn bind(spec: &Spec, mode: ListenMode, queues: u16, backlog: u32) -> Result<Self, ListenError> {
        bind::bind(spec, mode, queues, backlog)
    }

    /// Takes queues that another program has bound, after a look at each: it
    /// has to be a stream socket that listens on this very address.
    ///
    /// A spec with port 0 takes any port of its IP address.
    ///
    /// # Errors
    /// When one of the descriptors is something else. All of them are closed then.
    pub fn inherit(spec: &Spec, fds: Vec<OwnedFd>) -> Result<Self, ListenError> {
        inherit::inherit(spec, fds)
    }

    /// The same, with somebody who keeps it open.
    #[must_use]
    pub fn held_by(mut self, holder: Holder) -> Self {
        self.holder = holder;
        self
    }

    /// What the program calls it.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The address that was asked for.
    #[must_use]
    pub fn asked(&self) -> &Address {
        &self.asked
    }

    /// The address that it has: with the real port, where 0 was asked for.
    #[must_use]
    pub fn bound(&self) -> &Address {
        &self.bound
    }

    /// Who keeps it open.
    #[must_use]
    pub fn holder(&self) -> &Holder {
        &self.holder
    }

    /// Its accept queues: at least one, unless it [is closed](Self::is_closed).
    #[must_use]
    pub fn queues(&self) -> &[Queue] {
        &self.queues
    }

    /// Whether the settings ask for it: who begins now is to serve it.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.standing == Standing::Asked
    }

    /// Whether it was closed by a reload.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.standing == Standing::Closed
    }

    /// How many connections may wait in each queue, as far as was asked for.
    #[must_use]
    pub fn backlog(&self) -> u32 {
        self.backlog.unsigned_abs()
    }

    /// Lets so many connections wait in each queue, also in those that are added
    /// later; the kernel may allow less.
    ///
    /// It belongs to the queue: it changes for every process that has it. One that a
    /// service manager has made stays as that has made it.
    ///
    /// # Errors
    /// Those of `listen(2)`.
    pub fn set_backlog(&mut self, backlog: u32) -> Result<(), ListenError> {
        if self.holder.name().is_some() {
            return Ok(());
        }
        let backlog = i32::try_from(backlog).unwrap_or(i32::MAX);
        let set = |queue: &Queue| SockRef::from(queue).listen(backlog);
        self.queues.iter().try_for_each(set).map_err(|source| bind::failure(&self.bound, "listen", source))?;
        self.backlog = backlog;
        Ok(())
    }

    /// Ends it for every process that holds a copy: new clients are refused, and
    /// who waits for connections wakes up.
    ///
    /// What is still queued is lost, so it is for the very end. After it the
    /// address can be bound again, whoever still holds a descriptor. What a service
    /// manager holds is left alone: clients wait in it for the next start.
    pub fn shut(&self) {
        if !self.holder.outlives_us() {
            self.shut_queues();
        }
    }

    /// The same for one that no setting asks for any more, and without its file: nobody
    /// serves it again, also if copies are stored.
    pub fn end(&self) {
        if self.holder.name().is_none() {
            self.shut_queues();
            self.file.iter().for_each(Identity::remove);
        }
    }

    /// Removes the file of one that was bound and never served, unless clients may wait in a stored copy.
    pub(crate) fn abandon(&self) {
        if self.source == Source::Bound && !self.is_stored() {
            self.file.iter().for_each(Identity::remove);
        }
    }

    fn shut_queues(&self) {
        for queue in &self.queues {
            // It fails for a queue that another process has shut already.
            let _ = SockRef::from(queue).shutdown(Shutdown::Read);
        }
    }

    /// Removes the file of a unix socket, unless it is somebody else's by now, or a service manager's.
    pub fn remove_file(&self) {
        if let Some(file) = self.file.as_ref().filter(|_| !self.holder.outlives_us()) {
            file.remove();
        }
    }
}

impl Queue {
    pub(crate) fn new(fd: OwnedFd) -> Self {
        Self(fd)
    }

    /// A second descriptor of the same queue.
    ///
    /// # Errors
    /// When this process has no descriptor left.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self(self.0.try_clone()?))
    }
}

impl AsFd for Queue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Queue {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl From<Queue> for OwnedFd {
    fn from(queue: Queue) -> Self {
        queue.0
    }
}
