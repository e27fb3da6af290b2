//! Numbers that look random, and are the same again for the same seed.

use std::ops::Range;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A `SplitMix64` generator: small, and good enough for think times.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

/// The seed of the environment (`STORM_SEED`), or another one each time.
pub(crate) fn seed() -> u64 {
    let told = std::env::var("STORM_SEED").ok().and_then(|seed| seed.parse().ok());
    told.unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::from(now.subsec_nanos()) ^ now.as_secs()
    })
}

impl Random {
    /// The generator of one client.
    pub(crate) fn new(seed: u64, client: u64) -> Self {
        let mut random = Self(seed ^ client.wrapping_mul(0xA076_1D64_78BD_642F));
        // Neighbours begin alike.
        random.next();
        random
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which is not zero.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).expect("below a usize")
    }

    /// True as often as not.
    pub(crate) fn coin(&mut self) -> bool {
        self.next() & 1 == 1
    }

    /// A time in a range; its beginning when the range is empty.
    pub(crate) fn within(&mut self, range: &Range<Duration>) -> Duration {
        let span = range.end.saturating_sub(range.start).as_micros();
        let span = u64::try_from(span).unwrap_or(u64::MAX).max(1);
        range.start + Duration::from_micros(self.next() % span)
    }

    /// One of several.
    pub(crate) fn one_of<'a, T>(&mut self, several: &'a [T]) -> &'a T {
        &several[self.below(several.len())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_tells_everything_and_clients_differ() {
        let numbers = |client| {
            let mut random = Random::new(7, client);
            [random.next(), random.next(), random.next()]
        };
        assert_eq!(numbers(1), numbers(1));
        assert_ne!(numbers(1), numbers(2));
    }

    #[test]
    fn times_stay_in_their_range() {
        let mut random = Random::new(7, 0);
        let range = Duration::from_millis(2)..Duration::from_millis(4);
        assert!((0..1000).all(|_| range.contains(&random.within(&range))));
        assert_eq!(random.within(&(range.start..range.start)), range.start);
    }
}
