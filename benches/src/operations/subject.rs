//! What is done to a server, and what it has to be able to.

use std::fmt::Debug;
use std::io;

/// Workers of each server.
pub const WORKERS: u16 = 2;

/// What an operator does, or has set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Nothing at all: what clients see without an operation.
    Nothing,
    /// All workers are replaced.
    Reload,
    /// The program is replaced.
    Upgrade,
    /// Two workers more, then two less.
    Scale,
    /// One worker is told to end.
    Recycle,
    /// Workers end by themselves after so many requests.
    MaxRequests,
}

impl Operation {
    /// In the order of the table.
    pub const ALL: [Self; 6] =
        [Self::Nothing, Self::Reload, Self::Upgrade, Self::Scale, Self::Recycle, Self::MaxRequests];

    /// Its name in a table.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Reload => "reload",
            Self::Upgrade => "upgrade",
            Self::Scale => "scale",
            Self::Recycle => "recycle",
            Self::MaxRequests => "max-requests",
        }
    }

    /// How often it is done, if the command line says nothing.
    #[must_use]
    pub const fn times(self) -> u32 {
        match self {
            Self::Nothing | Self::Reload => 5,
            Self::Upgrade | Self::Scale | Self::MaxRequests => 3,
            Self::Recycle => 10,
        }
    }
}

/// A server that runs and answers `GET /` with `Hello, World!`.
pub trait Subject: Debug {
    /// Where.
    fn port(&self) -> u16;

    /// Does it once, and waits until nothing of what was before is left.
    ///
    /// # Errors
    ///
    /// When that does not happen, or the server has no such operation.
    fn perform(&mut self, operation: Operation) -> io::Result<()>;
}

/// How workers share a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listen {
    /// One queue for all.
    Shared,
    /// `SO_REUSEPORT`: a queue for each.
    Reuseport,
}

/// The error of an operation that a server does not have.
pub(super) fn has_none(operation: Operation) -> io::Error {
    io::Error::other(format!("it has no {}", operation.name()))
}
