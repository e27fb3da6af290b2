//! What a master tells the people who run it: one log line each.

use std::fmt;
use std::time::Duration;

use crate::companion::Who;
use crate::event::{Command, Ending};
use crate::ids::{Generation, Pid};

/// A fact worth a line in the log.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the fields are what `Display` makes a sentence of")]
pub enum Notice {
    WorkerReady { who: Who, pid: Pid },
    WorkerExited { who: Who, pid: Pid, ending: Ending, cause: Cause },
    WorkerNotForked { who: Who, text: String },
    WorkerWaits { who: Who, pid: Pid, text: String },
    BootFailed { who: Who, pid: Pid, text: String },
    Ready { workers: u16, generation: Generation },
    Degraded { crashes: u32 },
    Recovered,
    GaveUp { text: String },
    WorkerBlocked { who: Who, pid: Pid },
    WorkerAnswers { who: Who, pid: Pid },
    WorkerHung { who: Who, pid: Pid },
    QueuesAdded { counts: Vec<u16> },
    QueuesNotAdded { text: String },
    Reopened,
    Refused { command: Command, why: &'static str },
    Postponed { command: Command, until: &'static str },
    Scaled { workers: u16 },
    ReloadBegun,
    ReloadDone,
    ReloadFailed { text: String },
    RecycleBegun { who: Who, pid: Pid },
    TooOld { who: Who, pid: Pid },
    TooLarge { who: Who, pid: Pid, resident: u64, limit: u64 },
    RecycleFailed { text: String },
    Resting,
    Woken,
    Dozing,
    UpgradeBegun,
    UpgradePhase { pid: Pid, name: String },
    UpgradeCommitted { pid: Pid },
    UpgradeDone { pid: Pid },
    NotTaken { services: Vec<String> },
    UpgradeFailed { text: String },
    TakenBack { text: String },
    Retiring,
    TookOver { generation: Generation },
    PredecessorLost,
    PredecessorDone,
    StopAnnounced { delay: Duration },
    StopHurried { text: String },
    StopBegun,
    StopNow,
    Stopped,
}

/// Why a worker is gone.
///
/// ```
/// use hatchery_core::notice::Cause;
///
/// /// Whether the worker is to blame, and not who ran it.
/// fn is_crash(cause: Cause) -> bool {
///     matches!(cause, Cause::Crashed | Cause::CrashedBooting | Cause::CrashedDraining)
/// }
/// assert!(is_crash(Cause::Crashed) && !is_crash(Cause::Drained));
/// assert_eq!(Cause::DrainTimeout.to_string(), "killed: not drained within drain-timeout");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// It drained as it was told.
    Drained,
    /// It was told to drain, and ended in another way than by that.
    CrashedDraining,
    /// It ended by itself after it had become ready.
    Crashed,
    /// It ended by itself before it was ready.
    CrashedBooting,
    /// Its application said that it could not boot.
    BootFailed,
    /// It was killed for not becoming ready in time.
    BootTimeout,
    /// It was killed at the drain deadline.
    DrainTimeout,
    /// It was aborted, or killed, since its loop stood still.
    Blocked,
    /// It was killed because nobody needs it, before it had served anybody.
    Unwanted,
    /// It was killed by the second stop.
    StopNow,
}

/// How loud a [`Notice`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Everything is as it should be.
    Info,
    /// Something needs a look, and the service goes on.
    Warn,
    /// Something that was asked for did not happen.
    Error,
}

impl Notice {
    /// How loud this is.
    #[must_use]
    pub fn level(&self) -> Level {
        match self {
            Self::WorkerExited { cause, .. } => cause.level(),
            Self::WorkerReady { .. }
            | Self::Ready { .. }
            | Self::Recovered
            | Self::WorkerAnswers { .. }
            | Self::QueuesAdded { .. }
            | Self::Reopened
            | Self::Postponed { .. }
            | Self::Scaled { .. }
            | Self::ReloadBegun
            | Self::ReloadDone
            | Self::RecycleBegun { .. }
            | Self::TooOld { .. }
            | Self::Resting
            | Self::Woken
            | Self::Dozing
            | Self::UpgradeBegun
            | Self::UpgradePhase { .. }
            | Self::UpgradeCommitted { .. }
            | Self::UpgradeDone { .. }
            | Self::Retiring
            | Self::TookOver { .. }
            | Self::PredecessorDone
            | Self::StopAnnounced { .. }
            | Self::StopBegun
            | Self::Stopped => Level::Info,
            Self::Refused { .. }
            | Self::PredecessorLost
            | Self::StopNow
            | Self::StopHurried { .. }
            | Self::WorkerNotForked { .. }
            | Self::WorkerWaits { .. }
            | Self::WorkerBlocked { .. }
            | Self::TooLarge { .. }
            | Self::QueuesNotAdded { .. }
            | Self::NotTaken { .. } => Level::Warn,
            Self::BootFailed { .. }
            | Self::WorkerHung { .. }
            | Self::Degraded { .. }
            | Self::GaveUp { .. }
            | Self::ReloadFailed { .. }
            | Self::RecycleFailed { .. }
            | Self::UpgradeFailed { .. }
            | Self::TakenBack { .. } => Level::Error,
        }
    }
}

impl Cause {
    fn level(self) -> Level {
        match self {
            Self::Drained | Self::Unwanted => Level::Info,
            Self::CrashedDraining
            | Self::Crashed
            | Self::CrashedBooting
            | Self::BootFailed
            | Self::BootTimeout
            | Self::DrainTimeout
            | Self::Blocked
            | Self::StopNow => Level::Warn,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Drained => "drained",
            Self::CrashedDraining => "crashed while it drained",
            Self::Crashed => "crashed",
            Self::CrashedBooting => "crashed before it was ready",
            Self::BootFailed => "it did not boot",
            Self::BootTimeout => "killed: not ready within boot-timeout",
            Self::DrainTimeout => "killed: not drained within drain-timeout",
            Self::Blocked => "aborted: its loop stood still for heartbeat-timeout",
            Self::Unwanted => "not needed any more",
            Self::StopNow => "killed: stop now",
        })
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WorkerReady { who, pid } => write!(f, "{who} (pid {pid}) is ready"),
            Self::WorkerExited { who, pid, ending, cause } => {
                write!(f, "{who} (pid {pid}) exited: {cause}, {ending}")
            }
            Self::WorkerNotForked { who, text } => {
                write!(f, "{who} could not be forked, trying again: {text}")
            }
            Self::WorkerWaits { who, pid, text } => write!(f, "{who} (pid {pid}) waits: {text}"),
            Self::BootFailed { who, pid, text } => write!(f, "{who} (pid {pid}) failed to boot: {text}"),
            Self::Ready { workers, generation } => {
                write!(f, "generation {generation} is ready, {}", counted(*workers))
            }
            Self::Degraded { crashes } => {
                write!(f, "degraded: {crashes} crashes in a row, respawning goes on, ever slower")
            }
            Self::Recovered => f.write_str("recovered: workers stay up again"),
            Self::GaveUp { text } => write!(f, "giving up: {text}"),
            Self::WorkerBlocked { who, pid } => {
                write!(f, "{who} (pid {pid}) does not answer: another one accepts from its queues as well")
            }
            Self::WorkerAnswers { who, pid } => write!(f, "{who} (pid {pid}) answers again"),
            Self::WorkerHung { who, pid } => {
                write!(f, "{who} (pid {pid}) has not come back to its loop for heartbeat-timeout: aborting it")
            }
            Self::QueuesAdded { counts } => {
                let counts: Vec<String> = counts.iter().map(ToString::to_string).collect();
                write!(f, "listeners have more queues: {}", counts.join(", "))
            }
            Self::QueuesNotAdded { text } => write!(f, "no more queues, workers share those that there are: {text}"),
            Self::Reopened => f.write_str("logs are open again"),
            Self::Refused { command, why } => write!(f, "{command} refused: {why}"),
            Self::Postponed { command, until } => write!(f, "{command} follows {until}"),
            Self::Scaled { workers } => write!(f, "scaled to {}", counted(*workers)),
            Self::ReloadBegun => f.write_str("reload begins"),
            Self::ReloadDone => f.write_str("reload is done: every worker is new"),
            Self::ReloadFailed { text } => write!(f, "reload failed, the old workers serve on: {text}"),
            Self::RecycleBegun { who, pid } => write!(f, "{who} (pid {pid}) is being replaced"),
            Self::TooOld { who, pid } => write!(f, "{who} (pid {pid}) has reached max-lifetime"),
            Self::TooLarge { who, pid, resident, limit } => {
                let (resident, limit) = (resident >> 20, limit >> 20);
                write!(f, "{who} (pid {pid}) has {resident} MiB resident, over max-memory of {limit} MiB")
            }
            Self::RecycleFailed { text } => write!(f, "not replaced, the old one serves on: {text}"),
            Self::Resting => f.write_str("workers drain, the master keeps the queues until a reload"),
            Self::Woken => f.write_str("workers come back"),
            Self::Dozing => f.write_str("no connections for idle-timeout: letting everything go but the sockets"),
            Self::UpgradeBegun => f.write_str("upgrade begins"),
            Self::UpgradePhase { pid, name } => write!(f, "successor (pid {pid}): {name}"),
            Self::UpgradeCommitted { pid } => write!(f, "successor (pid {pid}) is ready, it takes over"),
            Self::UpgradeDone { pid } => write!(f, "upgrade is done: the successor (pid {pid}) serves"),
            Self::NotTaken { services } => {
                let services = services.join(", ");
                write!(f, "the successor does not take connections of {services}: they will be closed politely")
            }
            Self::UpgradeFailed { text } => write!(f, "upgrade failed, this generation serves on: {text}"),
            Self::TakenBack { text } => write!(f, "taken back, this generation serves again: {text}"),
            Self::Retiring => f.write_str("probation is over, workers drain"),
            Self::TookOver { generation } => write!(f, "generation {generation} took over"),
            Self::PredecessorLost => f.write_str("the predecessor died before it handed over: taking over alone"),
            Self::PredecessorDone => f.write_str("the predecessor is gone"),
            Self::StopAnnounced { delay } => {
                write!(f, "stop asked for, it begins in {delay:?}: until then clients are served, and /readyz says no")
            }
            Self::StopHurried { text } => write!(f, "stop-delay is cut short, nobody could be served in it: {text}"),
            Self::StopBegun => f.write_str("stop begins: draining"),
            Self::StopNow => f.write_str("stop now: killing what is left"),
            Self::Stopped => f.write_str("stopped"),
        }
    }
}

fn counted(workers: u16) -> String {
    let plural = if workers == 1 { "" } else { "s" };
    format!("{workers} worker{plural}")
}
