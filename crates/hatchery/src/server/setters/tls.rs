//! TLS, as the program itself wants it.

use std::path::Path;
use std::time::Duration;

use crate::Server;
use crate::settings::{self, TlsClientAuth};

/// TLS, which a program speaks that is built with the feature `tls`; without it these are errors of
/// [`run`](Server::run).
impl<P: 'static> Server<P> {
    /// Adds an address to listen on for clients that speak TLS, with HTTP/1.1 or HTTP/2 as they agree on (ALPN).
    ///
    /// A list from the command line, the environment or the file replaces all of
    /// these. To the application such a listener has the name `tls`: see
    /// [`Worker::only`](crate::Worker::only).
    ///
    /// ```no_run
    /// use std::convert::Infallible;
    ///
    /// use hatchery::{Exit, Server, http};
    ///
    /// fn main() -> Exit {
    ///     Server::new()
    ///         .tls_bind("[::]:443")
    ///         .tls_identity("/etc/ssl/app.pem", "/etc/ssl/private/app.key")
    ///         .run(http::serve_fn(async |_request| Ok::<_, Infallible>(http::text("Hello, World!"))))
    /// }
    /// ```
    pub fn tls_bind(self, address: impl AsRef<str>) -> Self {
        self.add("tls-bind", address.as_ref())
    }

    /// Adds a certificate with its chain, and its key: two files in PEM.
    ///
    /// Both are read by the master, at its start and at each reload. A client gets the
    /// certificate that is for the name it asks for, and else the first one. Lists from
    /// elsewhere replace all of these.
    ///
    /// The first line of a key file tells its kind: PKCS#8 (`PRIVATE KEY`), PKCS#1
    /// (`RSA PRIVATE KEY`) and SEC1 (`EC PRIVATE KEY`) are read, encrypted ones are not.
    pub fn tls_identity(self, certificate: impl AsRef<Path>, key: impl AsRef<Path>) -> Self {
        self.add("tls-certificate", certificate.as_ref()).add("tls-key", key.as_ref())
    }

    /// Asks clients for a certificate that somebody in this file has issued. See
    /// [`TlsInfo::client_certificates`](crate::http::TlsInfo::client_certificates).
    pub fn tls_client_auth(self, auth: TlsClientAuth, issuers: impl AsRef<Path>) -> Self {
        self.set("tls-client-auth", auth.to_string()).set("tls-client-ca", issuers.as_ref())
    }

    /// From accept to the end of a TLS handshake; by default 10 s.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let settings = hatchery::Server::new().tls_handshake_timeout(Duration::from_secs(5)).settings()?;
    /// assert_eq!(settings.tls_handshake_timeout, Duration::from_secs(5));
    /// # Ok::<(), hatchery::Error>(())
    /// ```
    pub fn tls_handshake_timeout(self, timeout: Duration) -> Self {
        self.set("tls-handshake-timeout", settings::spell(timeout))
    }

    /// How long a TLS session can be resumed, by any worker and across upgrades; by
    /// default 12 h, zero: not at all. The keys of tickets change twice in that time.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let settings = hatchery::Server::new().tls_ticket_lifetime(Duration::ZERO).settings()?;
    /// assert_eq!(settings.tls_ticket_lifetime, Duration::ZERO);
    /// # Ok::<(), hatchery::Error>(())
    /// ```
    pub fn tls_ticket_lifetime(self, lifetime: Duration) -> Self {
        self.set("tls-ticket-lifetime", settings::spell(lifetime))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server() -> Server {
        Server::new()
            .tls_bind("127.0.0.1:1")
            .tls_bind("127.0.0.1:2")
            .tls_identity("/a.pem", "/a.key")
            .tls_identity("/b.pem", "/b.key")
            .tls_client_auth(TlsClientAuth::Optional, "/issuers.pem")
    }

    #[test]
    #[cfg(feature = "tls")]
    fn every_method_has_its_setting() {
        let settings = server().settings().unwrap();
        assert!(settings.bind.is_empty(), "nothing is spoken in the clear unless it is asked for");
        assert_eq!(settings.tls_bind.len(), 2);
        assert_eq!(settings.tls_certificate, ["/a.pem", "/b.pem"].map(std::path::PathBuf::from));
        assert_eq!(settings.tls_key, ["/a.key", "/b.key"].map(std::path::PathBuf::from));
        assert_eq!(settings.tls_client_auth, TlsClientAuth::Optional);
        assert_eq!(settings.tls_client_ca, Some("/issuers.pem".into()));
    }

    #[test]
    #[cfg(not(feature = "tls"))]
    fn without_the_feature_it_is_one_clear_error() {
        let error = server().settings().unwrap_err().to_string();
        assert!(error.starts_with("tls_bind (set by the program): this program is built without TLS"), "{error}");
        assert!(error.contains("cargo add hatchery --features tls"), "{error}");
    }

    #[test]
    fn the_name_is_taken() {
        let error = Server::new().bind_named("tls", "127.0.0.1:1").settings().unwrap_err().to_string();
        assert!(error.contains("see `tls_bind`"), "{error}");
    }
}
