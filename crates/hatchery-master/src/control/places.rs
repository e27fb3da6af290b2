//! Who has a place at the control socket, and who makes room.
//!
//! Nobody is kept out by others. Who waits for an operation keeps its place, so there
//! are only so many of those, a user and in all; everybody else makes room when it is
//! somebody's turn who has fewer places.

use std::collections::BTreeMap;

use hatchery_control::Refusal;
use hatchery_sys::socket::Credentials;
use hatchery_sys::user;

use super::Control;
use super::client::Client;

/// Clients at a time.
const PLACES: usize = 64;

/// Those of users who are neither root nor the server's own: the others' places are nobody else's.
const PLACES_OF_STRANGERS: usize = 48;

/// Operations that one user may wait for.
const WAITS: usize = 12;

/// Operations that all may wait for who are neither root nor the server's own user.
const WAITS_OF_STRANGERS: usize = 24;

// There is always somebody who can make room, for a stranger too.
const _: () = assert!(WAITS_OF_STRANGERS < PLACES_OF_STRANGERS && 2 * WAITS + WAITS_OF_STRANGERS < PLACES);

impl Control {
    /// Sees to it that there is a place for this one more. Whoever loses its own is told why.
    pub(super) fn make_room_for(&mut self, who: Credentials) {
        let Some(key) = self.who_makes_room_for(who) else { return };
        if let Some(client) = self.clients.get_mut(&key) {
            client.gives_way();
        }
        self.forget(key);
    }

    /// Of the user who has the most clients the one that has not got on for the longest.
    fn who_makes_room_for(&self, newcomer: Credentials) -> Option<u64> {
        let strangers = self.clients.values().filter(|client| is_stranger(client.who)).count();
        let among_strangers = is_stranger(newcomer) && strangers >= PLACES_OF_STRANGERS;
        if !among_strangers && self.clients.len() < PLACES {
            return None;
        }
        let mut places: BTreeMap<u32, usize> = BTreeMap::new();
        for client in self.clients.values().filter(|client| !among_strangers || is_stranger(client.who)) {
            *places.entry(client.who.uid).or_default() += 1;
        }
        let candidates = self.clients.iter().filter_map(|(key, client)| {
            let (places, hold) = (places.get(&client.who.uid)?, client.hold()?);
            Some((std::cmp::Reverse(*places), hold, client.since(), *key))
        });
        candidates.min().map(|(.., key)| key)
    }

    /// Why this client may not wait for one more operation, if it may not.
    pub(super) fn too_many_waits(&self, key: u64) -> Option<String> {
        let who = self.clients.get(&key)?.who;
        let waiting = || self.clients.values().filter(|client| client.waits());
        let own = waiting().filter(|client| client.who.uid == who.uid).count();
        if own >= WAITS {
            return Some(format!(
                "user {} waits for {own} operations already; end one, or ask without waiting",
                who.uid
            ));
        }
        let strangers = waiting().filter(|client| is_stranger(client.who)).count();
        (is_stranger(who) && strangers >= WAITS_OF_STRANGERS).then(|| {
            format!(
                "{strangers} clients of other users than root and the server's own wait already; ask without waiting"
            )
        })
    }
}

impl Client {
    /// The last word to somebody whose place another one gets.
    fn gives_way(&mut self) {
        let text = format!("another client needs the place: user {} has the most; ask again", self.who.uid);
        self.refuse(Refusal::Refused, text);
    }
}

/// Whether it is neither root nor the server's own user.
fn is_stranger(who: Credentials) -> bool {
    who.uid != 0 && who.uid != user::effective()
}
