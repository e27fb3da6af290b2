use std::collections::BTreeSet;

use std::time::Duration;

use super::*;
use crate::event::{Command, Ending, Event};
use crate::ids::{Pid, Slot};
use crate::shutdown::Closing;
use crate::testing::{NOW, check, name, serving, short, takes};
use crate::upgrade::Upgrade;
use crate::wire::worker::WorkerSays;

const STATES: [&str; 14] = [
    "first",
    "awaiting",
    "ready",
    "ready, none left",
    "ready, stopping",
    "booting, giving up",
    "heir",
    "backed",
    "backed, giving up",
    "released",
    "released, committed",
    "released, stopping",
    "released, retiring",
    "alone",
];
const EVENTS: [&str; 5] = ["COMMIT 1", "ABORT", "BEHIND 1", "link closed", "stop"];

/// A master with worker 1 and each thing that can stand before it.
fn in_state(state: &str) -> Master {
    let mut master = serving(1);
    let giving_up = Life::GivingUp { text: String::new() };
    let successor = Pid(9);
    let later = NOW + Duration::from_secs(1);
    (master.lineage, master.life, master.upgrade) = match state {
        "first" => (Lineage::First, Life::Serving, Upgrade::Idle),
        // A slot is missing, so that it does not get ready in this very step.
        "awaiting" | "heir" => {
            master.target = 2;
            master.roster.forking(Slot(1), BTreeSet::new());
            let lineage = if state == "heir" { Lineage::Heir } else { Lineage::Awaiting(Readiness::Booting) };
            (lineage, Life::Booting, Upgrade::Idle)
        }
        "ready" | "ready, none left" => (Lineage::Awaiting(Readiness::Ready), Life::Booting, Upgrade::Idle),
        "ready, stopping" => {
            (Lineage::Awaiting(Readiness::Ready), Life::Stopping { closing: Closing::Done }, Upgrade::Idle)
        }
        "booting, giving up" => (Lineage::Awaiting(Readiness::Booting), giving_up, Upgrade::Idle),
        "backed" => (Lineage::Backed { older: 0 }, Life::Serving, Upgrade::Idle),
        "backed, giving up" => (Lineage::Backed { older: 0 }, giving_up, Upgrade::Idle),
        "released" => (Lineage::Released { older: 0 }, Life::Serving, Upgrade::Idle),
        "released, committed" => {
            (Lineage::Released { older: 0 }, Life::Serving, Upgrade::Committed { successor, deadline: later })
        }
        "released, stopping" => (
            Lineage::Released { older: 0 },
            Life::Stopping { closing: Closing::Emptying { until: later } },
            Upgrade::Idle,
        ),
        "released, retiring" => (Lineage::Released { older: 0 }, Life::Serving, Upgrade::Retiring { successor }),
        "alone" => (Lineage::Alone, Life::Serving, Upgrade::Idle),
        _ => unreachable!(),
    };
    match state {
        "awaiting" | "ready" | "ready, none left" | "heir" => drop(master.queues.withdraw()),
        "ready, stopping" | "booting, giving up" | "backed, giving up" | "released, retiring" => {
            master.let_all_go(NOW, &mut Vec::new());
            master.shut_relay(&mut Vec::new());
        }
        "released, stopping" => {
            let deadline = NOW + Duration::from_secs(30);
            crate::testing::add(&mut master, 1, 0, crate::worker::Phase::Finishing { deadline });
        }
        _ => {}
    }
    if state.starts_with("backed") {
        master.kin.predecessor = takes();
    }
    if state == "ready, none left" {
        assert!(master.roster.reaped(Pid(1)).is_some());
        master.roster.forking(Slot(0), BTreeSet::new());
    }
    master
}

fn event(name: &str) -> Event {
    match name {
        "COMMIT 1" => Event::Predecessor(PredecessorSays::Commit { draining: 1, takes: takes() }),
        "ABORT" => Event::Predecessor(PredecessorSays::Abort),
        "BEHIND 1" => Event::Predecessor(PredecessorSays::Behind { draining: 1 }),
        "link closed" => Event::PredecessorLinkClosed,
        "stop" => Event::Command(Command::Stop),
        _ => unreachable!(),
    }
}

#[test]
fn every_lineage_and_event() {
    check(TABLE, &STATES, &EVENTS, |state, said| {
        let mut master = in_state(state);
        let actions = master.step(NOW, event(said));
        let lineage = match master.lineage {
            Lineage::Awaiting(readiness) => format!("awaiting {}", name(&readiness)).to_lowercase(),
            Lineage::Backed { older } => format!("backed {older}"),
            Lineage::Released { older } => format!("released {older}"),
            other @ (Lineage::First | Lineage::Heir | Lineage::Alone) => name(&other).to_lowercase(),
        };
        format!("{lineage}, {} | {}", name(&master.life).to_lowercase(), short(&actions))
    });
}

const TABLE: &str = "
first               | COMMIT 1    | first, serving             |
first               | ABORT       | first, serving             |
first               | BEHIND 1    | first, serving             |
first               | link closed | first, serving             |
first               | stop        | first, stopping            | StopBegun, 1: finish

awaiting            | COMMIT 1    | awaiting booting, booting  |
awaiting            | ABORT       | awaiting booting, stopping | StopBegun, 1: drain as last, shut relay
awaiting            | BEHIND 1    | awaiting booting, booting  |
awaiting            | link closed | alone, booting             | PredecessorLost, pid file, TookOver, 1: 1 queues
awaiting            | stop        | awaiting booting, stopping | FAILED, StopBegun, 1: drain as last, shut relay

ready               | COMMIT 1    | backed 1, serving          | 1: refuge, pid file, TookOver, Ready, 1: 1 queues, TAKEN
ready               | ABORT       | awaiting ready, stopping   | StopBegun, 1: drain as last, shut relay
ready               | BEHIND 1    | awaiting ready, booting    |
ready               | link closed | alone, serving             | PredecessorLost, pid file, TookOver, Ready, 1: 1 queues
ready               | stop        | awaiting ready, stopping   | FAILED, StopBegun, 1: drain as last, shut relay

ready, none left    | COMMIT 1    | backed 1, givingup         | GaveUp, FAILED, shut relay
ready, none left    | ABORT       | awaiting ready, stopping   | StopBegun, shut relay
ready, none left    | BEHIND 1    | awaiting ready, booting    |
ready, none left    | link closed | heir, booting              | PredecessorLost
ready, none left    | stop        | awaiting ready, stopping   | FAILED, StopBegun, shut relay

ready, stopping     | COMMIT 1    | awaiting ready, stopping   |
ready, stopping     | ABORT       | awaiting ready, stopping   |
ready, stopping     | BEHIND 1    | awaiting ready, stopping   |
ready, stopping     | link closed | heir, stopping             | PredecessorLost
ready, stopping     | stop        | awaiting ready, stopping   | StopNow, kill 1

booting, giving up  | COMMIT 1    | awaiting booting, givingup |
booting, giving up  | ABORT       | alone, givingup            | 1: drain as last
booting, giving up  | BEHIND 1    | awaiting booting, givingup |
booting, giving up  | link closed | heir, booting              | PredecessorLost, open relay, Degraded, fork 0, 1: drain
booting, giving up  | stop        | awaiting booting, givingup | StopNow, kill 1

heir                | COMMIT 1    | alone, booting             | pid file, TookOver, 1: 1 queues
heir                | ABORT       | alone, booting             | pid file, TookOver, 1: 1 queues
heir                | BEHIND 1    | alone, booting             | pid file, TookOver, 1: 1 queues
heir                | link closed | alone, booting             | pid file, TookOver, 1: 1 queues
heir                | stop        | heir, stopping             | StopBegun, 1: finish

backed              | COMMIT 1    | backed 0, serving          |
backed              | ABORT       | backed 0, stopping         | StopBegun, 1: drain to predecessor as last, shut relay
backed              | BEHIND 1    | backed 1, serving          |
backed              | link closed | alone, serving             | PredecessorDone
backed              | stop        | released 0, stopping       | StopBegun, RELEASED, 1: finish

backed, giving up   | COMMIT 1    | backed 0, givingup         |
backed, giving up   | ABORT       | alone, givingup            |
backed, giving up   | BEHIND 1    | backed 1, givingup         |
backed, giving up   | link closed | alone, serving             | PredecessorDone, pid file, TookOver, open relay, Degraded, fork 0, 1: drain to own
backed, giving up   | stop        | backed 0, givingup         | StopNow, kill 1

released            | COMMIT 1    | released 0, serving        |
released            | ABORT       | backed 0, stopping         | StopBegun, 1: drain as last, shut relay
released            | BEHIND 1    | released 1, serving        |
released            | link closed | alone, serving             | PredecessorDone
released            | stop        | released 0, stopping       | StopBegun, 1: finish

released, committed | COMMIT 1    | released 0, serving        |
released, committed | ABORT       | backed 0, stopping         | StopBegun, ABORT, 1: drain as last, shut relay
released, committed | BEHIND 1    | released 1, serving        | BEHIND 2
released, committed | link closed | alone, serving             | PredecessorDone, BEHIND 0
released, committed | stop        | released 0, stopping       | StopBegun, ABORT, 1: finish

released, stopping  | COMMIT 1    | released 0, stopping       |
released, stopping  | ABORT       | alone, stopping            |
released, stopping  | BEHIND 1    | released 1, stopping       |
released, stopping  | link closed | alone, stopping            | PredecessorDone
released, stopping  | stop        | alone, stopping            | StopNow, HURRY, kill 1, shut

released, retiring  | COMMIT 1    | released 0, serving        |
released, retiring  | ABORT       | alone, serving             |
released, retiring  | BEHIND 1    | released 1, serving        | BEHIND 2
released, retiring  | link closed | alone, serving             | PredecessorDone, BEHIND 0
released, retiring  | stop        | released 0, serving        | Refused

alone               | COMMIT 1    | alone, serving             |
alone               | ABORT       | alone, serving             |
alone               | BEHIND 1    | alone, serving             |
alone               | link closed | alone, serving             |
alone               | stop        | alone, stopping            | StopBegun, 1: finish
";

#[test]
fn what_a_worker_has_shown_without_queues_does_not_count() {
    let mut master = in_state("ready");
    drop(master.step(NOW, event("COMMIT 1")));
    for crash in ["WorkerExited", "WorkerExited, GaveUp, FAILED, shut relay, Stopped, exit 3"] {
        let pid = master.workers().next().unwrap().pid;
        let actions = master.step(NOW, Event::Exited { pid, ending: Ending::Signal(11) });
        assert_eq!(short(&actions), crash);
        if !master.life.is_ending() {
            drop(master.step(NOW + Duration::from_millis(100), Event::Tick));
            drop(master.step(NOW, Event::Spawned { slot: Slot(0), pid: Pid(2) }));
        }
    }
}

#[test]
fn an_heir_tries_on_where_another_would_give_up() {
    let mut master = in_state("heir");
    drop(master.step(NOW, Event::Spawned { slot: Slot(1), pid: Pid(2) }));
    let failed = Event::Worker { pid: Pid(2), says: WorkerSays::BootFailed { text: String::new() } };
    assert_eq!(short(&master.step(NOW, failed)), "BootFailed");
    assert_eq!(short(&master.step(NOW + Duration::from_millis(100), Event::Tick)), "fork 1");
}

#[test]
fn queues_of_a_predecessor_that_serves_on_are_not_shut() {
    let mut master = in_state("released, stopping");
    drop(master.step(NOW, event("ABORT")));
    let emptied = Event::Worker { pid: Pid(1), says: WorkerSays::Emptied };
    assert_eq!(short(&master.step(NOW, emptied)), "");
    assert_eq!(short(&master.step(NOW + Duration::from_secs(1), Event::Tick)), "");
}

fn gone(pid: i32) -> Event {
    Event::Exited { pid: Pid(pid), ending: Ending::Code(0) }
}

#[test]
fn an_end_waits_for_a_predecessor_that_drains() {
    for (state, says) in [("released, stopping", ""), ("released, retiring", "BEHIND 0, ")] {
        let mut master = in_state(state);
        let left = short(&master.step(NOW, gone(1)));
        assert!(!left.contains("exit"), "{state}: {left}");
        let last = short(&master.step(NOW, Event::PredecessorLinkClosed));
        assert_eq!(last, format!("PredecessorDone, {says}Stopped, exit 0"), "{state}");
    }
}

#[test]
fn whoever_stops_twice_waits_for_no_predecessor() {
    let mut master = in_state("released, stopping");
    drop(master.step(NOW, gone(1)));
    assert_eq!(short(&master.step(NOW, event("stop"))), "StopNow, HURRY, Stopped, exit 2");
}

#[test]
fn who_leaves_passes_it_on_that_nobody_waits() {
    let mut master = in_state("released, retiring");
    drop(master.step(NOW, Event::Successor(SuccessorSays::Released)));
    assert_eq!(short(&master.step(NOW, Event::Successor(SuccessorSays::Hurry))), "StopNow, HURRY, kill 1");
    assert_eq!(short(&master.step(NOW, gone(1))), "WorkerExited, Stopped, exit 2");
}

#[test]
fn a_number_of_workers_that_makes_no_sense_is_not_taken_over() {
    let seed = |scaled| crate::Seed {
        companions: Vec::new(),
        policy: crate::Policy::default(),
        generation: crate::Generation(2),
        queues: vec![1],
        listen_mode: crate::ListenMode::Shared,
        lineage: Lineage::Awaiting(Readiness::Booting),
        scaled: Some(scaled),
    };
    assert_eq!(Master::new(seed(0)).wanted(), 1);
    assert_eq!(Master::new(seed(3)).wanted(), 3);
    assert_eq!(Master::new(seed(u16::MAX)).wanted(), 512);
}

#[test]
fn what_workers_wait_for_is_told_once_and_is_the_reason_of_their_end() {
    let mut master = Master::new(crate::Seed {
        companions: Vec::new(),
        policy: crate::Policy { workers: 2, ..crate::Policy::default() },
        generation: crate::Generation(2),
        queues: vec![1],
        listen_mode: crate::ListenMode::Shared,
        lineage: Lineage::Awaiting(Readiness::Booting),
        scaled: None,
    });
    drop(master.step(NOW, Event::Begin));
    for (slot, pid) in [(0, 1), (1, 2)] {
        drop(master.step(NOW, Event::Spawned { slot: Slot(slot), pid: Pid(pid) }));
    }
    let waits = |pid| Event::Worker { pid: Pid(pid), says: WorkerSays::Waits { text: "nobody serves :80".to_owned() } };
    let told = master.step(NOW, waits(1));
    let name = "worker 0 waits: nobody serves :80".to_owned();
    assert_eq!(told[0], Action::TellPredecessor(SuccessorSays::Phase { name }));
    assert_eq!(short(&told[1..]), "WorkerWaits");
    assert_eq!(short(&master.step(NOW, waits(2))), "WorkerWaits");
    let due = master.step(NOW + master.policy.boot_timeout, Event::Tick);
    let text = "worker 0: it did not become ready within boot-timeout: nobody serves :80".to_owned();
    assert!(due.contains(&Action::TellPredecessor(SuccessorSays::Failed { text })), "{due:?}");
    assert!(short(&due).contains("BootFailed, "), "{due:?}");
}
