//! What workers of one generation share: an accept queue and a relay.

use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use hatchery_core::ListenMode;
use hatchery_core::wire::relay::Transfer;
use hatchery_net::{Address, Listener, Listeners, Refused, Relay, Spec};
use hatchery_sys::channel::{Channel, Received};

use super::PATIENCE;

/// The descriptors that a master would hold.
pub(crate) struct Nest {
    listener: Listener,
    relay: Relay,
}

impl Nest {
    pub(crate) fn new() -> Self {
        let spec = Spec { name: None, address: "127.0.0.1:0".parse().unwrap() };
        let listener = Listener::bind(&spec, ListenMode::Shared, 1, 1024).unwrap();
        Self { listener, relay: Relay::pair().unwrap() }
    }

    pub(crate) fn port(&self) -> u16 {
        let Address::Tcp(bound) = self.listener.bound() else { panic!("not TCP") };
        bound.port()
    }

    pub(crate) fn entry(&self) -> BorrowedFd<'_> {
        self.relay.entry().as_fd()
    }

    /// Sends copies of all of it to a process that calls [`Nest::inherit`].
    pub(crate) fn hand_over(&self, channel: &Channel) {
        let fds = [self.listener.queues()[0].as_fd(), self.entry(), self.relay.exit().as_fd()];
        channel.send(b"inherit", &fds).unwrap();
    }

    /// Takes what [`Nest::hand_over`] has sent.
    pub(crate) fn inherit(channel: &Channel) -> (Listeners, Relay) {
        let readable = hatchery_sys::poll::readable(&[channel.as_fd()], Some(PATIENCE)).unwrap();
        assert!(readable[0], "nothing to inherit");
        let Received::Message { fds, .. } = channel.recv(&mut [0; 16]).unwrap() else { panic!("nothing to inherit") };
        let [queue, entry, exit]: [OwnedFd; 3] = fds.try_into().unwrap();
        let spec = Spec { name: None, address: "127.0.0.1:0".parse().unwrap() };
        let listener = Listener::inherit(&spec, vec![queue]).unwrap();
        (Listeners::new(vec![listener]), Relay::from_fds(entry, exit).unwrap())
    }

    /// Sends a connection.
    pub(crate) fn send(&self, transfer: &Transfer, connection: &TcpStream) {
        self.relay.entry().send(&transfer.encode(), &[connection.as_fd()]).unwrap();
    }

    /// Leaves no room in the relay; returns how many messages that took.
    pub(crate) fn stuff(&self) -> usize {
        let mut count = 0;
        loop {
            match self.relay.entry().send(&[0; 512], &[]) {
                Ok(()) => count += 1,
                Err(Refused::Full) => return count,
                Err(other) => panic!("{other}"),
            }
        }
    }

    /// Takes a message out of the relay.
    pub(crate) fn take(&self) {
        assert!(matches!(self.relay.exit().recv(&mut [0; 512]), Ok(Received::Message { .. })));
    }
}
