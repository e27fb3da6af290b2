//! Operations while clients keep coming: none of them pays.

use std::time::Duration;

use hatchery_tests::load::Load;
use hatchery_tests::{Lab, Start, log};
use nix::sys::signal::Signal;

/// How many answers there have to be before, between and after operations.
const SOME: u64 = 100;

fn start(mode: &str) -> Lab {
    Start::lab().set("listen-mode", mode).ready()
}

/// Three reloads.
fn reload(lab: &Lab, load: &Load) {
    for count in 1..=3 {
        let before = lab.ready();
        load.more(SOME);
        lab.signal(Signal::SIGHUP);
        lab.until_logged(log::RELOAD_DONE, count);
        load.more(SOME);
        lab.until("the old workers are gone", || lab.ready().is_disjoint(&before) && lab.workers().len() == 2);
    }
    load.more(SOME);
}

/// Three upgrades.
fn upgrade(lab: &Lab, load: &Load) {
    for generation in 2..=4 {
        load.more(SOME);
        lab.upgrade();
        load.more(SOME);
        assert_eq!(lab.whoami().generation, generation);
    }
    load.more(SOME);
}

/// Up to six workers and down to one.
fn scale(lab: &Lab, load: &Load) {
    for workers in 3..=6 {
        lab.signal(Signal::SIGTTIN);
        lab.until("one more", || lab.ready().len() == workers);
    }
    load.more(SOME);
    for workers in (1..=5).rev() {
        lab.signal(Signal::SIGTTOU);
        lab.until("one less", || lab.workers().len() == workers);
    }
    load.more(SOME);
}

fn fresh(mode: &str, operate: fn(&Lab, &Load)) {
    let lab = start(mode);
    let load = Load::fresh(lab.address(), 4);
    operate(&lab, &load);
    load.finish_without_failure();
    lab.stop();
}

/// No client is told to go, and none is closed.
fn keep_alive(mode: &str, operate: fn(&Lab, &Load)) {
    let lab = start(mode);
    let busy = Load::keep_alive(lab.address(), 3, Duration::ZERO);
    let thinking = Load::keep_alive(lab.address(), 8, Duration::from_millis(15));
    operate(&lab, &thinking);
    for tally in [busy.finish(), thinking.finish()] {
        assert!(tally.failures.is_empty() && tally.answered > 0, "clients paid for it: {tally}");
        assert_eq!((tally.announced, tally.closed_idle), (0, 0), "clients have noticed: {tally}");
    }
    lab.stop();
}

#[test]
fn reload_with_a_connection_a_request() {
    fresh("shared", reload);
}

#[test]
fn reload_with_a_connection_a_request_on_reuseport() {
    fresh("reuseport", reload);
}

#[test]
fn reload_with_keep_alive() {
    keep_alive("shared", reload);
}

#[test]
fn reload_with_keep_alive_on_reuseport() {
    keep_alive("reuseport", reload);
}

#[test]
fn upgrade_with_a_connection_a_request() {
    fresh("shared", upgrade);
}

#[test]
fn upgrade_with_a_connection_a_request_on_reuseport() {
    fresh("reuseport", upgrade);
}

#[test]
fn upgrade_with_keep_alive() {
    keep_alive("shared", upgrade);
}

#[test]
fn upgrade_with_keep_alive_on_reuseport() {
    keep_alive("reuseport", upgrade);
}

#[test]
fn scaling_with_a_connection_a_request() {
    fresh("shared", scale);
}

#[test]
fn scaling_with_a_connection_a_request_on_reuseport() {
    fresh("reuseport", scale);
}

#[test]
fn scaling_with_keep_alive() {
    keep_alive("shared", scale);
}

#[test]
fn scaling_with_keep_alive_on_reuseport() {
    keep_alive("reuseport", scale);
}

#[test]
fn a_request_that_reaches_a_server_that_stops_is_answered_with_an_announced_close() {
    // A client that speaks again within the short window is answered, and told.
    let lab = Start::lab().set("workers", "1").ready();
    let mut client = hatchery_tests::client::Client::connect(lab.address()).expect("a connection");
    assert!(!client.get("/").expect("an answer").announces_close());
    client.ask("/sleep?ms=300").expect("sent");
    lab.signal(Signal::SIGTERM);
    let answer = client.answer().expect("an answer");
    assert!(answer.announces_close());
    assert!(client.read_to_end().is_ok_and(|rest| rest.is_empty()));
    lab.assert_gone();
}
