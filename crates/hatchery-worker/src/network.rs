//! Networks: whom something is believed, or granted.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use thiserror::Error;

use crate::Peer;

/// All addresses that begin with the same bits, or all clients of unix sockets.
///
/// ```
/// use std::net::SocketAddr;
///
/// use hatchery_worker::{Network, Peer};
///
/// let network: Network = "10.1.0.0/16".parse().unwrap();
/// assert!(network.contains(Peer::Tcp(SocketAddr::from(([10, 1, 2, 3], 50_000)))));
/// assert!(!network.contains(Peer::Unix));
/// assert!("unix".parse::<Network>().unwrap().contains(Peer::Unix));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Network {
    /// Addresses that begin with the first `prefix` bits of this one.
    Ip {
        /// An address of it.
        address: IpAddr,
        /// How many of its bits count: at most 32, or 128.
        prefix: u8,
    },
    /// The clients of unix sockets, which have no address.
    Unix,
}

/// A text that is no network.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("expected an address or a network, as 192.0.2.7, 10.0.0.0/8 or fd00::/8, or `unix`")]
pub struct UnknownNetwork;

impl Network {
    /// Whether a peer is of this network. IPv4 clients of an IPv6 socket count as what they are.
    #[must_use]
    pub fn contains(self, peer: Peer) -> bool {
        match (self, peer) {
            (Self::Unix, Peer::Unix) => true,
            (Self::Ip { address, prefix }, Peer::Tcp(peer)) => shares(address, plain(peer), prefix),
            (Self::Unix, Peer::Tcp(_)) | (Self::Ip { .. }, Peer::Unix) => false,
        }
    }
}

fn plain(peer: SocketAddr) -> IpAddr {
    peer.ip().to_canonical()
}

fn shares(one: IpAddr, other: IpAddr, prefix: u8) -> bool {
    let bits = |address: IpAddr| match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()) << 96, 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    };
    let ((one, length), (other, other_length)) = (bits(one), bits(other));
    length == other_length && (prefix == 0 || (one ^ other) >> (128 - u32::from(prefix)) == 0)
}

impl FromStr for Network {
    type Err = UnknownNetwork;

    fn from_str(text: &str) -> Result<Self, UnknownNetwork> {
        if text == "unix" {
            return Ok(Self::Unix);
        }
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let address: IpAddr = address.parse().map_err(|_| UnknownNetwork)?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Ok(most), |prefix| prefix.parse().map_err(|_| UnknownNetwork))?;
        if prefix > most {
            return Err(UnknownNetwork);
        }
        Ok(Self::Ip { address, prefix })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip { address, prefix } => write!(f, "{address}/{prefix}"),
            Self::Unix => f.write_str("unix"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(network: &str, address: &str) -> bool {
        let address: IpAddr = address.parse().unwrap();
        network.parse::<Network>().unwrap().contains(Peer::Tcp((address, 1).into()))
    }

    #[test]
    fn addresses_are_of_a_network_by_their_first_bits() {
        assert!(has("10.0.0.0/8", "10.255.0.1") && !has("10.0.0.0/8", "11.0.0.1"));
        assert!(has("192.0.2.7", "192.0.2.7") && !has("192.0.2.7", "192.0.2.6"));
        assert!(has("192.0.2.6/31", "192.0.2.7"));
        assert!(has("0.0.0.0/0", "203.0.113.1") && !has("0.0.0.0/0", "::1"));
        assert!(has("fd00::/8", "fd12::1") && !has("fd00::/8", "fe80::1"));
        assert!(has("10.0.0.0/8", "::ffff:10.0.0.1"), "an IPv4 client of an IPv6 socket");
        assert!(has("::/0", "2001:db8::1"));
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in ["", "localhost", "10.0.0.0/33", "::/129", "10.0.0.0/", "10/8", "10.0.0.0/-1", "unix/1"] {
            assert_eq!(text.parse::<Network>(), Err(UnknownNetwork), "{text}");
        }
        assert_eq!("10.0.0.0/8".parse::<Network>().unwrap().to_string(), "10.0.0.0/8");
    }
}
