//! Any connection as a message of the relay: it arrives as it was sent, and is
//! refused when a part of it is missing or something follows it.

#![no_main]

use std::net::SocketAddr;
use std::time::Duration;

use arbitrary::Arbitrary;
use hatchery_core::Service;
use hatchery_core::wire::relay::Transfer;
use libfuzzer_sys::fuzz_target;

/// A connection, and what happens to its message on the way.
#[derive(Arbitrary, Debug)]
struct Sent {
    listener: String,
    name: String,
    state: u32,
    addresses: [Option<SocketAddr>; 3],
    age: u64,
    waited: u64,
    requests: u64,
    moves: u32,
    unread: Vec<u8>,
    saved: Option<Vec<u8>>,
    damage: Damage,
}

#[derive(Arbitrary, Debug)]
enum Damage {
    None,
    Cut(usize),
    Longer(u8),
    Changed(usize, u8),
}

fuzz_target!(|sent: Sent| {
    let Sent { listener, name, state, addresses, age, waited, requests, moves, unread, saved, damage } = sent;
    // A sender has checked the name, and no address is longer.
    if Service::check_name(&name).is_err() || listener.len() > 256 {
        return;
    }
    let [peer, local, real_peer] = addresses.map(|address| address.map(without_flow));
    let transfer = Transfer {
        service: Service { listener, name, state },
        peer,
        local,
        real_peer,
        age: Duration::from_millis(age),
        waited: Duration::from_millis(waited),
        requests,
        moves,
        unread,
        saved,
    };
    let mut message = transfer.encode();
    match damage {
        Damage::None => assert_eq!(Transfer::decode(&message), Ok(transfer)),
        Damage::Cut(at) => assert!(Transfer::decode(&message[..at % message.len()]).is_err()),
        Damage::Longer(byte) => {
            message.push(byte);
            assert!(Transfer::decode(&message).is_err());
        }
        Damage::Changed(at, byte) => {
            let at = at % message.len();
            message[at] = byte;
            if let Ok(other) = Transfer::decode(&message) {
                assert_eq!(Transfer::decode(&other.encode()), Ok(other));
            }
        }
    }
});

/// The flow label of an IPv6 address does not travel.
fn without_flow(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V6(mut v6) => {
            v6.set_flowinfo(0);
            v6.into()
        }
        v4 @ SocketAddr::V4(_) => v4,
    }
}
