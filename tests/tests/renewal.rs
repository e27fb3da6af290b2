//! Workers that are replaced because they are old or large.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use hatchery_tests::client::Client;
use hatchery_tests::command::hatchery;
use hatchery_tests::storm::{Crowd, Storm};
use hatchery_tests::{Lab, Start, log};

/// Waits until none of these serves any more; how many were ever ready at once must not fall.
fn until_renewed(lab: &Lab, old: &BTreeSet<i32>) {
    lab.until("all are new", || {
        let ready = lab.ready();
        // Looked at while it changes: of a worker that is ready, the title may be read twice or not at all.
        assert!(!ready.is_empty(), "nobody serves");
        ready.is_disjoint(old) && ready.len() >= old.len()
    });
}

#[test]
fn the_old_are_replaced_and_no_client_notices() {
    let lab = Start::lab().for_a_storm().set("max-lifetime", "2s").set("workers", "3").ready();
    let http = lab.address();
    let storm = Storm::begin([Crowd::keep_alive(http, 8), Crowd::fresh(http, 2), Crowd::slow_stream(http, 2)]);
    let mut idle = Client::connect(http).expect("a connection");
    assert!(!idle.get("/").expect("an answer").announces_close());
    for _ in 0..2 {
        until_renewed(&lab, &lab.ready());
    }
    assert!(!idle.get("/").expect("an answer on the same connection").announces_close());
    assert!(log::TOO_OLD.count(&lab.log()) >= 6);
    assert_eq!(log::RECYCLE_FAILED.count(&lab.log()), 0);
    storm.finish().assert_nobody_noticed();
    lab.stop();
}

#[test]
fn lives_of_a_moment_keep_no_reload_and_no_upgrade_from_ending() {
    let lab = Start::lab().controlled().without("workers").config("workers = 2").ready();
    let done = |what: &str| drop(hatchery(&lab, &[what, "--wait", "--timeout", "20s"]).done());
    fs::write(lab.path("lab.toml"), "workers = 2\nmax_lifetime = \"1ms\"\n").expect("a file");
    done("reload");
    lab.until("they are too old", || log::TOO_OLD.count(&lab.log()) >= 2);
    done("upgrade");
    fs::write(lab.path("lab.toml"), "workers = 2\n").expect("a file");
    done("reload");
    let then = log::RECYCLE_BEGUN.count(&lab.log());
    done("upgrade");
    assert_eq!(lab.status().generation, 3);
    assert_eq!(log::RECYCLE_BEGUN.count(&lab.log()), then, "{}", lab.log());
    lab.stop();
}

#[test]
fn the_large_are_replaced_one_at_a_time() {
    let lab = Start::lab().for_a_storm().set("max-memory", "120MiB").ready();
    let old = lab.ready();
    let storm = Storm::begin([Crowd::keep_alive(lab.address(), 8), Crowd::fresh(lab.address(), 2)]);
    // Both of them, over a connection each that tells whom it reaches.
    let mut clients: BTreeMap<i32, Client> = BTreeMap::new();
    lab.until("both are reached", || {
        let mut client = Client::connect(lab.address()).expect("a connection");
        let worker = client.get("/whoami").expect("an answer").whoami().pid;
        clients.entry(worker).or_insert(client);
        clients.len() == old.len()
    });
    for client in clients.values_mut() {
        client.ask("/leak?mb=200").expect("sent");
    }
    for client in clients.values_mut() {
        assert_eq!(client.answer().expect("an answer").status, 200);
    }
    until_renewed(&lab, &old);
    assert_eq!(log::TOO_LARGE.count(&lab.log()), 2, "{}", lab.log());
    // The second replacement is forked when the first one serves.
    let said = lab.log();
    let order: Vec<&str> = said
        .lines()
        .filter(|line| log::RECYCLE_BEGUN.is(line) || log::WORKER_READY.is(line))
        .skip(2)
        .map(|line| if log::RECYCLE_BEGUN.is(line) { "begin" } else { "ready" })
        .collect();
    assert_eq!(order, ["begin", "ready", "begin", "ready"], "{said}");
    storm.finish().assert_nobody_noticed();
    lab.stop();
}
