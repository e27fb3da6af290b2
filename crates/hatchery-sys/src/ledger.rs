//! What every connection of a worker is doing, in memory that another process can read.
//!
//! A worker writes its ledger into a file in memory, by mappings of its own; its
//! master holds the same file, and reads it by offset. So the worker pays what it
//! pays for memory, the list can be had while its loop is blocked, and a reader
//! trusts nothing: a file that is cut short is one that ends.
//!
//! # Safety
//!
//! All that is mapped are atomics, for which zero is a value, and nothing else of this
//! process has the mapping, which is never taken away. Only this process writes to the
//! file, and nobody makes it shorter.

use std::fmt;
use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, AtomicU8, AtomicU16, AtomicU64};

use nix::sys::mman::{self, MapFlags, ProtFlags};

use crate::sheet::sheet;
use crate::time;

/// What stands before the records: the moment at which the ledger began. A page of its own.
const HEAD: u64 = 4096;

/// One record in the file, in bytes.
const LEN: usize = size_of::<Record>();

/// What one connection does.
///
/// 32 bytes; it belongs to a connection from its accept to its end, and then to another
/// one. Its worker alone writes it, with relaxed stores.
#[derive(Debug, Default)]
#[repr(C)]
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

/// The writer's end.
#[derive(Debug)]
pub struct Pages {
    file: File,
    len: std::cell::Cell<u64>,
}

/// The reader's end.
#[derive(Debug)]
pub struct Reader {
    file: File,
    began: u64,
}

/// A record as it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    /// How long ago it was accepted, in nanoseconds.
    pub age: u64,
    /// Requests that have come on it.
    pub requests: u64,
    /// Its descriptor in the worker.
    pub fd: i32,
    /// The index of its listener.
    pub listener: u16,
    /// What is spoken.
    pub protocol: Protocol,
    /// What it is doing.
    pub doing: Doing,
}

impl Pages {
    /// An empty ledger that begins now.
    ///
    /// # Errors
    /// When there is no memory or no descriptor left.
    pub fn create() -> io::Result<Self> {
        let file = sheet()?;
        file.write_all_at(&time::monotonic().to_ne_bytes(), 0)?;
        file.set_len(HEAD)?;
        Ok(Self { file, len: std::cell::Cell::new(HEAD) })
    }

    /// Room for `records` more: a multiple of 128. It is never given back.
    ///
    /// # Errors
    /// When there is no memory left.
    pub fn grow(&self, records: usize) -> io::Result<&'static [Record]> {
        let bytes = records.checked_mul(LEN).and_then(NonZeroUsize::new).ok_or(io::ErrorKind::InvalidInput)?;
        let (from, to) = (self.len.get(), self.len.get() + bytes.get() as u64);
        self.file.set_len(to)?;
        let offset = libc::off_t::try_from(from).map_err(io::Error::other)?;
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at an address that the kernel chooses, of a part of the file that is there.
        let memory = unsafe { mman::mmap(None, bytes, access, MapFlags::MAP_SHARED, self.file.as_fd(), offset)? };
        self.len.set(to);
        // SAFETY: aligned to a page, long enough, zero, never unmapped, and nothing but atomics.
        Ok(unsafe { std::slice::from_raw_parts(memory.cast().as_ptr(), records) })
    }

    /// The file, for the reader.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }
}

impl Reader {
    /// Reads the ledger in this file.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn new(file: File) -> io::Result<Self> {
        let mut began = [0; 8];
        file.read_exact_at(&mut began, 0)?;
        Ok(Self { file, began: u64::from_ne_bytes(began) })
    }

    /// The connections among the `most` records from the one with this number on, and
    /// the number that follows; `None` at the end.
    #[must_use]
    pub fn read(&self, from: u64, most: usize) -> Option<(Vec<Entry>, u64)> {
        let mut bytes = vec![0; most * LEN];
        let offset = from.checked_mul(LEN as u64)?.checked_add(HEAD)?;
        let read = self.file.read_at(&mut bytes, offset).ok()? / LEN;
        let now = i64::try_from(time::monotonic().saturating_sub(self.began)).unwrap_or(i64::MAX);
        let entries = bytes[..read * LEN].chunks_exact(LEN).filter_map(|record| entry(record, now));
        let entries: Vec<Entry> = entries.collect();
        (read > 0).then_some((entries, from + read as u64))
    }
}

fn entry(record: &[u8], now: i64) -> Option<Entry> {
    let bytes = |at: usize| std::array::from_fn(|i| record[at + i]);
    let accepted = i64::from_ne_bytes(bytes(0));
    Some(Entry {
        age: u64::try_from(now.saturating_sub(accepted)).unwrap_or(0),
        requests: u64::from_ne_bytes(bytes(8)),
        fd: i32::from_ne_bytes(std::array::from_fn(|i| record[16 + i])),
        listener: u16::from_ne_bytes([record[20], record[21]]),
        protocol: Protocol::of(record[22]),
        doing: Doing::of(record[23])?,
    })
}

impl Record {
    /// Makes it a connection's that was accepted then, in nanoseconds since the ledger began.
    pub fn begin(&self, accepted: i64, requests: u64, fd: i32, listener: u16) {
        self.accepted.store(accepted, Relaxed);
        self.requests.store(requests, Relaxed);
        self.fd.store(fd, Relaxed);
        self.listener.store(listener, Relaxed);
        self.speaks(Protocol::Unknown);
        self.enter(Doing::Open);
    }

    /// When its connection was accepted, in nanoseconds since the ledger began, or before it.
    #[must_use]
    pub fn accepted(&self) -> i64 {
        self.accepted.load(Relaxed)
    }

    /// The connection is gone.
    pub fn end(&self) {
        self.doing.store(0, Relaxed);
    }

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

    /// Whether its own code runs.
    #[must_use]
    pub fn is_polled(&self) -> bool {
        self.polled.load(Relaxed)
    }

    /// Its descriptor.
    #[must_use]
    pub fn fd(&self) -> i32 {
        self.fd.load(Relaxed)
    }

    /// What the connection does; `None` for one of no connection.
    #[must_use]
    pub fn doing(&self) -> Option<Doing> {
        Doing::of(self.doing.load(Relaxed))
    }

    /// What is spoken on the connection.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        Protocol::of(self.protocol.load(Relaxed))
    }
}

impl Doing {
    /// What this number stands for; `None` for that of no connection.
    fn of(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|known| *known as u8 == number)
    }

    /// All of them.
    pub const ALL: [Self; 10] = [
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
    #[must_use]
    pub fn is_busy(self) -> bool {
        match self {
            Self::Head | Self::Handler | Self::Body | Self::Sending => true,
            Self::Open | Self::Idle | Self::Parked | Self::Moving | Self::Closing | Self::Upgraded => false,
        }
    }
}

impl Protocol {
    /// What this number stands for.
    fn of(number: u8) -> Self {
        Self::ALL.into_iter().find(|known| *known as u8 == number).unwrap_or_default()
    }

    /// All of them.
    pub const ALL: [Self; 4] = [Self::Unknown, Self::Http1, Self::Http2, Self::Raw];
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

// The reader knows where each field stands, and pages are full of records.
const _: () = assert!(LEN == 32 && std::mem::offset_of!(Record, doing) == 23 && 4096 % LEN == 0);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_here_is_read_there() {
        let pages = Pages::create().unwrap();
        let reader = Reader::new(pages.file().try_clone().unwrap()).unwrap();
        assert_eq!(reader.read(0, 256), None);
        let records = [pages.grow(128).unwrap(), pages.grow(128).unwrap()];
        let record = &records[1][3];
        record.begin(0, 7, 9, 2);
        record.speaks(Protocol::Raw);
        record.enter(Doing::Body);
        let (found, next) = reader.read(0, 100).unwrap();
        assert!(found.is_empty() && next == 100);
        let (found, next) = reader.read(100, 256).unwrap();
        let [entry] = found[..] else { panic!("{found:?}") };
        assert_eq!(
            (entry.requests, entry.fd, entry.listener, entry.protocol, entry.doing),
            (7, 9, 2, Protocol::Raw, Doing::Body)
        );
        assert_eq!((next, reader.read(next, 256)), (256, None));
        pages.file().set_len(10).unwrap();
        assert_eq!(reader.read(0, 256), None);
    }
}
