//! Listeners that speak TLS, with the feature `tls`.
//!
//! * [`Plan`], [`Material`]: certificates and keys, read and checked in the master, before any fork
//! * `identity`: a certificate and its key; `resolver`: which of them a client gets
//! * `tickets`: sessions that go on in another worker, or in the next program
//! * `session`: TLS on a socket; `handshake`: how it begins

mod handshake;
mod identity;
mod material;
mod resolver;
mod session;
mod tickets;

pub use material::{ClientAuth, Material, Plan, TlsError};
pub use tickets::SHARED_KEYS;

pub(crate) use handshake::secure;
pub(crate) use session::Session;
