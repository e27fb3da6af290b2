//! Whether this process is the main one to the service manager.

use hatchery_sys::{Pid, process};

/// Whether this process is the main one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Its predecessor is.
    Waiting { predecessor: Pid },
    /// It is, and says so with its next message, if the service manager has to be told.
    Main { predecessor: Option<Pid>, introduces: bool },
    /// It has named another one.
    Former,
}

impl Standing {
    pub(super) fn is_main(self) -> bool {
        matches!(self, Self::Main { .. })
    }

    /// The service manager has to be told who this is.
    pub(super) fn introduce(&mut self) {
        if let Self::Main { introduces, .. } = self {
            *introduces = true;
        }
    }

    /// Who is not known yet says who it is with whatever it says first.
    pub(super) fn introduced(self, text: &str) -> String {
        match self {
            Self::Main { introduces: true, .. } => format!("MAINPID={}\n{text}", process::pid()),
            Self::Waiting { .. } | Self::Main { introduces: false, .. } | Self::Former => text.to_owned(),
        }
    }

    /// What said it will be heard.
    pub(super) fn introduction_is_made(&mut self) {
        if let Self::Main { introduces, .. } = self {
            *introduces = false;
        }
    }
}
