//! Who workers are: looked up and tried once, before anything is started.

use std::io;
use std::os::fd::AsFd;

use hatchery_sys::channel::{Channel, Received};
use hatchery_sys::fork::{self, Fork};
use hatchery_sys::user::Identity;
use hatchery_sys::wait::{self, Status};
use hatchery_sys::{poll, process, signals, streams};

/// What every forked child of a generation gives up before it runs any of the
/// program's own code. The master keeps what it has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Privileges {
    /// Whom it becomes; `None`: it stays who the master is.
    pub identity: Option<Identity>,
    /// Whether it can never gain any again, as by a set-user-ID program.
    pub none_to_gain: bool,
}

/// Whether a process that becomes somebody else leaves core dumps. One that does lets
/// everybody who is the same user look at its memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dumps {
    /// Where they are on.
    Allowed,
    /// It holds what is to be kept from that user.
    Forbidden,
}

impl Privileges {
    /// Tries in a child of its own whether they can be given up here: a user
    /// namespace may not know the numbers, a container may forbid the change.
    ///
    /// The process must have one thread, see [`hatchery_sys::threads::count`].
    ///
    /// # Errors
    /// What went wrong there; or when there is no process left to try it in.
    pub fn rehearse(&self) -> io::Result<()> {
        let (ours, theirs) = Channel::pair()?;
        streams::flush();
        let blocked = signals::block_all()?;
        match fork::fork(&blocked) {
            Ok(Fork::Parent { child }) => {
                blocked.restore();
                drop(theirs);
                let said = last_words(&ours);
                match (said, wait::reap_one(child)?) {
                    (Some(text), _) => Err(io::Error::other(text)),
                    (None, Some(Status::Exited(0)) | None) => Ok(()),
                    (None, Some(status)) => Err(io::Error::other(format!("the process that tried it {status}"))),
                }
            }
            Ok(Fork::Child) => {
                if let Err(failure) = self.give_up(Dumps::Allowed) {
                    let _ = theirs.send(failure.to_string().as_bytes(), &[]);
                }
                process::exit_now(0)
            }
            Err(failure) => {
                blocked.restore();
                Err(failure)
            }
        }
    }

    /// Gives them up, for ever. For a forked child, before anything else.
    ///
    /// A signal that was asked for at the parent's death has to be asked for again.
    ///
    /// # Errors
    /// When the system refuses: the process must end then.
    pub fn give_up(&self, dumps: Dumps) -> io::Result<()> {
        if let Some(identity) = &self.identity {
            identity.assume()?;
            match dumps {
                Dumps::Allowed => process::allow_dumps(true),
                Dumps::Forbidden => process::allow_dumps(false),
            }
        }
        if self.none_to_gain { process::gain_no_privileges() } else { Ok(()) }
    }
}

/// What a process says before it ends; `None` if it has nothing to complain about.
fn last_words(channel: &Channel) -> Option<String> {
    let mut message = [0; 4096];
    loop {
        match channel.recv(&mut message) {
            Ok(Received::Message { len, .. }) => return Some(String::from_utf8_lossy(&message[..len]).into_owned()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                poll::readable(&[channel.as_fd()], None).ok()?;
            }
            Ok(Received::Truncated | Received::Stripped { .. } | Received::Closed) | Err(_) => return None,
        }
    }
}
