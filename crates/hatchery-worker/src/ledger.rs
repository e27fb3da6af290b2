//! What every connection of this worker is doing, written down where a signal
//! handler can read it.
//!
//! A worker that is blocked is aborted, and should tell by what (see `dump`).
//! Its own state is of no use then: it may be borrowed, or half-changed. So each
//! connection has a [`Record`] of plain atomics in a table that never moves and
//! is never freed. One thread writes, with relaxed stores; the handler runs on
//! that thread or beside it, and a torn picture does no harm.

use std::cell::RefCell;
use std::fmt;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::OnceLock;
use std::sync::atomic::AtomicI64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use hatchery_sys::ledger::Pages;
use tokio::runtime::RuntimeMetrics;

pub use hatchery_sys::ledger::{Doing, Polled, Protocol, Record};

/// What all of the worker's connections do, and when its loop was last seen at work.
///
/// ```
/// /// For a protocol crate: something of its own runs now and then, and proves that the loop turns.
/// async fn every_second(worker: hatchery_worker::Worker) {
///     loop {
///         tokio::time::sleep(std::time::Duration::from_secs(1)).await;
///         worker.ledger().loop_turns();
///     }
/// }
/// # let _ = every_second;
/// ```
pub struct Ledger {
    began: Instant,
    /// In nanoseconds since it began.
    turned: AtomicI64,
    /// Each a quarter larger than those before it, so that little is allocated that is not used.
    pages: [OnceLock<&'static [Record]>; PAGES],
    pub(crate) metrics: OnceLock<RuntimeMetrics>,
}

/// The records, for whoever opens connections.
#[derive(Debug)]
pub(crate) struct Records {
    pub(crate) ledger: &'static Ledger,
    /// What the master reads as well; `None` where there is no such memory.
    pages: Option<Pages>,
    free: RefCell<Vec<&'static Record>>,
}

/// Room for sixteen million connections.
const PAGES: usize = 64;

const fn page_len(page: usize) -> usize {
    128 << (page / 4)
}

impl Ledger {
    /// A ledger without connections. It is leaked: handlers may read it until the process ends.
    pub(crate) fn leak() -> &'static Self {
        Box::leak(Box::new(Self {
            began: Instant::now(),
            turned: AtomicI64::new(0),
            pages: [const { OnceLock::new() }; PAGES],
            metrics: OnceLock::new(),
        }))
    }

    /// The loop is not blocked at this moment.
    ///
    /// It asks for the time, so that it is not for every request.
    pub fn loop_turns(&self) {
        self.turned.store(self.nanos(Instant::now()), Relaxed);
    }

    /// How long the loop may have been blocked, at most.
    pub(crate) fn unseen(&self) -> Duration {
        self.since(self.turned.load(Relaxed))
    }

    /// All connections that are open. It allocates nothing and waits for nothing.
    pub(crate) fn open(&self) -> impl Iterator<Item = &Record> {
        // A page that is being made at this moment is none yet.
        let pages = self.pages.iter().map_while(OnceLock::get);
        pages.flat_map(|page| page.iter()).filter(|record| record.doing().is_some())
    }

    pub(crate) fn age(&self, record: &Record) -> Duration {
        self.since(record.accepted())
    }

    fn since(&self, nanos: i64) -> Duration {
        let passed = self.nanos(Instant::now()).saturating_sub(nanos);
        Duration::from_nanos(u64::try_from(passed).unwrap_or(0))
    }

    fn nanos(&self, moment: Instant) -> i64 {
        let nanos = |span: Duration| i64::try_from(span.as_nanos()).unwrap_or(i64::MAX);
        match moment.checked_duration_since(self.began) {
            Some(after) => nanos(after),
            None => -nanos(self.began.duration_since(moment)),
        }
    }
}

impl Records {
    pub(crate) fn new(ledger: &'static Ledger) -> Self {
        Self { ledger, pages: Pages::create().ok(), free: RefCell::default() }
    }

    /// Begins the record of a connection that was accepted then, here or elsewhere.
    pub(crate) fn begin(
        &self,
        listener: usize,
        socket: &impl AsFd,
        accepted: Instant,
        requests: u64,
    ) -> &'static Record {
        let free = self.free.borrow_mut().pop();
        let record = free.unwrap_or_else(|| self.grow());
        let accepted = self.ledger.nanos(accepted);
        // Of one that was accepted just now, a sign of life that costs nothing.
        self.ledger.turned.store(self.ledger.turned.load(Relaxed).max(accepted), Relaxed);
        let listener = u16::try_from(listener).unwrap_or(u16::MAX);
        record.begin(accepted, requests, socket.as_fd().as_raw_fd(), listener);
        record
    }

    /// The connection is gone.
    pub(crate) fn end(&self, record: &'static Record) {
        record.end();
        self.free.borrow_mut().push(record);
    }

    /// The ledger, for the master to read.
    pub(crate) fn file(&self) -> Option<BorrowedFd<'_>> {
        self.pages.as_ref().map(|pages| pages.file().as_fd())
    }

    /// Where the system has no memory to share, the master does not see these.
    fn shared_page(&self, len: usize) -> &'static [Record] {
        let shared = self.pages.as_ref().and_then(|pages| pages.grow(len).ok());
        shared.unwrap_or_else(|| Box::leak((0..len).map(|_| Record::default()).collect()))
    }

    #[cold]
    fn grow(&self) -> &'static Record {
        let mut free = self.free.borrow_mut();
        for (number, page) in self.ledger.pages.iter().enumerate() {
            if page.get().is_none() {
                let page: &'static [Record] = page.get_or_init(|| self.shared_page(page_len(number)));
                free.extend(page);
                break;
            }
        }
        // More connections than there are descriptors: not in the table, and in nobody's way.
        free.pop().unwrap_or_else(|| Box::leak(Box::default()))
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger").field("open", &self.open().count()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(records: &Records) -> &'static Record {
        records.begin(7, &std::io::stderr(), Instant::now(), 3)
    }

    #[test]
    fn a_record_is_of_32_bytes_and_used_again() {
        assert_eq!(size_of::<Record>(), 32);
        let records = Records::new(Ledger::leak());
        let first = begin(&records);
        assert_eq!((first.listener(), first.requests(), first.fd()), (7, 3, 2));
        assert_eq!(first.doing(), Some(Doing::Open));
        first.speaks(Protocol::Http2);
        records.end(first);
        assert_eq!(records.ledger.open().count(), 0);
        let second = begin(&records);
        assert!(std::ptr::eq(first, second));
        assert_eq!(second.protocol(), Protocol::Unknown);
    }

    #[test]
    fn there_is_room_for_many_and_little_more_than_that() {
        let records = Records::new(Ledger::leak());
        let all: Vec<_> = (0..10_000).map(|_| begin(&records)).collect();
        assert_eq!(records.ledger.open().count(), 10_000);
        assert!(records.free.borrow().len() <= 2500, "{}", records.free.borrow().len());
        for record in all {
            records.end(record);
        }
        assert_eq!(records.ledger.open().count(), 0);
    }

    #[test]
    fn every_word_comes_back() {
        let record = Record::default();
        assert_eq!(record.doing(), None);
        for doing in Doing::ALL {
            record.enter(doing);
            assert_eq!(record.doing(), Some(doing));
        }
        for protocol in Protocol::ALL {
            record.speaks(protocol);
            assert_eq!(record.protocol(), protocol);
        }
    }

    #[test]
    fn the_mark_goes_with_a_panic() {
        let record: &'static Record = Box::leak(Box::default());
        let polled = std::panic::catch_unwind(|| {
            let _polled = record.poll();
            assert!(record.is_polled());
            std::panic::resume_unwind(Box::new(()));
        });
        assert!(polled.is_err() && !record.is_polled());
    }

    #[test]
    fn one_that_has_moved_is_older_than_the_ledger() {
        let Some(before) = Instant::now().checked_sub(Duration::from_secs(60)) else { return };
        let records = Records::new(Ledger::leak());
        let record = records.begin(0, &std::io::stderr(), before, 0);
        assert!(records.ledger.age(record) >= Duration::from_secs(60));
        assert!(records.ledger.unseen() < Duration::from_secs(60));
    }
}
