//! Whoever waits for an upgrade hears the truth, whichever master is left to tell it.

use hatchery_control::{Refusal, Reply, Request, Until};
use hatchery_tests::control::SOCKET;
use hatchery_tests::{Lab, Program, Start};
use nix::sys::signal::Signal;

/// A server whose next version boots for so long that something can happen meanwhile.
fn slowly(milliseconds: u32) -> Lab {
    let lab = Start::lab().set("upgrade-probation", "2s").controlled().ready();
    lab.install(&Program::Script(format!(
        "sleep {}.{:03}; exec {} \"$@\"",
        milliseconds / 1000,
        milliseconds % 1000,
        hatchery_tests::program::example("lab").display()
    )));
    lab
}

/// A server whose next version never comes to anything.
fn never() -> Lab {
    let lab = Start::lab().controlled().ready();
    lab.install(&Program::Script("exec sleep 60".to_owned()));
    lab
}

fn until_a_successor_is_there(lab: &Lab, master: i32) -> i32 {
    let mut found = None;
    lab.until("a successor is there", || {
        let is_successor = |process: &hatchery_tests::procfs::Process| {
            process.parent == master && !lab.workers().contains(&process.pid)
        };
        found = lab.processes().iter().find(|process| is_successor(process)).map(|process| process.pid);
        lab.log().contains("upgrade begins") && found.is_some()
    });
    found.expect("a successor")
}

#[test]
fn the_predecessor_dies_before_ready() {
    let lab = slowly(1500);
    let old = lab.serving();
    let waiting = lab.asks(Request::Upgrade { wait: Until::Done });
    let successor = until_a_successor_is_there(&lab, old);
    lab.signal_to(old, Signal::SIGKILL);
    let told = waiting.join().expect("no panic");
    assert!(told.done().contains("generation 2 serves, its predecessor has died"), "{told:?}");
    assert_eq!(lab.serving(), successor);
    let status = lab.status();
    assert_eq!((status.master, status.generation), (successor, 2));
    lab.until("the dead one's names are gone", || lab.sockets() == [SOCKET]);
    lab.stop();
}

#[test]
fn the_predecessor_dies_after_the_commit() {
    let lab = Start::lab().set("upgrade-probation", "2s").controlled().ready();
    let old = lab.serving();
    let waiting = lab.asks(Request::Upgrade { wait: Until::Done });
    // It stands still until COMMIT is on its way and TAKEN cannot be heard.
    lab.until("it is committed", || lab.log().contains("it takes over") || waiting.is_finished());
    lab.signal_to(old, Signal::SIGKILL);
    let told = waiting.join().expect("no panic");
    assert!(told.done().starts_with("upgrade is done"), "{told:?}");
    lab.until("the successor serves", || lab.serving() != old);
    assert_eq!(lab.status().generation, 2);
    lab.until("the dead one's names are gone", || lab.sockets() == [SOCKET]);
    lab.stop();
}

#[test]
fn the_successor_dies_while_it_boots() {
    let lab = never();
    let old = lab.serving();
    let waiting = lab.asks(Request::Upgrade { wait: Until::Done });
    let successor = until_a_successor_is_there(&lab, old);
    lab.signal_to(successor, Signal::SIGKILL);
    let told = waiting.join().expect("no panic");
    let (because, text) = told.failed();
    assert!(because == Refusal::Failed && text.contains("signal 9"), "{text}");
    lab.until("it is over", || lab.status().operation.is_none());
    assert_eq!(lab.status().master, old);
    assert_eq!(lab.sockets(), [SOCKET]);
    lab.stop();
}

#[test]
fn the_successor_dies_after_it_has_taken_over() {
    let lab = Start::lab().set("upgrade-probation", "30s").controlled().ready();
    let old = lab.serving();
    let told = lab.ask(&Request::Upgrade { wait: Until::Done });
    assert!(told.done().starts_with("upgrade is done"), "{told:?}");
    lab.until("the successor serves", || lab.serving() != old);
    assert_eq!(lab.status().generation, 2);
    lab.signal_to(lab.serving(), Signal::SIGKILL);
    lab.until("it is taken back", || lab.sockets() == [SOCKET] && lab.serving() == old);
    assert_eq!(lab.status().master, old);
    lab.stop();
}

#[test]
fn a_stop_in_the_middle_is_told() {
    let lab = never();
    let waiting = lab.asks(Request::Upgrade { wait: Until::Done });
    until_a_successor_is_there(&lab, lab.serving());
    let stopped = lab.ask(&Request::Stop { wait: true });
    assert_eq!(stopped.done(), "stopped: everything was drained, exit code 0");
    let told = waiting.join().expect("no panic");
    assert_eq!(told.failed().1, "upgrade called off: the server stops");
    lab.assert_gone();
}

#[test]
fn a_dormant_server_answers_without_waking_and_wakes_to_obey() {
    let mut lab = Start::lab().set("on-demand", "on").set("idle-timeout", "1s").controlled().spawn();
    lab.wait_until_dormant();
    let master = lab.serving();
    for _ in 0..3 {
        let status = lab.status();
        assert_eq!((status.state, status.workers.len()), (hatchery_control::MasterState::Dormant, 0));
    }
    assert!(lab.workers().is_empty());
    assert_eq!(lab.ask(&Request::Reopen).done(), "logs are open again");
    assert_eq!(lab.ask(&Request::Scale { workers: 3, wait: true }).failed().0, Refusal::Refused);
    assert_eq!(lab.ask(&Request::Reload { wait: true }).done(), "reload is done: every worker is new");
    // Nobody comes, so it falls asleep again, and is still to be asked, also by who had come before.
    let mut client = hatchery_control::Client::connect(&lab.control_path()).expect("it listens");
    lab.until("it sleeps", || lab.status().state == hatchery_control::MasterState::Dormant && lab.workers().is_empty());
    assert!(matches!(client.ask(&Request::Status, |_| ()), Ok(Reply::Status { .. })));
    assert_eq!((lab.serving(), lab.sockets()), (master, vec![SOCKET.to_owned()]));
    let stopped = lab.ask(&Request::Stop { wait: true });
    assert_eq!(stopped.done(), "stopped: everything was drained, exit code 0");
    lab.assert_gone();
    assert!(lab.sockets().is_empty());
}
