//! What only the very start of a process shows, noted before `main`.
//!
//! Rust's runtime ignores SIGPIPE before `main` runs, so the dispositions that
//! the program was started with have to be read earlier. And where the argument
//! strings lie in memory is told to nobody but the first functions that run.
//!
//! # Safety
//!
//! Functions in `.init_array` run before Rust's runtime is set up. These use
//! nothing of std: they read memory that the kernel has filled, call
//! async-signal-safe functions and store integers.

use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// The highest signal number, on Linux.
pub(crate) const LAST_SIGNAL: i32 = 64;

static NOTED: AtomicBool = AtomicBool::new(false);
static IGNORED: AtomicU64 = AtomicU64::new(0);
static MASK: AtomicU64 = AtomicU64::new(0);

/// Signals as they were at the start: which are ignored and which blocked, bit 0 being signal 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AtStart {
    pub(crate) ignored: u64,
    pub(crate) blocked: u64,
}

impl AtStart {
    /// What was noted before `main`; what is now, where nothing could be noted.
    pub(crate) fn signals() -> Self {
        if NOTED.load(Relaxed) {
            Self { ignored: IGNORED.load(Relaxed), blocked: MASK.load(Relaxed) }
        } else {
            Self { ignored: ignored_now(), blocked: blocked_now() }
        }
    }
}

/// The bit of a signal in [`AtStart`].
pub(crate) const fn bit(signal: i32) -> u64 {
    1 << (signal - 1)
}

#[cfg(target_os = "linux")]
#[used]
#[unsafe(link_section = ".init_array")]
static NOTE_SIGNALS: extern "C" fn() = note_signals;

#[cfg(target_os = "linux")]
extern "C" fn note_signals() {
    IGNORED.store(ignored_now(), Relaxed);
    MASK.store(blocked_now(), Relaxed);
    NOTED.store(true, Relaxed);
}

fn ignored_now() -> u64 {
    (1..=LAST_SIGNAL).filter(|signal| is_ignored(*signal)).fold(0, |set, signal| set | bit(signal))
}

fn is_ignored(signal: i32) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: with a null pointer as the new action it only reads. It fails for
    // numbers that are no signals, or the C library's own.
    let read = unsafe { libc::sigaction(signal, ptr::null(), action.as_mut_ptr()) };
    // SAFETY: zeroed, which is a value of this struct, or filled in.
    read == 0 && unsafe { action.assume_init() }.sa_sigaction == libc::SIG_IGN
}

fn blocked_now() -> u64 {
    let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: with a null pointer as the new mask it only reads.
    unsafe { libc::sigprocmask(libc::SIG_BLOCK, ptr::null(), set.as_mut_ptr()) };
    // SAFETY: `set` is zeroed, which is the empty set, or filled in.
    let is_blocked = |signal: &i32| unsafe { libc::sigismember(set.as_ptr(), *signal) == 1 };
    (1..=LAST_SIGNAL).filter(is_blocked).fold(0, |set, signal| set | bit(signal))
}

/// Where the argument and environment strings lie: one after the other, as the kernel has put them.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(crate) mod strings {
    use std::ffi::{CStr, c_char, c_int};
    use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicUsize, Ordering::Relaxed};

    static ARGC: AtomicI32 = AtomicI32::new(0);
    static ARGV: AtomicPtr<*mut c_char> = AtomicPtr::new(std::ptr::null_mut());
    /// Noted too, since the first argument's pointer changes when it is moved.
    static BEGIN: AtomicPtr<u8> = AtomicPtr::new(std::ptr::null_mut());
    static ARGS_END: AtomicUsize = AtomicUsize::new(0);
    static ENV_END: AtomicUsize = AtomicUsize::new(0);

    /// The two areas, which touch: arguments, then environment.
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct Strings {
        /// How many arguments there are, the program's name included.
        pub(crate) argc: usize,
        /// Pointers to them.
        pub(crate) argv: *mut *mut c_char,
        /// Where the first argument begins.
        pub(crate) begin: *mut u8,
        /// How many bytes the arguments take.
        pub(crate) args_len: usize,
        /// How many bytes arguments and environment take.
        pub(crate) len: usize,
    }

    /// What was noted before `main`; `None` without any argument.
    pub(crate) fn strings() -> Option<Strings> {
        let argv = ARGV.load(Relaxed);
        let argc = usize::try_from(ARGC.load(Relaxed)).ok().filter(|argc| *argc > 0)?;
        if argv.is_null() {
            return None;
        }
        let begin = BEGIN.load(Relaxed);
        let args_len = ARGS_END.load(Relaxed).checked_sub(begin.addr())?;
        let len = ENV_END.load(Relaxed).checked_sub(begin.addr())?;
        Some(Strings { argc, argv, begin, args_len, len })
    }

    #[used]
    #[unsafe(link_section = ".init_array")]
    static NOTE_STRINGS: extern "C" fn(c_int, *mut *mut c_char, *mut *mut c_char) = note_strings;

    /// glibc, and only glibc, calls these functions with main's arguments.
    extern "C" fn note_strings(argc: c_int, argv: *mut *mut c_char, envp: *mut *mut c_char) {
        if argc < 1 || argv.is_null() || envp.is_null() {
            return;
        }
        // SAFETY: both arrays end with a null pointer, and hold pointers to strings until there.
        let (begin, args_end, env_end) = unsafe {
            let begin: *mut u8 = (*argv).cast();
            let args_end = end_of(begin.addr(), argv);
            (begin, args_end, end_of(args_end, envp))
        };
        ARGC.store(argc, Relaxed);
        ARGV.store(argv, Relaxed);
        BEGIN.store(begin, Relaxed);
        ARGS_END.store(args_end, Relaxed);
        ENV_END.store(env_end, Relaxed);
    }

    /// Where the strings end that begin at `from` and follow one another.
    ///
    /// # Safety
    /// `strings` points to pointers to strings, with a null pointer after the last.
    unsafe fn end_of(from: usize, mut strings: *mut *mut c_char) -> usize {
        let mut end = from;
        // SAFETY: within the array, up to its null pointer, as the caller says.
        unsafe {
            while !(*strings).is_null() {
                if (*strings).addr() == end {
                    end += CStr::from_ptr(*strings).to_bytes_with_nul().len();
                }
                strings = strings.add(1);
            }
        }
        end
    }
}
