//! Who accepts from which queue.
//!
//! One rule: **every queue has a ready worker whenever there is one.** A crash,
//! a scale-down, a roll-out and an upgrade are all the same move, another
//! assignment; the queues themselves belong to the master and stay.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{Pid, QueueId, Slot};

/// How many accept queues each listener has, and who was told to accept from which.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Queues {
    listeners: Vec<u16>,
    told: BTreeMap<Pid, Vec<QueueId>>,
    /// Listeners that a successor does not take.
    orphans: BTreeSet<u16>,
}

impl Queues {
    /// Queues of listeners with so many of them each, counted on from one listener to the next.
    #[must_use]
    pub fn new(listeners: Vec<u16>) -> Self {
        Self { listeners, told: BTreeMap::new(), orphans: BTreeSet::new() }
    }

    /// All queues.
    pub fn all(&self) -> impl Iterator<Item = QueueId> {
        (0..self.listeners.iter().sum()).map(QueueId)
    }

    /// What `pid` was told last.
    #[must_use]
    pub fn told(&self, pid: Pid) -> &[QueueId] {
        self.told.get(&pid).map_or(&[], Vec::as_slice)
    }

    /// `pid` accepts no more: it is gone, or drains.
    pub fn forget(&mut self, pid: Pid) {
        self.told.remove(&pid);
    }

    /// Makes `ready` the workers that accept, and returns who has to be told what is new for it.
    pub fn assign(&mut self, ready: &BTreeMap<Slot, Pid>) -> Vec<(Pid, Vec<QueueId>)> {
        let wanted = self.assignment(ready);
        let mut news = Vec::new();
        for (pid, queues) in wanted {
            if self.told(pid) != queues {
                self.told.insert(pid, queues.clone());
                news.push((pid, queues));
            }
        }
        news
    }

    /// A successor does not take these listeners; those that there are not are skipped.
    pub fn orphan(&mut self, listeners: &[u16]) {
        let known = listeners.iter().copied().filter(|index| usize::from(*index) < self.listeners.len());
        self.orphans = known.collect();
    }

    /// The listeners that no successor takes; from now on there are none.
    pub fn take_orphans(&mut self) -> Vec<u16> {
        std::mem::take(&mut self.orphans).into_iter().collect()
    }

    /// Tells everybody to accept from nothing but what no successor takes.
    pub fn withdraw(&mut self) -> Vec<(Pid, Vec<QueueId>)> {
        let mut news = Vec::new();
        for (pid, queues) in std::mem::take(&mut self.told) {
            let kept: Vec<QueueId> = queues.iter().copied().filter(|queue| self.is_orphan(*queue)).collect();
            if kept != queues {
                news.push((pid, kept.clone()));
            }
            if !kept.is_empty() {
                self.told.insert(pid, kept);
            }
        }
        news
    }

    fn is_orphan(&self, queue: QueueId) -> bool {
        let mut first = 0;
        let mut listeners = self.listeners.iter().zip(0..);
        listeners.any(|(count, index)| {
            let range = first..first + count;
            first += count;
            range.contains(&queue.0) && self.orphans.contains(&index)
        })
    }

    /// A listener's only queue goes to every worker. Of several, each goes to
    /// the worker in the slot of its number, or else to the next ready one; a
    /// worker whose slot has no queue of its own shares one.
    fn assignment(&self, ready: &BTreeMap<Slot, Pid>) -> BTreeMap<Pid, Vec<QueueId>> {
        let mut wanted: BTreeMap<Pid, Vec<QueueId>> = ready.values().map(|pid| (*pid, Vec::new())).collect();
        let mut give = |pid: Pid, queue: u16| wanted.entry(pid).or_default().push(QueueId(queue));
        let mut first = 0;
        for count in self.listeners.iter().copied().filter(|count| *count > 0) {
            if count == 1 {
                ready.values().for_each(|pid| give(*pid, first));
            } else {
                for index in 0..count {
                    if let Some(pid) = owner(ready, index) {
                        give(pid, first + index);
                    }
                }
                for (slot, pid) in ready.range(Slot(count)..) {
                    let index = slot.0 % count;
                    if owner(ready, index) != Some(*pid) {
                        give(*pid, first + index);
                    }
                }
            }
            first += count;
        }
        wanted
    }

    pub(crate) fn map_pids(&mut self, map: &impl Fn(Pid) -> Pid) {
        self.told = std::mem::take(&mut self.told).into_iter().map(|(pid, queues)| (map(pid), queues)).collect();
    }
}

/// The worker in the queue's own slot, or else in the next slot that has a ready one.
fn owner(ready: &BTreeMap<Slot, Pid>, index: u16) -> Option<Pid> {
    ready.range(Slot(index)..).next().or_else(|| ready.first_key_value()).map(|(_, pid)| *pid)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ready(slots: &[u16]) -> BTreeMap<Slot, Pid> {
        slots.iter().map(|slot| (Slot(*slot), Pid(i32::from(*slot) + 100))).collect()
    }

    fn given(queues: &Queues, slot: u16) -> Vec<u16> {
        queues.told(Pid(i32::from(slot) + 100)).iter().map(|queue| queue.0).collect()
    }

    #[test]
    fn a_shared_queue_goes_to_everybody() {
        let mut queues = Queues::new(vec![1]);
        assert_eq!(queues.assign(&ready(&[0, 1, 2])).len(), 3);
        assert_eq!(queues.assign(&ready(&[0, 1, 2])), [], "nothing is new");
        assert_eq!(given(&queues, 2), [0]);
    }

    #[test]
    fn each_slot_has_its_own_of_several_and_a_neighbour_takes_over() {
        let mut queues = Queues::new(vec![3]);
        queues.assign(&ready(&[0, 1, 2]));
        assert_eq!([given(&queues, 0), given(&queues, 1), given(&queues, 2)], [[0], [1], [2]]);
        queues.forget(Pid(101));
        assert_eq!(queues.assign(&ready(&[0, 2])), [(Pid(102), vec![QueueId(1), QueueId(2)])]);
        queues.forget(Pid(102));
        queues.assign(&ready(&[0]));
        assert_eq!(given(&queues, 0), [0, 1, 2]);
    }

    #[test]
    fn more_workers_than_queues_share() {
        let mut queues = Queues::new(vec![1, 2]);
        queues.assign(&ready(&[0, 1, 2, 3]));
        assert_eq!(given(&queues, 2), [0, 1]);
        assert_eq!(given(&queues, 3), [0, 2]);
    }

    #[test]
    fn withdrawn_workers_accept_nothing() {
        let mut queues = Queues::new(vec![1]);
        queues.assign(&ready(&[0, 1]));
        assert_eq!(queues.withdraw(), [(Pid(100), vec![]), (Pid(101), vec![])]);
        assert_eq!(queues.withdraw(), []);
    }

    #[test]
    fn what_no_successor_takes_is_accepted_from_on() {
        let mut queues = Queues::new(vec![1, 2, 1]);
        queues.assign(&ready(&[0, 1]));
        queues.orphan(&[1, 2, 9]);
        assert_eq!(
            queues.withdraw(),
            [(Pid(100), vec![QueueId(1), QueueId(3)]), (Pid(101), vec![QueueId(2), QueueId(3)])]
        );
        assert_eq!(queues.withdraw(), [], "said once");
        assert_eq!(queues.take_orphans(), [1, 2]);
        assert_eq!(queues.take_orphans(), [0; 0]);
    }

    proptest! {
        #[test]
        fn every_queue_has_a_ready_worker_and_every_worker_a_queue(
            listeners in prop::collection::vec(1u16..6, 1..4),
            slots in prop::collection::btree_set(0u16..12, 1..8),
        ) {
            let slots: Vec<u16> = slots.into_iter().collect();
            let mut queues = Queues::new(listeners.clone());
            queues.assign(&ready(&slots));
            for queue in queues.all() {
                prop_assert!(slots.iter().any(|slot| given(&queues, *slot).contains(&queue.0)));
            }
            if listeners.contains(&1) {
                prop_assert!(slots.iter().all(|slot| !given(&queues, *slot).is_empty()));
            }
        }
    }
}
