//! Certificates for a test, made anew each time.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, date_time_ymd,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::{Lab, Start};

/// Who issues certificates.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// The one of this process, which `tls:` addresses are trusted by.
#[must_use]
pub fn authority() -> &'static Authority {
    static AUTHORITY: LazyLock<Authority> = LazyLock::new(|| Authority::new("this test"));
    &AUTHORITY
}

/// What a client trusts that has nothing but [`authority`].
#[must_use]
pub fn trusting() -> Arc<ClientConfig> {
    static CONFIG: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| authority().client(&[], None));
    Arc::clone(&CONFIG)
}

/// A certificate and its key, in PEM.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
}

impl Authority {
    /// Another one each time, of this name.
    ///
    /// # Panics
    /// When there is no randomness to be had.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let mut params = params(&[], name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("an issuer"))
    }

    /// Its own certificate, in PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for a server or a client of these names; the first one is the common name.
    #[must_use]
    pub fn issue(&self, names: &[&str]) -> Issued {
        self.sign(&params(names, names.first().copied().unwrap_or("nobody")))
    }

    /// The same, but its time was over long ago.
    #[must_use]
    pub fn issue_expired(&self, names: &[&str]) -> Issued {
        let mut params = params(names, "too old");
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
        self.sign(&params)
    }

    /// What a client trusts that trusts this one, with these protocols and perhaps a certificate of its own.
    ///
    /// # Panics
    /// When rustls does not take what rcgen has made.
    #[must_use]
    pub fn client(&self, protocols: &[&str], own: Option<&Issued>) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(self.0.der().to_vec())).expect("a certificate");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots);
        let mut config = match own {
            Some(own) => {
                let chain = vec![CertificateDer::from_pem_slice(own.certificate.as_bytes()).expect("PEM")];
                let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).expect("PEM");
                builder.with_client_auth_cert(chain, key).expect("a key that fits")
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }

    fn sign(&self, params: &CertificateParams) -> Issued {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        Issued { certificate: certificate.pem(), key: key.serialize_pem() }
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

impl Issued {
    /// Writes `NAME.pem` and `NAME.key` into a folder, each in one step.
    ///
    /// # Panics
    /// When the file system refuses.
    #[expect(clippy::must_use_candidate, reason = "the files are there, whoever wants to know their names")]
    pub fn write(&self, folder: &Path, name: &str) -> (PathBuf, PathBuf) {
        let (certificate, key) = (folder.join(format!("{name}.pem")), folder.join(format!("{name}.key")));
        for (path, text) in [(&certificate, &self.certificate), (&key, &self.key)] {
            let draft = path.with_extension("draft");
            fs::write(&draft, text).expect("a file");
            fs::rename(&draft, path).expect("a file in its place");
        }
        (certificate, key)
    }
}

fn params(names: &[&str], common: &str) -> CertificateParams {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names).expect("names");
    params.distinguished_name.push(DnType::CommonName, common);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params
}

impl Start {
    /// A second address with TLS, for `localhost` by [`authority`].
    #[must_use]
    pub fn secured(self) -> Self {
        self.secured_by(&authority().issue(&["localhost"]))
    }

    /// The same with another certificate.
    ///
    /// # Panics
    /// When it cannot be written.
    #[must_use]
    pub fn secured_by(self, issued: &Issued) -> Self {
        let (certificate, key) = issued.write(self.path("").as_path(), "server");
        self.set("tls-bind", "127.0.0.1:0")
            .set("tls-certificate", &certificate.display().to_string())
            .set("tls-key", &key.display().to_string())
    }
}

impl Lab {
    /// The address with TLS of a server that was started [secured](Start::secured).
    ///
    /// # Panics
    /// When it has none.
    #[must_use]
    pub fn secure(&self) -> &str {
        &self.addresses()[1]
    }
}
