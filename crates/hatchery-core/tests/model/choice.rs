//! What can happen next.

use std::fmt;

use hatchery_core::wire::worker::WorkerSays;
use hatchery_core::{Command, Ending, Event, Moment, Pid};

use crate::scope::Scope;
use crate::world::{Finish, Loop, Process, Said, World};

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// A master hears what its predecessor has said next.
    HearPredecessor(usize),
    /// A master hears what its successor has said next.
    HearSuccessor(usize),
    /// A master gets SIGTERM from its predecessor.
    Terminated(usize),
    /// A master learns that its successor is dead.
    Reap(usize),
    /// The last process of a dead master's generation is gone.
    OrphansEnd(usize),
    /// A successor comes to its loop.
    Begin(usize),
    /// A worker does something.
    Worker(usize, Pid, Deed),
    /// A master has closed a listener.
    Closes(usize, u16),
    /// A master sees that nobody is half way in.
    Settles(usize),
    /// A deadline of a master is over.
    Tick(usize),
    /// Nothing happens until the next deadline.
    Wait,
    /// An operator asks for something.
    Command(usize, Command),
    /// A successor ends before its loop.
    FailBeforeBegin(usize),
    /// A master is killed.
    KillMaster(usize),
}

/// What a worker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    Ready,
    /// At the final stop: its queues are empty.
    Emptied,
    /// It has done what it was told, or was killed.
    End,
    BootFailed,
    Crash,
    Recycle,
    /// Its loop stands still from now on.
    Stand,
    /// It is stopped.
    Halt,
    /// It turns again.
    Turn,
    /// It has far more connections than others.
    Crowd,
    /// It has far more memory than it should.
    Grow,
}

/// The choices of a world: first those that happen by themselves when all is well.
pub(crate) struct Choices {
    pub(crate) all: Vec<Choice>,
    /// How many of them cost nothing.
    pub(crate) free: usize,
}

impl World {
    pub(crate) fn choices(&self, scope: &Scope) -> Choices {
        let mut all = Vec::new();
        for (index, node) in self.nodes.iter().enumerate() {
            match &node.state {
                Err(_) if node.orphans => all.push(Choice::OrphansEnd(index)),
                Err(_) => {}
                Ok(_) if !node.begun => all.push(Choice::Begin(index)),
                Ok(_) => self.of_master(index, &mut all),
            }
        }
        for (index, _) in self.alive() {
            for (pid, process) in &self.nodes[index].processes {
                let deeds = [
                    (process.may_end(), Deed::End),
                    (process.says_nothing_yet(), Deed::Ready),
                    (process.finish == Finish::Told && process.turns(), Deed::Emptied),
                ];
                all.extend(
                    deeds.into_iter().filter(|(can, _)| *can).map(|(_, deed)| Choice::Worker(index, *pid, deed)),
                );
            }
        }
        let waits = self.next_deadline().is_some();
        if all.is_empty() && waits {
            all.push(Choice::Wait);
        }
        let free = all.len();
        if waits && self.budget.delays > 0 && free > 0 && all[0] != Choice::Wait {
            all.push(Choice::Wait);
        }
        self.costly(scope, &mut all);
        Choices { all, free }
    }

    fn of_master(&self, index: usize, all: &mut Vec<Choice>) {
        let node = &self.nodes[index];
        if !node.from_predecessor.is_empty() {
            all.push(Choice::HearPredecessor(index));
        }
        if !node.from_successor.is_empty() {
            all.push(Choice::HearSuccessor(index));
        }
        all.extend(node.closing.iter().map(|listener| Choice::Closes(index, *listener)));
        if node.bars {
            all.push(Choice::Settles(index));
        }
        if node.terminated {
            all.push(Choice::Terminated(index));
        }
        // Last words come before an end.
        let speaks = node.from_successor.iter().any(|event| matches!(event, Event::Successor(_)));
        if !speaks && node.child().is_some_and(|child| self.nodes[child.node].state.is_err()) {
            all.push(Choice::Reap(index));
        }
        if self.master(index).and_then(hatchery_core::Master::deadline).is_some_and(|deadline| deadline <= self.now) {
            all.push(Choice::Tick(index));
        }
    }

    fn costly(&self, scope: &Scope, all: &mut Vec<Choice>) {
        let budget = &self.budget;
        for (index, _) in self.alive() {
            let node = &self.nodes[index];
            if budget.commands > 0 && node.begun {
                all.extend(scope.commands.iter().map(|command| Choice::Command(index, *command)));
            }
            if budget.deaths > 0 {
                all.extend((!node.begun).then_some(Choice::FailBeforeBegin(index)));
                all.push(Choice::KillMaster(index));
            }
            for (pid, process) in &node.processes {
                let lives = process.signal.is_none();
                let deeds = [
                    (budget.crashes > 0 && lives, Deed::Crash),
                    (budget.crashes > 0 && process.says_nothing_yet() && lives, Deed::BootFailed),
                    (budget.recycles > 0 && process.said == Said::Ready && process.turns(), Deed::Recycle),
                ];
                let moods = scope.moods.iter().map(|deed| (budget.moods > 0 && process.may_become(*deed), *deed));
                let deeds = deeds.into_iter().chain(moods);
                all.extend(
                    deeds.into_iter().filter(|(can, _)| *can).map(|(_, deed)| Choice::Worker(index, *pid, deed)),
                );
            }
        }
    }

    /// When the next deadline of a master is, if the clock may move on: what is
    /// due comes first, and so does a death that somebody has to hear of. A
    /// master that does not read what it is told is stopped itself: its own time
    /// stands still, and none of its deadlines comes.
    pub(crate) fn next_deadline(&self) -> Option<Moment> {
        let (mut next, mut stopped) = (None, None);
        for (index, master) in self.alive() {
            let node = &self.nodes[index];
            if !node.begun {
                continue;
            }
            let died = node.child().is_some_and(|child| self.nodes[child.node].state.is_err());
            if died || node.from_predecessor.back() == Some(&Event::PredecessorLinkClosed) {
                return None;
            }
            let Some(deadline) = master.deadline() else { continue };
            if deadline <= self.now {
                return None;
            }
            let earliest = |known: Option<Moment>| Some(known.map_or(deadline, |known| known.min(deadline)));
            next = earliest(next);
            if !node.from_predecessor.is_empty() || !node.from_successor.is_empty() {
                stopped = earliest(stopped);
            }
        }
        next.filter(|next| stopped.is_none_or(|stopped| *next < stopped))
    }
}

impl Process {
    fn turns(&self) -> bool {
        self.turning == Loop::Turns && self.signal.is_none()
    }

    /// Whether this of its moods would be another one.
    fn may_become(&self, mood: Deed) -> bool {
        let is_ready = self.said == Said::Ready && self.signal.is_none();
        is_ready
            && match mood {
                Deed::Stand | Deed::Halt => self.turning == Loop::Turns,
                Deed::Turn => self.turning != Loop::Turns,
                Deed::Crowd => !self.crowded,
                Deed::Grow => !self.large,
                Deed::Ready | Deed::Emptied | Deed::End | Deed::BootFailed | Deed::Crash | Deed::Recycle => false,
            }
    }

    /// Also one that was killed: what it has said before is read when it is reaped.
    fn says_nothing_yet(&self) -> bool {
        self.said == Said::Nothing && self.turning == Loop::Turns
    }
}

impl Deed {
    /// What the master hears of it, but for an end.
    pub(crate) fn says(self) -> Option<WorkerSays> {
        match self {
            Self::Ready => Some(WorkerSays::Ready { takes: crate::world::takes() }),
            Self::Emptied => Some(WorkerSays::Emptied),
            Self::BootFailed => Some(WorkerSays::BootFailed { text: "no such table".to_owned() }),
            Self::Recycle => Some(WorkerSays::Recycle),
            Self::End | Self::Crash | Self::Stand | Self::Halt | Self::Turn | Self::Crowd | Self::Grow => None,
        }
    }

    /// How it ends by this, if it does.
    pub(crate) fn ending(self, process: &Process) -> Option<Ending> {
        match self {
            Self::End if process.said == Said::Failed && process.signal.is_none() => Some(Ending::Code(1)),
            Self::End => Some(process.signal.map_or(Ending::Code(0), Ending::Signal)),
            Self::Crash => Some(Ending::Signal(11)),
            Self::Ready
            | Self::Emptied
            | Self::BootFailed
            | Self::Recycle
            | Self::Stand
            | Self::Halt
            | Self::Turn
            | Self::Crowd
            | Self::Grow => None,
        }
    }
}

impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ready => "is ready",
            Self::Emptied => "has emptied its queues",
            Self::End => "ends",
            Self::BootFailed => "does not boot",
            Self::Crash => "crashes",
            Self::Recycle => "wants to be replaced",
            Self::Stand => "stands still",
            Self::Halt => "is stopped",
            Self::Turn => "turns again",
            Self::Grow => "has far more memory than it should",
            Self::Crowd => "has far more connections than others",
        })
    }
}

impl World {
    /// A choice in words.
    pub(crate) fn describe(&self, choice: Choice) -> String {
        let gen_of = |index: usize| format!("generation {}", self.nodes[index].generation);
        match choice {
            Choice::HearPredecessor(index) => {
                format!("{} hears its predecessor: {:?}", gen_of(index), self.nodes[index].from_predecessor.front())
            }
            Choice::HearSuccessor(index) => {
                format!("{} hears its successor: {:?}", gen_of(index), self.nodes[index].from_successor.front())
            }
            Choice::Terminated(index) => format!("{} gets SIGTERM from its predecessor", gen_of(index)),
            Choice::Reap(index) => format!("{} reaps its successor", gen_of(index)),
            Choice::OrphansEnd(index) => format!("the last worker of the dead {} ends", gen_of(index)),
            Choice::Begin(index) => format!("{} comes to its loop", gen_of(index)),
            Choice::Worker(index, pid, deed) => {
                let slot = self.nodes[index].processes.get(&pid).map(|process| process.slot);
                let who = match slot.map(|slot| (slot, slot.as_companion())) {
                    Some((_, Some(number))) => format!("companion {number}"),
                    Some((slot, None)) => format!("worker {slot}"),
                    None => "somebody".to_owned(),
                };
                format!("{}: {who} (pid {pid}) {deed}", gen_of(index))
            }
            Choice::Closes(index, listener) => format!("{} closes listener {listener}", gen_of(index)),
            Choice::Settles(index) => format!("nobody is half way into the queues of {}", gen_of(index)),
            Choice::Tick(index) => format!("{}: a deadline is over", gen_of(index)),
            Choice::Wait => {
                let next = self.next_deadline().unwrap_or(self.now);
                format!("nothing happens for {:?}", next - self.now)
            }
            Choice::Command(index, command) => format!("{} is asked for: {command}", gen_of(index)),
            Choice::FailBeforeBegin(index) => format!("{} fails before its loop", gen_of(index)),
            Choice::KillMaster(index) => format!("the master of {} is killed", gen_of(index)),
        }
    }
}
