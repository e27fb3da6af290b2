//! What the kernel says about the worker's sockets.

use std::collections::HashSet;
use std::path::Path;
use std::time::Instant;

use super::PATIENCE;

/// Waits until the worker's side of a connection has been accepted.
pub(crate) fn wait_accepted(server: u16, client: u16) {
    wait(server, client, "accepted", |socket| socket.inode != 0);
}

/// Waits until the worker has read everything that was sent to it.
pub(crate) fn wait_read(server: u16, client: u16) {
    wait(server, client, "read", |socket| socket.inode != 0 && socket.unread == 0);
}

/// Waits until the worker has closed its side of a connection.
pub(crate) fn wait_closed(server: u16, client: u16) {
    let deadline = Instant::now() + PATIENCE;
    while find(server, client).is_some_and(|socket| socket.inode != 0) {
        assert!(Instant::now() < deadline, "the connection was not closed");
        std::thread::yield_now();
    }
}

/// Waits until a process has so many of these connections.
pub(crate) fn wait_owned(pid: u32, server: u16, clients: &[u16], count: usize) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let owned = owned(pid, server, clients);
        if owned == count {
            return;
        }
        assert!(Instant::now() < deadline, "the process has {owned} of the connections");
        std::thread::yield_now();
    }
}

fn owned(pid: u32, server: u16, clients: &[u16]) -> usize {
    let fds = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let targets: HashSet<_> = fds.filter_map(|fd| std::fs::read_link(fd.unwrap().path()).ok()).collect();
    let owns = |inode: u64| targets.contains(Path::new(&format!("socket:[{inode}]")));
    table().filter(|(own, peer, socket)| *own == server && clients.contains(peer) && owns(socket.inode)).count()
}

struct Socket {
    unread: u32,
    inode: u64,
}

fn wait(server: u16, client: u16, what: &str, done: impl Fn(&Socket) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !find(server, client).is_some_and(|socket| done(&socket)) {
        assert!(Instant::now() < deadline, "the connection was not {what}");
        std::thread::yield_now();
    }
}

/// The socket whose own port is `server` and whose peer's is `client`.
fn find(server: u16, client: u16) -> Option<Socket> {
    table().find(|(own, peer, _socket)| (*own, *peer) == (server, client)).map(|(_own, _peer, socket)| socket)
}

/// The lines of /proc/net/tcp, by both ports. One can be missing while the table changes.
fn table() -> impl Iterator<Item = (u16, u16, Socket)> {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let lines: Vec<_> = table.lines().skip(1).filter_map(socket).collect();
    lines.into_iter()
}

fn socket(line: &str) -> Option<(u16, u16, Socket)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let port = |field: &str| u16::from_str_radix(field.rsplit(':').next()?, 16).ok();
    let unread = u32::from_str_radix(fields[4].rsplit(':').next()?, 16).ok()?;
    Some((port(fields[1])?, port(fields[2])?, Socket { unread, inode: fields[9].parse().ok()? }))
}
