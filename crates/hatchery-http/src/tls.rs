//! Listeners that speak TLS, with the feature `tls`.

mod session;

pub(crate) use session::Session;
