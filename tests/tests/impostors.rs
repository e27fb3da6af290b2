//! Workers hold copies of what masters speak over, and may be somebody without
//! privileges: nothing that they say there is believed.

use std::collections::BTreeSet;
use std::process::{Child, Command, Stdio};

use hatchery_tests::program::Program;
use hatchery_tests::{End, Lab, Start, log, procfs};
use nix::sys::signal::Signal;
use nix::unistd::Uid;

const NOT_BELIEVED: &str = ": not believed";

/// With one worker, which is somebody else where that is possible.
fn impostor() -> Start {
    let start = Start::lab().program(Program::Link(env!("CARGO_BIN_EXE_impostor").into())).set("workers", "1");
    if Uid::effective().is_root() { start.set("user", "nobody") } else { start }
}

/// Has the serving worker say it over every unix socket that it has in common with its master.
fn say(lab: &Lab, message: &str) {
    let shared: BTreeSet<String> = procfs::descriptors(lab.serving()).into_values().collect();
    let worker = *lab.ready().first().expect("a worker");
    let mine = procfs::descriptors(worker);
    let mine = mine.iter().filter(|(fd, what)| **fd > 2 && what.starts_with("socket:") && shared.contains(*what));
    let said = mine.filter(|(fd, _)| {
        let answer = lab.get(&format!("/say/{fd}/{message}")).expect("an answer");
        answer.text() == "said"
    });
    assert!(said.count() > 0, "it holds something");
}

fn refusals(lab: &Lab, speaks: &str) -> usize {
    lab.log().lines().filter(|line| line.contains(speaks) && line.contains(NOT_BELIEVED)).count()
}

/// A process that has nothing to do with the server.
struct Bystander(Child);

impl Bystander {
    fn new() -> Self {
        let mut command = Command::new("sleep");
        command.arg("600").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().expect("a process"))
    }

    fn is_alive(&mut self) -> bool {
        self.0.try_wait().expect("our child").is_none()
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn nobody_but_a_master_tells_the_anchor_whom_to_signal() {
    let lab = impostor().set("anchor", "always").ready();
    let mut bystander = Bystander::new();
    say(&lab, &format!("serving;pid={}", bystander.0.id()));
    say(&lab, "serving;pid=0");
    lab.until("it is refused", || refusals(&lab, "speaks as the master that serves") == 2);
    if Uid::effective().is_root() {
        // Somebody else, though about itself.
        say(&lab, &format!("serving;pid={}", lab.ready().first().expect("a worker")));
        lab.until("it is refused", || refusals(&lab, "speaks as the master that serves") == 3);
    } else {
        eprintln!("SKIPPED in part: only root can start workers as somebody else");
    }
    // The masters that follow are believed.
    for _ in 0..2 {
        lab.upgrade();
    }
    lab.signal_to(lab.first(), Signal::SIGTERM);
    assert_eq!(lab.end_of(lab.first()), End::Code(0));
    assert!(bystander.is_alive(), "it has got the signal");
    lab.assert_gone();
}

#[test]
fn nobody_but_the_successor_speaks_for_it() {
    let lab = impostor().set("upgrade-probation", "10m").ready();
    let first = lab.serving();
    lab.signal(Signal::SIGUSR2);
    lab.until_logged(log::UPGRADE_DONE, 1);
    lab.until("the successor serves", || lab.serving() != first && lab.ready().len() == 1);
    for message in ["failed;text=no", "released", "nonsense", "ready"] {
        let before = refusals(&lab, "speaks as the successor");
        say(&lab, message);
        lab.until("it is refused", || refusals(&lab, "speaks as the successor") > before);
    }
    assert_eq!(log::TAKEN_BACK.count(&lab.log()) + log::RETIRING.count(&lab.log()), 0, "{}", lab.log());
    // The successor itself is heard.
    lab.signal(Signal::SIGTERM);
    assert_eq!(lab.end_of(first), End::Code(0));
    lab.assert_gone();
}
