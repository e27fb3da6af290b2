//! The application's start: when it is ready, and what its master hears of it.

use std::convert::Infallible;
use std::future::poll_fn;
use std::task::{Poll, Waker};
use std::time::Duration;

use hatchery_core::wire::worker::WorkerSays;
use hatchery_core::{Service, Takes};
use hatchery_sys::{Signal, process, signals};
use tokio::time::sleep;
use tracing::warn;

use crate::ServeError;
use crate::drain::Stage;
use crate::shared::Shared;

/// How long the call that serves one listener may come after that of another, before somebody wonders.
const PATIENCE: Duration = Duration::from_secs(1);

/// How far the application's start has come.
///
/// ```text
/// Booting ──▶ Claimed ──▶ Ready
///    └── ready(), without listeners ──▶ Ready
/// ```
#[derive(Debug)]
pub(crate) enum Boot {
    /// Listeners are still to be claimed.
    Booting {
        /// Which have been, by the listener's index.
        claimed: Vec<bool>,
        /// The operator has asked for a replacement already.
        recycle: bool,
        /// Wakes the application's function.
        app: Waker,
    },
    /// All are, in a turn that is not over: what goes wrong in it is still a boot that has failed.
    Claimed {
        /// The operator has asked for a replacement already.
        recycle: bool,
    },
    /// The master knows.
    Ready,
}

impl Boot {
    /// At the start, with those listeners claimed that the application is not to serve.
    pub(crate) fn new(claimed: Vec<bool>) -> Self {
        Self::Booting { claimed, recycle: false, app: Waker::noop().clone() }
    }
}

impl Shared {
    pub(crate) fn is_booting(&self) -> bool {
        match &*self.boot.borrow() {
            Boot::Booting { .. } | Boot::Claimed { .. } => true,
            Boot::Ready => false,
        }
    }

    /// Takes these listeners for one call of `serve`. The turn that takes the last one makes the worker ready.
    ///
    /// Its connections can move if it has a name and a version of its state.
    pub(crate) fn claim(&self, indices: &[usize], carrying: Option<(&str, u32)>) -> Result<(), ServeError> {
        let twice = |index: usize| ServeError::ServedTwice { address: self.listeners[index].address.clone() };
        match &mut *self.boot.borrow_mut() {
            Boot::Booting { claimed, .. } => {
                for &index in indices {
                    if std::mem::replace(&mut claimed[index], true) {
                        return Err(twice(index));
                    }
                }
            }
            Boot::Claimed { .. } | Boot::Ready => {
                if let Some(&index) = indices.first() {
                    return Err(twice(index));
                }
            }
        }
        if let Some((name, state)) = carrying {
            let mut services = self.services.borrow_mut();
            // TLS has a state that no other process can go on with.
            for &index in indices.iter().filter(|&&index| !self.listeners[index].is_secure()) {
                let listener = self.listeners[index].address.to_string();
                services[index] = Some(Service { listener, name: name.to_owned(), state });
            }
        }
        self.note_claims();
        Ok(())
    }

    fn note_claims(&self) {
        let mut boot = self.boot.borrow_mut();
        let Boot::Booting { claimed, recycle, app } = &*boot else { return };
        let (recycle, app) = (*recycle, app.clone());
        if claimed.iter().all(|claimed| *claimed) {
            *boot = Boot::Claimed { recycle };
        }
        drop(boot);
        // A task of the application's own may have claimed it.
        app.wake();
    }

    /// Tells the master which listeners nobody serves, once others have been served for a
    /// while. To be polled in every turn of the start; never ready.
    pub(crate) async fn misses(&self) -> Infallible {
        let patience = PATIENCE.min(self.boot_timeout / 2);
        let mut told = Vec::new();
        self.has_other_gaps(&told).await;
        sleep(patience).await;
        loop {
            told = self.has_other_gaps(&told).await;
            let list: Vec<String> = told.iter().map(|&index| self.listeners[index].in_words()).collect();
            let text = format!("nobody serves {}: each listener needs a call that serves it", list.join(", "));
            self.say(&WorkerSays::Waits { text });
        }
    }

    /// The listeners that are not claimed, where some are, when these are not the known ones.
    async fn has_other_gaps(&self, known: &[usize]) -> Vec<usize> {
        poll_fn(|_polled_in_every_turn| {
            let gaps = self.gaps();
            if gaps.is_empty() || gaps == known { Poll::Pending } else { Poll::Ready(gaps) }
        })
        .await
    }

    fn gaps(&self) -> Vec<usize> {
        match &*self.boot.borrow() {
            Boot::Booting { claimed, .. } => {
                let asked = || (0..claimed.len()).filter(|&index| self.listeners[index].is_asked);
                if asked().any(|index| claimed[index]) {
                    asked().filter(|&index| !claimed[index]).collect()
                } else {
                    Vec::new()
                }
            }
            Boot::Claimed { .. } | Boot::Ready => Vec::new(),
        }
    }

    /// The application's function has been polled, and waits.
    pub(crate) fn waits(&self, app: &Waker) {
        match &mut *self.boot.borrow_mut() {
            Boot::Booting { app: known, .. } => return known.clone_from(app),
            Boot::Claimed { .. } => {}
            Boot::Ready => return,
        }
        self.ready();
    }

    /// Tells the master that the application has booted, unless a listener would be without its application.
    pub(crate) fn ready(&self) {
        let recycle = match &*self.boot.borrow() {
            Boot::Booting { claimed, .. } if claimed.contains(&false) => return,
            Boot::Booting { recycle, .. } | Boot::Claimed { recycle } => *recycle,
            Boot::Ready => return,
        };
        // One that is sent away while it boots never becomes ready.
        if self.stage() != Stage::Serving {
            return;
        }
        self.boot.replace(Boot::Ready);
        // From now on there may be connections: a master's death is a reason to
        // drain, no longer one to be killed, unless the loop is blocked then.
        signals::alarm_if_orphaned(self.master, self.drain_timeout);
        if let Err(error) = process::die_with_parent(Signal::SIGTERM) {
            warn!("cannot ask for a signal when the master dies: {error}");
        }
        self.entitle("ready");
        let ledger: Vec<_> = self.records.file().into_iter().collect();
        self.say_with(&WorkerSays::Ready { takes: self.takes() }, &ledger);
        if recycle {
            self.say(&WorkerSays::Recycle);
        }
    }

    /// What this worker can go on with.
    fn takes(&self) -> Takes {
        let services: Vec<Service> = self.services.borrow().iter().flatten().cloned().collect();
        if services.is_empty() { Takes::nothing() } else { Takes::these(services) }
    }
}
