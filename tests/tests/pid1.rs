//! In a PID namespace of its own, as in a container: an anchor is there by itself.

use std::collections::BTreeSet;
use std::fs;

use hatchery_tests::client::{self, Client};
use hatchery_tests::procfs::{Process, Role, Stage};
use hatchery_tests::{End, Lab, Start, log, namespace, procfs};
use nix::sys::signal::Signal;

/// A server in a namespace, seen from outside of it: pids are those of the outside.
struct Container {
    lab: Lab,
    /// The first process of the namespace.
    init: i32,
    address: String,
}

impl Container {
    /// `None` where no namespace can be made. `command` becomes, or starts, the server.
    fn start(start: Start, command: &[&'static str]) -> Option<Self> {
        let launcher = namespace::launcher()?;
        let lab = start.launcher(launcher.iter().chain(command).copied()).spawn();
        lab.until("generation 1 is ready", || {
            assert!(!lab.has_ended(lab.first()), "it has ended");
            log::READY.count(&lab.log()) == 1
        });
        let address = log::listening(&lab.log()).first().expect("an address").to_string();
        let init = *procfs::children(lab.first()).first().expect("unshare has forked");
        assert_eq!(inside(init), 1);
        Some(Self { lab, init, address })
    }

    /// The masters among the children of a process.
    fn masters_of(parent: i32) -> Vec<i32> {
        let is_master = |pid: &i32| {
            Process::read(*pid)
                .is_some_and(|process| matches!(process.role(), Role::Master { .. }) && !process.is_zombie())
        };
        procfs::children(parent).into_iter().filter(is_master).collect()
    }

    fn master(&self) -> i32 {
        *Self::masters_of(self.init).first().expect("a master")
    }

    fn ready(&self) -> BTreeSet<i32> {
        self.lab.workers_of(self.master(), |stage| stage == Stage::Ready)
    }

    fn tell(&self, signal: Signal) {
        self.lab.signal_to(self.init, signal);
    }

    /// The exit code of the namespace's first process.
    fn end(&self) -> End {
        let end = self.lab.end_of(self.lab.first());
        self.lab.until("nobody is left", || self.lab.processes().is_empty());
        end
    }
}

/// The pid that a process has in its own namespace.
fn inside(pid: i32) -> i32 {
    procfs::status(pid, "NSpid").last().and_then(|pid| pid.parse().ok()).expect("a namespace")
}

fn title(pid: i32) -> String {
    Process::read(pid).map(|process| process.title).unwrap_or_default()
}

#[test]
fn pid_1_stays_and_reaps_and_passes_signals_on() {
    // An orphan that ends later, as containers have them.
    let with_an_orphan = ["sh", "-c", "(sleep 1 &); exec \"$@\"", "sh"];
    let Some(container) = Container::start(Start::lab(), &with_an_orphan) else { return };
    let (lab, init) = (&container.lab, container.init);
    assert_eq!(title(init), "hatchery: anchor");
    for generation in 1..=3_u32 {
        let master = container.master();
        lab.until("one child in the steady state, the orphan is reaped", || procfs::children(init) == [master]);
        let pid_file = || fs::read_to_string(lab.path("lab.pid")).unwrap_or_default().trim().to_owned();
        assert_eq!(pid_file(), inside(master).to_string());
        let who = client::get(&container.address, "/whoami").expect("an answer").whoami();
        assert_eq!((who.generation, who.master), (generation, inside(master)));

        let before = container.ready();
        container.tell(Signal::SIGHUP);
        lab.until("every worker is new", || container.ready().is_disjoint(&before) && container.ready().len() == 2);
        container.tell(Signal::SIGTTIN);
        lab.until("one more", || container.ready().len() == 3);
        container.tell(Signal::SIGTTOU);
        lab.until("one less", || container.ready().len() == 2);
        if generation < 3 {
            container.tell(Signal::SIGUSR2);
            lab.until("the successor is the only one", || {
                let masters = Container::masters_of(init);
                masters.len() == 1 && masters[0] != master && Process::read(master).is_none()
            });
            lab.until("its workers are ready", || container.ready().len() == 2);
        }
    }
    assert_eq!(title(init), "hatchery: anchor");
    container.tell(Signal::SIGTERM);
    assert_eq!(container.end(), End::Code(0));
    assert!(!lab.path("lab.pid").exists());
}

#[test]
fn exit_codes_are_passed_on() {
    let Some(container) = Container::start(Start::lab().set("drain-timeout", "300ms"), &[]) else { return };
    let mut open = Client::connect(&container.address).expect("a connection");
    open.begin("/stream?chunks=100000&ms=100").expect("the answer begins");
    container.tell(Signal::SIGTERM);
    assert_eq!(container.end(), End::Code(2));

    let launcher = namespace::launcher().expect("as before");
    let failing = Start::lab().variable("LAB_BOOT", "fail").set("crash-limit", "2").launcher(launcher.clone());
    let ended = failing.ended();
    assert_eq!(ended.end, End::Code(3), "{}", ended.log);
    let ended = Start::lab().set("user", "no-such").launcher(launcher).ended();
    ended.assert_one_line(1, &["no-such"]);
}

#[test]
fn a_killed_master_lets_workers_drain_first() {
    let Some(container) = Container::start(Start::lab(), &[]) else { return };
    let mut open = Client::connect(&container.address).expect("a connection");
    open.begin("/stream?chunks=8&ms=100").expect("the answer begins");
    container.lab.signal_to(container.master(), Signal::SIGKILL);
    assert_eq!(open.answer().expect("what is open is finished").body.len(), 128);
    assert_eq!(container.end(), End::Code(128 + 9));
}

#[test]
fn under_a_bare_init() {
    // What `tini` does: it starts one child, passes TERM on, and ends as the child does.
    let init = ["sh", "-c", "\"$@\" & trap \"kill -TERM $!\" TERM; wait $!; wait $!; exit $?", "sh"];
    let Some(container) = Container::start(Start::lab(), &init) else { return };
    let anchor = *procfs::children(container.init).first().expect("its child");
    assert_eq!(title(anchor), "hatchery: anchor");
    let old = *Container::masters_of(anchor).first().expect("a master");
    container.lab.signal_to(anchor, Signal::SIGUSR2);
    container.lab.until("the successor is the anchor's child, not pid 1's", || {
        let masters = Container::masters_of(anchor);
        masters.len() == 1 && masters[0] != old
    });
    assert_eq!(procfs::children(container.init), [anchor]);
    container.tell(Signal::SIGTERM);
    assert_eq!(container.end(), End::Code(0));
}

#[test]
fn never_is_never() {
    let Some(container) = Container::start(Start::lab().set("anchor", "never"), &[]) else { return };
    assert_eq!(title(container.init), "hatchery: master gen 1");
    container.tell(Signal::SIGTERM);
    assert_eq!(container.end(), End::Code(0));
}
