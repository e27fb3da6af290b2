//! Why an address cannot be served.

use std::io;

use thiserror::Error;

use crate::{Address, Bind};

/// Why a listener cannot be had.
///
/// ```
/// use hatchery_net::ListenError;
///
/// /// Whether it may go away by itself, as when another program is about to end.
/// fn may_pass(error: &ListenError) -> bool {
///     matches!(error, ListenError::InUse { .. })
/// }
/// let error = ListenError::InUse { address: "127.0.0.1:8080".parse()? };
/// assert!(may_pass(&error));
/// assert_eq!(error.to_string(), "address in use: 127.0.0.1:8080 is held by another program");
/// # Ok::<(), hatchery_net::AddressError>(())
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ListenError {
    /// Another program listens there.
    #[error("address in use: {address} is held by another program")]
    InUse {
        /// The address.
        address: Address,
    },
    /// An upgrade has dropped the address, and who served before goes on serving it until it goes.
    #[error(
        "address in use: {address} is served by the master before this one (pid {pid}) until that has gone; ask for it again then"
    )]
    NotLetGo {
        /// The address.
        address: Address,
        /// The master.
        pid: i32,
    },
    /// The settings name one address twice.
    #[error("{address} is asked for twice")]
    Twice {
        /// The address.
        address: Address,
    },
    /// This process may not listen there.
    #[error("not allowed to listen on {address}: {advice}")]
    NotAllowed {
        /// The address.
        address: Address,
        /// What would help.
        advice: &'static str,
        /// The refusal.
        source: io::Error,
    },
    /// The IP address belongs to another machine.
    #[error("cannot listen on {address}: this machine does not have that IP address")]
    NotLocal {
        /// The address.
        address: Address,
    },
    /// A file that is not a socket has the path of a unix socket.
    #[error("cannot listen on {address}: the file there is not a socket, and is left alone")]
    NotASocket {
        /// The address.
        address: Address,
    },
    /// The path of a unix socket is longer than the kernel takes.
    #[error("cannot listen on {address}: the path is too long for a unix socket ({len} bytes, at most {most})")]
    PathTooLong {
        /// The address.
        address: Address,
        /// Its length in bytes.
        len: usize,
        /// The most that is possible, in bytes.
        most: usize,
    },
    /// The directory of a unix socket does not exist.
    #[error("cannot listen on {address}: its directory does not exist")]
    NoDirectory {
        /// The address.
        address: Address,
    },
    /// A descriptor that was handed over is not what it should be.
    #[error("descriptor {fd}, handed over for {address}, {fault}")]
    Inherited {
        /// The address that it should serve.
        address: Address,
        /// Its number.
        fd: i32,
        /// What is wrong with it.
        fault: Fault,
    },
    /// A listener was handed over without a descriptor.
    #[error("no descriptor was handed over for {address}")]
    NothingInherited {
        /// The address.
        address: Address,
    },
    /// Nothing that was passed has this name.
    #[error("fd:{name}: no socket of that name was passed{}", listed(passed))]
    NotPassed {
        /// The name.
        name: String,
        /// The names that there are.
        passed: Vec<String>,
    },
    /// A socket was passed that nothing asks for.
    #[error(
        "the socket passed as `{name}`, on {address}, is asked for by nothing: expected `--bind fd:{name}`, `--bind {address}`, or a `bind_named` of the program"
    )]
    NotAskedFor {
        /// What the service manager calls it.
        name: String,
        /// Where it listens.
        address: Address,
    },
    /// Anything else that the system refuses.
    #[error("cannot listen on {address}: {step} failed")]
    System {
        /// The address.
        address: Address,
        /// What was tried.
        step: &'static str,
        /// The refusal.
        source: io::Error,
    },
}

impl ListenError {
    /// What was asked for and cannot be had; `None` if it is something that nobody has asked for.
    #[must_use]
    pub fn asked_for(&self) -> Option<Bind> {
        match self {
            Self::InUse { address }
            | Self::NotLetGo { address, .. }
            | Self::Twice { address }
            | Self::NotAllowed { address, .. }
            | Self::NotLocal { address }
            | Self::NotASocket { address }
            | Self::PathTooLong { address, .. }
            | Self::NoDirectory { address }
            | Self::Inherited { address, .. }
            | Self::NothingInherited { address }
            | Self::System { address, .. } => Some(Bind::Address(address.clone())),
            Self::NotPassed { name, .. } => Some(Bind::Passed(name.clone())),
            Self::NotAskedFor { .. } => None,
        }
    }
}

fn listed(names: &[String]) -> String {
    match names {
        [] => String::new(),
        names => format!(", only {}", names.join(", ")),
    }
}

/// What is wrong with a descriptor that was handed over.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Fault {
    /// It is a file, a pipe, or something else.
    #[error("is not a socket")]
    NotASocket,
    /// It is a socket for datagrams or messages.
    #[error("is not a stream socket")]
    NotAStream,
    /// It is a connection, or was never made to listen.
    #[error("does not listen")]
    NotListening,
    /// It listens on another address.
    #[error("listens on {on}")]
    Elsewhere {
        /// The address, or what is known about it.
        on: String,
    },
    /// Something else.
    #[error("cannot be used: {why}")]
    Unusable {
        /// The refusal.
        why: String,
    },
}
