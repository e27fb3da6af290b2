//! What an upgrade hands to the new program, read by the new program.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use hatchery_control::Until;
use hatchery_core::wire::WireError;
use hatchery_core::wire::handoff::{Asleep, HandedListener, Handoff, Reading, VARIABLE};
use hatchery_core::wire::upgrade::SuccessorSays;
use hatchery_core::{Generation, Pid};
use hatchery_net::{Address, Entry, Holder, Inherited, Relay};
use hatchery_sys::channel::Channel;
use hatchery_sys::signals::Startup;
use hatchery_sys::{env, inherit, process};
use thiserror::Error;

use crate::anchor::Line;
use crate::commands::HELD;

/// A predecessor that serves, and waits for this program to be ready.
#[derive(Debug)]
pub struct Predecessor {
    /// The channel to it.
    pub link: Channel,
    /// The generation that this program is.
    pub generation: Generation,
    /// The relay that it has made for this generation; an older one has not.
    pub relay: Option<Relay>,
    /// The entry of its own relay, where connections can go back to.
    pub back: Option<Entry>,
    /// Its listeners.
    pub listeners: Vec<Inherited>,
    /// Where each of them stands among all that it has, those of a kind that this
    /// version does not know included.
    pub places: Vec<u16>,
    /// Where it, and those before it, have counted.
    pub board: Option<OwnedFd>,
    /// It was this very process, which had let everything go; there is no link then.
    pub asleep: Option<Slept>,
    /// The signals that this program was started with, before some were held over the exec.
    pub startup: Startup,
    /// How many workers an operator has made it run, if that is another number
    /// than its settings had: (workers, as configured).
    pub scaled: Option<(u16, u16)>,
    /// What it keeps open for its program, by the program's names.
    pub kept: Vec<(String, OwnedFd)>,
    /// The line to the anchor that stands before all generations, if there is one.
    pub anchor: Option<Line>,
    /// The control socket of this very process, before it slept.
    pub control: Option<OwnedFd>,
    /// Clients of the control socket, and what they wait for: those of this upgrade or, before a sleep, all.
    pub clients: Vec<(OwnedFd, Until)>,
    /// Older masters, which drained behind the predecessor when it began the upgrade.
    pub before: Vec<(Pid, Generation)>,
}

/// What this process has kept while it had let everything else go.
#[derive(Debug)]
pub struct Slept {
    /// The locked pid file.
    pub pid_file: Option<OwnedFd>,
    /// The program's path, as it was found when it was first started.
    pub program: PathBuf,
    /// How often in a row it could not load when somebody came.
    pub failures: u32,
}

/// Why a handoff cannot be taken.
#[derive(Debug, Error)]
pub enum HandoffError {
    /// The variable is damaged or of another age.
    #[error("{VARIABLE} cannot be read")]
    Variable(#[source] WireError),
    /// It names something that is not what it should be.
    #[error("{VARIABLE}: {what}, descriptor {fd}, cannot be used")]
    Descriptor {
        /// What it is for.
        what: &'static str,
        /// Which one it is.
        fd: i32,
        /// What is wrong with it.
        source: io::Error,
    },
    /// A listener's address does not parse.
    #[error("{VARIABLE}: `{kind}@{address}` is no address")]
    Address {
        /// The kind of listener.
        kind: String,
        /// The text that should be its address.
        address: String,
    },
}

impl Predecessor {
    /// Reads the variable, and removes it from the environment before anything else is done.
    ///
    /// `None` without a variable, or with one that is meant for another process.
    ///
    /// # Errors
    /// When the variable is for this process and cannot be used.
    pub fn from_env() -> Result<Option<Self>, HandoffError> {
        let Some(value) = env::take(VARIABLE) else { return Ok(None) };
        let reader = Pid(process::pid().as_raw());
        match Handoff::decode(&value.into_vec(), reader).map_err(HandoffError::Variable)? {
            Reading::Ours(handoff) => Self::from_handoff(&handoff).map(Some),
            Reading::Foreign { .. } => Ok(None),
        }
    }

    fn from_handoff(handoff: &Handoff) -> Result<Self, HandoffError> {
        let link = adopt("the link", handoff.link)?;
        let link = Channel::from_fd(link).map_err(|source| HandoffError::Descriptor {
            what: "the link",
            fd: handoff.link,
            source,
        })?;
        let board = handoff.board.map(|fd| adopt("the board", fd)).transpose()?;
        let relay = handoff.relay.map(relay).transpose()?;
        let back = handoff.back.map(way_back).transpose()?;
        let (mut listeners, mut places) = (Vec::new(), Vec::new());
        for (listener, place) in handoff.listeners.iter().zip(0..) {
            if let Some(listener) = inherited(listener)? {
                listeners.push(listener);
                places.push(place);
            }
        }
        let kept = handoff.kept.iter().map(|(name, fd)| Ok((name.clone(), adopt("what is kept", *fd)?)));
        let kept = kept.collect::<Result<_, HandoffError>>()?;
        handoff.strays.iter().for_each(|fd| inherit::close_stray(*fd));
        Ok(Self {
            link,
            generation: handoff.generation,
            relay,
            back,
            listeners,
            places,
            board,
            asleep: handoff.asleep.clone().map(slept).transpose()?,
            startup: startup(handoff),
            scaled: handoff.workers.zip(handoff.configured).filter(|(workers, configured)| workers != configured),
            kept,
            anchor: handoff.anchor.map(line).transpose()?,
            control: handoff.control.map(|fd| adopt("the control socket", fd)).transpose()?,
            clients: clients(handoff)?,
            before: handoff.before.clone(),
        })
    }
}

/// Tells a predecessor how far this program has come; it goes into its log.
pub fn phase(link: &Channel, name: &str) {
    say(link, &SuccessorSays::Phase { name: name.to_owned() });
}

/// Tells a predecessor which of its listeners, in the order in which they were
/// handed over, this program does not serve.
pub fn leaves(link: &Channel, listeners: Vec<u16>) {
    say(link, &SuccessorSays::Leaves { listeners });
}

/// Tells a predecessor why this program cannot start.
pub fn failed(link: &Channel, text: &str) {
    say(link, &SuccessorSays::Failed { text: text.to_owned() });
}

/// A predecessor that is gone, or that does not read, changes nothing here.
fn say(link: &Channel, says: &SuccessorSays) {
    let _ = link.send(&says.encode(), &[]);
}

fn clients(handoff: &Handoff) -> Result<Vec<(OwnedFd, Until)>, HandoffError> {
    let until = |fd| if handoff.proving.contains(fd) { Until::Proven } else { Until::Done };
    handoff.clients.iter().map(|fd| Ok((adopt("a control client", *fd)?, until(fd)))).collect()
}

/// `None` for a kind that this version does not know; its descriptors are closed.
fn inherited(listener: &HandedListener) -> Result<Option<Inherited>, HandoffError> {
    let fds = listener.queues.iter().map(|fd| adopt("a listener", *fd)).collect::<Result<Vec<_>, _>>()?;
    let address = match listener.kind.as_str() {
        "tcp" => std::str::from_utf8(&listener.address).ok().and_then(|text| text.parse().ok()).map(Address::Tcp),
        "unix" => Some(Address::Unix(OsStr::from_bytes(&listener.address).into())),
        _ => return Ok(None),
    };
    let address = address.ok_or_else(|| HandoffError::Address {
        kind: listener.kind.clone(),
        address: String::from_utf8_lossy(&listener.address).into_owned(),
    })?;
    let holder = match (listener.passed.clone(), listener.stored) {
        (Some(name), _) => Holder::Manager { name },
        (None, Some(copies)) => Holder::Store { copies },
        (None, None) => Holder::Program,
    };
    Ok(Some(Inherited { address, fds, holder }))
}

fn relay([entry, exit]: [i32; 2]) -> Result<Relay, HandoffError> {
    let (into, out) = (adopt("the relay", entry)?, adopt("the relay", exit)?);
    Relay::from_fds(into, out).map_err(|source| HandoffError::Descriptor { what: "the relay", fd: entry, source })
}

fn way_back(fd: i32) -> Result<Entry, HandoffError> {
    let what = "the way back";
    Entry::from_fd(adopt(what, fd)?).map_err(|source| HandoffError::Descriptor { what, fd, source })
}

fn line(fd: i32) -> Result<Line, HandoffError> {
    let what = "the line to the anchor";
    Line::from_fd(adopt(what, fd)?).map_err(|source| HandoffError::Descriptor { what, fd, source })
}

fn startup(handoff: &Handoff) -> Startup {
    let found = Startup::capture();
    let before = handoff.startup.map(Startup::from_bits);
    match (before, &handoff.asleep) {
        // All are blocked, so nothing can be told from what is found.
        (Some(before), Some(_)) => before,
        // Somebody in between, such as a script, may have changed what was not held.
        (Some(before), None) => found.without(&HELD, &before),
        (None, _) => found,
    }
}

fn slept(asleep: Asleep) -> Result<Slept, HandoffError> {
    let pid_file = asleep.pid_file.map(|fd| adopt("the pid file", fd)).transpose()?;
    let program = OsString::from_vec(asleep.program);
    Ok(Slept { pid_file, program: program.into(), failures: asleep.failures })
}

fn adopt(what: &'static str, fd: i32) -> Result<OwnedFd, HandoffError> {
    inherit::adopt(fd).map_err(|source| HandoffError::Descriptor { what, fd, source })
}
