//! Sidecars: supervised as workers are, and with nothing to accept from.

use std::collections::BTreeSet;

use hatchery_tests::chores::good;
use hatchery_tests::client::Client;
use hatchery_tests::{End, Lab, Start, chores, log, procfs};
use nix::sys::signal::Signal;

const CHORES: &str = env!("CARGO_BIN_EXE_chores");

fn start(behaviour: &str) -> Start {
    chores::start(CHORES).variable("CHORES_SIDECAR", behaviour)
}

/// Who has said so, in order.
fn said(lab: &Lab, what: &str) -> Vec<i32> {
    let pid = |line: &String| line.strip_prefix(what)?.split_whitespace().next()?.parse().ok();
    lab.lines_of("beat.log").iter().filter_map(pid).collect()
}

/// Where in what they have said the first such line is.
fn position(lab: &Lab, line: &str) -> usize {
    let lines = lab.lines_of("beat.log");
    lines.iter().position(|it| it.starts_with(line)).unwrap_or_else(|| panic!("no `{line}` in {lines:?}"))
}

#[test]
fn it_boots_with_the_server_and_drains_with_it() {
    let lab = start("good").ready();
    let sidecar = lab.one_titled("hatchery: sidecar beat gen 1 ready");
    assert_eq!(said(&lab, "begun"), [sidecar]);
    assert_eq!(procfs::Process::read(sidecar).expect("it runs").parent, lab.serving());
    assert!(lab.log().contains(&format!("sidecar `beat` (pid {sidecar}) is ready")), "{}", lab.log());
    let master = lab.serving();
    lab.signal(Signal::SIGTERM);
    assert_eq!(lab.end_of(master), End::Code(0));
    assert_eq!(said(&lab, "drains"), [sidecar]);
    lab.assert_gone();
}

#[test]
fn it_orders_jobs_and_has_what_is_kept_and_nothing_to_accept_from() {
    let lab = start("busy").variable("CHORES_KEEP", "udp").ready();
    let kept = lab.output("/kept");
    lab.until("it has done both", || lab.lines_of("beat.log").len() == 3);
    let lines = lab.lines_of("beat.log");
    assert!(lines[1].starts_with("from a job ") && lines[2].starts_with(&kept), "{lines:?}");
    let open = |pid: i32| -> BTreeSet<String> { procfs::descriptors(pid).into_values().collect() };
    let sidecar = open(lab.one_titled("hatchery: sidecar beat"));
    let worker = lab.ready().into_iter().next().expect("a worker");
    let both: Vec<_> =
        open(lab.serving()).intersection(&open(worker)).filter(|it| !sidecar.contains(*it)).cloned().collect();
    assert!(both.iter().any(|it| it.starts_with("socket:")), "the listener is the worker's alone");
    lab.stop();
}

#[test]
fn one_that_dies_is_started_again_and_no_worker_notices() {
    let lab = start("good").ready();
    let (first, workers) = (lab.one_titled("hatchery: sidecar beat"), lab.ready());
    lab.signal_to(first, Signal::SIGKILL);
    lab.until("there is another one", || said(&lab, "begun").len() == 2);
    assert_ne!(lab.one_titled("hatchery: sidecar beat gen 1 ready"), first);
    assert_eq!(lab.ready(), workers);
    lab.stop();
}

#[test]
fn a_term_replaces_it_the_new_one_first() {
    let lab = start("good").ready();
    let first = lab.one_titled("hatchery: sidecar beat");
    lab.signal_to(first, Signal::SIGTERM);
    lab.until("the first one has drained", || said(&lab, "drains") == [first]);
    assert_eq!(said(&lab, "begun").len(), 2);
    assert!(position(&lab, "drains") > 1, "the new one has come before the old one went");
    lab.until_gone(first);
    lab.stop();
}

#[test]
fn a_reload_and_an_upgrade_replace_it() {
    let lab = start("good").ready();
    let first = lab.one_titled("hatchery: sidecar beat");
    lab.signal(Signal::SIGHUP);
    lab.until_logged(log::RELOAD_DONE, 1);
    lab.until_gone(first);
    let second = lab.one_titled("hatchery: sidecar beat gen 1 ready");
    lab.upgrade();
    lab.until_gone(second);
    let third = lab.one_titled("hatchery: sidecar beat gen 2 ready");
    assert_eq!(said(&lab, "begun"), [first, second, third]);
    assert_eq!(said(&lab, "drains"), [first, second]);
    lab.stop();
}

/// A request that is not answered before the file `last.end` is there, and tells the sidecar of itself then.
struct LastRequest {
    lab: Lab,
    sidecar: i32,
    master: i32,
    last: Client,
}

impl LastRequest {
    fn begin() -> Self {
        let lab = start("notes").ready();
        let (sidecar, master) = (lab.one_titled("hatchery: sidecar beat"), lab.serving());
        let last = lab.asked("/tell?last");
        let _worker = lab.begun("last");
        Self { lab, sidecar, master, last }
    }
}

#[test]
fn at_a_stop_what_the_last_request_sends_it_is_not_lost() {
    let LastRequest { lab, sidecar, master, mut last } = LastRequest::begin();
    lab.signal(Signal::SIGTERM);
    lab.until_logged(log::STOP_BEGUN, 1);
    lab.put("last.end");
    assert_eq!(good(&last.answer().expect("an answer")), "told");
    assert_eq!(lab.end_of(master), End::Code(0));
    assert_eq!(said(&lab, "note last by"), [sidecar]);
    assert!(position(&lab, "told last") < position(&lab, "drains"));
    lab.assert_gone();
}

#[test]
fn one_that_dies_while_the_last_request_is_answered_is_replaced() {
    let LastRequest { lab, sidecar, master, mut last } = LastRequest::begin();
    lab.signal(Signal::SIGTERM);
    lab.until_logged(log::STOP_BEGUN, 1);
    lab.signal_to(sidecar, Signal::SIGKILL);
    lab.until_gone(sidecar);
    let another = lab.one_titled("hatchery: sidecar beat gen 1 ready");
    lab.put("last.end");
    assert_eq!(good(&last.answer().expect("an answer")), "told");
    assert_eq!(lab.end_of(master), End::Code(0));
    assert_eq!(said(&lab, "note last by"), [another]);
    lab.assert_gone();
}

#[test]
fn in_a_generation_that_leaves_it_goes_after_the_last_worker() {
    let LastRequest { lab, sidecar, master, mut last } = LastRequest::begin();
    lab.signal(Signal::SIGUSR2);
    lab.until_logged(log::RETIRING, 1);
    assert!(said(&lab, "drains").is_empty(), "its worker has not answered yet");
    lab.put("last.end");
    assert_eq!(good(&last.answer().expect("an answer")), "told");
    lab.until_gone(sidecar);
    assert_eq!(lab.end_of(master), End::Code(0));
    assert_eq!(said(&lab, "note last by").len(), 1, "by the one or the other");
    assert_eq!(said(&lab, "drains"), [sidecar]);
    assert!(position(&lab, "told last") < position(&lab, "drains"));
    lab.stop();
}

#[test]
fn one_that_does_not_boot_fails_the_boot() {
    for (behaviour, reason) in [("crash", "signal 6"), ("fail", "told to fail")] {
        let ended = start(behaviour).set("crash-limit", "2").ended();
        assert_eq!(ended.end, End::Code(3), "{behaviour}: {}", ended.log);
        assert!(ended.log.contains("sidecar `beat`") && ended.log.contains(reason), "{behaviour}: {}", ended.log);
    }
}

#[test]
fn one_that_does_not_stay_is_started_again_ever_slower() {
    let lab = start("return").set("crash-limit", "2").ready();
    let workers = lab.ready();
    let returned = || lab.log().matches("sidecar `beat` (pid ").count() / 2;
    lab.until("it has come and gone five times", || returned() >= 5);
    assert_eq!(lab.ready(), workers, "which is nobody else's trouble");
    // 100, 200, 400 and 800 ms later than the one before.
    let log = lab.log();
    let seconds = |line: &str| {
        let time = line.split('T').nth(1)?.split('Z').next()?.rsplit(':').next()?.parse::<f64>().ok()?;
        line.contains("sidecar `beat` (pid ").then_some(time).filter(|_| line.contains("is ready"))
    };
    let times: Vec<f64> = log.lines().filter_map(seconds).collect();
    let waits: Vec<f64> = times.windows(2).map(|pair| (pair[1] - pair[0]).rem_euclid(60.0)).collect();
    for (wait, least) in waits.iter().zip([0.1, 0.2, 0.4, 0.8]) {
        assert!(*wait >= least, "{waits:?}");
    }
    lab.stop();
}

#[test]
fn a_stop_waits_for_none_that_comes_and_goes() {
    for behaviour in ["return", "panic", "abort"] {
        // Longer than a test waits for anything.
        let lab = start(behaviour).set("drain-timeout", "10m").ready();
        let master = lab.serving();
        lab.until("it has come and gone three times", || said(&lab, "begun").len() >= 4);
        lab.signal(Signal::SIGTERM);
        let end = lab.end_of(master);
        // One that was told to go may have died of its own fault first.
        assert_eq!(end, End::Code(0), "{behaviour}: {}", lab.log());
        lab.assert_gone();
    }
}

#[test]
fn one_that_is_never_ready_is_killed_at_the_boot_timeout() {
    let ended = start("hang").set("boot-timeout", "300ms").set("crash-limit", "1").ended();
    assert_eq!(ended.end, End::Code(3), "{}", ended.log);
    assert!(log::BOOT_TIMEOUT.count(&ended.log) >= 1, "{}", ended.log);
}

#[test]
fn a_new_program_whose_sidecar_fails_does_not_take_over() {
    let lab = start("good").ready();
    let (first, master) = (lab.one_titled("hatchery: sidecar beat"), lab.serving());
    lab.install(&chores::with(CHORES, "CHORES_SIDECAR=fail"));
    lab.signal(Signal::SIGUSR2);
    lab.until_logged(log::UPGRADE_FAILED, 1);
    assert_eq!(lab.serving(), master);
    assert_eq!(lab.one_titled("hatchery: sidecar beat gen 1 ready"), first);
    lab.stop();
}

#[test]
fn one_that_does_not_go_is_killed_at_the_drain_timeout() {
    let lab = start("stubborn").set("drain-timeout", "500ms").ready();
    let master = lab.serving();
    lab.signal(Signal::SIGTERM);
    assert_eq!(lab.end_of(master), End::Code(2));
    assert_eq!(said(&lab, "drains").len(), 1);
    lab.assert_gone();
}

#[test]
fn one_whose_loop_stands_still_is_replaced() {
    let lab = start("spin").set("heartbeat-timeout", "500ms").ready();
    let workers = lab.ready();
    lab.until("another one has come", || said(&lab, "begun").len() >= 2);
    assert_eq!(lab.ready(), workers);
    let master = lab.serving();
    lab.signal(Signal::SIGTERM);
    lab.signal(Signal::SIGTERM);
    let _code = lab.end_of(master);
}

#[test]
fn it_drains_when_the_master_dies() {
    let lab = start("good").ready();
    let sidecar = lab.one_titled("hatchery: sidecar beat");
    lab.signal(Signal::SIGKILL);
    lab.until("it drains", || said(&lab, "drains") == [sidecar]);
    lab.until("no process is left", || lab.processes().is_empty());
}
