//! Which servers are tried.

use std::io;
use std::path::Path;

use super::servers::gunicorn::{self, Gunicorn};
use super::servers::haproxy::{self, Haproxy};
use super::servers::lab::{self, Lab};
use super::servers::nginx::{self, Nginx};
use super::servers::puma::{self, Puma};
use super::subject::{Listen, Operation, Subject};

/// A server with its settings: a row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contestant {
    /// hatchery's `lab` example.
    Lab(Listen),
    /// nginx, `return 200`.
    Nginx(Listen),
    /// haproxy in master-worker mode, `http-request return`.
    Haproxy,
    /// gunicorn with threads, without which it has no keep-alive.
    Gunicorn(Listen),
    /// puma in cluster mode.
    Puma,
}

impl Contestant {
    /// In the order of the table.
    pub const ALL: [Self; 8] = [
        Self::Lab(Listen::Shared),
        Self::Lab(Listen::Reuseport),
        Self::Nginx(Listen::Shared),
        Self::Nginx(Listen::Reuseport),
        Self::Haproxy,
        Self::Gunicorn(Listen::Shared),
        Self::Gunicorn(Listen::Reuseport),
        Self::Puma,
    ];

    /// Its name in a table.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lab(Listen::Shared) => "hatchery",
            Self::Lab(Listen::Reuseport) => "hatchery, reuseport",
            Self::Nginx(Listen::Shared) => "nginx",
            Self::Nginx(Listen::Reuseport) => "nginx, reuseport",
            Self::Haproxy => "haproxy",
            Self::Gunicorn(Listen::Shared) => "gunicorn",
            Self::Gunicorn(Listen::Reuseport) => "gunicorn, reuseport",
            Self::Puma => "puma",
        }
    }

    /// The Debian package that has it; `None` for our own.
    #[must_use]
    pub const fn package(self) -> Option<&'static str> {
        match self {
            Self::Lab(_) => None,
            Self::Nginx(_) => Some("nginx-light"),
            Self::Haproxy => Some("haproxy"),
            Self::Gunicorn(_) => Some("gunicorn"),
            Self::Puma => Some("puma"),
        }
    }

    /// Whether it is there.
    #[must_use]
    pub fn is_installed(self) -> bool {
        match self {
            Self::Lab(_) => true,
            Self::Nginx(_) => Path::new(nginx::PROGRAM).exists(),
            Self::Haproxy => Path::new(haproxy::PROGRAM).exists(),
            Self::Gunicorn(_) => Path::new(gunicorn::PROGRAM).exists(),
            Self::Puma => Path::new(puma::PROGRAM).exists(),
        }
    }

    /// How an operation is done, in the words of its manual; `None` for what it does not have.
    #[must_use]
    pub const fn manual(self, operation: Operation) -> Option<&'static str> {
        match self {
            Self::Lab(_) => Some(lab::manual(operation)),
            Self::Nginx(_) => nginx::manual(operation),
            Self::Haproxy => haproxy::manual(operation),
            Self::Gunicorn(_) => Some(gunicorn::manual(operation)),
            Self::Puma => puma::manual(operation),
        }
    }

    /// What stands in the table for an operation that it does not have.
    #[must_use]
    pub fn instead(self, operation: Operation) -> &'static str {
        // It has one signal for both.
        if self == Self::Haproxy && operation == Operation::Upgrade { "as reload" } else { "-" }
    }

    /// Starts it, with the settings that `operation` needs.
    ///
    /// # Errors
    ///
    /// When it does not answer.
    pub fn start(self, operation: Operation) -> io::Result<Box<dyn Subject>> {
        Ok(match self {
            Self::Lab(listen) => Box::new(Lab::start(listen, operation)?),
            Self::Nginx(listen) => Box::new(Nginx::start(listen)?),
            Self::Haproxy => Box::new(Haproxy::start()?),
            Self::Gunicorn(listen) => Box::new(Gunicorn::start(listen, operation)?),
            Self::Puma => Box::new(Puma::start()?),
        })
    }
}
