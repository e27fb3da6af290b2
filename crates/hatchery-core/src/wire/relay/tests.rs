use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;

fn sample() -> Transfer {
    Transfer {
        service: Service { listener: "127.0.0.1:8080".to_owned(), name: "http".to_owned(), state: 0 },
        peer: Some("127.0.0.1:50000".parse().unwrap()),
        local: Some("127.0.0.1:8080".parse().unwrap()),
        real_peer: None,
        age: Duration::from_millis(3100),
        waited: Duration::ZERO,
        requests: 4,
        moves: 0,
        unread: b"GET / HTTP/1.1\r\nHo".to_vec(),
        saved: None,
    }
}

fn transfers() -> impl Strategy<Value = Transfer> {
    let service = ("[^/]{1,30}", any::<u32>(), "\\PC{0,60}").prop_map(|(name, state, listener)| Service {
        listener,
        name,
        state,
    });
    let addresses = (any::<Option<SocketAddr>>(), any::<Option<SocketAddr>>(), any::<Option<SocketAddr>>());
    let counts = (any::<u32>(), any::<u32>(), any::<u64>(), any::<u32>());
    let bytes = (vec(any::<u8>(), 0..300), option::of(vec(any::<u8>(), 0..300)));
    (service, addresses, counts, bytes).prop_map(
        |(service, (peer, local, real_peer), (age, waited, requests, moves), (unread, saved))| Transfer {
            service,
            peer: peer.map(plain),
            local: local.map(plain),
            real_peer: real_peer.map(plain),
            age: Duration::from_millis(age.into()),
            waited: Duration::from_millis(waited.into()),
            requests,
            moves,
            unread,
            saved,
        },
    )
}

/// Flow labels do not travel: they are the client's, and nobody's business.
fn plain(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V6(mut v6) => {
            v6.set_flowinfo(0);
            v6.into()
        }
        v4 @ SocketAddr::V4(_) => v4,
    }
}

proptest! {
    #[test]
    fn what_is_sent_is_received(transfer in transfers()) {
        prop_assert_eq!(Transfer::decode(&transfer.encode()), Ok(transfer));
    }

    #[test]
    fn a_message_that_is_cut_off_is_refused(transfer in transfers(), cut in any::<prop::sample::Index>()) {
        let message = transfer.encode();
        prop_assert!(Transfer::decode(&message[..cut.index(message.len())]).is_err());
    }

    #[test]
    fn a_byte_more_is_refused(transfer in transfers(), byte in any::<u8>()) {
        let mut message = transfer.encode();
        message.push(byte);
        prop_assert!(Transfer::decode(&message).is_err());
    }

    #[test]
    fn a_damaged_message_never_panics(transfer in transfers(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut message = transfer.encode();
        let at = at.index(message.len());
        message[at] = byte;
        let _ = Transfer::decode(&message);
    }

    #[test]
    fn no_bytes_panic(bytes in vec(any::<u8>(), 0..200)) {
        let _ = Transfer::decode(&bytes);
    }
}

#[test]
fn a_message_can_be_read_in_a_trace() {
    let expected = format!(
        "v={VERSION};listener=127.0.0.1:8080;service=http;state=0;peer=127.0.0.1:50000;local=127.0.0.1:8080;age=3100;requests=4;unread=18\nGET / HTTP/1.1\r\nHo"
    );
    assert_eq!(String::from_utf8(sample().encode()).unwrap(), expected);
}

#[test]
fn errors_say_what_is_wrong() {
    let line = |line: &str| Transfer::decode(line.as_bytes()).unwrap_err().to_string();
    let rest = "listener=a;service=http;state=0;age=1";
    assert_eq!(line("no line at all"), "it has no line");
    assert_eq!(line(&format!("v=99;{rest}\n")), format!("its version 99 is not between {OLDEST} and {VERSION}"));
    assert_eq!(line(&format!("v={VERSION};{rest};unread=2\n.")), "it is not as long as it says: 1 bytes are left");
    assert_eq!(
        line(&format!("v={VERSION};{rest};unread={};saved=1\n", usize::MAX)),
        "it is not as long as it says: 0 bytes are left"
    );
    assert_eq!(line(&format!("v={VERSION};{rest};peer=here\n")), "`peer=here` is no address");
    assert_eq!(line(&format!("v={VERSION};service=http\n")), "`listener` is missing");
    let long = format!("v={VERSION};{rest};x={}\n", "y".repeat(LONGEST_LINE));
    assert_eq!(line(&long), "it has no line", "an endless line is not searched for its end");
}
