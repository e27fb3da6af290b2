//! A world of masters, their workers and the links between them.
//!
//! It performs the actions of real [`Master`]s: processes are forked and die,
//! messages travel in order but at their own speed, and a successor is another
//! master. What happens, and when, is the test's choice.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use hatchery_core::upgrade::Upgrade;
use hatchery_core::wire::upgrade::{PredecessorSays, SuccessorSays};
use hatchery_core::wire::worker::{MasterSays, Whose, WorkerSays};
use hatchery_core::{
    Action, Command, Companion, Ending, Event, Generation, Lineage, ListenMode, Master, Moment, Outcome, Pid, Policy,
    QueueId, Readiness, Sample, Seed, Service, Slot, Takes,
};

use crate::check;

/// A worker process, as the system sees it.
#[derive(Debug, Default)]
pub(crate) struct Process {
    /// What it was told to accept from.
    pub(crate) queues: Vec<QueueId>,
    /// Queues that were made after it was forked, and that it was given.
    pub(crate) knows: BTreeSet<QueueId>,
    /// Whether it was told to take in connections that move.
    pub(crate) reads_relay: bool,
    pub(crate) heir: Option<Whose>,
    /// It reads the relay until that is shut.
    pub(crate) is_last: bool,
    pub(crate) said_ready: bool,
    pub(crate) said_failed: bool,
    pub(crate) told_to_finish: bool,
    pub(crate) told_to_drain: bool,
    /// It is dead; its master has not reaped it yet.
    pub(crate) ending: Option<Ending>,
}

impl Process {
    pub(crate) fn is_alive(&self) -> bool {
        self.ending.is_none()
    }
}

/// A master process and everything that is on its way to it.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) pid: Pid,
    pub(crate) master: Master,
    pub(crate) queues: Vec<u16>,
    pub(crate) companions: Vec<Companion>,
    pub(crate) relay_is_shut: bool,
    /// The same master an hour later and with other pids: it has to behave alike.
    pub(crate) twin: Master,
    pub(crate) processes: BTreeMap<Pid, Process>,
    pub(crate) begun: bool,
    pub(crate) ending: Option<Ending>,
    pub(crate) outcome: Option<Outcome>,
    /// Its own child, if there is one, reaped or not.
    pub(crate) successor: Option<usize>,
    pub(crate) predecessor: Option<usize>,
    pub(crate) link_to_successor: bool,
    pub(crate) successor_reaped: bool,
    pub(crate) answers: VecDeque<Event>,
    pub(crate) signals: VecDeque<Command>,
    pub(crate) from_workers: VecDeque<(Pid, WorkerSays)>,
    pub(crate) from_predecessor: VecDeque<Event>,
    pub(crate) from_successor: VecDeque<Event>,
}

/// Where the next fact of a master comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source {
    Answers,
    Signals,
    Workers,
    Predecessor,
    Successor,
    Reaping,
}

/// What the system does with the next requests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Luck {
    pub(crate) forks: bool,
    pub(crate) starts: bool,
    /// `None`: the settings are refused. `Some(n)`: so many workers.
    pub(crate) settings: Option<u16>,
    pub(crate) grows: bool,
    /// Connections and turns of workers, by pid.
    pub(crate) busy: u64,
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) now: Moment,
    pub(crate) nodes: Vec<Node>,
    pub(crate) luck: Luck,
    /// Somebody has shut the accept queues, for all.
    pub(crate) shut: bool,
    /// Nobody has to serve any more: an operator has stopped it, or the only server was killed.
    pub(crate) excused: bool,
    next_pid: i32,
}

impl World {
    pub(crate) fn new(policy: Policy, queues: Vec<u16>, companions: Vec<Companion>) -> Self {
        let seed = Seed {
            policy,
            generation: Generation::FIRST,
            listen_mode: mode_of(&queues),
            queues,
            lineage: Lineage::First,
            scaled: None,
            companions,
        };
        let luck = Luck { forks: true, starts: true, settings: Some(seed.policy.workers), grows: true, busy: 0 };
        let mut world = Self { now: Moment(0), nodes: Vec::new(), luck, shut: false, excused: false, next_pid: 100 };
        world.boot(seed, None);
        world.begin(0);
        world
    }

    pub(crate) fn alive(&self) -> impl Iterator<Item = usize> {
        (0..self.nodes.len()).filter(|node| self.nodes[*node].ending.is_none())
    }

    fn boot(&mut self, seed: Seed, predecessor: Option<usize>) -> usize {
        let pid = self.new_pid();
        let (queues, companions) = (seed.queues.clone(), seed.companions.clone());
        let master = Master::new(seed);
        self.nodes.push(Node {
            pid,
            queues,
            companions,
            relay_is_shut: false,
            twin: master.clone(),
            master,
            processes: BTreeMap::new(),
            begun: false,
            ending: None,
            outcome: None,
            successor: None,
            predecessor,
            link_to_successor: false,
            successor_reaped: false,
            answers: VecDeque::new(),
            signals: VecDeque::new(),
            from_workers: VecDeque::new(),
            from_predecessor: VecDeque::new(),
            from_successor: VecDeque::new(),
        });
        self.nodes.len() - 1
    }

    fn new_pid(&mut self) -> Pid {
        self.next_pid += 1;
        Pid(self.next_pid)
    }

    pub(crate) fn begin(&mut self, node: usize) {
        if !self.nodes[node].begun && self.nodes[node].ending.is_none() {
            self.nodes[node].begun = true;
            self.step(node, &Event::Begin);
        }
    }

    /// Feeds a master its next fact from one source. Returns whether there was one.
    pub(crate) fn deliver(&mut self, node: usize, source: Source) -> bool {
        if !self.nodes[node].begun || self.nodes[node].ending.is_some() {
            return false;
        }
        let this = &mut self.nodes[node];
        let event = match source {
            Source::Answers => this.answers.pop_front(),
            Source::Signals => this.signals.pop_front().map(Event::Command),
            Source::Workers => this.from_workers.pop_front().map(|(pid, says)| Event::Worker { pid, says }),
            Source::Predecessor => this.from_predecessor.pop_front(),
            Source::Successor => this.from_successor.pop_front(),
            Source::Reaping => return self.reap(node),
        };
        let Some(event) = event else { return false };
        if matches!(event, Event::Command(Command::Stop | Command::StopAtOnce)) {
            self.excuse_stop(node);
        }
        self.step(node, &event);
        true
    }

    /// As the driver does it: forks and starts are told before any reap, and
    /// what the dead have said is read before their end is told.
    fn reap(&mut self, node: usize) -> bool {
        while self.deliver(node, Source::Answers) {}
        let this = &self.nodes[node];
        if let Some(successor) = this.successor.filter(|_| !this.successor_reaped)
            && let Some(ending) = self.nodes[successor].ending
        {
            while self.nodes[node].from_successor.front().is_some_and(|event| matches!(event, Event::Successor(_))) {
                self.deliver(node, Source::Successor);
            }
            if self.nodes[node].ending.is_some() {
                return true;
            }
            self.nodes[node].successor_reaped = true;
            let pid = self.nodes[successor].pid;
            self.step(node, &Event::Exited { pid, ending });
            return true;
        }
        let Some(pid) = this.processes.iter().find(|(_, process)| !process.is_alive()).map(|(pid, _)| *pid) else {
            return false;
        };
        while let Some(said) = self.nodes[node].from_workers.iter().position(|(speaker, _)| *speaker == pid) {
            let (pid, says) = self.nodes[node].from_workers.remove(said).expect("it was found there");
            self.step(node, &Event::Worker { pid, says });
            if self.nodes[node].ending.is_some() {
                return true;
            }
        }
        let ending = self.nodes[node].processes.remove(&pid).and_then(|process| process.ending).expect("it is dead");
        self.step(node, &Event::Exited { pid, ending });
        true
    }

    /// Lets the clock run, with a tick wherever one is due. Messages may lie
    /// around for long; that somebody is dead is heard before time goes on.
    pub(crate) fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        loop {
            while (0..self.nodes.len()).any(|node| self.hear_of_a_death(node)) {}
            let next = self
                .alive()
                .filter(|node| self.nodes[*node].begun)
                .filter_map(|node| Some((self.nodes[node].master.deadline()?, node)))
                .min();
            match next {
                Some((deadline, node)) if deadline <= end => {
                    self.now = self.now.max(deadline);
                    self.step(node, &Event::Tick);
                }
                _ => break,
            }
        }
        self.now = end;
    }

    fn hear_of_a_death(&mut self, node: usize) -> bool {
        let orphaned = self.nodes[node].from_predecessor.back() == Some(&Event::PredecessorLinkClosed);
        self.deliver(node, Source::Reaping) || (orphaned && self.deliver(node, Source::Predecessor))
    }

    fn step(&mut self, node: usize, event: &Event) {
        let before = self.nodes[node].master.clone();
        let actions = self.nodes[node].master.step(self.now, event.clone());
        check::twin(&mut self.nodes[node], self.now, event, &actions);
        check::step(self, node, &before, event, &actions);
        for action in actions {
            check::action(self, node, &action);
            self.perform(node, action);
        }
        check::state(self, node);
    }

    fn perform(&mut self, node: usize, action: Action) {
        match action {
            Action::Spawn { slot } => self.fork(node, slot),
            Action::Tell { pid, says } => {
                let process = self.nodes[node].processes.get_mut(&pid).expect("checked");
                match says {
                    MasterSays::Assign { queues, relay } => {
                        assert!(queues.iter().all(|id| process.knows.contains(id)), "{pid} has no copy of {queues:?}");
                        process.queues = queues;
                        process.reads_relay = relay;
                    }
                    MasterSays::Drain { heir, last, .. } => {
                        process.told_to_drain = true;
                        process.heir = heir.map(|heir| heir.relay);
                        process.is_last |= last;
                    }
                    MasterSays::Queue { id } => {
                        process.knows.insert(id);
                    }
                    MasterSays::Finish { .. } => process.told_to_finish = true,
                    MasterSays::Shed { .. }
                    | MasterSays::Refuge { .. }
                    | MasterSays::Ask
                    | MasterSays::Reopen
                    | MasterSays::Status => {}
                }
            }
            Action::Kill { pid } => match self.nodes[node].processes.get_mut(&pid) {
                Some(process) => {
                    process.ending.get_or_insert(Ending::Signal(9));
                }
                None => self.end(self.successor_of(node), Ending::Signal(9)),
            },
            Action::Terminate { .. } => {
                let successor = self.successor_of(node);
                if self.nodes[successor].begun {
                    self.nodes[successor].signals.push_back(Command::Stop);
                } else {
                    self.end(successor, Ending::Signal(15));
                }
            }
            Action::Reread => {
                let mut policy = self.nodes[node].master.policy().clone();
                let answer = match self.luck.settings {
                    Some(workers) => {
                        policy.workers = workers;
                        Event::Settings { policy, listeners: None }
                    }
                    None => Event::SettingsRefused { text: "unknown key".to_owned() },
                };
                self.nodes[node].answers.push_back(answer);
            }
            Action::StartSuccessor { generation, workers, .. } => self.start_successor(node, generation, workers),
            Action::TellSuccessor(says) => {
                let successor = self.successor_of(node);
                self.nodes[successor].from_predecessor.push_back(Event::Predecessor(says));
            }
            Action::TellPredecessor(says) => {
                if let Some(predecessor) = self.nodes[node].predecessor {
                    self.nodes[predecessor].from_successor.push_back(Event::Successor(says));
                }
            }
            Action::Abort { pid } => {
                // Some write down what they were doing for longer than they are given.
                let process = self.nodes[node].processes.get_mut(&pid).expect("checked");
                if pid.0 % 3 > 0 {
                    process.ending.get_or_insert(Ending::Signal(6));
                }
            }
            Action::Sample { weigh } => {
                let busy = self.luck.busy;
                let sample = |pid: &Pid| {
                    let of = |digits: u32| busy / 10u64.pow(digits) % 7 * u64::from(pid.0.unsigned_abs() % 3);
                    let resident = weigh.then(|| of(3) * 40);
                    Sample { pid: *pid, open: of(1) * 10, accepted: of(1), turn: of(2), stopped: of(4) > 6, resident }
                };
                let samples = self.nodes[node].processes.keys().map(sample).collect();
                self.nodes[node].answers.push_back(Event::Sampled(samples));
            }
            Action::AddQueues { each } => {
                let answer = if self.luck.grows {
                    let counts = &mut self.nodes[node].queues;
                    counts.iter_mut().for_each(|count| *count = (*count).max(each));
                    Event::QueuesAdded { counts: counts.clone() }
                } else {
                    Event::QueuesNotAdded { text: "no more sockets".to_owned() }
                };
                self.nodes[node].answers.push_back(answer);
            }
            Action::ShutRelay => self.nodes[node].relay_is_shut = true,
            Action::OpenRelay => self.nodes[node].relay_is_shut = false,
            Action::CloseSuccessorLink => self.nodes[node].link_to_successor = false,
            Action::BarQueues => self.nodes[node].answers.push_back(Event::QueuesQuiet),
            Action::ShutQueues => {
                self.shut = true;
                self.nodes[node].relay_is_shut = true;
            }
            Action::ShutListeners { .. } => unreachable!("every successor takes every listener here"),
            Action::Exit(outcome) => {
                let code = match &outcome {
                    Outcome::Drained => 0,
                    Outcome::Killed => 2,
                    Outcome::BootFailed { .. } => 3,
                    // Its next image waits for the next connection.
                    Outcome::Dormant => {
                        self.excused = true;
                        0
                    }
                };
                // It was the only one; or gave up in favour of one of whose death it had not heard.
                let alone = self.nodes[node].predecessor.is_none_or(|it| self.nodes[it].ending.is_some());
                if matches!(outcome, Outcome::BootFailed { .. }) && alone {
                    self.excused = true;
                }
                self.nodes[node].outcome = Some(outcome);
                self.end(node, Ending::Code(code));
            }
            Action::Reopen
            | Action::CloseListeners { .. }
            | Action::TakePidFile
            | Action::TakeBackPidFile
            | Action::Log(_) => {}
        }
    }

    fn fork(&mut self, node: usize, slot: Slot) {
        let answer = if self.luck.forks {
            let pid = self.new_pid();
            let knows = copies(&self.nodes[node].queues);
            self.nodes[node].processes.insert(pid, Process { knows, ..Process::default() });
            Event::Spawned { slot, pid }
        } else {
            Event::SpawnFailed { slot, text: "no more processes".to_owned() }
        };
        self.nodes[node].answers.push_back(answer);
    }

    fn start_successor(&mut self, node: usize, generation: Generation, workers: u16) {
        let answer = if self.luck.starts {
            let seed = Seed {
                policy: self.nodes[node].master.policy().clone(),
                generation,
                queues: self.nodes[node].queues.clone(),
                listen_mode: mode_of(&self.nodes[node].queues),
                lineage: Lineage::Awaiting(Readiness::Booting),
                scaled: Some(workers),
                companions: self.nodes[node].companions.clone(),
            };
            let successor = self.boot(seed, Some(node));
            let this = &mut self.nodes[node];
            this.successor = Some(successor);
            this.successor_reaped = false;
            this.link_to_successor = true;
            this.from_successor.clear();
            Event::SuccessorStarted { pid: self.nodes[successor].pid }
        } else {
            Event::SuccessorNotStarted { text: "no such file".to_owned() }
        };
        self.nodes[node].answers.push_back(answer);
    }

    pub(crate) fn successor_of(&self, node: usize) -> usize {
        self.nodes[node].successor.expect("there is a successor")
    }

    /// A successor fails before its loop, as with an address in use.
    pub(crate) fn fail_before_begin(&mut self, node: usize) {
        if !self.nodes[node].begun
            && let Some(predecessor) = self.nodes[node].predecessor
        {
            let said = SuccessorSays::Failed { text: "address in use".to_owned() };
            self.nodes[predecessor].from_successor.push_back(Event::Successor(said));
            self.excuse_loss(node);
            self.end(node, Ending::Code(1));
        }
    }

    /// SIGKILL from outside.
    pub(crate) fn kill_master(&mut self, node: usize) {
        self.excuse_loss(node);
        self.end(node, Ending::Signal(9));
    }

    /// Where nobody else could serve, nobody has to.
    fn excuse_loss(&mut self, node: usize) {
        let takes_over = |other: usize| {
            let master = &self.nodes[other].master;
            let called_off = self.nodes[other].from_predecessor.contains(&Event::Predecessor(PredecessorSays::Abort));
            // It has not heard yet that it must not take back.
            let released = self.nodes[other].from_successor.contains(&Event::Successor(SuccessorSays::Released));
            !called_off && !released && !master.life().is_sealed() && master.upgrade() != Upgrade::Leaving
        };
        if !self.alive().any(|other| other != node && takes_over(other)) {
            self.excused = true;
        }
    }

    fn excuse_stop(&mut self, node: usize) {
        let master = &self.nodes[node].master;
        if matches!(master.lineage(), Lineage::Awaiting(_)) {
            self.excuse_loss(node);
        } else if !master.upgrade().is_handed_over() {
            self.excused = true;
        }
    }

    fn end(&mut self, node: usize, ending: Ending) {
        if self.nodes[node].ending.is_some() {
            return;
        }
        self.nodes[node].ending = Some(ending);
        if let Some(successor) = self.nodes[node].successor.filter(|_| self.nodes[node].link_to_successor) {
            self.nodes[successor].from_predecessor.push_back(Event::PredecessorLinkClosed);
        }
        // Its workers lose their lifeline, and drain.
        for process in self.nodes[node].processes.values_mut() {
            process.told_to_drain = true;
            process.queues.clear();
        }
        self.close_link_if_gone(node);
    }

    /// Workers hold copies of the link: it closes with the last of them.
    pub(crate) fn close_link_if_gone(&mut self, node: usize) {
        let this = &self.nodes[node];
        let gone = this.ending.is_some() && this.processes.values().all(|process| !process.is_alive());
        if let Some(predecessor) = this.predecessor.filter(|_| gone) {
            let this = &mut self.nodes[predecessor];
            if this.successor == Some(node)
                && this.from_successor.back() != Some(&Event::SuccessorLinkClosed)
                && this.link_to_successor
            {
                this.from_successor.push_back(Event::SuccessorLinkClosed);
            }
        }
    }

    /// Whether a message is on its way that changes who serves.
    pub(crate) fn is_in_flight(&self, predecessor: usize, successor: usize) -> bool {
        let to_successor = &self.nodes[successor].from_predecessor;
        let to_predecessor = &self.nodes[predecessor].from_successor;
        to_successor.contains(&Event::Predecessor(PredecessorSays::Abort))
            || to_predecessor.iter().any(|event| {
                matches!(
                    event,
                    Event::Successor(SuccessorSays::Taken | SuccessorSays::Released | SuccessorSays::Failed { .. })
                )
            })
    }
}

/// What every worker of these worlds takes.
pub(crate) fn takes() -> Takes {
    Takes::these([Service { listener: "127.0.0.1:80".to_owned(), name: "http".to_owned(), state: 0 }])
}

fn mode_of(queues: &[u16]) -> ListenMode {
    if queues.iter().any(|count| *count > 1) { ListenMode::Reuseport } else { ListenMode::Shared }
}

/// The queues that a process has from its fork.
pub(crate) fn copies(counts: &[u16]) -> BTreeSet<QueueId> {
    let listeners = counts.iter().zip(0..);
    listeners.flat_map(|(count, listener)| (0..*count).map(move |index| QueueId { listener, index })).collect()
}
