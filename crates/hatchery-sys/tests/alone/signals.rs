//! Signals: none lost, none mistaken, none left behind.

use std::fs;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use hatchery_sys::Signal::{self, SIGCHLD, SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH};
use hatchery_sys::fork::{Fork, fork};
use hatchery_sys::signals::{Caught, SelfPipe, Sender, Startup, ignore_by_handler};
use hatchery_sys::wait::Status;
use hatchery_sys::{poll, process, signals};
use nix::errno::Errno;

use crate::Case;
use crate::support::{child, join, pipe, read_byte, status_line, wait_for_ever, write_byte};

pub(crate) const CASES: &[Case] = &[
    ("signals::a_full_pipe_loses_nothing", full_pipe),
    ("signals::a_storm_loses_no_kind", storm),
    ("signals::a_handler_keeps_errno", errno),
    ("signals::a_process_and_a_terminal_are_told_apart", terminal),
    ("signals::blocked_ones_come_after_restore", blocked),
    ("signals::one_to_a_newborn_stays_out_of_its_parents_pipe", newborn),
    ("signals::a_child_installs_its_own_and_drops_its_parents", own_pipe),
    ("signals::a_second_self_pipe_is_refused", second),
    ("signals::ignored_by_handler_means_not_ignored_by_programs", no_op),
    ("signals::the_next_program_gets_what_this_one_was_started_with", startup),
    ("signals::what_is_held_over_an_exec_can_be_told_from_what_was_blocked", held),
    ("signals::a_self_pipe_takes_more_in", widened),
];

fn install(signals: &[Signal]) -> SelfPipe {
    SelfPipe::install(signals).expect("a self-pipe")
}

fn raise(signal: Signal) {
    process::kill(process::pid(), signal).expect("this process lives");
}

fn sent(signal: Signal, times: u32) -> Caught {
    Caught { signal, times, sender: Sender::Process }
}

fn full_pipe() {
    let mut pipe = install(&[SIGUSR1, SIGUSR2, SIGTERM]);
    // A signal to oneself is delivered before kill returns, and a pipe holds 65536 bytes.
    (0..70_000).for_each(|_| raise(SIGUSR1));
    raise(SIGTERM);
    assert_eq!(poll::readable(&[pipe.as_fd()], Some(Duration::ZERO)).expect("poll"), [true]);
    assert_eq!(pipe.take(), [sent(SIGUSR1, 70_000), sent(SIGTERM, 1)]);
    assert_eq!(poll::readable(&[pipe.as_fd()], Some(Duration::ZERO)).expect("poll"), [false]);
    assert_eq!(pipe.take(), []);
}

fn storm() {
    const KINDS: [Signal; 4] = [SIGUSR1, SIGUSR2, SIGHUP, SIGWINCH];
    let mut pipe = install(&[SIGUSR1, SIGUSR2, SIGHUP, SIGWINCH, SIGCHLD]);
    let target = process::pid();
    for _ in 0..20 {
        let sender = child(|| {
            KINDS.iter().cycle().take(4000).for_each(|kind| process::kill(target, *kind).expect("the parent lives"));
            0
        });
        let mut missing: Vec<Signal> = [&KINDS[..], &[SIGCHLD]].concat();
        while !missing.is_empty() {
            poll::readable(&[pipe.as_fd()], None).expect("poll");
            for caught in pipe.take() {
                assert_eq!(caught.sender, Sender::Process);
                missing.retain(|kind| *kind != caught.signal);
            }
        }
        assert_eq!(join(sender), Status::Exited(0));
        pipe.take();
    }
}

fn errno() {
    let mut pipe = install(&[SIGUSR1]);
    Errno::set_raw(4711);
    raise(SIGUSR1);
    assert_eq!(Errno::last_raw(), 4711);
    (0..70_000).for_each(|_| raise(SIGUSR1));
    // Now the write in the handler fails.
    Errno::set_raw(4711);
    raise(SIGUSR1);
    assert_eq!(Errno::last_raw(), 4711);
    assert_eq!(pipe.take(), [sent(SIGUSR1, 70_002)]);
}

/// A child with a terminal of its own: a byte that the terminal turns into a
/// signal, and the same signal by kill.
fn terminal() {
    // SAFETY: the terminal's two sides are opened and used with valid arguments;
    // `ptsname` answers a string until it is called again.
    let (master, name) = unsafe {
        let master = libc::posix_openpt(libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC);
        assert!(master >= 0 && libc::grantpt(master) == 0 && libc::unlockpt(master) == 0);
        (master, std::ffi::CStr::from_ptr(libc::ptsname(master)).to_owned())
    };
    let (mut told, mut tell) = pipe();
    let foreground = child(move || {
        nix::unistd::setsid().expect("not a leader yet");
        // The first terminal that a session's leader opens is its own.
        // SAFETY: a valid path.
        assert!(unsafe { libc::open(name.as_ptr(), libc::O_RDWR) } >= 0);
        let mut pipe = install(&[SIGINT, SIGWINCH]);
        write_byte(&mut tell);
        let mut caught = Vec::new();
        while caught.len() < 2 {
            poll::readable(&[pipe.as_fd()], None).expect("poll");
            caught.extend(pipe.take());
        }
        for signal in [SIGINT, SIGWINCH] {
            assert!(caught.contains(&Caught { signal, times: 1, sender: Sender::Kernel }), "{caught:?}");
            raise(signal);
            assert_eq!(pipe.take(), [sent(signal, 1)]);
        }
        0
    });
    read_byte(&mut told);
    let size = libc::winsize { ws_row: 50, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the descriptor is open, the byte and the size are valid.
    unsafe {
        assert_eq!(libc::ioctl(master, libc::TIOCSWINSZ, &raw const size), 0);
        assert_eq!(libc::write(master, b"\x03".as_ptr().cast(), 1), 1);
    }
    assert_eq!(join(foreground), Status::Exited(0));
}

fn blocked() {
    let mut pipe = install(&[SIGUSR1]);
    let blocked = signals::block_all().expect("signals can be blocked");
    raise(SIGUSR1);
    raise(SIGUSR1);
    assert_eq!(pipe.take(), []);
    blocked.restore();
    assert_eq!(pipe.take(), [sent(SIGUSR1, 1)], "the kernel has merged them");
}

fn newborn() {
    let mut pipe = install(&[SIGUSR1]);
    let blocked = signals::block_all().expect("signals can be blocked");
    match fork(&blocked).expect("a process is left") {
        Fork::Child => {
            raise(SIGUSR1);
            signals::reset_in_child();
            blocked.restore();
            process::exit_now(1)
        }
        Fork::Parent { child } => {
            blocked.restore();
            assert!(matches!(join(child), Status::Killed { signal, .. } if signal == SIGUSR1 as i32));
            assert_eq!(pipe.take(), []);
        }
    }
}

fn own_pipe() {
    let mut parents = install(&[SIGUSR1]);
    let blocked = signals::block_all().expect("signals can be blocked");
    match fork(&blocked).expect("a process is left") {
        Fork::Child => {
            signals::reset_in_child();
            let mut own = install(&[SIGUSR1, SIGUSR2]);
            drop(parents);
            blocked.restore();
            raise(SIGUSR1);
            let awake = poll::readable(&[own.as_fd()], Some(Duration::ZERO)).expect("poll") == [true];
            process::exit_now(i32::from(!(awake && own.take() == [sent(SIGUSR1, 1)])))
        }
        Fork::Parent { child } => {
            blocked.restore();
            assert_eq!(join(child), Status::Exited(0));
            assert_eq!(parents.take(), []);
            raise(SIGUSR1);
            assert_eq!(parents.take(), [sent(SIGUSR1, 1)]);
        }
    }
}

fn second() {
    let first = install(&[SIGUSR1]);
    let refused = SelfPipe::install(&[SIGUSR1]).expect_err("one at a time");
    assert_eq!(refused.kind(), std::io::ErrorKind::AlreadyExists);
    drop(first);
    raise(SIGUSR1);
    let mut third = install(&[SIGUSR1]);
    raise(SIGUSR1);
    assert_eq!(third.take().len(), 1);
}

fn no_op() {
    ignore_by_handler(&[SIGHUP, SIGINT]).expect("they can be caught");
    raise(SIGHUP);
    raise(SIGINT);
    assert!(ignore_by_handler(&[Signal::SIGKILL]).is_err());
    let status = fs::read_to_string("/proc/self/status").expect("/proc");
    assert_eq!(status_line(&status, "SigIgn") & 0b11, 0);
    let status = Command::new("/bin/cat").arg("/proc/self/status").output().expect("cat starts").stdout;
    assert_eq!(status_line(&String::from_utf8_lossy(&status), "SigIgn") & 0b11, 0);
    // A child of ours has the default action again.
    let newborn = child(|| wait_for_ever());
    process::kill(newborn, SIGHUP).expect("it lives");
    assert!(matches!(join(newborn), Status::Killed { signal: 1, .. }));
}

fn startup() {
    let mut role = Command::new(std::env::current_exe().expect("a path"));
    role.args(["--role", "meddle-with-signals"]).stdout(std::process::Stdio::piped());
    // SAFETY: both calls are async-signal-safe, and get valid arguments.
    unsafe {
        role.pre_exec(|| {
            libc::signal(libc::SIGHUP, libc::SIG_IGN);
            let mut mask = std::mem::zeroed();
            libc::sigemptyset(&raw mut mask);
            libc::sigaddset(&raw mut mask, libc::SIGUSR1);
            libc::sigprocmask(libc::SIG_SETMASK, &raw const mask, std::ptr::null_mut());
            Ok(())
        })
    };
    let mut role = role.spawn().expect("this program starts");
    let mut status = String::new();
    role.stdout.take().expect("piped").read_to_string(&mut status).expect("text");
    assert!(role.wait().expect("it ends").success(), "{status}");
    let bit = |signal: Signal| 1_u64 << (signal as i32 - 1);
    // The two between 31 and SIGRTMIN are the C library's own, and whatever started these tests may ignore them.
    let own = 0b11 << 31;
    assert_eq!(status_line(&status, "SigIgn") & !own, bit(SIGHUP), "{status}");
    assert_eq!(status_line(&status, "SigBlk"), bit(SIGUSR1), "{status}");
}

fn held() {
    let bit = |signal: Signal| 1_u64 << (signal as i32 - 1);
    // Started with USR2 blocked; HUP and USR2 are held.
    let before = Startup::from_bits([bit(SIGINT), bit(SIGUSR2)]);
    let over_the_exec = before.holding(&[SIGHUP, SIGUSR2]);
    assert_eq!(over_the_exec.to_bits(), [bit(SIGINT), bit(SIGHUP) | bit(SIGUSR2)]);
    // A script in between has ignored WINCH and blocked TERM.
    let found = Startup::from_bits([bit(SIGWINCH), bit(SIGHUP) | bit(SIGUSR2) | bit(SIGTERM)]);
    let without = found.without(&[SIGHUP, SIGUSR2], &before);
    assert_eq!(without.to_bits(), [bit(SIGWINCH), bit(SIGUSR2) | bit(SIGTERM)]);
}

fn widened() {
    let _blocked = signals::block_all().expect("signals can be blocked");
    raise(SIGUSR1);
    raise(SIGUSR2);
    let pipe = install(&[SIGUSR1]);
    let mut pipe = pipe.widen(&[SIGUSR2, SIGUSR1]).expect("a self-pipe");
    assert_eq!(pipe.take(), [sent(SIGUSR2, 1), sent(SIGUSR1, 1)]);
}
