//! A channel between two processes.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use hatchery_sys::channel::{Channel, MAX_FDS, Next, Received, Speaker, is_shortage};
use hatchery_sys::socket::{self, Kind};
use hatchery_sys::wait::Status;
use hatchery_sys::{poll, process};
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::sys::resource::{Resource, setrlimit};

use crate::Case;
use crate::support::{child, join, pipe, read_all, temp_file, wait_for_ever};

pub(crate) const CASES: &[Case] = &[
    ("channel::a_child_passes_a_descriptor", passes),
    ("channel::a_death_is_seen_as_the_end", death),
    ("channel::keeps_bounds_and_never_waits", bounds),
    ("channel::takes_no_other_socket", kinds),
    ("channel::shut_ends_sending_for_everybody_and_loses_nothing", shut),
    ("channel::grants_room_for_large_messages", capacity),
    ("channel::tells_connections_from_other_descriptors", connections),
    ("channel::too_many_descriptors_are_closed_not_leaked", truncated),
    ("channel::tells_who_speaks_whoever_holds_the_end", speakers),
];

fn passes() {
    let (ours, theirs) = Channel::pair().expect("a channel");
    let worker = child(|| {
        let (read, write) = pipe();
        theirs.send(b"a pipe", &[write.as_fd()]).expect("room");
        drop((write, theirs));
        read_all(read).len().try_into().unwrap_or(101)
    });
    poll::readable(&[ours.as_fd()], None).expect("it waits");
    let mut buffer = [0; 64];
    let Received::Message { len, mut fds } = ours.recv(&mut buffer).expect("a message") else { panic!("no message") };
    assert_eq!((&buffer[..len], fds.len()), (&b"a pipe"[..], 1));
    let mut pipe = File::from(fds.remove(0));
    std::io::Write::write_all(&mut pipe, b"12345").expect("the child reads");
    drop(pipe);
    assert_eq!(join(worker), Status::Exited(5));
}

fn death() {
    let (ours, theirs) = Channel::pair().expect("a channel");
    let worker = child(|| wait_for_ever());
    drop(theirs);
    // Something unread on the other side makes the kernel say "reset" instead of the end.
    ours.send(b"never read", &[]).expect("room");
    process::kill(worker, hatchery_sys::Signal::SIGKILL).expect("it lives");
    poll::readable(&[ours.as_fd()], None).expect("it waits");
    assert!(matches!(ours.recv(&mut [0; 8]).expect("no error"), Received::Closed));
    assert!(matches!(ours.recv(&mut [0; 8]).expect("no error"), Received::Closed));
    assert_eq!(ours.send(b"x", &[]).expect_err("nobody").kind(), ErrorKind::BrokenPipe);
    assert!(matches!(join(worker), Status::Killed { signal: 9, .. }));
}

fn bounds() {
    let (ours, theirs) = Channel::pair().expect("a channel");
    let mut buffer = [0; 4];
    assert_eq!(ours.recv(&mut buffer).expect_err("nothing").kind(), ErrorKind::WouldBlock);
    theirs.send(b"one", &[]).expect("room");
    theirs.send(b"a message that is too long", &[theirs.as_fd()]).expect("room");
    theirs.send(b"two", &[]).expect("room");
    assert!(matches!(ours.recv(&mut buffer).expect("one"), Received::Message { len: 3, .. }));
    assert_eq!(&buffer[..3], b"one");
    assert!(matches!(ours.recv(&mut buffer).expect("no error"), Received::Truncated));
    assert!(matches!(ours.recv(&mut buffer).expect("two"), Received::Message { len: 3, .. }));
    assert_eq!(&buffer[..3], b"two");
    for refused in [theirs.send(b"", &[]), theirs.send(b"x", &vec![theirs.as_fd(); MAX_FDS + 1])] {
        assert_eq!(refused.expect_err("not to be sent").kind(), ErrorKind::InvalidInput);
    }
    assert_eq!(ours.recv(&mut []).expect_err("no room").kind(), ErrorKind::InvalidInput);
    let full = (0..100_000).find_map(|_| theirs.send(b"more", &[]).err()).expect("it has an end");
    assert_eq!(full.kind(), ErrorKind::WouldBlock);
    assert!(theirs.send(&vec![0; 1 << 20], &[]).is_err());
    let second = ours.try_clone().expect("a descriptor");
    assert!(matches!(second.recv(&mut buffer).expect("more"), Received::Message { len: 4, .. }));
}

fn shut() {
    let (ours, theirs) = Channel::pair().expect("a channel");
    let copy = ours.try_clone().expect("a descriptor");
    ours.send(b"one", &[temp_file("x").as_fd()]).expect("room");
    let empty = poll::readable(&[ours.as_fd()], Some(std::time::Duration::ZERO)).expect("poll");
    assert_eq!((empty, ours.next().expect("a socket")), (vec![false], Next::Nothing));
    ours.shut().expect("it is connected");
    assert_eq!(theirs.next().expect("a socket"), Next::Message, "and it stays there");
    ours.shut().expect("twice does no harm");
    assert_eq!(copy.send(b"two", &[]).expect_err("shut").kind(), ErrorKind::BrokenPipe);
    let mut buffer = [0; 8];
    let Received::Message { len: 3, fds } = theirs.recv(&mut buffer).expect("one") else { panic!("no message") };
    assert_eq!(fds.len(), 1);
    for _ in 0..2 {
        assert!(matches!(theirs.recv(&mut buffer).expect("the end"), Received::Closed));
        assert!(poll::is_read_closed(theirs.as_fd()));
        assert_eq!(theirs.next().expect("a socket"), Next::End);
    }
    assert!(ours.is_connected() && !poll::is_read_closed(ours.as_fd()));
    theirs.send(b"the other way", &[]).expect("it is open");
}

fn capacity() {
    let (ours, theirs) = Channel::pair().expect("a channel");
    let (before, after) = (ours.send_capacity().expect("a socket"), ours.set_send_capacity(1 << 20).expect("a socket"));
    assert!(after >= before && ours.send_capacity().expect("a socket") == after);
    let large = vec![7; after - 32];
    ours.send(&large, &[]).expect("it fits");
    let mut buffer = vec![0; after];
    assert!(
        matches!(theirs.recv(&mut buffer).expect("it has come"), Received::Message { len, .. } if len == large.len())
    );
    assert!(ours.send(&vec![7; after], &[]).is_err());
    assert!(ours.set_send_capacity(8 * 1024).expect("a socket") < after);
    let full = (0..1000).find_map(|_| ours.send(b"more", &[]).err()).expect("it has an end");
    assert!(full.kind() == ErrorKind::WouldBlock && !is_shortage(&full));
    assert!(is_shortage(&std::io::Error::from_raw_os_error(libc::ETOOMANYREFS)));
}

fn connections() {
    let listener = TcpListener::bind("[::1]:0").expect("a port is free");
    let client = TcpStream::connect(listener.local_addr().expect("an address")).expect("it listens");
    let (unix, _other) = UnixStream::pair().expect("a pair");
    assert_eq!(socket::kind(client.as_fd()).expect("a connection"), Kind::Tcp);
    assert_eq!(socket::kind(unix.as_fd()).expect("a connection"), Kind::Unix);
    let (channel, _other) = Channel::pair().expect("a channel");
    let udp = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
    for other in [listener.as_fd(), udp.as_fd(), channel.as_fd(), temp_file("x").as_fd(), pipe().0.as_fd()] {
        assert!(socket::kind(other).is_err());
    }
}

fn kinds() {
    let (one, _other) = UnixStream::pair().expect("a pair");
    assert!(Channel::from_fd(one.into()).is_err(), "a stream");
    assert!(Channel::from_fd(temp_file("x").into()).is_err(), "a file");
    let (ours, theirs) = Channel::pair().expect("a channel");
    let bare = ours.into_fd();
    // As it arrives after an exec, from a program that has changed it.
    let flags = [(FcntlArg::F_SETFL(OFlag::empty())), FcntlArg::F_SETFD(FdFlag::empty())];
    flags.into_iter().for_each(|flag| assert_eq!(fcntl(&bare, flag), Ok(0)));
    let ours = Channel::from_fd(bare).expect("it is one");
    assert_eq!(ours.recv(&mut [0]).expect_err("nothing").kind(), ErrorKind::WouldBlock);
    assert_eq!(fcntl(&ours, FcntlArg::F_GETFD), Ok(FdFlag::FD_CLOEXEC.bits()));
    drop(theirs);
    assert!(matches!(ours.recv(&mut [0]).expect("the end"), Received::Closed));
}

fn truncated() {
    let (ours, theirs) = Channel::pair().expect("a channel");
    let mut file = temp_file("x");
    let many = vec![file.as_fd(); MAX_FDS];
    theirs.send(b"many", &many).expect("room");
    let count = || std::fs::read_dir("/proc/self/fd").expect("/proc").count();
    let before = count();
    let limit = u64::try_from(before + 10).expect("few");
    setrlimit(Resource::RLIMIT_NOFILE, limit, 4096).expect("lower is allowed");
    assert!(matches!(ours.recv(&mut [0; 8]).expect("no error"), Received::Stripped { .. }));
    assert_eq!(count(), before);
    let _ = file.read(&mut [0]);
}

fn speakers() {
    let (ours, theirs) = Channel::pair_that_tells().expect("a channel");
    let other = child(|| {
        theirs.send(b"the child", &[]).expect("room");
        if nix::unistd::getuid().is_root() {
            nix::unistd::setuid(65534.into()).expect("root may");
        }
        theirs.send(b"as somebody else", &[]).expect("room");
        0
    });
    assert_eq!(join(other), Status::Exited(0));
    let mut buffer = [0; 64];
    let (received, speaker) = ours.recv_from(&mut buffer).expect("it has come");
    assert!(matches!(received, Received::Message { len: 9, .. }));
    let us = nix::unistd::getuid();
    assert_eq!(speaker, Speaker::Process { pid: other, uid: us.as_raw() });
    assert!(speaker.is(other) && !speaker.is(process::pid()) && speaker.has_our_user());
    assert_eq!(speaker.to_string(), format!("pid {other} (user {us})"));
    let (_, speaker) = ours.recv_from(&mut buffer).expect("it has come");
    assert_eq!((speaker.is(other), speaker.has_our_user()), (true, !us.is_root()));

    // Beside the most descriptors that there can be.
    let file = temp_file("x");
    theirs.send(b"many", &vec![file.as_fd(); MAX_FDS]).expect("room");
    let (received, speaker) = ours.recv_from(&mut buffer).expect("it has come");
    let Received::Message { len: 4, fds } = received else { panic!("{received:?}") };
    assert_eq!((fds.len(), speaker.is(process::pid())), (MAX_FDS, true));

    // A number of 0 is somebody outside of the pid namespace, whoever asks.
    let nobody = hatchery_sys::Pid::from_raw(0);
    assert!(!Speaker::Process { pid: nobody, uid: us.as_raw() }.is(nobody));

    // Nobody has sent the end; and the other end tells nothing, nor does a plain recv mind.
    ours.send(b"back", &[]).expect("room");
    assert_eq!(theirs.recv_from(&mut buffer).expect("it has come").1, Speaker::Untold);
    assert!(!Speaker::Untold.is(process::pid()) && !Speaker::Untold.has_our_user());
    theirs.send(b"plain", &[]).expect("room");
    assert!(matches!(ours.recv(&mut buffer).expect("it has come"), Received::Message { len: 5, .. }));
    drop(theirs);
    assert!(matches!(ours.recv_from(&mut buffer).expect("the end"), (Received::Closed, Speaker::Untold)));
}
