//! Processes that are no children, orphans, sessions.

use hatchery_sys::peer::Peer;
use hatchery_sys::signals::{Caught, SelfPipe, Sender};
use hatchery_sys::wait::{Status, reap_one};
use hatchery_sys::{Pid, Signal, poll, process};
use std::os::fd::AsFd;

use crate::Case;
use crate::support::{child, forbid, join, pipe, read_all, read_byte, wait_for_ever, write_byte};

pub(crate) const CASES: &[Case] = &[
    ("peer::a_signal_that_is_passed_on_is_known_as_such", passes),
    ("peer::also_where_processes_have_no_descriptors", without),
    ("peer::also_where_only_sending_is_forbidden", half),
    ("peer::its_end_is_seen_before_it_is_reaped", ends),
    ("peer::orphans_are_adopted", orphans),
    ("peer::a_session_of_its_own", session),
    ("peer::one_child_is_waited_for", one),
];

/// A child is passed a signal on, and is sent another one; it says what it has caught.
fn pass_and_tell() {
    let (mut life, mut hold) = pipe();
    let (mut told, mut tell) = pipe();
    let other = child(move || {
        let mut signals = SelfPipe::install(&[Signal::SIGTERM, Signal::SIGUSR1]).expect("a self-pipe");
        write_byte(&mut hold);
        let mut caught = Vec::new();
        while caught.len() < 2 {
            poll::readable(&[signals.as_fd()], None).expect("it can be waited for");
            caught.extend(signals.take());
            write_byte(&mut tell);
        }
        let relayed = Caught { signal: Signal::SIGTERM, times: 1, sender: Sender::Relay };
        assert_eq!(caught, [relayed, Caught { signal: Signal::SIGUSR1, times: 1, sender: Sender::Process }]);
        0
    });
    read_byte(&mut life);
    let peer = Peer::of(other);
    assert_eq!(peer.pid(), other);
    assert!(!peer.has_ended());
    peer.pass_on(Signal::SIGTERM).expect("it lives");
    read_byte(&mut told);
    process::kill(other, Signal::SIGUSR1).expect("it lives");
    assert_eq!(join(other), Status::Exited(0));
    assert_eq!(peer.pass_on(Signal::SIGTERM).expect_err("it is gone").raw_os_error(), Some(libc::ESRCH));
    assert!(peer.has_ended());
}

fn passes() {
    pass_and_tell();
    let nobody = Peer::of(Pid::from_raw(0)).pass_on(Signal::SIGTERM).expect_err("a group");
    assert_eq!(nobody.raw_os_error(), Some(libc::EINVAL));
}

fn without() {
    forbid(&[libc::SYS_pidfd_open], libc::ENOSYS);
    pass_and_tell();
}

fn half() {
    forbid(&[libc::SYS_pidfd_send_signal], libc::EPERM);
    let other = child(|| wait_for_ever());
    Peer::of(other).pass_on(Signal::SIGTERM).expect("it lives");
    assert!(matches!(join(other), Status::Killed { signal: 15, .. }));
}

fn ends() {
    let (life, hold) = pipe();
    let other = child(move || {
        drop(hold);
        0
    });
    let peer = Peer::of(other);
    assert_eq!(read_all(life), b"");
    // Its files are closed a moment before it is a zombie.
    while !peer.has_ended() {
        let _ = poll::readable(&[], Some(std::time::Duration::from_millis(1)));
    }
    assert_eq!(join(other), Status::Exited(0));
}

fn orphans() {
    process::adopt_orphans().expect("Linux has subreapers");
    let (mut said, mut say) = pipe();
    let parent = child(move || {
        let orphan = child(|| wait_for_ever());
        let bytes = orphan.as_raw().to_ne_bytes();
        std::io::Write::write_all(&mut say, &bytes).expect("the other side reads");
        0
    });
    let mut bytes = [0; 4];
    std::io::Read::read_exact(&mut said, &mut bytes).expect("a pid");
    assert_eq!(join(parent), Status::Exited(0));
    let orphan = Pid::from_raw(i32::from_ne_bytes(bytes));
    process::kill(orphan, Signal::SIGKILL).expect("it lives");
    assert!(matches!(join(orphan), Status::Killed { signal: 9, .. }), "it has become a child of this one");
}

fn session() {
    let done = child(|| {
        assert!(!process::leads_session());
        process::lead_session().expect("a newborn leads nothing");
        assert!(process::leads_session());
        assert!(process::lead_session().is_err(), "once");
        0
    });
    assert_eq!(join(done), Status::Exited(0));
}

fn one() {
    let (first, second) = (child(|| 3), child(|| 4));
    assert_eq!(reap_one(second).expect("reaping works"), Some(Status::Exited(4)));
    assert_eq!(reap_one(first).expect("reaping works"), Some(Status::Exited(3)));
    assert_eq!(reap_one(first).expect("reaping works"), None);
    assert_eq!(reap_one(Pid::from_raw(-1)).expect("reaping works"), None);
}
