//! Programs that use the library in a way that cannot work, or that is rude.

use hatchery_control::{Refusal, Request, Until};
use hatchery_tests::control::SOCKET;
use hatchery_tests::{End, Program, Start, log};
use nix::sys::signal::Signal;

fn misfit(case: &str) -> Start {
    let program = Program::Link(env!("CARGO_BIN_EXE_misfit").into());
    Start::lab().without_settings().argument(case).program(program)
}

#[test]
fn run_inside_of_a_runtime_is_refused() {
    for flavour in ["current-thread", "multi-thread"] {
        misfit(flavour).ended().assert_one_line(1, &["runtime", "#[tokio::main]"]);
    }
}

#[test]
fn run_beside_other_threads_is_refused_and_names_them() {
    misfit("thread").ended().assert_one_line(1, &["other threads", "busybody"]);
    misfit("runtime").ended().assert_one_line(1, &["other threads", "drudge"]);
}

#[test]
fn an_error_of_many_lines_is_one_line_in_the_log() {
    let lab = misfit("many-lines").ready();
    lab.until_logged(log::READY, 1);
    let before = lab.log().lines().count();
    assert_eq!(lab.get("/").expect("an answer").status, 500);
    let log = lab.log();
    let new: Vec<&str> = log.lines().skip(before).collect();
    assert!(matches!(new[..], [line] if line.contains("one") && line.contains("three")), "{new:?}");
    lab.signal(Signal::SIGTERM);
    lab.assert_gone();
}

#[test]
fn a_listener_that_is_served_twice_is_a_boot_that_failed() {
    let why = "worker 0: the listener on 127.0.0.1:";
    let ended = misfit("twice").ended();
    assert_eq!(ended.end, End::Code(3), "{}", ended.log);
    assert!(ended.log.contains(&format!("error: the application did not boot: {why}")), "{}", ended.log);
    assert_eq!(log::WORKER_READY.count(&ended.log), 0, "{}", ended.log);
}

#[test]
fn an_upgrade_to_a_program_that_serves_a_listener_twice_fails_with_the_reason() {
    let lab = misfit("twice-later").ready();
    lab.signal(Signal::SIGUSR2);
    lab.until_logged(log::UPGRADE_FAILED, 1);
    let log = lab.log();
    let line = log.lines().find(|line| log::UPGRADE_FAILED.is(line)).expect("a line");
    assert!(line.contains("serves on: worker 0: the listener on ") && line.contains("served already"), "{line}");
    assert_eq!(lab.get("/").expect("an answer").text(), "hello");
    lab.signal(Signal::SIGTERM);
    lab.assert_gone();
}

/// The reason, for worker 0.
const NOBODY: [&str; 2] = ["nobody serves `lines` on 127.0.0.1:", ": each listener needs a call that serves it"];

#[test]
fn a_listener_that_nobody_serves_is_named() {
    let ended = misfit("half").ended();
    assert_eq!(ended.end, End::Code(3), "{}", ended.log);
    let lines = |words: &[&str]| {
        let is_it = |line: &&str| words.iter().chain(&NOBODY).all(|word| line.contains(word));
        ended.log.lines().filter(is_it).count()
    };
    assert_eq!(lines(&["WARN", "waits: "]), 2, "each worker waits: {}", ended.log);
    assert!(lines(&["ERROR", "failed to boot: it did not become ready within boot-timeout: "]) >= 1, "{}", ended.log);
    let last = "error: the application did not boot: worker ";
    assert_eq!(lines(&[last, ": it did not become ready within boot-timeout: "]), 1, "{}", ended.log);
}

#[test]
fn an_upgrade_that_waits_for_a_listener_is_told_which() {
    let start = misfit("half-later");
    let path = start.path(SOCKET);
    let lab = start.variable("MISFIT_CONTROL", &path.display().to_string()).ready();
    let told = lab.ask(&Request::Upgrade { wait: Until::Done });
    let (because, text) = told.failed();
    assert_eq!(because, Refusal::Failed);
    assert!(text.contains("serves on: ") && NOBODY.iter().all(|word| text.contains(word)), "{text}");
    let waits = |line: &String| line.starts_with("successor (pid ") && NOBODY.iter().all(|word| line.contains(word));
    assert_eq!(told.progress.iter().filter(|line| waits(line)).count(), 1, "{:?}", told.progress);
    assert_eq!(lab.get("/").expect("an answer").text(), "hello");
    lab.signal(Signal::SIGTERM);
    lab.assert_gone();
}
