//! Resource limits.

use std::io;

use nix::sys::resource::{self, Resource};

/// How many descriptors this process may have open: (soft limit, hard limit).
///
/// 1024 and 1024 if the system does not say.
#[must_use]
pub fn open_files() -> (u64, u64) {
    match resource::getrlimit(Resource::RLIMIT_NOFILE) {
        Ok((soft, hard)) => (widen(soft), widen(hard)),
        Err(_) => (1024, 1024),
    }
}

/// Raises the soft limit on open descriptors to the hard one, which needs no privilege.
///
/// Answers what the soft limit is now.
///
/// # Errors
/// When the system refuses; the old limit then stays.
pub fn raise_open_files() -> io::Result<u64> {
    let (soft, hard) = resource::getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard {
        resource::setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok(widen(soft.max(hard)))
}

#[expect(clippy::useless_conversion, reason = "rlim_t is not u64 everywhere")]
fn widen(limit: libc::rlim_t) -> u64 {
    u64::try_from(limit).unwrap_or(u64::MAX)
}
