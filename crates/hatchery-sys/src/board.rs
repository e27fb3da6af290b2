//! The board: memory that all processes of all generations share.
//!
//! One cell a process, written by that process alone with plain stores: counting
//! a request costs what an assignment costs. A cell is *claimed* by a master for
//! a child of its own, and free again when that was reaped; what was counted in
//! it stays, so that the sum of all cells never goes back. An upgrade hands the
//! board over. A successor with another idea of cells reads the header of its
//! predecessor's, whose layout never changes.
//!
//! # Safety
//!
//! All of the memory is atomics, zero is a value for each, and it stays mapped
//! for as long as the [`Board`] lives. Another process can write anything at
//! any time; nothing but a wrong number follows from that. The file behind it
//! is sealed, so no process can take pages away: one that is not sealed is not
//! mapped by anybody who has not made it.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::ptr::NonNull;
use std::sync::atomic::{
    AtomicU32, AtomicU64, Ordering::AcqRel, Ordering::Acquire, Ordering::Relaxed, Ordering::Release,
};

use nix::sys::mman::{self, MapFlags, ProtFlags};
use nix::sys::signal;
use nix::unistd::{self, Pid};

use crate::{process, time};

mod cell;
mod counts;

pub use cell::Cell;
pub use counts::{Counter, LATENCY_BOUNDS, STEP_BOUNDS, Totals};

/// `hatchery` as a number, which also shows the byte order.
const MAGIC: u64 = u64::from_be_bytes(*b"hatchery");

/// Of the header. A reader of another version refuses.
const VERSION: u32 = 1;

/// Of everything else: who has another idea of it reads the header only. The oldest one was 0.
const LAYOUT: u32 = 1;

/// How many counts the frozen part of the header has room for.
const FROZEN: usize = 126;

/// A header and a fixed number of cells, in shared memory.
///
/// Forked children share it. Purposefully not `Clone`: a second mapping has no use.
pub struct Board {
    memory: NonNull<Header>,
    cells: usize,
    fd: Option<OwnedFd>,
    /// The board of a predecessor with another layout.
    elder: Option<OwnedFd>,
}

/// Whom a cell is claimed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Claim {
    /// Its place among the processes of its generation.
    pub slot: u16,
    /// Its generation.
    pub generation: u64,
    /// Whether what it counts is left out of the totals: it serves nobody but operators.
    pub aside: bool,
}

/// Up to `summary` frozen: other versions read it.
#[repr(C, align(128))]
struct Header {
    magic: AtomicU64,
    version: AtomicU32,
    /// Zero in the oldest layout, where five counts stand here and cells behind them.
    layout: AtomicU32,
    /// All that was counted, as somebody last saw it: for readers of other layouts.
    summary: [AtomicU64; FROZEN],
    /// What predecessors with another layout have counted.
    elders: [AtomicU64; FROZEN],
    /// What masters count themselves.
    masters: [AtomicU64; FROZEN],
    /// Cells from here on were never claimed.
    used: AtomicU64,
}

/// The part of the header that the oldest layout has, in bytes.
const OLDEST_HEADER: usize = 40;

/// The counts that the oldest layout has.
const OLDEST_COUNTS: usize = 5;

/// The frozen part of the header, in bytes.
const FROZEN_HEADER: usize = 16 + 8 * FROZEN;

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
        let board = match sealed_file(len).or_else(|_| unlinked_file(len)) {
            Ok(file) => Self::map(cells, Some(file))?,
            // Nobody outside of this generation can read it then, which costs a successor its totals.
            Err(_) => Self::map(cells, None)?,
        };
        board.header().magic.store(MAGIC, Relaxed);
        board.header().version.store(VERSION, Relaxed);
        board.header().layout.store(LAYOUT, Relaxed);
        Ok(board)
    }

    /// The board of a predecessor, by the descriptor that it has handed over: the
    /// same memory if it has the same layout, and otherwise a new board that goes on
    /// from what that one says, now and for as long as this process lives.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub fn inherit(handed: OwnedFd, cells: usize) -> io::Result<Self> {
        if is_alike(&handed, cells).unwrap_or(false) {
            return Self::map(cells, Some(handed));
        }
        let mut board = Self::create(cells)?;
        board.elder = Some(handed);
        board.look_at_elder();
        Ok(board)
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

    /// The cells that were ever claimed.
    pub fn used(&self) -> impl Iterator<Item = &Cell> {
        let used = usize::try_from(self.header().used.load(Acquire)).unwrap_or(usize::MAX);
        self.all().iter().take(used)
    }

    /// The descriptor by which a successor can share it.
    ///
    /// `None` where shared memory with a descriptor is not to be had.
    #[must_use]
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.fd.as_ref().map(AsFd::as_fd)
    }

    /// Everything that was counted, by all processes of all generations: never less than before.
    ///
    /// It is noted in the header as well, so that a successor with another layout
    /// has it too. Only masters call this.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.look_at_elder();
        let header = self.header();
        let mut totals = read(&header.elders);
        totals += read(&header.masters);
        self.used().filter(|cell| !cell.is_aside()).for_each(|cell| totals += cell.totals());
        raise(&header.summary, &totals);
        totals
    }

    /// Counts one more. Any master does this, at any time.
    pub fn note(&self, counter: Counter) {
        self.header().masters[counter.place()].fetch_add(1, Relaxed);
    }

    /// Takes a free cell for a child that is forked next; `None` if there is none.
    ///
    /// A cell that only this slot has used is the first choice, and one that was never
    /// used the second: what was counted for a slot stays together. When all cells are
    /// somebody's, any that is free will do: what is counted there from then on is in the
    /// totals alone, and what was counted before stays its slot's.
    #[must_use]
    pub fn claim(&self, claim: Claim) -> Option<usize> {
        self.free_cell(claim).or_else(|| {
            self.sweep();
            self.free_cell(claim)
        })
    }

    /// Frees the cell `i`, whose process is gone or was never forked. What it has counted stays.
    ///
    /// Only the master that has claimed it does this, after it has reaped the
    /// process: the cell has no writer any more.
    ///
    /// # Panics
    /// If the board has no such cell.
    pub fn release(&self, i: usize) {
        let cell = self.cell(i);
        cell.forget_process();
        cell.owner.store(0, Release);
    }

    /// Frees the cells of processes that have outlived their master, and are gone as well.
    pub fn sweep(&self) {
        let own = own_pid();
        for (i, cell) in self.used().enumerate() {
            let (owner, pid) = (cell.owner.load(Acquire), cell.pid.load(Relaxed));
            // Of one that is claimed and has no process nobody can tell whether it is being forked.
            if owner != 0 && owner != own && pid != 0 && is_gone(owner) && is_gone(pid) {
                self.release(i);
            }
        }
    }

    fn free_cell(&self, claim: Claim) -> Option<usize> {
        let slot = u64::from(claim.slot) + 1;
        let one_that = |fits: &dyn Fn(&Cell) -> bool| {
            let is_free = |cell: &Cell| cell.is_aside() == claim.aside && cell.owner.load(Relaxed) == 0;
            let mut free = self.used().enumerate().filter(|(_, cell)| is_free(cell) && fits(cell));
            free.find(|(_, cell)| take(cell)).map(|(i, _)| i)
        };
        let is_own = |cell: &Cell| cell.home() == Some(claim.slot) && !cell.is_mixed();
        let i = one_that(&is_own)
            .or_else(|| self.fresh_cell())
            .or_else(|| one_that(&Cell::is_mixed))
            .or_else(|| one_that(&|_| true))?;
        let cell = self.cell(i);
        cell.aside.store(claim.aside.into(), Relaxed);
        cell.move_in(slot);
        cell.generation.store(claim.generation, Relaxed);
        cell.claimed.store(time::monotonic(), Relaxed);
        let count = |counter| cell.count(counter).load(Relaxed);
        cell.accepted_before.store(count(Counter::Accepted), Relaxed);
        cell.requests_before.store(count(Counter::Requests), Relaxed);
        Some(i)
    }

    fn fresh_cell(&self) -> Option<usize> {
        let cells = self.cells as u64;
        loop {
            let next = |used: u64| (used < cells).then(|| used + 1);
            let used = self.header().used.fetch_update(AcqRel, Acquire, next).ok()?;
            // Another master may have found it free in the moment in between.
            let i = usize::try_from(used).ok()?;
            if take(self.cell(i)) {
                return Some(i);
            }
        }
    }

    fn look_at_elder(&self) {
        if let Some(Ok(totals)) = self.elder.as_ref().map(|elder| read_foreign(elder.as_fd())) {
            raise(&self.header().elders, &totals);
        }
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
        Ok(Self { memory: memory.cast(), cells, fd, elder: None })
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
            .field("elder", &self.elder)
            .finish_non_exhaustive()
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
    let mut bytes = [0; FROZEN_HEADER];
    let (oldest, later) = bytes.split_at_mut(OLDEST_HEADER);
    file.read_exact_at(oldest, 0)?;
    // No board is shorter; whatever else it is shows in what was read before.
    let _ = file.read_at(later, OLDEST_HEADER as u64);
    let layout = layout_of(&bytes)?;
    let counts = if layout == 0 { OLDEST_COUNTS } else { FROZEN };
    Ok(Totals::from_words((0..counts).map(|i| word(&bytes, 2 + i))))
}

/// Of a board's header. An error if it is none.
fn layout_of(bytes: &[u8]) -> io::Result<u32> {
    let half = |at: usize| u32::from_ne_bytes(std::array::from_fn(|byte| bytes[at + byte]));
    if word(bytes, 0) == MAGIC && half(8) == VERSION {
        return Ok(half(12));
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "not a board, or one of another version"))
}

fn word(bytes: &[u8], i: usize) -> u64 {
    u64::from_ne_bytes(std::array::from_fn(|byte| bytes[i * 8 + byte]))
}

/// Whether it can be mapped as a board of this version's with so many cells.
fn is_alike(handed: &OwnedFd, cells: usize) -> io::Result<bool> {
    let file = File::from(handed.try_clone()?);
    let mut bytes = [0; 16];
    file.read_exact_at(&mut bytes, 0)?;
    let is_whole = file.metadata()?.len() == length(cells)? as u64;
    Ok(layout_of(&bytes)? == LAYOUT && is_whole && is_sealed(handed))
}

/// Makes the cell this process', unless it is somebody's.
fn take(cell: &Cell) -> bool {
    cell.owner.compare_exchange(0, own_pid(), AcqRel, Acquire).is_ok()
}

fn own_pid() -> u64 {
    process::pid().as_raw().unsigned_abs().into()
}

/// Whether there is no such process. One that cannot be asked for is there.
fn is_gone(pid: u64) -> bool {
    i32::try_from(pid).is_ok_and(|pid| signal::kill(Pid::from_raw(pid), None) == Err(nix::errno::Errno::ESRCH))
}

fn read(words: &[AtomicU64; FROZEN]) -> Totals {
    Totals::from_words(words.iter().map(|word| word.load(Relaxed)))
}

/// So that none of the words is less than in `totals`.
fn raise(words: &[AtomicU64; FROZEN], totals: &Totals) {
    for (known, count) in words.iter().zip(totals.words()) {
        if known.load(Relaxed) < count {
            known.fetch_max(count, Relaxed);
        }
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

#[cfg(target_os = "linux")]
fn is_sealed(fd: &OwnedFd) -> bool {
    use nix::fcntl::{FcntlArg, SealFlag, fcntl};

    fcntl(fd, FcntlArg::F_GET_SEALS)
        .is_ok_and(|seals| SealFlag::from_bits_truncate(seals).contains(SealFlag::F_SEAL_SHRINK))
}

#[cfg(not(target_os = "linux"))]
fn is_sealed(_fd: &OwnedFd) -> bool {
    false
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
