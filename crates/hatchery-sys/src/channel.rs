//! Channels between two processes: messages that keep their bounds, and descriptors with them.
//!
//! # Safety
//!
//! Received by hand, not through nix: a message that was cut off may still
//! have brought descriptors, and they have to be closed, not lost track of.

use std::fmt;
use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::sys::socket::sockopt::{SndBuf, SockType};
use nix::sys::socket::{AddressFamily, MsgFlags, Shutdown, SockFlag, SockType as Kind, SockaddrLike, SockaddrStorage};
use nix::sys::socket::{getpeername, getsockname, getsockopt, recv, setsockopt, shutdown, socketpair};
use nix::unistd;

use crate::Pid;

/// The most descriptors that the kernel takes in one message.
pub const MAX_FDS: usize = 253;

/// One end of a pair of connected sockets.
///
/// A message arrives whole or not at all. No call waits: what cannot be done at
/// once fails with [`io::ErrorKind::WouldBlock`]. Neither end survives an exec,
/// unless it is kept on purpose.
#[derive(Debug)]
pub struct Channel(OwnedFd);

/// What [`Channel::recv`] found.
#[derive(Debug)]
pub enum Received {
    /// A message.
    Message {
        /// How many bytes of the buffer it fills.
        len: usize,
        /// The descriptors that came with it, marked to be closed by an exec.
        fds: Vec<OwnedFd>,
    },
    /// A message that was larger than the buffer. It is gone, and what came with it is closed.
    Truncated,
    /// A message that brought more descriptors than this process may have open:
    /// all of its bytes, and none of its descriptors.
    Stripped {
        /// How many bytes of the buffer it fills.
        len: usize,
    },
    /// No process holds the other end any more.
    Closed,
}

/// Who has sent a message, as the kernel has seen it when it was sent.
///
/// Whoever holds a copy of an end can speak there. Only a process with
/// `CAP_SYS_ADMIN` can pass itself off as another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Speaker {
    /// This process.
    Process {
        /// Its number, as it is here; 0 for one outside of this pid namespace.
        pid: Pid,
        /// Its real user.
        uid: u32,
    },
    /// The channel was not made to tell: see [`Channel::pair_that_tells`]. Or the
    /// system cannot, as none but Linux can.
    Untold,
}

impl Speaker {
    /// Whether it is this process. Of a system that cannot tell, anybody is believed to be.
    #[must_use]
    pub fn is(self, process: Pid) -> bool {
        match self {
            Self::Process { pid, .. } => pid == process && pid.as_raw() > 0,
            Self::Untold => !CAN_TELL,
        }
    }

    /// Whether it has the real user of this process. Of a system that cannot tell, anybody is believed to have.
    #[must_use]
    pub fn has_our_user(self) -> bool {
        match self {
            Self::Process { uid, .. } => uid == unistd::getuid().as_raw(),
            Self::Untold => !CAN_TELL,
        }
    }
}

impl fmt::Display for Speaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process { pid, uid } => write!(f, "pid {pid} (user {uid})"),
            Self::Untold => f.write_str("somebody"),
        }
    }
}

/// What [`Channel::next`] sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Next {
    /// A message.
    Message,
    /// Nothing, for the moment.
    Nothing,
    /// The end: no process holds the other end any more, or it was shut.
    End,
}

impl Channel {
    /// Two ends that are connected to each other.
    ///
    /// # Errors
    /// When this process or the system has no descriptor left.
    pub fn pair() -> io::Result<(Self, Self)> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let (one, other) = socketpair(AddressFamily::Unix, Kind::SeqPacket, None, flags)?;
        Ok((Self(one), Self(other)))
    }

    /// Two ends that are connected to each other, the first of which tells who
    /// has sent what arrives there: see [`recv_from`](Self::recv_from).
    ///
    /// # Errors
    /// When this process or the system has no descriptor left.
    pub fn pair_that_tells() -> io::Result<(Self, Self)> {
        let (one, other) = Self::pair()?;
        tell_speakers(&one)?;
        Ok((one, other))
    }

    /// Takes a descriptor that was inherited or received.
    ///
    /// # Errors
    /// When it is not a socket of this kind.
    pub fn from_fd(fd: OwnedFd) -> io::Result<Self> {
        let wrong = || io::Error::new(io::ErrorKind::InvalidInput, "not a unix seqpacket socket");
        if getsockopt(&fd, SockType)? != Kind::SeqPacket {
            return Err(wrong());
        }
        let name: SockaddrStorage = getsockname(fd.as_raw_fd())?;
        if name.family() != Some(AddressFamily::Unix) {
            return Err(wrong());
        }
        let flags = OFlag::from_bits_retain(fcntl(&fd, FcntlArg::F_GETFL)?);
        fcntl(&fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
        fcntl(&fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
        Ok(Self(fd))
    }

    /// Whether there is, or has been, an other end.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        getpeername::<SockaddrStorage>(self.0.as_raw_fd()).is_ok()
    }

    /// Ends sending from here, for every process that holds a copy of this end.
    ///
    /// What is on its way still arrives; then the other end finds
    /// [`Received::Closed`]. A send fails with [`io::ErrorKind::BrokenPipe`].
    ///
    /// # Errors
    /// When it is not connected.
    pub fn shut(&self) -> io::Result<()> {
        Ok(shutdown(self.0.as_raw_fd(), Shutdown::Write)?)
    }

    /// Asks for room for so many bytes of messages that are on their way, and
    /// answers what was granted.
    ///
    /// The kernel counts its own overhead as well, grants twice of what is asked
    /// for, and no more than twice its limit (`net.core.wmem_max`).
    ///
    /// # Errors
    /// When it is no socket any more.
    pub fn set_send_capacity(&self, bytes: usize) -> io::Result<usize> {
        setsockopt(&self.0, SndBuf, &bytes)?;
        self.send_capacity()
    }

    /// The room for messages that are on their way, in bytes.
    ///
    /// # Errors
    /// When it is no socket any more.
    pub fn send_capacity(&self) -> io::Result<usize> {
        Ok(getsockopt(&self.0, SndBuf)?)
    }

    /// The bare descriptor.
    #[must_use]
    pub fn into_fd(self) -> OwnedFd {
        self.0
    }

    /// A second descriptor of the same end.
    ///
    /// # Errors
    /// When this process has no descriptor left.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self(self.0.try_clone()?))
    }

    /// Sends one message, with copies of `fds`.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when the other end's queue is full,
    /// [`io::ErrorKind::BrokenPipe`] when nobody holds it,
    /// `EMSGSIZE` when the message is larger than the send buffer,
    /// `ETOOMANYREFS` when too many descriptors of this user are on their way,
    /// [`io::ErrorKind::InvalidInput`] for an empty message (at the other end it
    /// would look like the end) or more than [`MAX_FDS`] descriptors.
    pub fn send(&self, message: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        if message.is_empty() || fds.len() > MAX_FDS {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut control = Control::EMPTY;
        let mut data = libc::iovec { iov_base: message.as_ptr().cast_mut().cast(), iov_len: message.len() };
        let mut header = header(&mut data);
        if !fds.is_empty() {
            control.point(&mut header, space(size_of_fds(fds.len())));
            // SAFETY: `point` has made the control buffer at least one header and
            // these descriptors long, and it is aligned for a header.
            unsafe {
                let first = libc::CMSG_FIRSTHDR(&raw const header);
                (*first).cmsg_level = libc::SOL_SOCKET;
                (*first).cmsg_type = libc::SCM_RIGHTS;
                (*first).cmsg_len = libc::CMSG_LEN(size_of_fds(fds.len())) as _;
                let slots: *mut RawFd = libc::CMSG_DATA(first).cast();
                for (i, fd) in fds.iter().enumerate() {
                    slots.add(i).write_unaligned(fd.as_raw_fd());
                }
            }
        }
        loop {
            // SAFETY: `header` points to `data` and `control`, which live here; `data` points to `message`.
            let sent = unsafe {
                libc::sendmsg(self.0.as_raw_fd(), &raw const header, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)
            };
            match Errno::result(sent) {
                Ok(_) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// What [`recv`](Self::recv) would find. Takes nothing, and needs no descriptor.
    ///
    /// # Errors
    /// When it is no socket any more.
    pub fn next(&self) -> io::Result<Next> {
        let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
        loop {
            match recv(self.0.as_raw_fd(), &mut [0], flags) {
                Ok(0) | Err(Errno::ECONNRESET) => return Ok(Next::End),
                Ok(_) => return Ok(Next::Message),
                Err(Errno::EAGAIN) => return Ok(Next::Nothing),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Receives one message.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when there is none,
    /// [`io::ErrorKind::InvalidInput`] for a buffer without room.
    pub fn recv(&self, buffer: &mut [u8]) -> io::Result<Received> {
        self.recv_from(buffer).map(|(received, _)| received)
    }

    /// Receives one message, with who has sent it: for the first end of
    /// [`pair_that_tells`](Self::pair_that_tells). Nobody has sent [`Received::Closed`].
    ///
    /// ```
    /// use hatchery_sys::channel::{Channel, Received};
    /// use hatchery_sys::process;
    ///
    /// let (ours, theirs) = Channel::pair_that_tells()?;
    /// theirs.send(b"hello", &[])?;
    /// let (received, speaker) = ours.recv_from(&mut [0; 8])?;
    /// assert!(matches!(received, Received::Message { len: 5, .. }));
    /// assert!(speaker.is(process::pid()) && speaker.has_our_user());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`recv`](Self::recv).
    pub fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(Received, Speaker)> {
        if buffer.is_empty() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut control = Control::EMPTY;
        let mut data = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
        let mut header = header(&mut data);
        control.point(&mut header, space(size_of_fds(MAX_FDS)) + SPACE_OF_SPEAKER);
        let got = loop {
            // SAFETY: `header` points to `data` and `control`, which live here; `data` points to `buffer`.
            let got = unsafe { libc::recvmsg(self.0.as_raw_fd(), &raw mut header, libc::MSG_DONTWAIT | CLOEXEC) };
            match Errno::result(got) {
                Ok(got) => break got,
                Err(Errno::EINTR) => {}
                // The other end was closed with something unread in it.
                Err(Errno::ECONNRESET) => return Ok((Received::Closed, Speaker::Untold)),
                Err(errno) => return Err(errno.into()),
            }
        };
        // Owned before anything else is looked at: whatever returns from here on closes them.
        let (fds, speaker) = take_along(&header);
        if header.msg_flags & libc::MSG_TRUNC != 0 {
            return Ok((Received::Truncated, speaker));
        }
        let is_stripped = header.msg_flags & libc::MSG_CTRUNC != 0;
        let received = match usize::try_from(got) {
            Ok(len) if len > 0 && is_stripped => Received::Stripped { len },
            Ok(len) if len > 0 => Received::Message { len, fds },
            _ => Received::Closed,
        };
        Ok((received, speaker))
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Channel {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// Whether the reason why a message could not be sent lies with the system: too
/// many descriptors of this user on their way, or no memory. It may pass, and
/// nothing tells when it has.
#[must_use]
pub fn is_shortage(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(errno, Some(Errno::ETOOMANYREFS | Errno::ENOBUFS | Errno::ENOMEM))
}

#[cfg(any(
    target_os = "linux",
    target_os = "android",
    target_os = "freebsd",
    target_os = "netbsd",
    target_os = "openbsd"
))]
const CLOEXEC: i32 = libc::MSG_CMSG_CLOEXEC;
#[cfg(not(any(
    target_os = "linux",
    target_os = "android",
    target_os = "freebsd",
    target_os = "netbsd",
    target_os = "openbsd"
)))]
const CLOEXEC: i32 = 0;

/// Whether this system can tell who has sent a message.
const CAN_TELL: bool = cfg!(any(target_os = "linux", target_os = "android"));

/// From here on: what was sent before says nothing.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn tell_speakers(channel: &Channel) -> io::Result<()> {
    Ok(setsockopt(&channel.0, nix::sys::socket::sockopt::PassCred, &true)?)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn tell_speakers(_channel: &Channel) -> io::Result<()> {
    Ok(())
}

/// More than the header and the credentials of a speaker take.
const SPACE_OF_SPEAKER: usize = 64;

/// A buffer for what comes along with one message, aligned as the kernel's headers are.
#[repr(C, align(16))]
struct Control([u8; Control::SIZE]);

impl Control {
    /// More than a header and [`MAX_FDS`] descriptors take, and a speaker.
    const SIZE: usize = MAX_FDS * size_of::<RawFd>() + 64 + SPACE_OF_SPEAKER;
    const EMPTY: Self = Self([0; Self::SIZE]);

    /// Makes `header` point here, with so many bytes.
    fn point(&mut self, header: &mut libc::msghdr, space: usize) {
        assert!(space <= Self::SIZE, "the buffer holds the most that a message can have");
        header.msg_control = self.0.as_mut_ptr().cast();
        header.msg_controllen = space as _;
    }
}

fn header(data: &mut libc::iovec) -> libc::msghdr {
    // SAFETY: all fields are integers and pointers, for which zero is a value.
    // It cannot be written as a literal: some systems have padding fields.
    let mut header: libc::msghdr = unsafe { mem::zeroed() };
    header.msg_iov = ptr::from_mut(data);
    header.msg_iovlen = 1;
    header
}

/// In bytes. At most [`MAX_FDS`] of them, so it fits.
fn size_of_fds(fds: usize) -> u32 {
    u32::try_from(fds * size_of::<RawFd>()).expect("at most 253 descriptors a message")
}

/// With its header.
fn space(bytes: u32) -> usize {
    // SAFETY: CMSG_SPACE only calculates.
    let space = unsafe { libc::CMSG_SPACE(bytes) };
    space as usize
}

/// All descriptors that a received message brought, and who has sent it.
fn take_along(header: &libc::msghdr) -> (Vec<OwnedFd>, Speaker) {
    let (mut fds, mut speaker) = (Vec::new(), Speaker::Untold);
    // SAFETY: the kernel has filled the control buffer and set its length; the
    // CMSG functions stay within it.
    let mut next = unsafe { libc::CMSG_FIRSTHDR(header) };
    while !next.is_null() {
        // SAFETY: `next` points to a header inside the control buffer, whose
        // length covers its data; each number in SCM_RIGHTS is a descriptor
        // that the kernel has just made for this process, so it is ours alone.
        unsafe {
            if (*next).cmsg_level == libc::SOL_SOCKET && (*next).cmsg_type == libc::SCM_RIGHTS {
                let bytes = (*next).cmsg_len as usize - libc::CMSG_LEN(0) as usize;
                let slots: *const RawFd = libc::CMSG_DATA(next).cast();
                for i in 0..bytes / size_of::<RawFd>() {
                    fds.push(OwnedFd::from_raw_fd(slots.add(i).read_unaligned()));
                }
            }
            speaker = speaker_in(next).unwrap_or(speaker);
            next = libc::CMSG_NXTHDR(header, next);
        }
    }
    (fds, speaker)
}

/// # Safety
/// `next` points to a header inside of a control buffer that the kernel has filled.
#[cfg(any(target_os = "linux", target_os = "android"))]
unsafe fn speaker_in(next: *const libc::cmsghdr) -> Option<Speaker> {
    // SAFETY: the caller has such a header; the length says whether its data is
    // whole, and all bytes are values of the three integers in it.
    unsafe {
        let is_speaker = (*next).cmsg_level == libc::SOL_SOCKET && (*next).cmsg_type == libc::SCM_CREDENTIALS;
        let length = libc::CMSG_LEN(u32::try_from(size_of::<libc::ucred>()).ok()?);
        if !is_speaker || (*next).cmsg_len != length as _ {
            return None;
        }
        let said = libc::CMSG_DATA(next).cast::<libc::ucred>().read_unaligned();
        Some(Speaker::Process { pid: Pid::from_raw(said.pid), uid: said.uid })
    }
}

/// # Safety
/// None is needed: it looks at nothing.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
unsafe fn speaker_in(_next: *const libc::cmsghdr) -> Option<Speaker> {
    None
}
