//! A certificate and its key, as they are read from files.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};
use webpki::{EndEntityCert, KeyUsage};

use super::material::TlsError;

/// No chain and no key is longer.
const LARGEST: u64 = 4 * 1024 * 1024;

const DAY: u64 = 24 * 60 * 60;

/// A certificate with its chain and its key, and the names that it is for.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    pub(super) key: Arc<CertifiedKey>,
    pub(super) names: Vec<String>,
}

impl Identity {
    /// Reads and checks both files. What can be lived with is added to `warnings`.
    pub(super) fn read(
        certificate: &Path,
        key: &Path,
        provider: &CryptoProvider,
        warnings: &mut Vec<String>,
    ) -> Result<Self, TlsError> {
        let chain = certificates("tls-certificate", certificate)?;
        let private = private_key(key)?;
        let signs =
            CertifiedKey::from_der(chain, private, provider).map_err(|error| misfit(&error, certificate, key))?;
        let wrong = |reason: &dyn std::fmt::Display| {
            TlsError::new("tls-certificate", format!("{}: {reason}", certificate.display()))
        };
        let own = signs.end_entity_cert().map_err(|error| wrong(&error))?;
        let parsed = EndEntityCert::try_from(own).map_err(|error| wrong(&error))?;
        let names = parsed.valid_dns_names().map(str::to_ascii_lowercase).collect();
        warnings.extend(validity(&parsed, UnixTime::now()).map(|what| format!("{}: {what}", certificate.display())));
        Ok(Self { key: Arc::new(signs), names })
    }
}

/// Every certificate of a file; there is at least one.
pub(super) fn certificates(setting: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(setting, path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let found = found.map_err(|error| not_pem(setting, path, &error))?;
    if found.is_empty() {
        let reason = format!("{} has no certificate in it; expected PEM: -----BEGIN CERTIFICATE-----", path.display());
        return Err(TlsError::new(setting, reason));
    }
    Ok(found)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    const SETTING: &str = "tls-key";
    let text = read(SETTING, path)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| match error {
        pem::Error::NoItemsFound if text.windows(17).any(|part| part == b"BEGIN ENCRYPTED P") => {
            let reason = format!("{} is encrypted; expected a key without a passphrase", path.display());
            TlsError::new(SETTING, reason)
        }
        pem::Error::NoItemsFound => {
            let reason = format!(
                "{} has no private key in it; expected PEM: -----BEGIN PRIVATE KEY-----, RSA PRIVATE KEY or EC PRIVATE KEY",
                path.display()
            );
            TlsError::new(SETTING, reason)
        }
        other => not_pem(SETTING, path, &other),
    })
}

/// A pipe or a device could keep a master that reads its certificates again from ever serving on.
fn read(setting: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    let cannot = |why: &dyn std::fmt::Display| TlsError::new(setting, format!("cannot read {}: {why}", path.display()));
    let file = fs::metadata(path).map_err(|error| cannot(&error))?;
    if !file.is_file() {
        return Err(cannot(&"it is not a regular file"));
    }
    if file.len() > LARGEST {
        return Err(cannot(&"it is larger than 4 MiB"));
    }
    fs::read(path).map_err(|error| cannot(&error))
}

fn not_pem(setting: &'static str, path: &Path, error: &pem::Error) -> TlsError {
    let what = match error {
        pem::Error::MissingSectionEnd { end_marker } => {
            format!("the line -----END {}----- is missing", String::from_utf8_lossy(end_marker).trim())
        }
        other => other.to_string(),
    };
    TlsError::new(setting, format!("{} is not PEM: {what}", path.display()))
}

fn misfit(error: &Error, certificate: &Path, key: &Path) -> TlsError {
    match error {
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            let reason = format!("the key {} does not fit the certificate {}", key.display(), certificate.display());
            TlsError::new("tls-key", reason)
        }
        Error::InvalidCertificate(_) => TlsError::new("tls-certificate", format!("{}: {error}", certificate.display())),
        other => TlsError::new("tls-key", format!("{}: {other}", key.display())),
    }
}

/// What is wrong with the time at which a certificate is used.
fn validity(certificate: &EndEntityCert<'_>, now: UnixTime) -> Option<String> {
    let verified =
        certificate.verify_for_usage(webpki::ALL_VERIFICATION_ALGS, &[], &[], now, KeyUsage::server_auth(), None, None);
    match verified.err()? {
        webpki::Error::CertExpired { not_after, .. } => {
            Some(format!("the certificate has expired {}", ago(now.as_secs().saturating_sub(not_after.as_secs()))))
        }
        webpki::Error::CertNotValidYet { not_before, .. } => {
            let wait = Duration::from_secs(not_before.as_secs().saturating_sub(now.as_secs()));
            Some(format!("the certificate is not valid yet, for another {} s", wait.as_secs()))
        }
        // Whoever connects has to trust it, not this server.
        _ => None,
    }
}

fn ago(seconds: u64) -> String {
    match seconds / DAY {
        0 => "today".to_owned(),
        1 => "yesterday".to_owned(),
        days => format!("{days} days ago"),
    }
}
