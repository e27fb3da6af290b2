//! Servers that hold nothing but their sockets until somebody comes.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use hatchery_tests::client::Client;
use hatchery_tests::procfs::{self, Process};
use hatchery_tests::{End, Lab, Start, chores, client, log, wait};
use nix::sys::signal::Signal;

fn dormant(start: Start) -> Lab {
    let mut lab = start.set("on-demand", "on").spawn();
    lab.wait_until_dormant();
    lab
}

/// Nothing is loaded, and nobody is there but the master.
fn assert_dormant(lab: &Lab) {
    lab.until("nobody but the master is left", || lab.processes().len() == 1);
    assert!(Process::read(lab.first()).expect("it lives").title.contains("on demand"));
}

fn until_dormant(lab: &Lab, times: usize) {
    lab.until_logged(log::DORMANT, times);
    assert_dormant(lab);
}

#[test]
fn the_first_connection_brings_it_up_and_quiet_lets_it_go() {
    for mode in ["shared", "reuseport"] {
        let lab = dormant(Start::lab().set("listen-mode", mode).set("idle-timeout", "1s"));
        let held = procfs::descriptors(lab.first()).len();
        for round in 1..=3 {
            until_dormant(&lab, round);
            assert_eq!(lab.pid_file("lab.pid"), Some(lab.first()), "the pid file is there all the time");
            let mut clients: Vec<Client> = (0..5).map(|_| Client::connect(lab.address()).expect("connected")).collect();
            for client in &mut clients {
                let whoami = client.get("/whoami").expect("an answer").whoami();
                assert_eq!((whoami.master, whoami.generation), (lab.first(), 1));
            }
            lab.until("all of it is there", || lab.ready().len() == 2);
            // A connection that does nothing keeps it up.
            let gone = wait::within(Duration::from_secs(2), || (lab.ready().len() < 2).then_some(()));
            assert_eq!(gone, None, "{}", lab.log());
        }
        until_dormant(&lab, 4);
        let now = procfs::descriptors(lab.first());
        assert!(now.len() <= held + 3, "{held} descriptors at first, now {now:?}");
        lab.stop();
    }
}

#[test]
fn a_stop_before_anybody_has_come() {
    let lab = dormant(Start::lab());
    assert_dormant(&lab);
    lab.signal(Signal::SIGTERM);
    assert_eq!(lab.end_of(lab.first()), End::Code(0));
    assert_eq!(lab.pid_file("lab.pid"), None);
    assert!(Client::connect(lab.address()).is_err());
}

#[test]
fn a_second_start_with_its_pid_file_is_refused() {
    let lab = dormant(Start::lab());
    let path = lab.path("lab.pid").display().to_string();
    Start::lab().set("pid-file", &path).ended().assert_one_line(1, &["held by a running master"]);
    assert_eq!(lab.whoami().master, lab.first());
    lab.stop();
}

#[test]
fn an_upgrade_wakes_it_and_the_new_one_sleeps_as_well() {
    let lab = dormant(Start::lab().set("idle-timeout", "1s"));
    lab.signal(Signal::SIGUSR2);
    lab.until_logged(log::UPGRADE_DONE, 1);
    lab.until("the old one is gone", || lab.has_ended(lab.first()));
    lab.until_logged(log::DOZING, 1);
    lab.until_logged(log::DORMANT, 2);
    lab.until("nobody but the master is left", || lab.processes().len() == 1);
    let whoami = lab.whoami();
    assert_eq!((whoami.generation, whoami.master), (2, lab.serving()));
    lab.stop();
}

/// Between two images, and while one loads, signals have to wait for somebody who takes them.
#[test]
fn no_signal_meets_it_between_two_lives() {
    let lab = dormant(Start::lab().set("idle-timeout", "100ms").set("workers", "1"));
    for round in 1..=3 {
        assert_eq!(lab.whoami().master, lab.first());
        lab.until("it sleeps again", || {
            // An operator's scripts, and a rotation of the logs, at their worst.
            lab.signal(Signal::SIGUSR1);
            lab.signal(Signal::SIGTTOU);
            log::DORMANT.count(&lab.log()) > round || lab.has_ended(lab.first())
        });
        assert!(!lab.has_ended(lab.first()), "{}", lab.log());
    }
    lab.stop();
}

#[test]
fn settings_that_have_become_wrong_do_not_end_it() {
    let lab = dormant(Start::lab().config("workers = 1\n").without("workers").set("idle-timeout", "500ms"));
    assert_eq!(lab.whoami().generation, 1);
    fs::write(lab.path("lab.toml"), "wrokers = 1\n").expect("written");
    // It stays loaded, and waits all the same.
    lab.until("it waits in its place", || lab.log().contains("stays loaded until the next connection"));
    lab.until("the worker is gone", || lab.workers().is_empty());
    assert_eq!(lab.whoami().master, lab.first());
    fs::write(lab.path("lab.toml"), "workers = 1\n").expect("written");
    lab.until_logged(log::DORMANT, 3);
    assert_eq!(lab.whoami().master, lab.first());
    lab.stop();
}

#[test]
fn a_folder_that_is_gone_does_not_end_it() {
    let start = Start::lab().set("idle-timeout", "500ms");
    let folder = start.path("run");
    fs::create_dir(&folder).expect("a folder");
    let lab = dormant(start.working_folder(&folder));
    assert_eq!(lab.whoami().generation, 1);
    fs::rename(&folder, lab.path("gone")).expect("renamed");
    lab.until("it waits in its place", || lab.log().contains("stays loaded until the next connection"));
    assert_eq!(lab.whoami().master, lab.first());
    lab.stop();
}

#[test]
fn what_waits_for_an_upgrade_waits_while_it_sleeps_too() {
    let start = Start::lab().without("bind").without("workers").set("idle-timeout", "500ms");
    let lab = dormant(start.config("workers = 1\nbind = '127.0.0.1:0'\n"));
    assert_eq!(lab.whoami().generation, 1);
    fs::write(lab.path("lab.toml"), "workers = 1\nbind = '127.0.0.1:0'\nlog_format = 'json'\n").expect("written");
    lab.signal(Signal::SIGHUP);
    lab.until_logged(log::RELOAD_DONE, 1);
    lab.until("it waits in its place", || lab.log().contains("`log-format` has changed, which takes effect at"));
    assert_eq!(lab.whoami().master, lab.first());
    lab.stop();
}

#[test]
fn other_addresses_wait_for_a_reload() {
    let start = Start::lab().without("bind").set("idle-timeout", "500ms");
    let lab = dormant(start.config("bind = '127.0.0.1:0'\n"));
    fs::write(lab.path("lab.toml"), "bind = ['127.0.0.1:0', '127.0.0.1:0']\n").expect("written");
    assert_eq!(lab.whoami().generation, 1);
    lab.until("it waits in its place", || lab.log().contains("`bind` has changed, which takes effect at a reload"));
    lab.signal(Signal::SIGHUP);
    lab.until_logged(log::RELOAD_DONE, 1);
    let addresses: BTreeSet<_> = log::listening(&lab.log()).into_iter().collect();
    assert_eq!(addresses.len(), 2, "{}", lab.log());
    for address in addresses {
        assert_eq!(client::get(&address.to_string(), "/").expect("an answer").status, 200);
    }
    lab.stop();
}

const CHORES: &str = env!("CARGO_BIN_EXE_chores");

#[test]
fn a_wake_that_fails_is_tried_again_and_whoever_waits_is_answered() {
    let start = chores::start(CHORES).set("idle-timeout", "500ms");
    let needed = start.path("needed");
    fs::write(&needed, "").expect("written");
    let lab = dormant(start.variable("CHORES_NEEDS", &needed.display().to_string()));
    assert!(!lab.output("/").is_empty());
    lab.until_logged(log::DORMANT, 2);
    fs::remove_file(&needed).expect("removed");
    let mut client = lab.asked("/");
    lab.until("it was tried twice", || lab.log().matches("whoever waits goes on waiting").count() >= 2);
    fs::write(&needed, "").expect("written");
    assert_eq!(client.answer().expect("an answer").status, 200);
    assert_eq!(lab.pid_file("lab.pid"), Some(lab.first()));
    lab.stop();
}

#[test]
fn whoever_comes_while_it_falls_asleep_does_not_wait_for_that() {
    let start = chores::start(CHORES).set("idle-timeout", "500ms").set("drain-timeout", "60s");
    let lab = dormant(start.variable("CHORES_SIDECAR", "stubborn"));
    assert!(!lab.output("/").is_empty());
    lab.until_logged(log::DOZING, 1);
    // Its sidecar would hold it up for a minute.
    lab.until("the sidecar drains", || lab.lines_of("beat.log").iter().any(|line| line.starts_with("drains")));
    let mut client = lab.asked("/");
    client.wait_at_most(Duration::from_secs(30));
    assert_eq!(client.answer().expect("an answer").status, 200);
    lab.signal(Signal::SIGTERM);
    lab.signal(Signal::SIGTERM);
}

#[test]
fn it_does_not_sleep_while_there_are_jobs() {
    let lab = dormant(chores::start(CHORES).set("idle-timeout", "500ms"));
    assert_eq!(lab.output("/detach?wait+it"), "accepted");
    lab.until("it is being done", || lab.path("it.begun").exists());
    let slept = wait::within(Duration::from_secs(3), || (log::DOZING.count(&lab.log()) > 0).then_some(()));
    assert_eq!(slept, None, "{}", lab.log());
    fs::write(lab.path("it.end"), "").expect("written");
    lab.until_logged(log::DORMANT, 2);
    assert!(lab.path("it.ended").exists());
    lab.stop();
}

#[test]
fn an_application_that_does_not_boot_is_said_with_its_code() {
    let mut lab = Start::lab().set("on-demand", "on").variable("LAB_BOOT", "fail").spawn();
    lab.wait_until_dormant();
    assert!(lab.get("/").is_err());
    assert_eq!(lab.end_of(lab.first()), End::Code(3));
    assert_eq!(lab.pid_file("lab.pid"), None);
}
