//! A world that can be compared: real masters, their workers, and what is on its way between them.
//!
//! Equal worlds behave alike: [`World::canonical`] makes times relative and
//! names processes by their rank, as [`Master::canonical`] does inside. So a
//! world that was seen before is not explored again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use hatchery_core::wire::worker::Whose;
use hatchery_core::{
    Command, CompanionKind, Ending, Event, Generation, Lineage, ListenMode, Master, Moment, Pid, QueueId, Readiness,
    Revision, Seed, Service, Slot, Takes,
};

use crate::scope::{Budget, Scope};

/// A worker process, as the system sees it, from its fork until it is reaped.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Process {
    pub(crate) slot: Slot,
    /// What it accepts from.
    pub(crate) accepts: Vec<QueueId>,
    /// The queues that it has copies of.
    pub(crate) copies: Vec<QueueId>,
    /// Whether it takes in connections that move within its generation.
    pub(crate) reads_relay: bool,
    pub(crate) said: Said,
    pub(crate) finish: Finish,
    /// The order to drain that it had last.
    pub(crate) drain: Option<Drain>,
    pub(crate) turning: Loop,
    pub(crate) signal: Option<i32>,
    pub(crate) crowded: bool,
    pub(crate) large: bool,
}

/// How far its application has come, by its own words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Said {
    Nothing,
    Ready,
    Failed,
}

/// The final stop, as a worker sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Finish {
    NotTold,
    Told,
    /// It has said that its queues are empty.
    Emptied,
}

/// What a worker was told about its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Drain {
    pub(crate) heir: Option<Whose>,
    pub(crate) last: bool,
}

/// What its loop does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Loop {
    Turns,
    /// It stands in one turn, and carries out no orders.
    Stands,
    /// The process is stopped, by SIGSTOP or a debugger.
    Stopped,
}

impl Process {
    pub(crate) fn new(slot: Slot, copies: Vec<QueueId>) -> Self {
        Self {
            slot,
            accepts: Vec::new(),
            copies,
            reads_relay: false,
            said: Said::Nothing,
            finish: Finish::NotTold,
            drain: None,
            turning: Loop::Turns,
            signal: None,
            crowded: false,
            large: false,
        }
    }

    /// Whether it has a reason to end by itself, or has been killed.
    pub(crate) fn may_end(&self) -> bool {
        let goes = self.finish != Finish::NotTold || self.drain.is_some() || self.said == Said::Failed;
        self.signal.is_some() || (goes && self.turning == Loop::Turns)
    }
}

/// A master process.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Node {
    pub(crate) generation: Generation,
    /// Its state, or how it ended: it stays until its parent has reaped it.
    pub(crate) state: Result<Master, Ending>,
    pub(crate) begun: bool,
    /// Its workers that it has not reaped.
    pub(crate) processes: BTreeMap<Pid, Process>,
    /// It is dead, and processes of its generation are left: they hold copies of its link.
    pub(crate) orphans: bool,
    /// How many queues each of its listeners has.
    pub(crate) queues: Vec<u16>,
    /// Its listeners that no setting asks for any more.
    pub(crate) retired: BTreeSet<u16>,
    /// Those that it closes.
    pub(crate) closing: BTreeSet<u16>,
    /// Nobody new is let in, and it waits for those who are half way in.
    pub(crate) bars: bool,
    pub(crate) relay_is_shut: bool,
    pub(crate) successor: Option<Child>,
    pub(crate) predecessor: Option<usize>,
    pub(crate) holds_pid_file: bool,
    /// A worker of its has stayed up for long enough.
    pub(crate) proven: bool,
    /// What it has promised to do later.
    pub(crate) owes: Vec<Command>,
    /// SIGTERM from its predecessor.
    pub(crate) terminated: bool,
    pub(crate) from_predecessor: VecDeque<Event>,
    pub(crate) from_successor: VecDeque<Event>,
}

/// A successor, as its parent sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Child {
    pub(crate) node: usize,
    pub(crate) pid: Pid,
    pub(crate) is_reaped: bool,
    pub(crate) link: bool,
}

impl Node {
    fn new(seed: Seed, predecessor: Option<usize>) -> Self {
        Self {
            generation: seed.generation,
            queues: seed.queues.clone(),
            retired: BTreeSet::new(),
            closing: BTreeSet::new(),
            bars: false,
            state: Ok(Master::new(seed)),
            begun: false,
            processes: BTreeMap::new(),
            orphans: false,
            relay_is_shut: false,
            successor: None,
            predecessor,
            holds_pid_file: false,
            proven: false,
            owes: Vec::new(),
            terminated: false,
            from_predecessor: VecDeque::new(),
            from_successor: VecDeque::new(),
        }
    }

    /// Its successor, as long as that was not reaped.
    pub(crate) fn child(&self) -> Option<&Child> {
        self.successor.as_ref().filter(|child| !child.is_reaped)
    }
}

/// Everything.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct World {
    pub(crate) now: Moment,
    pub(crate) nodes: Vec<Node>,
    pub(crate) budget: Budget,
    /// How many companions each generation has, and which of them are job servers.
    pub(crate) companions: usize,
    pub(crate) jobs: Vec<usize>,
    /// The queues that the first master has begun with, of each listener.
    pub(crate) queues: Vec<u16>,
    /// Somebody has shut the accept queues, for all.
    pub(crate) shut: bool,
    /// An operator has stopped the generation that serves.
    pub(crate) stopped: bool,
    /// Nobody has to serve any more: it was stopped, or the only server was killed.
    pub(crate) excused: bool,
    /// The first generation was ready once.
    pub(crate) opened: bool,
    /// No process has crashed, failed or been killed, and nobody was sent away:
    /// so there is no excuse for a queue from which nobody accepts.
    pub(crate) clean: bool,
    next_pid: i32,
}

impl World {
    pub(crate) fn new(scope: &Scope) -> Self {
        let seed = scope.seed(Generation::FIRST, Lineage::First, None, scope.queues.to_vec());
        Self {
            now: Moment(0),
            nodes: vec![Node::new(seed, None)],
            budget: scope.budget,
            companions: scope.companions.len(),
            jobs: (0..scope.companions.len()).filter(|i| scope.companions[*i] == CompanionKind::Jobs).collect(),
            queues: scope.queues.to_vec(),
            shut: false,
            stopped: false,
            excused: false,
            opened: false,
            clean: true,
            next_pid: 100,
        }
    }

    /// The masters that live.
    pub(crate) fn alive(&self) -> impl Iterator<Item = (usize, &Master)> {
        self.nodes.iter().enumerate().filter_map(|(index, node)| Some((index, node.state.as_ref().ok()?)))
    }

    pub(crate) fn master(&self, node: usize) -> Option<&Master> {
        self.nodes.get(node)?.state.as_ref().ok()
    }

    /// Starts a successor of `node`.
    pub(crate) fn start(&mut self, scope: &Scope, node: usize, generation: Generation, workers: u16) -> Pid {
        let pid = self.new_pid(node);
        let seed = scope.seed(
            generation,
            Lineage::Awaiting(Readiness::Booting),
            Some(workers),
            self.nodes[node].queues.clone(),
        );
        self.nodes.push(Node::new(seed, Some(node)));
        let child = Child { node: self.nodes.len() - 1, pid, is_reaped: false, link: true };
        self.nodes[node].successor = Some(child);
        self.nodes[node].from_successor.clear();
        pid
    }

    /// A pid that `node` has no other child with, and that is younger than all of them.
    pub(crate) fn new_pid(&mut self, node: usize) -> Pid {
        let node = &self.nodes[node];
        let known = node.processes.keys().copied().chain(node.successor.map(|child| child.pid));
        let youngest = known.map(|pid| pid.0).filter(|pid| *pid < i32::MAX).max().unwrap_or(0);
        self.next_pid = self.next_pid.max(youngest) + 1;
        Pid(self.next_pid)
    }

    /// Forgets dead masters of whom nobody will hear any more.
    pub(crate) fn bury(&mut self) {
        let is_forgotten = |world: &Self, index: usize| {
            let node = &world.nodes[index];
            let parent = node.predecessor.and_then(|parent| Some((parent, world.master(parent)?)));
            let awaited = parent.is_some_and(|(parent, _)| {
                let child = world.nodes[parent].successor.as_ref();
                child.is_some_and(|child| child.node == index && (!child.is_reaped || (child.link && node.orphans)))
            });
            node.state.is_err() && !awaited
        };
        while let Some(gone) = (0..self.nodes.len()).find(|index| is_forgotten(self, *index)) {
            self.nodes.remove(gone);
            let moved = |index: usize| if index > gone { index - 1 } else { index };
            for node in &mut self.nodes {
                node.predecessor = node.predecessor.filter(|index| *index != gone).map(moved);
                node.successor = node.successor.filter(|child| child.node != gone);
                if let Some(child) = &mut node.successor {
                    child.node = moved(child.node);
                }
            }
        }
    }

    /// The same world at time 0, with processes by their rank.
    pub(crate) fn canonical(&self) -> Self {
        let mut world = self.clone();
        world.now = Moment(0);
        world.next_pid = 0;
        for node in &mut world.nodes {
            let Ok(master) = &mut node.state else {
                node.queues.clear();
                node.owes.clear();
                continue;
            };
            let mut pids: Vec<Pid> = master.workers().map(|worker| worker.pid).collect();
            pids.extend(master.upgrade().successor());
            pids.sort_unstable();
            let rank = |pid: Pid| pids.iter().position(|known| *known == pid).and_then(|n| i32::try_from(n).ok());
            node.processes = std::mem::take(&mut node.processes)
                .into_iter()
                .map(|(pid, process)| (rank(pid).map_or(pid, Pid), process))
                .collect();
            if let Some(child) = &mut node.successor {
                // Nobody speaks of one that its predecessor has let go.
                child.pid = rank(child.pid).map_or(Pid(i32::MAX), Pid);
            }
            *master = master.canonical(self.now);
        }
        world
    }
}

/// What every worker of these worlds takes: every message, no service in particular.
pub(crate) fn takes() -> Takes {
    Takes::these(std::iter::empty::<Service>())
}

pub(crate) fn mode_of(queues: &[u16]) -> ListenMode {
    if queues.iter().any(|count| *count > 1) { ListenMode::Reuseport } else { ListenMode::Shared }
}

impl Node {
    /// Takes the last of its listeners out of its settings, and another one in, as often as that changes anything.
    pub(crate) fn revise(&mut self) -> Option<Revision> {
        self.closing.clear();
        let last = u16::try_from(self.queues.len() - 1).ok().filter(|last| *last < MOST_LISTENERS - 1)?;
        self.retired.insert(last);
        self.queues.push(1);
        Some(Revision { counts: self.queues.clone(), retired: self.retired.clone() })
    }

    /// The queues that a process has which it forks now.
    pub(crate) fn copies(&self) -> Vec<QueueId> {
        copies(&self.queues).into_iter().filter(|queue| !self.retired.contains(&queue.listener)).collect()
    }

    /// A listener is closed, for everybody.
    pub(crate) fn close(&mut self, listener: u16) {
        self.retired.remove(&listener);
        self.closing.remove(&listener);
        self.queues[usize::from(listener)] = 0;
        for process in self.processes.values_mut() {
            process.copies.retain(|queue| queue.listener != listener);
            process.accepts.retain(|queue| queue.listener != listener);
        }
    }
}

/// More of them come to nothing new.
const MOST_LISTENERS: u16 = 3;

/// The queues that a process has from its fork.
pub(crate) fn copies(counts: &[u16]) -> Vec<QueueId> {
    let listeners = counts.iter().zip(0..);
    listeners.flat_map(|(count, listener)| (0..*count).map(move |index| QueueId { listener, index })).collect()
}
