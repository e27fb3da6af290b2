//! What is loaded once a generation, in its master, and shared by its workers.

use std::panic::{AssertUnwindSafe, catch_unwind};

use hatchery_worker::conn::Message;

use crate::Error;
use crate::server::Preload;

/// Runs the program's own loading and leaks the result: it lives as long as the
/// generation, and workers see it copy-on-write.
pub(super) fn once<P>(preload: Preload<P>) -> Result<&'static P, Error> {
    match catch_unwind(AssertUnwindSafe(preload)) {
        Ok(Ok(preloaded)) => Ok(Box::leak(Box::new(preloaded))),
        Ok(Err(source)) => Err(Error::Preload { source }),
        Err(panic) => Err(Error::Preload { source: format!("it panicked: {}", Message(&*panic)).into() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_told_with_its_text() {
        let number = 7;
        let preload: Preload<()> = Box::new(move || panic!("there is no catalogue {number}\nat all"));
        let error = once(preload).map(drop).expect_err("it panics").one_line();
        assert_eq!(
            error,
            "the application failed to boot: preload failed: it panicked: there is no catalogue 7; at all"
        );
        let error = once::<()>(Box::new(|| Err("no file".into()))).map(drop).expect_err("it fails").one_line();
        assert_eq!(error, "the application failed to boot: preload failed: no file");
    }
}
