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
fn a_stop_sends_the_sidecar_with_the_workers_and_the_job_server_after_them() {
    let mut master = accompanied();
    assert_eq!(short(&master.step(NOW, Event::Command(Command::Stop))), "StopBegun, 1: finish, 12: drain as last");
    assert_eq!(short(&master.step(NOW, done(12))), "WorkerExited");
    assert_eq!(short(&master.step(NOW, done(1))), "WorkerExited, 11: drain as last, shut");
    assert_eq!(short(&master.step(NOW, done(11))), "WorkerExited, Stopped, exit 0");
}

#[test]
fn of_a_worker_that_stops_the_last_look_is_forgotten() {
    let mut master = accompanied();
    master.policy.heartbeat_timeout = Duration::from_secs(10);
    let sample = |pid, turn| Sample { pid: Pid(pid), open: 0, accepted: 0, turn, stopped: false, resident: None };
    let look = |turn| Event::Sampled(vec![sample(1, turn), sample(11, 0), sample(12, 0)]);
    drop(master.step(NOW, look(7)));
    drop(master.step(NOW, Event::Command(Command::Stop)));
    drop(master.step(NOW, done(12)));
    let later = NOW + Duration::from_secs(11);
    assert_eq!(short(&master.step(later, look(9))), "shut", "only companions are looked at");
}

#[test]
fn a_job_server_is_replaced_for_workers_that_drain() {
    let mut master = accompanied();
    drop(master.step(NOW, Event::Command(Command::Rest)));
    assert_eq!(short(&master.step(NOW, crash(11))), format!("WorkerExited, fork {JOBS}"));
    drop(master.step(NOW, Event::Spawned { slot: JOBS, pid: Pid(14) }));
    assert_eq!(short(&master.step(NOW, done(1))), "WorkerExited, kill 14", "it had not begun");
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
