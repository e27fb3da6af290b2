//! Locks, standard streams, limits, inherited descriptors, the environment.

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::{AsRawFd, IntoRawFd};
use std::time::Duration;

use hatchery_sys::wait::Status;
use hatchery_sys::{Signal, env, inherit, limits, lock, poll, process, streams};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::resource::{Resource, setrlimit};

use crate::Case;
use crate::support::{child, join, pipe, read_byte, temp_file, wait_for_ever, write_byte};

pub(crate) const CASES: &[Case] = &[
    ("lock::is_held_by_one_file_and_by_who_inherits_it", locks),
    ("streams::go_to_the_end_of_a_file", appended),
    ("limits::are_raised_to_the_hard_one", raised),
    ("inherit::takes_what_is_open_and_nothing_else", adopted),
    ("env::is_taken_once", taken),
    ("poll::rounds_up_and_sees_the_end", polled),
];

fn locks() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("lock");
    let first = File::create(&path).expect("a file");
    let second = File::open(&path).expect("a file");
    assert!(lock::try_lock(&first).expect("locks"));
    assert!(lock::try_lock(&first).expect("locks"), "it has it already");
    assert!(!lock::try_lock(&second).expect("locks"));
    let (mut told, mut tell) = pipe();
    let heir = child(|| {
        write_byte(&mut tell);
        wait_for_ever()
    });
    read_byte(&mut told);
    drop(first);
    assert!(!lock::try_lock(&second).expect("locks"), "the child has inherited it");
    process::kill(heir, Signal::SIGKILL).expect("it lives");
    join(heir);
    assert!(lock::try_lock(&second).expect("locks"));
}

fn appended() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("log");
    fs::write(&path, "before\n").expect("a file");
    let writer = child(|| {
        assert!(streams::append_to(&dir.path().join("no/such/directory")).is_err());
        streams::append_to(&path).expect("a log");
        // Held back by std, as it has no line end.
        print!("out ");
        streams::flush();
        eprintln!("err");
        fs::rename(&path, dir.path().join("log.1")).expect("moved away");
        println!("still the old one");
        streams::append_to(&path).expect("a log");
        println!("the new one");
        0
    });
    assert_eq!(join(writer), Status::Exited(0));
    let read = |name| fs::read_to_string(dir.path().join(name)).expect("a log");
    assert_eq!(read("log.1"), "before\nout err\nstill the old one\n");
    assert_eq!(read("log"), "the new one\n");
}

fn raised() {
    setrlimit(Resource::RLIMIT_NOFILE, 100, 200).expect("lower is allowed");
    assert_eq!(limits::open_files(), (100, 200));
    assert_eq!(limits::raise_open_files().expect("no privilege needed"), 200);
    assert_eq!(limits::open_files(), (200, 200));
}

fn adopted() {
    let refused = inherit::adopt(777).expect_err("not open");
    assert_eq!(refused.raw_os_error(), Some(libc::EBADF));
    assert!(inherit::adopt(-1).is_err());
    let file = temp_file("x");
    fcntl(&file, FcntlArg::F_SETFD(FdFlag::empty())).expect("a flag");
    let number = file.into_raw_fd();
    let taken = inherit::adopt(number).expect("it is open");
    assert_eq!(taken.as_raw_fd(), number);
    let flags = fcntl(&taken, FcntlArg::F_GETFD).expect("a flag");
    assert_eq!(FdFlag::from_bits_retain(flags), FdFlag::FD_CLOEXEC);
    assert_eq!(inherit::adopt(number).expect_err("twice").kind(), std::io::ErrorKind::InvalidInput);
    inherit::close_stray(number);
    assert!(fcntl(&taken, FcntlArg::F_GETFD).is_ok(), "it has an owner");
    fcntl(&taken, FcntlArg::F_SETFD(FdFlag::empty())).expect("a flag");
    let stray = taken.into_raw_fd();
    inherit::close_stray(stray);
    inherit::close_stray(stray);
    assert!(inherit::adopt(stray).is_err(), "closed");
}

#[expect(clippy::disallowed_methods, reason = "this process has one thread")]
fn taken() {
    // SAFETY: one thread.
    unsafe { std::env::set_var("HATCHERY_TEST", "value") };
    assert_eq!(env::take("HATCHERY_TEST"), Some("value".into()));
    assert_eq!(env::take("HATCHERY_TEST"), None);
    assert_eq!(std::env::var_os("HATCHERY_TEST"), None);
}

fn polled() {
    use std::os::fd::AsFd;
    let begin = std::time::Instant::now();
    let (read, mut write) = pipe();
    let wait = Duration::from_micros(1500);
    assert_eq!(poll::readable(&[read.as_fd()], Some(wait)).expect("poll"), [false]);
    assert!(begin.elapsed() >= wait);
    let (other, kept) = pipe();
    write.write_all(b"x").expect("room");
    assert_eq!(poll::readable(&[other.as_fd(), read.as_fd()], None).expect("poll"), [false, true]);
    drop(kept);
    assert_eq!(poll::readable(&[other.as_fd(), read.as_fd()], None).expect("poll"), [true, true], "hung up");
    assert!(poll::is_read_closed(other.as_fd()) && !poll::is_read_closed(read.as_fd()));
    assert_eq!(poll::readable(&[], Some(Duration::ZERO)).expect("poll"), []);
}
