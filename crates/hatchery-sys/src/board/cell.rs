//! What one process says about itself.

use std::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

use super::Counter;
use super::counts::{ROOM, Totals, latency_place, step_place};
use crate::time;

/// What one process says about itself.
///
/// Only that process stores into it, but for what its master has noted before
/// the fork; so a load and a store are enough to count, and everybody may load.
/// A cell never shares a cache line, or the line that the processor fetches along
/// with it, with another one.
///
/// Counts are never taken back: the next process that has the cell goes on
/// where the last one has ended.
#[derive(Debug)]
#[repr(C, align(128))]
pub struct Cell {
    /// The process, 0 before there is one.
    pub pid: AtomicU64,
    /// Connections that are open.
    pub open: AtomicU64,
    /// Requests that are being answered.
    pub in_flight: AtomicU64,
    /// Turns of its event loop: even while it waits for something to do, odd while
    /// it works. An odd number that stays is a loop that is blocked; whoever
    /// looks has a clock, and the loop need not ask for the time.
    pub turn: AtomicU64,
    /// When its loop came by last, in nanoseconds of the [monotonic clock](time::monotonic);
    /// 0 where nobody measures.
    progress: AtomicU64,
    /// The master that has claimed it for a child of its own, 0 for a free cell.
    pub(super) owner: AtomicU64,
    /// Its place among the processes, and one; 0 for a cell that was never used.
    pub(super) slot: AtomicU64,
    pub(super) generation: AtomicU64,
    /// When it was claimed, in nanoseconds of the monotonic clock.
    pub(super) claimed: AtomicU64,
    /// What others had counted here before.
    pub(super) accepted_before: AtomicU64,
    pub(super) requests_before: AtomicU64,
    /// 1 for a cell whose counts are nobody else's business.
    pub(super) aside: AtomicU64,
    /// The place, and one, that its counts belong to: that of the first process which had it.
    home: AtomicU64,
    /// 1 once processes of other places have had it: then only what stands in `kept` is its home's.
    mixed: AtomicU64,
    /// Zero, and free for a later version to use.
    _reserved: [AtomicU64; 2],
    counts: [AtomicU64; ROOM],
    /// What was counted for its home when it became another place's.
    kept: [AtomicU64; ROOM],
}

impl Cell {
    /// One of its counts.
    #[must_use]
    #[inline]
    pub fn count(&self, counter: Counter) -> &AtomicU64 {
        &self.counts[counter.place()]
    }

    /// Counts one more. Only its own process does this.
    #[inline]
    pub fn add(&self, counter: Counter) {
        add(self.count(counter), 1);
    }

    /// Everything that was counted here, by all processes that have had it.
    #[must_use]
    pub fn totals(&self) -> Totals {
        Totals::from_words(self.counts.iter().map(|count| count.load(Relaxed)))
    }

    /// Connections that its process has accepted since it started.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.count(Counter::Accepted).load(Relaxed).wrapping_sub(self.accepted_before.load(Relaxed))
    }

    /// Requests that its process has begun since it started.
    #[must_use]
    #[inline]
    pub fn requests(&self) -> u64 {
        self.count(Counter::Requests).load(Relaxed).wrapping_sub(self.requests_before.load(Relaxed))
    }

    /// When its process was forked, in nanoseconds of the monotonic clock.
    #[must_use]
    pub fn began(&self) -> u64 {
        self.claimed.load(Relaxed)
    }

    /// The place of its process, as its master had given it.
    #[must_use]
    pub fn slot(&self) -> Option<u16> {
        self.slot.load(Relaxed).checked_sub(1).and_then(|slot| slot.try_into().ok())
    }

    /// The place whose counts stand here: that of the first process which had the cell.
    #[must_use]
    pub fn home(&self) -> Option<u16> {
        match self.home.load(Relaxed) {
            // Claimed by a version that did not note it.
            0 => self.slot(),
            home => home.checked_sub(1).and_then(|home| home.try_into().ok()),
        }
    }

    /// What was counted here for its [home](Self::home): it never goes back, whoever has the cell.
    #[must_use]
    pub fn at_home(&self) -> Totals {
        // In this order: whoever counts for another place has begun after the mark was made.
        let live = Totals::from_words(self.counts.iter().map(|count| count.load(Acquire)));
        if self.is_mixed() { Totals::from_words(self.kept.iter().map(|count| count.load(Relaxed))) } else { live }
    }

    /// Whether processes of several places have had it.
    pub(super) fn is_mixed(&self) -> bool {
        self.mixed.load(Acquire) != 0
    }

    /// Becomes a process' of this place. Only who has claimed it does this.
    pub(super) fn move_in(&self, slot: u64) {
        let home = self.home().map_or(slot, |home| u64::from(home) + 1);
        self.home.store(home, Relaxed);
        if home != slot && !self.is_mixed() {
            for (kept, count) in self.kept.iter().zip(&self.counts) {
                kept.store(count.load(Relaxed), Relaxed);
            }
            self.mixed.store(1, Release);
        }
        self.slot.store(slot, Relaxed);
    }

    /// The generation of its process.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation.load(Relaxed)
    }

    /// The master of its process, 0 for a free cell.
    #[must_use]
    pub fn owner(&self) -> u64 {
        self.owner.load(Relaxed)
    }

    /// Whether what is counted here is left out of the totals, for ever.
    #[must_use]
    pub fn is_aside(&self) -> bool {
        self.aside.load(Relaxed) != 0
    }

    pub(super) fn forget_process(&self) {
        for gauge in [&self.pid, &self.open, &self.in_flight, &self.turn, &self.progress] {
            gauge.store(0, Relaxed);
        }
    }
}

/// Measuring: only where somebody can ask for it, since it reads the clock.
impl Cell {
    /// Measures from now on.
    #[inline(never)] // As all that measures: where nobody does, it is to be in nobody's way.
    pub fn measure(&self) {
        self.progress.store(time::monotonic(), Relaxed);
    }

    /// When the loop came by last, in nanoseconds of the monotonic clock; 0 where nobody measures.
    #[must_use]
    #[inline]
    pub fn progress(&self) -> u64 {
        self.progress.load(Relaxed)
    }

    /// The loop has waited, and works now.
    #[inline]
    pub fn woke(&self) {
        if self.progress() != 0 {
            self.measure();
        }
    }

    /// The loop comes by: it begins to wait, or something is done.
    #[inline]
    pub fn came_by(&self) {
        if self.progress() != 0 {
            self.step();
        }
    }

    /// What began at `began`, as [`progress`](Self::progress) has said then, is done now.
    #[inline(never)]
    pub fn took(&self, began: u64) {
        let micros = self.step().saturating_sub(began) / 1000;
        add(self.count(Counter::LatencySum), micros);
        add(&self.counts[latency_place(micros)], 1);
    }

    /// Notes how long the loop was at work since it came by last; the time.
    #[inline(never)]
    fn step(&self) -> u64 {
        let now = time::monotonic();
        let micros = now.saturating_sub(self.progress()) / 1000;
        add(self.count(Counter::BusySum), micros);
        add(&self.counts[step_place(micros)], 1);
        self.progress.store(now, Relaxed);
        now
    }
}

impl Default for Cell {
    fn default() -> Self {
        let zero = AtomicU64::default;
        Self {
            pid: zero(),
            open: zero(),
            in_flight: zero(),
            turn: zero(),
            progress: zero(),
            owner: zero(),
            slot: zero(),
            generation: zero(),
            claimed: zero(),
            accepted_before: zero(),
            requests_before: zero(),
            aside: zero(),
            home: zero(),
            mixed: zero(),
            _reserved: std::array::from_fn(|_| zero()),
            counts: std::array::from_fn(|_| zero()),
            kept: std::array::from_fn(|_| zero()),
        }
    }
}

/// Adds without a locked instruction: there is one writer.
#[inline]
fn add(counter: &AtomicU64, value: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(value), Relaxed);
}
