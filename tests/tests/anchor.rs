//! `--anchor always`: one pid for ever, which passes everything on.

use std::collections::BTreeSet;

use hatchery_tests::client::{self, Client, Failure};
use hatchery_tests::load::Load;
use hatchery_tests::procfs::{Process, Role};
use hatchery_tests::pty::Terminal;
use hatchery_tests::{End, Lab, Program, Start, log, procfs};
use nix::sys::signal::Signal;

fn anchored() -> Start {
    Start::lab().set("anchor", "always")
}

/// Sends a signal to the anchor, which is the process that was started.
fn tell(lab: &Lab, signal: Signal) {
    lab.signal_to(lab.first(), signal);
}

/// Waits until the anchor has exactly one child, and that is the serving master.
fn until_steady(lab: &Lab) {
    lab.until("the anchor has one child, the serving master", || {
        procfs::children(lab.first()) == [lab.serving()] && lab.serving() != lab.first()
    });
}

fn until_new(lab: &Lab, before: &BTreeSet<i32>) {
    lab.until("every worker is new", || {
        lab.ready().is_disjoint(before) && lab.workers().len() == before.len() && lab.ready().len() == before.len()
    });
}

#[test]
fn every_signal_is_passed_on_in_every_generation() {
    let lab = anchored().ready();
    let anchor = Process::read(lab.first()).expect("it is there");
    assert_eq!((anchor.title.as_str(), anchor.role()), ("hatchery: anchor", Role::Other));
    let mut masters = BTreeSet::new();
    for generation in 1..=3_u32 {
        until_steady(&lab);
        assert!(masters.insert(lab.serving()));
        assert_eq!(lab.generation(), Some(generation));
        let reloads = usize::try_from(generation).expect("few");

        let before = lab.ready();
        tell(&lab, Signal::SIGHUP);
        until_new(&lab, &before);
        assert_eq!(log::RELOAD_BEGUN.count(&lab.log()), reloads, "once");

        tell(&lab, Signal::SIGTTIN);
        lab.until("one more", || lab.ready().len() == 3);
        tell(&lab, Signal::SIGTTOU);
        lab.until("one less", || lab.workers().len() == 2);

        tell(&lab, Signal::SIGWINCH);
        lab.until("the workers are gone", || lab.workers().is_empty());
        tell(&lab, Signal::SIGTTIN);
        lab.until("they are back", || lab.ready().len() == 2);

        if generation < 3 {
            let old = lab.serving();
            tell(&lab, Signal::SIGUSR2);
            lab.until("the successor serves", || lab.serving() != old && lab.ready().len() == 2);
            lab.until("the predecessor is gone", || Process::read(old).is_none());
        }
    }
    tell(&lab, Signal::SIGTERM);
    assert_eq!(lab.end_of(lab.first()), End::Code(0));
    assert_eq!(log::STOP_BEGUN.count(&lab.log()), 1);
    lab.assert_gone();
}

#[test]
fn clients_do_not_notice_it() {
    let lab = anchored().ready();
    let load = Load::fresh(lab.address(), 2);
    load.more(20);
    for _ in 0..2 {
        lab.upgrade();
        load.more(20);
    }
    load.finish_without_failure();
    tell(&lab, Signal::SIGTERM);
    assert_eq!(lab.end_of(lab.first()), End::Code(0));
    lab.assert_gone();
}

#[test]
fn the_log_is_let_go_of() {
    let start = anchored();
    let path = start.path("server.log");
    let lab = start.set("log", &path.display().to_string()).spawn();
    lab.until("ready", || lab.ready().len() == 2 && lab.pid_file("lab.pid").is_some());
    std::fs::rename(&path, lab.path("server.log.1")).expect("moved");
    tell(&lab, Signal::SIGUSR1);
    let writes_to = |pid: i32| procfs::descriptors(pid).get(&2).cloned().unwrap_or_default();
    lab.until("every process writes to the new file, the anchor too", || {
        lab.processes().iter().all(|process| writes_to(process.pid) == path.display().to_string())
    });
    tell(&lab, Signal::SIGTERM);
    assert_eq!(lab.end_of(lab.first()), End::Code(0));
}

#[test]
fn it_ends_as_the_last_master_did() {
    // Something had to be killed.
    let lab = anchored().set("drain-timeout", "300ms").ready();
    let mut open = Client::connect(lab.address()).expect("a connection");
    open.begin("/stream?chunks=100000&ms=100").expect("the answer begins");
    tell(&lab, Signal::SIGTERM);
    assert_eq!(lab.end_of(lab.first()), End::Code(2));
    lab.assert_gone();
    // It did not boot.
    let ended = anchored().variable("LAB_BOOT", "fail").set("crash-limit", "2").ended();
    assert_eq!(ended.end, End::Code(3), "{}", ended.log);
    // It could not be started.
    let ended = anchored().set("pid-file", "/nowhere/pid").ended();
    assert_eq!(ended.end, End::Code(1), "{}", ended.log);
    assert_eq!(ended.log.matches("error: ").count(), 1, "{}", ended.log);
}

#[test]
fn a_killed_master_lets_workers_drain_first() {
    for upgrades in 0..=1 {
        let lab = anchored().ready();
        for _ in 0..upgrades {
            lab.upgrade();
        }
        until_steady(&lab);
        let mut open = Client::connect(lab.address()).expect("a connection");
        let worker = open.get("/whoami").expect("an answer").whoami().pid;
        open.begin("/stream?chunks=8&ms=100").expect("the answer begins");
        lab.freeze(worker);
        lab.signal_to(lab.serving(), Signal::SIGKILL);
        lab.until("the anchor waits for it", || procfs::children(lab.first()) == [worker]);
        lab.thaw(worker);
        assert_eq!(open.answer().expect("what is open is finished").body.len(), 128);
        assert_eq!(lab.end_of(lab.first()), End::Code(128 + 9));
        lab.until("no process is left", || lab.processes().is_empty());
        assert!(lab.log().lines().any(|line| line.contains("ERROR") && line.contains("was killed by SIGKILL")));
    }
}

#[test]
fn signals_follow_who_serves_when_a_successor_dies() {
    let lab = anchored().set("upgrade-probation", "10m").ready();
    let first = lab.serving();
    tell(&lab, Signal::SIGUSR2);
    lab.until_logged(log::UPGRADE_DONE, 1);
    let successor = lab.serving();
    assert_ne!(successor, first);
    // Nobody takes back before it is let go on.
    lab.freeze(first);
    lab.signal_to(successor, Signal::SIGKILL);
    lab.until("the successor is dead", || Process::read(successor).is_none_or(|process| process.is_zombie()));
    tell(&lab, Signal::SIGHUP);
    lab.until("the signal is kept", || lab.log().contains("SIGHUP is kept for the next one"));
    lab.thaw(first);
    lab.until_logged(log::TAKEN_BACK, 1);
    lab.until("the first master is the one again", || lab.serving() == first);
    lab.until_logged(log::RELOAD_DONE, 1);
    until_steady(&lab);
    assert_eq!(lab.whoami().master, first);
    tell(&lab, Signal::SIGTERM);
    assert_eq!(lab.end_of(lab.first()), End::Code(0));
    lab.assert_gone();
}

#[test]
fn a_predecessor_that_is_killed_leaves_the_anchor_to_its_successor() {
    let lab = anchored().set("upgrade-probation", "10m").ready();
    let first = lab.serving();
    tell(&lab, Signal::SIGUSR2);
    lab.until_logged(log::UPGRADE_DONE, 1);
    lab.signal_to(first, Signal::SIGKILL);
    lab.until("the successor is the anchor's child", || procfs::parent(lab.serving()) == Some(lab.first()));
    until_steady(&lab);
    assert!(!lab.has_ended(lab.first()), "somebody serves");
    assert_eq!(lab.whoami().generation, 2);
    tell(&lab, Signal::SIGTERM);
    assert_eq!(lab.end_of(lab.first()), End::Code(0), "the last one's");
    lab.assert_gone();
}

#[test]
fn a_master_that_dies_while_its_successor_boots() {
    let lab = anchored().ready();
    let first = lab.serving();
    // Slow enough to be caught in the middle.
    lab.install(&Program::lab_with("LAB_BOOT=hang"));
    tell(&lab, Signal::SIGUSR2);
    lab.until_logged(log::UPGRADE_BEGUN, 1);
    lab.until("the successor is there", || lab.masters().len() == 2);
    lab.signal_to(first, Signal::SIGKILL);
    lab.until("the successor is the anchor's child", || {
        procfs::children(lab.first()).iter().any(|child| *child != first && lab.masters().contains(child))
    });
    assert!(!lab.has_ended(lab.first()), "it may still come up");
    for child in procfs::children(lab.first()) {
        lab.signal_to(child, Signal::SIGKILL);
    }
    assert_eq!(lab.end_of(lab.first()), End::Code(128 + 9));
    lab.until("no process is left", || lab.processes().is_empty());
}

#[test]
fn without_its_anchor_a_master_stops_and_leaves_room_at_once() {
    for upgrades in 0..=1 {
        let lab = anchored().ready();
        for _ in 0..upgrades {
            lab.upgrade();
        }
        until_steady(&lab);
        let mut open = Client::connect(lab.address()).expect("a connection");
        open.begin("/stream?chunks=16&ms=100").expect("the answer begins");
        let master = lab.serving();
        lab.signal_to(lab.first(), Signal::SIGKILL);
        assert_eq!(lab.end_of(lab.first()), End::Signal(9));
        lab.until("nobody accepts", || matches!(Client::connect(lab.address()), Err(Failure::NotConnected(_))));
        // Whoever has started the anchor starts another one.
        let pid_file = lab.path("lab.pid").display().to_string();
        let next = anchored().set("bind", lab.address()).set("pid-file", &pid_file).spawn();
        lab.until("the next one serves", || {
            client::get(lab.address(), "/whoami").is_ok_and(|answer| answer.whoami().master != master)
        });
        assert_eq!(open.answer().expect("what is open is finished").body.len(), 256);
        assert_eq!(lab.end_of(master), End::Code(0));
        lab.until("no process is left", || lab.processes().is_empty());
        assert!(lab.log().contains("the anchor is gone: stopping"), "{}", lab.log());
        next.signal_to(next.first(), Signal::SIGTERM);
        assert_eq!(next.end_of(next.first()), End::Code(0));
    }
}

#[test]
fn a_signal_to_the_whole_group_counts_once() {
    for upgrades in 0..=1 {
        let lab = anchored().set("drain-timeout", "10m").ready();
        for _ in 0..upgrades {
            lab.upgrade();
        }
        until_steady(&lab);
        let before = lab.ready();
        lab.signal_all(Signal::SIGTTIN);
        lab.until("one more", || lab.ready().len() == 3 && lab.workers().len() == 3);
        lab.signal_all(Signal::SIGTTOU);
        lab.until("one less", || lab.ready() == before && lab.workers().len() == 2);
        let mut open = Client::connect(lab.address()).expect("a connection");
        open.begin("/stream?chunks=8&ms=100").expect("the answer begins");
        lab.signal_all(Signal::SIGTERM);
        assert_eq!(open.answer().expect("one stop only").body.len(), 128);
        assert_eq!(lab.end_of(lab.first()), End::Code(0));
        assert_eq!(log::STOP_NOW.count(&lab.log()), 0);
        lab.assert_gone();
    }
}

#[test]
fn while_the_first_master_boots_only_a_stop_is_for_it() {
    let lab = anchored().spawn();
    let mut master = None;
    lab.until("the master is there", || {
        master = procfs::children(lab.first()).first().copied();
        master.is_some()
    });
    let master = master.expect("found");
    // Most likely before it listens to any signal.
    lab.freeze(master);
    tell(&lab, Signal::SIGHUP);
    lab.until("the anchor has it", || !procfs::has_pending(lab.first(), Signal::SIGHUP));
    lab.thaw(master);
    lab.until_logged(log::RELOAD_DONE, 1);
    assert_eq!(lab.serving(), master);
    tell(&lab, Signal::SIGTERM);
    assert_eq!(lab.end_of(lab.first()), End::Code(0));

    // A stop is passed on at once, also to one that will never be ready.
    let lab = anchored().variable("LAB_BOOT", "hang").set("boot-timeout", "10m").spawn();
    lab.until("its workers boot", || procfs::children(lab.first()).iter().any(|it| !procfs::children(*it).is_empty()));
    tell(&lab, Signal::SIGTERM);
    assert_eq!(lab.end_of(lab.first()), End::Code(0));
}

#[test]
fn twice_is_twice() {
    let lab = anchored().set("drain-timeout", "10m").ready();
    let mut open = Client::connect(lab.address()).expect("a connection");
    open.begin("/stream?chunks=100000&ms=100").expect("the answer begins");
    tell(&lab, Signal::SIGTERM);
    lab.until_logged(log::STOP_BEGUN, 1);
    // What comes in the same moment is the same stop.
    lab.until("the second one has come", || {
        tell(&lab, Signal::SIGTERM);
        log::STOP_NOW.count(&lab.log()) > 0
    });
    assert_eq!(lab.end_of(lab.first()), End::Code(2));
    lab.assert_gone();
}

#[test]
fn ctrl_c_counts_once_and_twice_is_twice() {
    let mut terminal = Terminal::open();
    let lab = anchored().terminal(&terminal).ready();
    let mut open = Client::connect(lab.address()).expect("a connection");
    open.begin("/stream?chunks=5&ms=100").expect("the answer begins");
    terminal.resize(100, 40);
    terminal.interrupt();
    assert_eq!(open.answer().expect("what is open is finished").body.len(), 80);
    assert_eq!(lab.end_of(lab.first()), End::Code(0));
    assert_eq!(log::STOP_NOW.count(&lab.log()) + log::RESTING.count(&lab.log()), 0);
    lab.assert_gone();

    let mut terminal = Terminal::open();
    let lab = anchored().set("drain-timeout", "10m").terminal(&terminal).ready();
    let mut open = Client::connect(lab.address()).expect("a connection");
    open.begin("/stream?chunks=100000&ms=100").expect("the answer begins");
    terminal.interrupt();
    lab.until_logged(log::STOP_BEGUN, 1);
    terminal.interrupt();
    assert_eq!(lab.end_of(lab.first()), End::Code(2));
    lab.assert_gone();
}

#[test]
fn a_terminal_that_is_gone_is_one_stop() {
    let terminal = Terminal::open();
    let lab = anchored().terminal(&terminal).ready();
    let mut open = Client::connect(lab.address()).expect("a connection");
    open.begin("/stream?chunks=5&ms=100").expect("the answer begins");
    drop(terminal);
    assert_eq!(open.answer().expect("what is open is finished").body.len(), 80);
    assert_eq!(lab.end_of(lab.first()), End::Code(0));
    assert_eq!(log::STOP_NOW.count(&lab.log()) + log::RELOAD_BEGUN.count(&lab.log()), 0);
    lab.assert_gone();
}

#[test]
fn under_nohup_a_terminal_that_is_gone_means_nothing() {
    let terminal = Terminal::open();
    let under_nohup = Terminal::LAUNCHER.into_iter().chain(["nohup"]);
    let lab = anchored().terminal(&terminal).launcher(under_nohup).ready();
    drop(terminal);
    lab.until("the terminal is gone", || !procfs::has_terminal(lab.first()));
    lab.until("the hang-up has come", || !procfs::has_pending(lab.first(), Signal::SIGHUP));
    let before = lab.ready();
    tell(&lab, Signal::SIGHUP);
    until_new(&lab, &before);
    assert_eq!(log::STOP_BEGUN.count(&lab.log()), 0);
    tell(&lab, Signal::SIGTERM);
    assert_eq!(lab.end_of(lab.first()), End::Code(0));
}

#[test]
fn on_demand_it_stays_the_same_line() {
    let start = anchored().argument("--on-demand").set("idle-timeout", "300ms");
    let (start, address) = start.unix();
    let lab = start.spawn();
    let waits =
        |times: usize| lab.until("it waits", || lab.log().matches("waiting for the first conn").count() == times);
    waits(1);
    for times in 2..=3 {
        assert_eq!(client::get(&address, "/").expect("an answer").status, 200);
        waits(times);
        assert!(procfs::children(lab.serving()).is_empty(), "it has let everything go");
        assert_eq!(procfs::children(lab.first()), [lab.serving()]);
    }
    tell(&lab, Signal::SIGTERM);
    assert_eq!(lab.end_of(lab.first()), End::Code(0));
    lab.assert_gone();
}

#[test]
fn an_anchor_asked_for_by_nobody_is_not_there() {
    let lab = Start::lab().ready();
    assert_eq!(lab.serving(), lab.first());
    lab.stop();
}
