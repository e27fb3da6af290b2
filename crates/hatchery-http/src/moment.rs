//! A moment in half of the space of an `Instant`: there is one for each idle connection.

use std::sync::OnceLock;
use std::time::Duration;

use tokio::time::Instant;

/// Nanoseconds since [`epoch`], or before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment(i64);

/// Some moment in the life of this process, the same whenever it is asked for.
fn epoch() -> Instant {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    *EPOCH.get_or_init(Instant::now)
}

impl From<Instant> for Moment {
    fn from(instant: Instant) -> Self {
        let nanos = |span: Duration| i64::try_from(span.as_nanos()).unwrap_or(i64::MAX);
        match instant.checked_duration_since(epoch()) {
            Some(after) => Self(nanos(after)),
            None => Self(-nanos(epoch().duration_since(instant))),
        }
    }
}

impl From<Moment> for Instant {
    fn from(Moment(nanos): Moment) -> Self {
        let span = Duration::from_nanos(nanos.unsigned_abs());
        let moment = if nanos < 0 { epoch().checked_sub(span) } else { epoch().checked_add(span) };
        // It was an `Instant` before, so that it can be one again.
        moment.unwrap_or_else(epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_before_and_after_the_first_one_come_back_as_they_were() {
        let now = Instant::now();
        for span in [0, 1, 999_999_999, 86_400_000_000_000].map(Duration::from_nanos) {
            assert_eq!(Instant::from(Moment::from(now + span)), now + span);
            if let Some(before) = now.checked_sub(span) {
                assert_eq!(Instant::from(Moment::from(before)), before);
            }
        }
    }
}
