use std::time::Duration;

use super::*;
use crate::action::Action;
use crate::event::{Command, Ending, Event};
use crate::master::{Actions, Master};
use crate::notice::Notice;
use crate::testing::{NOW, add, check, name, serving, short, takes};
use crate::wire::upgrade::SuccessorSays;
use crate::wire::worker::Whose;
use crate::worker::{Bequest, Phase, Standing};

const STATES: [&str; 11] = [
    "idle",
    "starting",
    "preparing",
    "silent",
    "committed",
    "probation",
    "retiring",
    "leaving",
    "aborting",
    "killed",
    "orphans",
];
const EVENTS: [&str; 11] = [
    "started",
    "not started",
    "PHASE",
    "READY",
    "FAILED",
    "TAKEN",
    "RELEASED",
    "exit",
    "link closed",
    "deadline",
    "stop",
];

/// A generation with worker 1 in each state of an upgrade, whose successor is process 9.
fn in_state(state: &str) -> Master {
    let successor = Pid(9);
    let later = NOW + Duration::from_millis(500);
    let mut master = serving(1);
    master.upgrade = match state {
        "idle" => Upgrade::Idle,
        "starting" => Upgrade::Starting,
        "preparing" => Upgrade::Preparing { successor, deadline: later, link: Link::Open },
        // It has closed its link, but not ended yet.
        "silent" => Upgrade::Preparing { successor, deadline: later, link: Link::Closed },
        "committed" => Upgrade::Committed { successor, deadline: later },
        "probation" => Upgrade::Probation { successor, until: later },
        "retiring" => Upgrade::Retiring { successor },
        "leaving" => Upgrade::Leaving,
        "aborting" => {
            Upgrade::Aborting { successor: Some(successor), link: Link::Open, patience: Patience::Kill { at: later } }
        }
        "killed" => {
            Upgrade::Aborting { successor: Some(successor), link: Link::Open, patience: Patience::Forget { at: later } }
        }
        // It was reaped; its workers are left.
        "orphans" => Upgrade::Aborting { successor: None, link: Link::Open, patience: Patience::Forget { at: later } },
        _ => unreachable!(),
    };
    if matches!(state, "committed" | "probation" | "retiring" | "leaving") {
        master.kin.successor = takes();
    }
    match state {
        "probation" => drop(master.queues.withdraw()),
        "retiring" | "leaving" => {
            master.queues.forget(Pid(1));
            master.shut_relay(&mut Vec::new());
            add(
                &mut master,
                1,
                0,
                Phase::Draining {
                    deadline: NOW + Duration::from_secs(30),
                    bequest: Bequest { heir: Some(Whose::Successor), last: true },
                },
            );
        }
        _ => {}
    }
    master
}

fn event(name: &str) -> Event {
    match name {
        "started" => Event::SuccessorStarted { pid: Pid(9) },
        "not started" => Event::SuccessorNotStarted { text: String::new() },
        "PHASE" => Event::Successor(SuccessorSays::Phase { name: String::new() }),
        "READY" => Event::Successor(SuccessorSays::Ready { takes: takes() }),
        "FAILED" => Event::Successor(SuccessorSays::Failed { text: String::new() }),
        "TAKEN" => Event::Successor(SuccessorSays::Taken),
        "RELEASED" => Event::Successor(SuccessorSays::Released),
        "exit" => Event::Exited { pid: Pid(9), ending: Ending::Signal(9) },
        "link closed" => Event::SuccessorLinkClosed,
        "deadline" => Event::Tick,
        "stop" => Event::Command(Command::Stop),
        _ => unreachable!(),
    }
}

fn state_of(upgrade: Upgrade) -> String {
    match upgrade {
        Upgrade::Preparing { link: Link::Closed, .. } => "silent".to_owned(),
        Upgrade::Aborting { successor: None, .. } => "orphans".to_owned(),
        Upgrade::Aborting { patience: Patience::Forget { .. }, .. } => "killed".to_owned(),
        other => name(&other).to_lowercase(),
    }
}

#[test]
fn every_state_and_event() {
    check(TABLE, &STATES, &EVENTS, |state, said| {
        let mut master = in_state(state);
        let now = if said == "deadline" { NOW + Duration::from_millis(500) } else { NOW };
        let actions = master.step(now, event(said));
        format!("{} | {}", state_of(master.upgrade), short(&actions))
    });
}

const TABLE: &str = "
idle      | started     | idle      |
idle      | not started | idle      |
idle      | PHASE       | idle      |
idle      | READY       | idle      |
idle      | FAILED      | idle      |
idle      | TAKEN       | idle      |
idle      | RELEASED    | idle      |
idle      | exit        | idle      |
idle      | link closed | idle      |
idle      | deadline    | idle      |
idle      | stop        | idle      | StopBegun, 1: finish

starting  | started     | preparing |
starting  | not started | idle      | UpgradeFailed
starting  | PHASE       | starting  |
starting  | READY       | starting  |
starting  | FAILED      | starting  |
starting  | TAKEN       | starting  |
starting  | RELEASED    | starting  |
starting  | exit        | starting  |
starting  | link closed | starting  |
starting  | deadline    | starting  |
starting  | stop        | starting  | StopBegun, 1: finish

preparing | started     | preparing |
preparing | not started | preparing |
preparing | PHASE       | preparing | UpgradePhase
preparing | READY       | committed | UpgradeCommitted, COMMIT 0
preparing | FAILED      | aborting  | UpgradeFailed
preparing | TAKEN       | aborting  | UpgradeFailed, ABORT, term 9
preparing | RELEASED    | aborting  | UpgradeFailed, ABORT, term 9
preparing | exit        | orphans   | UpgradeFailed
preparing | link closed | silent    |
preparing | deadline    | aborting  | UpgradeFailed, ABORT, term 9
preparing | stop        | aborting  | StopBegun, ABORT, term 9, 1: finish

silent    | started     | silent    |
silent    | not started | silent    |
silent    | PHASE       | silent    | UpgradePhase
silent    | READY       | committed | UpgradeCommitted, COMMIT 0
silent    | FAILED      | aborting  | UpgradeFailed
silent    | TAKEN       | aborting  | UpgradeFailed, ABORT, term 9
silent    | RELEASED    | aborting  | UpgradeFailed, ABORT, term 9
silent    | exit        | idle      | UpgradeFailed, close link
silent    | link closed | silent    |
silent    | deadline    | aborting  | UpgradeFailed, ABORT, term 9
silent    | stop        | aborting  | StopBegun, ABORT, term 9, 1: finish

committed | started     | committed |
committed | not started | committed |
committed | PHASE       | committed |
committed | READY       | committed |
committed | FAILED      | aborting  | ABORT, pid file back, TakenBack
committed | TAKEN       | probation | UpgradeDone, 1: refuge, 1: 0 queues
committed | RELEASED    | leaving   | Retiring, 1: drain to successor as last, shut relay
committed | exit        | idle      | close link, pid file back, TakenBack
committed | link closed | committed |
committed | deadline    | aborting  | ABORT, pid file back, TakenBack
committed | stop        | aborting  | StopBegun, ABORT, 1: finish

probation | started     | probation |
probation | not started | probation |
probation | PHASE       | probation |
probation | READY       | probation |
probation | FAILED      | aborting  | ABORT, pid file back, TakenBack, 1: 1 queues
probation | TAKEN       | probation |
probation | RELEASED    | leaving   | Retiring, 1: drain to successor as last, shut relay
probation | exit        | idle      | close link, pid file back, TakenBack, 1: 1 queues
probation | link closed | probation |
probation | deadline    | retiring  | Retiring, 1: drain to successor as last, shut relay
probation | stop        | probation | Refused

retiring  | started     | retiring  |
retiring  | not started | retiring  |
retiring  | PHASE       | retiring  |
retiring  | READY       | retiring  |
retiring  | FAILED      | aborting  | ABORT, open relay, pid file back, TakenBack, fork 0, 1: drain to own
retiring  | TAKEN       | retiring  |
retiring  | RELEASED    | leaving   |
retiring  | exit        | idle      | open relay, close link, pid file back, TakenBack, fork 0, 1: drain to own
retiring  | link closed | retiring  |
retiring  | deadline    | retiring  |
retiring  | stop        | retiring  | Refused

leaving   | started     | leaving   |
leaving   | not started | leaving   |
leaving   | PHASE       | leaving   |
leaving   | READY       | leaving   |
leaving   | FAILED      | leaving   |
leaving   | TAKEN       | leaving   |
leaving   | RELEASED    | leaving   |
leaving   | exit        | leaving   |
leaving   | link closed | leaving   |
leaving   | deadline    | leaving   |
leaving   | stop        | leaving   | Refused

aborting  | started     | aborting  |
aborting  | not started | aborting  |
aborting  | PHASE       | aborting  |
aborting  | READY       | aborting  |
aborting  | FAILED      | aborting  |
aborting  | TAKEN       | aborting  | pid file back
aborting  | RELEASED    | aborting  |
aborting  | exit        | orphans   |
aborting  | link closed | aborting  |
aborting  | deadline    | killed    | kill 9
aborting  | stop        | aborting  | StopBegun, ABORT, 1: finish

killed    | started     | killed    |
killed    | not started | killed    |
killed    | PHASE       | killed    |
killed    | READY       | killed    |
killed    | FAILED      | killed    |
killed    | TAKEN       | killed    | pid file back
killed    | RELEASED    | killed    |
killed    | exit        | orphans   |
killed    | link closed | killed    |
killed    | deadline    | killed    |
killed    | stop        | killed    | StopBegun, ABORT, 1: finish

orphans   | started     | orphans   |
orphans   | not started | orphans   |
orphans   | PHASE       | orphans   |
orphans   | READY       | orphans   |
orphans   | FAILED      | orphans   |
orphans   | TAKEN       | orphans   | pid file back
orphans   | RELEASED    | orphans   |
orphans   | exit        | orphans   |
orphans   | link closed | idle      | close link
orphans   | deadline    | idle      | close link
orphans   | stop        | orphans   | StopBegun, ABORT, 1: finish
";

#[test]
fn a_stop_before_the_successor_was_started_ends_it_as_soon_as_it_is() {
    let mut master = in_state("starting");
    drop(master.step(NOW, event("stop")));
    assert_eq!(short(&master.step(NOW, event("started"))), "ABORT, term 9");
    assert_eq!(short(&master.step(NOW, Event::Exited { pid: Pid(1), ending: Ending::Code(0) })), "WorkerExited, shut");
    assert_eq!(short(&master.step(NOW, event("exit"))), "Stopped, exit 0");
}

#[test]
fn a_master_that_gives_up_waits_for_its_successor() {
    let mut master = in_state("preparing");
    assert!(master.roster.reaped(Pid(1)).is_some());
    let mut out = Actions::new();
    master.give_up(String::new(), NOW, &mut out);
    assert_eq!(short(&out), "GaveUp, shut, ABORT, term 9");
    assert_eq!(short(&master.step(NOW, Event::Tick)), "");
    assert_eq!(short(&master.step(NOW, event("exit"))), "Stopped, exit 3");
}

#[test]
fn one_that_has_served_is_not_killed_before_it_could_drain() {
    let mut master = in_state("retiring");
    drop(master.step(NOW, event("FAILED")));
    let drained = NOW + master.policy.drain_timeout;
    assert!(master.upgrade.deadline().is_some_and(|kill| kill > drained));
}

#[test]
fn without_a_drain_timeout_the_clock_runs_on_all_the_same() {
    let mut master = in_state("killed");
    master.policy.drain_timeout = Duration::ZERO;
    let now = master.upgrade.deadline().unwrap();
    drop(master.step(now, Event::Tick));
    assert!(master.upgrade.deadline().unwrap() > now);
}

#[test]
fn what_was_killed_in_a_retreat_does_not_show_in_the_exit_code_of_one_that_came_back() {
    let mut master = in_state("retiring");
    add(
        &mut master,
        2,
        0,
        Phase::Draining {
            deadline: NOW + Duration::from_secs(60),
            bequest: Bequest { heir: Some(Whose::Successor), last: true },
        },
    );
    assert_eq!(short(&master.step(NOW + Duration::from_secs(30), Event::Tick)), "kill 1");
    assert!(master.killed);
    drop(master.step(NOW, event("exit")));
    assert!(!master.killed);
}

#[test]
fn workers_that_rest_come_back_when_the_service_does() {
    let mut master = in_state("retiring");
    master.life = crate::shutdown::Life::Resting;
    assert_eq!(
        short(&master.step(NOW, event("exit"))),
        "open relay, close link, pid file back, TakenBack, Woken, fork 0, 1: drain to own"
    );
}

#[test]
fn a_crash_after_the_handing_over_is_no_reason_to_give_up() {
    let mut master = in_state("probation");
    master.throttle = crate::throttle::Throttle::default();
    master.policy.crash_limit = 1;
    add(&mut master, 1, 0, Phase::Ready(Standing::Fresh { steady_at: NOW + Duration::from_secs(1) }));
    let crash = Event::Exited { pid: Pid(1), ending: Ending::Signal(11) };
    assert_eq!(short(&master.step(NOW, crash)), "WorkerExited");
    assert_eq!(short(&master.step(NOW, event("exit"))), "close link, pid file back, TakenBack, fork 0");
}

#[test]
fn a_first_generation_that_crashes_does_not_take_the_cure_with_it() {
    let mut master = in_state("preparing");
    master.throttle = crate::throttle::Throttle::default();
    master.policy.crash_limit = 1;
    add(&mut master, 1, 0, Phase::Ready(Standing::Fresh { steady_at: NOW + Duration::from_secs(1) }));
    let crash = Event::Exited { pid: Pid(1), ending: Ending::Signal(11) };
    assert_eq!(short(&master.step(NOW, crash)), "WorkerExited, Degraded");
}

#[test]
fn a_predecessor_is_released_before_the_next_successor_could_become_an_heir() {
    let mut master = in_state("idle");
    master.lineage = crate::Lineage::Backed { older: 0 };
    let actions = master.step(NOW, Event::Command(Command::Upgrade));
    assert_eq!(short(&actions), "RELEASED, UpgradeBegun, start successor");
    assert_eq!(master.lineage, crate::Lineage::Released { older: 0 });
}

#[test]
fn a_successor_that_is_not_ready_in_time_is_quoted() {
    let failure = |phases: &[&str]| {
        let mut master = in_state("preparing");
        for name in phases {
            drop(master.step(NOW, Event::Successor(SuccessorSays::Phase { name: (*name).to_owned() })));
        }
        let actions = master.step(NOW + Duration::from_millis(500), Event::Tick);
        actions.into_iter().find_map(|action| match action {
            Action::Log(Notice::UpgradeFailed { text }) => Some(text),
            _ => None,
        })
    };
    let late = "the successor was not ready within boot-timeout";
    assert_eq!(failure(&[]), Some(late.to_owned()));
    let phases = ["booting workers", "worker 0 waits: nobody serves :80"];
    assert_eq!(failure(&phases), Some(format!("{late}; its last word: worker 0 waits: nobody serves :80")));
}
