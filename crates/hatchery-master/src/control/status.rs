//! What a master looks like from outside.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use hatchery_control::{
    Listener as ListenerStatus, MasterState, Operation, Predecessor, Status, Totals, VERSION, WorkerState, WorkerStatus,
};
use hatchery_core::rollout::Rollout;
use hatchery_core::shutdown::Life;
use hatchery_core::upgrade::Upgrade;
use hatchery_core::worker::{Phase, Worker};
use hatchery_core::{Generation, Master, Moment};
use hatchery_net::{Listener, Listeners};
use hatchery_sys::board::{Board, Cell, Counter};
use hatchery_sys::{process, socket};

use super::{Control, Dormant};
use crate::children::Children;

/// What a master is asked for, besides what its control knows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a> {
    pub(crate) core: &'a Master,
    pub(crate) children: &'a Children,
    pub(crate) listeners: &'a Listeners,
    pub(crate) board: &'a Board,
    /// By the core's clock.
    pub(crate) now: Moment,
}

impl View<'_> {
    pub(crate) fn status(&self, control: &Control) -> Status {
        let Self { core, listeners, board, now, .. } = self;
        Status {
            state: state(core),
            stop_in_seconds: stop_in(core.life(), *now).map(millis),
            operation: operation(core, control.scaling.is_some()),
            workers: core.workers().map(|worker| self.worker(worker)).collect(),
            ..of_sockets(core.generation(), listeners, board, control)
        }
    }

    fn worker(&self, worker: &Worker) -> WorkerStatus {
        let (cell, age) = self.children.cell(worker.pid).unzip();
        let cell = cell.map(|cell| self.board.cell(cell));
        let count = |read: fn(&Cell) -> u64| cell.map(read).unwrap_or_default();
        WorkerStatus {
            slot: worker.slot.0,
            pid: worker.pid.0,
            generation: self.core.generation().0,
            state: phase(worker.phase),
            name: self.core.who(worker.slot).companion.map(|companion| companion.name),
            connections: count(|cell| cell.open.load(Relaxed)),
            in_flight: count(|cell| cell.in_flight.load(Relaxed)),
            requests: count(Cell::requests),
            accepted: count(Cell::accepted),
            age_seconds: millis(age.unwrap_or_default()),
        }
    }
}

/// Of a master on demand that waits for somebody.
pub(super) fn dormant(dormant: &Dormant<'_>, control: &Control) -> Status {
    let Dormant { generation, listeners, board } = dormant;
    Status { state: MasterState::Dormant, ..of_sockets(*generation, listeners, board, control) }
}

/// What is known without any worker.
fn of_sockets(generation: Generation, listeners: &Listeners, board: &Board, control: &Control) -> Status {
    let counted = board.totals();
    Status {
        version: VERSION,
        master: process::pid().as_raw(),
        generation: generation.0,
        state: MasterState::Starting,
        operation: None,
        stop_in_seconds: None,
        predecessors: predecessors(control),
        workers: Vec::new(),
        totals: Totals {
            requests: counted[Counter::Requests],
            connections: counted[Counter::Accepted],
            moved: counted[Counter::Moved],
            restarts: counted.restarts(),
        },
        listeners: listeners.iter().filter(|listener| !listener.is_closed()).map(listener).collect(),
    }
}

fn predecessors(control: &Control) -> Vec<Predecessor> {
    let second_name = |pid| control.endpoint.as_ref().and_then(|endpoint| endpoint.second_name(pid));
    let told = control.elders.iter().filter(|elder| !elder.process.has_ended()).map(|elder| Predecessor {
        master: elder.pid.0,
        generation: elder.generation.0,
        control: second_name(elder.pid),
    });
    told.collect()
}

fn listener(listener: &Listener) -> ListenerStatus {
    let queues: Vec<_> =
        listener.queues().iter().map(|queue| socket::accept_queue(std::os::fd::AsFd::as_fd(queue))).collect();
    // One that does not tell makes the sum a guess.
    let queued = queues.iter().map(|queue| queue.map(|queue| queue.queued)).sum::<Option<u32>>();
    let backlog = queues.iter().flatten().map(|queue| queue.backlog).max();
    ListenerStatus {
        address: listener.bound().to_string(),
        queues: u16::try_from(queues.len()).unwrap_or(u16::MAX),
        queued,
        backlog: backlog.unwrap_or_else(|| listener.backlog()),
    }
}

fn state(core: &Master) -> MasterState {
    match core.life() {
        _ if core.upgrade().is_handed_over() => MasterState::Draining,
        Life::Stopping { .. } | Life::GivingUp { .. } | Life::Over => MasterState::Draining,
        Life::LameDuck { .. } => MasterState::LameDuck,
        Life::Booting | Life::Serving if core.is_degraded() => MasterState::Degraded,
        Life::Booting => MasterState::Starting,
        Life::Serving => MasterState::Serving,
        Life::Resting => MasterState::Resting,
        Life::Dozing => MasterState::Dormant,
    }
}

/// How long it serves on as a lame duck.
fn stop_in(life: &Life, now: Moment) -> Option<Duration> {
    match life {
        Life::LameDuck { until } => Some(until.since(now)),
        Life::Booting
        | Life::Serving
        | Life::Resting
        | Life::Dozing
        | Life::Stopping { .. }
        | Life::GivingUp { .. }
        | Life::Over => None,
    }
}

fn operation(core: &Master, scales: bool) -> Option<Operation> {
    match (core.life(), core.upgrade(), core.rollout()) {
        (Life::LameDuck { .. } | Life::Stopping { .. } | Life::GivingUp { .. } | Life::Over, _, _) => {
            Some(Operation::Stop)
        }
        (_, upgrade, _) if upgrade != Upgrade::Idle => Some(Operation::Upgrade),
        (_, _, Rollout::Rereading | Rollout::Rolling) => Some(Operation::Reload),
        (_, _, Rollout::Idle) => scales.then_some(Operation::Scale),
    }
}

fn phase(phase: Phase) -> WorkerState {
    match phase {
        Phase::Starting { .. } | Phase::Failed { .. } => WorkerState::Starting,
        Phase::Ready(_) => WorkerState::Ready,
        Phase::Finishing { .. } | Phase::Draining { .. } => WorkerState::Draining,
        Phase::Blocked { .. } => WorkerState::Blocked,
        Phase::Killed { .. } => WorkerState::Killed,
    }
}

/// Seconds with three digits after the point.
pub(super) fn millis(span: Duration) -> f64 {
    let millis = u32::try_from(span.as_millis()).map_or_else(|_| span.as_secs_f64() * 1000.0, f64::from);
    millis.round() / 1000.0
}
