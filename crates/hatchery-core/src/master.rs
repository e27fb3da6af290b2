//! The master: facts in, actions out.
//!
//! [`Master::step`] takes one fact, moves the state machines of the other
//! modules, and then *settles*: it compares what runs with what is wanted and
//! asks for the difference. So no event needs to know what else is going on; a
//! crash in the middle of a roll-out during a boot is a crash, and settling does
//! the rest.

use std::collections::{BTreeMap, BTreeSet};

use crate::action::{Action, Outcome};
use crate::companion::{Companion, MAX_COMPANIONS};
use crate::event::{Command, Event};
use crate::heirs::Kin;
use crate::ids::{Generation, Pid, QueueId, Slot};
use crate::lineage::Lineage;
use crate::notice::{Cause, Notice};
use crate::policy::{ListenMode, MAX_WORKERS, Policy};
use crate::pulse::Pulse;
use crate::queues::{Hands, Intake, Queues};
use crate::rollout::Rollout;
use crate::roster::Roster;
use crate::shutdown::Life;
use crate::throttle::{Throttle, Trust};
use crate::time::Moment;
use crate::upgrade::Upgrade;
use crate::wire::worker::MasterSays;
use crate::worker::{Bequest, Phase, Worker};

/// What a master starts with.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Seed {
    /// The limits to obey.
    pub policy: Policy,
    /// Which generation this is.
    pub generation: Generation,
    /// Accept queues of each listener.
    pub queues: Vec<u16>,
    /// How many there should be.
    pub listen_mode: ListenMode,
    /// What stands before it.
    pub lineage: Lineage,
    /// How many workers to run, where an operator has scaled the predecessor;
    /// otherwise `policy.workers`.
    pub scaled: Option<u16>,
    /// Processes of the program's own beside the workers: 64 at most.
    pub companions: Vec<Companion>,
}

/// The state of a master, without anything that touches the system.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Master {
    pub(crate) policy: Policy,
    pub(crate) generation: Generation,
    /// How many workers to keep: the policy's number, or what an operator made of it.
    pub(crate) target: u16,
    pub(crate) life: Life,
    pub(crate) lineage: Lineage,
    pub(crate) upgrade: Upgrade,
    /// What its successor has said last of its start.
    pub(crate) successor_at: String,
    pub(crate) rollout: Rollout,
    /// Reloads and upgrades that follow the boot or the roll-out that goes on.
    pub(crate) postponed: BTreeSet<Command>,
    pub(crate) roster: Roster,
    pub(crate) throttle: Throttle,
    pub(crate) queues: Queues,
    pub(crate) listen_mode: ListenMode,
    /// Queues for so many workers were asked for already.
    pub(crate) grown: u16,
    pub(crate) kin: Kin,
    pub(crate) pulse: Pulse,
    pub(crate) companions: Vec<Companion>,
    /// While a generation with companions goes: when its workers have drained, or are killed.
    pub(crate) drained_by: Option<Moment>,
    /// Whether something had to be killed on the way out: it shows in the exit code.
    pub(crate) killed: bool,
}

/// The actions of one step, in order.
pub(crate) type Actions = Vec<Action>;

impl Master {
    /// A master before its first step.
    ///
    /// # Panics
    /// With more than 64 companions.
    #[must_use]
    pub fn new(seed: Seed) -> Self {
        assert!(seed.companions.len() <= usize::from(MAX_COMPANIONS), "{MAX_COMPANIONS} companions at most");
        Self {
            target: seed.scaled.unwrap_or(seed.policy.workers).clamp(1, MAX_WORKERS),
            policy: seed.policy,
            generation: seed.generation,
            life: Life::Booting,
            lineage: seed.lineage,
            upgrade: Upgrade::Idle,
            successor_at: String::new(),
            rollout: Rollout::Idle,
            postponed: BTreeSet::new(),
            roster: Roster::default(),
            throttle: Throttle::default(),
            queues: Queues::new(seed.queues),
            listen_mode: seed.listen_mode,
            grown: 0,
            kin: Kin::default(),
            pulse: Pulse::default(),
            companions: seed.companions,
            drained_by: None,
            killed: false,
        }
    }

    /// Takes in one fact and says what is to be done about it.
    ///
    /// After [`Action::Exit`] there is nothing more to ask.
    #[must_use = "actions that are not performed are lost"]
    pub fn step(&mut self, now: Moment, event: Event) -> Vec<Action> {
        let mut out = Vec::new();
        self.take_in(now, event, &mut out);
        self.pass_deadlines(now, &mut out);
        self.settle(now, &mut out);
        out
    }

    /// When [`step`](Self::step) has to be called with [`Event::Tick`] at the
    /// latest, if nothing else happens. Every step may change it.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        // Nothing is forked before the settings are known, however late it is.
        let may_fork = self.rollout != Rollout::Rereading;
        let retry = self.empty_slots().filter(|_| may_fork).filter_map(|slot| self.throttle.retry_at(slot));
        let deadlines = [self.roster.deadline(), self.upgrade.deadline(), self.life.deadline(), self.pulse.deadline()];
        deadlines.into_iter().flatten().chain(retry).min()
    }

    /// The workers, alive or not yet reaped.
    pub fn workers(&self) -> impl Iterator<Item = &Worker> {
        self.roster.iter()
    }

    /// Which generation this is.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// What it is about.
    #[must_use]
    pub fn life(&self) -> &Life {
        &self.life
    }

    /// What stands before it.
    #[must_use]
    pub fn lineage(&self) -> Lineage {
        self.lineage
    }

    /// How far its successor has come.
    #[must_use]
    pub fn upgrade(&self) -> Upgrade {
        self.upgrade
    }

    /// How far a reload has come.
    #[must_use]
    pub fn rollout(&self) -> Rollout {
        self.rollout
    }

    /// Whether a reload or an upgrade waits for its turn.
    #[must_use]
    pub fn has_postponed(&self, command: Command) -> bool {
        self.postponed.contains(&command)
    }

    /// Whether workers do not stay up.
    #[must_use]
    pub fn is_degraded(&self) -> bool {
        self.throttle.trust() == Trust::Degraded
    }

    /// The ready worker of each slot, the newest where there are two.
    #[must_use]
    pub fn ready(&self) -> BTreeMap<Slot, Pid> {
        self.roster.newest_ready()
    }

    /// The limits that it obeys now.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// How many workers it runs, and how many its settings asked for.
    #[must_use]
    pub fn scale(&self) -> (u16, u16) {
        (self.target, self.policy.workers)
    }

    /// What a master of the same kind would start with, after this one has let everything go.
    #[must_use]
    pub fn as_seed(&self, queues: Vec<u16>) -> Seed {
        Seed {
            policy: self.policy.clone(),
            generation: self.generation,
            queues,
            listen_mode: self.listen_mode,
            // It has served: what does not boot now is no reason to end.
            lineage: Lineage::Alone,
            scaled: Some(self.target),
            companions: self.companions.clone(),
        }
    }

    /// The same state with times relative to `now` and pids by their rank, so
    /// that states that behave alike are equal.
    #[must_use]
    pub fn canonical(&self, now: Moment) -> Self {
        let mut pids: Vec<Pid> = self.roster.iter().map(|worker| worker.pid).collect();
        pids.extend(self.upgrade.successor());
        pids.sort_unstable();
        let pid = |pid: Pid| Pid(pids.iter().position(|p| *p == pid).and_then(|n| i32::try_from(n).ok()).unwrap_or(-1));
        let moment = |moment: Moment| Moment(moment.0.saturating_sub(now.0));
        let mut canonical = self.clone();
        canonical.roster.map(&pid, &moment);
        canonical.queues.map_pids(&pid);
        canonical.throttle.map_moments(&moment);
        canonical.upgrade.map(&pid, &moment);
        canonical.life.map_moments(&moment);
        canonical.pulse.map(&pid, &moment);
        canonical.drained_by = canonical.drained_by.map(&moment);
        canonical
    }

    fn take_in(&mut self, now: Moment, event: Event, out: &mut Actions) {
        match event {
            Event::Begin => self.announce_boot(out),
            Event::Tick => {}
            Event::Command(command) => self.obey(command, now, out),
            Event::Spawned { slot, pid } => {
                self.forked(slot, pid, now, out);
            }
            Event::SpawnFailed { slot, text } => self.not_forked(slot, &text, now, out),
            Event::Exited { pid, ending } => match self.roster.reaped(pid) {
                Some(worker) => self.worker_exited(&worker, ending, now, out),
                None if self.upgrade.successor() == Some(pid) => self.successor_exited(ending, now, out),
                // An orphan that was given to us, or a child of the user's own.
                None => {}
            },
            Event::Worker { pid, says } => self.worker_says(pid, says, now, out),
            Event::Sampled(samples) => self.sampled(&samples, now, out),
            Event::QueuesAdded { counts } => self.queues_added(counts, out),
            Event::QueuesNotAdded { text } => out.push(Action::Log(Notice::QueuesNotAdded { text })),
            Event::Knocked => self.wake(out),
            Event::QueuesQuiet => self.queues_quiet(out),
            Event::ListenersClosed { listeners } => self.listeners_closed(&listeners),
            Event::Settings { policy, listeners } => {
                self.listeners_revised(listeners);
                self.settings_read(policy, out);
            }
            Event::SettingsRefused { text } => self.settings_refused(text, out),
            Event::SuccessorStarted { pid } => self.successor_started(pid, now, out),
            Event::SuccessorNotStarted { text } => self.successor_not_started(text, out),
            Event::Successor(says) => self.successor_says(says, now, out),
            Event::SuccessorLinkClosed => self.successor_link_closed(now, out),
            Event::Predecessor(says) => self.predecessor_says(says, now, out),
            Event::PredecessorLinkClosed => self.predecessor_gone(out),
        }
    }

    /// Everything that the clock alone brings about.
    fn pass_deadlines(&mut self, now: Moment, out: &mut Actions) {
        self.workers_due(now, out);
        self.upgrade_due(now, out);
        self.life_due(now, out);
        self.pulse_due(now, out);
    }

    /// Compares what runs with what is wanted, and asks for the difference.
    fn settle(&mut self, now: Moment, out: &mut Actions) {
        self.finish_boot(out);
        self.add_queues(out);
        self.assign_queues(out);
        self.retire_replaced(now, out);
        self.retire_surplus(now, out);
        self.retire_companions(now, out);
        self.fill_slots(now, out);
        self.finish_reload(out);
        self.roll_on(out);
        self.close_unserved(out);
        self.run_postponed(out);
        self.finish_closing(now, out);
        self.settle_heirs(now, out);
        self.settle_pulse(now, out);
        self.leave(out);
    }

    /// How many workers should be there.
    #[must_use]
    pub fn wanted(&self) -> u16 {
        match (&self.life, &self.upgrade) {
            (_, upgrade) if upgrade.is_handed_over() => 0,
            (Life::Booting | Life::Serving | Life::LameDuck { .. }, _) => self.target,
            (Life::Resting | Life::Dozing | Life::Stopping { .. } | Life::GivingUp { .. } | Life::Over, _) => 0,
        }
    }

    /// Whether this generation's workers may have the queues.
    #[must_use]
    pub fn accepts(&self) -> bool {
        self.lineage.accepts() && self.wanted() > 0
    }

    fn empty_slots(&self) -> impl Iterator<Item = Slot> {
        let filled = self.roster.filled();
        let wanted = (0..self.wanted()).map(Slot).chain(self.wanted_companions());
        wanted.filter(move |slot| !filled.contains(slot))
    }

    pub(crate) fn assign_queues(&mut self, out: &mut Actions) {
        let news = match (self.accepts(), &self.upgrade) {
            (true, _) => {
                let (blocked, crowded) = (self.pulse.blocked().clone(), self.pulse.crowded());
                self.queues.assign(&Hands {
                    ready: self.roster.ready_by_slot(),
                    blocked,
                    crowded,
                    lacking: self.roster.lacking(),
                })
            }
            (false, Upgrade::Probation { .. }) => self.queues.withdraw(),
            // Whoever stops or drains was told so, with the queues that it has.
            (false, _) => Vec::new(),
        };
        for (pid, Intake { queues, relay }) in news {
            out.push(Action::Tell { pid, says: MasterSays::Assign { queues, relay } });
        }
    }

    /// With a queue for each worker, more workers want more queues. Not while a
    /// predecessor can take back: queues that it does not hold would end with this generation.
    fn add_queues(&mut self, out: &mut Actions) {
        let each = self.target.max(self.grown);
        let short = self.queues.counts().iter().any(|count| *count < each);
        let may = self.life.is_serving() && self.upgrade == Upgrade::Idle && !self.lineage.has_predecessor();
        if self.listen_mode == ListenMode::Reuseport && may && short && each > self.grown {
            self.grown = each;
            out.push(Action::AddQueues { each });
        }
    }

    /// Whoever was forked before has to be given a copy. Those who have one already take no second.
    fn queues_added(&mut self, counts: Vec<u16>, out: &mut Actions) {
        let before: BTreeSet<QueueId> = self.queues.all().collect();
        self.queues.grow(&counts);
        let new: Vec<QueueId> = self.queues.all().filter(|id| !before.contains(id)).collect();
        if new.is_empty() {
            return;
        }
        out.push(Action::Log(Notice::QueuesAdded { counts }));
        for worker in self.roster.serving().filter(|worker| worker.is_current()) {
            out.extend(new.iter().map(|id| Action::Tell { pid: worker.pid, says: MasterSays::Queue { id: *id } }));
        }
    }

    fn fill_slots(&mut self, now: Moment, out: &mut Actions) {
        if self.rollout == Rollout::Rereading {
            // Whether a fork comes before or after the new listeners decides who serves what.
            return;
        }
        let empty: Vec<Slot> = self.empty_slots().filter(|slot| self.throttle.may_try(*slot, now)).collect();
        for slot in empty {
            self.spawn(slot, out);
        }
    }

    pub(crate) fn spawn(&mut self, slot: Slot, out: &mut Actions) {
        self.roster.forking(slot, self.queues.retired());
        out.push(Action::Spawn { slot });
    }

    fn forked(&mut self, slot: Slot, pid: Pid, now: Moment, out: &mut Actions) {
        self.roster.forked(Worker::starting(pid, slot, now, self.policy.boot_timeout));
        // The fork was asked for before a stop, a rest or a handing over. A companion's turn comes when it settles.
        if self.wanted() == 0 && !slot.is_companion() {
            self.let_go(pid, now, out);
        }
    }

    fn not_forked(&mut self, slot: Slot, text: &str, now: Moment, out: &mut Actions) {
        self.roster.not_forked(slot);
        out.push(Action::Log(Notice::WorkerNotForked { who: self.who(slot), text: text.to_owned() }));
        self.newcomer_failed(slot, text, now, out);
        // Who serves goes on until there is room again. Who has never served would
        // neither come up nor give up.
        if self.life == Life::Booting {
            self.count_crash(slot, text, now, out);
        } else {
            self.throttle.delay(slot, now);
        }
    }

    fn finish_boot(&mut self, out: &mut Actions) {
        // Slots, since one that is recycled while others boot has two workers that are ready.
        let ready = self.roster.ready_by_slot().len();
        if self.life != Life::Booting || ready == 0 {
            return;
        }
        self.inherit_if_alone(out);
        if ready < usize::from(self.target) || !self.companions_are_ready() {
            return;
        }
        match self.lineage {
            Lineage::Awaiting(_) => self.tell_ready(out),
            Lineage::First => {
                out.push(Action::TakePidFile);
                self.begin_serving(out);
            }
            Lineage::Heir | Lineage::Backed { .. } | Lineage::Released { .. } | Lineage::Alone => {
                self.begin_serving(out);
            }
        }
    }

    pub(crate) fn begin_serving(&mut self, out: &mut Actions) {
        self.life = Life::Serving;
        out.push(Action::Log(Notice::Ready { workers: self.target, generation: self.generation }));
    }

    /// The end, when nothing is alive that has to be waited for. A predecessor that still
    /// drains is: whoever waits for this process, as a service manager does, waits for its clients.
    fn leave(&mut self, out: &mut Actions) {
        if !self.roster.is_empty() || matches!(self.lineage, Lineage::Released { .. }) {
            return;
        }
        let ended = if self.killed { Outcome::Killed } else { Outcome::Drained };
        let outcome = match &self.life {
            Life::Stopping { .. } if !self.upgrade.has_child() => ended,
            Life::GivingUp { text } if !self.upgrade.has_child() => Outcome::BootFailed { text: text.clone() },
            Life::Dozing => Outcome::Dormant,
            Life::Booting | Life::Serving | Life::LameDuck { .. } | Life::Resting if self.upgrade.is_leaving() => ended,
            Life::Stopping { .. }
            | Life::GivingUp { .. }
            | Life::Booting
            | Life::Serving
            | Life::LameDuck { .. }
            | Life::Resting
            | Life::Over => return,
        };
        self.life = Life::Over;
        if outcome != Outcome::Dormant {
            out.push(Action::Log(Notice::Stopped));
        }
        out.push(Action::Exit(outcome));
    }

    /// Orders a worker out: it finishes what is open, or is killed if it has not begun to serve.
    pub(crate) fn let_go(&mut self, pid: Pid, now: Moment, out: &mut Actions) {
        let Some(slot) = self.roster.get_mut(pid).map(|worker| worker.slot) else { return };
        let bequest = if slot.is_companion() { Bequest::NOTHING } else { self.bequest() };
        let deadline = self.drain_deadline(slot, now);
        let Some(worker) = self.roster.get_mut(pid) else { return };
        if worker.is_ready() {
            worker.phase = Phase::Draining { deadline, bequest };
            out.push(Action::Tell { pid, says: self.drain_order(bequest, deadline, now) });
        } else if worker.is_starting() {
            worker.phase = Phase::Killed { cause: Cause::Unwanted };
            out.push(Action::Kill { pid });
        }
        self.queues.forget(pid);
        self.pulse.forget(pid);
    }

    pub(crate) fn let_all_go(&mut self, now: Moment, out: &mut Actions) {
        let current: Vec<Pid> = self.roster.serving().filter(|w| w.is_current()).map(|w| w.pid).collect();
        for pid in current {
            self.let_go(pid, now, out);
        }
    }

    pub(crate) fn refuse(command: Command, why: &'static str, out: &mut Actions) {
        out.push(Action::Log(Notice::Refused { command, why }));
    }
}
