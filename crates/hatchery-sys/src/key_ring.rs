//! Keys that all processes of all generations share, and nobody else.
//!
//! One page of memory: a ring of numbered keys, of which the newest ones count.
//! A new key is written where nobody reads, and its number afterwards, so that
//! whoever dies in between leaves the ring as it was.
//!
//! # Safety
//!
//! All of the memory is atomics, zero is a value for each, and it stays mapped
//! for as long as the [`KeyRing`] lives, or is replaced by a page that nobody can access.
//! The file behind it is sealed, so no process can take the page away.

use std::fmt;
use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::mman::{self, MapFlags, MmapAdvise, ProtFlags};

/// How many keys count: the newest one, and those before it.
pub const KEYS: usize = 3;

/// More than count, so that nobody reads where the next one is written.
const SLOTS: u64 = 8;

/// `keyring1` as a number, which also shows the byte order.
const MAGIC: u64 = u64::from_be_bytes(*b"keyring1");

const LEN: usize = 4096;

/// A key and its number.
pub type Key = (u64, [u8; 32]);

/// The keys; every process that has inherited the mapping or the descriptor shares them.
pub struct KeyRing {
    memory: NonNull<Page>,
    /// `None` in a process that makes no keys.
    file: Mutex<Option<OwnedFd>>,
}

#[repr(C)]
struct Page {
    magic: AtomicU64,
    /// The number of the newest key, 0 if there is none.
    newest: AtomicU64,
    slots: [Slot; SLOTS as usize],
}

#[repr(C)]
#[derive(Default)]
struct Slot {
    /// 0 while it is written, or erased.
    number: AtomicU64,
    /// In milliseconds since the system has started.
    born: AtomicU64,
    key: [AtomicU64; 4],
}

// SAFETY: the mapping belongs to the process, not to a thread.
unsafe impl Send for KeyRing {}
// SAFETY: everything in the mapping is atomics.
unsafe impl Sync for KeyRing {}

/// A file for a ring without any key, which an exec closes.
///
/// # Errors
/// When there is no memory, or no descriptor, left.
pub fn file() -> io::Result<OwnedFd> {
    let file = in_memory()?;
    file.set_len(LEN as u64)?;
    seal(&file)?;
    Ok(file.into())
}

#[cfg(target_os = "linux")]
fn in_memory() -> io::Result<File> {
    use nix::sys::memfd::{MFdFlags, memfd_create};

    Ok(memfd_create(c"hatchery-keys", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?.into())
}

#[cfg(not(target_os = "linux"))]
fn in_memory() -> io::Result<File> {
    crate::sheet::sheet()
}

#[cfg(target_os = "linux")]
fn seal(file: &File) -> io::Result<()> {
    use nix::fcntl::SealFlag;

    let size = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
    fcntl(file, FcntlArg::F_ADD_SEALS(size))?;
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn seal(_file: &File) -> io::Result<()> {
    Ok(())
}

impl KeyRing {
    /// The ring in a file of [`file()`]'s.
    ///
    /// # Errors
    /// When it is another file, or cannot be mapped.
    pub fn open(file: OwnedFd) -> io::Result<Self> {
        let found = File::from(file.try_clone()?).metadata()?.len();
        if found != LEN as u64 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a file of {found} bytes is no key ring")));
        }
        let len = NonZeroUsize::new(LEN).ok_or(io::ErrorKind::InvalidInput)?;
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at an address that the kernel chooses; the file is `LEN` bytes long.
        let memory = unsafe { mman::mmap(None, len, access, MapFlags::MAP_SHARED, &file, 0)? };
        let ring = Self { memory: memory.cast(), file: Mutex::new(Some(file)) };
        #[cfg(target_os = "linux")]
        // SAFETY: the mapping that was made above, whole.
        unsafe {
            // Keys are not for those who read what is left of a crash.
            let _old_kernel = mman::madvise(memory, LEN, MmapAdvise::MADV_DONTDUMP);
        }
        match ring.page().magic.compare_exchange(0, MAGIC, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) | Err(MAGIC) => Ok(ring),
            Err(_) => Err(io::Error::new(io::ErrorKind::InvalidData, "a key ring of another kind")),
        }
    }

    /// The number of the newest key; it grows with every rotation. 0: there is none yet.
    #[must_use]
    pub fn newest(&self) -> u64 {
        self.page().newest.load(Ordering::Acquire)
    }

    /// The keys that count, the newest one first.
    #[must_use]
    pub fn keys(&self) -> Vec<Key> {
        let newest = self.newest();
        let numbers = (0..KEYS as u64).map_while(|back| newest.checked_sub(back)).filter(|number| *number > 0);
        numbers.filter_map(|number| self.slot(number).read(number)).collect()
    }

    /// Makes a new key if the newest one is as old as `period`, and erases those that count no more.
    ///
    /// Any number of masters may do so at a time: one of them does. Answers how long the
    /// newest key has until it is that old.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] while another process holds the lock: a master does for a
    /// moment only. [`io::ErrorKind::PermissionDenied`] in a process that makes no keys. Otherwise
    /// when there is no randomness to be had.
    pub fn rotate(&self, period: Duration) -> io::Result<Duration> {
        let period = millis(period).max(1);
        let file = self.file();
        let file = file.as_ref().ok_or(io::ErrorKind::PermissionDenied)?;
        lock(file)?;
        let rotated = self.rotate_locked(period);
        unlock(file);
        rotated
    }

    fn rotate_locked(&self, period: u64) -> io::Result<Duration> {
        let (now, newest) = (now(), self.newest());
        let age = now.saturating_sub(self.slot(newest).born.load(Ordering::Relaxed));
        let is_due = newest == 0 || age >= period;
        if is_due {
            let mut key = [0; 32];
            crate::random::fill(&mut key)?;
            self.slot(newest + 1).write(newest + 1, now, &key);
            self.page().newest.store(newest + 1, Ordering::Release);
        }
        let newest = self.newest();
        for slot in &self.page().slots {
            let (number, born) = (slot.number.load(Ordering::Acquire), slot.born.load(Ordering::Relaxed));
            let has_been_replaced = number + KEYS as u64 <= newest;
            // After a long sleep several are too old at once.
            if has_been_replaced || now.saturating_sub(born) >= period.saturating_mul(KEYS as u64) {
                slot.erase();
            }
        }
        Ok(Duration::from_millis(if is_due { period } else { period - age }))
    }

    /// From now on this process can read the keys, and no more: it has closed their file.
    ///
    /// # Errors
    /// Those of `mprotect(2)`.
    pub fn only_read(&self) -> io::Result<()> {
        drop(self.file().take());
        // SAFETY: the mapping is this ring's, whole; nothing but a fault follows from less access.
        unsafe { mman::mprotect(self.memory.cast(), LEN, ProtFlags::PROT_READ)? };
        Ok(())
    }

    /// From now on this process, which must not use the ring any more, has neither the keys nor their file.
    ///
    /// # Errors
    /// Those of `mmap(2)`.
    pub fn forget(&self) -> io::Result<()> {
        drop(self.file().take());
        let len = NonZeroUsize::new(LEN).ok_or(io::ErrorKind::InvalidInput)?;
        let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_FIXED;
        // SAFETY: it takes the place of this ring's own mapping, whole; nothing but a fault
        // follows from a page that nobody can access.
        unsafe { mman::mmap_anonymous(Some(self.memory.addr()), len, ProtFlags::PROT_NONE, flags)? };
        Ok(())
    }

    fn file(&self) -> MutexGuard<'_, Option<OwnedFd>> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn page(&self) -> &Page {
        // SAFETY: it is mapped as long as the ring lives, as large as a page and
        // aligned to one, and all of it is atomics.
        unsafe { self.memory.as_ref() }
    }

    fn slot(&self, number: u64) -> &Slot {
        let index = usize::try_from(number % SLOTS).unwrap_or(0);
        &self.page().slots[index]
    }
}

impl Drop for KeyRing {
    fn drop(&mut self) {
        // SAFETY: the mapping is this ring's own, and nobody has a reference into it any more.
        let _ = unsafe { mman::munmap(self.memory.cast(), LEN) };
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRing").field("file", &*self.file()).finish_non_exhaustive()
    }
}

impl Slot {
    /// `None` if it is not that key, or not any more.
    fn read(&self, number: u64) -> Option<Key> {
        if self.number.load(Ordering::Acquire) != number {
            return None;
        }
        let mut key = [0; 32];
        for (part, word) in key.chunks_exact_mut(8).zip(&self.key) {
            part.copy_from_slice(&word.load(Ordering::Acquire).to_ne_bytes());
        }
        (self.number.load(Ordering::Acquire) == number).then_some((number, key))
    }

    fn write(&self, number: u64, born: u64, key: &[u8; 32]) {
        self.erase();
        for (part, word) in key.chunks_exact(8).zip(&self.key) {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(part);
            word.store(u64::from_ne_bytes(bytes), Ordering::Release);
        }
        self.born.store(born, Ordering::Relaxed);
        self.number.store(number, Ordering::Release);
    }

    /// The number first: who reads meanwhile sees that it is gone.
    fn erase(&self) {
        self.number.store(0, Ordering::SeqCst);
        for word in &self.key {
            word.store(0, Ordering::SeqCst);
        }
    }
}

/// A lock of the process, which ends with it: descriptors that were inherited do not share it.
fn lock(file: &OwnedFd) -> io::Result<()> {
    match fcntl(file, FcntlArg::F_SETLK(&whole(libc::F_WRLCK))) {
        Ok(_) => Ok(()),
        Err(Errno::EAGAIN | Errno::EACCES) => Err(io::Error::new(io::ErrorKind::WouldBlock, locked(file))),
        Err(error) => Err(error.into()),
    }
}

fn unlock(file: &OwnedFd) {
    // It ends with the process at the latest.
    let _ = fcntl(file, FcntlArg::F_SETLK(&whole(libc::F_UNLCK)));
}

/// By whom, as far as this process may know.
fn locked(file: &OwnedFd) -> String {
    let mut holder = whole(libc::F_WRLCK);
    match fcntl(file, FcntlArg::F_GETLK(&mut holder)) {
        Ok(_) if holder.l_pid > 0 => format!("process {} holds their lock", holder.l_pid),
        Ok(_) | Err(_) => "another process holds their lock".to_owned(),
    }
}

fn whole(kind: libc::c_int) -> libc::flock {
    // SAFETY: it is a plain structure of integers, for which zero is a value.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = libc::c_short::try_from(kind).unwrap_or_default();
    lock.l_whence = libc::c_short::try_from(libc::SEEK_SET).unwrap_or_default();
    lock
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// Of a clock that all processes share, that nobody sets, and that runs while the machine sleeps.
fn now() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    #[cfg(target_os = "linux")]
    const CLOCK: libc::clockid_t = libc::CLOCK_BOOTTIME;
    #[cfg(not(target_os = "linux"))]
    const CLOCK: libc::clockid_t = libc::CLOCK_MONOTONIC;
    // SAFETY: `time` is there for the kernel to write to.
    unsafe { libc::clock_gettime(CLOCK, &raw mut time) };
    let seconds = Duration::from_secs(u64::try_from(time.tv_sec).unwrap_or(0));
    // Never 0, which is when no key is born.
    millis(seconds + Duration::from_nanos(u64::try_from(time.tv_nsec).unwrap_or(0))).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn everybody_who_has_the_file_has_the_keys() {
        let file = file().unwrap();
        let (one, other) = (KeyRing::open(file.try_clone().unwrap()).unwrap(), KeyRing::open(file).unwrap());
        assert_eq!((one.newest(), one.keys()), (0, Vec::new()));
        assert_eq!(one.rotate(HOUR).unwrap(), HOUR);
        assert_eq!((one.newest(), one.keys().len()), (1, 1));
        assert_eq!(one.keys(), other.keys());
        assert_ne!(one.keys()[0].1, [0; 32]);
        // It is not due again, whoever asks.
        assert!(other.rotate(HOUR).unwrap() <= HOUR);
        assert_eq!(one.newest(), 1);
        other.only_read().unwrap();
        assert_eq!(other.keys(), one.keys());
    }

    #[test]
    fn the_newest_keys_count_and_the_rest_is_erased() {
        let ring = KeyRing::open(file().unwrap()).unwrap();
        let mut seen = Vec::new();
        for newest in 1..=20 {
            // As if the last one were a little older than a period that is long enough for all that count.
            ring.slot(newest - 1).born.store(now().saturating_sub(2000), Ordering::Relaxed);
            ring.rotate(Duration::from_secs(2)).unwrap();
            let keys = ring.keys();
            assert_eq!(keys[0].0, newest);
            assert!(!seen.contains(&keys[0].1), "each is another one");
            seen.push(keys[0].1);
            assert!(keys.len() <= KEYS);
            let held = ring.page().slots.iter().filter(|slot| slot.key[0].load(Ordering::Relaxed) != 0).count();
            assert_eq!(held, keys.len(), "nothing is left of the others");
        }
        assert_eq!(ring.keys().len(), KEYS);
    }

    #[test]
    fn after_a_long_sleep_only_the_new_key_is_left() {
        let ring = KeyRing::open(file().unwrap()).unwrap();
        ring.rotate(HOUR).unwrap();
        ring.slot(1).born.store(0, Ordering::Relaxed);
        ring.rotate(Duration::from_millis(1)).unwrap();
        assert_eq!(ring.keys().iter().map(|(number, _)| *number).collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn another_file_is_no_ring() {
        let other: OwnedFd = crate::sheet::sheet().unwrap().into();
        assert!(KeyRing::open(other).is_err());
    }

    #[test]
    fn who_only_reads_has_no_file_and_who_forgets_no_keys() {
        let ring = KeyRing::open(file().unwrap()).unwrap();
        ring.rotate(HOUR).unwrap();
        ring.only_read().unwrap();
        assert_eq!((ring.keys().len(), ring.file().is_none()), (1, true));
        assert_eq!(ring.rotate(HOUR).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        #[cfg(target_os = "linux")]
        {
            let place = format!("{:x}-", ring.memory.addr());
            let line = || {
                std::fs::read_to_string("/proc/self/smaps")
                    .unwrap()
                    .lines()
                    .find(|line| line.starts_with(&place))
                    .map(str::to_owned)
            };
            assert!(line().unwrap().contains("hatchery-keys"));
            ring.forget().unwrap();
            assert!(line().is_none_or(|line| !line.contains("hatchery-keys")));
        }
    }
}
