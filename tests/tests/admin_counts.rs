//! Counters never go back, whatever is done to the server, and count every request once.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use hatchery_control::Snapshot;
use hatchery_tests::load::Load;
use hatchery_tests::procfs::Stage;
use hatchery_tests::program::example;
use hatchery_tests::{Lab, Program, Start, admin, chores, client, log};
use nix::sys::signal::Signal;

const CHORES: &str = env!("CARGO_BIN_EXE_chores");

/// Somebody who looks all the time, and compares with the last look.
struct Witness {
    stop: Arc<AtomicBool>,
    looks: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

/// All that is never to be less than before, by a name.
fn growing(snapshot: &Snapshot) -> BTreeMap<String, u64> {
    let counts = &snapshot.counts;
    let mut all = BTreeMap::new();
    let single = [
        ("connections", counts.connections),
        ("requests", counts.requests),
        ("moved", counts.moved),
        ("refused", counts.refused),
        ("panics", counts.panics),
        ("status.requests", snapshot.status.totals.requests),
        ("status.connections", snapshot.status.totals.connections),
        ("status.restarts", snapshot.status.totals.restarts),
        ("generation", 0),
    ];
    all.extend(single.map(|(name, count)| (name.to_owned(), count)));
    for (kind, named) in [
        ("response", &counts.responses),
        ("limit", &counts.limits),
        ("restart", &counts.restarts),
        ("restart of a companion", &counts.companion_restarts),
    ] {
        all.extend(named.iter().map(|(name, count)| (format!("{kind} {name}"), *count)));
    }
    for (kind, histogram) in [("latency", &counts.latency), ("step", &counts.steps)] {
        all.extend(histogram.buckets.iter().enumerate().map(|(i, count)| (format!("{kind} {i}"), *count)));
    }
    for slot in snapshot.slots.iter().filter(|slot| slot.name.is_none()) {
        all.insert(format!("requests of {}", slot.slot), slot.requests);
        all.insert(format!("connections of {}", slot.slot), slot.accepted);
        all.insert(format!("moved to {}", slot.slot), slot.moved);
        all.extend(slot.responses.iter().map(|(class, count)| (format!("{class} of {}", slot.slot), *count)));
        let buckets = slot.latency.buckets.iter().enumerate();
        all.extend(buckets.map(|(i, count)| (format!("latency {i} of {}", slot.slot), *count)));
    }
    all
}

impl Witness {
    fn of(lab: &Lab) -> Self {
        let (address, stop, looks) = (admin::address(lab), Arc::new(AtomicBool::new(false)), Arc::default());
        let (stopped, looked): (_, Arc<AtomicU64>) = (Arc::clone(&stop), Arc::clone(&looks));
        let thread = thread::spawn(move || {
            let mut before: BTreeMap<String, u64> = BTreeMap::new();
            while !stopped.load(Ordering::Relaxed) {
                let answer = client::get(&address, "/status.json").expect("somebody always answers");
                // A master that was killed a moment ago had been asked.
                if answer.status == 503 {
                    continue;
                }
                let snapshot = Snapshot::from_json(&answer.body).expect("a snapshot");
                let now = growing(&snapshot);
                for (name, count) in &before {
                    let later = now.get(name).copied().unwrap_or(0);
                    assert!(later >= *count, "{name} was {count}, and is {later} now");
                }
                before = now;
                looked.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { stop, looks, thread }
    }

    /// Waits until it has looked a few times more.
    fn look(&self, lab: &Lab) {
        let before = self.looks.load(Ordering::Relaxed);
        lab.until("somebody has looked", || {
            assert!(!self.thread.is_finished(), "the witness has seen something");
            self.looks.load(Ordering::Relaxed) > before + 3
        });
    }

    fn finish(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("nothing has gone back");
    }
}

fn requests(lab: &Lab) -> u64 {
    admin::snapshot(lab).counts.requests
}

fn start(probation: &str) -> Lab {
    Start::lab().set("admin", "127.0.0.1:0").set("upgrade-probation", probation).ready()
}

/// An upgrade, the so-manieth, up to its probation; the master that serves.
fn upgraded(lab: &Lab, count: usize) -> i32 {
    lab.signal(Signal::SIGUSR2);
    lab.until_logged(log::UPGRADE_DONE, count);
    lab.serving()
}

#[test]
fn every_request_counts_once_through_reload_recycle_and_upgrades() {
    let lab = start("1s");
    let witness = Witness::of(&lab);
    let loads = [Load::fresh(lab.address(), 2), Load::keep_alive(lab.address(), 2, Duration::from_millis(2))];
    let more = |loads: &[Load; 2]| {
        loads.iter().for_each(|load| load.more(20));
        witness.look(&lab);
    };
    more(&loads);
    lab.signal(Signal::SIGHUP);
    lab.until_logged(log::RELOAD_DONE, 1);
    more(&loads);
    let worker = *lab.ready().first().expect("a worker");
    lab.signal_to(worker, Signal::SIGTERM);
    lab.until("it is replaced", || lab.has_ended(worker) || !lab.workers().contains(&worker));
    more(&loads);
    let first = lab.serving();
    let second = upgraded(&lab, 1);
    more(&loads);
    lab.until("the first one is gone", || lab.has_ended(first));
    more(&loads);
    // The one after it loses its predecessor in its probation.
    upgraded(&lab, 2);
    lab.signal_to(second, Signal::SIGKILL);
    more(&loads);
    lab.until("the second one is gone", || lab.has_ended(second));
    more(&loads);
    let answered: u64 = loads
        .into_iter()
        .map(|load| {
            let tally = load.finish();
            assert!(tally.failures.is_empty(), "{:?}", tally.failures);
            tally.answered
        })
        .sum();
    lab.until("every request is counted", || requests(&lab) >= answered);
    assert_eq!(requests(&lab), answered);
    witness.look(&lab);
    witness.finish();
    lab.stop();
}

#[test]
fn what_fails_a_reload_is_no_restart() {
    let start = Start::lab().set("admin", "127.0.0.1:0");
    let path = start.path("broken");
    let lab = start.variable("LAB_BOOT", &format!("fail-if:{}", path.display())).ready();
    lab.put("broken");
    lab.signal(Signal::SIGHUP);
    lab.until_logged(log::RELOAD_FAILED, 1);
    lab.until("the new worker is gone", || lab.log().contains("exited: it did not boot"));
    let counts = admin::snapshot(&lab).counts;
    assert!(counts.restarts.values().all(|count| *count == 0), "{:?}", counts.restarts);
    // One that has died is missed until another one boots, and that one is no part of an operation.
    lab.signal_to(*lab.ready().first().expect("a worker"), Signal::SIGKILL);
    lab.until("both are counted", || {
        let restarts = admin::snapshot(&lab).counts.restarts;
        restarts["crash"] == 1 && restarts["boot"] >= 1
    });
    fs::remove_file(path).expect("a file");
    lab.until("there are two again", || lab.ready().len() == 2);
    lab.stop();
}

#[test]
fn companions_count_apart_from_workers() {
    let start = chores::start(CHORES).variable("CHORES_SIDECAR", "good").set("crash-limit", "2");
    let lab = start.set("admin", "127.0.0.1:0").ready();
    let first = lab.one_titled("hatchery: sidecar beat");
    lab.signal_to(first, Signal::SIGKILL);
    lab.until("it is counted", || admin::snapshot(&lab).counts.companion_restarts["crash"] == 1);
    let snapshot = admin::snapshot(&lab);
    assert_eq!((snapshot.counts.restarts["crash"], snapshot.status.totals.restarts), (0, 1));
    // Those of a new program that do not come up have been nobody's.
    lab.install(&chores::with(CHORES, "CHORES_SIDECAR=crash"));
    lab.signal(Signal::SIGUSR2);
    lab.until_logged(log::UPGRADE_FAILED, 1);
    lab.until("nothing of it is left", || lab.masters().len() == 1);
    assert_eq!(admin::snapshot(&lab).counts.companion_restarts["crash"], 1);
    lab.stop();
}

#[test]
fn nothing_goes_back_through_crashes_and_upgrades_that_fail() {
    let lab = start("60s");
    let witness = Witness::of(&lab);
    let load = Load::fresh(lab.address(), 3);
    load.more(20);
    for count in 1..=2 {
        let worker = *lab.ready().first().expect("a worker");
        lab.signal_to(worker, Signal::SIGKILL);
        lab.until("there is another one", || !lab.ready().contains(&worker) && lab.ready().len() == 2);
        lab.until("it is counted", || admin::snapshot(&lab).counts.restarts["crash"] == count);
        load.more(20);
    }
    // One that does not boot.
    lab.install(&Program::Script(format!("LAB_BOOT=fail exec {} \"$@\"", example("lab").display())));
    lab.signal(Signal::SIGUSR2);
    lab.until_logged(log::UPGRADE_FAILED, 1);
    load.more(20);
    witness.look(&lab);
    lab.until("nothing of it is left", || admin::snapshot(&lab).status.operation.is_none());
    let restarts = admin::snapshot(&lab).counts.restarts;
    assert_eq!((restarts["crash"], restarts["boot"]), (2, 0), "an upgrade that fails has cost nobody a worker");
    // And one that takes over, serves, and is taken back.
    lab.install(&Program::Script(format!("exec {} \"$@\"", example("lab").display())));
    let successor = upgraded(&lab, 1);
    load.more(20);
    witness.look(&lab);
    lab.workers_of(successor, |stage| stage == Stage::Ready)
        .iter()
        .for_each(|pid| lab.signal_to(*pid, Signal::SIGKILL));
    lab.signal_to(successor, Signal::SIGKILL);
    lab.until_logged(log::TAKEN_BACK, 1);
    load.more(20);
    witness.look(&lab);
    let counted = requests(&lab);
    assert!(counted >= 100, "{counted}");
    let tally = load.finish();
    let all = tally.answered + tally.failures.len() as u64;
    lab.until("every answer is counted", || requests(&lab) >= tally.answered);
    assert!(requests(&lab) <= all, "{} counted, {all} sent", requests(&lab));
    witness.finish();
    lab.stop();
}
