//! Signals that reach a master twice: by themselves, and by its anchor.
//!
//! Who signals a whole process group, or every process of a service, reaches the
//! anchor and the master, and the anchor passes on what it gets. A stop that is
//! counted twice is a stop at once, which costs clients their answers.

use std::time::{Duration, Instant};

use hatchery_sys::Signal;
use hatchery_sys::signals::{Caught, Sender};

/// How much later the second copy may come. Whoever means a second one within
/// that time sends it by the same way as the first.
const WINDOW: Duration = Duration::from_secs(2);

/// What has come by one way and not yet by the other.
#[derive(Debug, Default)]
pub(crate) struct Echo(Vec<(Signal, Sender, Instant)>);

impl Echo {
    /// How many of the signals that were caught are no copies.
    pub(crate) fn originals(&mut self, caught: &Caught, now: Instant) -> u32 {
        self.0.retain(|(_, _, came)| now.duration_since(*came) < WINDOW);
        let other = match caught.sender {
            Sender::Process => Sender::Relay,
            Sender::Relay => Sender::Process,
            // Never passed on.
            Sender::Kernel => return caught.times,
        };
        let mut originals = 0;
        for _ in 0..caught.times {
            let copy = self.0.iter().position(|(signal, sender, _)| (*signal, *sender) == (caught.signal, other));
            if let Some(index) = copy {
                self.0.remove(index);
            } else {
                self.0.push((caught.signal, caught.sender, now));
                originals += 1;
            }
        }
        originals
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_by_both_ways_counts_once() {
        let begin = Instant::now();
        let mut echo = Echo::default();
        let mut heard = |signal, times, sender, millis| {
            echo.originals(&Caught { signal, times, sender }, begin + Duration::from_millis(millis))
        };
        // To the group: in either order.
        assert_eq!(heard(Signal::SIGTERM, 1, Sender::Process, 0), 1);
        assert_eq!(heard(Signal::SIGTERM, 1, Sender::Relay, 5), 0);
        assert_eq!(heard(Signal::SIGHUP, 1, Sender::Relay, 10), 1);
        assert_eq!(heard(Signal::SIGHUP, 1, Sender::Process, 15), 0);
        // Twice to the group.
        assert_eq!(heard(Signal::SIGINT, 2, Sender::Process, 20), 2);
        assert_eq!(heard(Signal::SIGINT, 3, Sender::Relay, 25), 1);
        // By one way alone, each is meant.
        assert_eq!(heard(Signal::SIGTTIN, 3, Sender::Relay, 30), 3);
        assert_eq!(heard(Signal::SIGUSR2, 1, Sender::Process, 30), 1);
        assert_eq!(heard(Signal::SIGUSR2, 1, Sender::Process, 40), 1);
        // Much later it is another one.
        assert_eq!(heard(Signal::SIGUSR1, 1, Sender::Relay, 50), 1);
        assert_eq!(heard(Signal::SIGUSR1, 1, Sender::Process, 5000), 1);
        // A terminal's is never passed on.
        assert_eq!(heard(Signal::SIGQUIT, 2, Sender::Kernel, 5000), 2);
        assert_eq!(heard(Signal::SIGQUIT, 1, Sender::Relay, 5000), 1);
    }
}
