//! Processes that are stopped for longer than every time-out, as a debugger, a
//! paused machine or a full cgroup does it: nobody is killed for that.

use std::time::{Duration, Instant};

use hatchery_tests::client::Client;
use hatchery_tests::procfs::Process;
use hatchery_tests::{End, Lab, Start, log};
use nix::sys::signal::Signal;

/// Longer than every time-out of these labs.
const PAUSE: Duration = Duration::from_secs(6);

fn short() -> Start {
    let short = ["heartbeat-timeout", "boot-timeout", "drain-timeout", "upgrade-probation"];
    short.into_iter().fold(Start::lab(), |start, name| start.set(name, "3s"))
}

/// A time in which nothing is to happen.
fn pause(lab: &Lab, held: impl Fn() -> bool) {
    let began = Instant::now();
    lab.until("the pause is over", || {
        assert!(held(), "somebody went on");
        began.elapsed() > PAUSE
    });
}

fn stopped(pid: i32) -> bool {
    Process::read(pid).is_some_and(|process| process.state == 'T')
}

fn freeze_all(lab: &Lab) -> Vec<i32> {
    lab.signal_all(Signal::SIGSTOP);
    let mut pids: Vec<i32> = lab.processes().iter().map(|process| process.pid).collect();
    // One that had drained before that is dead, and its master cannot reap it now.
    let is_dead = |pid: i32| Process::read(pid).is_none_or(|process| process.is_zombie());
    lab.until("everybody is stopped", || pids.iter().all(|pid| stopped(*pid) || is_dead(*pid)));
    pids.retain(|pid| stopped(*pid));
    pids
}

/// Signals go to the oldest master that lives and no pid was killed.
fn assert_nobody_was_killed(lab: &Lab) {
    let log = lab.log();
    for part in ["signal 9", "signal 6", "killed:", "heartbeat-timeout"] {
        assert!(!log.contains(part), "`{part}` in the log:\n{log}");
    }
}

#[test]
fn a_worker_that_is_stopped_is_not_a_blocked_one() {
    for mode in ["shared", "reuseport"] {
        let lab = short().set("listen-mode", mode).ready();
        let before = lab.ready();
        let worker = *before.first().expect("a worker");
        lab.freeze(worker);
        pause(&lab, || stopped(worker));
        lab.thaw(worker);
        let answers = |lab: &Lab| lab.whoami().pid == worker;
        lab.until("it answers", || answers(&lab));
        assert_eq!(lab.ready(), before);
        assert_nobody_was_killed(&lab);
        lab.stop();
    }
}

#[test]
fn a_master_that_is_stopped_blames_nobody() {
    let lab = short().ready();
    let before = lab.ready();
    // It has been busy for a while when the master looks again, and is at once done.
    let mut busy = Client::connect(lab.address()).expect("a connection");
    lab.freeze(lab.serving());
    busy.ask("/spin?ms=3900").expect("sent");
    pause(&lab, || stopped(lab.serving()));
    lab.thaw(lab.serving());
    assert_eq!(busy.answer().expect("an answer").status, 200);
    lab.upgrade();
    assert_nobody_was_killed(&lab);
    assert!(lab.ready().is_disjoint(&before));
    lab.stop();
}

#[test]
fn a_machine_that_is_paused_while_all_is_quiet() {
    let lab = short().ready();
    let before = lab.ready();
    let pids = freeze_all(&lab);
    pause(&lab, || pids.iter().all(|pid| stopped(*pid)));
    lab.signal_all(Signal::SIGCONT);
    assert_eq!(lab.whoami().master, lab.first());
    lab.signal(Signal::SIGHUP);
    lab.until_logged(log::RELOAD_DONE, 1);
    lab.until("the old workers are gone", || lab.ready().is_disjoint(&before));
    assert_nobody_was_killed(&lab);
    lab.stop();
}

#[test]
fn a_machine_that_is_paused_while_a_successor_boots() {
    let lab = short().ready();
    lab.signal(Signal::SIGUSR2);
    lab.until_logged(log::UPGRADE_BEGUN, 1);
    let pids = freeze_all(&lab);
    pause(&lab, || pids.iter().all(|pid| stopped(*pid)));
    lab.signal_all(Signal::SIGCONT);
    lab.until("the successor serves", || lab.generation() == Some(2) && lab.ready().len() == 2);
    lab.until("the predecessor is gone", || lab.masters().len() == 1);
    assert_nobody_was_killed(&lab);
    lab.stop();
}

#[test]
fn a_machine_that_is_paused_while_it_drains() {
    let lab = short().ready();
    let mut open = Client::connect(lab.address()).expect("a connection");
    open.ask("/sleep?ms=1000").expect("sent");
    lab.until_read(lab.address(), &open);
    lab.signal(Signal::SIGTERM);
    lab.until_logged(log::STOP_BEGUN, 1);
    let pids = freeze_all(&lab);
    pause(&lab, || pids.iter().all(|pid| stopped(*pid)));
    lab.signal_all(Signal::SIGCONT);
    assert_eq!(open.answer().expect("an answer").status, 200);
    assert_eq!(lab.end_of(lab.first()), End::Code(0));
    assert_nobody_was_killed(&lab);
    lab.assert_gone();
}
