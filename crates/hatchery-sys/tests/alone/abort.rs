//! Last words: said whatever the process was in the middle of, and the end stays the same.

use std::alloc::{GlobalAlloc, Layout, System};
use std::fmt::Write as _;
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use hatchery_sys::Signal::{SIGABRT, SIGUSR1};
use hatchery_sys::abort::{Lines, on_abort};
use hatchery_sys::signals::SelfPipe;
use hatchery_sys::wait::Status;
use hatchery_sys::{Pid, process, signals};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

use crate::Case;
use crate::support::{child, join};

pub(crate) const CASES: &[Case] = &[
    ("abort::the_lines_come_first_and_the_end_is_the_same", order),
    ("abort::a_line_is_one_write_and_one_that_is_too_long_is_cut_off", lines),
    ("abort::what_is_said_does_not_wait_for_the_allocator", allocator),
    ("abort::an_abort_of_the_process_itself_says_the_same", own),
    ("abort::a_panic_in_the_last_words_ends_them", panics),
    ("abort::a_process_that_was_forked_since_says_nothing", forked),
    ("abort::a_child_that_starts_anew_is_as_if_it_had_none", reset),
    ("abort::they_are_not_set_twice", twice),
    ("abort::a_standard_error_that_nobody_reads_holds_up_no_end", unread),
    ("abort::an_overflown_stack_has_room_for_them", overflow),
];

/// The allocator, which can be made to look as if somebody held its lock for ever.
struct Lockable;

static HELD: AtomicBool = AtomicBool::new(false);

// SAFETY: it does what the system's does, or never returns.
unsafe impl GlobalAlloc for Lockable {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        wait_for_the_lock();
        // SAFETY: passed on as it came.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        wait_for_the_lock();
        // SAFETY: passed on as it came.
        unsafe { System.dealloc(memory, layout) }
    }
}

fn wait_for_the_lock() {
    while HELD.load(SeqCst) {
        // SAFETY: it waits for a signal, and has no precondition.
        unsafe { libc::pause() };
    }
}

#[global_allocator]
static ALLOCATOR: Lockable = Lockable;

static COUNT: AtomicU64 = AtomicU64::new(0);

fn say(lines: &mut Lines) {
    let _ = writeln!(lines, "counted {}", COUNT.load(SeqCst));
    let _ = write!(lines, "no end");
}

/// A child that does this with its standard error in the other end of a socket, where each write stays apart.
fn aborts(role: impl FnOnce()) -> (UnixDatagram, Pid) {
    let (read, write) =
        socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).expect("a pair");
    let read = UnixDatagram::from(read);
    let pid = child(|| {
        nix::unistd::dup2_stderr(&write).expect("a standard error");
        role();
        0
    });
    read.set_read_timeout(Some(Duration::from_secs(20))).expect("a time-out");
    (read, pid)
}

fn is_aborted(status: Status) -> bool {
    matches!(status, Status::Killed { signal, .. } if signal == SIGABRT as i32)
}

fn said(socket: &UnixDatagram) -> String {
    let mut bytes = [0; 4096];
    let len = socket.recv(&mut bytes).expect("a line");
    String::from_utf8(bytes[..len].to_vec()).expect("text")
}

/// All that is said until the process has ended.
fn rest(socket: &UnixDatagram) -> String {
    std::iter::repeat_with(|| said(socket)).take_while(|line| !line.is_empty()).collect()
}

fn raise() {
    process::kill(process::pid(), SIGABRT).expect("this process lives");
}

fn order() {
    let (read, pid) = aborts(|| {
        on_abort(&say).expect("last words");
        COUNT.store(4711, SeqCst);
        raise();
    });
    assert_eq!(said(&read), "counted 4711\n");
    assert_eq!(said(&read), "no end\n");
    let trace = rest(&read);
    assert!(trace.contains("abort::raise"), "{trace}");
    assert!(is_aborted(join(pid)));
}

fn lines() {
    let (read, pid) = aborts(|| {
        on_abort(&|lines| {
            let _ = write!(lines, "0é\nshort\n\n");
            for _ in 0..2000 {
                let _ = lines.write_str("é");
            }
            let _ = lines.write_str("\nafter\n");
        })
        .expect("last words");
        raise();
    });
    assert_eq!([said(&read), said(&read)], ["0é\n", "short\n"]);
    let long = said(&read);
    assert_eq!((long.len() / 2, long.trim_end().chars().all(|c| c == 'é')), (511, true));
    assert_eq!(said(&read), "after\n");
    assert!(is_aborted(join(pid)));
}

fn allocator() {
    let start = Instant::now();
    let (read, pid) = aborts(|| {
        on_abort(&say).expect("last words");
        HELD.store(true, SeqCst);
        raise();
    });
    assert_eq!([said(&read), said(&read)], ["counted 0\n", "no end\n"]);
    // The backtrace never comes, and does not keep the process.
    assert!(is_aborted(join(pid)));
    assert!(start.elapsed() > Duration::from_secs(2), "it has waited for the backtrace");
}

fn own() {
    let (read, pid) = aborts(|| {
        on_abort(&say).expect("last words");
        std::process::abort();
    });
    // And not where: whoever aborts has said why.
    assert_eq!(rest(&read), "counted 0\nno end\n");
    assert!(is_aborted(join(pid)));
}

fn panics() {
    let (read, pid) = aborts(|| {
        std::panic::set_hook(Box::new(|_| {}));
        on_abort(&|lines| {
            let _ = writeln!(lines, "before");
            panic!("against the rules");
        })
        .expect("last words");
        raise();
    });
    assert_eq!(said(&read), "before\n");
    assert!(is_aborted(join(pid)));
}

fn forked() {
    let (read, pid) = aborts(|| {
        on_abort(&say).expect("last words");
        // SAFETY: this process has one thread, and the child does nothing but end.
        let grandchild = unsafe { libc::fork() };
        if grandchild == 0 {
            raise();
        }
        assert!(is_aborted(join(Pid::from_raw(grandchild))));
    });
    assert_eq!(join(pid), Status::Exited(0));
    assert_eq!(read.recv(&mut [0; 8]).ok(), Some(0), "nobody has said anything");
}

fn reset() {
    let (read, pid) = aborts(|| {
        on_abort(&say).expect("last words");
        signals::reset_in_child();
        raise();
    });
    assert!(is_aborted(join(pid)));
    assert_eq!(read.recv(&mut [0; 8]).ok(), Some(0), "nobody has said anything");
}

fn twice() {
    on_abort(&say).expect("last words");
    assert_eq!(on_abort(&say).unwrap_err().kind(), std::io::ErrorKind::AlreadyExists);
}

fn unread() {
    let (read, pid) = aborts(|| {
        // Handlers of the process' own are in nobody's way.
        let _pipe = SelfPipe::install(&[SIGUSR1]).expect("a self-pipe");
        on_abort(&|lines| (0..100_000).for_each(|n| writeln!(lines, "{n}").expect("they never fail")))
            .expect("last words");
        raise();
    });
    assert!(is_aborted(join(pid)));
    assert_eq!(said(&read), "0\n");
}

fn overflow() {
    #[expect(unconditional_recursion, reason = "to overflow the stack")]
    fn deeper(depth: u64) -> u64 {
        let space = std::hint::black_box([depth; 64]);
        deeper(space[7] + 1) + space[9]
    }
    let (read, pid) = aborts(|| {
        on_abort(&say).expect("last words");
        std::hint::black_box(deeper(0));
    });
    let all = rest(&read);
    assert!(all.ends_with("counted 0\nno end\n"), "{all}");
    assert!(is_aborted(join(pid)));
}
