//! Who accepts from which queue, and who takes in connections that move.
//!
//! One rule: **every queue has a ready worker whenever there is one.** A crash,
//! a scale-down, a roll-out, a worker that is blocked and an upgrade are all the
//! same move, another assignment; the queues themselves belong to the master and
//! stay. The relay is one more queue, which every worker may have.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{Pid, QueueId, Slot};
use crate::listeners::Revision;

/// How many accept queues each listener has, and who was told to accept from which.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Queues {
    listeners: Vec<u16>,
    told: BTreeMap<Pid, Intake>,
    /// Listeners that a successor does not take.
    orphans: BTreeSet<u16>,
    /// Listeners that no setting asks for any more.
    retired: BTreeSet<u16>,
    /// Listeners that are closed as soon as nothing is queued there.
    closing: BTreeSet<u16>,
}

/// What one worker takes in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Intake {
    /// The queues that it accepts from.
    pub queues: Vec<QueueId>,
    /// Whether it takes in connections that move within this generation.
    pub relay: bool,
}

/// The workers among which queues are divided.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hands {
    /// Those that are ready, by slot.
    pub ready: BTreeMap<Slot, Pid>,
    /// Those of them that do not answer: a neighbour accepts for them as well.
    pub blocked: BTreeSet<Pid>,
    /// Those of them that have too many connections to take in more over the relay.
    pub crowded: BTreeSet<Pid>,
    /// Those of them that do not serve every listener, and which ones they lack.
    pub lacking: BTreeMap<Pid, BTreeSet<u16>>,
}

impl Queues {
    /// Queues of listeners with so many of them each.
    #[must_use]
    pub fn new(listeners: Vec<u16>) -> Self {
        Self { listeners, ..Self::default() }
    }

    /// All queues.
    pub fn all(&self) -> impl Iterator<Item = QueueId> {
        let listeners = self.listeners.iter().zip(0..);
        listeners.flat_map(|(count, listener)| (0..*count).map(move |index| QueueId { listener, index }))
    }

    /// Whether some listener has a queue for each of several workers.
    #[must_use]
    pub fn are_divided(&self) -> bool {
        self.listeners.iter().any(|count| *count > 1)
    }

    /// How many queues each listener has.
    #[must_use]
    pub fn counts(&self) -> &[u16] {
        &self.listeners
    }

    /// Listeners have more queues from now on; fewer than before is never heard of.
    pub fn grow(&mut self, counts: &[u16]) {
        for (count, new) in self.listeners.iter_mut().zip(counts) {
            *count = (*count).max(*new);
        }
    }

    /// Listeners that come and go: see [`Revision`].
    pub fn revise(&mut self, revision: Revision) {
        self.listeners = revision.counts;
        self.retired = revision.retired;
    }

    /// Nothing is to be closed, for now.
    pub fn keep_open(&mut self) {
        self.closing.clear();
    }

    /// The listeners that are not closed.
    pub fn open(&self) -> impl Iterator<Item = u16> {
        let listeners = self.listeners.iter().zip(0..);
        listeners.filter(|(count, _)| **count > 0).map(|(_, listener)| listener)
    }

    /// The listeners that no setting asks for, and that are not closed yet.
    #[must_use]
    pub fn retired(&self) -> BTreeSet<u16> {
        self.retired.clone()
    }

    /// Listeners that are to be closed; returns those that were not yet.
    pub fn begin_closing(&mut self, listeners: Vec<u16>) -> Vec<u16> {
        listeners.into_iter().filter(|listener| self.closing.insert(*listener)).collect()
    }

    /// Listeners that are closed: they have no queue any more.
    pub fn close(&mut self, listeners: &[u16]) {
        for listener in listeners {
            self.retired.remove(listener);
            self.closing.remove(listener);
            if let Some(count) = self.listeners.get_mut(usize::from(*listener)) {
                *count = 0;
            }
        }
    }

    /// What `pid` was told last.
    #[must_use]
    pub fn told(&self, pid: Pid) -> Option<&Intake> {
        self.told.get(&pid)
    }

    /// `pid` accepts no more: it is gone, or drains.
    pub fn forget(&mut self, pid: Pid) {
        self.told.remove(&pid);
    }

    /// Divides everything among the ready workers, and returns who has to be told what is new for it.
    pub fn assign(&mut self, hands: &Hands) -> Vec<(Pid, Intake)> {
        let mut news = Vec::new();
        for (pid, intake) in self.division(hands) {
            if self.told(pid) != Some(&intake) {
                self.told.insert(pid, intake.clone());
                news.push((pid, intake));
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

    /// Tells everybody to accept from nothing but what no successor takes. The
    /// relay stays theirs: no other generation reads it.
    pub fn withdraw(&mut self) -> Vec<(Pid, Intake)> {
        let mut news = Vec::new();
        for (pid, intake) in &mut self.told {
            let kept: Vec<QueueId> =
                intake.queues.iter().copied().filter(|queue| self.orphans.contains(&queue.listener)).collect();
            if kept != intake.queues {
                intake.queues = kept;
                news.push((*pid, intake.clone()));
            }
        }
        news
    }

    /// A listener's only queue goes to every worker. Of several, each goes to
    /// the worker in the slot of its number, or else to the next ready one; a
    /// worker whose slot has no queue of its own shares one.
    fn division(&self, hands: &Hands) -> BTreeMap<Pid, Intake> {
        let mut wanted: BTreeMap<Pid, Intake> = hands.ready.values().map(|pid| (*pid, Intake::default())).collect();
        let mut give = |pid: Pid, queue: QueueId| {
            let queues = &mut wanted.entry(pid).or_default().queues;
            if !queues.contains(&queue) {
                queues.push(queue);
            }
        };
        for queue in self.all() {
            let count = self.listeners[usize::from(queue.listener)];
            let hands = &*hands.of(queue.listener);
            if count == 1 {
                hands.ready.values().for_each(|pid| give(*pid, queue));
                continue;
            }
            for (_, pid) in hands.ready.range(Slot(count)..).filter(|(slot, _)| slot.0 % count == queue.index) {
                give(*pid, queue);
            }
            // Clients that the kernel has put into the queue of one that is blocked wait for nobody.
            if let Some(pid) = hands.owner(queue.index) {
                give(pid, queue);
                if hands.blocked.contains(&pid)
                    && let Some(neighbour) = hands.neighbour(queue.index)
                {
                    give(neighbour, queue);
                }
            }
        }
        let all_crowded = hands.ready.values().all(|pid| hands.crowded.contains(pid));
        for (pid, intake) in &mut wanted {
            intake.relay = all_crowded || !hands.crowded.contains(pid);
            intake.queues.sort_unstable();
        }
        wanted
    }

    pub(crate) fn map_pids(&mut self, map: &impl Fn(Pid) -> Pid) {
        self.told = std::mem::take(&mut self.told).into_iter().map(|(pid, intake)| (map(pid), intake)).collect();
    }
}

impl Hands {
    /// These workers, none of them blocked or crowded.
    #[must_use]
    pub fn ready(ready: BTreeMap<Slot, Pid>) -> Self {
        Self { ready, ..Self::default() }
    }

    /// Those of them that serve a listener.
    fn of(&self, listener: u16) -> Cow<'_, Self> {
        let lacks = |pid: &Pid| self.lacking.get(pid).is_some_and(|lacking| lacking.contains(&listener));
        if !self.ready.values().any(lacks) {
            return Cow::Borrowed(self);
        }
        let ready = self.ready.iter().filter(|(_, pid)| !lacks(pid)).map(|(slot, pid)| (*slot, *pid)).collect();
        Cow::Owned(Self { ready, ..self.clone() })
    }

    /// The worker in the queue's own slot, or else in the next slot that has a ready one.
    fn owner(&self, index: u16) -> Option<Pid> {
        self.from(index).next()
    }

    /// The next one that answers.
    fn neighbour(&self, index: u16) -> Option<Pid> {
        self.from(index).find(|pid| !self.blocked.contains(pid))
    }

    /// Everybody, the worker in this slot first.
    fn from(&self, index: u16) -> impl Iterator<Item = Pid> {
        self.ready.range(Slot(index)..).chain(self.ready.range(..Slot(index))).map(|(_, pid)| *pid)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pid(slot: u16) -> Pid {
        Pid(i32::from(slot) + 100)
    }

    fn ready(slots: &[u16]) -> Hands {
        Hands::ready(slots.iter().map(|slot| (Slot(*slot), pid(*slot))).collect())
    }

    fn queue(listener: u16, index: u16) -> QueueId {
        QueueId { listener, index }
    }

    fn given(queues: &Queues, slot: u16) -> Vec<QueueId> {
        queues.told(pid(slot)).map(|intake| intake.queues.clone()).unwrap_or_default()
    }

    #[test]
    fn a_shared_queue_goes_to_everybody() {
        let mut queues = Queues::new(vec![1]);
        assert_eq!(queues.assign(&ready(&[0, 1, 2])).len(), 3);
        assert_eq!(queues.assign(&ready(&[0, 1, 2])), [], "nothing is new");
        assert_eq!(given(&queues, 2), [queue(0, 0)]);
    }

    #[test]
    fn each_slot_has_its_own_of_several_and_a_neighbour_takes_over() {
        let mut queues = Queues::new(vec![3]);
        queues.assign(&ready(&[0, 1, 2]));
        assert_eq!([0, 1, 2].map(|slot| given(&queues, slot)), [[queue(0, 0)], [queue(0, 1)], [queue(0, 2)]]);
        queues.forget(pid(1));
        let news = queues.assign(&ready(&[0, 2]));
        assert_eq!(news, [(pid(2), Intake { queues: vec![queue(0, 1), queue(0, 2)], relay: true })]);
        queues.forget(pid(2));
        queues.assign(&ready(&[0]));
        assert_eq!(given(&queues, 0), [queue(0, 0), queue(0, 1), queue(0, 2)]);
    }

    #[test]
    fn more_workers_than_queues_share_until_there_are_more_queues() {
        let mut queues = Queues::new(vec![1, 2]);
        queues.assign(&ready(&[0, 1, 2, 3]));
        assert_eq!(given(&queues, 2), [queue(0, 0), queue(1, 0)]);
        assert_eq!(given(&queues, 3), [queue(0, 0), queue(1, 1)]);
        queues.grow(&[1, 4]);
        queues.assign(&ready(&[0, 1, 2, 3]));
        assert_eq!(given(&queues, 3), [queue(0, 0), queue(1, 3)]);
    }

    #[test]
    fn a_neighbour_accepts_for_one_that_is_blocked_until_it_answers() {
        let mut queues = Queues::new(vec![3]);
        queues.assign(&ready(&[0, 1, 2]));
        let blocked = Hands { blocked: BTreeSet::from([pid(2)]), ..ready(&[0, 1, 2]) };
        queues.assign(&blocked);
        assert_eq!(given(&queues, 2), [queue(0, 2)], "it keeps its own");
        assert_eq!(given(&queues, 0), [queue(0, 0), queue(0, 2)]);
        let all = Hands { blocked: BTreeSet::from([pid(0), pid(1), pid(2)]), ..ready(&[0, 1, 2]) };
        queues.assign(&all);
        assert_eq!([0, 1, 2].map(|slot| given(&queues, slot).len()), [1, 1, 1], "there is no neighbour");
        queues.assign(&ready(&[0, 1, 2]));
        assert_eq!(given(&queues, 0), [queue(0, 0)]);
    }

    #[test]
    fn who_has_too_many_takes_in_none_unless_everybody_has() {
        let mut queues = Queues::new(vec![1]);
        let relay = |queues: &Queues, slot| queues.told(pid(slot)).is_some_and(|intake| intake.relay);
        queues.assign(&Hands { crowded: BTreeSet::from([pid(0)]), ..ready(&[0, 1]) });
        assert!(!relay(&queues, 0) && relay(&queues, 1));
        queues.assign(&Hands { crowded: BTreeSet::from([pid(0)]), ..ready(&[0]) });
        assert!(relay(&queues, 0));
    }

    #[test]
    fn withdrawn_workers_accept_nothing() {
        let mut queues = Queues::new(vec![1]);
        queues.assign(&ready(&[0, 1]));
        let nothing = Intake { queues: vec![], relay: true };
        assert_eq!(queues.withdraw(), [(pid(0), nothing.clone()), (pid(1), nothing)]);
        assert_eq!(queues.withdraw(), []);
    }

    #[test]
    fn what_no_successor_takes_is_accepted_from_on() {
        let mut queues = Queues::new(vec![1, 2, 1]);
        queues.assign(&ready(&[0, 1]));
        queues.orphan(&[1, 2, 9]);
        let kept = |own| Intake { queues: vec![own, queue(2, 0)], relay: true };
        assert_eq!(queues.withdraw(), [(pid(0), kept(queue(1, 0))), (pid(1), kept(queue(1, 1)))]);
        assert_eq!(queues.withdraw(), [], "said once");
        assert_eq!(queues.take_orphans(), [1, 2]);
        assert_eq!(queues.take_orphans(), [0; 0]);
    }

    proptest! {
        #[test]
        fn every_queue_has_a_worker_that_answers_and_every_worker_a_queue(
            listeners in prop::collection::vec(1u16..6, 1..4),
            slots in prop::collection::btree_set(0u16..12, 1..8),
            blocked in prop::collection::btree_set(0u16..12, 0..8),
            crowded in prop::collection::btree_set(0u16..12, 0..8),
        ) {
            let slots: Vec<u16> = slots.into_iter().collect();
            let mut queues = Queues::new(listeners.clone());
            let pids = |slots: &BTreeSet<u16>| slots.iter().map(|slot| pid(*slot)).collect();
            queues.assign(&Hands { blocked: pids(&blocked), crowded: pids(&crowded), ..ready(&slots) });
            let some_answer = slots.iter().any(|slot| !blocked.contains(slot));
            for queue in queues.all() {
                let mut takers = slots.iter().filter(|slot| given(&queues, **slot).contains(&queue));
                prop_assert!(takers.any(|slot| !some_answer || !blocked.contains(slot)));
            }
            if listeners.contains(&1) {
                prop_assert!(slots.iter().all(|slot| !given(&queues, *slot).is_empty()));
            }
            prop_assert!(slots.iter().any(|slot| queues.told(pid(*slot)).is_some_and(|intake| intake.relay)));
        }
    }
}
