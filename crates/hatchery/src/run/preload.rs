//! What is loaded once a generation, in its master, and shared by its workers.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::Error;
use crate::server::Preload;

/// Runs the program's own loading and leaks the result: it lives as long as the
/// generation, and workers see it copy-on-write.
pub(super) fn once<P>(preload: Preload<P>) -> Result<&'static P, Error> {
    match catch_unwind(AssertUnwindSafe(preload)) {
        Ok(Ok(preloaded)) => Ok(Box::leak(Box::new(preloaded))),
        Ok(Err(source)) => Err(Error::Preload { source }),
        Err(_) => Err(Error::Preload { source: "it panicked".into() }),
    }
}
