//! What can happen to a master.

use crate::ids::{Pid, Slot};
use crate::listeners::Revision;
use crate::policy::Policy;
use crate::pulse::Sample;
use crate::wire::upgrade::{PredecessorSays, SuccessorSays};
use crate::wire::worker::WorkerSays;

/// A fact that the driver tells [`Master::step`](crate::Master::step).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// The loop begins: the first event of every master.
    Begin,
    /// Time has passed; nothing else has happened.
    Tick,
    /// An operator asks for something.
    Command(Command),
    /// A worker was forked, answering [`Action::Spawn`](crate::Action::Spawn).
    Spawned {
        /// The slot it is for.
        slot: Slot,
        /// The new process.
        pid: Pid,
    },
    /// A worker could not be forked, answering [`Action::Spawn`](crate::Action::Spawn).
    SpawnFailed {
        /// The slot it was for.
        slot: Slot,
        /// The system's reason.
        text: String,
    },
    /// A child was reaped: a worker, a successor, or one that nobody knows.
    Exited {
        /// The process that is no more.
        pid: Pid,
        /// How it ended.
        ending: Ending,
    },
    /// A worker says something.
    Worker {
        /// Who speaks.
        pid: Pid,
        /// What it says.
        says: WorkerSays,
    },
    /// The board was sampled, answering [`Action::Sample`](crate::Action::Sample).
    Sampled(Vec<Sample>),
    /// Listeners have more queues, answering [`Action::AddQueues`](crate::Action::AddQueues).
    QueuesAdded {
        /// How many each listener has now.
        counts: Vec<u16>,
    },
    /// There are no more queues to be had, answering [`Action::AddQueues`](crate::Action::AddQueues).
    QueuesNotAdded {
        /// The system's reason.
        text: String,
    },
    /// Somebody waits in a queue while everything is being let go.
    Knocked,
    /// Nobody waits in a queue or is half way in, answering [`Action::BarQueues`](crate::Action::BarQueues).
    QueuesQuiet,
    /// These listeners are closed, answering [`Action::CloseListeners`](crate::Action::CloseListeners).
    ListenersClosed {
        /// Which they are, counted from 0.
        listeners: Vec<u16>,
    },
    /// New settings were read, answering [`Action::Reread`](crate::Action::Reread).
    Settings {
        /// The new limits.
        policy: Policy,
        /// Where they ask for other listeners than before: what there is now.
        listeners: Option<Revision>,
    },
    /// The settings could not be read, answering [`Action::Reread`](crate::Action::Reread).
    SettingsRefused {
        /// What is wrong with them.
        text: String,
    },
    /// A successor was started, answering [`Action::StartSuccessor`](crate::Action::StartSuccessor).
    SuccessorStarted {
        /// Its process.
        pid: Pid,
    },
    /// No successor could be started, answering [`Action::StartSuccessor`](crate::Action::StartSuccessor).
    SuccessorNotStarted {
        /// The system's reason.
        text: String,
    },
    /// The successor says something.
    Successor(SuccessorSays),
    /// Every process of the successor's generation has closed its end of the link.
    SuccessorLinkClosed,
    /// The predecessor says something.
    Predecessor(PredecessorSays),
    /// The predecessor has closed its end of the link: it is gone.
    PredecessorLinkClosed,
}

/// What an operator can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Command {
    /// Say that it goes, serve on for `stop-delay`, then drain and stop. Each one that follows goes
    /// a step further: the second one begins the stop, the next one kills what is left.
    Stop,
    /// The same without the delay: there is nobody who would have to be told.
    StopAtOnce,
    /// Read the settings again and replace the workers, one by one.
    Reload,
    /// Replace the running program.
    Upgrade,
    /// Open the log files again.
    Reopen,
    /// Let all workers go, keep the queues.
    Rest,
    /// One worker more.
    More,
    /// One worker less.
    Fewer,
    /// So many workers, 1 to 512.
    Scale(u16),
    /// Another worker in the place of this one.
    Recycle(Slot),
}

/// How a process ended.
///
/// ```
/// use hatchery_core::Ending;
///
/// /// Whether it is worth a look into the kernel's log for the out-of-memory killer.
/// fn was_killed(ending: Ending) -> bool {
///     ending == Ending::Signal(9)
/// }
/// assert!(was_killed(Ending::Signal(9)));
/// assert_eq!(Ending::Code(101).to_string(), "exit code 101");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ending {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

impl std::fmt::Display for Ending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
        }
    }
}

impl std::fmt::Display for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Stop | Self::StopAtOnce => "stop",
            Self::Reload => "reload",
            Self::Upgrade => "upgrade",
            Self::Reopen => "reopen",
            Self::Rest => "rest",
            Self::More => "one worker more",
            Self::Fewer => "one worker less",
            Self::Scale(workers) => return write!(f, "scale to {workers}"),
            Self::Recycle(slot) => return write!(f, "recycle of slot {slot}"),
        })
    }
}
