//! What follows: a fact for a master, and its actions.

use std::collections::VecDeque;

use hatchery_core::shutdown::Life;
use hatchery_core::wire::upgrade::{PredecessorSays, SuccessorSays};
use hatchery_core::wire::worker::MasterSays;
use hatchery_core::{
    Action, Command, Ending, Event, Generation, Lineage, Master, Moment, Notice, Outcome, Pid, Sample, Slot,
};

use crate::check::{self, Before, Verdict, Violation};
use crate::choice::{Choice, Deed};
use crate::scope::{LARGE, Scope};
use crate::world::{Drain, Finish, Loop, Process, Said, World};

/// One fact and the answers to all that is asked for because of it.
const MOST_FACTS: u8 = 64;

/// How one choice is carried out.
pub(crate) struct Stage<'a> {
    pub(crate) scope: &'a Scope,
    /// Which of the requests that follow from it the system refuses.
    pub(crate) refused: Option<u8>,
    /// How many requests there were.
    pub(crate) requests: u8,
    /// What happened, in words, where somebody wants to know.
    pub(crate) story: Option<&'a mut Vec<String>>,
}

impl<'a> Stage<'a> {
    pub(crate) fn new(scope: &'a Scope, refused: Option<u8>) -> Self {
        Self { scope, refused, requests: 0, story: None }
    }

    fn tell(&mut self, line: impl FnOnce() -> String) {
        if let Some(story) = &mut self.story {
            story.push(line());
        }
    }

    /// Whether the system does what it is asked for now.
    fn grants(&mut self, world: &mut World) -> bool {
        let refuses = self.refused == Some(self.requests);
        self.requests += 1;
        if refuses {
            world.budget.refusals -= 1;
        }
        !refuses
    }
}

impl World {
    /// The world before its first choice.
    pub(crate) fn begun(scope: &Scope) -> Result<Self, Violation> {
        let mut world = Self::new(scope);
        world.nodes[0].begun = true;
        world.tell_master(0, Event::Begin, &mut Stage::new(scope, None))?;
        Ok(world)
    }

    /// Lets `choice` happen.
    pub(crate) fn happen(&mut self, choice: Choice, stage: &mut Stage<'_>) -> Verdict {
        let text = stage.story.is_some().then(|| self.describe(choice));
        stage.tell(|| text.unwrap_or_default());
        match choice {
            Choice::HearPredecessor(index) => {
                if let Some(event) = self.nodes[index].from_predecessor.pop_front() {
                    self.tell_master(index, event, stage)?;
                }
            }
            Choice::HearSuccessor(index) => {
                if let Some(event) = self.nodes[index].from_successor.pop_front() {
                    self.tell_master(index, event, stage)?;
                }
            }
            Choice::Terminated(index) => {
                self.nodes[index].terminated = false;
                self.tell_master(index, Event::Command(Command::Stop), stage)?;
            }
            Choice::Reap(index) => self.reap(index, stage)?,
            Choice::OrphansEnd(index) => {
                self.nodes[index].orphans = false;
                self.link_closed(index);
            }
            Choice::Begin(index) => {
                self.nodes[index].begun = true;
                self.tell_master(index, Event::Begin, stage)?;
            }
            Choice::Worker(index, pid, deed) => self.worker(index, pid, deed, stage)?,
            Choice::Closes(index, listener) => {
                self.nodes[index].close(listener);
                self.tell_master(index, Event::ListenersClosed { listeners: vec![listener] }, stage)?;
            }
            Choice::Settles(index) => {
                self.nodes[index].bars = false;
                self.tell_master(index, Event::QueuesQuiet, stage)?;
            }
            Choice::Tick(index) => self.tell_master(index, Event::Tick, stage)?,
            Choice::Wait => {
                if stage.scope.waits_cost(self) {
                    self.budget.delays -= 1;
                }
                self.now = self.next_deadline().unwrap_or(self.now);
            }
            Choice::Command(index, command) => {
                self.budget.commands -= 1;
                self.command(index, command, stage)?;
            }
            Choice::FailBeforeBegin(index) => {
                self.budget.deaths -= 1;
                if let Some(parent) = self.nodes[index].predecessor {
                    let said = SuccessorSays::Failed { text: "address in use".to_owned() };
                    self.nodes[parent].from_successor.push_back(Event::Successor(said));
                }
                self.excuse_loss(index);
                self.end(index, Ending::Code(1));
            }
            Choice::KillMaster(index) => {
                self.budget.deaths -= 1;
                self.clean = false;
                // Whoever was told to stop can tell nobody any more.
                self.stopped = false;
                self.excuse_loss(index);
                self.end(index, Ending::Signal(9));
            }
        }
        self.bury();
        let serves = self.alive().any(|(_, master)| *master.life() == Life::Serving);
        self.opened |= serves;
        check::world(self)
    }

    fn worker(&mut self, index: usize, pid: Pid, deed: Deed, stage: &mut Stage<'_>) -> Verdict {
        let Some(process) = self.nodes[index].processes.get_mut(&pid) else { return Ok(()) };
        match deed {
            Deed::Ready => process.said = Said::Ready,
            Deed::Emptied => {
                process.finish = Finish::Emptied;
                process.accepts.clear();
            }
            Deed::End => {}
            Deed::BootFailed => {
                process.said = Said::Failed;
                self.budget.crashes -= 1;
                self.clean = false;
            }
            Deed::Crash => {
                self.budget.crashes -= 1;
                self.clean = false;
            }
            Deed::Recycle => self.budget.recycles -= 1,
            Deed::Stand => {
                process.turning = Loop::Stands;
                self.budget.moods -= 1;
                self.clean = false;
            }
            Deed::Halt => {
                process.turning = Loop::Stopped;
                self.budget.moods -= 1;
                self.clean = false;
            }
            Deed::Turn => {
                process.turning = Loop::Turns;
                self.budget.moods -= 1;
            }
            Deed::Crowd => {
                process.crowded = true;
                self.budget.moods -= 1;
            }
            Deed::Grow => {
                process.large = true;
                self.budget.moods -= 1;
            }
        }
        if let Some(says) = deed.says() {
            return self.tell_master(index, Event::Worker { pid, says }, stage);
        }
        let ending = self.nodes[index].processes.get(&pid).and_then(|process| deed.ending(process));
        if let Some(ending) = ending {
            self.nodes[index].processes.remove(&pid);
            self.tell_master(index, Event::Exited { pid, ending }, stage)?;
        }
        Ok(())
    }

    fn reap(&mut self, index: usize, stage: &mut Stage<'_>) -> Verdict {
        let Some(child) = self.nodes[index].successor.as_mut() else { return Ok(()) };
        child.is_reaped = true;
        let (node, pid) = (child.node, child.pid);
        let Err(ending) = self.nodes[node].state else { return Ok(()) };
        self.tell_master(index, Event::Exited { pid, ending }, stage)
    }

    fn command(&mut self, index: usize, command: Command, stage: &mut Stage<'_>) -> Verdict {
        match command {
            Command::Stop | Command::StopAtOnce => self.stop_comes(index),
            Command::Rest => self.clean = false,
            Command::Reload
            | Command::Upgrade
            | Command::Reopen
            | Command::More
            | Command::Fewer
            | Command::Scale(_)
            | Command::Recycle(_) => {}
        }
        self.tell_master(index, Event::Command(command), stage)
    }

    /// A fact for a master, and all that it asks for because of it. What the
    /// system answers is told before anything else, as the driver does it.
    fn tell_master(&mut self, index: usize, event: Event, stage: &mut Stage<'_>) -> Verdict {
        let mut facts = VecDeque::from([event]);
        let mut told = 0;
        while let Some(event) = facts.pop_front() {
            told += 1;
            if told > MOST_FACTS {
                return Err(Violation::new("settling: it never stops asking", format!("{event:?}")));
            }
            let now = self.now;
            let Some(master) = self.nodes.get_mut(index).and_then(|node| node.state.as_mut().ok()) else {
                return Ok(());
            };
            let before = Before::of(master);
            let actions = master.step(now, event.clone());
            stage.tell(|| format!("    {}: {event:?}", self.nodes[index].generation));
            check::step(self, index, &before, &event, &actions)?;
            for action in actions {
                stage.tell(|| match &action {
                    Action::Log(notice) => format!("        log: {notice}"),
                    other => format!("        {other:?}"),
                });
                check::action(self, index, &before, &action)?;
                // As the driver does: the last answer is the first to be told.
                if let Some(answer) = self.perform(index, action, stage)? {
                    facts.push_front(answer);
                }
                // Where queues are divided, one may change hands with nobody for the time of a message.
                if self.queues.iter().all(|count| *count == 1) {
                    check::nobody_waits(self)?;
                }
            }
            check::state(self, index)?;
        }
        Ok(())
    }

    fn perform(&mut self, index: usize, action: Action, stage: &mut Stage<'_>) -> Result<Option<Event>, Violation> {
        match action {
            Action::Spawn { slot } => return Ok(Some(self.fork(index, slot, stage))),
            Action::Tell { pid, says } => {
                if let Some(process) = self.nodes[index].processes.get_mut(&pid) {
                    process.obey(says)?;
                }
            }
            Action::Kill { pid } => match self.nodes[index].processes.get_mut(&pid) {
                Some(process) => process.signal = Some(9),
                None => self.end_successor(index, Ending::Signal(9)),
            },
            Action::Terminate { .. } => match self.nodes[index].child().map(|child| child.node) {
                Some(child) if self.nodes[child].begun => self.nodes[child].terminated = true,
                _ => self.end_successor(index, Ending::Signal(15)),
            },
            Action::Reread => {
                self.nodes[index].owes.retain(|owed| *owed != Command::Reload);
                let policy = self.master(index).map(|master| master.policy().clone());
                return Ok(Some(match policy.filter(|_| stage.grants(self)) {
                    Some(policy) => {
                        let node = &mut self.nodes[index];
                        let listeners = if stage.scope.revises { node.revise() } else { None };
                        Event::Settings { policy, listeners }
                    }
                    None => Event::SettingsRefused { text: "unknown key".to_owned() },
                }));
            }
            Action::StartSuccessor { generation, workers, .. } => {
                return Ok(Some(self.start_successor(index, generation, workers, stage)));
            }
            Action::TellSuccessor(says) => {
                if let Some(child) = self.nodes[index].successor.map(|child| child.node)
                    && self.nodes[child].state.is_ok()
                {
                    self.nodes[child].from_predecessor.push_back(Event::Predecessor(says));
                }
            }
            Action::TellPredecessor(says) => {
                if let Some(parent) = self.nodes[index].predecessor.filter(|parent| self.is_linked(*parent, index)) {
                    self.nodes[parent].from_successor.push_back(Event::Successor(says));
                }
            }
            Action::CloseSuccessorLink => {
                if let Some(child) = &mut self.nodes[index].successor {
                    child.link = false;
                }
                self.nodes[index].from_successor.clear();
                self.predecessor_link_closed(index);
            }
            Action::Abort { pid } => {
                if let Some(process) = self.nodes[index].processes.get_mut(&pid) {
                    process.signal = Some(6);
                }
            }
            Action::Sample { weigh } => {
                let sample = |(pid, process): (&Pid, &Process)| Sample {
                    pid: *pid,
                    open: if process.crowded { 100 } else { 0 },
                    accepted: if process.crowded { 100 } else { 0 },
                    turn: u64::from(process.turning != Loop::Turns),
                    stopped: process.turning == Loop::Stopped,
                    resident: weigh.then_some(if process.large { 2 * LARGE } else { LARGE / 2 }),
                };
                return Ok(Some(Event::Sampled(self.nodes[index].processes.iter().map(sample).collect())));
            }
            Action::AddQueues { each } => {
                if !stage.grants(self) {
                    return Ok(Some(Event::QueuesNotAdded { text: "no more sockets".to_owned() }));
                }
                let counts = &mut self.nodes[index].queues;
                counts.iter_mut().for_each(|count| *count = (*count).max(each));
                return Ok(Some(Event::QueuesAdded { counts: counts.clone() }));
            }
            Action::CloseListeners { listeners } => self.nodes[index].closing.extend(listeners),
            Action::ShutRelay => self.nodes[index].relay_is_shut = true,
            Action::OpenRelay => self.nodes[index].relay_is_shut = false,
            Action::BarQueues => self.nodes[index].bars = true,
            Action::ShutQueues => {
                self.nodes[index].bars = false;
                self.shut = true;
                self.nodes[index].relay_is_shut = true;
            }
            Action::TakePidFile | Action::TakeBackPidFile => {
                self.nodes.iter_mut().for_each(|node| node.holds_pid_file = false);
                self.nodes[index].holds_pid_file = true;
            }
            Action::Log(notice) => self.note(index, &notice),
            Action::Exit(outcome) => self.exit(index, &outcome),
            Action::Reopen | Action::ShutListeners { .. } => {}
        }
        Ok(None)
    }

    fn note(&mut self, index: usize, notice: &Notice) {
        match notice {
            Notice::Dozing => {
                self.clean = false;
                self.nodes[index].owes.clear();
            }
            Notice::Postponed { command, .. } => self.nodes[index].owes.push(*command),
            // An end, a rest or another generation: nothing is owed any more.
            Notice::StopAnnounced { .. } => self.nodes[index].owes.clear(),
            Notice::StopBegun => {
                // Not before: whoever is only told of it has no excuse for a gap.
                self.clean = false;
                self.nodes[index].owes.clear();
            }
            Notice::GaveUp { .. } | Notice::Resting | Notice::UpgradeDone { .. } => {
                self.nodes[index].owes.clear();
            }
            // An upgrade that was owed is refused with a reason, as any other.
            Notice::Refused { command, .. } => self.nodes[index].owes.retain(|owed| owed != command),
            _ => {}
        }
    }

    fn fork(&mut self, index: usize, slot: Slot, stage: &mut Stage<'_>) -> Event {
        if !stage.grants(self) {
            return Event::SpawnFailed { slot, text: "no more processes".to_owned() };
        }
        let pid = self.new_pid(index);
        let node = &mut self.nodes[index];
        node.processes.insert(pid, Process::new(slot, node.copies()));
        Event::Spawned { slot, pid }
    }

    fn start_successor(&mut self, index: usize, generation: Generation, workers: u16, stage: &mut Stage<'_>) -> Event {
        self.nodes[index].owes.retain(|owed| *owed != Command::Upgrade);
        if self.nodes.len() >= stage.scope.masters || !stage.grants(self) {
            return Event::SuccessorNotStarted { text: "no such file".to_owned() };
        }
        Event::SuccessorStarted { pid: self.start(stage.scope, index, generation, workers) }
    }

    fn exit(&mut self, index: usize, outcome: &Outcome) {
        let code = match outcome {
            Outcome::Drained | Outcome::Dormant => 0,
            Outcome::Killed => 2,
            Outcome::BootFailed { .. } => 3,
        };
        // It was the only one; or gave up in favour of one of whose death it had not heard.
        let alone = self.nodes[index].predecessor.is_none_or(|parent| self.master(parent).is_none());
        let gone_unheard = self.nodes[index].child().is_some_and(|child| self.nodes[child.node].state.is_err());
        match outcome {
            Outcome::BootFailed { .. } if alone => self.excused = true,
            // Its next image waits for the next connection.
            Outcome::Dormant => self.excused = true,
            // As if the successor had died a moment after this one was gone.
            Outcome::Drained | Outcome::Killed if gone_unheard => self.excused = true,
            Outcome::BootFailed { .. } | Outcome::Drained | Outcome::Killed => {}
        }
        self.end(index, Ending::Code(code));
    }

    fn end_successor(&mut self, index: usize, ending: Ending) {
        if let Some(child) = self.nodes[index].child().map(|child| child.node) {
            self.end(child, ending);
        }
    }

    /// A master is no more.
    fn end(&mut self, index: usize, ending: Ending) {
        let node = &mut self.nodes[index];
        if node.state.is_err() {
            return;
        }
        node.state = Err(ending);
        node.orphans = !node.processes.is_empty();
        node.processes.clear();
        node.from_predecessor.clear();
        node.from_successor.clear();
        node.terminated = false;
        node.bars = false;
        node.begun = true;
        self.predecessor_link_closed(index);
        if !self.nodes[index].orphans {
            self.link_closed(index);
        }
    }

    fn predecessor_link_closed(&mut self, index: usize) {
        if let Some(child) = self.nodes[index].successor.map(|child| child.node)
            && self.nodes[child].state.is_ok()
        {
            let heard = &mut self.nodes[child].from_predecessor;
            if heard.back() != Some(&Event::PredecessorLinkClosed) {
                heard.push_back(Event::PredecessorLinkClosed);
            }
        }
    }

    /// Nobody holds the successor's end of a link any more.
    fn link_closed(&mut self, index: usize) {
        if let Some(parent) = self.nodes[index].predecessor.filter(|parent| self.is_linked(*parent, index)) {
            self.nodes[parent].from_successor.push_back(Event::SuccessorLinkClosed);
        }
    }

    /// Whether `parent` still listens to its successor `index`.
    fn is_linked(&self, parent: usize, index: usize) -> bool {
        let child = self.nodes[parent].successor;
        self.master(parent).is_some() && child.is_some_and(|child| child.node == index && child.link)
    }

    /// Where nobody else could serve, nobody has to.
    fn excuse_loss(&mut self, index: usize) {
        let takes_over = |other: usize, master: &Master| {
            let node = &self.nodes[other];
            let called_off = node.from_predecessor.contains(&Event::Predecessor(PredecessorSays::Abort));
            // It has not heard yet that it must not take back.
            let released = node.from_successor.contains(&Event::Successor(SuccessorSays::Released));
            let leaves = matches!(master.upgrade(), hatchery_core::upgrade::Upgrade::Leaving);
            !called_off && !released && !leaves && !node.terminated && !master.life().is_sealed()
        };
        if !self.alive().any(|(other, master)| other != index && takes_over(other, master)) {
            self.excused = true;
        }
    }

    fn stop_comes(&mut self, index: usize) {
        let Some(master) = self.master(index) else { return };
        let awaits = matches!(master.lineage(), Lineage::Awaiting(_));
        let (is_replaced, is_ending) = (master.upgrade().is_handed_over(), master.life().is_sealed());
        if awaits {
            self.excuse_loss(index);
        } else if !is_replaced && !is_ending {
            self.excused = true;
            self.stopped = true;
        }
    }
}

impl Scope {
    /// Whether somebody could do something instead of waiting.
    fn waits_cost(&self, world: &World) -> bool {
        world.choices(self).all.first() != Some(&Choice::Wait)
    }
}

impl Process {
    fn obey(&mut self, says: MasterSays) -> Verdict {
        match says {
            MasterSays::Assign { queues, relay } => {
                if !queues.iter().all(|id| self.copies.contains(id)) {
                    return Err(Violation::new("queues: assigned without a copy", format!("{queues:?} of {self:?}")));
                }
                self.accepts = queues;
                self.reads_relay = relay;
            }
            MasterSays::Drain { heir, last, .. } => {
                self.accepts.clear();
                let last = last || self.drain.is_some_and(|drain| drain.last);
                self.drain = Some(Drain { heir: heir.map(|heir| heir.relay), last });
            }
            MasterSays::Queue { id } => self.copies.push(id),
            MasterSays::Finish { .. } => self.finish = Finish::Told,
            MasterSays::Shed { .. }
            | MasterSays::Refuge { .. }
            | MasterSays::Ask
            | MasterSays::Reopen
            | MasterSays::Status => {}
        }
        Ok(())
    }
}

/// The time, for a reader of a path.
pub(crate) fn clock(now: Moment) -> String {
    format!("{}.{:03} s", now.0 / 1000, now.0 % 1000)
}
