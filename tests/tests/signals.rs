//! Each signal to a server at rest, by its effect on the set of processes.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use hatchery_tests::client::{Client, Failure};
use hatchery_tests::load::Load;
use hatchery_tests::{End, Lab, Start, client, log, procfs, wait};
use nix::sys::signal::Signal;

/// Asserts that every worker answers, and that they are these.
fn assert_served_by(lab: &Lab, workers: &BTreeSet<i32>) {
    let mut seen = BTreeSet::new();
    lab.until("every worker has answered", || {
        seen.insert(lab.whoami().pid);
        seen.is_superset(workers)
    });
    assert_eq!(&seen, workers);
    assert_eq!(&lab.workers(), workers);
}

fn drains_and_stops(signal: Signal) {
    let lab = Start::lab().ready();
    let mut open = Client::connect(lab.address()).expect("a connection");
    open.ask("/sleep?ms=300").expect("sent");
    let mut begun = Client::connect(lab.address()).expect("a connection");
    begun.begin("/stream?chunks=4&ms=100").expect("the answer begins");
    lab.signal(signal);
    assert_eq!(open.answer().expect("what was asked before a stop is answered").status, 200);
    assert_eq!(begun.answer().expect("what was begun before a stop is finished").body.len(), 64);
    assert_eq!(lab.end_of(lab.first()), End::Code(0));
    lab.assert_gone();
    assert!(matches!(lab.get("/"), Err(Failure::NotConnected(_))));
    assert_eq!(log::STOP_BEGUN.count(&lab.log()), 1);
}

#[test]
fn term_drains_and_stops() {
    drains_and_stops(Signal::SIGTERM);
}

#[test]
fn quit_drains_and_stops() {
    drains_and_stops(Signal::SIGQUIT);
}

#[test]
fn int_drains_and_stops() {
    drains_and_stops(Signal::SIGINT);
}

#[test]
fn a_second_stop_stops_now() {
    for second in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT] {
        let lab = Start::lab().set("drain-timeout", "10m").ready();
        let mut open = Client::connect(lab.address()).expect("a connection");
        open.ask("/sleep?ms=600000").expect("sent");
        lab.signal(Signal::SIGTERM);
        lab.until_logged(log::STOP_BEGUN, 1);
        lab.signal(second);
        assert_eq!(lab.end_of(lab.first()), End::Code(2), "something had to be killed");
        lab.assert_gone();
        assert!(open.answer().is_err_and(|failure| failure.is_end()));
    }
}

#[test]
fn a_stop_answers_what_is_queued() {
    let lab = Start::lab().set("workers", "1").ready();
    let worker = *lab.ready().first().expect("a worker");
    lab.freeze(worker);
    let mut queued: Vec<Client> = (0..20).map(|_| Client::connect(lab.address()).expect("queued")).collect();
    for client in &mut queued {
        client.ask("/").expect("sent");
    }
    lab.signal(Signal::SIGTERM);
    lab.until_logged(log::STOP_BEGUN, 1);
    lab.thaw(worker);
    for client in &mut queued {
        assert_eq!(client.answer().expect("what is queued is answered").text(), "Hello, World!");
    }
    assert_eq!(lab.end_of(lab.first()), End::Code(0));
    lab.assert_gone();
}

#[test]
fn hup_replaces_every_worker_and_reads_the_settings_again() {
    let lab = Start::lab().without("workers").config("workers = 2\n").ready();
    lab.until("both are ready", || lab.ready().len() == 2);
    let before = lab.ready();
    fs::write(lab.path("lab.toml"), "workers = 3\n").expect("new settings");
    lab.signal(Signal::SIGHUP);
    lab.until_logged(log::RELOAD_DONE, 1);
    lab.until("three new workers", || lab.ready().is_disjoint(&before) && lab.workers().len() == 3);
    assert_eq!(lab.serving(), lab.first());
    assert_served_by(&lab, &lab.ready());

    fs::write(lab.path("lab.toml"), "workers = 1\n").expect("new settings");
    lab.signal(Signal::SIGHUP);
    lab.until("one worker", || lab.workers().len() == 1 && lab.ready().len() == 1);
    lab.stop();
}

#[test]
fn hup_with_settings_that_are_wrong_changes_nothing() {
    let lab = Start::lab().without("workers").config("workers = 2\n").ready();
    lab.until("both are ready", || lab.ready().len() == 2);
    let before = lab.ready();
    fs::write(lab.path("lab.toml"), "wrokers = 3\n").expect("new settings");
    lab.signal(Signal::SIGHUP);
    lab.until("the error is in the log", || lab.log().contains("wrokers"));
    assert_served_by(&lab, &before);
    lab.stop();
}

#[test]
fn hup_with_another_log_goes_on_there() {
    let lab = Start::lab().without("workers").config("workers = 2\n").ready();
    lab.until("both are ready", || lab.ready().len() == 2);
    let (before, path) = (lab.ready(), lab.path("server.log"));
    let reload = |settings: &str| {
        fs::write(lab.path("lab.toml"), format!("workers = 2\n{settings}")).expect("new settings");
        lab.signal(Signal::SIGHUP);
    };
    reload("log = \"/nowhere/log\"\n");
    lab.until_logged(log::RELOAD_FAILED, 1);
    assert_served_by(&lab, &before);
    reload(&format!("log = {path:?}\n"));
    let writes_to = |pid: i32| procfs::descriptors(pid).get(&2).cloned().unwrap_or_default();
    lab.until("every process writes to the file", || {
        lab.processes().iter().all(|process| writes_to(process.pid) == path.display().to_string())
    });
    let said = || fs::read_to_string(&path).unwrap_or_default();
    lab.until("the file has the news", || log::RELOAD_DONE.count(&said()) == 1);
    // What was there before is not to be had again.
    reload("");
    lab.until("it stays", || log::RELOAD_DONE.count(&said()) == 2);
    assert!(said().contains("`log` has changed: it takes effect at the next start"), "{}", said());
    lab.stop();
}

#[test]
fn usr1_opens_the_log_file_again_in_every_process() {
    let start = Start::lab();
    let path = start.path("server.log");
    let lab = start.set("log", &path.display().to_string()).spawn();
    lab.until("ready", || lab.ready().len() == 2 && lab.pid_file("lab.pid").is_some());
    let said = fs::read_to_string(&path).expect("a log file");
    assert_eq!(log::WORKER_READY.count(&said), 2, "{said}");
    let moved = lab.path("server.log.1");
    fs::rename(&path, &moved).expect("moved");
    lab.signal(Signal::SIGUSR1);
    let writes_to = |pid: i32| procfs::descriptors(pid).get(&2).cloned().unwrap_or_default();
    lab.until("every process writes to the new file", || {
        lab.processes().iter().all(|process| writes_to(process.pid) == path.display().to_string())
    });
    lab.signal(Signal::SIGHUP);
    lab.until("the new file has the news", || {
        log::RELOAD_DONE.count(&fs::read_to_string(&path).unwrap_or_default()) == 1
    });
    assert_eq!(log::RELOAD_BEGUN.count(&fs::read_to_string(&moved).expect("the old file")), 0);
    lab.stop();
}

#[test]
fn usr2_replaces_the_program() {
    let lab = Start::lab().ready();
    let before = lab.ready();
    let successor = lab.upgrade();
    assert_ne!(successor, lab.first());
    assert_eq!(lab.end_of(lab.first()), End::Code(0));
    assert_eq!(lab.generation(), Some(2));
    assert!(lab.ready().is_disjoint(&before));
    assert_served_by(&lab, &lab.ready());
    lab.stop();
}

fn rests_until(signal: Signal) {
    let lab = Start::lab().ready();
    let before = lab.ready();
    lab.signal(Signal::SIGWINCH);
    lab.until("no worker is left", || lab.workers().is_empty());
    assert_eq!(lab.processes().len(), 1, "the master stays");
    let mut waiting = Client::connect(lab.address()).expect("the queue is kept");
    waiting.ask("/").expect("sent");
    lab.signal(signal);
    assert_eq!(waiting.answer().expect("an answer after the rest").text(), "Hello, World!");
    lab.until("workers are back", || lab.ready().len() >= 2);
    assert!(lab.ready().is_disjoint(&before));
    lab.stop();
}

#[test]
fn winch_lets_the_workers_go_until_hup() {
    rests_until(Signal::SIGHUP);
}

#[test]
fn winch_lets_the_workers_go_until_ttin() {
    rests_until(Signal::SIGTTIN);
}

#[test]
fn a_server_at_rest_can_be_stopped() {
    let lab = Start::lab().ready();
    lab.signal(Signal::SIGWINCH);
    lab.until("no worker is left", || lab.workers().is_empty());
    lab.stop();
}

#[test]
fn ttin_and_ttou_add_and_take_a_worker() {
    for mode in ["shared", "reuseport"] {
        let lab = Start::lab().set("listen-mode", mode).ready();
        let load = Load::fresh(lab.address(), 2);
        let before = lab.ready();
        lab.signal(Signal::SIGTTIN);
        lab.until("a third worker", || lab.ready().len() == 3);
        assert!(lab.ready().is_superset(&before));
        for left in [2, 1] {
            lab.signal(Signal::SIGTTOU);
            lab.until("one worker less", || lab.workers().len() == left);
        }
        lab.signal(Signal::SIGTTOU);
        lab.until_logged(log::FEWER_REFUSED, 1);
        assert_eq!(lab.ready().len(), 1);
        load.more(50);
        load.finish_without_failure();
        lab.stop();
    }
}

#[test]
fn ttin_stops_at_512() {
    let lab = Start::lab().set("workers", "512").set("boot-timeout", "10m").spawn();
    // So many take their time, and looking at all of them makes it no shorter.
    let is_ready = || (log::READY.count(&lab.log()) == 1).then_some(());
    wait::within(Duration::from_secs(120), is_ready).expect("512 workers are ready");
    lab.signal(Signal::SIGTTIN);
    lab.until_logged(log::MORE_REFUSED, 1);
    assert_eq!(lab.workers().len(), 512);
    lab.stop();
}

#[test]
fn term_and_quit_to_a_worker_replace_it_without_a_gap() {
    for (mode, signal) in [("shared", Signal::SIGTERM), ("reuseport", Signal::SIGQUIT)] {
        let lab = Start::lab().set("workers", "1").set("listen-mode", mode).ready();
        let load = Load::fresh(lab.address(), 2);
        load.more(50);
        for _ in 0..3 {
            let old = lab.ready();
            lab.signal_to(*old.first().expect("a worker"), signal);
            lab.until("it is replaced", || lab.workers().is_disjoint(&old) && lab.ready().len() == 1);
        }
        load.more(50);
        load.finish_without_failure();
        assert_eq!(lab.serving(), lab.first());
        lab.stop();
    }
}

#[test]
fn other_signals_mean_nothing_to_a_worker() {
    let lab = Start::lab().ready();
    let before = lab.ready();
    for signal in [
        Signal::SIGINT,
        Signal::SIGHUP,
        Signal::SIGWINCH,
        Signal::SIGUSR1,
        Signal::SIGUSR2,
        Signal::SIGTTIN,
        Signal::SIGTTOU,
        Signal::SIGPIPE,
    ] {
        for worker in &before {
            lab.signal_to(*worker, signal);
        }
        assert_served_by(&lab, &before);
    }
    lab.stop();
}

#[test]
fn ctrl_c_to_the_whole_group_drains_once() {
    let lab = Start::lab().ready();
    let mut open = Client::connect(lab.address()).expect("a connection");
    open.ask("/sleep?ms=300").expect("sent");
    let mut begun = Client::connect(lab.address()).expect("a connection");
    begun.begin("/stream?chunks=4&ms=100").expect("the answer begins");
    lab.signal_all(Signal::SIGINT);
    assert_eq!(open.answer().expect("what was asked before a stop is answered").status, 200);
    assert_eq!(begun.answer().expect("what was begun before a stop is finished").body.len(), 64);
    assert_eq!(lab.end_of(lab.first()), End::Code(0));
    assert_eq!(log::STOP_NOW.count(&lab.log()), 0);
    lab.assert_gone();
}

#[test]
fn term_to_the_whole_group_drains_once() {
    let lab = Start::lab().ready();
    let mut open = Client::connect(lab.address()).expect("a connection");
    open.ask("/sleep?ms=300").expect("sent");
    let mut begun = Client::connect(lab.address()).expect("a connection");
    begun.begin("/stream?chunks=4&ms=100").expect("the answer begins");
    lab.signal_all(Signal::SIGTERM);
    assert_eq!(open.answer().expect("what was asked before a stop is answered").status, 200);
    assert_eq!(begun.answer().expect("what was begun before a stop is finished").body.len(), 64);
    assert_eq!(lab.end_of(lab.first()), End::Code(0));
    assert_eq!(log::STOP_NOW.count(&lab.log()), 0);
    lab.assert_gone();
}

#[test]
fn a_stop_lets_a_port_be_bound_again_at_once() {
    let lab = Start::lab().ready();
    let address = lab.address().to_owned();
    lab.stop();
    let next = Start::lab().set("bind", &address).ready();
    assert_eq!(client::get(&address, "/").expect("an answer").status, 200);
    next.stop();
}
