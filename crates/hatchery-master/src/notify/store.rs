//! The service manager's store of descriptors: `FDSTORE=1` in `sd_notify(3)`.
//!
//! It has copies of the sockets that the program has bound, and passes them to the next
//! start by their names. Only the main process speaks of it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use hatchery_net::{Listener, Listeners, Queue};
use hatchery_sys::channel::MAX_FDS;
use hatchery_sys::env;
use tracing::warn;

use super::{Notify, Told};

/// How many descriptors the service manager stores; systemd says so since version 254.
const ROOM: &str = "FDSTORE";

/// What there is to say about the store.
#[derive(Debug)]
pub(super) struct Store {
    room: usize,
    /// How many sockets there were when somebody was told that this is too many.
    told: usize,
    /// Names that are to be taken out.
    leaving: Vec<String>,
}

impl Store {
    /// The variable is gone afterwards; a successor gets it.
    pub(super) fn from_env() -> Self {
        let room = env::take(ROOM).and_then(|room| room.to_str()?.parse().ok()).unwrap_or(0);
        Self { room, told: 0, leaving: Vec::new() }
    }
}

impl Notify {
    /// Whether sockets can be stored, as is wanted; says it if not.
    #[must_use]
    pub fn can_store(&self) -> bool {
        let can = self.is_heard() && self.store.room > 0;
        if !can {
            warn!(
                target: "hatchery",
                "fd-store: nobody stores sockets: expected systemd 254 or later, and FileDescriptorStoreMax= in the unit"
            );
        }
        can
    }

    /// These names are to be taken out when there is something to say about the store.
    pub fn take_out(&mut self, names: impl IntoIterator<Item = String>) {
        self.store.leaving.extend(names);
    }

    /// Brings the store up to date, once the service is ready.
    pub(crate) fn update_store(&mut self, listeners: &mut Listeners) {
        match self.told {
            Told::Ready | Told::Reloading => self.store(listeners),
            Told::Nothing | Told::Stopping => {}
        }
    }

    /// The same at once. What does not fit into the outbox now is for the next time.
    pub fn store(&mut self, listeners: &mut Listeners) {
        if !self.is_main() {
            return;
        }
        while self.post.room() > 0
            && let Some(name) = self.store.leaving.pop()
        {
            self.say(&format!("FDSTOREREMOVE=1\nFDNAME={name}"));
        }
        for index in 0..listeners.len() {
            let Some(listener) = listeners.get(index).filter(|listener| !listener.to_store().is_empty()) else {
                continue;
            };
            if listener.to_store().len().div_ceil(MAX_FDS) > self.post.room() || !self.store.leaving.is_empty() {
                return;
            }
            let name = listener.store_name();
            // No descriptor is left for a copy: the next time there may be one.
            let Ok(copies) = listener.to_store().chunks(MAX_FDS).map(copies).collect::<io::Result<Vec<_>>>() else {
                return;
            };
            for copies in copies {
                self.say_with(&format!("FDSTORE=1\nFDNAME={name}\nFDPOLL=0"), copies);
            }
            listeners.stored(index);
        }
        self.complain_of_room(listeners.iter().map(Listener::store_size).sum());
    }

    /// The service manager closes what is too much, and says so to nobody but its own log.
    fn complain_of_room(&mut self, wanted: usize) {
        let Store { room, told, .. } = &mut self.store;
        if wanted > *room && wanted != *told {
            *told = wanted;
            warn!(
                target: "hatchery",
                "fd-store: there are {wanted} sockets, and the service manager stores {room}: clients of the others \
                 are refused between two starts; expected FileDescriptorStoreMax={wanted} or more in the unit"
            );
        }
    }
}

fn copies(queues: &[Queue]) -> io::Result<Vec<OwnedFd>> {
    queues.iter().map(|queue| queue.as_fd().try_clone_to_owned()).collect()
}
