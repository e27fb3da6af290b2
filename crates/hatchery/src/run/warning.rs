//! What settings do not do, or not yet, though nothing is wrong with them.

use thiserror::Error;
use tracing::warn;

/// A setting that was read, and does not do all that may be expected of it.
#[derive(Debug, Error)]
pub(super) enum Warning {
    #[error("`{setting}` has changed: it takes effect at {when}, not at a reload")]
    Waits { setting: &'static str, when: &'static str },
    #[error("{0}")]
    Stray(String),
    #[cfg(feature = "tls")]
    #[error("tls-certificate: {0}")]
    Certificate(String),
}

impl Warning {
    /// Logs it, and returns the line.
    pub(super) fn logged(self) -> String {
        let line = self.to_string();
        warn!(target: "hatchery", "{line}");
        line
    }
}
