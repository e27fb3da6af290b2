//! Upgrades to programs that are no good: the old one serves on, says why, and
//! the next upgrade is as if nothing had been.

use std::time::Duration;

use hatchery_tests::load::Load;
use hatchery_tests::{Lab, Program, Start, log, procfs};
use nix::sys::signal::Signal;

/// Upgrades to `bad`, which has to fail with these words in the log, under
/// load; then to a good one.
fn fails_and_recovers(start: Start, bad: &Program, words: &[&str]) {
    let lab = start.ready();
    let load = Load::fresh(lab.address(), 2);
    load.more(20);
    let workers = lab.ready();
    let descriptors = procfs::descriptors(lab.first()).len();
    lab.install(bad);
    for count in 1..=2 {
        lab.signal(Signal::SIGUSR2);
        lab.until_logged(log::UPGRADE_FAILED, count);
        // Also not the link, by whose end the master knows it.
        let is_left = || procfs::descriptors(lab.first()).len() > descriptors;
        lab.until("nothing is left of it", || lab.processes().len() == 1 + workers.len() && !is_left());
    }
    for word in words {
        assert!(lab.log().contains(word), "`{word}` is not in the log");
    }
    assert_unchanged(&lab, &workers);
    assert_eq!(procfs::descriptors(lab.first()).len(), descriptors, "descriptors are left over");
    lab.install(&Program::lab());
    lab.upgrade();
    load.more(20);
    load.finish_without_failure();
    assert_eq!(lab.whoami().generation, 2);
    lab.stop();
}

fn assert_unchanged(lab: &Lab, workers: &std::collections::BTreeSet<i32>) {
    assert_eq!(lab.serving(), lab.first());
    assert!(!lab.path("lab.pid.oldbin").exists());
    assert_eq!(&lab.ready(), workers);
    assert_eq!(lab.whoami().generation, 1);
}

#[test]
fn a_program_that_is_not_there() {
    fails_and_recovers(Start::lab(), &Program::Missing, &["No such file or directory"]);
}

#[test]
fn a_program_that_may_not_be_executed() {
    fails_and_recovers(Start::lab(), &Program::NotExecutable, &["Permission denied"]);
}

#[test]
fn a_program_that_is_none() {
    fails_and_recovers(Start::lab(), &Program::Nonsense, &["Exec format error"]);
}

#[test]
fn a_program_that_ends_well_at_once() {
    fails_and_recovers(Start::lab(), &Program::Script("exit 0".to_owned()), &["exit code 0"]);
}

#[test]
fn a_program_that_exits_at_once() {
    fails_and_recovers(Start::lab(), &Program::Script("exit 7".to_owned()), &["exit code 7"]);
}

#[test]
fn a_program_that_is_killed_at_once() {
    fails_and_recovers(Start::lab(), &Program::Script("kill -9 $$".to_owned()), &["signal 9"]);
}

#[test]
fn a_program_that_fails_to_boot_says_why_in_the_old_ones_log() {
    let start = Start::lab().set("crash-limit", "1");
    fails_and_recovers(start, &Program::lab_with("LAB_BOOT=fail"), &["lab told to fail"]);
}

#[test]
fn the_words_of_a_failed_boot_are_in_the_upgrades_own_line() {
    let lab = Start::lab().set("crash-limit", "1").ready();
    lab.install(&Program::lab_with("LAB_BOOT=fail"));
    lab.signal(Signal::SIGUSR2);
    lab.until_logged(log::UPGRADE_FAILED, 1);
    let log = lab.log();
    let line = log.lines().find(|line| log::UPGRADE_FAILED.is(line)).expect("a line");
    assert!(line.contains("lab told to fail"), "{line}");
    lab.until("nothing is left of it", || lab.processes().len() == 3);
    lab.stop();
}

#[test]
fn a_program_that_hangs() {
    let start = Start::lab().set("boot-timeout", "2s");
    fails_and_recovers(start, &Program::lab_with("LAB_BOOT=hang"), &["boot-timeout"]);
}

#[test]
fn a_program_that_hangs_before_it_says_anything() {
    let start = Start::lab().set("boot-timeout", "2s");
    fails_and_recovers(start, &Program::Script("exec sleep 600".to_owned()), &["boot-timeout"]);
}

#[test]
fn a_program_that_hangs_and_does_not_listen_to_term() {
    let start = Start::lab().set("boot-timeout", "2s");
    let deaf = Program::Script("trap '' TERM\nwhile :; do sleep 0.1; done".to_owned());
    fails_and_recovers(start, &deaf, &["boot-timeout"]);
}

/// An operator who puts things right is not sent away because what went wrong is still on its way out.
#[test]
fn the_next_one_waits_until_the_failed_one_is_gone() {
    let lab = Start::lab().set("boot-timeout", "1s").ready();
    // For two seconds more, after which it is killed.
    lab.install(&Program::Script("trap '' TERM\nwhile :; do sleep 0.1; done".to_owned()));
    lab.signal(Signal::SIGUSR2);
    lab.until_logged(log::UPGRADE_FAILED, 1);
    lab.install(&Program::lab());
    lab.signal(Signal::SIGUSR2);
    lab.until("the successor serves", || lab.generation() == Some(2));
    let said = lab.log();
    assert!(said.contains("upgrade follows the end of the successor that failed"), "{said}");
    lab.until("the predecessor is gone", || lab.has_ended(lab.first()));
    lab.stop();
}

#[test]
fn a_program_that_refuses_its_settings() {
    let bad = Program::Script(format!("exec {} --no-such-flag", hatchery_tests::program::example("lab").display()));
    fails_and_recovers(Start::lab(), &bad, &["--no-such-flag"]);
}

#[test]
fn workers_that_crash_after_ready_are_taken_back_within_the_probation() {
    for mode in ["shared", "reuseport"] {
        let lab = Start::lab().set("upgrade-probation", "10m").set("crash-limit", "4").set("listen-mode", mode).ready();
        let load = Load::fresh(lab.address(), 2);
        load.more(20);
        let workers = lab.ready();
        lab.install(&Program::lab_with("LAB_BOOT=crash"));
        lab.signal(Signal::SIGUSR2);
        lab.until("it is taken back, or was never given", || {
            log::TAKEN_BACK.count(&lab.log()) + log::UPGRADE_FAILED.count(&lab.log()) >= 1
        });
        lab.until("nothing is left of it", || lab.processes().len() == 3);
        assert_unchanged(&lab, &workers);
        load.more(20);
        // A request that a crashing worker had accepted is lost with it: only refused connections would be ours.
        let tally = load.finish();
        assert!(!tally.failures.iter().any(|failure| failure.contains("not connected")), "{tally}");
        lab.install(&Program::lab());
        lab.signal(Signal::SIGUSR2);
        lab.until("a good one serves", || lab.generation() == Some(2) && lab.ready().len() == 2);
        lab.signal(Signal::SIGTERM);
        lab.assert_gone();
    }
}

#[test]
fn an_upgrade_while_the_old_workers_are_at_rest() {
    let lab = Start::lab().ready();
    lab.signal(Signal::SIGWINCH);
    lab.until("no worker is left", || lab.workers().is_empty());
    let mut client = hatchery_tests::client::Client::connect(lab.address()).expect("the queue is kept");
    client.wait_at_most(Duration::from_secs(20));
    client.ask("/whoami").expect("sent");
    lab.signal(Signal::SIGUSR2);
    let answer = client.answer().expect("the successor answers");
    assert!(answer.text().contains("\"generation\":2"), "{}", answer.text());
    lab.until("the predecessor is gone", || lab.has_ended(lab.first()));
    lab.stop();
}
