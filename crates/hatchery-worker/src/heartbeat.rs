//! Whether the loop waits or works, as others see it on the board.
//!
//! There is no tick and no clock: the runtime says when it parks and when it
//! wakes, and both add one to the cell's `turn`, which is even while the loop is
//! parked. A parked worker is not stuck, however long it is parked.
//!
//! Under so much load that it never has nothing to do the loop does not park
//! either. So every connection and every request adds two (see
//! [`Counters`](crate::Counters)): only a loop that does nothing at all leaves
//! an odd number standing.

use std::sync::atomic::Ordering;

use hatchery_sys::board::Cell;
use tokio::runtime::Builder;

/// Makes the runtime that `builder` builds count its turns in `cell`, and the time until then a turn.
///
/// Where somebody can ask for it, it also measures how long the loop is at work.
pub(crate) fn install(builder: &mut Builder, cell: &'static Cell, measure: bool) {
    if measure {
        cell.measure();
    }
    works(cell);
    builder.on_thread_park(move || waits(cell));
    builder.on_thread_unpark(move || works(cell));
}

/// From odd to the next even number.
fn waits(cell: &Cell) {
    let turn = cell.turn.load(Ordering::Relaxed);
    cell.turn.store(turn.wrapping_add(turn & 1), Ordering::Relaxed);
    cell.came_by();
}

/// From even to the next odd number.
fn works(cell: &Cell) {
    cell.turn.store(cell.turn.load(Ordering::Relaxed) | 1, Ordering::Relaxed);
    cell.woke();
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_task_finds_the_loop_at_work_and_a_wait_makes_a_new_turn() {
        let cell: &'static Cell = Box::leak(Box::default());
        let mut builder = Builder::new_current_thread();
        install(&mut builder, cell, true);
        let turn = || cell.turn.load(Ordering::Relaxed);
        assert_eq!(turn(), 1);
        builder.enable_time().build().unwrap().block_on(async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            assert_eq!(turn() % 2, 1);
            assert!(turn() > 1);
        });
        waits(cell);
        let parked = turn();
        assert_eq!(parked % 2, 0);
        waits(cell);
        assert_eq!(turn(), parked);
        assert!(cell.totals().steps().iter().sum::<u64>() >= 2);
    }
}
