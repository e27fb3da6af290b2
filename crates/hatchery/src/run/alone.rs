//! The one-thread check before the first fork.

use std::time::Duration;

use hatchery_sys::threads::{self, Threads};
use tracing::warn;

use crate::Error;

/// A thread that was joined a moment ago may still be counted by the kernel.
const PATIENCE: Duration = Duration::from_millis(100);

/// A runtime of one thread passes for no runtime in the count of threads. Asked
/// before anything is loaded, since nothing that follows could change it.
pub(super) fn refuse_runtime() -> Result<(), Error> {
    if hatchery_worker::runtime::is_inside() { Err(Error::InRuntime) } else { Ok(()) }
}

/// A fork copies one thread only: locks that others hold stay locked in the
/// child for ever. So a master with threads is refused before it has a worker;
/// later, a running service is never left without one for this reason.
pub(super) fn check() -> Result<(), Error> {
    match threads::count(PATIENCE) {
        Threads::One => Ok(()),
        Threads::Many { names } => Err(Error::Threads { names }),
        Threads::Unknown { why } => {
            warn!(target: "hatchery", "cannot tell whether this process has one thread only, as forking needs: {why}");
            Ok(())
        }
    }
}
