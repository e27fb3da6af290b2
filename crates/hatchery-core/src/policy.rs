//! The limits that the master obeys, validated once.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// The most workers that a master runs.
pub const MAX_WORKERS: u16 = 512;

/// What the master decides by; made from the settings, replaced at a reload.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Policy {
    /// Worker processes to keep: 1 to [`MAX_WORKERS`].
    pub workers: u16,
    /// From the start of a worker, or of a successor, to ready.
    pub boot_timeout: Duration,
    /// From an operator's order to stop to the beginning of the stop; zero: at once.
    pub stop_delay: Duration,
    /// From the order to drain to SIGKILL.
    pub drain_timeout: Duration,
    /// Crashes in a row of workers that did not stay ready for [`STEADY`]
    /// before the master gives up.
    pub crash_limit: u32,
    /// How long a predecessor's workers wait, serving what they have but not
    /// accepting, before they drain.
    pub probation: Duration,
    /// Whether a worker with clearly more connections than the others hands some over.
    pub balance: bool,
    /// How long a loop may stand still; zero: for ever.
    pub heartbeat_timeout: Duration,
    /// The age at which a worker is replaced; zero: none.
    pub max_lifetime: Duration,
    /// The resident memory, in bytes, above which a worker is replaced; 0: none.
    pub max_memory: u64,
    /// Without connections for so long, everything is let go; `None`: never.
    pub idle_timeout: Option<Duration>,
}

/// How long a worker has to stay ready before its crash counts as the first.
pub const STEADY: Duration = Duration::from_secs(1);

impl Default for Policy {
    fn default() -> Self {
        Self {
            workers: 1,
            boot_timeout: Duration::from_secs(30),
            stop_delay: Duration::ZERO,
            drain_timeout: Duration::from_secs(30),
            crash_limit: 8,
            probation: Duration::from_secs(2),
            balance: true,
            heartbeat_timeout: Duration::from_secs(30),
            max_lifetime: Duration::ZERO,
            max_memory: 0,
            idle_timeout: None,
        }
    }
}

/// How many accept queues a TCP listener has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ListenMode {
    /// One queue that all workers accept from.
    #[default]
    Shared,
    /// One `SO_REUSEPORT` queue a slot, each owned by the master.
    Reuseport,
}

impl fmt::Display for ListenMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Shared => "shared",
            Self::Reuseport => "reuseport",
        })
    }
}

impl FromStr for ListenMode {
    type Err = UnknownListenMode;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "shared" => Ok(Self::Shared),
            "reuseport" => Ok(Self::Reuseport),
            _ => Err(UnknownListenMode),
        }
    }
}

/// The text names no [`ListenMode`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownListenMode;

impl fmt::Display for UnknownListenMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected `shared` or `reuseport`")
    }
}

impl std::error::Error for UnknownListenMode {}
