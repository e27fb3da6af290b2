//! When a worker has served enough requests and asks to be replaced.

use std::cell::{Cell, OnceCell};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Weak;
use std::time::SystemTime;

use hatchery_core::Slot;
use hatchery_sys::process;

use crate::Quota;
use crate::drain::Stage;
use crate::shared::Shared;

/// The number of requests at which something is to be done; a comparison for every other one.
#[derive(Debug)]
pub(crate) struct Meter {
    due: Cell<u64>,
    quota: Option<Quota>,
    slot: Slot,
    /// Who is told. It is made later than this.
    pub(crate) worker: OnceCell<Weak<Shared>>,
}

impl Meter {
    /// `before` is what others had counted when this worker was forked.
    pub(crate) fn new(quota: Option<Quota>, slot: Slot, before: u64) -> Self {
        let meter = Self { due: Cell::new(u64::MAX), quota, slot, worker: OnceCell::new() };
        meter.count_from(before);
        meter
    }

    pub(crate) fn check(&self, requests: u64) {
        if requests >= self.due.get() {
            self.ask(requests);
        }
    }

    /// Once more after as many again: the master may have had other things to do.
    #[cold]
    fn ask(&self, requests: u64) {
        self.count_from(requests);
        let worker = self.worker.get().and_then(Weak::upgrade);
        if let Some(worker) = worker.filter(|worker| worker.stage() == Stage::Serving) {
            worker.recycle();
        }
    }

    fn count_from(&self, requests: u64) {
        if let Some(Quota { requests: quota, jitter }) = self.quota {
            let extra = self.random() % jitter.saturating_add(1).max(1);
            // Zero would be asked for with every request.
            self.due.set(requests.saturating_add(quota.saturating_add(extra).max(1)));
        }
    }

    /// Not the same in workers that were forked from one master, whatever that had hashed before.
    fn random(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        (process::pid().as_raw(), self.slot, now).hash(&mut hasher);
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dues(quota: Option<Quota>) -> Vec<u64> {
        (0..100).map(|_| Meter::new(quota, Slot(0), 0).due.get()).collect()
    }

    #[test]
    fn every_worker_has_a_number_of_its_own() {
        assert_eq!(dues(None)[0], u64::MAX);
        let dues = dues(Some(Quota { requests: 100, jitter: 1000 }));
        assert!(dues.iter().all(|due| (100..=1100).contains(due)));
        assert!(dues.iter().any(|due| due != &dues[0]));
        let wide = Meter::new(Some(Quota { requests: u64::MAX, jitter: u64::MAX }), Slot(0), 0);
        assert_eq!(wide.due.get(), u64::MAX);
    }

    #[test]
    fn it_is_due_again_after_as_many_more() {
        let meter = Meter::new(Some(Quota { requests: 3, jitter: 0 }), Slot(0), 0);
        meter.check(2);
        assert_eq!(meter.due.get(), 3);
        meter.check(4);
        assert_eq!(meter.due.get(), 7);
    }
}
