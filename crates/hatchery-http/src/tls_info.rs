//! What a TLS handshake has agreed on.

use std::fmt;

/// What is known of a connection that speaks TLS: see [`Client::tls`](crate::Client::tls).
///
/// ```
/// use hatchery_http::{Client, Request, Response, text};
///
/// fn about(request: &Request) -> Response {
///     let client = request.extensions().get::<Client>();
///     match client.and_then(Client::tls) {
///         Some(tls) => text(format!("{} for {:?}\n", tls.version(), tls.server_name())),
///         None => text("in the clear\n"),
///     }
/// }
/// # let _ = about;
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct TlsInfo {
    pub(crate) server_name: Option<String>,
    pub(crate) protocol: Option<&'static str>,
    pub(crate) version: &'static str,
    pub(crate) cipher_suite: String,
    pub(crate) resumed: bool,
    pub(crate) client_certificates: Vec<Vec<u8>>,
}

impl TlsInfo {
    /// The name that the client has asked for (SNI, RFC 6066), if it has.
    #[must_use]
    pub fn server_name(&self) -> Option<&str> {
        self.server_name.as_deref()
    }

    /// The protocol that was agreed on (ALPN, RFC 7301): `h2` or `http/1.1`; `None` for a client that has named none,
    /// with which HTTP/1.1 is spoken.
    #[must_use]
    pub fn protocol(&self) -> Option<&'static str> {
        self.protocol
    }

    /// The version: `TLSv1.2` or `TLSv1.3`.
    #[must_use]
    pub fn version(&self) -> &'static str {
        self.version
    }

    /// The cipher suite, by the name that rustls has for it: `TLS13_AES_256_GCM_SHA384`.
    #[must_use]
    pub fn cipher_suite(&self) -> &str {
        &self.cipher_suite
    }

    /// Whether the client has come back with a ticket of an earlier connection.
    #[must_use]
    pub fn is_resumed(&self) -> bool {
        self.resumed
    }

    /// The client's certificates in DER, its own first; empty if it was not asked for one, or has none.
    ///
    /// They were checked in the handshake, of a resumed session in the one that began it.
    pub fn client_certificates(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.client_certificates.iter().map(Vec::as_slice)
    }
}

impl fmt::Debug for TlsInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsInfo")
            .field("server_name", &self.server_name)
            .field("protocol", &self.protocol)
            .field("version", &self.version)
            .field("cipher_suite", &self.cipher_suite)
            .field("resumed", &self.resumed)
            .field("client_certificates", &self.client_certificates.len())
            .finish()
    }
}
