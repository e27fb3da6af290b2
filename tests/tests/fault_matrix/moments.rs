//! The moments at which a fault comes.

use hatchery_tests::{Lab, Program, log};
use nix::sys::signal::Signal;

/// What the server is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    Serving,
    Reload,
    Preparing,
    Probation,
    Retiring,
    ScaleDown,
    Stop,
}

impl Moment {
    pub(crate) const ALL: [Self; 7] =
        [Self::Serving, Self::Reload, Self::Preparing, Self::Probation, Self::Retiring, Self::ScaleDown, Self::Stop];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::Reload => "reload",
            Self::Preparing => "upgrade: preparing",
            Self::Probation => "upgrade: probation",
            Self::Retiring => "upgrade: retiring",
            Self::ScaleDown => "scale-down",
            Self::Stop => "stop",
        }
    }

    /// How long a new program is on probation.
    pub(crate) fn probation(self) -> &'static str {
        match self {
            // The fault has to come before its end.
            Self::Probation => "2s",
            Self::Serving | Self::Reload | Self::Preparing | Self::Retiring | Self::ScaleDown | Self::Stop => "200ms",
        }
    }

    pub(crate) fn is_upgrade(self) -> bool {
        match self {
            Self::Preparing | Self::Probation | Self::Retiring => true,
            Self::Serving | Self::Reload | Self::ScaleDown | Self::Stop => false,
        }
    }

    /// How many workers there are when all is over.
    pub(crate) fn workers_after(self, before: usize) -> usize {
        match self {
            Self::Serving | Self::Reload | Self::Preparing | Self::Probation | Self::Retiring => before,
            Self::ScaleDown => before - 1,
            Self::Stop => 0,
        }
    }

    /// Whether what goes on at that moment has come to its end, well or not.
    pub(crate) fn is_over(self, lab: &Lab) -> bool {
        let log = lab.log();
        let has = |lines: &[log::Line]| lines.iter().any(|line| line.count(&log) > 0);
        match self {
            Self::Serving | Self::ScaleDown | Self::Stop => true,
            Self::Reload => has(&[log::RELOAD_DONE, log::RELOAD_FAILED]),
            Self::Preparing | Self::Probation | Self::Retiring => {
                lab.serving() != lab.first() || has(&[log::UPGRADE_FAILED, log::TAKEN_BACK])
            }
        }
    }

    /// Brings the server there.
    pub(crate) fn reach(self, lab: &Lab) {
        match self {
            Self::Serving => {}
            Self::Reload => {
                lab.signal(Signal::SIGHUP);
                lab.until_logged(log::RELOAD_BEGUN, 1);
            }
            Self::Preparing => {
                // A program that takes its time, so that it is still about it when the fault comes.
                if let Ok(target) = std::fs::read_link(lab.program()) {
                    lab.install(&Program::Script(format!("sleep 0.5; exec {} \"$@\"", target.display())));
                }
                lab.signal(Signal::SIGUSR2);
                lab.until_logged(log::UPGRADE_BEGUN, 1);
            }
            Self::Probation => {
                lab.signal(Signal::SIGUSR2);
                lab.until_logged(log::UPGRADE_DONE, 1);
            }
            Self::Retiring => {
                lab.signal(Signal::SIGUSR2);
                lab.until_logged(log::RETIRING, 1);
            }
            Self::ScaleDown => {
                lab.signal(Signal::SIGTTOU);
                lab.until("it is told", || lab.log().contains("scaled to"));
            }
            Self::Stop => {
                lab.signal(Signal::SIGTERM);
                lab.until_logged(log::STOP_BEGUN, 1);
            }
        }
    }
}
