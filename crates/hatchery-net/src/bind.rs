//! Listeners that are bound here.

use std::io;
use std::net::SocketAddr;

use hatchery_core::ListenMode;
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::listener::{Holder, Queue, Source, Standing};
use crate::{Address, ListenError, Listener, Spec, unix};

pub(crate) fn bind(spec: &Spec, mode: ListenMode, queues: u16, backlog: u32) -> Result<Listener, ListenError> {
    let backlog = i32::try_from(backlog).unwrap_or(i32::MAX);
    let (bound, sockets, file) = match &spec.address {
        Address::Tcp(wanted) => {
            let failed = |(step, source)| failure(&spec.address, step, source);
            let (bound, sockets) = tcp(*wanted, mode, queues, backlog).map_err(failed)?;
            (Address::Tcp(bound), sockets, None)
        }
        Address::Unix(path) => {
            let (socket, file) = unix::bind(&spec.address, path, backlog)?;
            (spec.address.clone(), vec![socket], Some(file))
        }
    };
    let queues = sockets.into_iter().map(|socket| Queue::new(socket.into())).collect();
    Ok(Listener {
        name: spec.name.clone(),
        asked: spec.address.clone(),
        bound,
        queues,
        file,
        source: Source::Bound,
        holder: Holder::Program,
        backlog,
        standing: Standing::Asked,
    })
}

/// What was tried, and how it failed.
type Failure = (&'static str, io::Error);

fn tcp(wanted: SocketAddr, mode: ListenMode, queues: u16, backlog: i32) -> Result<(SocketAddr, Vec<Socket>), Failure> {
    // The first one is bound, and made to listen, without SO_REUSEPORT: a second
    // program that does the same is refused, even one that is started at the same
    // moment, since the kernel looks for conflicts again in listen. The flag
    // set afterwards is what lets the other queues in.
    let first = open(wanted)?;
    first.bind(&wanted.into()).map_err(at("bind"))?;
    first.listen(backlog).map_err(at("listen"))?;
    let bound = first.local_addr().map_err(at("reading the address"))?;
    let bound = bound.as_socket().unwrap_or(wanted);
    let mut sockets = vec![first];
    match mode {
        ListenMode::Shared => {}
        ListenMode::Reuseport => {
            // Also for a single one: it tells that others can be added.
            sockets[0].set_reuse_port(true).map_err(at("setting SO_REUSEPORT"))?;
            for _ in 1..queues {
                let next = another(bound)?;
                next.listen(backlog).map_err(at("listen"))?;
                sockets.push(next);
            }
        }
    }
    Ok((bound, sockets))
}

/// Another queue of an address that has one. It takes no connections before it listens.
fn another(bound: SocketAddr) -> Result<Socket, Failure> {
    let next = open(bound)?;
    next.set_reuse_port(true).map_err(at("setting SO_REUSEPORT"))?;
    next.bind(&bound.into()).map_err(at("bind"))?;
    Ok(next)
}

impl Listener {
    /// Binds what is missing to `each` queues, if the first one lets others in.
    pub(crate) fn bind_more(&self, each: u16) -> Result<Vec<Socket>, ListenError> {
        let failed = |(step, source)| failure(&self.bound, step, source);
        // What is passed stays one queue: the service manager would not know of another.
        if self.holder.name().is_some() {
            return Ok(Vec::new());
        }
        let missing = usize::from(each).saturating_sub(self.queues.len());
        let (Address::Tcp(bound), Some(first), 1..) =
            (&self.bound, self.queues.first().filter(|_| self.is_asked()), missing)
        else {
            return Ok(Vec::new());
        };
        if !SockRef::from(first).reuse_port().map_err(|source| failed(("reading SO_REUSEPORT", source)))? {
            return Ok(Vec::new());
        }
        (0..missing).map(|_| another(*bound).map_err(failed)).collect()
    }

    /// Takes queues that [`bind_more`](Self::bind_more) has bound into use.
    pub(crate) fn open_more(&mut self, bound: Vec<Socket>) -> Result<(), ListenError> {
        for socket in bound {
            socket.listen(self.backlog).map_err(|source| failure(&self.bound, "listen", source))?;
            self.queues.push(Queue::new(socket.into()));
        }
        Ok(())
    }
}

/// Sockets made by socket2 are closed by an exec.
fn open(address: SocketAddr) -> Result<Socket, Failure> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP)).map_err(at("socket"))?;
    socket.set_nonblocking(true).map_err(at("setting O_NONBLOCK"))?;
    // Connections in TIME_WAIT must not keep a restart from its port.
    socket.set_reuse_address(true).map_err(at("setting SO_REUSEADDR"))?;
    // Accepted sockets inherit it, which saves a system call for each.
    socket.set_tcp_nodelay(true).map_err(at("setting TCP_NODELAY"))?;
    if address.is_ipv6() {
        // Or [::]:80 would take IPv4 as well, on some machines and not on others.
        socket.set_only_v6(true).map_err(at("setting IPV6_V6ONLY"))?;
    }
    Ok(socket)
}

fn at(step: &'static str) -> impl Fn(io::Error) -> Failure {
    move |source| (step, source)
}

/// The error for what the system has refused.
pub(crate) fn failure(address: &Address, step: &'static str, source: io::Error) -> ListenError {
    let address = address.clone();
    match source.kind() {
        io::ErrorKind::AddrInUse => ListenError::InUse { address },
        io::ErrorKind::AddrNotAvailable => ListenError::NotLocal { address },
        io::ErrorKind::PermissionDenied => {
            let advice = match &address {
                Address::Tcp(_) => "ports below 1024 need root, CAP_NET_BIND_SERVICE or a socket passed in",
                Address::Unix(_) => "its directory has to be writable",
            };
            ListenError::NotAllowed { address, advice, source }
        }
        io::ErrorKind::NotFound if matches!(address, Address::Unix(_)) => ListenError::NoDirectory { address },
        _ => ListenError::System { address, step, source },
    }
}
