//! What a master wants done.

use crate::ids::{Generation, Pid, Slot};
use crate::notice::Notice;
use crate::wire::upgrade::{PredecessorSays, SuccessorSays};
use crate::wire::worker::MasterSays;

/// Something that the driver has to do, in the order in which it stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Fork a worker; answer with `Spawned` or `SpawnFailed`.
    Spawn {
        /// The slot it is for.
        slot: Slot,
    },
    /// Send a worker a message.
    Tell {
        /// To whom.
        pid: Pid,
        /// What.
        says: MasterSays,
    },
    /// SIGKILL.
    Kill {
        /// A worker or a successor that has not been reaped.
        pid: Pid,
    },
    /// SIGTERM.
    Terminate {
        /// A successor that has not been reaped.
        pid: Pid,
    },
    /// SIGABRT: it is to say what it was doing, and to end by that.
    Abort {
        /// A worker that has not been reaped.
        pid: Pid,
    },
    /// Look at the board; answer with `Sampled`.
    Sample {
        /// Whether to ask for the memory of each process as well.
        weigh: bool,
    },
    /// Give the listeners that have a queue for each worker so many of them;
    /// answer with `QueuesAdded` or `QueuesNotAdded`.
    AddQueues {
        /// How many each of them should have.
        each: u16,
    },
    /// Nobody writes to this generation's relay any more; what is in it is still read.
    ShutRelay,
    /// A new relay for this generation: the old one was shut.
    OpenRelay,
    /// Read the settings again; answer with `Settings` or `SettingsRefused`.
    Reread,
    /// Open the log files again, in the master.
    Reopen,
    /// Start the program again with everything handed over; answer with
    /// `SuccessorStarted` or `SuccessorNotStarted`.
    StartSuccessor {
        /// The generation that it will be.
        generation: Generation,
        /// How many workers run here now.
        workers: u16,
        /// How many the settings asked for.
        configured: u16,
    },
    /// Send the successor a message.
    TellSuccessor(PredecessorSays),
    /// Close the link to the successor: it is over with this one. What its relay
    /// still holds comes back.
    CloseSuccessorLink,
    /// Send the predecessor a message.
    TellPredecessor(SuccessorSays),
    /// Write the pid file, as the first master or as the successor that takes over.
    TakePidFile,
    /// The successor is gone: put this master's pid file back.
    TakeBackPidFile,
    /// Let nobody new into any accept queue: they are shut next. Answer with `QueuesQuiet`
    /// when nobody waits in them or is half way in, if that comes before they are shut.
    BarQueues,
    /// End every accept queue, for every process that holds a copy, and the relay.
    ShutQueues,
    /// End the accept queues of these listeners: nobody serves them any more.
    ShutListeners {
        /// Which they are, counted from 0.
        listeners: Vec<u16>,
    },
    /// End the accept queues of these listeners as soon as nothing waits there, or
    /// after a second; answer with `ListenersClosed`, unless a later revision keeps them.
    CloseListeners {
        /// Which they are, counted from 0.
        listeners: Vec<u16>,
    },
    /// Tell the people.
    Log(Notice),
    /// Leave the loop: nothing is alive any more.
    Exit(Outcome),
}

/// How a master ends.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Drained and stopped: exit code 0.
    Drained,
    /// Stopped, but something had to be killed: exit code 2.
    Killed,
    /// Nobody has come for a while: everything is let go but the sockets, which wait for the next one.
    Dormant,
    /// The application did not boot, or crashed too often: exit code 3.
    BootFailed {
        /// Why, in one line.
        text: String,
    },
}
