//! Letting go of who has started this program, who waits until the workers are ready.
//!
//! ```text
//! starter   waits; its exit code is what the shell sees
//!  └ …      makes the session, and ends: the daemon must not lead it, or it could get a terminal
//!     └ daemon   goes on as the server
//! ```
//!
//! All three share a channel's other end for a moment. What is said over it ends
//! the wait, and so does its end: nobody is left who could say anything.

use std::io;
use std::os::fd::AsFd;

use hatchery_core::Pid;
use hatchery_core::wire::anchor::StarterHears;
use hatchery_sys::channel::{Channel, Received};
use hatchery_sys::fork::{self, Fork};
use hatchery_sys::wait::{self, Status};
use hatchery_sys::{poll, process, signals, streams};

/// The most of an error that the starter is told.
const LONGEST: usize = 16 * 1024;

/// Which process this is, after [`detach`].
#[derive(Debug)]
pub enum Side {
    /// The one that was started: it waits.
    Starter(Wait),
    /// The one that goes on.
    Daemon(Starter),
}

/// The starter, as the daemon sees it.
#[derive(Debug)]
pub struct Starter(Channel);

/// The daemon, as its starter sees it.
#[derive(Debug)]
pub struct Wait(Channel);

/// What a starter has waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The workers are ready.
    Ready,
    /// They never were.
    Failed {
        /// The exit code.
        code: u8,
        /// Why, in one line.
        text: String,
    },
    /// The daemon has ended without a word.
    Died(Option<Status>),
}

/// Forks twice, with a session of its own in between. The daemon's standard
/// streams lead to the null device; its folder and its mask are as they were.
///
/// The process must have one thread, see [`hatchery_sys::threads::count`].
///
/// # Errors
/// In the process that was started, when there is no process or descriptor left.
pub fn detach() -> io::Result<Side> {
    let (ours, theirs) = Channel::pair()?;
    // The daemon's end can be told by its exit code then. Where there is no such
    // thing, a death is a death.
    let _ = process::adopt_orphans();
    streams::flush();
    let blocked = signals::block_all()?;
    match fork::fork(&blocked) {
        Ok(Fork::Parent { child }) => {
            blocked.restore();
            drop(theirs);
            // It ends at once.
            let _ = wait::reap_one(child);
            Ok(Side::Starter(Wait(ours)))
        }
        Ok(Fork::Child) => {
            drop(ours);
            let starter = Starter(theirs);
            let forked = process::lead_session().and_then(|()| fork::fork(&blocked));
            let arrived = match forked {
                Ok(Fork::Parent { .. }) => process::exit_now(0),
                Ok(Fork::Child) => streams::discard(),
                Err(failure) => Err(failure),
            };
            if let Err(failure) = arrived {
                starter.failed(1, &format!("cannot detach from the terminal: {failure}"));
                process::exit_now(1)
            }
            starter.say(&StarterHears::Pid { pid: Pid(process::pid().as_raw()) });
            blocked.restore();
            Ok(Side::Daemon(starter))
        }
        Err(failure) => {
            blocked.restore();
            Err(failure)
        }
    }
}

impl Starter {
    /// Lets the starter end well: the workers are ready.
    pub fn ready(self) {
        self.say(&StarterHears::Ready);
    }

    /// Lets the starter end with this error.
    pub fn failed(self, code: u8, text: &str) {
        let end = text.char_indices().map(|(at, _)| at).take_while(|at| *at < LONGEST).last().unwrap_or_default();
        let text = if text.len() < LONGEST { text } else { &text[..end] };
        self.say(&StarterHears::Failed { code, text: text.to_owned() });
    }

    /// One that was killed meanwhile changes nothing here.
    fn say(&self, says: &StarterHears) {
        let _ = self.0.send(&says.encode(), &[]);
    }
}

impl Wait {
    /// Waits until the daemon is ready, or is not going to be.
    ///
    /// # Errors
    /// When the system does not let it wait.
    pub fn fate(self) -> io::Result<Fate> {
        let mut daemon = None;
        let mut message = vec![0; 4 * LONGEST];
        loop {
            match self.0.recv(&mut message) {
                Ok(Received::Message { len, .. }) => match StarterHears::decode(&message[..len]) {
                    Ok(Some(StarterHears::Pid { pid })) => daemon = Some(pid),
                    Ok(Some(StarterHears::Ready)) => return Ok(Fate::Ready),
                    Ok(Some(StarterHears::Failed { code, text })) => return Ok(Fate::Failed { code, text }),
                    Ok(None) | Err(_) => {}
                },
                Ok(Received::Closed) => {
                    let status = daemon.map(|pid| wait::reap_one(hatchery_sys::Pid::from_raw(pid.0))).transpose()?;
                    return Ok(Fate::Died(status.flatten()));
                }
                Ok(Received::Truncated | Received::Stripped { .. }) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    poll::readable(&[self.0.as_fd()], None)?;
                }
                Err(error) => return Err(error),
            }
        }
    }
}
