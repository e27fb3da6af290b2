//! What has to hold in every world, whatever has happened.
//!
//! Each rule has a name, by which a violation is told from another: the test of
//! the mutants prints it.

use std::collections::BTreeSet;
use std::time::Duration;

use hatchery_core::rollout::Rollout;
use hatchery_core::shutdown::Life;
use hatchery_core::upgrade::Upgrade;
use hatchery_core::wire::upgrade::{PredecessorSays, SuccessorSays};
use hatchery_core::wire::worker::{MasterSays, Whose};
use hatchery_core::worker::{Phase, Standing, Worker};
use hatchery_core::{Action, Command, Event, Lineage, Master, Outcome, Pid, QueueId, Slot};

use crate::world::{Finish, Loop, Node, World, copies};

/// A rule that does not hold.
#[derive(Clone, Debug)]
pub(crate) struct Violation {
    pub(crate) rule: &'static str,
    pub(crate) detail: String,
}

pub(crate) type Verdict = Result<(), Violation>;

impl Violation {
    pub(crate) fn new(rule: &'static str, detail: impl Into<String>) -> Self {
        Self { rule, detail: detail.into() }
    }
}

fn require(holds: bool, rule: &'static str, detail: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(Violation::new(rule, detail())) }
}

/// What a master was before a step.
#[derive(Debug)]
pub(crate) struct Before {
    ready: usize,
    serves: bool,
    leaves: bool,
    life: Life,
    phases: Vec<(Pid, Phase)>,
}

impl Before {
    pub(crate) fn of(master: &Master) -> Self {
        Self {
            ready: ready(master),
            serves: serves(master),
            leaves: master.upgrade() == Upgrade::Leaving,
            life: master.life().clone(),
            phases: master.workers().map(|worker| (worker.pid, worker.phase)).collect(),
        }
    }
}

/// How many slots have a worker that is ready. One that is replaced may stay for a while beside its replacement.
fn ready(master: &Master) -> usize {
    serving(master).filter(|worker| worker.is_ready()).map(|worker| worker.slot).collect::<BTreeSet<_>>().len()
}

/// The workers, without companions.
fn serving(master: &Master) -> impl Iterator<Item = &Worker> {
    master.workers().filter(|worker| !worker.slot.is_companion())
}

/// The order in which processes go where a generation ends: workers, sidecars, job servers.
fn turn(world: &World, slot: Slot) -> u8 {
    match slot.as_companion() {
        None => 0,
        Some(index) if world.jobs.contains(&index) => 2,
        Some(_) => 1,
    }
}

fn serves(master: &Master) -> bool {
    (*master.life() == Life::Booting || master.life().is_serving()) && !master.upgrade().is_handed_over()
}

/// One step as a whole, before its actions are performed.
pub(crate) fn step(world: &mut World, index: usize, before: &Before, event: &Event, actions: &[Action]) -> Verdict {
    let Some(after) = world.master(index) else { return Ok(()) };
    let aborted = actions.iter().filter(|action| matches!(action, Action::Abort { .. })).count();
    let died = usize::from(matches!(event, Event::Exited { .. })) + aborted;
    if before.serves && serves(after) {
        let floor = before.ready.saturating_sub(died).min(usize::from(after.wanted()));
        require(ready(after) >= floor, "workers: fewer ready than before", || format!("{event:?}: {actions:?}"))?;
    }
    let leaves = after.upgrade() == Upgrade::Leaving;
    require(!before.leaves || leaves, "upgrade: taken back after the release", || format!("{event:?}"))?;
    let gives_up = matches!(after.life(), Life::GivingUp { .. }) && before.life != *after.life();
    let proven = world.nodes[index].proven;
    let backed = after.lineage().has_predecessor();
    require(!gives_up || backed || !proven, "end: a proven generation gives up alone", || format!("{event:?}"))?;
    let is_told = matches!(before.life, Life::LameDuck { .. });
    require(!gives_up || !is_told, "end: one that was told to stop gives up", || format!("{event:?}"))?;
    let steady =
        serving(after).any(|worker| worker.phase == Phase::Ready(Standing::Steady)) && after.life().is_serving();
    // Not during its first boot, which may fail whoever is ready by then.
    world.nodes[index].proven |= steady;
    Ok(())
}

/// One action, before it is performed.
pub(crate) fn action(world: &World, index: usize, before: &Before, action: &Action) -> Verdict {
    let node = &world.nodes[index];
    let Some(master) = world.master(index) else { return Ok(()) };
    let is_worker = |pid: &Pid| node.processes.contains_key(pid);
    let is_child = |pid: &Pid| node.child().is_some_and(|child| child.pid == *pid);
    let detail = || format!("{action:?}");
    match action {
        Action::Tell { pid, says } => {
            require(is_worker(pid), "pids: told after it was reaped", detail)?;
            let slot = node.processes.get(pid).map(|process| process.slot);
            let Some(slot) = slot.filter(|slot| slot.is_companion()) else { return Ok(()) };
            let goes = matches!(says, MasterSays::Drain { .. });
            let is_other = |worker: &&Worker| worker.pid != *pid && worker.is_ready();
            let another = master.workers().filter(is_other).any(|worker| worker.slot == slot);
            let lives = |worker: &Worker| !matches!(worker.phase, Phase::Killed { .. });
            let asked = !another && master.workers().any(|it| turn(world, it.slot) < turn(world, slot) && lives(it));
            let rule = match turn(world, slot) {
                2 => "companions: a job server goes before those who ask it",
                _ => "companions: a sidecar goes before its workers",
            };
            require(!goes || !asked, rule, detail)
        }
        Action::Kill { pid } => {
            require(is_worker(pid) || is_child(pid), "pids: killed after it was reaped", detail)?;
            // Without a drain-timeout, whoever is told to go is killed in the same breath.
            let is_told = node.processes.get(pid).is_some_and(|it| it.drain.is_some() || it.finish != Finish::NotTold);
            let was_ready = before.phases.iter().any(|(known, phase)| known == pid && matches!(phase, Phase::Ready(_)));
            let at_the_end = matches!(before.life, Life::Stopping { .. } | Life::GivingUp { .. });
            require(!was_ready || is_told || at_the_end, "workers: a ready one is killed", detail)
        }
        Action::Abort { pid } => {
            let process = node.processes.get(pid);
            require(process.is_some(), "pids: aborted after it was reaped", detail)?;
            let stands = process.is_some_and(|process| process.turning == Loop::Stands);
            require(stands, "workers: one that does not hang is aborted", detail)
        }
        Action::Terminate { pid } => require(is_child(pid), "pids: terminated after it was reaped", detail),
        Action::Spawn { slot } if slot.is_companion() => {
            let current = master.workers().filter(|worker| worker.slot == *slot && worker.is_current()).count();
            require(current < 2, "workers: two replacements for one", detail)?;
            // Workers that drain may still ask for jobs, and tell sidecars something; so may those.
            let asks = |worker: &Worker| turn(world, worker.slot) < turn(world, *slot);
            let asked_for = master.wanted() > 0 || master.workers().any(asks);
            require(asked_for, "companions: forked for nobody", detail)
        }
        Action::Spawn { slot } => {
            let life = master.life();
            require(*life == Life::Booting || life.is_serving(), "workers: forked at the end", detail)?;
            require(!master.upgrade().is_handed_over(), "workers: forked after the handing over", detail)?;
            let current = master.workers().filter(|worker| worker.slot == *slot && worker.is_current()).count();
            require(current < 2, "workers: two replacements for one", detail)?;
            let wanted = slot.0 < master.wanted();
            require(wanted, "workers: forked for a slot that nobody wants", detail)
        }
        Action::StartSuccessor { .. } => {
            require(!master.life().is_sealed(), "upgrade: begun by one that goes", detail)?;
            require(node.child().is_none(), "upgrade: two successors", detail)
        }
        Action::TellSuccessor(says) => {
            require(node.successor.is_none_or(|child| child.link), "upgrade: said over a closed link", detail)?;
            let commits = matches!(says, PredecessorSays::Commit { .. });
            let has_all = !master.life().is_sealed() && matches!(master.upgrade(), Upgrade::Committed { .. });
            require(!commits || has_all, "upgrade: committed without anything to hand over", detail)
        }
        Action::TellPredecessor(SuccessorSays::Ready { .. }) => {
            let companions = master.workers().filter(|it| it.slot.is_companion() && it.is_ready()).count();
            let all = ready(master) >= usize::from(master.wanted()) && companions >= world.companions;
            require(all, "upgrade: READY without all workers", detail)
        }
        Action::TellPredecessor(SuccessorSays::Taken) => {
            require(is_served(world, index), "upgrade: TAKEN while a queue has no worker", detail)?;
            require(node.holds_pid_file, "pid file: TAKEN without it", detail)
        }
        Action::TakePidFile => {
            let first_again = node.holds_pid_file && master.lineage() == Lineage::First;
            let is_ours = !matches!(master.lineage(), Lineage::Awaiting(_) | Lineage::Heir);
            require(is_ours, "pid file: taken before the handing over", detail)?;
            // A predecessor may have taken it back in its last moment.
            let is_news = !node.holds_pid_file || node.predecessor.is_none();
            require(is_news && !first_again, "pid file: taken twice", detail)
        }
        Action::TakeBackPidFile => {
            require(!master.upgrade().is_handed_over(), "pid file: taken back from one that serves", detail)
        }
        Action::BarQueues => {
            // It would be left with sockets that let nobody in, if this one were killed now.
            let other = world.alive().map(|(other, _)| other).find(|other| *other != index);
            require(other.is_none(), "queues: barred beside another generation", detail)
        }
        Action::ShutQueues => queues_are_nobodys(world, index),
        Action::Exit(outcome) => {
            require(node.processes.is_empty(), "end: an exit with workers left", detail)?;
            let child = node.child().is_some_and(|child| world.nodes[child.node].state.is_ok());
            let leaves = matches!(master.upgrade(), Upgrade::Retiring { .. } | Upgrade::Leaving);
            require(leaves || !child, "end: an exit with a successor left", detail)?;
            let failed = matches!(outcome, Outcome::BootFailed { .. });
            require(!failed || !node.proven || node.predecessor.is_some(), "end: exit code 3 of a proven one", detail)
        }
        Action::ShutRelay => require(!node.relay_is_shut, "relay: shut twice", detail),
        Action::OpenRelay => require(node.relay_is_shut, "relay: opened twice", detail),
        Action::CloseListeners { listeners } => {
            // One that is asked for is closed only where no worker has come to serve it.
            let served = |listener: &u16| {
                let mut ready = serving(master).filter(|worker| worker.is_ready());
                let accepts = |pid| {
                    node.processes
                        .get(&pid)
                        .is_some_and(|it| it.accepts.iter().any(|queue| queue.listener == *listener))
                };
                !node.retired.contains(listener) && ready.any(|worker| accepts(worker.pid))
            };
            require(!listeners.iter().any(served), "queues: closed while it is asked for", detail)
        }
        Action::ShutListeners { .. } => Err(Violation::new("queues: shut under an heir", detail())),
        Action::Reread
        | Action::Reopen
        | Action::Sample { .. }
        | Action::AddQueues { .. }
        | Action::TellPredecessor(_)
        | Action::CloseSuccessorLink
        | Action::Log(_) => Ok(()),
    }
}

/// No queue is closed while an heir exists.
fn queues_are_nobodys(world: &World, index: usize) -> Verdict {
    for (other, master) in world.alive().filter(|(other, _)| *other != index) {
        // It may not have heard yet that an operator ends both.
        let hears = world.is_in_flight(index, other) || world.is_in_flight(other, index);
        require(!master.accepts() || hears, "queues: shut under an heir", || {
            format!("generation {} accepts from them", master.generation())
        })?;
    }
    Ok(())
}

/// A master after a step, with its actions performed.
pub(crate) fn state(world: &World, index: usize) -> Verdict {
    let Some(master) = world.master(index) else { return Ok(()) };
    queues_are_served(world, index)?;
    connections_have_heirs(world, index)?;
    let wanted = master.wanted();
    let current = serving(master).filter(|worker| worker.is_current() && worker.slot.0 < wanted).count();
    require(current <= usize::from(wanted) + 1, "workers: too many", || {
        format!("{current} where {wanted} are wanted")
    })?;
    let (is_duck, backed) = (matches!(master.life(), Life::LameDuck { .. }), master.lineage().has_predecessor());
    require(!is_duck || !backed, "end: a predecessor may take back what an operator ends", String::new)?;
    let rolls = master.rollout() == Rollout::Rolling;
    require(!rolls || !master.life().is_ending(), "end: a roll-out goes on", String::new)
}

/// Whether every queue of a master has a ready worker.
fn is_served(world: &World, index: usize) -> bool {
    let Some(master) = world.master(index) else { return false };
    let node = &world.nodes[index];
    copies(&node.queues).iter().all(|queue| {
        let mut ready = serving(master).filter(|worker| worker.is_ready());
        ready.any(|worker| node.processes.get(&worker.pid).is_some_and(|it| it.accepts.contains(queue)))
    })
}

fn queues_are_served(world: &World, index: usize) -> Verdict {
    let Some(master) = world.master(index) else { return Ok(()) };
    let node = &world.nodes[index];
    if master.accepts() && ready(master) > 0 {
        let all = copies(&node.queues);
        // Queues that were made, but are not known to the core yet.
        let workers = || node.processes.values().filter(|process| !process.slot.is_companion());
        let accepted = |queue: &QueueId| {
            let mut ready = serving(master).filter(|worker| worker.is_ready());
            ready.any(|worker| node.processes.get(&worker.pid).is_some_and(|it| it.accepts.contains(queue)))
        };
        let is_known = |queue: &QueueId| queue.index == 0 || workers().all(|it| it.copies.contains(queue));
        // Listeners that no worker can serve: yet, or any more.
        let has_holder = |queue: &QueueId| {
            let mut ready = serving(master).filter(|worker| worker.is_ready());
            ready.any(|worker| node.processes.get(&worker.pid).is_some_and(|it| it.copies.contains(queue)))
        };
        let known = all.iter().filter(|queue| is_known(queue) && has_holder(queue));
        for queue in known {
            require(accepted(queue), "queues: one has no ready worker", || format!("queue {queue}"))?;
        }
        return Ok(());
    }
    let accepts = master.workers().filter(|worker| worker.is_ready()).map(|worker| worker.pid);
    for pid in accepts {
        let queues = node.processes.get(&pid).map(|process| process.accepts.clone()).unwrap_or_default();
        require(queues.is_empty(), "queues: accepted from out of turn", || format!("{queues:?} by pid {pid}"))?;
    }
    Ok(())
}

/// What is written to a relay is read, and nobody is sent to one that is shut.
fn connections_have_heirs(world: &World, index: usize) -> Verdict {
    let Some(master) = world.master(index) else { return Ok(()) };
    let node = &world.nodes[index];
    let (mut readers, mut ready) = (0, 0);
    for worker in serving(master) {
        let Some(process) = node.processes.get(&worker.pid) else { continue };
        let detail = || format!("pid {}: {:?}", worker.pid, process.drain);
        if worker.is_ready() {
            ready += 1;
            readers += usize::from(process.reads_relay);
            require(!node.relay_is_shut || !master.accepts(), "relay: shut, and its worker stays", detail)?;
        }
        if matches!(worker.phase, Phase::Draining { .. }) {
            let heir = process.drain.and_then(|drain| drain.heir);
            require(heir != Some(Whose::Own) || !node.relay_is_shut, "relay: written to after it was shut", detail)?;
            let goes_over = master.upgrade().is_handed_over() && process.drain.is_some();
            require((heir == Some(Whose::Successor)) == goes_over, "relay: the wrong heir", detail)?;
            let last = process.drain.is_some_and(|drain| drain.last) || process.finish != Finish::NotTold;
            require(!node.relay_is_shut || last, "relay: nobody reads the rest", detail)?;
        }
    }
    require(!master.accepts() || ready == 0 || readers > 0, "relay: nobody reads it", String::new)
}

/// A whole world.
pub(crate) fn world(world: &World) -> Verdict {
    let accepting: Vec<(usize, &Master)> = world.alive().filter(|(_, master)| master.accepts()).collect();
    for (index, master) in accepting.iter().take(accepting.len().saturating_sub(1)) {
        // From COMMIT until TAKEN has arrived, or until ABORT has.
        let window = matches!(master.upgrade(), Upgrade::Committed { .. } | Upgrade::Aborting { .. });
        let child = world.nodes[*index].successor.map(|child| child.node);
        let on_its_way = child.is_some_and(|child| world.is_in_flight(*index, child));
        let released = Event::Successor(SuccessorSays::Released);
        let hears = on_its_way || world.nodes[*index].from_successor.contains(&released);
        require(window && hears, "generations: two accept", || format!("{:?}", master.upgrade()))?;
    }
    for (index, master) in world.alive() {
        let known: Vec<Pid> = master.workers().map(|worker| worker.pid).collect();
        let really: Vec<Pid> = world.nodes[index].processes.keys().copied().collect();
        require(known == really, "workers: the roster is not what lives", || format!("{known:?}, really {really:?}"))?;
    }
    nobody_waits(world)
}

/// Without any fault, and without an order to stop, each queue is accepted from at every moment.
pub(crate) fn nobody_waits(world: &World) -> Verdict {
    if !world.opened || !world.clean {
        return Ok(());
    }
    // Those that are made later have nobody until they are assigned, a moment after.
    // Nor do those that the settings have given up.
    let is_closed = |queue: &QueueId| {
        world.alive().any(|(index, _)| world.nodes[index].queues.get(usize::from(queue.listener)) == Some(&0))
    };
    for queue in copies(&world.queues).into_iter().filter(|queue| !is_closed(queue)) {
        let accepted = |(index, _): (usize, &Master)| {
            world.nodes[index].processes.values().any(|process| process.accepts.contains(&queue))
        };
        require(world.alive().any(accepted), "generations: a gap, and no fault", || format!("queue {queue}"))?;
    }
    Ok(())
}

impl World {
    /// Whether a message is on its way that changes who serves.
    pub(crate) fn is_in_flight(&self, predecessor: usize, successor: usize) -> bool {
        let to_successor = &self.nodes[successor].from_predecessor;
        let to_predecessor = &self.nodes[predecessor].from_successor;
        let changes = |event: &Event| {
            matches!(
                event,
                Event::Successor(SuccessorSays::Taken | SuccessorSays::Released | SuccessorSays::Failed { .. })
            )
        };
        to_successor.contains(&Event::Predecessor(PredecessorSays::Abort)) || to_predecessor.iter().any(changes)
    }
}

/// What is checked once for each world: it costs a step of its own.
pub(crate) fn settled(world: &World) -> Verdict {
    for (index, master) in world.alive().filter(|(index, _)| world.nodes[*index].begun) {
        let mut again = master.clone();
        if master.deadline().is_none_or(|deadline| deadline > world.now) {
            let more = again.step(world.now, Event::Tick);
            require(more.is_empty() && again == *master, "settling: a tick finds more", || {
                format!("generation {}: {more:?}", world.nodes[index].generation)
            })?;
            continue;
        }
        for _ in 0..8 {
            if again.deadline().is_some_and(|deadline| deadline <= world.now) {
                drop(again.step(world.now, Event::Tick));
            }
        }
        let passed = again.deadline().is_none_or(|deadline| deadline > world.now);
        require(passed, "settling: the clock stands still", || format!("{:?}", again.deadline()))?;
    }
    Ok(())
}

fn hangs(master: &Master, node: &Node) -> bool {
    let stands = node.processes.values().any(|process| process.turning == Loop::Stands);
    stands && master.policy().heartbeat_timeout > Duration::ZERO
}

/// What is still to come, if the world is not at rest.
pub(crate) fn unrest(world: &World) -> Option<String> {
    for (index, master) in world.alive() {
        let node = &world.nodes[index];
        let busy = match (master.upgrade(), master.rollout(), master.lineage(), master.life()) {
            (upgrade, ..) if upgrade != Upgrade::Idle => format!("{upgrade:?}"),
            (_, rollout, ..) if rollout != Rollout::Idle => format!("{rollout:?}"),
            (.., lineage @ (Lineage::Awaiting(_) | Lineage::Heir), _) => format!("{lineage:?}"),
            (.., Life::Resting) => match master.workers().count() {
                0 => continue,
                left => format!("{left} workers at rest"),
            },
            (.., Life::Serving) => {
                let (all, wanted) = (master.workers().count(), usize::from(master.wanted()) + world.companions);
                let ready = master.workers().filter(|worker| worker.is_ready()).count();
                if ready != wanted || all != wanted {
                    format!("{ready} of {wanted} processes ready, {all} there")
                } else if hangs(master, node) {
                    "a worker hangs".to_owned()
                } else if !node.holds_pid_file {
                    "the pid file names somebody else".to_owned()
                } else if let Some(owed @ (Command::Reload | Command::Upgrade)) = node.owes.first() {
                    format!("{owed} was promised")
                } else {
                    continue;
                }
            }
            (.., life) => format!("{life:?}"),
        };
        return Some(format!("generation {}: {busy}", node.generation));
    }
    let alive = world.alive().count();
    if alive > 1 {
        return Some("two generations stay".to_owned());
    }
    if alive == 0 && !world.excused {
        return Some("nobody serves any more".to_owned());
    }
    if alive > 0 && world.shut {
        return Some("somebody serves on queues that are shut".to_owned());
    }
    if alive > 0 && world.stopped {
        return Some("somebody serves after the stop".to_owned());
    }
    None
}
