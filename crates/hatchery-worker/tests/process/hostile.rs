//! What has no business in a relay.

use std::io::Write;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use hatchery_core::Service;
use hatchery_core::wire::relay::{LONGEST, Transfer};
use hatchery_core::wire::worker::Whose;
use hatchery_sys::channel::{Channel, MAX_FDS};
use nix::sys::socket::{MsgFlags, send};
use std::os::fd::AsRawFd;

use crate::Test;
use crate::moving::{goes_on, talking, two_generations};
use crate::support::{Master, Order, wait_for};

pub(crate) const TESTS: &[Test] = &[
    ("what_is_no_connection_is_refused", what_is_no_connection_is_refused),
    ("a_client_that_is_gone_already_is_no_offence", a_client_that_is_gone_already_is_no_offence),
    ("numbers_that_cannot_be_are_survived", numbers_that_cannot_be_are_survived),
];

fn transfer(master: &Master) -> Transfer {
    Transfer {
        service: Service { listener: master.address(0).to_string(), name: "counter".to_owned(), state: 1 },
        peer: Some("127.0.0.1:1".parse().unwrap()),
        local: None,
        real_peer: None,
        age: Duration::ZERO,
        waited: Duration::ZERO,
        requests: 0,
        moves: 0,
        unread: Vec::new(),
        saved: Some(vec![0; 8]),
    }
}

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}

fn what_is_no_connection_is_refused() {
    let (master, old, next, new, takes) = two_generations();
    new.settle();
    let mut clients = talking(&master, &old, 3);
    // The reader's buffer and its spare descriptor are there from the first message on.
    let entry = Channel::from_fd(next.relay.entry().try_clone_fd().unwrap()).unwrap();
    let mut sent = 0;
    let mut is_refused = |message: &[u8], fds: &[BorrowedFd<'_>]| {
        entry.send(message, fds).unwrap();
        sent += 1;
        wait_for("it is refused", || new.refused() == sent);
    };
    is_refused(b"\xff\x00 no message", &[]);
    let before = new.descriptors();

    let (client, server) = pair();
    let (right, socket) = (transfer(&next), server.as_fd());
    let of = |change: fn(&mut Transfer)| {
        let mut transfer = right.clone();
        change(&mut transfer);
        transfer.encode()
    };
    let message = right.encode();
    is_refused(&message, &[]);
    is_refused(&message, &[socket, socket]);
    is_refused(&message, &[socket; MAX_FDS]);
    is_refused(&message[..message.len() - 1], &[socket]);
    is_refused(&message[..10], &[socket]);
    is_refused(&[b"x".repeat(LONGEST), message.clone()].concat(), &[socket]);
    is_refused(&[&message[..], &vec![0; LONGEST]].concat(), &[socket]);
    is_refused(&of(|it| it.service.listener = "127.0.0.1:1".to_owned()), &[socket]);
    is_refused(&of(|it| it.service.name = "other".to_owned()), &[socket]);
    is_refused(&of(|it| it.service.state = 2), &[socket]);
    is_refused(&of(|it| it.peer = None), &[socket]);
    let (pipe, _other) = std::io::pipe().unwrap();
    let (unix, _other) = UnixStream::pair().unwrap();
    let (udp, listener) = (UdpSocket::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let file = tempfile::tempfile().unwrap();
    for fd in [pipe.as_fd(), unix.as_fd(), udp.as_fd(), listener.as_fd(), file.as_fd(), entry.as_fd()] {
        is_refused(&message, &[fd]);
    }
    // Looks like the end, and is none.
    send(entry.as_raw_fd(), b"", MsgFlags::MSG_NOSIGNAL).unwrap();
    wait_for("it is refused", || new.refused() == sent + 1);

    assert_eq!(new.descriptors(), before, "nothing leaks");
    assert_eq!(new.log().matches("refused a message of the relay").count(), 1, "{}", new.log());
    assert!(new.log().contains("it has no line"), "{}", new.log());
    drop((client, server));
    old.drain_to(&next.relay, Order::to(Whose::Successor, &takes));
    old.exits_with(0);
    for client in &mut clients {
        goes_on(client, &new);
    }
    assert_eq!((new.moved(), new.open()), (3, 3));
}

fn a_client_that_is_gone_already_is_no_offence() {
    let (_master, _old, next, new, _) = two_generations();
    let (client, server) = pair();
    // A reset, after which the socket has no peer any more.
    socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    wait_for("it is gone", || server.peer_addr().is_err());
    assert!(next.relay.entry().send(&transfer(&next).encode(), &[server.as_fd()]).is_ok());
    drop(server);
    wait_for("it came and went", || new.moved() == 1 && new.open() == 0);
    assert_eq!((new.refused(), new.log()), (0, String::new()));
}

fn numbers_that_cannot_be_are_survived() {
    let (_master, _old, next, new, _) = two_generations();
    let (mut client, server) = pair();
    // A descriptor that blocks, too.
    server.set_nonblocking(false).unwrap();
    let age = Duration::from_millis(u64::MAX);
    let wild = Transfer { age, waited: age, requests: u64::MAX, moves: u32::MAX, ..transfer(&next) };
    assert!(next.relay.entry().send(&wild.encode(), &[server.as_fd()]).is_ok());
    client.write_all(b"moves ?\n").unwrap();
    wait_for("it has come", || new.moved() == 1);
    let mut answer = [0; 64];
    client.set_read_timeout(Some(crate::support::DEADLINE)).unwrap();
    let read = std::io::Read::read(&mut client, &mut answer).unwrap();
    let expected = format!("{} 0 {}\n", u32::MAX, new.pid);
    assert_eq!(String::from_utf8_lossy(&answer[..read]), expected);
}
