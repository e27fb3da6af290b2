//! The end of a relay that connections are sent into.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use hatchery_core::wire::relay::LONGEST;
use hatchery_sys::channel::{self, Channel};
use thiserror::Error;

/// What is asked for, for messages that are on their way, in bytes. The kernel
/// usually grants less: what it gives to everybody.
const CAPACITY: usize = 1024 * 1024;

/// What the kernel keeps for itself of the capacity when it judges one message, in bytes.
const OVERHEAD: usize = 32;

/// The end of a relay that connections are sent into.
///
/// ```
/// use hatchery_net::{Entry, Relay};
///
/// let relay = Relay::pair()?;
/// // As another process has it, that was passed the descriptor.
/// let entry = Entry::from_fd(relay.entry().try_clone_fd()?)?;
/// assert!(entry.send(b"a connection", &[]).is_ok());
/// assert_eq!(entry.limit(), relay.limit());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Entry {
    channel: Channel,
    limit: usize,
}

/// Why a message is not in the relay.
#[derive(Debug, Error)]
pub enum Refused {
    /// There is no room for it. The entry becomes writable when there is.
    #[error("the relay is full")]
    Full,
    /// Too many descriptors of this user are on their way, or there is no memory:
    /// nothing tells when that is over.
    #[error("the system has nothing to spare for it")]
    Scarce,
    /// It is larger than [`Entry::limit`].
    #[error("the message is too large")]
    TooLarge,
    /// The relay was shut, or nobody can ever receive from it.
    #[error("the relay is shut")]
    Shut,
    /// Anything else.
    #[error("it cannot be sent")]
    Failed(#[source] io::Error),
}

impl Entry {
    /// Takes an entry that was handed over.
    ///
    /// # Errors
    /// When it is not a connected socket of this kind.
    pub fn from_fd(fd: OwnedFd) -> io::Result<Self> {
        let channel = Channel::from_fd(fd)?;
        if !channel.is_connected() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not connected to anything"));
        }
        Self::of(channel)
    }

    pub(crate) fn with_room(channel: Channel) -> io::Result<Self> {
        channel.set_send_capacity(CAPACITY)?;
        Self::of(channel)
    }

    fn of(channel: Channel) -> io::Result<Self> {
        let limit = LONGEST.min(channel.send_capacity()?.saturating_sub(OVERHEAD));
        Ok(Self { channel, limit })
    }

    /// The largest message that it takes, in bytes: what the relay's format
    /// allows, or less if the kernel does not grant so much.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Sends one message, with copies of `fds`. Never waits.
    ///
    /// # Errors
    /// When there is no room for it, or the relay is shut.
    pub fn send(&self, message: &[u8], fds: &[BorrowedFd<'_>]) -> Result<(), Refused> {
        if message.len() > self.limit {
            return Err(Refused::TooLarge);
        }
        self.channel.send(message, fds).map_err(Refused::of)
    }

    /// Lets nobody send any more, in no process.
    pub fn shut(&self) {
        // It fails for one that is shut already.
        let _ = self.channel.shut();
    }

    /// A second descriptor of the same entry, for another process.
    ///
    /// # Errors
    /// When this process has no descriptor left.
    pub fn try_clone_fd(&self) -> io::Result<OwnedFd> {
        self.channel.as_fd().try_clone_to_owned()
    }

    pub(crate) fn into_channel(self) -> Channel {
        self.channel
    }
}

impl AsFd for Entry {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}

impl AsRawFd for Entry {
    fn as_raw_fd(&self) -> RawFd {
        self.channel.as_raw_fd()
    }
}

impl Refused {
    fn of(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::WouldBlock => Self::Full,
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset | io::ErrorKind::NotConnected => Self::Shut,
            _ if channel::is_shortage(&error) => Self::Scarce,
            _ => Self::Failed(error),
        }
    }
}
