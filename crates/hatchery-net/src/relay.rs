//! The relay: what connections move through from process to process.

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

use hatchery_core::wire::relay::LONGEST;
use hatchery_sys::channel::{Channel, Received};

use crate::entry::{Entry, Refused};

/// A pair of connected sockets: one message a connection, which the kernel gives
/// to one of those who read.
///
/// What is in it lives for as long as somebody holds its exit, as a listener's
/// queue does. Dropping it closes this process' copies and nothing else.
///
/// ```
/// use hatchery_net::{Refused, Relay};
///
/// let relay = Relay::pair()?;
/// assert!(relay.entry().send(b"a connection", &[]).is_ok());
/// relay.shut();
/// assert!(matches!(relay.entry().send(b"too late", &[]), Err(Refused::Shut)));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Relay {
    entry: Entry,
    exit: Channel,
    /// Taken out to be forwarded, and not taken in by the other one yet.
    held: RefCell<Option<Message>>,
}

/// What [`Relay::forward_to`] has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forwarded {
    /// Messages that are in the other relay now.
    pub moved: usize,
    /// Messages that could not be passed on: damaged, or too large for the other relay.
    pub lost: usize,
    /// Whether there is more, for which the other relay has no room at present.
    pub left: bool,
}

#[derive(Debug)]
struct Message {
    bytes: Vec<u8>,
    fds: Vec<OwnedFd>,
}

impl Relay {
    /// A new one.
    ///
    /// # Errors
    /// When this process or the system has no descriptor left.
    pub fn pair() -> io::Result<Self> {
        let (entry, exit) = Channel::pair()?;
        Ok(Self { entry: Entry::with_room(entry)?, exit, held: RefCell::default() })
    }

    /// Takes the two ends of one that was handed over.
    ///
    /// # Errors
    /// When they are not two connected sockets of this kind.
    pub fn from_fds(entry: OwnedFd, exit: OwnedFd) -> io::Result<Self> {
        if inode(&entry)? == inode(&exit)? {
            let text = "the entry and the exit of a relay are the same socket";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        // As far as can be seen: nothing tells whose peer a socket without a name is.
        let (entry, exit) = (Entry::from_fd(entry)?, Entry::from_fd(exit)?);
        Ok(Self { entry, exit: exit.into_channel(), held: RefCell::default() })
    }

    /// Where connections are sent into it.
    #[must_use]
    pub fn entry(&self) -> &Entry {
        &self.entry
    }

    /// Where they are received.
    #[must_use]
    pub fn exit(&self) -> &Channel {
        &self.exit
    }

    /// The exit alone, for a process that sends nothing into it.
    #[must_use]
    pub fn into_exit(self) -> Channel {
        self.exit
    }

    /// The largest message that it takes, in bytes.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.entry.limit()
    }

    /// Lets nobody send any more. What is in it is still received, and after
    /// that every reader finds the end.
    pub fn shut(&self) {
        self.entry.shut();
    }

    /// Passes everything that is in it on to another relay, as far as that has room.
    ///
    /// It is for what workers that died have left. As long as something is left, a
    /// message that was taken out already waits here, in this process' memory: go
    /// on later, and do not drop the relay before. Others may read at the same
    /// time; each message is passed on once.
    ///
    /// # Errors
    /// When the other one is shut, or one of the two is no relay any more.
    pub fn forward_to(&self, other: &Self) -> io::Result<Forwarded> {
        let mut forwarded = Forwarded::default();
        let mut buffer = vec![0; LONGEST];
        loop {
            let held = self.held.take();
            let message = match held.map_or_else(|| self.take(&mut buffer), Taken::Message) {
                Taken::Message(message) => message,
                Taken::Damaged => {
                    forwarded.lost += 1;
                    continue;
                }
                Taken::Nothing => return Ok(forwarded),
                Taken::Failed(error) => return Err(error),
            };
            let fds: Vec<BorrowedFd<'_>> = message.fds.iter().map(AsFd::as_fd).collect();
            match other.entry.send(&message.bytes, &fds) {
                Ok(()) => forwarded.moved += 1,
                Err(Refused::TooLarge) => forwarded.lost += 1,
                Err(refused) => {
                    self.held.replace(Some(message));
                    return match refused {
                        Refused::Failed(error) => Err(error),
                        Refused::Shut => Err(io::ErrorKind::BrokenPipe.into()),
                        Refused::Full | Refused::Scarce | Refused::TooLarge => {
                            Ok(Forwarded { left: true, ..forwarded })
                        }
                    };
                }
            }
        }
    }

    fn take(&self, buffer: &mut [u8]) -> Taken {
        match self.exit.recv(buffer) {
            Ok(Received::Message { len, fds }) => Taken::Message(Message { bytes: buffer[..len].to_vec(), fds }),
            Ok(Received::Truncated | Received::Stripped { .. }) => Taken::Damaged,
            Ok(Received::Closed) => Taken::Nothing,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Taken::Nothing,
            Err(error) => Taken::Failed(error),
        }
    }
}

/// What a look into a relay has brought.
enum Taken {
    Message(Message),
    Damaged,
    Nothing,
    Failed(io::Error),
}

fn inode(fd: &OwnedFd) -> io::Result<(u64, u64)> {
    let found = File::from(fd.try_clone()?).metadata()?;
    Ok((found.dev(), found.ino()))
}
