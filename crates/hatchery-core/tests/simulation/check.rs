//! What has to hold, whatever happens.

use std::time::Duration;

use hatchery_core::rollout::Rollout;
use hatchery_core::shutdown::Life;
use hatchery_core::upgrade::Upgrade;
use hatchery_core::wire::worker::Whose;
use hatchery_core::worker::{Phase, Worker};
use hatchery_core::{Action, CompanionKind, Event, Lineage, Master, Moment, Pid, QueueId, Sample, Slot};

use crate::world::{Node, World, copies};

/// How far the twin's clock is ahead, in milliseconds.
const AHEAD: u64 = 3_600_000;

/// Pids and clock mean nothing but their order and their distance.
pub(crate) fn twin(node: &mut Node, now: Moment, event: &Event, actions: &[Action]) {
    let later = Moment(now.0 + AHEAD);
    let said = node.twin.step(later, renamed(event.clone()));
    assert_eq!(said.len(), actions.len(), "the twin acts differently");
    let canonical = node.master.canonical(now);
    assert_eq!(node.twin.canonical(later), canonical, "states that behave alike are not equal");
    assert_eq!(canonical.canonical(Moment(0)), canonical, "canonical is not idempotent");
}

fn renamed(event: Event) -> Event {
    let other = |pid: Pid| Pid(pid.0 * 3 + 1);
    match event {
        Event::Spawned { slot, pid } => Event::Spawned { slot, pid: other(pid) },
        Event::Exited { pid, ending } => Event::Exited { pid: other(pid), ending },
        Event::Worker { pid, says } => Event::Worker { pid: other(pid), says },
        Event::Sampled(samples) => {
            let renamed = samples.into_iter().map(|sample| Sample { pid: other(sample.pid), ..sample });
            Event::Sampled(renamed.collect())
        }
        Event::SuccessorStarted { pid } => Event::SuccessorStarted { pid: other(pid) },
        Event::Begin
        | Event::Tick
        | Event::Command(_)
        | Event::SpawnFailed { .. }
        | Event::QueuesAdded { .. }
        | Event::QueuesNotAdded { .. }
        | Event::Knocked
        | Event::QueuesQuiet
        | Event::Settings { .. }
        | Event::ListenersClosed { .. }
        | Event::SettingsRefused { .. }
        | Event::SuccessorNotStarted { .. }
        | Event::Successor(_)
        | Event::SuccessorLinkClosed
        | Event::Predecessor(_)
        | Event::PredecessorLinkClosed => event,
    }
}

/// One step as a whole.
pub(crate) fn step(world: &World, node: usize, before: &Master, event: &Event, actions: &[Action]) {
    let after = &world.nodes[node].master;
    let ready =
        |master: &Master| master.workers().filter(|worker| worker.is_ready() && !worker.slot.is_companion()).count();
    let serves = |master: &Master| {
        (*master.life() == Life::Booting || master.life().is_serving()) && !master.upgrade().is_handed_over()
    };
    let aborted = actions.iter().filter(|action| matches!(action, Action::Abort { .. })).count();
    let died = usize::from(matches!(event, Event::Exited { .. })) + aborted;
    if serves(before) && serves(after) {
        let floor = (ready(before) - died.min(ready(before))).min(usize::from(after.wanted()));
        assert!(ready(after) >= floor, "{event:?} took the ready workers below the floor: {actions:?}");
    }
    // What settles once stays settled.
    if !matches!(after.life(), Life::Over) && after.deadline().is_none_or(|deadline| deadline > world.now) {
        let mut again = after.clone();
        let more = again.step(world.now, Event::Tick);
        assert!(more.is_empty() && again == *after, "after {event:?} a tick found something left to do: {more:?}");
    }
    let mut again = after.clone();
    for _ in 0..8 {
        if again.deadline().is_none_or(|deadline| deadline > world.now) {
            return;
        }
        drop(again.step(world.now, Event::Tick));
    }
    panic!("after {event:?} the clock has to stand still for ever: {:?}", again.deadline());
}

/// One action, before it is performed.
pub(crate) fn action(world: &World, node: usize, action: &Action) {
    let this = &world.nodes[node];
    let is_successor =
        |pid: Pid| this.successor.is_some_and(|successor| world.nodes[successor].pid == pid) && !this.successor_reaped;
    match action {
        Action::Tell { pid, .. } => assert!(this.processes.contains_key(pid), "{action:?} to a reaped process"),
        Action::Kill { pid } => {
            assert!(this.processes.contains_key(pid) || is_successor(*pid), "{action:?} of a reaped process");
        }
        Action::Abort { pid } => assert!(this.processes.contains_key(pid), "{action:?} of a reaped process"),
        Action::Terminate { pid } => assert!(is_successor(*pid), "{action:?} of a reaped process"),
        Action::Spawn { slot } if slot.is_companion() => {
            // Workers that drain may still ask for jobs, and tell sidecars something; so may those.
            let kind = |slot: Slot| slot.as_companion().and_then(|index| this.companions.get(index)).map(|it| it.kind);
            let asks = |worker: &Worker| match (kind(worker.slot), kind(*slot)) {
                (None, _) => true,
                (Some(CompanionKind::Sidecar), of) => of != Some(CompanionKind::Sidecar),
                (Some(CompanionKind::Jobs | CompanionKind::Admin), _) => false,
            };
            let drains = |worker: &Worker| !matches!(worker.phase, Phase::Killed { .. });
            let asked_for = this.master.workers().any(|worker| asks(worker) && drains(worker));
            assert!(this.master.wanted() > 0 || asked_for, "a companion of nobody");
        }
        Action::Spawn { .. } => {
            let life = this.master.life();
            assert!(*life == Life::Booting || life.is_serving(), "a fork while {life:?}");
            assert!(!this.master.upgrade().is_handed_over(), "a fork after the handing over");
        }
        Action::StartSuccessor { .. } => {
            assert!(this.successor.is_none() || this.successor_reaped, "two successors");
        }
        Action::TellSuccessor(_) => assert!(this.link_to_successor, "{action:?} over a closed link"),
        Action::BarQueues => assert!(world.alive().all(|other| other == node), "barred beside another generation"),
        Action::ShutQueues => {
            for other in world.alive().filter(|other| *other != node) {
                let master = &world.nodes[other].master;
                // It may not have heard yet that an operator ends both.
                let hears = world.is_in_flight(node, other) || world.is_in_flight(other, node);
                assert!(!master.accepts() || hears, "queues shut under generation {}", master.generation());
            }
        }
        Action::ShutListeners { .. } => unreachable!("every successor takes every listener here"),
        Action::Exit(_) => {
            assert!(this.processes.is_empty(), "an exit with workers left");
            let child = this.successor.is_some_and(|child| world.nodes[child].ending.is_none());
            let leaves = matches!(this.master.upgrade(), Upgrade::Retiring { .. } | Upgrade::Leaving);
            assert!(leaves || !child || this.successor_reaped, "an exit with a successor left");
        }
        Action::ShutRelay => assert!(!this.relay_is_shut, "shut twice"),
        Action::OpenRelay => assert!(this.relay_is_shut, "open already"),
        Action::CloseListeners { .. } => panic!("closed: {action:?}"),
        Action::Reread
        | Action::Reopen
        | Action::Sample { .. }
        | Action::AddQueues { .. }
        | Action::TellPredecessor(_)
        | Action::CloseSuccessorLink
        | Action::TakePidFile
        | Action::TakeBackPidFile
        | Action::Log(_) => {}
    }
}

/// The state that a step has led to, once its actions are performed.
pub(crate) fn state(world: &World, node: usize) {
    let this = &world.nodes[node];
    if this.ending.is_some() {
        return;
    }
    let master = &this.master;
    queues_are_served(world, node);
    connections_have_heirs(world, node);
    let wanted = master.wanted();
    let current = master.workers().filter(|worker| worker.is_current() && worker.slot.0 < wanted).count();
    assert!(current <= usize::from(wanted) + 1, "{current} workers where {wanted} are wanted");
    if master.rollout() == Rollout::Rolling {
        assert!(!master.life().is_ending(), "a roll-out at the end");
    }
    only_one_generation_accepts(world);
}

fn queues_are_served(world: &World, node: usize) {
    let this = &world.nodes[node];
    let serves = |worker: &&Worker| worker.is_ready() && !worker.slot.is_companion();
    let ready: Vec<&Worker> = this.master.workers().filter(serves).collect();
    let told = |queue: QueueId| ready.iter().any(|worker| this.processes[&worker.pid].queues.contains(&queue));
    let all = copies(&this.queues);
    // Asked for, but not known to the core yet.
    let is_news = |queue: &QueueId| {
        this.answers.iter().any(|event| matches!(event, Event::QueuesAdded { .. }) && queue.index > 0)
    };
    if this.master.accepts() && !ready.is_empty() {
        for queue in all.into_iter().filter(|queue| !is_news(queue)) {
            assert!(told(queue), "queue {queue} has no ready worker: {:?}", this.master);
        }
    } else if !this.master.life().is_ending() {
        for queue in all {
            assert!(!told(queue), "queue {queue} is accepted from, and should not be: {:?}", this.master);
        }
    }
}

/// What is written to a relay is read, and nobody is sent to one that is shut.
fn connections_have_heirs(world: &World, node: usize) {
    let this = &world.nodes[node];
    let mut readers = 0;
    let mut ready = 0;
    for worker in this.master.workers().filter(|worker| !worker.slot.is_companion()) {
        let process = &this.processes[&worker.pid];
        if worker.is_ready() {
            ready += 1;
            readers += usize::from(process.reads_relay);
            assert!(!this.relay_is_shut || !this.master.accepts(), "a worker stays whose relay is shut");
        }
        if matches!(worker.phase, Phase::Draining { .. }) {
            let heir = process.heir;
            assert!(heir != Some(Whose::Own) || !this.relay_is_shut, "connections are sent into a relay that is shut");
            let gone_over = this.master.upgrade().is_handed_over();
            assert_eq!(
                heir == Some(Whose::Successor),
                gone_over && process.told_to_drain,
                "{heir:?}: {:?}",
                this.master
            );
            let finished = process.told_to_finish;
            assert!(!this.relay_is_shut || process.is_last || finished, "nobody reads the rest of the relay");
        }
    }
    if this.master.accepts() && ready > 0 {
        assert!(readers > 0, "nobody reads the relay: {:?}", this.master);
    }
}

/// Two may accept for a moment, from COMMIT until TAKEN has arrived, or until ABORT has.
fn only_one_generation_accepts(world: &World) {
    let accepting: Vec<usize> = world.alive().filter(|node| world.nodes[*node].master.accepts()).collect();
    match accepting[..] {
        [] | [_] => {}
        [older, younger] => {
            assert_eq!(world.nodes[older].successor, Some(younger));
            assert_eq!(world.nodes[younger].predecessor, Some(older));
            let upgrade = world.nodes[older].master.upgrade();
            let window = matches!(upgrade, Upgrade::Committed { .. } | Upgrade::Aborting { .. });
            assert!(window && world.is_in_flight(older, younger), "two generations accept: {upgrade:?}");
        }
        _ => panic!("more than two generations accept"),
    }
}

/// Where everything has come to rest after workers were given all they need.
pub(crate) fn rest(world: &World) {
    let alive: Vec<usize> = world.alive().collect();
    for node in &alive {
        let master = &world.nodes[*node].master;
        assert_eq!(master.upgrade(), Upgrade::Idle, "{master:?}");
        assert_eq!(master.rollout(), Rollout::Idle, "{master:?}");
        assert!(!matches!(master.lineage(), Lineage::Awaiting(_) | Lineage::Heir), "{master:?}");
        match master.life() {
            Life::Resting => assert_eq!(master.workers().count(), 0),
            Life::Serving => {
                let ready = master.workers().filter(|worker| worker.is_ready()).count();
                let wanted = usize::from(master.wanted()) + world.nodes[*node].companions.len();
                // One may be on its way out because it is old, and another one on its way in.
                let renewing = usize::from(master.policy().max_lifetime > Duration::ZERO);
                assert!((wanted..=wanted + renewing).contains(&ready), "{master:?}");
                assert!(master.workers().count() <= ready + 2 * renewing, "{master:?}");
            }
            life @ (Life::Booting
            | Life::LameDuck { .. }
            | Life::Dozing
            | Life::Stopping { .. }
            | Life::GivingUp { .. }
            | Life::Over) => {
                panic!("stuck: {life:?}, {master:?}")
            }
        }
        assert!(!world.shut, "it serves on queues that are shut: {master:?}");
    }
    assert!(alive.len() <= 1, "two generations stay");
    assert!(!alive.is_empty() || world.excused, "nobody serves any more");
}
