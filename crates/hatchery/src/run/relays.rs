//! The relays of this generation: the one that its predecessor has made for it, or one of its own.

use std::io;

use hatchery_master::{Predecessor, Relays};
use hatchery_net::Relay;

/// Takes from the predecessor what it has handed over.
pub(super) fn claim(predecessor: Option<&mut Predecessor>) -> io::Result<Relays> {
    let (relay, back) = predecessor.map_or((None, None), |it| (it.relay.take(), it.back.take()));
    Ok(Relays::new(relay.map_or_else(Relay::pair, Ok)?, back))
}
