//! What a proxy says of its client before anything else: the [PROXY protocol], version 1 and 2.
//!
//! It is read before the connection is one, by whoever has accepted it: a
//! connection of which nothing is known does not move, and does not stay for
//! longer than a request head may take.
//!
//! [PROXY protocol]: https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt

use std::net::SocketAddr;
use std::time::Duration;

use hatchery_worker::{Accepted, Network, Peer, Stream};
use proxy_header::{Error, ParseConfig, Protocol, ProxyHeader};
use tokio::io::AsyncReadExt;
use tokio::time::{Instant, sleep, timeout};

/// More than any proxy says, with all that version 2 can be extended by: 52 bytes are usual.
const LONGEST: usize = 4096;

/// How long a drain waits for what a proxy says, which should have come at once.
const PATIENCE: Duration = Duration::from_millis(500);

/// Whether this connection begins with what a proxy says. One that has moved here has been read elsewhere.
pub(crate) fn is_proxied(trusted: &[Network], accepted: &Accepted) -> bool {
    let journey = &accepted.journey;
    journey.moves == 0 && journey.requests == 0 && trusted.iter().any(|network| network.contains(accepted.peer))
}

/// The connection with its client's address, and nothing read behind that; `None` if it is to be closed.
pub(crate) async fn introduced(
    mut accepted: Accepted,
    limit: Duration,
    draining: impl Future<Output = ()>,
) -> Option<Accepted> {
    let began = Instant::now();
    let drained = async {
        draining.await;
        sleep(PATIENCE).await;
    };
    let read = tokio::select! {
        read = timeout(limit, read(&mut accepted.stream)) => read.ok().flatten(),
        () = drained => None,
    };
    accepted.journey.real_peer = read?;
    accepted.journey.waited = began.elapsed();
    Some(accepted)
}

/// What the proxy says, and not a byte of what comes behind that; `None` if it is nothing of the kind.
async fn read(stream: &mut Stream) -> Option<Option<SocketAddr>> {
    let mut head = Vec::new();
    loop {
        let (known, mut piece) = (head.len(), [0; 1024]);
        let seen = stream.peek(&mut piece).await.ok()?;
        head.extend_from_slice(&piece[..seen]);
        let (taken, client) = match parse(&head) {
            Parsed::Whole { client, length } => (length.checked_sub(known)?, Some(client)),
            Parsed::Unfinished if seen > 0 => (seen, None),
            Parsed::Unfinished | Parsed::Garbage => return None,
        };
        stream.read_exact(&mut piece[..taken]).await.ok()?;
        if client.is_some() {
            return client;
        }
    }
}

/// What stands at the beginning of these bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Parsed {
    /// Of nobody, if the proxy asks for itself, as for a check, or does not know.
    Whole {
        client: Option<SocketAddr>,
        length: usize,
    },
    Unfinished,
    Garbage,
}

fn parse(bytes: &[u8]) -> Parsed {
    let config = ParseConfig { include_tlvs: false, allow_v1: true, allow_v2: true };
    match ProxyHeader::parse(bytes, config) {
        Ok((header, length)) => match header.proxied_address() {
            Some(address) if address.protocol == Protocol::Datagram => Parsed::Garbage,
            Some(address) => Parsed::Whole { client: Some(address.source), length },
            None => Parsed::Whole { client: None, length },
        },
        Err(Error::BufferTooShort) if bytes.len() < LONGEST && is_beginning(bytes) => Parsed::Unfinished,
        Err(_) => Parsed::Garbage,
    }
}

/// Whether this can become what a proxy says: garbage need not be waited for to the end.
fn is_beginning(bytes: &[u8]) -> bool {
    [&b"PROXY "[..], b"\r\n\r\n\0\r\nQUIT\n"].iter().any(|signature| {
        let known = bytes.len().min(signature.len());
        bytes[..known] == signature[..known]
    })
}

/// The address that counts against a limit: that of the client, where it is known.
pub(crate) fn counted(accepted: &Accepted) -> Option<std::net::IpAddr> {
    match (accepted.journey.real_peer, accepted.peer) {
        (Some(client), _) | (None, Peer::Tcp(client)) => Some(client.ip()),
        (None, Peer::Unix) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\xc0\0\x02\x02\x10\0\0\x50";
    const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

    fn client(text: &str) -> Option<SocketAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn both_versions_say_who_the_client_is() {
        let v1 = b"PROXY TCP4 192.0.2.1 192.0.2.2 4096 80\r\nGET / HTTP/1.1\r\n";
        assert_eq!(parse(v1), Parsed::Whole { client: client("192.0.2.1:4096"), length: 40 });
        let v6 = b"PROXY TCP6 2001:db8::1 ::1 4096 80\r\n";
        assert_eq!(parse(v6), Parsed::Whole { client: client("[2001:db8::1]:4096"), length: v6.len() });
        assert_eq!(parse(V2), Parsed::Whole { client: client("192.0.2.1:4096"), length: 28 });
        assert_eq!(parse(LOCAL), Parsed::Whole { client: None, length: 16 });
        assert_eq!(parse(b"PROXY UNKNOWN\r\n"), Parsed::Whole { client: None, length: 15 });
    }

    #[test]
    fn a_beginning_is_waited_for_and_garbage_is_not() {
        let v1 = b"PROXY TCP4 192.0.2.1 192.0.2.2 4096 80\r\n";
        for whole in [&v1[..], V2, LOCAL] {
            for length in 0..whole.len() {
                assert_eq!(parse(&whole[..length]), Parsed::Unfinished, "{length} of {whole:?}");
            }
        }
        for garbage in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"PRI * HTTP/2.0\r\n\r\n",
            b"\r\n\r\nX",
            b"PROXY TCP9 a b c d\r\n",
            b"\x16\x03",
        ] {
            assert_eq!(parse(garbage), Parsed::Garbage, "{garbage:?}");
        }
        let endless = [b"PROXY ".as_slice(), &[b'x'; LONGEST]].concat();
        assert_eq!(parse(&endless), Parsed::Garbage);
    }
}
