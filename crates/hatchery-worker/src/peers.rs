//! How many connections each peer has.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

use crate::ledger::Record;

/// Open connections by the address that they count for; nothing is kept while there is no limit.
#[derive(Debug)]
pub(crate) struct Peers {
    most: usize,
    counts: RefCell<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    by_peer: HashMap<IpAddr, usize>,
    /// By the address of its record, which is a connection's own for as long as it is open.
    by_connection: HashMap<usize, IpAddr>,
}

impl Peers {
    pub(crate) fn new(most: usize) -> Self {
        Self { most, counts: RefCell::default() }
    }

    /// Counts a connection for a peer. Returns whether that may have so many.
    pub(crate) fn count(&self, record: &'static Record, peer: IpAddr) -> bool {
        if self.most == 0 {
            return true;
        }
        let peer = network(peer);
        self.forget(record);
        let mut counts = self.counts.borrow_mut();
        counts.by_connection.insert(key(record), peer);
        let count = counts.by_peer.entry(peer).or_default();
        *count += 1;
        *count <= self.most
    }

    /// The connection is gone.
    pub(crate) fn forget(&self, record: &'static Record) {
        if self.most == 0 {
            return;
        }
        let mut counts = self.counts.borrow_mut();
        let Some(peer) = counts.by_connection.remove(&key(record)) else { return };
        if let Some(count) = counts.by_peer.get_mut(&peer) {
            *count -= 1;
            if *count == 0 {
                counts.by_peer.remove(&peer);
            }
        }
    }
}

fn key(record: &'static Record) -> usize {
    std::ptr::from_ref(record).addr()
}

/// Who has one IPv6 address has 2^64 of them, as a rule.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> &'static Record {
        Box::leak(Box::default())
    }

    #[test]
    fn each_peer_has_its_own_number_and_gets_it_back() {
        let peers = Peers::new(2);
        let [one, other] = ["192.0.2.1", "192.0.2.2"].map(|address| address.parse().unwrap());
        let records = [(); 3].map(|()| record());
        assert_eq!(records.map(|record| peers.count(record, one)), [true, true, false]);
        assert!(peers.count(record(), other));
        peers.forget(records[2]);
        assert!(!peers.count(record(), one));
        peers.forget(records[0]);
        peers.forget(records[0]);
        peers.forget(records[1]);
        assert!(peers.count(record(), one));
    }

    #[test]
    fn who_is_introduced_counts_for_somebody_else() {
        let peers = Peers::new(1);
        let (proxy, client) = ("10.0.0.1".parse().unwrap(), "192.0.2.1".parse().unwrap());
        let connection = record();
        assert!(peers.count(connection, proxy) && peers.count(connection, client));
        assert!(peers.count(record(), proxy));
        assert!(!peers.count(record(), client));
    }

    #[test]
    fn addresses_of_one_ipv6_network_count_together() {
        let peers = Peers::new(1);
        assert!(peers.count(record(), "2001:db8::1".parse().unwrap()));
        assert!(!peers.count(record(), "2001:db8::2:1".parse().unwrap()));
        assert!(peers.count(record(), "2001:db8:0:1::1".parse().unwrap()));
        assert!(peers.count(record(), "192.0.2.1".parse().unwrap()));
        assert!(!peers.count(record(), "::ffff:192.0.2.1".parse().unwrap()));
    }

    #[test]
    fn without_a_limit_nothing_is_kept() {
        let peers = Peers::new(0);
        assert!(peers.count(record(), "192.0.2.1".parse().unwrap()));
        assert!(peers.counts.borrow().by_peer.is_empty());
    }
}
