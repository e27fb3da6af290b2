//! Connections stick to the worker that has accepted them, so their numbers are
//! evened out now and then.
//!
//! ```text
//!         one has clearly more              all are about even
//! Calm ─────────────────────────▶ Evening ─────────────────────▶ Calm
//!                                    │ it does not help
//!                                    └──▶ Pausing ── a while, or other workers ──▶ Calm
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::ids::Pid;
use crate::time::Moment;

/// After so many rounds that did not help, those that are left over cannot move.
pub(super) const MOST_ROUNDS: u32 = 20;
/// A round helps if at least this part of what was too much is gone since the last one that did.
const HELPS: u64 = 16;
const PAUSE: Duration = Duration::from_secs(30);

/// How the connections are spread.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Balance {
    #[default]
    Calm,
    Evening {
        /// How many there were since one that helped.
        round: u32,
        /// How many connections were above the mean then.
        excess: u64,
        /// Those above the mean: they take in none.
        crowded: BTreeSet<Pid>,
        /// Those that were told to hand some over.
        shedding: BTreeSet<Pid>,
    },
    Pausing {
        until: Moment,
        /// Whose connections could not be evened out: of others nothing is known.
        among: BTreeSet<Pid>,
    },
}

impl Balance {
    pub(super) fn is_evening(&self) -> bool {
        matches!(self, Self::Evening { .. })
    }

    /// Those above the mean.
    pub(super) fn crowded(&self) -> BTreeSet<Pid> {
        match self {
            Self::Evening { crowded, .. } => crowded.clone(),
            Self::Calm | Self::Pausing { .. } => BTreeSet::new(),
        }
    }

    pub(super) fn forget(&mut self, pid: Pid) {
        if let Self::Evening { crowded, shedding, .. } = self {
            crowded.remove(&pid);
            shedding.remove(&pid);
        }
    }

    pub(super) fn map(&mut self, pid: &impl Fn(Pid) -> Pid, moment: &impl Fn(Moment) -> Moment) {
        let pids = |set: &BTreeSet<Pid>| set.iter().map(|known| pid(*known)).collect();
        match self {
            Self::Calm => {}
            Self::Evening { crowded, shedding, .. } => {
                *crowded = pids(crowded);
                *shedding = pids(shedding);
            }
            Self::Pausing { until, among } => {
                *until = moment(*until);
                *among = pids(among);
            }
        }
    }

    /// What every worker with too many connections is told.
    pub(super) fn even_out(&mut self, opens: &BTreeMap<Pid, u64>, now: Moment) -> Vec<(Pid, u32)> {
        let total: u64 = opens.values().sum();
        let mean = total.div_ceil(opens.len().max(1) as u64);
        let above = |slack: u64| opens.iter().filter(move |(_, open)| **open > mean + slack);
        let excess = above(0).map(|(_, open)| open - mean).sum();
        let (round, excess) = match &*self {
            Self::Pausing { until, among } if now < *until && among.iter().eq(opens.keys()) => return Vec::new(),
            Self::Calm | Self::Pausing { .. } if above((mean / 8).max(8)).next().is_none() => {
                *self = Self::Calm;
                return Vec::new();
            }
            Self::Calm | Self::Pausing { .. } => (0, excess),
            Self::Evening { excess: before, .. } if excess + (before / HELPS).max(1) <= *before => (0, excess),
            Self::Evening { round, excess, .. } => (round + 1, *excess),
        };
        let mut orders: BTreeMap<Pid, u32> = above((mean / 16).max(1))
            .map(|(pid, open)| (*pid, u32::try_from(open - mean).unwrap_or(u32::MAX)))
            .collect();
        let shedding: BTreeSet<Pid> = orders.keys().copied().collect();
        if let Self::Evening { shedding: before, .. } = &*self {
            orders.extend(before.difference(&shedding).map(|pid| (*pid, 0)));
        }
        *self = if shedding.is_empty() {
            Self::Calm
        } else if round >= MOST_ROUNDS {
            orders.values_mut().for_each(|number| *number = 0);
            Self::Pausing { until: now + PAUSE, among: opens.keys().copied().collect() }
        } else {
            let crowded = above(0).map(|(pid, _)| *pid).collect();
            Self::Evening { round, excess, crowded, shedding }
        };
        orders.into_iter().collect()
    }

    /// Everybody keeps what it has. Returns who has to hear that.
    pub(super) fn calm_down(&mut self) -> BTreeSet<Pid> {
        match std::mem::take(self) {
            Self::Evening { shedding, .. } => shedding,
            paused @ Self::Pausing { .. } => {
                *self = paused;
                BTreeSet::new()
            }
            Self::Calm => BTreeSet::new(),
        }
    }
}
