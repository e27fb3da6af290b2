//! Everything that is to be known of the server, for the process that tells operators.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;

use hatchery_control::{Counts, Histogram, SlotMeasures, Snapshot};
use hatchery_core::Slot;
use hatchery_sys::board::{Cell, Counter, LATENCY_BOUNDS, STEP_BOUNDS, Totals};
use hatchery_sys::{Pid, process, time};

use super::Driver;
use crate::control::View;

impl Driver {
    pub(super) fn snapshot(&self) -> Snapshot {
        let Self { core, children, listeners, board, control, .. } = self;
        // Of processes that have outlived their master nobody else keeps account.
        board.sweep();
        let mut counted: BTreeMap<u16, Totals> = BTreeMap::new();
        for cell in board.used() {
            if let Some(home) = cell.home() {
                *counted.entry(home).or_default() += cell.at_home();
            }
        }
        let mut slots: BTreeMap<u16, SlotMeasures> =
            counted.iter().map(|(slot, totals)| (*slot, self.measures(*slot, totals))).collect();
        for cell in board.used() {
            if let Some(slot) = cell.slot().filter(|_| cell.owner() != 0) {
                let measures = slots.entry(slot).or_insert_with(|| self.measures(slot, &Totals::default()));
                look_at(cell, measures);
            }
        }
        Snapshot {
            status: View { core, children, listeners, board, now: self.now() }.status(control),
            counts: counts(&board.totals()),
            slots: slots.into_values().collect(),
            master_resident: process::resident(process::pid()),
        }
    }

    /// A place in which nobody was seen yet.
    fn measures(&self, slot: u16, totals: &Totals) -> SlotMeasures {
        SlotMeasures {
            slot,
            name: self.core.who(Slot(slot)).companion.map(|companion| companion.name),
            processes: 0,
            connections: 0,
            in_flight: 0,
            accepted: totals[Counter::Accepted],
            requests: totals[Counter::Requests],
            responses: named(totals, &Counter::CLASSES),
            moved: totals[Counter::Moved],
            latency: latency(totals),
            resident: 0,
            lag_seconds: 0.0,
        }
    }
}

/// Adds the process that has the cell.
fn look_at(cell: &Cell, measures: &mut SlotMeasures) {
    let Some(pid) = i32::try_from(cell.pid.load(Relaxed)).ok().filter(|pid| *pid > 0) else { return };
    measures.processes += 1;
    measures.connections += cell.open.load(Relaxed);
    measures.in_flight += cell.in_flight.load(Relaxed);
    measures.resident += process::resident(Pid::from_raw(pid)).unwrap_or(0);
    let (turn, progress) = (cell.turn.load(Relaxed), cell.progress());
    if turn % 2 == 1 && progress != 0 {
        let lag = seconds(time::monotonic().saturating_sub(progress) / 1000);
        measures.lag_seconds = measures.lag_seconds.max(lag);
    }
}

fn counts(totals: &Totals) -> Counts {
    Counts {
        connections: totals[Counter::Accepted],
        requests: totals[Counter::Requests],
        responses: named(totals, &Counter::CLASSES),
        moved: totals[Counter::Moved],
        refused: totals[Counter::Refused],
        panics: totals[Counter::Panics],
        limits: named(totals, &Counter::LIMITS),
        restarts: named(totals, &Counter::RESTARTS),
        companion_restarts: named(totals, &Counter::COMPANION_RESTARTS),
        latency: latency(totals),
        steps: histogram(&STEP_BOUNDS, totals.steps(), totals[Counter::BusySum]),
    }
}

fn named(totals: &Totals, list: &[(Counter, &'static str)]) -> BTreeMap<String, u64> {
    list.iter().map(|(counter, name)| ((*name).to_owned(), totals[*counter])).collect()
}

fn latency(totals: &Totals) -> Histogram {
    histogram(&LATENCY_BOUNDS, totals.latency(), totals[Counter::LatencySum])
}

fn histogram(bounds: &[u64], buckets: &[u64], sum: u64) -> Histogram {
    Histogram { bounds: bounds.iter().copied().map(seconds).collect(), buckets: buckets.to_vec(), sum: seconds(sum) }
}

#[expect(clippy::cast_precision_loss, reason = "after 285 years of microseconds")]
fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}
