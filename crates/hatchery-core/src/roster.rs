//! All workers of this master, alive or not yet reaped.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{Pid, Slot};
use crate::time::Moment;
use crate::worker::{Renewal, Worker};

/// The workers by their process, and the slots that are being forked right now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Roster {
    workers: BTreeMap<Pid, Worker>,
    /// Asked for, but neither `Spawned` nor `SpawnFailed` has come back; and which listeners they will lack.
    forking: BTreeMap<Slot, BTreeSet<u16>>,
}

impl Roster {
    /// A fork was asked for, while these listeners are retired.
    pub fn forking(&mut self, slot: Slot, lacks: BTreeSet<u16>) {
        self.forking.insert(slot, lacks);
    }

    /// A fork has failed.
    pub fn not_forked(&mut self, slot: Slot) {
        self.forking.remove(&slot);
    }

    /// A fork has made `worker`.
    pub fn forked(&mut self, mut worker: Worker) {
        worker.lacks = self.forking.remove(&worker.slot).unwrap_or_default();
        self.workers.insert(worker.pid, worker);
    }

    /// There are new listeners: none of those who are here has them.
    pub fn lack(&mut self, added: &[u16]) {
        let here = self.workers.values_mut().map(|worker| &mut worker.lacks);
        here.chain(self.forking.values_mut()).for_each(|lacks| lacks.extend(added));
    }

    /// `pid` was reaped; `None` if it is no worker.
    pub fn reaped(&mut self, pid: Pid) -> Option<Worker> {
        self.workers.remove(&pid)
    }

    /// The worker `pid`.
    pub fn get_mut(&mut self, pid: Pid) -> Option<&mut Worker> {
        self.workers.get_mut(&pid)
    }

    /// All workers, in the order of their pids.
    pub fn iter(&self) -> impl Iterator<Item = &Worker> {
        self.workers.values()
    }

    /// All workers, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Worker> {
        self.workers.values_mut()
    }

    /// Whether nothing is alive and nothing is about to be.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.workers.is_empty() && self.forking.is_empty()
    }

    /// The slots in which somebody serves, or is on the way to.
    #[must_use]
    pub fn filled(&self) -> BTreeSet<Slot> {
        self.forking_and(Worker::is_current)
    }

    /// The workers of `slot` that serve or will.
    pub fn current(&self, slot: Slot) -> impl Iterator<Item = &Worker> {
        self.iter().filter(move |worker| worker.slot == slot && worker.is_current())
    }

    /// The workers among them: nobody's companions.
    pub fn serving(&self) -> impl Iterator<Item = &Worker> {
        self.iter().filter(|worker| !worker.slot.is_companion())
    }

    /// The slots of all that are left or about to be.
    pub fn slots(&self) -> impl Iterator<Item = Slot> {
        self.iter().map(|worker| worker.slot).chain(self.forking.keys().copied())
    }

    /// The workers that do not serve every listener, and which ones they lack.
    #[must_use]
    pub fn lacking(&self) -> BTreeMap<Pid, BTreeSet<u16>> {
        self.serving()
            .filter(|worker| !worker.lacks.is_empty())
            .map(|worker| (worker.pid, worker.lacks.clone()))
            .collect()
    }

    /// How many workers are ready.
    #[must_use]
    pub fn ready_count(&self) -> usize {
        self.serving().filter(|worker| worker.is_ready()).count()
    }

    /// The ready worker of each slot; where a replacement has just become ready, the replacement.
    #[must_use]
    pub fn ready_by_slot(&self) -> BTreeMap<Slot, Pid> {
        let mut ready = self.newest_ready();
        ready.retain(|slot, _| !slot.is_companion());
        ready
    }

    /// The same, companions too.
    #[must_use]
    pub fn newest_ready(&self) -> BTreeMap<Slot, Pid> {
        let mut ready: BTreeMap<Slot, &Worker> = BTreeMap::new();
        for worker in self.iter().filter(|worker| worker.is_ready()) {
            let kept = ready.entry(worker.slot).or_insert(worker);
            // Of two that are to be replaced for the same reason, one is as good as the other.
            if kept.renewal > Renewal::None && kept.renewal >= worker.renewal {
                *kept = worker;
            }
        }
        ready.into_iter().map(|(slot, worker)| (slot, worker.pid)).collect()
    }

    /// Whether a replacement is on its way in some slot: also one whose
    /// roll-out has failed elsewhere, so that nobody is due any more.
    #[must_use]
    pub fn is_replacing(&self) -> bool {
        let newcomers = self.forking_and(Worker::is_starting);
        !newcomers.is_empty() && self.iter().any(|worker| worker.is_ready() && newcomers.contains(&worker.slot))
    }

    /// The slots that are being forked, and those of the workers of this kind.
    fn forking_and(&self, kind: impl Fn(&Worker) -> bool) -> BTreeSet<Slot> {
        let slots = self.iter().filter(|worker| kind(worker)).map(|worker| worker.slot);
        slots.chain(self.forking.keys().copied()).collect()
    }

    /// The earliest deadline of a worker.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        self.iter().filter_map(Worker::deadline).min()
    }

    pub(crate) fn map(&mut self, pid: &impl Fn(Pid) -> Pid, moment: &impl Fn(Moment) -> Moment) {
        self.workers = std::mem::take(&mut self.workers)
            .into_values()
            .map(|mut worker| {
                worker.pid = pid(worker.pid);
                worker.map_moments(moment);
                (worker.pid, worker)
            })
            .collect();
    }
}
