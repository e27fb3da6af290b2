//! Who serves when a master is killed in the middle of an upgrade: one test for
//! each step and each of the two. Nobody who only connects ever pays for it.
//!
//! | step | successor dies | predecessor dies |
//! |---|---|---|
//! | preparing: the successor boots | the predecessor serves on | the successor boots on and takes over |
//! | ready: the successor waits for the commit | the predecessor serves on | the successor takes over |
//! | committed: the successor has not said that it took over | the predecessor serves on | the successor takes over |
//! | probation: the successor serves | the predecessor takes back | the successor serves on |
//! | retiring: the predecessor's workers drain | the predecessor takes back | the successor serves on |

use std::fs;

use hatchery_tests::client::Client;
use hatchery_tests::load::Load;
use hatchery_tests::procfs::{Process, Stage};
use hatchery_tests::program::example;
use hatchery_tests::{End, Lab, Program, Start, log};
use nix::sys::signal::Signal;

/// An upgrade that stands still at a step.
struct Standing {
    lab: Lab,
    load: Load,
    successor: i32,
    /// A connection that keeps the predecessor's workers busy.
    open: Option<Client>,
}

#[derive(Clone, Copy, PartialEq)]
enum Victim {
    Successor,
    Predecessor,
}

impl Standing {
    /// The successor has been started, and waits for a file before it does anything.
    fn preparing() -> Self {
        let wait = "while ! test -e go; do sleep 0.01; done";
        let program = Program::Script(format!("{wait}\nexec {} \"$@\"", example("lab").display()));
        Self::upgrading(Start::lab(), Some(&program))
    }

    /// The successor has said that it is ready, and the predecessor, which stands still, has not heard it.
    fn ready() -> Self {
        let standing = Self::preparing();
        let Self { lab, successor, .. } = &standing;
        lab.freeze(lab.first());
        standing.go();
        lab.until("the successor's workers are ready", || {
            lab.workers_of(*successor, |stage| stage == Stage::Ready).len() == 2
        });
        lab.until_logged(log::WORKER_READY, 4);
        // It has done everything that follows from that when it sleeps again.
        lab.until("the successor waits", || Process::read(*successor).is_some_and(|process| process.state == 'S'));
        standing
    }

    /// The predecessor has committed, and the successor, which stands still, has not heard it.
    fn committed() -> Self {
        let standing = Self::ready();
        let Self { lab, successor, .. } = &standing;
        lab.freeze(*successor);
        lab.thaw(lab.first());
        lab.until_logged(log::UPGRADE_COMMITTED, 1);
        standing
    }

    /// The successor serves, the predecessor waits.
    fn probation() -> Self {
        let standing = Self::upgrading(Start::lab().set("upgrade-probation", "10m"), None);
        standing.lab.until_logged(log::UPGRADE_DONE, 1);
        standing
    }

    /// The successor serves, the predecessor's workers finish what they have.
    fn retiring() -> Self {
        let standing = Self::upgrading(Start::lab().set("upgrade-probation", "50ms"), None);
        standing.lab.until_logged(log::RETIRING, 1);
        standing
    }

    fn upgrading(start: Start, program: Option<&Program>) -> Self {
        let lab = start.ready();
        let load = Load::fresh(lab.address(), 2);
        load.more(20);
        let mut open = Client::connect(lab.address()).expect("a connection");
        open.begin("/stream?chunks=10000&ms=100").expect("the answer begins");
        if let Some(program) = program {
            lab.install(program);
        }
        let workers = lab.workers();
        lab.signal(Signal::SIGUSR2);
        // It may not have told who it is: it is the one child that is no worker.
        let is_it = |process: &Process| process.parent == lab.first() && !workers.contains(&process.pid);
        let mut successor = 0;
        lab.until("there is a successor", || {
            successor = lab.processes().into_iter().find(is_it).map_or(0, |process| process.pid);
            successor != 0
        });
        Self { lab, load, successor, open: Some(open) }
    }

    /// Lets a successor that waits for it begin.
    fn go(&self) {
        fs::write(self.lab.path("go"), "").expect("a file");
    }

    /// Kills one of the two, and asserts that the other one serves.
    fn kill(mut self, victim: Victim) {
        let first = self.lab.first();
        let (dead, alive, generation) = match victim {
            Victim::Successor => (self.successor, first, 1),
            Victim::Predecessor => (first, self.successor, 2),
        };
        self.lab.signal_to(dead, Signal::SIGKILL);
        self.lab.thaw(alive);
        if victim == Victim::Predecessor {
            assert_eq!(self.lab.end_of(first), End::Signal(9));
        }
        self.go();
        let lab = &self.lab;
        lab.until("the dead one is gone", || lab.processes().iter().all(|process| process.pid != dead));
        lab.until("the other one serves", || lab.serving() == alive && lab.ready().len() == 2);
        lab.until("it answers", || lab.whoami().master == alive);
        assert_eq!(lab.generation(), Some(generation));
        // Whose worker it may be: what is open goes on.
        let open = self.open.take();
        assert!(open.is_some_and(|mut open| matches!(open.is_closed(), Ok(false))));
        lab.until("nothing else is left", || lab.processes().len() == 3);
        lab.until("there is one pid file", || !lab.path("lab.pid.oldbin").exists());
        assert_eq!(lab.serving(), alive);
        self.load.more(50);
        self.load.finish_without_failure();

        // And the way is open for the next one.
        self.lab.install(&Program::lab());
        self.lab.signal(Signal::SIGUSR2);
        let lab = &self.lab;
        lab.until("the next one serves", || lab.generation() == Some(generation + 1) && lab.ready().len() == 2);
        lab.until("it answers", || lab.whoami().generation == generation + 1);
        lab.signal(Signal::SIGTERM);
        lab.assert_gone();
    }
}

#[test]
fn preparing_and_the_successor_dies() {
    Standing::preparing().kill(Victim::Successor);
}

#[test]
fn preparing_and_the_predecessor_dies() {
    Standing::preparing().kill(Victim::Predecessor);
}

#[test]
fn ready_and_the_successor_dies() {
    Standing::ready().kill(Victim::Successor);
}

#[test]
fn ready_and_the_predecessor_dies() {
    Standing::ready().kill(Victim::Predecessor);
}

#[test]
fn committed_and_the_successor_dies() {
    Standing::committed().kill(Victim::Successor);
}

#[test]
fn committed_and_the_predecessor_dies() {
    Standing::committed().kill(Victim::Predecessor);
}

#[test]
fn probation_and_the_successor_dies() {
    Standing::probation().kill(Victim::Successor);
}

#[test]
fn probation_and_the_predecessor_dies() {
    Standing::probation().kill(Victim::Predecessor);
}

#[test]
fn retiring_and_the_successor_dies() {
    Standing::retiring().kill(Victim::Successor);
}

#[test]
fn retiring_and_the_predecessor_dies() {
    Standing::retiring().kill(Victim::Predecessor);
}
