use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use hatchery_core::ListenMode;
use socket2::{Domain, SockFilter, Socket, Type};

use super::*;
use crate::Spec;

/// A client's kernel sends its SYN again after a second; nothing here waits for that.
const SOON: Duration = Duration::from_millis(300);

fn listener(address: &str) -> Listener {
    let spec = Spec { name: None, address: address.parse().unwrap() };
    Listener::bind(&spec, ListenMode::Shared, 1, 16).unwrap()
}

fn address(listener: &Listener) -> SocketAddr {
    match listener.bound() {
        Address::Tcp(address) => *address,
        Address::Unix(_) => unreachable!(),
    }
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::yield_now();
    }
}

/// Somebody who has sent a SYN, and does not hear the answer.
fn half_way_in(to: SocketAddr) -> Socket {
    let deaf = Socket::new(Domain::for_address(to), Type::STREAM, None).unwrap();
    deaf.attach_filter(&[SockFilter::new(0x06, 0, 0, 0)]).unwrap();
    deaf.set_nonblocking(true).unwrap();
    assert!(deaf.connect(&to.into()).is_err());
    deaf
}

/// A kernel may have been built without.
fn tells_of_handshakes() -> bool {
    handshakes::under_way(1).inspect_err(|error| eprintln!("SKIPPED: no handshakes to be seen: {error}")).is_ok()
}

#[test]
fn who_is_in_stays_in_and_nobody_follows() {
    for wanted in ["127.0.0.1:0", "[::1]:0"] {
        let listener = listener(wanted);
        let to = address(&listener);
        let _inside = TcpStream::connect(to).unwrap();
        assert!(listener.bar());
        assert!(listener.has_somebody() && !listener.is_quiet());
        let left_out = TcpStream::connect_timeout(&to, SOON).unwrap_err();
        assert!(matches!(left_out.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock), "{left_out}");
        listener.unbar();
        TcpStream::connect(to).unwrap();
    }
}

#[test]
fn who_is_half_way_in_comes_in() {
    if !tells_of_handshakes() {
        return;
    }
    for wanted in ["127.0.0.1:0", "[::1]:0"] {
        let listener = listener(wanted);
        let half = half_way_in(address(&listener));
        until("the handshake has begun", || handshakes::under_way(address(&listener).port()).unwrap());
        assert!(listener.bar());
        assert!(!listener.is_quiet() && !listener.has_somebody());
        // The listener's kernel sends its answer again after a second.
        half.detach_filter().unwrap();
        until("the last ACK passes", || listener.has_somebody());
        until("the handshake is over", || !handshakes::under_way(address(&listener).port()).unwrap());
    }
}

#[test]
fn an_empty_one_is_quiet() {
    if !tells_of_handshakes() {
        return;
    }
    let listener = listener("127.0.0.1:0");
    assert!(listener.bar());
    until("nobody is there", || listener.is_quiet());
}

#[test]
fn what_a_service_manager_holds_is_left_alone() {
    for holder in [Holder::Manager { name: "web".to_owned() }, Holder::Store { copies: 1 }] {
        let listener = listener("127.0.0.1:0").held_by(holder);
        assert!(!listener.bar() && !listener.bar_for_good());
        TcpStream::connect(address(&listener)).unwrap();
    }
}

#[test]
fn nobody_finds_a_unix_socket_that_is_barred_for_good() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("socket");
    let listener = listener(&format!("unix:{}", path.display()));
    assert!(!listener.bar());
    let _inside = UnixStream::connect(&path).unwrap();
    assert!(listener.bar_for_good());
    assert_eq!(UnixStream::connect(&path).unwrap_err().kind(), ErrorKind::NotFound);
    assert!(listener.has_somebody());
}
