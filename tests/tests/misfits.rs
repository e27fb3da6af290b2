//! Programs that use the library in a way that cannot work, or that is rude.

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
