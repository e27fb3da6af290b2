//! Programs that use the library in a way that cannot work, or that is rude.

use hatchery_tests::{Program, Start, log};
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
