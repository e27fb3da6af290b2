//! A handoff variable that names descriptors which are not what it says: one
//! line and exit code 1, and the process is not brought down by closing twice.

use std::net::TcpListener;
use std::os::fd::OwnedFd;

use hatchery_tests::Start;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

/// Starts the lab with a variable that is for it. Its descriptors: 4 and 5
/// listen at `LISTEN`, 6 is a file, 7 is not open, 9 is a link to a predecessor.
fn is_refused(variable: &str, words: &[&str]) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let (link, other) =
        socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).expect("a channel");
    let variable = variable.replace("LISTEN", &format!("tcp@{address}"));
    // `$$` is the pid that the lab will have: `exec` keeps it.
    let script = format!(
        "HATCHERY_HANDOFF=\"v=1;min=1;pid=$$;gen=2;{variable}\" exec \"$@\" 4<&0 5<&0 6>file 7>&- 9>&1 </dev/null >&2"
    );
    let start = Start::lab()
        .set("bind", &address)
        .launcher(["sh", "-c", &script, "sh"])
        .streams(OwnedFd::from(listener.try_clone().expect("a descriptor")).into(), other.into());
    start.ended().assert_one_line(1, &[&["HATCHERY_HANDOFF"], words].concat());
    drop(link);
    // The queue is whose it was.
    let _client = std::net::TcpStream::connect(&address).expect("the queue is as it was");
    assert!(listener.accept().is_ok());
}

#[test]
fn a_descriptor_that_is_named_twice() {
    for variable in [
        "listen=LISTEN#4;link=9;board=9",
        "listen=LISTEN#9;link=9",
        "listen=LISTEN#4,4;link=9",
        "listen=LISTEN#4,5,4;link=9",
        "listen=LISTEN#4;listen=LISTEN#4;link=9",
        "listen=LISTEN#4;listen=quic@127.0.0.1:443#4;link=9",
        "listen=LISTEN#4;link=9;board=4",
        "listen=LISTEN#4;link=9;anchor=9",
    ] {
        is_refused(variable, &["named twice"]);
    }
}

#[test]
fn a_file_where_a_socket_should_be() {
    is_refused("listen=LISTEN#4;link=6", &["link", "6"]);
}

#[test]
fn a_listener_where_the_link_should_be() {
    is_refused("listen=LISTEN#5;link=4", &["link", "4"]);
}

#[test]
fn a_descriptor_that_is_not_open() {
    is_refused("listen=LISTEN#4;link=7", &["link", "7"]);
    is_refused("listen=LISTEN#7;link=9", &["listener", "7"]);
    is_refused("listen=LISTEN#4;link=9;board=7", &["board", "7"]);
    is_refused("listen=LISTEN#4;link=1000000", &["link", "1000000"]);
}

#[test]
fn a_standard_stream() {
    for fd in ["0", "1", "2"] {
        is_refused(&format!("listen=LISTEN#4;link={fd}"), &["standard stream"]);
        is_refused(&format!("listen=LISTEN#{fd};link=9"), &["standard stream"]);
        is_refused(&format!("listen=LISTEN#4;link=9;board={fd}"), &["standard stream"]);
    }
}

#[test]
fn a_line_to_an_anchor_that_is_none() {
    for anchor in ["6", "5", "7"] {
        is_refused(&format!("listen=LISTEN#4;link=9;anchor={anchor}"), &["the line to the anchor", anchor]);
    }
}

#[test]
fn a_number_that_is_none() {
    for wrong in ["-1", "99999999999999999999", "", "4x", "0x4"] {
        is_refused(&format!("listen=LISTEN#4;link={wrong}"), &[]);
        is_refused(&format!("listen=LISTEN#{wrong};link=9"), &[]);
    }
}

#[test]
fn a_relay_that_is_none() {
    // A file, a listener, one that is not open, and the same one twice.
    for relay in ["6,9", "9,6", "5,9", "7,9", "9,9"] {
        is_refused(&format!("listen=LISTEN#4;relay={relay}"), &[]);
    }
    for back in ["6", "5", "7"] {
        is_refused(&format!("listen=LISTEN#4;link=9;back={back}"), &[]);
    }
}
