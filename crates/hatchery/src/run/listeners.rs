//! The listeners of this generation: its predecessor's where the address is the same, others bound anew.

use hatchery_master::Predecessor;
use hatchery_net::{Listeners, Spec};
use hatchery_sys::channel::Channel;
use tracing::info;

use crate::{Error, Settings};

/// Also keeps the predecessor's link.
pub(super) fn claim(
    settings: &Settings,
    named: &[Spec],
    predecessor: Option<Predecessor>,
) -> Result<(Listeners, Option<Channel>), Error> {
    let (inherited, places, link) = match predecessor {
        Some(predecessor) => (predecessor.listeners, predecessor.places, Some(predecessor.link)),
        None => (Vec::new(), Vec::new(), None),
    };
    let handed: Vec<_> = inherited.iter().map(|listener| listener.address.clone()).zip(places).collect();
    let specs: Vec<Spec> = settings.binds().into_iter().chain(named.iter().cloned()).collect();
    let (mode, queues, backlog) = (settings.listen_mode, settings.queues(), settings.backlog);
    let (listeners, unasked) = hatchery_net::claim(&specs, inherited, mode, queues, backlog)?;
    let mut leaves = Vec::new();
    for listener in unasked {
        info!(target: "hatchery", "{} is not served any more: no setting asks for it", listener.address);
        leaves.extend(handed.iter().filter(|(address, _)| *address == listener.address).map(|(_, place)| *place));
    }
    if let Some(link) = link.as_ref().filter(|_| !leaves.is_empty()) {
        // Its workers go on accepting there, until they go.
        hatchery_master::predecessor::leaves(link, leaves);
    }
    Ok((listeners, link))
}
