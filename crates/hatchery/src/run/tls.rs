//! TLS: certificates and keys, read in the master, which may read what its workers may not.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hatchery_http::tls::{ClientAuth, Material, Plan};
use hatchery_net::Kept;
use hatchery_sys::key_ring::{self, KeyRing};
use tracing::warn;

use crate::server::Make;
use crate::settings::Sources;
use crate::{Error, Settings, TlsClientAuth};

use super::warning::Warning;

/// What the keys of session tickets are kept under across upgrades; the number is that of their layout.
/// No program can keep anything by it.
const KEYS: &str = "tls tickets 1";

/// How soon a key is tried again that could not be made.
const RETRY: Duration = Duration::from_secs(60);

/// How soon another master is done with what it holds the lock for.
const SOON: Duration = Duration::from_secs(1);

/// How often a lock is found held before that is worth a word. The first two times may be a moment apart.
const STUCK: u32 = 3;

/// What workers make handshakes with: those that are forked next, with what was read last.
pub(super) struct Tls {
    ring: Arc<KeyRing>,
    /// How often in a row somebody else has held the lock.
    locked_out: Cell<u32>,
    current: RefCell<Fresh>,
}

/// What was read and checked; `None` if nothing speaks TLS.
pub(super) type Fresh = Option<Material>;

/// Keeps the keys of tickets, as the program keeps what is its own.
pub(super) fn keep_keys(keeps: &mut Vec<(String, Box<Make>)>) {
    keeps.push((KEYS.to_owned(), Box::new(key_ring::file)));
}

/// What the program and its workers may have of it: only masters hold the keys' file.
pub(super) fn without_keys(kept: &Kept) -> Kept {
    kept.without(KEYS)
}

/// Whether everything that the settings name is there and fits. What can be lived with is a line each.
pub(super) fn check(settings: &Settings, sources: &Sources) -> Result<Vec<String>, Error> {
    let fresh = read(settings, sources, None)?;
    Ok(fresh.map(|material| material.warnings().to_vec()).unwrap_or_default())
}

impl Tls {
    /// Reads what the settings name. The keys are those in `kept`.
    pub(super) fn load(settings: &Settings, sources: &Sources, kept: &Kept) -> Result<Self, Error> {
        let failed = |source| Error::Keep { name: KEYS.to_owned(), source };
        let ring = Arc::new(kept.get(KEYS).and_then(KeyRing::open).map_err(failed)?);
        let tls = Self { ring, locked_out: Cell::new(0), current: RefCell::default() };
        let fresh = tls.reread(settings, sources)?;
        tls.adopt(settings, fresh);
        Ok(tls)
    }

    /// Reads and checks everything again; nothing changes by that.
    pub(super) fn reread(&self, settings: &Settings, sources: &Sources) -> Result<Fresh, Error> {
        read(settings, sources, Some(&self.ring))
    }

    /// From now on workers are forked with this. Returns what was logged of it.
    pub(super) fn adopt(&self, settings: &Settings, fresh: Fresh) -> Vec<String> {
        let warnings = fresh.iter().flat_map(Material::warnings);
        let warnings = warnings.map(|warning| Warning::Certificate(warning.clone()).logged()).collect();
        self.current.replace(fresh);
        // Before the first of them is forked.
        self.rotate(settings);
        warnings
    }

    /// Makes a new key for tickets if it is time, and answers when it will be again.
    pub(super) fn rotate(&self, settings: &Settings) -> Option<Duration> {
        self.current.borrow().as_ref()?;
        let lifetime = Some(settings.tls_ticket_lifetime).filter(|lifetime| !lifetime.is_zero())?;
        // A key encrypts for half of the time, and two that do so no more still decrypt.
        match self.ring.rotate(lifetime / 2) {
            Ok(until_due) => {
                self.locked_out.set(0);
                Some(until_due)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Some(self.find_locked(&error)),
            Err(error) => {
                warn!(target: "hatchery", "cannot make a new key for session tickets: {error}");
                Some(RETRY)
            }
        }
    }

    fn find_locked(&self, error: &io::Error) -> Duration {
        let times = self.locked_out.get().saturating_add(1);
        self.locked_out.set(times);
        if times == STUCK {
            warn!(target: "hatchery", "the keys of session tickets are not renewed: {error}");
        }
        if times < STUCK { SOON } else { RETRY }
    }

    /// Whether there are private keys in this process's memory.
    pub(super) fn is_secret(&self) -> bool {
        self.current.borrow().is_some()
    }

    /// In a worker that was forked a moment ago: it makes no keys.
    pub(super) fn only_read(&self) {
        if let Err(error) = self.ring.only_read() {
            warn!("the keys of session tickets are not protected: {error}");
        }
    }

    /// What a worker is given.
    pub(super) fn for_worker(&self) -> Option<Rc<dyn Any>> {
        self.current.borrow().clone().map(|material| Rc::new(material) as Rc<dyn Any>)
    }

    /// In a process that speaks no TLS, which was forked a moment ago.
    pub(super) fn forget(&self) {
        drop(self.current.take());
        if let Err(error) = self.ring.forget() {
            warn!("the keys of session tickets are not protected: {error}");
        }
    }
}

fn read(settings: &Settings, sources: &Sources, ring: Option<&Arc<KeyRing>>) -> Result<Fresh, Error> {
    if settings.tls_bind.is_empty() {
        return Ok(None);
    }
    let plan = plan(settings, ring);
    Material::read(&plan).map(Some).map_err(|error| Error::Settings(sources.wrong(error.setting, error.reason)))
}

fn plan(settings: &Settings, ring: Option<&Arc<KeyRing>>) -> Plan {
    let issuers = settings.tls_client_ca.clone();
    let lifetime = settings.tls_ticket_lifetime;
    Plan {
        identities: settings.tls_certificate.iter().cloned().zip(settings.tls_key.iter().cloned()).collect(),
        client_auth: match (settings.tls_client_auth, issuers) {
            (TlsClientAuth::Off, _) | (_, None) => ClientAuth::Off,
            (TlsClientAuth::Optional, Some(issuers)) => ClientAuth::Optional(issuers),
            (TlsClientAuth::Required, Some(issuers)) => ClientAuth::Required(issuers),
        },
        tickets: ring.filter(|_| !lifetime.is_zero()).map(|ring| (Arc::clone(ring), lifetime)),
    }
}
