//! The board: memory that all processes of a generation share.
//!
//! One cell a worker process, written by that process alone with plain stores:
//! counting a request costs what an assignment costs. The header in front of
//! the cells is what other versions may read, so its layout never changes.
//!
//! # Safety
//!
//! All of the memory is atomics, zero is a value for each, and it stays mapped
//! for as long as the [`Board`] lives. Another process can write anything at
//! any time; nothing but a wrong number follows from that. The file behind it
//! is sealed, so no process can take pages away.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use nix::sys::mman::{self, MapFlags, ProtFlags};
use nix::unistd::{self, Pid};

/// `hatchery` as a number, which also shows the byte order.
const MAGIC: u64 = u64::from_be_bytes(*b"hatchery");

/// Of the header. A reader of another version refuses.
const VERSION: u32 = 1;

/// What has been counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Totals {
    /// Connections accepted.
    pub accepted: u64,
    /// Requests answered.
    pub requests: u64,
    /// Handlers that panicked.
    pub panics: u64,
    /// Connections that came from another process.
    pub moved: u64,
    /// Messages of a relay that were refused.
    pub refused: u64,
}

/// What one worker process does at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sample {
    /// The process.
    pub pid: Pid,
    /// Connections that are open.
    pub open: u64,
    /// Turns of its event loop, see [`Cell::turn`].
    pub turn: u64,
}

/// What one worker process says about itself.
///
/// Only that process stores into it, so a load and a store are enough to count;
/// everybody may load. A cell never shares a cache line, or the line that the
/// processor fetches along with it, with another one.
#[derive(Debug, Default)]
#[repr(C, align(128))]
pub struct Cell {
    /// The process, 0 for a free cell.
    pub pid: AtomicU64,
    /// Connections that are open.
    pub open: AtomicU64,
    /// Requests that are being answered.
    pub in_flight: AtomicU64,
    /// Connections accepted since it started.
    pub accepted: AtomicU64,
    /// Requests answered since it started.
    pub requests: AtomicU64,
    /// Handlers that panicked since it started.
    pub panics: AtomicU64,
    /// Turns of its event loop: even while it waits for something to do, odd while
    /// it works. An odd number that stays is a loop that is blocked; whoever
    /// looks has a clock, and the loop need not ask for the time.
    pub turn: AtomicU64,
    /// Connections that have come from another process since it started.
    pub moved: AtomicU64,
    /// Messages of the relay that it has refused since it started.
    pub refused: AtomicU64,
}

/// A header and a fixed number of cells, in shared memory.
///
/// Forked children share it. Purposefully not `Clone`: a second mapping has no use.
pub struct Board {
    memory: NonNull<Header>,
    cells: usize,
    fd: Option<OwnedFd>,
}

/// Frozen: other versions read it. What was added later stands behind what they
/// know, where a board of theirs has zeros.
#[repr(C, align(128))]
struct Header {
    magic: AtomicU64,
    version: AtomicU32,
    /// Zero, and free for a later version to use.
    reserved: AtomicU32,
    accepted: AtomicU64,
    requests: AtomicU64,
    panics: AtomicU64,
    moved: AtomicU64,
    refused: AtomicU64,
}

/// The part of the header that every version has, in bytes.
const OLDEST_HEADER: usize = 40;

/// The part of the header that this version reads, in bytes.
const KNOWN_HEADER: usize = 56;

// SAFETY: the mapping belongs to the process, not to a thread.
unsafe impl Send for Board {}
// SAFETY: everything in the mapping is atomics.
unsafe impl Sync for Board {}

impl Board {
    /// A board with `cells` cells, all of them zero.
    ///
    /// # Errors
    /// When there is no memory, or no descriptor, left.
    pub fn create(cells: usize) -> io::Result<Self> {
        let len = length(cells)?;
        match sealed_file(len).or_else(|_| unlinked_file(len)) {
            Ok(file) => Self::map(cells, Some(file)),
            // Nobody outside of this generation can read it then, which costs a successor its totals.
            Err(_) => Self::map(cells, None),
        }
    }

    /// The cell `i`.
    ///
    /// # Panics
    /// If the board has no such cell.
    #[must_use]
    pub fn cell(&self, i: usize) -> &Cell {
        &self.all()[i]
    }

    /// How many cells it has.
    #[must_use]
    pub fn cells(&self) -> usize {
        self.cells
    }

    /// The descriptor by which another program can read the header.
    ///
    /// `None` where shared memory with a descriptor is not to be had.
    #[must_use]
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.fd.as_ref().map(AsFd::as_fd)
    }

    /// Everything that was counted: by live workers, dead ones and predecessors.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.all().iter().map(Cell::totals).fold(self.header().totals(), Totals::plus)
    }

    /// What every worker process does at this moment; a free cell has no sample.
    ///
    /// Three loads a cell. The pid is what the process itself has written.
    pub fn sample(&self) -> impl Iterator<Item = Sample> {
        self.all().iter().filter_map(Cell::sample)
    }

    /// Adds what the cell `i` has counted to the header and frees the cell.
    ///
    /// Only the master does this, after it has reaped the process: the cell has no writer any more.
    ///
    /// # Panics
    /// If the board has no such cell.
    pub fn release(&self, i: usize) {
        let cell = self.cell(i);
        self.adopt(cell.totals());
        let Cell { pid, open, in_flight, accepted, requests, panics, turn, moved, refused } = cell;
        for field in [pid, open, in_flight, accepted, requests, panics, turn, moved, refused] {
            field.store(0, Relaxed);
        }
    }

    /// Adds what a predecessor has counted to the header. Only the master does this.
    pub fn adopt(&self, totals: Totals) {
        self.header().store(self.header().totals().plus(totals));
    }

    fn map(cells: usize, fd: Option<OwnedFd>) -> io::Result<Self> {
        let len = NonZeroUsize::new(length(cells)?).ok_or(io::ErrorKind::InvalidInput)?;
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at an address that the kernel chooses; the file
        // behind it is `len` bytes long.
        let memory = unsafe {
            match &fd {
                Some(fd) => mman::mmap(None, len, access, MapFlags::MAP_SHARED, fd, 0)?,
                None => mman::mmap_anonymous(None, len, access, MapFlags::MAP_SHARED)?,
            }
        };
        let board = Self { memory: memory.cast(), cells, fd };
        board.header().magic.store(MAGIC, Relaxed);
        board.header().version.store(VERSION, Relaxed);
        Ok(board)
    }

    fn header(&self) -> &Header {
        // SAFETY: mapped until `self` is dropped, aligned to a page, and large enough.
        unsafe { self.memory.as_ref() }
    }

    fn all(&self) -> &[Cell] {
        // SAFETY: the mapping was made for the header and this many cells after
        // it; a header is as long as its alignment, so the cells are aligned.
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr().add(1).cast(), self.cells) }
    }
}

impl Drop for Board {
    /// Only this process' mapping ends: the memory lives for as long as another one has it.
    fn drop(&mut self) {
        if let Ok(len) = length(self.cells) {
            // SAFETY: exactly what was mapped, and nobody can have a reference any more.
            let _ = unsafe { mman::munmap(self.memory.cast(), len) };
        }
    }
}

impl fmt::Debug for Board {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Board")
            .field("cells", &self.cells)
            .field("fd", &self.fd)
            .field("totals", &self.totals())
            .finish()
    }
}

/// Reads the totals in the header of a board that another program has made.
///
/// The descriptor is not trusted: it is read, not mapped, so a file that
/// shrinks meanwhile does no harm.
///
/// # Errors
/// When it is not a board, or one with a header that this version does not know.
pub fn read_foreign(fd: BorrowedFd<'_>) -> io::Result<Totals> {
    let file = File::from(fd.try_clone_to_owned()?);
    let mut bytes = [0; KNOWN_HEADER];
    let (oldest, later) = bytes.split_at_mut(OLDEST_HEADER);
    file.read_exact_at(oldest, 0)?;
    // No board is shorter; whatever else it is shows in what was read before.
    let _ = file.read_at(later, OLDEST_HEADER as u64);
    let word = |i: usize| u64::from_ne_bytes(std::array::from_fn(|byte| bytes[i * 8 + byte]));
    let version = u32::from_ne_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]);
    if word(0) != MAGIC || version != VERSION {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "not a board, or one of another version"));
    }
    Ok(Totals { accepted: word(2), requests: word(3), panics: word(4), moved: word(5), refused: word(6) })
}

impl Totals {
    fn plus(self, other: Self) -> Self {
        Self {
            accepted: self.accepted.saturating_add(other.accepted),
            requests: self.requests.saturating_add(other.requests),
            panics: self.panics.saturating_add(other.panics),
            moved: self.moved.saturating_add(other.moved),
            refused: self.refused.saturating_add(other.refused),
        }
    }
}

impl Cell {
    fn sample(&self) -> Option<Sample> {
        let pid = i32::try_from(self.pid.load(Relaxed)).ok().filter(|pid| *pid > 0)?;
        Some(Sample { pid: Pid::from_raw(pid), open: self.open.load(Relaxed), turn: self.turn.load(Relaxed) })
    }

    fn totals(&self) -> Totals {
        Totals {
            accepted: self.accepted.load(Relaxed),
            requests: self.requests.load(Relaxed),
            panics: self.panics.load(Relaxed),
            moved: self.moved.load(Relaxed),
            refused: self.refused.load(Relaxed),
        }
    }
}

impl Header {
    fn totals(&self) -> Totals {
        Totals {
            accepted: self.accepted.load(Relaxed),
            requests: self.requests.load(Relaxed),
            panics: self.panics.load(Relaxed),
            moved: self.moved.load(Relaxed),
            refused: self.refused.load(Relaxed),
        }
    }

    fn store(&self, totals: Totals) {
        self.accepted.store(totals.accepted, Relaxed);
        self.requests.store(totals.requests, Relaxed);
        self.panics.store(totals.panics, Relaxed);
        self.moved.store(totals.moved, Relaxed);
        self.refused.store(totals.refused, Relaxed);
    }
}

/// In bytes: the header and `cells` cells.
fn length(cells: usize) -> io::Result<usize> {
    let len = cells.checked_mul(size_of::<Cell>()).and_then(|len| len.checked_add(size_of::<Header>()));
    len.filter(|len| isize::try_from(*len).is_ok()).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
}

/// A file in memory whose length nobody can change.
#[cfg(target_os = "linux")]
fn sealed_file(len: usize) -> io::Result<OwnedFd> {
    use nix::fcntl::{FcntlArg, SealFlag, fcntl};
    use nix::sys::memfd::{MFdFlags, memfd_create};

    let fd = memfd_create(c"hatchery-board", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?;
    set_length(&fd, len)?;
    let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
    fcntl(&fd, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(fd)
}

#[cfg(not(target_os = "linux"))]
fn sealed_file(_len: usize) -> io::Result<OwnedFd> {
    Err(io::ErrorKind::Unsupported.into())
}

/// A file without a name: nobody but who is given the descriptor can reach it.
fn unlinked_file(len: usize) -> io::Result<OwnedFd> {
    let (fd, path) = unistd::mkstemp(&std::env::temp_dir().join("hatchery-board-XXXXXX"))?;
    fs::remove_file(path)?;
    nix::fcntl::fcntl(&fd, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC))?;
    set_length(&fd, len)?;
    Ok(fd)
}

fn set_length(fd: &OwnedFd, len: usize) -> io::Result<()> {
    let len = libc::off_t::try_from(len).map_err(|_| io::ErrorKind::OutOfMemory)?;
    Ok(unistd::ftruncate(fd, len)?)
}
