//! Session tickets that every worker of every generation can read.
//!
//! A ticket is what the server would have to remember of a session, encrypted
//! with a key that only servers know. The keys lie in memory that all processes
//! share; the master makes a new one from time to time, and the old ones go away
//! with what was encrypted by them.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hatchery_sys::key_ring::{KEYS, KeyRing};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use rustls::server::ProducesTickets;

/// How many keys decrypt: the one that encrypts, and those before it.
pub const SHARED_KEYS: u32 = KEYS as u32;

/// The number of its key, which a ticket begins with.
const NUMBER_LEN: usize = 8;

/// Makes and reads tickets.
pub(super) struct Tickets {
    ring: Arc<KeyRing>,
    /// What a session depends on beside its key: whoever asks for other client certificates
    /// than the one who made a ticket must not accept it.
    context: Vec<u8>,
    lifetime: u32,
    /// No lock is held at a fork: a master makes no handshakes.
    keys: Mutex<Keys>,
}

#[derive(Default)]
struct Keys {
    newest: u64,
    keys: Vec<(u64, LessSafeKey)>,
}

impl Tickets {
    pub(super) fn new(ring: &Arc<KeyRing>, context: Vec<u8>, lifetime: Duration) -> Self {
        // A week at most (RFC 8446, 4.6.1).
        let lifetime = u32::try_from(lifetime.as_secs()).unwrap_or(u32::MAX).clamp(1, 604_800);
        Self { ring: Arc::clone(ring), context, lifetime, keys: Mutex::default() }
    }

    fn with_keys<T>(&self, using: impl FnOnce(&[(u64, LessSafeKey)]) -> Option<T>) -> Option<T> {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = self.ring.newest();
        if keys.newest != newest {
            let cipher = |(number, key): (u64, [u8; 32])| {
                Some((number, LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &key).ok()?)))
            };
            keys.keys = self.ring.keys().into_iter().filter_map(cipher).collect();
            keys.newest = newest;
        }
        using(&keys.keys)
    }

    fn aad(&self, number: [u8; NUMBER_LEN]) -> Aad<Vec<u8>> {
        Aad::from([&number[..], &self.context].concat())
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        self.lifetime
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        // Random, as several processes use one key: there are not enough tickets in its life for two to be the same.
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).ok()?;
        self.with_keys(|keys| {
            let (number, key) = keys.first()?;
            let number = number.to_be_bytes();
            let mut sealed = plain.to_vec();
            key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), self.aad(number), &mut sealed).ok()?;
            Some([&number[..], &nonce, &sealed].concat())
        })
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (number, rest) = ticket.split_first_chunk::<NUMBER_LEN>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        self.with_keys(|keys| {
            let (_, key) = keys.iter().find(|(known, _)| *known == u64::from_be_bytes(*number))?;
            let mut opened = sealed.to_vec();
            let nonce = Nonce::assume_unique_for_key(*nonce);
            let len = key.open_in_place(nonce, self.aad(*number), &mut opened).ok()?.len();
            opened.truncate(len);
            Some(opened)
        })
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tickets").field("lifetime", &self.lifetime).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use hatchery_sys::key_ring;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const SHORT: Duration = Duration::from_millis(20);

    /// As two workers have them.
    fn pair(context: [&str; 2]) -> (Arc<KeyRing>, [Tickets; 2]) {
        let ring = Arc::new(KeyRing::open(key_ring::file().unwrap()).unwrap());
        let tickets = context.map(|context| Tickets::new(&ring, context.into(), HOUR));
        (ring, tickets)
    }

    #[test]
    fn what_one_worker_encrypts_another_decrypts() {
        let (ring, [one, other]) = pair(["", ""]);
        assert_eq!(one.encrypt(b"session"), None, "there is no key yet");
        ring.rotate(HOUR).unwrap();
        let ticket = one.encrypt(b"session").unwrap();
        assert_eq!(other.decrypt(&ticket).as_deref(), Some(&b"session"[..]));
        assert_ne!(one.encrypt(b"session").unwrap(), ticket);
    }

    #[test]
    fn what_was_changed_or_cut_is_refused() {
        let (ring, [one, other]) = pair(["", ""]);
        ring.rotate(HOUR).unwrap();
        let ticket = one.encrypt(b"session").unwrap();
        for at in 0..ticket.len() {
            let mut changed = ticket.clone();
            changed[at] ^= 1;
            assert_eq!(other.decrypt(&changed), None);
            assert_eq!(other.decrypt(&ticket[..at]), None);
        }
    }

    #[test]
    fn whoever_asks_for_other_certificates_does_not_accept_it() {
        let (ring, [one, other]) = pair(["off", "required"]);
        ring.rotate(HOUR).unwrap();
        assert_eq!(other.decrypt(&one.encrypt(b"session").unwrap()), None);
    }

    #[test]
    fn a_ticket_dies_with_its_key() {
        let (ring, [one, other]) = pair(["", ""]);
        ring.rotate(HOUR).unwrap();
        let ticket = one.encrypt(b"session").unwrap();
        while ring.newest() <= KEYS as u64 {
            thread::sleep(SHORT);
            ring.rotate(SHORT).unwrap();
        }
        assert_eq!((one.decrypt(&ticket), other.decrypt(&ticket)), (None, None));
        assert!(other.decrypt(&one.encrypt(b"another").unwrap()).is_some());
    }
}
