//! Signals to the whole process group while a successor loads: they are meant for the master that serves.

use std::fs;

use hatchery_tests::{Lab, Program, chores, log};
use nix::sys::signal::Signal;

const CHORES: &str = env!("CARGO_BIN_EXE_chores");

/// All that mean something else than an end, and would end or stop a process without handlers.
const SIGNALS: [Signal; 5] = [Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGTTIN, Signal::SIGTTOU];

/// What the kernel says of a process' blocked signals.
fn blocked(pid: i32) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("SigBlk:"));
    line.expect("every process has a mask").trim().to_owned()
}

/// The upgrade goes on and is done; what came was heard, and nobody is left with a mask.
fn is_upgraded(lab: &Lab) {
    lab.until_logged(log::UPGRADE_DONE, 1);
    // One a master, or the successor's took effect and was not refused.
    let refused = |what: log::Line| what.count(&lab.log());
    assert_eq!([log::RELOAD_REFUSED, log::MORE_REFUSED, log::FEWER_REFUSED].map(refused), [2; 3], "{}", lab.log());
    lab.until("one generation is left", || lab.masters().len() == 1);
    assert_eq!(lab.generation(), Some(2));
    for process in lab.processes().iter().filter(|it| !it.is_zombie()) {
        assert_eq!(blocked(process.pid), "0".repeat(16), "{}", process.title);
    }
}

#[test]
fn they_end_no_successor_in_its_preload() {
    let lab = chores::start(CHORES).variable("CHORES_SIDECAR", "good").ready();
    lab.install(&chores::with(CHORES, "CHORES_LOAD=load"));
    lab.signal(Signal::SIGUSR2);
    let _successor = lab.begun("load");
    SIGNALS.iter().for_each(|signal| lab.signal_all(*signal));
    lab.put("load.end");
    is_upgraded(&lab);
    assert_eq!(lab.file("masks.log"), format!("SigBlk:\t{}", "0".repeat(16)), "of what it has started");
    lab.stop();
}

#[test]
fn they_end_no_successor_before_its_main() {
    let lab = chores::start(CHORES).variable("CHORES_SIDECAR", "good").ready();
    // A shell that starts a program may empty its mask.
    let wait = "echo $$ > load.begun; while [ ! -e load.end ]; do :; done";
    lab.install(&Program::Script(format!("{wait}; exec {CHORES} \"$@\"")));
    lab.signal(Signal::SIGUSR2);
    let _successor = lab.begun("load");
    SIGNALS.iter().for_each(|signal| lab.signal_all(*signal));
    lab.put("load.end");
    is_upgraded(&lab);
    lab.stop();
}

#[test]
fn a_term_ends_one_that_loads() {
    let lab = chores::start(CHORES).ready();
    let master = lab.serving();
    lab.install(&chores::with(CHORES, "CHORES_LOAD=load"));
    lab.signal(Signal::SIGUSR2);
    let successor = lab.begun("load");
    lab.signal_to(successor, Signal::SIGTERM);
    lab.until_logged(log::UPGRADE_FAILED, 1);
    assert_eq!(lab.serving(), master);
    lab.stop();
}
