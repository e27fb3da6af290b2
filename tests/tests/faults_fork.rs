//! Processes that cannot be had: who serves goes on, and it is tried again.

use std::time::{Duration, Instant};

use hatchery_tests::limit::{self, Resource};
use hatchery_tests::load::Load;
use hatchery_tests::{End, Lab, Start, log};
use nix::sys::signal::Signal;

/// A lab whose user may be kept from having more processes.
struct Confined {
    lab: Lab,
    launcher: Vec<String>,
}

impl Confined {
    /// `None` where that cannot be had.
    fn ready() -> Option<Self> {
        let start = Start::lab();
        let Some(launcher) = limit::as_nobody_else(&start.path("")) else {
            eprintln!("SKIPPED: another user cannot reach the lab's program");
            return None;
        };
        let lab = start.launcher(launcher.iter().map(String::as_str)).ready();
        Some(Self { lab, launcher })
    }

    fn limit_processes(&self, limit: u64) {
        limit::set_through(&self.launcher, self.lab.serving(), Resource::Processes, limit);
    }
}

#[test]
fn a_worker_that_cannot_be_forked_is_tried_again_while_the_other_one_serves() {
    let Some(confined) = Confined::ready() else { return };
    let lab = &confined.lab;
    confined.limit_processes(1);
    let victim = *lab.ready().first().expect("a worker");
    lab.signal_to(victim, Signal::SIGKILL);
    lab.until("it has ended", || lab.ready().len() == 1);
    let load = Load::fresh(lab.address(), 2);
    let began = Instant::now();
    lab.until_logged(log::NOT_FORKED, 4);
    assert!(began.elapsed() > Duration::from_millis(300), "it waits in between: {:?}", began.elapsed());
    assert!(lab.log().lines().any(|line| log::NOT_FORKED.is(line) && line.contains("os error 11")));
    load.more(100);
    confined.limit_processes(1000);
    lab.until("it is replaced", || lab.ready().len() == 2);
    load.more(100);
    load.finish_without_failure();
    assert_eq!(log::GAVE_UP.count(&lab.log()), 0);
    confined.lab.stop();
}

#[test]
fn a_reload_and_an_upgrade_that_cannot_fork_fail_and_nobody_pays() {
    let Some(confined) = Confined::ready() else { return };
    let lab = &confined.lab;
    let before = lab.ready();
    confined.limit_processes(1);
    let load = Load::fresh(lab.address(), 2);
    load.more(20);
    lab.signal(Signal::SIGHUP);
    lab.until_logged(log::RELOAD_FAILED, 1);
    lab.signal(Signal::SIGUSR2);
    lab.until_logged(log::UPGRADE_FAILED, 1);
    lab.signal(Signal::SIGTTIN);
    load.more(20);
    assert!(lab.ready().is_superset(&before), "the old ones serve on");
    confined.limit_processes(1000);
    lab.until("the third one is there", || lab.ready().len() == 3);
    lab.upgrade();
    assert_eq!(lab.generation(), Some(2));
    load.more(20);
    load.finish_without_failure();
    confined.lab.stop();
}

#[test]
fn a_server_that_never_gets_a_process_gives_up_at_its_first_boot() {
    let ended = Start::lab().set("crash-limit", "3").launcher([env!("CARGO_BIN_EXE_without-fork")]).ended();
    assert_eq!(ended.end, End::Code(3), "{}", ended.log);
    assert_eq!(log::GAVE_UP.count(&ended.log), 1, "{}", ended.log);
    assert!(log::NOT_FORKED.count(&ended.log) >= 3, "{}", ended.log);
    assert!(ended.log.contains("os error 12"), "{}", ended.log);
}
