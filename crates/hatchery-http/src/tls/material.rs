//! Everything that a handshake needs, read from files and checked.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hatchery_sys::key_ring::KeyRing;
use ring::digest::{self, SHA256};
use rustls::crypto::{CryptoProvider, ring as provider};
use rustls::pki_types::CertificateDer;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};

use super::identity::{Identity, certificates};
use super::resolver::ByName;
use super::tickets::Tickets;

/// What there is to be read, and how it is used.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Certificates with their chains, and the key of each: the first one is for clients that ask for no other's name.
    pub identities: Vec<(PathBuf, PathBuf)>,
    /// Whether clients are asked for a certificate, and who may have issued it.
    pub client_auth: ClientAuth,
    /// How long a session can be resumed; `None`: never.
    pub tickets: Option<(Arc<KeyRing>, Duration)>,
}

/// Whether clients are asked for a certificate.
#[derive(Clone, Debug)]
pub enum ClientAuth {
    /// No.
    Off,
    /// They may have one, issued by somebody in this file.
    Optional(PathBuf),
    /// They must have one, issued by somebody in this file.
    Required(PathBuf),
}

/// What workers make handshakes with; clones share it.
///
/// It is made in a master: nothing here starts a thread or a runtime, and no
/// descriptor is open when it is done.
#[derive(Clone)]
pub struct Material {
    pub(crate) config: Arc<ServerConfig>,
    warnings: Vec<String>,
}

/// A setting that no handshake can be made with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: {reason}")]
pub struct TlsError {
    /// Its name.
    pub setting: &'static str,
    /// What is wrong.
    pub reason: String,
}

impl TlsError {
    pub(super) fn new(setting: &'static str, reason: impl Into<String>) -> Self {
        Self { setting, reason: reason.into() }
    }
}

impl Material {
    /// Reads and checks all files.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong.
    pub fn read(plan: &Plan) -> Result<Self, TlsError> {
        let crypto = Arc::new(provider::default_provider());
        let mut warnings = Vec::new();
        let identities: Result<Vec<_>, _> = plan
            .identities
            .iter()
            .map(|(certificate, key)| Identity::read(certificate, key, &crypto, &mut warnings))
            .collect();
        let Some(resolver) = ByName::new(&identities?) else {
            return Err(TlsError::new("tls-certificate", "expected at least one"));
        };
        let builder = ServerConfig::builder_with_provider(Arc::clone(&crypto))
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError::new("tls-bind", error.to_string()))?;
        let (builder, context) = match &plan.client_auth {
            ClientAuth::Off => (builder.with_no_client_auth(), b"off".to_vec()),
            ClientAuth::Optional(file) => {
                let (verifier, context) = verifier(file, false, &crypto)?;
                (builder.with_client_cert_verifier(verifier), context)
            }
            ClientAuth::Required(file) => {
                let (verifier, context) = verifier(file, true, &crypto)?;
                (builder.with_client_cert_verifier(verifier), context)
            }
        };
        let mut config = builder.with_cert_resolver(Arc::new(resolver));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        // What is remembered in one worker is of no use in the others.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        match &plan.tickets {
            Some((ring, lifetime)) => config.ticketer = Arc::new(Tickets::new(ring, context, *lifetime)),
            None => config.send_tls13_tickets = 0,
        }
        Ok(Self { config: Arc::new(config), warnings })
    }

    /// What can be lived with, but not for long: a line for each.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

impl fmt::Debug for Material {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Material").field("warnings", &self.warnings).finish_non_exhaustive()
    }
}

type Verifier = Arc<dyn rustls::server::danger::ClientCertVerifier>;

/// Also what tells it from another one, by which tickets are bound to it.
fn verifier(
    file: &std::path::Path,
    required: bool,
    crypto: &Arc<CryptoProvider>,
) -> Result<(Verifier, Vec<u8>), TlsError> {
    const SETTING: &str = "tls-client-ca";
    let wrong = |reason: &dyn fmt::Display| TlsError::new(SETTING, format!("{}: {reason}", file.display()));
    let issuers: Vec<CertificateDer<'static>> = certificates(SETTING, file)?;
    let mut told = digest::Context::new(&SHA256);
    told.update(if required { b"required" } else { b"optional" });
    let mut roots = RootCertStore::empty();
    for issuer in issuers {
        told.update(&issuer);
        roots.add(issuer).map_err(|error| wrong(&error))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(crypto));
    let builder = if required { builder } else { builder.allow_unauthenticated() };
    let verifier = builder.build().map_err(|error| wrong(&error))?;
    Ok((verifier, told.finish().as_ref().to_vec()))
}
