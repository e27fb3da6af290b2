use std::time::Duration;

use super::*;
use crate::event::{Command, Ending, Event};
use crate::ids::Slot;
use crate::pulse::Sample;
use crate::testing::{NOW, add, booting, ready, says, serving, settings, short};
use crate::worker::{Phase, Standing};

const JOBS: Slot = Slot::companion(0);
const SIDECAR: Slot = Slot::companion(1);

fn companions() -> Vec<Companion> {
    [CompanionKind::Jobs, CompanionKind::Sidecar].map(|kind| Companion { name: "it".to_owned(), kind }).to_vec()
}

/// One worker (1), a job server (11) and a sidecar (12).
fn accompanied() -> Master {
    let mut master = serving(1);
    master.companions = companions();
    add(&mut master, 11, JOBS.0, Phase::Ready(Standing::Steady));
    add(&mut master, 12, SIDECAR.0, Phase::Ready(Standing::Steady));
    assert_eq!(short(&master.step(NOW, Event::Tick)), "");
    master
}

fn crash(pid: i32) -> Event {
    Event::Exited { pid: Pid(pid), ending: Ending::Signal(11) }
}

fn done(pid: i32) -> Event {
    Event::Exited { pid: Pid(pid), ending: Ending::Code(0) }
}

#[test]
fn a_boot_waits_for_them_too() {
    let mut master = booting(1);
    master.companions = companions();
    assert_eq!(short(&master.step(NOW, Event::Begin)), format!("fork 0, fork {JOBS}, fork {SIDECAR}"));
    for (slot, pid) in [(Slot(0), 1), (JOBS, 11), (SIDECAR, 12)] {
        assert_eq!(short(&master.step(NOW, Event::Spawned { slot, pid: Pid(pid) })), "");
    }
    assert_eq!(short(&master.step(NOW, says(1, ready()))), "WorkerReady, 1: 1 queues");
    assert_eq!(short(&master.step(NOW, says(12, ready()))), "WorkerReady");
    assert_eq!(short(&master.step(NOW, says(11, ready()))), "WorkerReady, pid file, Ready");
}

#[test]
fn one_that_dies_is_replaced_and_no_worker_notices() {
    let mut master = accompanied();
    assert_eq!(short(&master.step(NOW, crash(12))), format!("WorkerExited, fork {SIDECAR}"));
    drop(master.step(NOW, Event::Spawned { slot: SIDECAR, pid: Pid(13) }));
    drop(master.step(NOW, says(13, ready())));
    assert_eq!(short(&master.step(NOW, crash(13))), "WorkerExited", "it waits, since it did not stay up");
    assert_eq!(master.throttle.row(), 0);
    let retry = master.deadline().unwrap();
    assert_eq!(short(&master.step(retry, Event::Tick)), format!("fork {SIDECAR}"));
}

#[test]
fn at_a_stop_the_sidecar_goes_after_the_last_worker_and_the_job_server_after_the_sidecar() {
    let mut master = accompanied();
    assert_eq!(short(&master.step(NOW, Event::Command(Command::Stop))), "StopBegun, 1: finish");
    assert_eq!(short(&master.step(NOW, done(1))), "WorkerExited, 12: drain as last, shut");
    assert_eq!(short(&master.step(NOW, done(12))), "WorkerExited, 11: drain as last");
    assert_eq!(short(&master.step(NOW, done(11))), "WorkerExited, Stopped, exit 0");
}

/// Seconds that a sidecar has for draining, where the worker has gone so long after the order.
fn left_for_the_sidecar(drain_timeout: u64, worker_took: u64) -> u64 {
    let mut master = accompanied();
    master.policy.drain_timeout = Duration::from_secs(drain_timeout);
    drop(master.step(NOW, Event::Command(Command::Stop)));
    let gone = NOW + Duration::from_secs(worker_took);
    drop(master.step(gone, done(1)));
    let sidecar = master.workers().find(|worker| worker.pid == Pid(12)).expect("it drains");
    let Phase::Draining { deadline, .. } = sidecar.phase else { panic!("{:?}", sidecar.phase) };
    deadline.0.saturating_sub(gone.0) / 1000
}

#[test]
fn a_sidecar_has_what_the_workers_have_left_of_the_drain_timeout_and_five_seconds_at_the_least() {
    for (drain_timeout, worker_took, left) in
        [(30, 0, 30), (30, 10, 20), (30, 27, 5), (30, 30, 5), (3, 1, 3), (3, 3, 3)]
    {
        assert_eq!(left_for_the_sidecar(drain_timeout, worker_took), left, "{drain_timeout} s, {worker_took} s");
    }
}

#[test]
fn a_sidecar_is_replaced_for_workers_that_drain_ever_slower_and_the_end_waits_for_no_back_off() {
    let mut master = accompanied();
    drop(master.step(NOW, Event::Command(Command::Stop)));
    assert_eq!(short(&master.step(NOW, crash(12))), format!("WorkerExited, fork {SIDECAR}"));
    for pid in 13..16 {
        drop(master.step(NOW, Event::Spawned { slot: SIDECAR, pid: Pid(pid) }));
        assert_eq!(short(&master.step(NOW, crash(pid))), "WorkerExited", "it waits, since it did not stay up");
        let retry = master.throttle.retry_at(SIDECAR).expect("it is tried again");
        if pid < 15 {
            assert_eq!(short(&master.step(retry, Event::Tick)), format!("fork {SIDECAR}"));
        }
    }
    assert_eq!(short(&master.step(NOW, done(1))), "WorkerExited, 11: drain as last, shut");
    assert_eq!(short(&master.step(NOW, done(11))), "WorkerExited, Stopped, exit 0");
}

#[test]
fn one_that_boots_when_the_last_worker_goes_is_not_waited_for() {
    let mut master = accompanied();
    drop(master.step(NOW, crash(12)));
    drop(master.step(NOW, Event::Spawned { slot: SIDECAR, pid: Pid(13) }));
    assert_eq!(short(&master.step(NOW, Event::Command(Command::Stop))), "StopBegun, 1: finish");
    assert_eq!(short(&master.step(NOW, done(1))), "WorkerExited, kill 13, shut");
}

#[test]
fn the_second_stop_waits_for_none_of_them() {
    let mut master = accompanied();
    drop(master.step(NOW, Event::Command(Command::Stop)));
    let actions = short(&master.step(NOW, Event::Command(Command::Stop)));
    assert_eq!(actions, "StopNow, kill 1, kill 11, kill 12, shut");
}

#[test]
fn in_a_generation_that_leaves_they_wait_for_the_workers_and_a_take_back_finds_them() {
    let mut master = accompanied();
    master.upgrade = Upgrade::Probation { successor: Pid(50), until: NOW };
    assert_eq!(short(&master.step(NOW, Event::Tick)), "Retiring, 1: drain as last, shut relay");
    let back = short(&master.step(NOW, Event::Exited { pid: Pid(50), ending: Ending::Signal(9) }));
    assert!(back.ends_with("TakenBack, fork 0, 1: drain to own"), "{back}");
    assert!(master.ready().contains_key(&SIDECAR), "{:?}", master.ready());
}

#[test]
fn of_a_worker_that_stops_the_last_look_is_forgotten() {
    let mut master = accompanied();
    master.policy.heartbeat_timeout = Duration::from_secs(10);
    let sample = |pid, turn| Sample { pid: Pid(pid), open: 0, accepted: 0, turn, stopped: false, resident: None };
    let look = |turn| Event::Sampled(vec![sample(1, turn), sample(11, 0), sample(12, 0)]);
    drop(master.step(NOW, look(7)));
    drop(master.step(NOW, Event::Command(Command::Stop)));
    let later = NOW + Duration::from_secs(11);
    assert_eq!(short(&master.step(later, look(9))), "bar", "only companions are looked at");
}

#[test]
fn a_job_server_is_replaced_for_workers_that_drain() {
    let mut master = accompanied();
    drop(master.step(NOW, Event::Command(Command::Rest)));
    assert_eq!(short(&master.step(NOW, crash(11))), format!("WorkerExited, fork {JOBS}"));
    drop(master.step(NOW, Event::Spawned { slot: JOBS, pid: Pid(14) }));
    assert_eq!(short(&master.step(NOW, done(1))), "WorkerExited, 12: drain as last");
    assert_eq!(short(&master.step(NOW, done(12))), "WorkerExited, kill 14", "it had not begun");
}

#[test]
fn a_reload_replaces_them_after_the_workers() {
    let mut master = accompanied();
    drop(master.step(NOW, Event::Command(Command::Reload)));
    let policy = master.policy.clone();
    assert_eq!(short(&master.step(NOW, settings(policy))), "fork 0");
    for (slot, old, new, next) in [
        (Slot(0), 1, 2, format!("fork {JOBS}")),
        (JOBS, 11, 21, format!("fork {SIDECAR}")),
        (SIDECAR, 12, 22, "ReloadDone".to_owned()),
    ] {
        drop(master.step(NOW, Event::Spawned { slot, pid: Pid(new) }));
        let actions = short(&master.step(NOW, says(new, ready())));
        assert!(actions.contains(&format!("{old}: drain")) && actions.ends_with(&next), "{slot}: {actions}");
        drop(master.step(NOW, done(old)));
    }
}
