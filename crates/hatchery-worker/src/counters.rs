//! What a worker counts, on its cell of the board.

use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};

use hatchery_sys::board::{Cell, Counter};

use crate::quota::Meter;

/// The counters of this worker's cell.
///
/// A cell has one writer, this process, and a worker is one thread: so a count
/// is a plain load and a plain store, never a locked read-modify-write, and the
/// cache line stays with this processor until somebody reads the board.
///
/// ```
/// async fn answer(worker: hatchery_worker::Worker) {
///     let counters = worker.counters();
///     counters.request_started();
///     counters.request_finished();
/// }
/// # let _ = answer;
/// ```
#[derive(Clone, Debug)]
pub struct Counters {
    cell: &'static Cell,
    meter: &'static Meter,
    // Purposefully not `Send`: a second thread's counts would be lost.
    _one_thread: PhantomData<Rc<()>>,
}

impl Counters {
    pub(crate) fn new(cell: &'static Cell, meter: &'static Meter) -> Self {
        Self { cell, meter, _one_thread: PhantomData }
    }

    /// A request is being answered from now on; it counts as one of the worker's requests.
    ///
    /// ```no_run
    /// use hatchery_worker::{Conn, Counters};
    /// use tokio::io::AsyncReadExt;
    ///
    /// async fn commands(mut conn: Conn, counters: Counters) -> std::io::Result<()> {
    ///     loop {
    ///         let command = conn.read_u8().await?;
    ///         // Not before there is one: an idle connection is not a request in flight.
    ///         counters.request_started();
    ///         answer(&mut conn, command).await;
    ///         counters.request_finished();
    ///     }
    /// }
    /// # async fn answer(_: &mut Conn, _: u8) {}
    /// # let _ = commands;
    /// ```
    pub fn request_started(&self) {
        self.cell.add(Counter::Requests);
        add(&self.cell.in_flight, 1);
        self.turned();
    }

    /// A request that was started is no longer being answered.
    ///
    /// ```no_run
    /// use hatchery_worker::Counters;
    ///
    /// /// Ends the request when it is dropped, also by a panic or with the handler's future.
    /// struct InFlight(Counters);
    ///
    /// impl Drop for InFlight {
    ///     fn drop(&mut self) {
    ///         self.0.request_finished();
    ///     }
    /// }
    /// # let _ = InFlight;
    /// ```
    pub fn request_finished(&self) {
        add(&self.cell.in_flight, u64::MAX);
        self.meter.check(self.cell.count(Counter::Requests).load(Ordering::Relaxed));
    }

    /// A handler has panicked.
    ///
    /// Handlers of [`Worker::serve`](crate::Worker::serve) are counted already.
    ///
    /// ```no_run
    /// use hatchery_worker::Counters;
    /// use tokio::task::JoinHandle;
    ///
    /// async fn watch(handler: JoinHandle<()>, counters: Counters) {
    ///     if handler.await.is_err_and(|error| error.is_panic()) {
    ///         counters.panicked();
    ///     }
    /// }
    /// # let _ = watch;
    /// ```
    pub fn panicked(&self) {
        self.cell.add(Counter::Panics);
    }

    /// Requests so far, those in flight included.
    ///
    /// ```no_run
    /// use hatchery_worker::Counters;
    ///
    /// /// Whether this request is one of those that are traced.
    /// fn is_sample(counters: &Counters) -> bool {
    ///     counters.requests() % 1000 == 0
    /// }
    /// # let _ = is_sample;
    /// ```
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.cell.requests()
    }

    /// Counts one of something: a limit that was reached, for example.
    ///
    /// ```no_run
    /// use hatchery_worker::{Counter, Counters};
    ///
    /// fn too_slow(counters: &Counters) {
    ///     counters.count(Counter::HeaderTimeout);
    /// }
    /// # let _ = too_slow;
    /// ```
    #[inline]
    pub fn count(&self, counter: Counter) {
        self.cell.add(counter);
    }

    /// A request is answered with this status.
    ///
    /// ```no_run
    /// # fn answered(counters: hatchery_worker::Counters) {
    /// counters.answered(404);
    /// # }
    /// ```
    #[inline]
    pub fn answered(&self, status: u16) {
        self.cell.add(match status {
            200..=299 => Counter::Status2xx,
            300..=399 => Counter::Status3xx,
            400..=499 => Counter::Status4xx,
            ..=199 => Counter::Status1xx,
            500.. => Counter::Status5xx,
        });
    }

    /// When the loop came by last: what a request that begins now was not known before.
    ///
    /// Costs nothing: the time is that of the last turn, and there is none where nobody measures.
    #[must_use]
    #[inline]
    pub fn stopwatch(&self) -> Stopwatch {
        Stopwatch(self.cell.progress())
    }

    /// What a stopwatch was started for is done; it counts as a request's time.
    ///
    /// ```no_run
    /// # fn timed(counters: hatchery_worker::Counters) {
    /// let stopwatch = counters.stopwatch();
    /// // The request is answered here.
    /// counters.took(stopwatch);
    /// # }
    /// ```
    #[inline]
    pub fn took(&self, stopwatch: Stopwatch) {
        if stopwatch.0 != 0 {
            self.cell.took(stopwatch.0);
        }
    }

    pub(crate) fn meter(&self) -> &'static Meter {
        self.meter
    }

    pub(crate) fn accepted(&self) -> u64 {
        self.cell.accepted()
    }

    /// A connection has come from an accept queue.
    pub(crate) fn accept(&self) {
        self.cell.add(Counter::Accepted);
    }

    /// A connection has come from another process.
    pub(crate) fn arrive(&self) {
        self.cell.add(Counter::Moved);
    }

    /// What has come from another process was no connection.
    pub(crate) fn refused(&self) {
        self.cell.add(Counter::Refused);
    }

    pub(crate) fn opened(&self, open: usize) {
        self.turned();
        self.cell.open.store(open as u64, Ordering::Relaxed);
    }

    pub(crate) fn closed(&self, open: usize) {
        self.cell.open.store(open as u64, Ordering::Relaxed);
    }

    /// The loop does something: see [`heartbeat`](crate::heartbeat).
    pub(crate) fn turned(&self) {
        add(&self.cell.turn, 2);
    }
}

/// When something began; see [`Counters::stopwatch`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopwatch(u64);

/// Adds without a locked instruction; `u64::MAX` subtracts one.
fn add(counter: &AtomicU64, value: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(value), Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use hatchery_core::Slot;

    use super::*;

    #[test]
    fn counts_stand_on_the_cell() {
        let cell: &'static Cell = Box::leak(Box::default());
        let counters = Counters::new(cell, Box::leak(Box::new(Meter::new(None, Slot(0), 0))));
        counters.request_started();
        counters.clone().request_started();
        counters.request_finished();
        counters.panicked();
        counters.accept();
        counters.opened(3);
        counters.closed(2);
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let count = |counter| read(cell.count(counter));
        assert_eq!([count(Counter::Requests), read(&cell.in_flight), count(Counter::Panics)], [2, 1, 1]);
        assert_eq!([count(Counter::Accepted), read(&cell.open)], [1, 2]);
        assert_eq!(counters.requests(), 2);
    }

    #[test]
    fn answers_count_by_their_class() {
        let cell: &'static Cell = Box::leak(Box::default());
        let counters = Counters::new(cell, Box::leak(Box::new(Meter::new(None, Slot(0), 0))));
        for status in [101, 200, 204, 299, 302, 404, 499, 500, 503, 999] {
            counters.answered(status);
        }
        let classes = Counter::CLASSES.map(|(class, _)| cell.totals()[class]);
        assert_eq!(classes, [1, 3, 1, 2, 3]);
    }

    #[test]
    fn time_is_taken_only_where_somebody_measures() {
        let cell: &'static Cell = Box::leak(Box::default());
        let counters = Counters::new(cell, Box::leak(Box::new(Meter::new(None, Slot(0), 0))));
        counters.took(counters.stopwatch());
        assert_eq!(cell.totals().latency().iter().sum::<u64>(), 0);
        cell.measure();
        counters.took(counters.stopwatch());
        let totals = cell.totals();
        assert_eq!((totals.latency().iter().sum::<u64>(), totals.steps().iter().sum::<u64>()), (1, 1));
    }
}
