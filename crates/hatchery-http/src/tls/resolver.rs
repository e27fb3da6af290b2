//! Which certificate a client gets.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::identity::Identity;

/// Certificates by the names that they are for; the first one is for everybody else.
#[derive(Debug)]
pub(super) struct ByName {
    first: Arc<CertifiedKey>,
    named: HashMap<String, Arc<CertifiedKey>>,
}

impl ByName {
    /// `None` if there is no certificate at all. Of two that are for the same name, the one that was given first counts.
    pub(super) fn new(identities: &[Identity]) -> Option<Self> {
        let first = Arc::clone(&identities.first()?.key);
        let mut named = HashMap::new();
        for Identity { key, names } in identities {
            for name in names {
                named.entry(name.clone()).or_insert_with(|| Arc::clone(key));
            }
        }
        Some(Self { first, named })
    }

    /// A wildcard stands for one label (RFC 9525, 6.3).
    fn find(&self, asked: Option<&str>) -> &Arc<CertifiedKey> {
        let found = asked.and_then(|asked| {
            let asked = asked.to_ascii_lowercase();
            let exact = self.named.get(&asked);
            exact.or_else(|| self.named.get(&format!("*.{}", asked.split_once('.')?.1)))
        });
        found.unwrap_or(&self.first)
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(self.find(hello.server_name())))
    }
}
