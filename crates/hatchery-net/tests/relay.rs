//! The relay: a queue of connections between processes.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use hatchery_core::wire::relay::LONGEST;
use hatchery_net::relay::Forwarded;
use hatchery_net::{Entry, Refused, Relay};
use hatchery_sys::channel::{Channel, Received};
use socket2::SockRef;

fn relay() -> Relay {
    Relay::pair().expect("a relay")
}

fn take(relay: &Relay) -> Option<(Vec<u8>, Vec<OwnedFd>)> {
    let mut buffer = vec![0; LONGEST];
    match relay.exit().recv(&mut buffer) {
        Ok(Received::Message { len, fds }) => Some((buffer[..len].to_vec(), fds)),
        Ok(Received::Closed) => None,
        Ok(Received::Truncated | Received::Stripped { .. }) => panic!("it has come whole"),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
        Err(error) => panic!("{error}"),
    }
}

/// A relay with room for a few messages.
fn narrow() -> Relay {
    let relay = relay();
    SockRef::from(relay.entry()).set_send_buffer_size(8 * 1024).expect("an option");
    relay
}

#[test]
fn the_largest_message_fits_and_no_larger_one() {
    let relay = relay();
    assert_eq!(relay.limit(), LONGEST, "the kernel grants less: see net.core.wmem_max");
    assert!(relay.entry().send(&vec![b'x'; LONGEST], &[]).is_ok());
    assert_eq!(take(&relay).map(|(message, _)| message.len()), Some(LONGEST));
    assert!(matches!(relay.entry().send(&vec![b'x'; LONGEST + 1], &[]), Err(Refused::TooLarge)));
}

#[test]
fn one_that_was_granted_less_says_so() {
    let narrow = narrow();
    let handed = Entry::from_fd(narrow.entry().try_clone_fd().expect("a descriptor")).expect("it is one");
    assert!(handed.limit() < LONGEST);
    assert!(handed.send(&vec![b'x'; handed.limit()], &[]).is_ok());
    assert!(matches!(handed.send(&vec![b'x'; handed.limit() + 1], &[]), Err(Refused::TooLarge)));
}

#[test]
fn what_is_in_it_outlives_its_sender_and_its_end() {
    let relay = relay();
    let (ours, mut theirs) = UnixStream::pair().expect("a pair");
    let sender = Entry::from_fd(relay.entry().try_clone_fd().expect("a descriptor")).expect("it is one");
    assert!(sender.send(b"one", &[ours.as_fd()]).is_ok());
    drop((ours, sender));
    relay.shut();
    assert!(matches!(relay.entry().send(b"two", &[]), Err(Refused::Shut)));
    let (message, mut fds) = take(&relay).expect("it is there");
    assert_eq!(message, b"one");
    File::from(fds.remove(0)).write_all(b"still open").expect("it is connected");
    let mut heard = [0; 10];
    theirs.read_exact(&mut heard).expect("it is connected");
    assert!(matches!(relay.exit().recv(&mut [0]), Ok(Received::Closed)));
}

#[test]
fn only_the_two_ends_of_one_are_taken() {
    let relay = relay();
    let (entry, exit) = (relay.entry().try_clone_fd().expect("a descriptor"), relay.exit().try_clone());
    let handed = Relay::from_fds(entry, exit.expect("a descriptor").into_fd()).expect("they are right");
    assert!(handed.entry().send(b"one", &[]).is_ok());
    assert!(take(&relay).is_some());
    let entry = || relay.entry().try_clone_fd().expect("a descriptor");
    assert!(Relay::from_fds(entry(), entry()).is_err(), "twice the same");
    let file = || OwnedFd::from(tempfile::tempfile().expect("a file"));
    assert!(Relay::from_fds(file(), entry()).is_err() && Relay::from_fds(entry(), file()).is_err());
    let (stream, _other) = UnixStream::pair().expect("a pair");
    assert!(Entry::from_fd(stream.into()).is_err(), "a stream");
    let alone = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::SEQPACKET, None).expect("a socket");
    assert!(Entry::from_fd(alone.into()).is_err(), "nobody is at the other end");
}

#[test]
fn forwarding_moves_what_fits_and_goes_on_later() {
    let (from, to) = (relay(), narrow());
    let (ours, _theirs) = UnixStream::pair().expect("a pair");
    for number in 0..100 {
        assert!(from.entry().send(format!("{number}").as_bytes(), &[ours.as_fd()]).is_ok());
    }
    from.shut();
    let mut forwarded = from.forward_to(&to).expect("both are there");
    assert!(forwarded.left && forwarded.moved > 0);
    let again = from.forward_to(&to).expect("both are there");
    assert_eq!(again, Forwarded { moved: 0, lost: 0, left: true });
    let mut next = 0;
    loop {
        while let Some((message, fds)) = take(&to) {
            assert_eq!((message, fds.len()), (format!("{next}").into_bytes(), 1), "in their order");
            next += 1;
        }
        if !forwarded.left {
            break;
        }
        forwarded = from.forward_to(&to).expect("both are there");
    }
    assert_eq!(next, 100);
}

#[test]
fn forwarding_into_one_that_is_shut_keeps_what_it_has() {
    let (from, shut, to) = (relay(), relay(), relay());
    assert!(from.entry().send(b"one", &[]).is_ok());
    shut.shut();
    assert_eq!(from.forward_to(&shut).expect_err("shut").kind(), io::ErrorKind::BrokenPipe);
    assert_eq!(from.forward_to(&to).expect("both are there"), Forwarded { moved: 1, lost: 0, left: false });
}

#[test]
fn what_cannot_be_forwarded_is_counted() {
    let (from, to) = (relay(), narrow());
    let to = Relay::from_fds(
        to.entry().try_clone_fd().expect("a descriptor"),
        to.exit().try_clone().expect("a descriptor").into_fd(),
    );
    let to = to.expect("they are right");
    let raw = Channel::from_fd(from.entry().try_clone_fd().expect("a descriptor")).expect("it is one");
    raw.send(&vec![b'x'; LONGEST + 1], &[]).expect("it fits");
    raw.send(&vec![b'x'; LONGEST / 2], &[]).expect("it fits");
    raw.send(b"small", &[]).expect("it fits");
    assert_eq!(from.forward_to(&to).expect("both are there"), Forwarded { moved: 1, lost: 2, left: false });
    assert_eq!(take(&to).map(|(message, _)| message), Some(b"small".to_vec()));
}
