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

/// Limits how much memory this process may have beyond what it has now, in bytes.
///
/// On Linux that is `RLIMIT_DATA`, which counts what is private and can be
/// written to: heap, stacks of threads, private mappings. Not `RLIMIT_AS`, which
/// also counts address space that is only reserved, files that are only read and
/// libraries. Neither counts memory that is shared with a parent until it is
/// written to, nor shared memory. Elsewhere it is `RLIMIT_AS`, from zero.
///
/// # Errors
/// When what it has now cannot be told (no `/proc`), or the limit is above the
/// hard one.
pub fn limit_memory(more: u64) -> io::Result<()> {
    let limit = libc::rlim_t::try_from(in_use()?.saturating_add(more)).unwrap_or(libc::rlim_t::MAX);
    let (_, hard) = resource::getrlimit(MEMORY)?;
    let limit = limit.min(hard);
    Ok(resource::setrlimit(MEMORY, limit, limit)?)
}

#[cfg(target_os = "linux")]
const MEMORY: Resource = Resource::RLIMIT_DATA;
#[cfg(not(target_os = "linux"))]
const MEMORY: Resource = Resource::RLIMIT_AS;

/// What counts towards the limit already.
#[cfg(target_os = "linux")]
fn in_use() -> io::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmData:")?.trim().strip_suffix(" kB"));
    let kilobytes: Option<u64> = line.and_then(|number| number.parse().ok());
    let unknown = || io::Error::new(io::ErrorKind::InvalidData, "/proc/self/status does not say VmData");
    Ok(kilobytes.ok_or_else(unknown)?.saturating_mul(1024))
}

#[cfg(not(target_os = "linux"))]
fn in_use() -> io::Result<u64> {
    Ok(0)
}
