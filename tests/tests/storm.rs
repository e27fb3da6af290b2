//! Clients of every kind at once, while the server is reloaded, upgraded,
//! scaled and recycled: not one of them can tell.

use std::collections::BTreeMap;
use std::time::Duration;

use hatchery_tests::storm::{Crowd, HALF_HEAD, IDLE, KEEP_ALIVE, MUTE, Storm};
use hatchery_tests::{Lab, Start, log, procfs, wait};
use nix::sys::signal::Signal;

/// How many workers there are at rest.
const WORKERS: usize = 4;

/// Every kind of client, and keep-alive in a hurry, at ease and slowly.
fn crowds(http: &str, counter: &str) -> Vec<Crowd> {
    let slowly = Duration::from_millis(100)..Duration::from_secs(3);
    vec![
        Crowd::keep_alive(http, 24),
        Crowd::keep_alive(http, 2).pausing(Duration::ZERO..Duration::ZERO),
        Crowd::keep_alive(http, 24).pausing(slowly),
        Crowd::fresh(http, 4),
        Crowd::idle(http, 100),
        Crowd::mute(http, 20),
        Crowd::half_head(http, 20),
        Crowd::slow_head(http, 16),
        Crowd::pipelined(http, 8),
        Crowd::slow_post(http, 8),
        Crowd::slow_stream(http, 8),
        Crowd::http2(http, 4),
        Crowd::raw(counter, 16),
    ]
}

fn reloads(lab: &Lab, storm: &Storm) {
    for count in 2..=11 {
        lab.signal(Signal::SIGHUP);
        lab.until_logged(log::RELOAD_DONE, count);
        storm.more(1);
    }
}

fn upgrades(lab: &Lab, storm: &Storm) {
    for _ in 0..10 {
        let next = lab.generation().map(|generation| generation + 1);
        upgrade(lab);
        assert_eq!(lab.generation(), next);
        storm.more(1);
    }
}

/// Like [`Lab::upgrade`], with workers that come and go meanwhile.
fn upgrade(lab: &Lab) {
    let old = lab.serving();
    lab.signal(Signal::SIGUSR2);
    lab.until("the successor serves", || lab.serving() != old);
    lab.until("the predecessor is gone", || lab.processes().iter().all(|process| process.pid != old));
}

fn scale(lab: &Lab, storm: &Storm) {
    for workers in (1..WORKERS).rev() {
        lab.signal(Signal::SIGTTOU);
        lab.until("one less", || lab.ready().len() == workers);
        storm.more(1);
    }
    for workers in 2..=WORKERS {
        lab.signal(Signal::SIGTTIN);
        lab.until("one more", || lab.ready().len() == workers);
    }
    storm.more(1);
}

/// By TERM to one after the other, while `--max-requests` recycles as well.
fn recycles(lab: &Lab, storm: &Storm) {
    for _ in 0..10 {
        let worker = *lab.ready().first().expect("a ready worker");
        lab.signal_to(worker, Signal::SIGTERM);
        lab.until("it is replaced", || !lab.workers().contains(&worker));
    }
    storm.more(1);
    lab.until_logged(log::RECYCLE_BEGUN, 20);
}

/// What a process has open, by kind.
type Open = BTreeMap<String, usize>;

/// What the master has open, and the most that a worker has, when nobody is connected.
fn open(lab: &Lab) -> (Open, Open) {
    let count = |pid| {
        let mut open = Open::new();
        for file in procfs::descriptors(pid).into_values() {
            let kind = file.split([':', '[']).next().unwrap_or_default().to_owned();
            *open.entry(kind).or_default() += 1;
        }
        open
    };
    let mut most = Open::new();
    for (kind, number) in lab.ready().into_iter().flat_map(count) {
        let known = most.entry(kind).or_default();
        *known = number.max(*known);
    }
    (count(lab.serving()), most)
}

fn storm(mode: &str) {
    let workers = WORKERS.to_string();
    let lab = Start::lab().for_a_storm().set("listen-mode", mode).set("workers", &workers).set("max-requests", "1000");
    let lab = lab.ready();
    // A successor has what every later one has, and so have workers that were not there when it took over.
    lab.upgrade();
    lab.signal(Signal::SIGHUP);
    lab.until_logged(log::RELOAD_DONE, 1);
    lab.until("nobody else is left", || lab.processes().len() == WORKERS + 1);
    let mut before = open(&lab);
    // Who has received a connection keeps one to spare from then on, who has shed some keeps the way and its watch.
    *before.1.entry("socket".to_owned()).or_default() += 3;

    let storm = Storm::begin(crowds(lab.address(), lab.counter()));
    let mut took = BTreeMap::new();
    for (name, operate) in
        [("reloads", reloads as fn(&Lab, &Storm)), ("upgrades", upgrades), ("scale", scale), ("recycles", recycles)]
    {
        let began = storm.lasts();
        operate(&lab, &storm);
        took.insert(name, (storm.lasts() - began).as_millis());
    }
    let report = storm.finish();
    println!("{mode}: {took:?} ms\n{report}");
    report.assert_nobody_noticed();
    for (name, answered) in [(IDLE, 200), (MUTE, 20), (HALF_HEAD, 30)] {
        assert_eq!(report.of(name).answered, answered, "each on its old connection: {report}");
    }
    assert_eq!(report.of(KEEP_ALIVE).connections, 24, "{report}");

    assert_eq!(log::MESSAGE_REFUSED.count(&lab.log()), 0);
    lab.until("nobody else is left", || lab.processes().len() == WORKERS + 1);
    lab.until("no connection is held", || lab.addresses().iter().all(|address| lab.connections(address) == 0));
    let mut after = open(&lab);
    let is_as_before = wait::within(wait::PATIENCE, || {
        after = open(&lab);
        let has_more = after.1.iter().any(|(kind, number)| before.1.get(kind).is_none_or(|before| number > before));
        (after.0 == before.0 && !has_more).then_some(())
    });
    assert!(is_as_before.is_some(), "before: {before:?}, after: {after:?}");
    lab.stop();
}

#[test]
fn nobody_notices() {
    storm("shared");
}

#[test]
fn nobody_notices_on_reuseport() {
    storm("reuseport");
}
