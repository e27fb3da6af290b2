//! Waiting for an event under a deadline.

use std::thread;
use std::time::{Duration, Instant};

/// How long a test waits for what ought to happen at once, on a machine that
/// may be busy with the other tests.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How often the condition is looked at. Not every event that tests wait for
/// can be had as a descriptor to poll, and this is the only sleep there is.
const INTERVAL: Duration = Duration::from_millis(3);

/// Waits until `probe` has an answer, up to [`PATIENCE`].
///
/// # Panics
/// When the time is over, with `what` was waited for.
pub fn until<T>(what: &str, probe: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, probe).unwrap_or_else(|| panic!("waited {} s in vain: {what}", PATIENCE.as_secs()))
}

/// Waits until `probe` has an answer; `None` when `span` is over first.
pub fn within<T>(span: Duration, mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + span;
    loop {
        if let Some(answer) = probe() {
            return Some(answer);
        }
        if Instant::now() >= deadline {
            return None;
        }
        thread::sleep(INTERVAL);
    }
}

/// The time that a client thinks between two requests. Not for waiting.
pub fn think(span: Duration) {
    if !span.is_zero() {
        thread::sleep(span);
    }
}
