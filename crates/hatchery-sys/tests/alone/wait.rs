//! Children are reaped, each with what it died of.

use hatchery_sys::wait::{Status, reap};
use hatchery_sys::{Signal, process};

use crate::Case;
use crate::support::{child, join, wait_for_ever};

pub(crate) const CASES: &[Case] = &[("wait::tells_how_each_child_ended", how), ("wait::does_not_wait", does_not_wait)];

fn how() {
    assert_eq!(join(child(|| 0)), Status::Exited(0));
    assert_eq!(join(child(|| 42)), Status::Exited(42));
    let killed = child(|| wait_for_ever());
    process::kill(killed, Signal::SIGKILL).expect("it lives");
    let status = join(killed);
    assert_eq!(status, Status::Killed { signal: 9, core_dumped: false });
    assert_eq!(status.to_string(), "was killed by SIGKILL");
    // A signal without a name: its pid must not be lost.
    let real_time = libc::SIGRTMIN() + 3;
    let killed = child(|| wait_for_ever());
    // SAFETY: a signal to a child.
    assert_eq!(unsafe { libc::kill(killed.as_raw(), real_time) }, 0);
    let status = join(killed);
    assert_eq!(status, Status::Killed { signal: real_time, core_dumped: false });
    assert_eq!(status.to_string(), format!("was killed by signal {real_time}"));
}

fn does_not_wait() {
    assert!(reap().expect("no children").is_none());
    let stopped = child(|| wait_for_ever());
    assert!(reap().expect("one child").is_none());
    process::kill(stopped, Signal::SIGSTOP).expect("it lives");
    crate::support::until_stopped(stopped);
    assert!(reap().expect("a stopped child").is_none(), "it has not ended");
    process::kill(stopped, Signal::SIGKILL).expect("it lives");
    join(stopped);
    assert!(reap().expect("no children").is_none());
}
