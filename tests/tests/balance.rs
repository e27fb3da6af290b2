//! Connections are spread over workers that came after them, and then stay where they are.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hatchery_tests::client::Client;
use hatchery_tests::storm::{Crowd, Storm};
use hatchery_tests::{Lab, Start, wait};
use nix::sys::signal::Signal;

/// How many connections there are before there are more workers.
const CONNECTIONS: usize = 400;

/// One worker, with all of them.
fn crowded(mode: &str, balance: &str) -> (Lab, Vec<Client>) {
    let start = Start::lab().for_a_storm().set("listen-mode", mode).set("workers", "1").set("balance", balance);
    let lab = start.ready();
    let mut clients: Vec<Client> =
        (0..CONNECTIONS).map(|_| Client::connect(lab.address()).expect("a connection")).collect();
    assert_eq!(counts(&owners(&mut clients)).len(), 1);
    (lab, clients)
}

fn scale_up(lab: &Lab) {
    for workers in 2..=4 {
        lab.signal(Signal::SIGTTIN);
        lab.until("one more", || lab.ready().len() == workers);
    }
}

/// Whose each connection is; asking does not disturb it.
fn owners(clients: &mut [Client]) -> Vec<i32> {
    let owner = |client: &mut Client| {
        let answer = client.get("/whoami").unwrap_or_else(|failure| panic!("a client has noticed: {failure}"));
        assert!(!answer.announces_close(), "a client has noticed: {answer:?}");
        answer.whoami().pid
    };
    clients.iter_mut().map(owner).collect()
}

fn counts(owners: &[i32]) -> BTreeMap<i32, usize> {
    let mut counts = BTreeMap::new();
    owners.iter().for_each(|pid| *counts.entry(*pid).or_default() += 1);
    counts
}

/// How far the one with the most is above the mean of four.
fn unevenness(owners: &[i32]) -> f64 {
    let most = counts(owners).into_values().max().expect("somebody has some");
    let [most, all] = [most, owners.len()].map(|count| f64::from(u32::try_from(count).expect("few")));
    most * 4.0 / all
}

fn evens_out(mode: &str) {
    let (lab, mut clients) = crowded(mode, "on");
    let http = lab.address();
    let storm = Storm::begin([Crowd::keep_alive(http, 12), Crowd::fresh(http, 2), Crowd::slow_stream(http, 4)]);
    // What a look at them all takes: on a machine that is busy with other things, very long.
    let asked = Instant::now();
    owners(&mut clients);
    let limit = Duration::from_secs(2) + 10 * asked.elapsed();
    scale_up(&lab);
    let began = Instant::now();
    let mut rounds = Vec::new();
    let even = wait::within(Duration::from_secs(20), || {
        let unevenness = unevenness(&owners(&mut clients));
        rounds.push((began.elapsed().as_millis(), unevenness));
        (unevenness <= 1.2).then(|| began.elapsed())
    });
    let even = even.unwrap_or_else(|| panic!("{mode}: it stays uneven: {rounds:?}"));
    println!("{mode}: even after {} ms: {rounds:?}", even.as_millis());
    assert!(even <= limit, "{mode}: after {even:?}, not {limit:?}: {rounds:?}");

    // It may bring this to its end, and then nothing moves any more.
    let mut settled = owners(&mut clients);
    lab.until("a second without a move", || {
        let since = Instant::now();
        let before = std::mem::replace(&mut settled, owners(&mut clients));
        while settled == before && since.elapsed() < Duration::from_secs(1) {
            settled = owners(&mut clients);
        }
        settled == before
    });
    let moved = wait::within(Duration::from_secs(3), || {
        let now = owners(&mut clients);
        (now != settled).then(|| now.iter().zip(&settled).filter(|(now, before)| now != before).count())
    });
    assert_eq!(moved, None, "{mode}: it flaps");
    storm.finish().assert_nobody_noticed();
    lab.stop();
}

#[test]
fn connections_are_evened_out_and_stay_put() {
    evens_out("shared");
}

#[test]
fn connections_are_evened_out_and_stay_put_on_reuseport() {
    evens_out("reuseport");
}

#[test]
fn nothing_moves_when_it_is_off() {
    let (lab, mut clients) = crowded("shared", "off");
    scale_up(&lab);
    let before = owners(&mut clients);
    let moved = wait::within(Duration::from_secs(3), || (owners(&mut clients) != before).then_some(()));
    assert_eq!(moved, None);
    lab.stop();
}
