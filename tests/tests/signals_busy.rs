//! Signals to a server that boots, reloads or upgrades: one operation at a
//! time, and a stop always wins.

use hatchery_tests::client::Client;
use hatchery_tests::load::Load;
use hatchery_tests::{End, Lab, Program, Start, log};
use nix::sys::signal::Signal;

/// A server whose workers boot and boot.
fn booting() -> Lab {
    let lab = Start::lab().variable("LAB_BOOT", "hang").set("boot-timeout", "10m").spawn();
    lab.until("workers boot", || lab.workers().len() == 2);
    lab
}

/// A server whose reload takes a while, and has begun.
fn reloading(count: usize) -> Lab {
    let lab = Start::lab().set("workers", &count.to_string()).ready();
    lab.signal(Signal::SIGHUP);
    lab.until_logged(log::RELOAD_BEGUN, 1);
    lab
}

/// A server whose successor boots and boots.
fn upgrading() -> Lab {
    let lab = Start::lab().set("boot-timeout", "10m").ready();
    lab.install(&Program::lab_with("LAB_BOOT=hang"));
    lab.signal(Signal::SIGUSR2);
    lab.until("the successor's workers boot", || successor_boots(&lab));
    lab
}

fn successor_boots(lab: &Lab) -> bool {
    lab.processes().iter().any(|process| process.title.ends_with("gen 2 starting"))
}

#[test]
fn a_stop_during_boot_stops() {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT] {
        let lab = booting();
        lab.signal(signal);
        let end = lab.end_of(lab.first());
        assert!(matches!(end, End::Code(0 | 2)), "{end:?}");
        lab.assert_gone();
    }
}

#[test]
fn a_stop_before_anything_runs_stops() {
    // Somewhere between exec and the first fork: the default action, or a drain.
    let lab = Start::lab().spawn();
    lab.signal(Signal::SIGTERM);
    let end = lab.end_of(lab.first());
    assert!(matches!(end, End::Code(0 | 2) | End::Signal(15)), "{end:?}");
    lab.until("no process is left", || lab.processes().is_empty());
    assert_eq!(lab.pid_file("lab.pid"), None);
}

#[test]
fn other_signals_during_boot_do_not_keep_it_from_serving() {
    for signal in [Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGTTIN, Signal::SIGTTOU] {
        let lab = Start::lab().set("workers", "8").spawn();
        lab.until("the first worker is forked", || !lab.workers().is_empty());
        lab.signal(signal);
        lab.until("it is ready", || lab.pid_file("lab.pid").is_some() && lab.ready().len() >= 7);
        lab.until("nothing is under way", || {
            let titles: Vec<String> = lab.processes().into_iter().map(|process| process.title).collect();
            lab.masters().len() == 1
                && titles.iter().filter(|title| title.contains("worker")).all(|title| title.ends_with("ready"))
        });
        lab.stop();
    }
}

#[test]
fn any_number_of_hups_during_a_reload_are_one_more_roll_out() {
    let lab = reloading(12);
    for _ in 0..5 {
        lab.signal(Signal::SIGHUP);
    }
    lab.until_logged(log::RELOAD_DONE, 2);
    lab.until("the old workers are gone", || lab.workers().len() == 12 && lab.ready().len() == 12);
    // Were there a third one, an upgrade would have to wait for it.
    lab.upgrade();
    let log = lab.log();
    assert_eq!(log::RELOAD_BEGUN.count(&log), 2);
    assert_eq!(log::WORKER_READY.count(&log), 4 * 12, "first start, two roll-outs, and the successor's");
    lab.stop();
}

#[test]
fn usr2_during_a_reload_follows_it() {
    let lab = reloading(12);
    lab.signal(Signal::SIGUSR2);
    lab.until("the successor serves", || lab.generation() == Some(2) && lab.ready().len() == 12);
    let log = lab.log();
    assert!(log::RELOAD_DONE.position(&log) < log::UPGRADE_BEGUN.position(&log));
    lab.until("the predecessor is gone", || lab.has_ended(lab.first()));
    lab.stop();
}

#[test]
fn a_stop_during_a_reload_stops() {
    let lab = reloading(12);
    lab.stop();
}

#[test]
fn a_worker_killed_during_a_reload_does_not_stop_it() {
    let lab = reloading(12);
    let victim = *lab.ready().last().expect("a worker");
    lab.signal_to(victim, Signal::SIGKILL);
    lab.until("every worker is there", || lab.ready().len() == 12 && lab.workers().len() == 12);
    lab.until("the reload has ended", || {
        log::RELOAD_DONE.count(&lab.log()) + log::RELOAD_FAILED.count(&lab.log()) == 1
    });
    lab.stop();
}

#[test]
fn a_second_usr2_is_refused() {
    let lab = upgrading();
    for count in 1..=2 {
        lab.signal(Signal::SIGUSR2);
        lab.until_logged(log::UPGRADE_REFUSED, count);
    }
    assert_eq!(lab.masters().len(), 2);
    assert_eq!(lab.whoami().generation, 1);
}

#[test]
fn usr2_twice_at_once_is_one_upgrade() {
    let lab = Start::lab().set("upgrade-probation", "1s").ready();
    lab.signal(Signal::SIGUSR2);
    lab.signal(Signal::SIGUSR2);
    lab.until("the successor serves", || lab.generation() == Some(2));
    lab.until("the predecessor is gone", || lab.has_ended(lab.first()));
    assert_eq!(lab.generation(), Some(2));
    assert_eq!(log::UPGRADE_BEGUN.count(&lab.log()), 1);
    lab.stop();
}

#[test]
fn hup_during_an_upgrade_is_refused() {
    let lab = upgrading();
    let workers = lab.ready();
    lab.signal(Signal::SIGHUP);
    lab.until_logged(log::RELOAD_REFUSED, 1);
    assert_eq!(lab.ready(), workers);
    assert_eq!(log::RELOAD_BEGUN.count(&lab.log()), 0);
}

#[test]
fn a_stop_during_an_upgrade_stops_both() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let lab = upgrading();
        let mut open = Client::connect(lab.address()).expect("a connection");
        open.ask("/sleep?ms=200").expect("sent");
        lab.signal(signal);
        assert_eq!(open.answer().expect("what was asked before a stop is answered").status, 200);
        let end = lab.end_of(lab.first());
        assert!(matches!(end, End::Code(0 | 2)), "{end:?}");
        lab.assert_gone();
    }
}

#[test]
fn a_stop_during_the_probation_stops_both() {
    let lab = Start::lab().set("upgrade-probation", "10m").ready();
    lab.signal(Signal::SIGUSR2);
    lab.until("the successor serves", || lab.generation() == Some(2));
    lab.until_logged(log::UPGRADE_DONE, 1);
    let successor = lab.serving();
    lab.signal(Signal::SIGTERM);
    assert_eq!(lab.end_of(lab.first()), End::Code(0));
    // Its parent may have reaped it: then it is simply gone.
    lab.assert_gone();
    assert_ne!(successor, lab.first());
}

#[test]
fn term_to_a_draining_predecessor_changes_nothing() {
    let lab = Start::lab().ready();
    let mut open = Client::connect(lab.address()).expect("a connection");
    open.begin("/stream?chunks=20&ms=100").expect("the answer begins");
    lab.signal(Signal::SIGUSR2);
    lab.until_logged(log::RETIRING, 1);
    lab.signal_to(lab.first(), Signal::SIGTERM);
    lab.signal_to(lab.first(), Signal::SIGTERM);
    assert_eq!(open.answer().expect("the predecessor finishes what is open").status, 200);
    assert_eq!(lab.end_of(lab.first()), End::Code(0));
    assert_eq!(lab.generation(), Some(2));
    lab.stop();
}

#[test]
fn ctrl_c_to_the_whole_group_during_an_upgrade_stops_everything() {
    let lab = upgrading();
    let load = Load::fresh(lab.address(), 1);
    load.more(10);
    drop(load);
    lab.signal_all(Signal::SIGINT);
    let end = lab.end_of(lab.first());
    assert!(matches!(end, End::Code(0 | 2)), "{end:?}");
    lab.assert_gone();
}
