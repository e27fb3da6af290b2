//! The clock that all processes of the machine share.

use std::mem::MaybeUninit;

/// Nanoseconds of the monotonic clock, as every process of this machine reads it; never 0.
///
/// Without a system call where the kernel has a page for it, as on all that are in use.
///
/// ```
/// let before = hatchery_sys::time::monotonic();
/// assert!(hatchery_sys::time::monotonic() >= before && before > 0);
/// ```
#[must_use]
#[inline]
pub fn monotonic() -> u64 {
    let mut now = MaybeUninit::<libc::timespec>::zeroed();
    // SAFETY: the kernel writes a timespec there, or nothing, and then it stays zero.
    let now = unsafe {
        libc::clock_gettime(libc::CLOCK_MONOTONIC, now.as_mut_ptr());
        now.assume_init()
    };
    let (seconds, nanos) = (u64::try_from(now.tv_sec).unwrap_or(0), u64::try_from(now.tv_nsec).unwrap_or(0));
    (seconds * 1_000_000_000 + nanos).max(1)
}
