//! Connections that are not there yet.

use std::io;

/// Whether the kernel is in the middle of a handshake with somebody who connects to this
/// port of this host, over IPv4 or IPv6: `TCP_SYN_RECV`, as `sock_diag(7)` tells it.
///
/// The kernel looks at every connection of its network namespace for it, which takes about a
/// millisecond for ten thousand. It does not know of handshakes for which it sends SYN cookies.
///
/// # Errors
/// When the kernel does not tell: it was built without, or a container forbids it.
#[cfg(target_os = "linux")]
pub fn under_way(port: u16) -> io::Result<bool> {
    Ok(sock_diag::any_in_syn_recv(libc::AF_INET as u8, port)?
        || sock_diag::any_in_syn_recv(libc::AF_INET6 as u8, port)?)
}

/// Whether there are handshakes: not to be had here.
///
/// # Errors
/// Always.
#[cfg(not(target_os = "linux"))]
pub fn under_way(_port: u16) -> io::Result<bool> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(target_os = "linux")]
mod sock_diag {
    use std::io;
    use std::os::fd::AsRawFd;

    use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};

    const SOCK_DIAG_BY_FAMILY: u16 = 20;
    /// `TCP_SYN_RECV` of the kernel, as a bit.
    const SYN_RECV: u32 = 1 << 3;
    /// A `struct nlmsghdr`, and behind it a `struct inet_diag_req_v2`.
    const HEADER: usize = 16;
    const REQUEST: usize = HEADER + 56;

    pub(super) fn any_in_syn_recv(family: u8, port: u16) -> io::Result<bool> {
        let netlink =
            socket(AddressFamily::Netlink, SockType::Datagram, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkSockDiag)?;
        send(netlink.as_raw_fd(), &request(family, port), MsgFlags::MSG_DONTWAIT)?;
        let mut answer = [0; 8192];
        let len = recv(netlink.as_raw_fd(), &mut answer, MsgFlags::MSG_DONTWAIT)?;
        // The first message tells: a socket, or that there is none.
        let (head, rest) = answer[..len].split_first_chunk::<HEADER>().ok_or(io::ErrorKind::UnexpectedEof)?;
        match i32::from(u16::from_ne_bytes([head[4], head[5]])) {
            libc::NLMSG_DONE => Ok(false),
            libc::NLMSG_ERROR => {
                let errno = rest.first_chunk().map_or(0, |errno| i32::from_ne_bytes(*errno));
                Err(io::Error::from_raw_os_error(-errno))
            }
            kind if kind == i32::from(SOCK_DIAG_BY_FAMILY) => Ok(true),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    fn request(family: u8, port: u16) -> [u8; REQUEST] {
        let flags = (libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16;
        let mut request = [0; REQUEST];
        request[0..4].copy_from_slice(&(REQUEST as u32).to_ne_bytes());
        request[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
        request[6..8].copy_from_slice(&flags.to_ne_bytes());
        request[16] = family;
        request[17] = libc::IPPROTO_TCP as u8;
        request[20..24].copy_from_slice(&SYN_RECV.to_ne_bytes());
        request[24..26].copy_from_slice(&port.to_be_bytes());
        request
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn neither_who_listens_nor_who_is_connected_is_in_a_handshake() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let _client = TcpStream::connect(address).unwrap();
        match under_way(address.port()) {
            Ok(any) => assert!(!any),
            Err(error) => eprintln!("SKIPPED: this kernel does not tell: {error}"),
        }
    }
}
