//! Reading a variable of the environment once.
//!
//! # Safety
//!
//! The environment is one table without a lock that C code would respect.

use std::ffi::OsString;

/// Takes a variable out of the environment, so that no child inherits it.
///
/// `None` if it is not set. Call it while the process has one thread: another
/// thread that reads the environment at this moment, by way of a C library,
/// could read memory that is being changed.
#[must_use]
pub fn take(name: &str) -> Option<OsString> {
    let value = std::env::var_os(name)?;
    // SAFETY: the caller's process has one thread, as documented; this is
    // called at the very start of a program.
    #[expect(clippy::disallowed_methods, reason = "this is the one place where it may be called")]
    unsafe {
        std::env::remove_var(name);
    }
    Some(value)
}
