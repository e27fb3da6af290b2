//! Datagrams to one unix socket that somebody else has bound.

use std::ffi::OsStr;
use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, sendmsg, socket};

/// Sends to one address, and never waits.
#[derive(Debug)]
pub struct Datagrams {
    socket: OwnedFd,
    to: UnixAddr,
}

impl Datagrams {
    /// To a path, or, after an `@`, to a name without a file. Nobody need be there yet.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] for another kind of address or one that is too
    /// long; or when this process has no descriptor left.
    pub fn to(address: &OsStr) -> io::Result<Self> {
        let unknown = || io::Error::new(io::ErrorKind::InvalidInput, "neither a path nor an abstract socket");
        let to = match address.as_bytes() {
            [b'/', ..] => UnixAddr::new(Path::new(address))?,
            [b'@', name @ ..] if !name.is_empty() => without_file(name)?,
            _ => return Err(unknown()),
        };
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        Ok(Self { socket: socket(AddressFamily::Unix, SockType::Datagram, flags, None)?, to })
    }

    /// Sends one datagram, with copies of `fds`.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when the receiver's queue is full; when nobody is there.
    pub fn send(&self, message: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let fds: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&fds)];
        let control = if fds.is_empty() { &[][..] } else { &rights[..] };
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        loop {
            match sendmsg(self.socket.as_raw_fd(), &[IoSlice::new(message)], control, flags, Some(&self.to)) {
                Ok(_) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

#[cfg(target_os = "linux")]
fn without_file(name: &[u8]) -> io::Result<UnixAddr> {
    Ok(UnixAddr::new_abstract(name)?)
}

#[cfg(not(target_os = "linux"))]
fn without_file(_name: &[u8]) -> io::Result<UnixAddr> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;

    #[test]
    fn a_path_is_sent_to_and_a_full_receiver_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let datagrams = Datagrams::to(path.as_os_str()).unwrap();
        assert_eq!(datagrams.send(b"READY=1", &[]).unwrap_err().kind(), io::ErrorKind::NotFound);
        let receiver = UnixDatagram::bind(&path).unwrap();
        let sent = (0..100_000).take_while(|_| datagrams.send(b"READY=1", &[]).is_ok()).count();
        assert!((1..100_000).contains(&sent));
        assert_eq!(datagrams.send(b"READY=1", &[]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        let mut message = [0; 16];
        assert_eq!(receiver.recv(&mut message).unwrap(), 7);
    }

    #[test]
    fn addresses_of_other_kinds_are_refused() {
        for address in ["", "@", "notify", "vsock:2:1234"] {
            assert_eq!(Datagrams::to(OsStr::new(address)).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        }
        assert!(Datagrams::to(OsStr::new("@hatchery-test")).is_ok());
    }
}
