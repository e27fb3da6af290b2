//! Descriptors that the program keeps: made once, and there in every generation.

use std::net::UdpSocket;

use hatchery_tests::{Lab, Start, chores, log, procfs};
use nix::sys::signal::Signal;

const CHORES: &str = env!("CARGO_BIN_EXE_chores");

fn start() -> Start {
    chores::start(CHORES).variable("CHORES_KEEP", "udp")
}

fn made(lab: &Lab) -> usize {
    lab.lines_of("made.log").len()
}

/// Whether nobody has the socket open: its port is free.
fn is_free(address: &str) -> bool {
    UdpSocket::bind(address).is_ok()
}

#[test]
fn it_is_made_once_and_survives_upgrades_good_and_bad() {
    let lab = start().ready();
    let address = lab.output("/kept");
    assert!(!is_free(&address));
    assert_eq!(lab.output("/run?kept"), address, "jobs have it");
    assert_eq!(lab.output("/run?preloaded"), address, "and so has what is loaded before them");
    for _ in 0..2 {
        lab.upgrade();
        assert_eq!(lab.output("/kept"), address);
    }
    let master = lab.serving();
    lab.install(&chores::with(CHORES, "CHORES_SIDECAR=fail"));
    lab.signal(Signal::SIGUSR2);
    lab.until_logged(log::UPGRADE_FAILED, 1);
    assert_eq!((lab.serving(), lab.output("/kept")), (master, address.clone()));
    lab.until("the failed one is gone", || lab.masters().len() == 1);
    lab.install(&hatchery_tests::Program::Link(CHORES.into()));
    lab.upgrade();
    assert_eq!((lab.output("/kept"), lab.generation()), (address.clone(), Some(4)));
    assert_eq!(lab.output("/run?kept"), address);
    assert_eq!(made(&lab), 1);
    lab.stop();
    assert!(is_free(&address));
}

#[test]
fn a_successor_that_is_taken_back_has_taken_nothing_away() {
    let lab = start().set("upgrade-probation", "15s").ready();
    let (address, master) = (lab.output("/kept"), lab.serving());
    lab.signal(Signal::SIGUSR2);
    lab.until_logged(log::UPGRADE_DONE, 1);
    assert_eq!(lab.output("/kept"), address);
    lab.signal_to(lab.serving(), Signal::SIGKILL);
    lab.until_logged(log::TAKEN_BACK, 1);
    lab.until("the predecessor serves", || lab.serving() == master && lab.ready().len() == 2);
    assert_eq!((lab.output("/kept"), made(&lab)), (address, 1));
    lab.stop();
}

#[test]
fn what_a_new_program_does_not_keep_is_closed_there() {
    let lab = start().ready();
    let address = lab.output("/kept");
    let old = lab.serving();
    lab.install(&chores::with(CHORES, "CHORES_KEEP=other"));
    lab.upgrade();
    assert!(lab.log().contains("`udp` is not kept any more"), "{}", lab.log());
    assert_eq!(lab.output("/kept"), "nothing is kept as `udp`: expected one of `other`");
    assert_eq!(made(&lab), 2, "the other one was made");
    lab.until_gone(old);
    assert!(is_free(&address), "nobody has it open");
    assert!(procfs::descriptors(lab.serving()).len() < 64);
    lab.stop();
}

#[test]
fn on_demand_it_is_there_before_anything_is_loaded_and_stays() {
    let mut lab = start().set("on-demand", "on").set("idle-timeout", "500ms").spawn();
    lab.wait_until_dormant();
    assert_eq!(made(&lab), 1);
    let address = lab.output("/kept");
    for round in 1..=2 {
        lab.until_logged(log::DORMANT, round + 1);
        lab.until("nobody but the master is left", || lab.processes().len() == 1);
        assert!(!is_free(&address));
        assert_eq!(lab.output("/kept"), address);
        assert_eq!(lab.output("/run?kept"), address, "there are jobs again");
    }
    assert_eq!(made(&lab), 1);
    lab.stop();
}

#[test]
fn one_that_cannot_be_made_is_said_in_one_line() {
    let ended = start().variable("CHORES_KEEP", "broken").ended();
    ended.assert_one_line(1, &["keep \"broken\"", "cannot be made", "told to fail"]);
    let ended = start().variable("CHORES_KEEP", "a b").ended();
    ended.assert_one_line(1, &["keep \"a b\"", "a name has 1 to 64 letters"]);
}
