//! The way to the end.
//!
//! ```text
//!          Finish, or the master is gone       queues are empty
//! Serving ───────────────────────────▶ Emptying ─────▶ Lingering
//!    │                                    │  the master │  │ queues are shut,
//!    │ Drain                              │  is gone    │  │ or a while is over
//!    └────────────────────────────────────┴─────────────┴──┴──▶ Draining ─▶ exit
//! ```
//! Only forwards. An order to drain leads to the last stage from any other. The
//! relay is one more queue: emptied with them, and shut when they are.

use std::os::fd::OwnedFd;
use std::time::Duration;

use hatchery_core::QueueId;
use hatchery_core::wire::worker::WorkerSays;
use hatchery_sys::process;
use tokio::time::Instant;
use tracing::warn;

use crate::boot::Boot;
use crate::relay::outlet::Heir;
use crate::shared::Shared;

/// How long a worker goes on accepting after it has said that its queues are
/// empty, if the master does not shut them before.
pub(crate) const LINGER: Duration = Duration::from_secs(2);

/// How far a worker is from its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It accepts from what is assigned to it.
    Serving,
    /// Nobody will come after it: it accepts until its queues are empty.
    Emptying(Errand),
    /// It has said that they are. It still accepts, since clients may still
    /// connect: only the master's shutting the queues ends that.
    Lingering,
    /// It accepts nothing, and is over when nothing is open any more.
    Draining,
}

/// For whom a worker empties its queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Errand {
    /// For its master, which waits to hear it.
    Master,
    /// For the clients alone: there is no master any more, nor anybody to shut the queues.
    Orphan,
}

impl Stage {
    /// Whether everything open should come to its end.
    pub(crate) fn is_draining(self) -> bool {
        match self {
            Self::Draining => true,
            Self::Serving | Self::Emptying(_) | Self::Lingering => false,
        }
    }

    /// Whether a new connection may be accepted.
    pub(crate) fn accepts(self) -> bool {
        !self.is_draining()
    }
}

/// Whether there is a master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bond {
    /// The channel is open.
    Whole,
    /// Nobody holds its other end.
    Broken,
}

/// What the master and the operator want.
impl Shared {
    /// Accept from these queues and no other, and read the relay or not.
    pub(crate) fn assign(&self, queues: Vec<QueueId>, relay: bool) {
        for id in &queues {
            if self.queues.borrow().queue(*id).is_none() && self.stage().accepts() {
                warn!("the master assigns queue {id}, which is not there");
            }
        }
        self.assigned.replace(queues);
        self.assignment.set(self.assignment.get() + 1);
        self.wake_gates();
        self.inlet.assigned.set(relay);
        self.inlet.wake();
    }

    /// A queue that was made after this worker was, and will be assigned to somebody.
    pub(crate) fn add_queue(&self, id: QueueId, queue: Option<OwnedFd>) {
        let Some(queue) = queue.filter(|_| self.stage().accepts()) else { return };
        if let Err(fault) = self.queues.borrow_mut().adopt_queue(id, queue) {
            warn!("the master's queue {id} {fault}");
        }
    }

    /// Others have fewer connections: so many are to go there.
    pub(crate) fn hand_over(&self, connections: u32, heir: Option<Heir>) {
        match self.stage() {
            Stage::Serving => {
                let connections = if heir.is_some() { connections } else { 0 };
                self.outlet.bequeath(heir);
                self.shed.ask(connections);
                if connections > 0 {
                    // Not its own back, until the master says that it may.
                    self.inlet.assigned.set(false);
                }
            }
            // What is open goes anyway.
            Stage::Emptying(_) | Stage::Lingering | Stage::Draining => {}
        }
    }

    /// Whether there is somebody who takes connections of this listener's service.
    pub(crate) fn has_heir(&self, listener: usize) -> bool {
        let services = self.services.borrow();
        services.get(listener).and_then(Option::as_ref).is_some_and(|service| self.outlet.takes(service))
    }

    /// Somebody wants this worker replaced. It serves on until the master has one.
    pub(crate) fn recycle(&self) {
        match (self.bond.get(), &mut *self.boot.borrow_mut()) {
            (Bond::Whole, Boot::Booting { recycle, .. } | Boot::Claimed { recycle }) => *recycle = true,
            (Bond::Whole, Boot::Ready) => self.say(&WorkerSays::Recycle),
            // It is on its way to the end already.
            (Bond::Broken, Boot::Booting { .. } | Boot::Claimed { .. } | Boot::Ready) => {}
        }
    }

    /// The final stop.
    pub(crate) fn finish(&self, timeout: Duration) {
        self.ends_within(timeout);
        if self.stage() == Stage::Serving {
            // Nobody stays who would take them.
            self.shed.ask(0);
            self.outlet.bequeath(None);
            self.begin_emptying(Errand::Master);
        }
    }

    /// The master is gone, and nobody watches the time any more.
    pub(crate) fn orphaned(&self) {
        if self.bond.replace(Bond::Broken) == Bond::Broken {
            return;
        }
        // Zero would clear it.
        process::alarm(self.drain_timeout.max(Duration::from_secs(1)));
        self.shed.ask(0);
        self.ends_within(self.drain_timeout);
        self.outlet.wait_within(self.drain_timeout);
        // All workers of this generation are about to end: what they have sent to
        // each other is read by themselves, and no more is sent.
        if !self.outlet.leads_elsewhere() {
            self.outlet.bequeath(self.refuge.take());
        }
        self.inlet.look_again();
        match self.stage() {
            Stage::Serving | Stage::Emptying(_) => self.begin_emptying(Errand::Orphan),
            Stage::Lingering => self.drain(),
            Stage::Draining => self.wake_gates(),
        }
    }

    /// Somebody else serves the queues. It may be said again, with another heir.
    pub(crate) fn let_go(&self, timeout: Duration, heir: Option<Heir>, last: bool) {
        self.shed.ask(0);
        self.ends_within(timeout);
        // Before anybody hears of the drain, and asks where to go.
        self.outlet.wait_within(timeout);
        self.outlet.bequeath(heir);
        // Nobody who reads a relay to its end can be told to stay.
        self.inlet.last.set(self.inlet.last.get() || last);
        self.inlet.wake();
        self.drain();
        // Whether there is something to wait for may have changed.
        self.wake_gates();
    }

    /// Accept nothing more, and bring to an end what is open.
    pub(crate) fn drain(&self) {
        if self.stage.replace(Stage::Draining).is_draining() {
            return;
        }
        self.entitle("draining");
        self.queues.take();
        self.drained.cancel();
        self.inlet.wake();
        self.wake_gates();
    }

    /// Then it is ended by force.
    fn ends_within(&self, timeout: Duration) {
        self.deadline.set(Instant::now().checked_add(timeout));
    }

    fn begin_emptying(&self, errand: Errand) {
        self.stage.set(Stage::Emptying(errand));
        for gate in &*self.gates.borrow() {
            gate.emptied.set(false);
        }
        self.inlet.look_again();
        self.wake_gates();
        self.check_empty();
    }

    /// Goes on when every gate has seen its queues empty, and the relay is empty.
    pub(crate) fn check_empty(&self) {
        let Stage::Emptying(errand) = self.stage() else { return };
        if self.is_relay_unread() || !self.gates.borrow().iter().all(|gate| gate.emptied.get()) {
            return;
        }
        match errand {
            Errand::Master => {
                self.stage.set(Stage::Lingering);
                self.say(&WorkerSays::Emptied);
                self.wake_gates();
                self.check_shut();
            }
            Errand::Orphan => self.drain(),
        }
    }

    /// Goes on when there is nothing left that anything could come from.
    pub(crate) fn check_shut(&self) {
        let is_shut = || !self.is_relay_open() && self.gates.borrow().iter().all(|gate| gate.queues.get() == 0);
        if self.stage() == Stage::Lingering && is_shut() {
            self.drain();
        }
    }
}
