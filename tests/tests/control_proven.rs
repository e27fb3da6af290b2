//! Whoever waits until an upgrade is proven hears how its probation has ended, whichever
//! master is left to tell it.

use std::thread::JoinHandle;

use hatchery_control::{Refusal, Request, Until};
use hatchery_tests::control::Told;
use hatchery_tests::{Lab, Program, Start, log};
use nix::sys::signal::Signal;

/// A server in an upgrade whose probation lasts for so long, and whoever waits for its end.
fn in_probation(probation: &str) -> (Lab, JoinHandle<Told>) {
    let lab = Start::lab().set("upgrade-probation", probation).controlled().ready();
    let old = lab.serving();
    let waiting = lab.asks(Request::Upgrade { wait: Until::Proven });
    lab.until_logged(log::UPGRADE_DONE, 1);
    lab.until("the successor serves", || lab.serving() != old && lab.ready().len() == 2);
    (lab, waiting)
}

fn told(waiting: JoinHandle<Told>) -> Told {
    waiting.join().expect("no panic")
}

#[test]
fn it_is_proven_when_its_probation_is_over() {
    let (lab, waiting) = in_probation("1s");
    let told = told(waiting);
    assert_eq!(
        told.done(),
        format!("upgrade is proven: the successor (pid {}) serves, its probation is over", lab.serving())
    );
    assert_eq!(log::RETIRING.count(&lab.log()), 1, "it was answered too early");
    assert!(told.progress.iter().any(|line| line.starts_with("upgrade is done")), "{told:?}");
    lab.until("the predecessor is gone", || lab.masters().len() == 1);
    lab.stop();
}

#[test]
fn a_program_that_breaks_is_taken_back_and_that_is_said() {
    let lab = Start::lab().set("upgrade-probation", "1m").controlled().ready();
    let old = lab.serving();
    lab.install(&Program::lab_with("LAB_BOOT=crash"));
    let told = lab.ask(&Request::Upgrade { wait: Until::Proven });
    let (because, text) = told.failed();
    assert!(
        because == Refusal::Failed && text.starts_with("taken back") && text.contains("crashes in a row"),
        "{text}"
    );
    lab.until("the old one serves", || lab.serving() == old && lab.masters().len() == 1);
    assert_eq!(lab.status().master, old);
    lab.stop();
}

#[test]
fn a_successor_that_is_killed_is_taken_back_from() {
    let (lab, waiting) = in_probation("1m");
    lab.signal_to(lab.serving(), Signal::SIGKILL);
    let told = told(waiting);
    let (because, text) = told.failed();
    assert!(because == Refusal::Failed && text.starts_with("taken back") && text.contains("signal 9"), "{text}");
    lab.stop();
}

#[test]
fn without_its_predecessor_the_successor_watches_itself() {
    let (lab, waiting) = in_probation("1s");
    lab.signal_to(lab.first(), Signal::SIGKILL);
    assert_eq!(told(waiting).done(), "upgrade is proven: generation 2 serves, its predecessor has died");
    lab.stop();

    let (lab, waiting) = in_probation("1m");
    lab.signal_to(lab.first(), Signal::SIGKILL);
    lab.until_logged(log::PREDECESSOR_DONE, 1);
    let worker = lab.ready().into_iter().next().expect("a worker");
    lab.signal_to(worker, Signal::SIGKILL);
    let told = told(waiting);
    let (because, text) = told.failed();
    assert!(because == Refusal::Failed && text.contains(&format!("(pid {worker}) exited: crashed")), "{text}");
    lab.stop();
}

#[test]
fn an_operator_may_cut_the_probation_short() {
    let (lab, waiting) = in_probation("10m");
    lab.signal_to(lab.first(), Signal::SIGWINCH);
    assert!(told(waiting).done().starts_with("upgrade is proven"));
    lab.until("the predecessor is gone", || lab.masters().len() == 1);
    lab.stop();
}

#[test]
fn a_successor_that_is_stopped_has_proven_nothing() {
    let (lab, waiting) = in_probation("10m");
    let stopped = lab.ask(&Request::Stop { wait: true });
    assert!(stopped.done().starts_with("stopped"), "{stopped:?}");
    let told = told(waiting);
    let (because, text) = told.failed();
    assert_eq!(because, Refusal::Failed);
    assert_eq!(text, "upgrade is not proven: the successor was told to stop, or to upgrade, in its probation");
    lab.assert_gone();
}
