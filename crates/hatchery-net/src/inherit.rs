//! Listeners that another program has bound.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;

use socket2::{SockRef, Type};

use crate::error::Fault;
use crate::listener::{Holder, Queue, Source, Standing};
use crate::unix::Identity;
use crate::{Address, ListenError, Listener, Spec};

pub(crate) fn inherit(spec: &Spec, fds: Vec<OwnedFd>) -> Result<Listener, ListenError> {
    let mut bound: Option<Address> = None;
    for fd in &fds {
        // With port 0 the first queue says which port it is; the others have to agree.
        let expected = bound.as_ref().unwrap_or(&spec.address);
        let found = check(expected, fd).map_err(|fault| ListenError::Inherited {
            address: spec.address.clone(),
            fd: fd.as_raw_fd(),
            fault,
        })?;
        bound = Some(found);
    }
    let Some(bound) = bound else {
        return Err(ListenError::NothingInherited { address: spec.address.clone() });
    };
    let file = match &bound {
        Address::Tcp(_) => None,
        Address::Unix(path) => fds.first().and_then(|fd| Identity::inherited(path, fd)),
    };
    let queues = fds.into_iter().map(Queue::new).collect();
    Ok(Listener {
        name: spec.name.clone(),
        asked: spec.address.clone(),
        bound,
        queues,
        file,
        source: Source::Inherited,
        holder: Holder::Program,
        // As many as the kernel allows, if nobody asks for fewer.
        backlog: i32::MAX,
        standing: Standing::Asked,
    })
}

impl Listener {
    /// Takes a queue of this very address that another process has added.
    pub(crate) fn adopt(&mut self, fd: OwnedFd) -> Result<(), Fault> {
        check(&self.bound, &fd)?;
        self.queues.push(Queue::new(fd));
        Ok(())
    }
}

/// The address that a descriptor listens on, if it is as expected.
fn check(expected: &Address, fd: &OwnedFd) -> Result<Address, Fault> {
    let found = look_at(fd)?;
    if !serves(expected, &found) {
        return Err(Fault::Elsewhere { on: found.to_string() });
    }
    Ok(found)
}

/// The address that a descriptor listens on; it does not block afterwards.
pub(crate) fn look_at(fd: &OwnedFd) -> Result<Address, Fault> {
    let socket = SockRef::from(fd);
    if !is_socket(fd).map_err(|error| unusable(&error))? {
        return Err(Fault::NotASocket);
    }
    if socket.r#type().map_err(|error| unusable(&error))? != Type::STREAM {
        return Err(Fault::NotAStream);
    }
    if !socket.is_listener().map_err(|error| unusable(&error))? {
        return Err(Fault::NotListening);
    }
    let found = address_of(&socket)?;
    // A service manager passes sockets that block and survive an exec.
    socket.set_nonblocking(true).map_err(|error| unusable(&error))?;
    socket.set_cloexec(true).map_err(|error| unusable(&error))?;
    if matches!(found, Address::Tcp(_)) {
        socket.set_tcp_nodelay(true).map_err(|error| unusable(&error))?;
    }
    Ok(found)
}

fn is_socket(fd: &OwnedFd) -> io::Result<bool> {
    Ok(File::from(fd.try_clone()?).metadata()?.file_type().is_socket())
}

fn address_of(socket: &SockRef<'_>) -> Result<Address, Fault> {
    let found = socket.local_addr().map_err(|error| unusable(&error))?;
    if let Some(address) = found.as_socket() {
        Ok(Address::Tcp(address))
    } else if let Some(path) = found.as_pathname() {
        Ok(Address::Unix(path.to_owned()))
    } else {
        Err(Fault::Elsewhere { on: "an address that is neither TCP nor the path of a unix socket".to_owned() })
    }
}

/// Whether a listener on `found` is one for `asked`.
pub(crate) fn serves(asked: &Address, found: &Address) -> bool {
    match (asked, found) {
        (Address::Tcp(asked), Address::Tcp(found)) => {
            same_host(asked, found) && [0, found.port()].contains(&asked.port())
        }
        (Address::Unix(asked), Address::Unix(found)) => asked == found,
        (Address::Tcp(_), Address::Unix(_)) | (Address::Unix(_), Address::Tcp(_)) => false,
    }
}

/// The scope only where it was asked for: the kernel fills it in.
fn same_host(asked: &SocketAddr, found: &SocketAddr) -> bool {
    let same_scope = match (asked, found) {
        (SocketAddr::V6(asked), SocketAddr::V6(found)) => [0, found.scope_id()].contains(&asked.scope_id()),
        _ => true,
    };
    asked.ip() == found.ip() && same_scope
}

fn unusable(error: &io::Error) -> Fault {
    Fault::Unusable { why: error.to_string() }
}
