//! TCP queues: one, or several that share a port.

use std::io;
use std::net::SocketAddr;

use hatchery_core::ListenMode;
use socket2::{Domain, Protocol, Socket, Type};

use crate::Queue;

/// Binds `queues` sockets to one address and listens on them.
pub(crate) fn bind(
    address: SocketAddr,
    mode: ListenMode,
    queues: u16,
    backlog: i32,
) -> io::Result<(SocketAddr, Vec<Queue>)> {
    let first = socket(address)?;
    // Without SO_REUSEPORT: if another program holds the port, even one that set
    // it, this fails with "address in use" instead of sharing its traffic.
    first.bind(&address.into())?;
    let bound = first.local_addr()?.as_socket().unwrap_or(address);
    let mut sockets = vec![first];
    if mode == ListenMode::Reuseport {
        // Set afterwards it still opens the group to the next ones of ours.
        sockets[0].set_reuse_port(true)?;
        for _ in 1..queues {
            let next = socket(address)?;
            next.set_reuse_port(true)?;
            next.bind(&bound.into())?;
            sockets.push(next);
        }
    }
    for socket in &sockets {
        socket.listen(backlog)?;
    }
    Ok((bound, sockets.into_iter().map(Queue::new).collect()))
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    // Accepted sockets inherit it: a system call less for each of them.
    socket.set_tcp_nodelay(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}
