//! Sockets that a service manager passes: `LISTEN_FDS` (`sd_listen_fds(3)`) and `SERVER_STARTER_PORT`.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;

use hatchery_sys::{env, inherit, process};
use thiserror::Error;

use crate::inherit::look_at;
use crate::{Fault, Holder, Inherited, stored};

/// The first descriptor that systemd passes.
const FIRST: i32 = 3;

/// What systemd calls a socket without a name.
const NAMELESS: &str = "unknown";

const FDS: &str = "LISTEN_FDS";
const PID: &str = "LISTEN_PID";
const NAMES: &str = "LISTEN_FDNAMES";
const STARTER: &str = "SERVER_STARTER_PORT";

/// Sockets that listen, with what the service manager calls them.
///
/// The service manager holds a copy of each: connections wait in them while no server runs.
#[derive(Debug, Default)]
pub struct Passed {
    sockets: Vec<Inherited>,
    spoilt: Vec<String>,
}

/// Why sockets cannot be taken that were passed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PassedError {
    /// A variable does not say what it should.
    #[error("{variable} (environment): `{text}`: expected {right}")]
    Variable {
        /// The variable.
        variable: &'static str,
        /// What it says.
        text: String,
        /// What would be right.
        right: &'static str,
    },
    /// A descriptor is not there.
    #[error("descriptor {fd}, passed as `{name}`, cannot be used")]
    Missing {
        /// Which one it is.
        fd: i32,
        /// What the service manager calls it.
        name: String,
        /// Why not.
        source: io::Error,
    },
    /// A descriptor is not what it should be.
    #[error("descriptor {fd}, passed as `{name}`, {fault}")]
    Unusable {
        /// Which one it is.
        fd: i32,
        /// What the service manager calls it.
        name: String,
        /// What is wrong with it.
        fault: Fault,
    },
}

impl Passed {
    /// The variables that tell of them, which are for one process and nobody after it.
    pub const VARIABLES: [&str; 4] = [FDS, PID, NAMES, STARTER];

    /// Takes what was passed to this process, and the variables out of the environment.
    ///
    /// `LISTEN_FDS` of another process, by `LISTEN_PID`, is not taken; its variables are.
    /// Sockets with one name and one address are queues of one listener. Those that the
    /// program has had stored are known by their names; one that was shut since is closed.
    ///
    /// # Errors
    /// When a variable cannot be read, or a descriptor is no stream socket that listens
    /// on a TCP address or a path.
    pub fn from_env() -> Result<Self, PassedError> {
        let [fds, pid, names, starter] = Self::VARIABLES.map(env::take);
        let ours = pid.is_some_and(|pid| pid.to_str() == Some(&process::pid().to_string()));
        let mut named = match fds.filter(|_| ours) {
            Some(fds) => systemd(&text(fds), names.map(text).as_deref())?,
            None => Vec::new(),
        };
        named.extend(starter.map_or_else(|| Ok(Vec::new()), |ports| server_starter(&text(ports)))?);
        let (mut sockets, mut spoilt): (Vec<Inherited>, _) = (Vec::new(), Vec::new());
        for (name, fd) in named {
            let owned = adopt(fd, &name)?;
            let address = match look_at(&owned) {
                Ok(address) => address,
                Err(_) if stored::is_ours(&name) => {
                    spoilt.push(name);
                    continue;
                }
                Err(fault) => return Err(PassedError::Unusable { fd, name, fault }),
            };
            let holder = match name == stored::name_of(&address) {
                true => Holder::Store { copies: 1 },
                false => Holder::Manager { name },
            };
            let is_it = |other: &&mut Inherited| other.address == address && other.holder.name() == holder.name();
            match sockets.iter_mut().find(is_it) {
                Some(other) => {
                    other.fds.push(owned);
                    if let Holder::Store { copies } = &mut other.holder {
                        *copies += 1;
                    }
                }
                None => sockets.push(Inherited { address, fds: vec![owned], holder }),
            }
        }
        Ok(Self { sockets, spoilt })
    }

    /// Whether nothing was passed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sockets.is_empty()
    }

    /// All of them, in the order in which they were passed, and the names of those that
    /// were stored and are of no use.
    #[must_use]
    pub fn into_parts(self) -> (Vec<Inherited>, Vec<String>) {
        (self.sockets, self.spoilt)
    }
}

impl Inherited {
    /// What the service manager calls it that has passed it, if one has.
    #[must_use]
    pub fn passed_as(&self) -> Option<&str> {
        self.holder.name()
    }

    /// By which name it is stored, if it is.
    #[must_use]
    pub fn store_name(&self) -> String {
        stored::name_of(&self.address)
    }
}

/// Whatever is no UTF-8 is no number and no name either.
fn text(value: OsString) -> String {
    value.into_string().unwrap_or_else(|value| value.to_string_lossy().into_owned())
}

fn adopt(fd: i32, name: &str) -> Result<OwnedFd, PassedError> {
    inherit::adopt(fd).map_err(|source| PassedError::Missing { fd, name: name.to_owned(), source })
}

/// `LISTEN_FDS=2`, `LISTEN_FDNAMES=web:admin`.
fn systemd(count: &str, names: Option<&str>) -> Result<Vec<(String, i32)>, PassedError> {
    // More descriptors than a process can have are no descriptors.
    const MOST: i32 = 1 << 20;
    let wrong = || PassedError::Variable { variable: FDS, text: count.to_owned(), right: "the number of descriptors" };
    let many: i32 = count.parse().ok().filter(|many| (0..=MOST).contains(many)).ok_or_else(wrong)?;
    let mut names = names.map(|names| names.split(':')).into_iter().flatten();
    let mut name = || names.next().filter(|name| !name.is_empty()).unwrap_or(NAMELESS).to_owned();
    Ok((FIRST..FIRST + many).map(|fd| (name(), fd)).collect())
}

/// `127.0.0.1:80=3;8080=4;/run/x.sock=5`: what stands before the descriptor is the name.
fn server_starter(ports: &str) -> Result<Vec<(String, i32)>, PassedError> {
    let wrong =
        || PassedError::Variable { variable: STARTER, text: ports.to_owned(), right: "PORT=FD;HOST:PORT=FD;PATH=FD" };
    let one = |port: &str| {
        let (name, fd) = port.rsplit_once('=')?;
        Some((name.to_owned(), fd.parse().ok().filter(|fd: &i32| *fd >= 0)?))
    };
    ports.split(';').filter(|port| !port.is_empty()).map(|port| one(port).ok_or_else(wrong)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(list: &[(&str, i32)]) -> Vec<(String, i32)> {
        list.iter().map(|(name, fd)| ((*name).to_owned(), *fd)).collect()
    }

    #[test]
    fn names_are_in_the_order_of_the_descriptors() {
        assert_eq!(systemd("2", Some("web:admin")).unwrap(), named(&[("web", 3), ("admin", 4)]));
        assert_eq!(systemd("2", Some("web")).unwrap(), named(&[("web", 3), ("unknown", 4)]));
        assert_eq!(systemd("1", None).unwrap(), named(&[("unknown", 3)]));
        assert_eq!(systemd("0", None).unwrap(), []);
    }

    #[test]
    fn a_count_that_is_none_is_said() {
        for text in ["", "many", "-1", "1.5", "99999999999"] {
            let error = systemd(text, None).unwrap_err().to_string();
            assert_eq!(error, format!("LISTEN_FDS (environment): `{text}`: expected the number of descriptors"));
        }
    }

    #[test]
    fn a_starter_names_ports_hosts_and_paths() {
        let all = server_starter("127.0.0.1:80=3;8080=4;[::1]:80=5;/run/a=b.sock=6").unwrap();
        assert_eq!(all, named(&[("127.0.0.1:80", 3), ("8080", 4), ("[::1]:80", 5), ("/run/a=b.sock", 6)]));
        assert_eq!(server_starter("").unwrap(), []);
        for text in ["80", "80=", "80=x", "80=-1", "80=3;81"] {
            let error = server_starter(text).unwrap_err().to_string();
            assert!(error.starts_with(&format!("SERVER_STARTER_PORT (environment): `{text}`: expected ")), "{error}");
        }
    }
}
