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
use std::os::fd::{AsFd, AsRawFd};
use std::sync::OnceLock;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, AtomicU8, AtomicU16, AtomicU64};
use std::time::{Duration, Instant};

use tokio::runtime::RuntimeMetrics;

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
    pages: [OnceLock<Box<[Record]>>; PAGES],
    pub(crate) metrics: OnceLock<RuntimeMetrics>,
}

/// What one connection does.
///
/// 32 bytes; it belongs to a connection from its accept to the drop of its
/// [`Permit`](crate::Permit), and then to another one.
///
/// ```no_run
/// use hatchery_worker::ledger::{Doing, Protocol};
/// use hatchery_worker::{Permit, Stream};
///
/// async fn speak(stream: Stream, permit: Permit) {
///     let record = permit.record();
///     record.speaks(Protocol::Raw);
///     record.enter(Doing::Head);
///     let question = read(&stream).await;
///     record.request_begun();
///     record.enter(Doing::Handler);
///     answer(question).await;
/// }
/// # async fn read(_: &Stream) {}
/// # async fn answer(_: ()) {}
/// # let _ = speak;
/// ```
#[derive(Debug, Default)]
pub struct Record {
    /// When it was accepted: nanoseconds since the ledger began, or before it.
    accepted: AtomicI64,
    requests: AtomicU64,
    fd: AtomicI32,
    listener: AtomicU16,
    protocol: AtomicU8,
    doing: AtomicU8,
    polled: AtomicBool,
}

/// What is spoken on a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Protocol {
    /// It has not been said.
    #[default]
    Unknown,
    /// HTTP/1.
    Http1,
    /// HTTP/2.
    Http2,
    /// One of the application's own.
    Raw,
}

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Doing {
    /// It is open, and it has not been said what for.
    Open = 1,
    /// A request head is waited for, or a part of one has come.
    Head,
    /// A handler has the request.
    Handler,
    /// The rest of a request body is waited for.
    Body,
    /// The client does not read the answer.
    Sending,
    /// The next request is waited for, with everything at hand for it.
    Idle,
    /// The next request is waited for, with nothing but the socket.
    Parked,
    /// Room is waited for on the way to another process.
    Moving,
    /// It was shut, and the client has not closed yet.
    Closing,
    /// It was given away to the application, by an upgrade of the protocol.
    Upgraded,
}

/// Marks a connection as the one that runs, until it is dropped.
#[derive(Debug)]
#[must_use = "the mark is gone when this is dropped"]
pub struct Polled(&'static Record);

/// The records, for whoever opens connections.
#[derive(Debug)]
pub(crate) struct Records {
    pub(crate) ledger: &'static Ledger,
    free: RefCell<Vec<&'static Record>>,
}

/// Room for sixteen million connections.
const PAGES: usize = 64;

const fn page_len(page: usize) -> usize {
    64 << (page / 4)
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
        self.since(record.accepted.load(Relaxed))
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
        Self { ledger, free: RefCell::default() }
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
        record.accepted.store(accepted, Relaxed);
        // Of one that was accepted just now, a sign of life that costs nothing.
        self.ledger.turned.store(self.ledger.turned.load(Relaxed).max(accepted), Relaxed);
        record.requests.store(requests, Relaxed);
        record.fd.store(socket.as_fd().as_raw_fd(), Relaxed);
        record.listener.store(u16::try_from(listener).unwrap_or(u16::MAX), Relaxed);
        record.speaks(Protocol::Unknown);
        record.enter(Doing::Open);
        record
    }

    /// The connection is gone.
    pub(crate) fn end(&self, record: &'static Record) {
        record.doing.store(0, Relaxed);
        self.free.borrow_mut().push(record);
    }

    #[cold]
    fn grow(&self) -> &'static Record {
        let mut free = self.free.borrow_mut();
        for (number, page) in self.ledger.pages.iter().enumerate() {
            if page.get().is_none() {
                let page = page.get_or_init(|| (0..page_len(number)).map(|_| Record::default()).collect());
                free.extend(page);
                break;
            }
        }
        // More connections than there are descriptors: not in the table, and in nobody's way.
        free.pop().unwrap_or_else(|| Box::leak(Box::default()))
    }
}

impl Record {
    /// The connection does this from now on.
    #[inline]
    pub fn enter(&self, doing: Doing) {
        self.doing.store(doing as u8, Relaxed);
    }

    /// This is spoken on the connection.
    #[inline]
    pub fn speaks(&self, protocol: Protocol) {
        self.protocol.store(protocol as u8, Relaxed);
    }

    /// One request more has come on the connection.
    #[inline]
    pub fn request_begun(&self) {
        self.requests.store(self.requests.load(Relaxed).wrapping_add(1), Relaxed);
    }

    /// How many requests have come on the connection, here and in other processes.
    #[inline]
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests.load(Relaxed)
    }

    /// The index of its listener, counting all of the worker's.
    #[inline]
    #[must_use]
    pub fn listener(&self) -> usize {
        self.listener.load(Relaxed).into()
    }

    /// The connection's own code runs until the mark is dropped, also by a panic.
    #[inline]
    pub fn poll(&'static self) -> Polled {
        self.polled.store(true, Relaxed);
        Polled(self)
    }

    pub(crate) fn is_polled(&self) -> bool {
        self.polled.load(Relaxed)
    }

    pub(crate) fn fd(&self) -> i32 {
        self.fd.load(Relaxed)
    }

    /// `None` for one of no connection.
    pub(crate) fn doing(&self) -> Option<Doing> {
        let doing = self.doing.load(Relaxed);
        Doing::ALL.into_iter().find(|known| *known as u8 == doing)
    }

    pub(crate) fn protocol(&self) -> Protocol {
        let protocol = self.protocol.load(Relaxed);
        Protocol::ALL.into_iter().find(|known| *known as u8 == protocol).unwrap_or_default()
    }
}

impl Doing {
    const ALL: [Self; 10] = [
        Self::Open,
        Self::Head,
        Self::Handler,
        Self::Body,
        Self::Sending,
        Self::Idle,
        Self::Parked,
        Self::Moving,
        Self::Closing,
        Self::Upgraded,
    ];

    /// Whether the worker, or its client, owes something.
    pub(crate) fn is_busy(self) -> bool {
        match self {
            Self::Head | Self::Handler | Self::Body | Self::Sending => true,
            Self::Open | Self::Idle | Self::Parked | Self::Moving | Self::Closing | Self::Upgraded => false,
        }
    }
}

impl Protocol {
    const ALL: [Self; 4] = [Self::Unknown, Self::Http1, Self::Http2, Self::Raw];
}

impl Drop for Polled {
    #[inline]
    fn drop(&mut self) {
        self.0.polled.store(false, Relaxed);
    }
}

impl fmt::Display for Doing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Head => "head",
            Self::Handler => "handler",
            Self::Body => "body",
            Self::Sending => "sending",
            Self::Idle => "idle",
            Self::Parked => "parked",
            Self::Moving => "moving",
            Self::Closing => "closing",
            Self::Upgraded => "upgraded",
        })
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "not begun",
            Self::Http1 => "http1",
            Self::Http2 => "http2",
            Self::Raw => "raw",
        })
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
