//! What somebody waits for.

use hatchery_core::{Command, Pid, Slot};

/// What is to come about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Goal {
    Upgrade,
    Reload,
    Scale(u16),
    Recycle {
        slot: Slot,
        old: Option<Pid>,
    },
    Reopen,
    Stop,
    /// The predecessor is gone before it could say how its upgrade ended: this master is the successor.
    Succession,
}

impl Goal {
    pub(super) fn is(self, command: Command) -> bool {
        match (self, command) {
            (Self::Upgrade, Command::Upgrade)
            | (Self::Reload, Command::Reload)
            | (Self::Reopen, Command::Reopen)
            | (Self::Stop, Command::Stop) => true,
            (Self::Scale(workers), Command::Scale(other)) => workers == other,
            (Self::Recycle { slot, .. }, Command::Recycle(other)) => slot == other,
            (
                Self::Upgrade
                | Self::Reload
                | Self::Reopen
                | Self::Stop
                | Self::Scale(_)
                | Self::Recycle { .. }
                | Self::Succession,
                _,
            ) => false,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Upgrade | Self::Succession => "upgrade",
            Self::Reload => "reload",
            Self::Scale(_) => "scale",
            Self::Recycle { .. } => "recycle",
            Self::Reopen => "reopen",
            Self::Stop => "stop",
        }
    }
}
