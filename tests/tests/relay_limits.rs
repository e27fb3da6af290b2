//! When there is no room for connections that move: in the relay, in flight, or where they come to.

use std::fs;
use std::time::{Duration, Instant};

use hatchery_tests::eve::{Eve, MANY, Waiting, fate, idle};
use hatchery_tests::{Start, log, procfs};
use nix::sys::signal::Signal;

#[test]
fn who_finds_no_room_until_the_drain_ends_closes_politely() {
    let mut eve = Eve::heavy(Start::lab().set("drain-timeout", "8s"), MANY, 100);
    eve.lab.freeze(eve.reader);
    let began = Instant::now();
    eve.let_them_move();
    eve.wait_until_gone(eve.sender);
    let waited = began.elapsed();
    assert!(waited > Duration::from_secs(3), "it has not waited for room: {waited:?}");
    assert_eq!(log::DRAIN_TIMEOUT.count(&eve.lab.log()), 0, "it was not killed");
    eve.lab.thaw(eve.reader);
    let fate = fate(&mut eve.waiting);
    assert!(fate.reset == 0 && fate.closed > 0 && fate.answered > 0, "{fate:?}");
    eve.stop();
}

#[test]
fn more_than_may_be_in_flight_go_one_after_the_other() {
    // What is in flight is counted for the user, against the limit of open files, unless the user may do anything.
    let weakly = "ulimit -n 1500; exec setpriv --bounding-set=-sys_admin,-sys_resource -- \"$@\"";
    let start = Start::lab().for_a_storm().set("upgrade-probation", "10m").launcher(["sh", "-c", weakly, "sh"]);
    let lab = start.set("max-connections", "1200").ready();
    let mut waiting = idle(lab.address(), 2000);
    lab.signal(Signal::SIGUSR2);
    lab.until_logged(log::UPGRADE_DONE, 1);
    lab.until("the successor's workers are ready", || lab.ready().len() == 2);
    let readers = lab.ready();
    readers.iter().for_each(|reader| lab.freeze(*reader));
    lab.signal_to(lab.first(), Signal::SIGWINCH);
    let old = || lab.workers_of(lab.first(), |_| true);
    let (mut left, mut since) = (usize::MAX, Instant::now());
    lab.until("no more may be in flight", || {
        let now = old().iter().map(|pid| procfs::descriptors(*pid).len()).sum();
        if now != left {
            (left, since) = (now, Instant::now());
        }
        since.elapsed() > Duration::from_millis(300)
    });
    assert!((300..2000).contains(&left), "{left} are left");
    readers.iter().for_each(|reader| lab.thaw(*reader));
    let fate = fate(&mut waiting);
    assert_eq!(fate.answered, 2000, "{fate:?}");
    lab.until("the old workers are gone", || old().is_empty());
    lab.signal(Signal::SIGTERM);
    lab.assert_gone();
}

#[test]
fn who_finds_the_next_process_full_waits_or_is_closed_politely() {
    let start = Start::lab().for_a_storm().without("workers").config("workers = 3\n").set("drain-timeout", "4s");
    let lab = start.set("max-connections", "60").ready();
    lab.until("three are ready", || lab.ready().len() == 3);
    let mut waiting = idle(lab.address(), 150);
    fs::write(lab.path("lab.toml"), "workers = 1\n").expect("other settings");
    lab.signal(Signal::SIGUSR2);
    lab.until("the predecessor is gone", || lab.has_ended(lab.first()));
    assert_eq!(log::DRAIN_TIMEOUT.count(&lab.log()), 0);
    waiting.retain_mut(|one| !one.client.is_closed().expect("nobody is reset"));
    assert!(waiting.len() >= 60, "{}", waiting.len());
    let worker = *lab.ready().first().expect("a worker");
    let sockets = procfs::descriptors(worker).into_values().filter(|file| file.starts_with("socket:")).count();
    assert!(sockets < 80, "it has taken in more than 60: {sockets}");
    // Whoever is answered makes room for one that waits.
    waiting.iter_mut().for_each(|one| one.client.ask("/whoami").expect("sent"));
    lab.until("everybody is answered", || {
        waiting.retain_mut(|Waiting { client, .. }| {
            let nothing_yet = !client.is_closed().expect("nobody is closed") && !client.has_something();
            if !nothing_yet {
                assert_eq!(client.answer().expect("an answer").whoami().generation, 2);
            }
            nothing_yet
        });
        waiting.is_empty()
    });
    lab.stop();
}
