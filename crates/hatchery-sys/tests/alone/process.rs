//! Parents, alarms, stopped processes.

use std::time::Duration;

use hatchery_sys::wait::Status;
use hatchery_sys::{Pid, Signal, process};

use crate::Case;
use crate::support::{child, join, pipe, read_all, read_byte, until_stopped, wait_for_ever, write_byte};

pub(crate) const CASES: &[Case] = &[
    ("process::dies_with_its_parent", dies),
    ("process::an_alarm_ends_it", alarm),
    ("process::a_stopped_one_is_seen", stopped),
    ("process::only_one_process_is_signalled", one),
    ("process::the_mask_and_the_directory_are_set", settings),
];

fn dies() {
    let (mut life, mut hold) = pipe();
    let parent = child(move || {
        let me = process::pid();
        child(|| {
            process::die_with_parent(Signal::SIGKILL).expect("a valid signal");
            assert_eq!(process::parent(), me);
            write_byte(&mut hold);
            wait_for_ever()
        });
        drop(hold);
        wait_for_ever()
    });
    read_byte(&mut life);
    process::kill(parent, Signal::SIGKILL).expect("it lives");
    // It ends when nobody holds the other side, that is when the grandchild is dead.
    assert_eq!(read_all(life), b"");
    assert!(matches!(join(parent), Status::Killed { signal: 9, .. }));
}

fn alarm() {
    let late = child(|| {
        process::alarm(Duration::from_millis(1));
        wait_for_ever()
    });
    assert!(matches!(join(late), Status::Killed { signal, .. } if signal == Signal::SIGALRM as i32));
    let left = child(|| {
        process::alarm(Duration::from_millis(2001));
        // SAFETY: no precondition.
        let left = unsafe { libc::alarm(0) };
        process::alarm(Duration::from_secs(5));
        process::alarm(Duration::ZERO);
        // SAFETY: no precondition.
        i32::from(left != 3 || unsafe { libc::alarm(0) } != 0)
    });
    assert_eq!(join(left), Status::Exited(0));
}

fn stopped() {
    let other = child(|| wait_for_ever());
    assert_eq!(process::is_stopped(other), Some(false));
    process::kill(other, Signal::SIGSTOP).expect("it lives");
    until_stopped(other);
    assert_eq!(process::is_stopped(other), Some(true));
    process::kill(other, Signal::SIGKILL).expect("it lives");
    join(other);
    assert_eq!(process::is_stopped(other), None);
    // A name that looks like the fields after it.
    hatchery_sys::title::set("x: ) T (");
    assert_eq!(process::is_stopped(process::pid()), Some(false));
}

fn one() {
    for not_one in [0, -1, -process::pid().as_raw()] {
        let refused = process::kill(Pid::from_raw(not_one), Signal::SIGKILL).expect_err("not a process");
        assert_eq!(refused.raw_os_error(), Some(libc::EINVAL));
    }
    let dead = child(|| 0);
    process::kill(dead, Signal::SIGTERM).expect("not reaped, so still there");
    join(dead);
    assert_eq!(process::kill(dead, Signal::SIGTERM).expect_err("gone").raw_os_error(), Some(libc::ESRCH));
}

fn settings() {
    let dir = tempfile::tempdir().expect("a directory");
    process::set_working_dir(dir.path()).expect("it can be entered");
    process::set_umask(0o027);
    std::fs::write("file", "").expect("a file in the directory");
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(dir.path().join("file")).expect("the file"));
    assert_eq!(mode & 0o777, 0o640);
    assert!(process::set_working_dir("/nowhere".as_ref()).is_err());
}
