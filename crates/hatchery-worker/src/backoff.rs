//! What a worker does when it cannot accept for want of descriptors or memory.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};
use tracing::warn;

const SHORTEST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_secs(1);

/// Failures that are closer together belong to one episode, which is logged once.
const EPISODE: Duration = Duration::from_secs(10);

/// Waits that grow from failure to failure.
///
/// A queue that cannot be accepted from stays readable, so trying again at once
/// would spin; and giving up would lose the clients that wait in it.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
    waiting: Option<Pin<Box<Sleep>>>,
    last_failure: Option<Instant>,
}

impl Backoff {
    pub(crate) fn new() -> Self {
        Self { next: SHORTEST, waiting: None, last_failure: None }
    }

    /// Ready when nothing has to be waited for.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(waiting) = &mut self.waiting {
            if waiting.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.waiting = None;
        }
        Poll::Ready(())
    }

    pub(crate) fn failed(&mut self, error: &io::Error) {
        if self.last_failure.is_none_or(|last| last.elapsed() > EPISODE) {
            warn!("cannot accept connections for now, and keep trying: {error}");
        }
        self.last_failure = Some(Instant::now());
        self.waiting = Some(Box::pin(sleep(self.next)));
        self.next = (self.next * 2).min(LONGEST);
    }

    /// A connection was closed: what was short may be there again.
    ///
    /// Not at once: what is counted as closed may have its descriptor for a moment more.
    pub(crate) fn hurry(&mut self) {
        let Some(waiting) = &mut self.waiting else { return };
        let soon = Instant::now() + SHORTEST;
        if waiting.deadline() > soon {
            waiting.as_mut().reset(soon);
            self.next = SHORTEST;
        }
    }

    pub(crate) fn succeeded(&mut self) {
        self.next = SHORTEST;
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[test]
    fn waits_double_up_to_a_second_and_start_anew_after_a_success() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let mut backoff = Backoff::new();
            let mut waits = Vec::new();
            for _ in 0..9 {
                backoff.failed(&io::ErrorKind::OutOfMemory.into());
                let deadline = backoff.waiting.as_ref().unwrap().deadline();
                waits.push(deadline.duration_since(backoff.last_failure.unwrap()).as_millis() / 10);
            }
            assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 100, 100]);
            backoff.hurry();
            poll_fn(|cx| backoff.poll(cx)).await;
            backoff.succeeded();
            backoff.failed(&io::ErrorKind::OutOfMemory.into());
            poll_fn(|cx| backoff.poll(cx)).await;
            assert!(backoff.waiting.is_none());
        });
    }
}
