//! Which file a unix socket is bound to.
//!
//! A socket knows the name that it was given, but whether the file of that name
//! is still its own, or was put there by somebody else since, only the kernel
//! can tell: by its socket diagnostics, which are a netlink protocol.

use std::fs::{self, Permissions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, listen, socket};

use crate::socket::{self as ends, Credentials};

/// What has a path that a socket is to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occupant {
    /// Nothing.
    Nobody,
    /// A socket that nobody listens on.
    Dead,
    /// A socket that somebody listens on, and who has begun to, if the kernel tells.
    Alive(Option<Credentials>),
    /// Something that is no socket.
    NoSocket,
}

/// Makes a stream socket at `path` that takes `backlog` connections, never waits, and may
/// be connected to by whom `mode` lets write. Before that is so nobody can connect.
///
/// # Errors
/// When the path is taken or too long, or the system refuses.
pub fn listen_at(path: &Path, mode: u32, backlog: i32) -> io::Result<UnixListener> {
    let socket = stream()?;
    bind(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    let listening = fs::set_permissions(path, Permissions::from_mode(mode))
        .and_then(|()| Ok(listen(&socket, Backlog::new(backlog).unwrap_or(Backlog::MAXCONN))?));
    if let Err(error) = listening {
        let _ = fs::remove_file(path);
        return Err(error);
    }
    Ok(socket.into())
}

/// Looks at what has a path. Where somebody listens it is one connection for it, closed at once.
///
/// # Errors
/// When the path cannot be looked at, or must not be connected to.
pub fn occupant(path: &Path) -> io::Result<Occupant> {
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => return Ok(Occupant::NoSocket),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Occupant::Nobody),
        Err(error) => return Err(error),
    }
    let socket = stream()?;
    match connect(socket.as_raw_fd(), &UnixAddr::new(path)?) {
        Ok(()) => Ok(Occupant::Alive(ends::credentials(socket.as_fd()).ok())),
        Err(Errno::ECONNREFUSED) => Ok(Occupant::Dead),
        Err(Errno::ENOENT) => Ok(Occupant::Nobody),
        // Its queue is full.
        Err(Errno::EAGAIN) => Ok(Occupant::Alive(None)),
        Err(errno) => Err(errno.into()),
    }
}

/// A stream socket that neither waits nor outlives an exec.
fn stream() -> nix::Result<OwnedFd> {
    socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK, None)
}

/// The inode number of the file that a unix socket is bound to, as far as the
/// kernel tells it: the lower 32 bits.
///
/// # Errors
/// When the system has no such diagnostics, or the socket is not bound to a file.
#[cfg(target_os = "linux")]
pub fn inode(socket: BorrowedFd<'_>) -> io::Result<u32> {
    use nix::sys::socket::{MsgFlags, NetlinkAddr, SockProtocol, recv, sendto, socket as open};
    use std::fs::File;
    use std::os::unix::fs::MetadataExt;

    let number = File::from(socket.try_clone_to_owned()?).metadata()?.ino();
    // Sockets are counted by 32 bits; the kernel looks for them by these.
    let number = u32::try_from(number & u64::from(u32::MAX)).map_err(io::Error::other)?;
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let netlink = open(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkSockDiag)?;
    sendto(netlink.as_raw_fd(), &wire::question(number), &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
    let mut answer = [0; 4096];
    // The kernel answers before `sendto` returns, so there is nothing to wait for.
    let len = recv(netlink.as_raw_fd(), &mut answer, MsgFlags::MSG_DONTWAIT)?;
    wire::inode(&answer[..len])
}

/// The inode number of the file that a unix socket is bound to: not to be had here.
///
/// # Errors
/// Always.
#[cfg(not(target_os = "linux"))]
pub fn inode(_socket: BorrowedFd<'_>) -> io::Result<u32> {
    Err(io::ErrorKind::Unsupported.into())
}

/// The messages, see `sock_diag(7)`.
#[cfg(target_os = "linux")]
mod wire {
    use std::io;

    const SOCK_DIAG_BY_FAMILY: u16 = 20;
    const UDIAG_SHOW_VFS: u32 = 2;
    const UNIX_DIAG_VFS: u16 = 1;
    /// A netlink header, then `unix_diag_msg`.
    const ATTRIBUTES: usize = 16 + 16;

    /// A netlink header and a `unix_diag_req` for one socket, whatever its state.
    pub(super) fn question(number: u32) -> [u8; 40] {
        let request = u16::try_from(libc::NLM_F_REQUEST).unwrap_or(1);
        let family = u16::from_ne_bytes([u8::try_from(libc::AF_UNIX).unwrap_or(1), 0]);
        let halves = [[SOCK_DIAG_BY_FAMILY, request], [family, 0]].map(|[one, two]| {
            let (one, two) = (one.to_ne_bytes(), two.to_ne_bytes());
            u32::from_ne_bytes([one[0], one[1], two[0], two[1]])
        });
        // Length, type and flags, sequence, sender; family, states, number, what to show, no cookie.
        let words = [40, halves[0], 0, 0, halves[1], u32::MAX, number, UDIAG_SHOW_VFS, u32::MAX, u32::MAX];
        let mut bytes = [0; 40];
        for (place, word) in bytes.chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_ne_bytes());
        }
        bytes
    }

    /// The inode number in an answer.
    pub(super) fn inode(answer: &[u8]) -> io::Result<u32> {
        let unknown = || io::Error::new(io::ErrorKind::NotFound, "the kernel does not tell the socket's file");
        if half(answer, 4) != Some(SOCK_DIAG_BY_FAMILY) {
            // An error, such as "no such family" where the kernel was built without.
            return Err(unknown());
        }
        let mut attributes = answer.get(ATTRIBUTES..).unwrap_or_default();
        while let (Some(len), Some(kind)) = (half(attributes, 0), half(attributes, 2)) {
            if kind == UNIX_DIAG_VFS {
                let value = attributes.get(4..8).and_then(|bytes| bytes.try_into().ok()).ok_or_else(unknown)?;
                return Ok(u32::from_ne_bytes(value));
            }
            let next = usize::from(len).next_multiple_of(4).max(4);
            attributes = attributes.get(next..).unwrap_or_default();
        }
        Err(unknown())
    }

    fn half(bytes: &[u8], at: usize) -> Option<u16> {
        Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::fs;
    use std::os::fd::AsFd;
    use std::os::unix::fs::MetadataExt;
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    #[test]
    fn the_file_of_a_socket_is_known_wherever_it_is_now() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("x.sock");
        let listener = UnixListener::bind(&path).expect("nothing is there");
        let number = fs::metadata(&path).expect("the file").ino();
        let told = inode(listener.as_fd()).expect("diagnostics");
        assert_eq!(u64::from(told), number & 0xffff_ffff);
        fs::remove_file(&path).expect("it is there");
        assert_eq!(inode(listener.as_fd()).expect("diagnostics"), told);
    }

    #[test]
    fn who_has_a_path_is_known_dead_or_alive() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("ctl");
        assert_eq!(occupant(&path).expect("a look"), Occupant::Nobody);
        let listener = listen_at(&path, 0o640, 4).expect("nothing is there");
        assert_eq!(fs::metadata(&path).expect("the file").mode() & 0o777, 0o640);
        let Ok(Occupant::Alive(Some(who))) = occupant(&path) else { panic!("somebody listens") };
        assert_eq!(u32::try_from(who.pid), Ok(std::process::id()));
        assert!(listen_at(&path, 0o600, 4).is_err(), "taken");
        drop(listener);
        assert_eq!(occupant(&path).expect("a look"), Occupant::Dead);
        fs::remove_file(&path).and_then(|()| fs::write(&path, "text")).expect("a file");
        assert_eq!(occupant(&path).expect("a look"), Occupant::NoSocket);
    }

    #[test]
    fn a_socket_without_a_file_has_none() {
        let (one, _other) = UnixStream::pair().expect("a pair");
        assert!(inode(one.as_fd()).is_err());
        assert!(inode(io::stdin().as_fd()).is_err());
    }
}
