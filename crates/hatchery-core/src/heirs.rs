//! Who takes the connections of a worker that drains.
//!
//! Where somebody serves on, connections do not close, they move: to another
//! worker of this generation, to the successor once it has taken over, or back
//! to the predecessor that takes back. Each generation has a relay of its own,
//! read by its own workers alone, so that everything in it is of a kind that
//! they have declared.
//!
//! A drain is told again when its heir changes: that is part of settling, and so
//! a stop in the middle of an upgrade during which an old worker still drains
//! needs no code of its own.

use crate::action::Action;
use crate::ids::Pid;
use crate::lineage::Lineage;
use crate::master::{Actions, Master};
use crate::notice::Notice;
use crate::shutdown::Life;
use crate::takes::Takes;
use crate::time::Moment;
use crate::wire::worker::{Heir, MasterSays, Whose};
use crate::worker::{Bequest, Phase};

/// What each generation has declared that it takes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Kin {
    /// This one: what all of its workers take.
    pub(crate) own: Takes,
    /// The next one, from its READY on.
    pub(crate) successor: Takes,
    /// The one before, from its COMMIT on.
    pub(crate) predecessor: Takes,
    pub(crate) relay: Relay,
}

/// Whether the relay of this generation can be written to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Relay {
    /// It can.
    #[default]
    Open,
    /// This generation's workers go, all of them: they read what is left in it.
    Shut,
}

impl Master {
    /// Whose relay a worker that is let go now sends its connections to.
    fn heir(&self) -> Option<Whose> {
        if self.upgrade.is_handed_over() {
            return Some(Whose::Successor);
        }
        match (&self.life, self.lineage) {
            // It takes back, or has done so.
            (Life::Stopping { .. } | Life::GivingUp { .. }, Lineage::Backed { .. })
            | (Life::GivingUp { .. }, Lineage::Alone) => Some(Whose::Predecessor),
            (Life::Booting | Life::Serving | Life::LameDuck { .. }, _) if self.accepts() => Some(Whose::Own),
            (Life::Booting | Life::Serving | Life::LameDuck { .. } | Life::Resting | Life::Dozing, _)
            | (Life::Stopping { .. }, Lineage::Alone)
            | (
                Life::Stopping { .. } | Life::GivingUp { .. },
                Lineage::First | Lineage::Awaiting(_) | Lineage::Heir | Lineage::Released { .. },
            )
            | (Life::Over, _) => None,
        }
    }

    /// What becomes of the connections of a worker that is let go now.
    pub(crate) fn bequest(&self) -> Bequest {
        // Nobody of this generation stays who would read its relay.
        let last = self.upgrade.is_leaving() || self.life.is_ending() || self.life.is_resting();
        Bequest { heir: self.heir(), last }
    }

    /// The order to drain.
    pub(crate) fn drain_order(&self, bequest: Bequest, deadline: Moment, now: Moment) -> MasterSays {
        let heir = bequest.heir.and_then(|whose| self.as_heir(whose));
        MasterSays::Drain { timeout: deadline.since(now), heir, last: bequest.last }
    }

    /// The predecessor as a refuge for a worker that is left without a master.
    pub(crate) fn refuge(&self) -> Option<MasterSays> {
        let heir = self.as_heir(Whose::Predecessor).filter(|_| matches!(self.lineage, Lineage::Backed { .. }))?;
        Some(MasterSays::Refuge { heir })
    }

    /// Says which connections will be closed, since the successor has not declared that it takes them.
    pub(crate) fn warn_of_what_stays(&self, out: &mut Actions) {
        let stays = self.kin.own.services().filter(|service| !self.kin.successor.takes(service));
        let services: Vec<String> = stays.map(ToString::to_string).collect();
        if !services.is_empty() {
            out.push(Action::Log(Notice::NotTaken { services }));
        }
    }

    /// An heir, unless it takes nothing at all.
    pub(crate) fn as_heir(&self, relay: Whose) -> Option<Heir> {
        let takes = match relay {
            Whose::Own => &self.kin.own,
            Whose::Successor => &self.kin.successor,
            Whose::Predecessor => &self.kin.predecessor,
        };
        (*takes != Takes::nothing()).then(|| Heir { relay, takes: takes.clone() })
    }

    /// A worker has become ready: what it does not take, nobody of this generation is sent.
    pub(crate) fn declared(&mut self, pid: Pid, out: &mut Actions) {
        let others = self.roster.serving().filter(|worker| worker.is_ready()).map(|worker| &worker.takes);
        if let Some(own) = others.cloned().reduce(|a, b| a.both(&b)) {
            self.kin.own = own;
        }
        out.extend(self.refuge().map(|says| Action::Tell { pid, says }));
    }

    /// Nobody of this generation stays.
    pub(crate) fn shut_relay(&mut self, out: &mut Actions) {
        if self.kin.relay == Relay::Open {
            self.kin.relay = Relay::Shut;
            out.push(Action::ShutRelay);
        }
    }

    /// This generation serves again: those who read the relay to its end cannot be told to stay.
    pub(crate) fn open_relay(&mut self, out: &mut Actions) {
        if self.kin.relay == Relay::Shut {
            self.kin.relay = Relay::Open;
            out.push(Action::OpenRelay);
        }
    }

    /// Tells the workers where connections can go if this master dies: to the generation that serves beside it.
    pub(crate) fn tell_refuge(&self, whose: Whose, out: &mut Actions) {
        let Some(heir) = self.as_heir(whose) else { return };
        let says = MasterSays::Refuge { heir };
        let ready = self.roster.serving().filter(|worker| worker.is_ready());
        out.extend(ready.map(|worker| Action::Tell { pid: worker.pid, says: says.clone() }));
    }

    /// Tells those who drain when it is somebody else by now who takes their connections.
    pub(crate) fn settle_heirs(&mut self, now: Moment, out: &mut Actions) {
        let bequest = self.bequest();
        let changed = |phase: Phase| match phase {
            Phase::Draining { deadline, bequest: told } => (told != bequest).then_some(deadline),
            Phase::Starting { .. }
            | Phase::Failed { .. }
            | Phase::Ready(_)
            | Phase::Finishing { .. }
            | Phase::Blocked { .. }
            | Phase::Killed { .. } => None,
        };
        let news: Vec<(Pid, Moment)> =
            self.roster.serving().filter_map(|worker| Some((worker.pid, changed(worker.phase)?))).collect();
        for (pid, deadline) in news {
            let says = self.drain_order(bequest, deadline, now);
            if let Some(worker) = self.roster.get_mut(pid) {
                worker.phase = Phase::Draining { deadline, bequest };
            }
            out.push(Action::Tell { pid, says });
        }
    }
}

#[cfg(test)]
mod tests;
