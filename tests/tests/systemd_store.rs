//! The service manager's store of descriptors: clients wait for the next start.

use std::fs;
use std::net::TcpStream;
use std::path::Path;

use hatchery_tests::client::{self, Client, Failure};
use hatchery_tests::load::Load;
use hatchery_tests::manager::{Access, Manager};
use hatchery_tests::{Lab, Start, log};
use nix::sys::signal::Signal;

const RETIRED: log::Line = log::Line(&["is not served any more: no setting asks for it"]);

/// A service that stores its sockets.
fn start(manager: &Manager) -> Start {
    manager.serves(Start::lab().set("fd-store", "on"))
}

/// The same, with addresses from the settings file.
fn listening(manager: &Manager, addresses: &[&str]) -> Lab {
    start(manager).without("bind").config(&settings(addresses)).ready()
}

fn settings(addresses: &[&str]) -> String {
    format!("bind = {addresses:?}\n")
}

/// A service whose next generation adds an address, and can be taken back for long; and both addresses.
fn before_an_upgrade(manager: &Manager, folder: &Path) -> (Lab, String, String) {
    let comes = unix(folder);
    let lab = start(manager).without("bind").config(&settings(&["127.0.0.1:0"]));
    let lab = lab.set("upgrade-probation", "10m").ready();
    let stays = lab.address().to_owned();
    manager.until_stored(&[&name(&stays)]);
    fs::write(lab.path("lab.toml"), settings(&[&stays, &comes])).expect("other settings");
    (lab, stays, comes)
}

fn name(address: &str) -> String {
    format!("hatchery-{}", address.replace(':', "%3A"))
}

fn unix(folder: &Path) -> String {
    format!("unix:{}", folder.join("app.sock").display())
}

/// Connects, and asks already: the answer may come later.
fn waiting(address: &str) -> Client {
    let mut client = Client::connect(address).expect("the socket is stored");
    client.ask("/").expect("the kernel takes it");
    client
}

fn answered(clients: &mut [Client]) {
    for client in clients {
        assert_eq!(client.answer().expect("an answer").text(), "Hello, World!");
    }
}

/// Also with an anchor, whose master is not the test's own child.
fn stop(lab: &Lab) {
    lab.signal(Signal::SIGTERM);
    lab.assert_gone();
}

fn messages(manager: &Manager, lab: &Lab, variable: &str) -> usize {
    manager.account(lab.first()).with(variable, "1").len()
}

#[test]
fn who_waits_between_two_starts_is_served_by_the_second() {
    for (mode, anchor) in [("shared", "never"), ("shared", "always"), ("reuseport", "never")] {
        let (manager, folder) = (Manager::new(Access::Main), tempfile::tempdir().expect("a folder"));
        let unix = unix(folder.path());
        let begin = || {
            let binds = start(&manager).set("bind", "127.0.0.1:0").set("listen-mode", mode).set("anchor", anchor);
            if mode == "shared" { binds.argument("--bind").argument(&unix).ready() } else { binds.ready() }
        };
        let lab = begin();
        let mut addresses = lab.addresses().to_vec();
        let bound = addresses.clone();
        addresses.extend((mode == "shared").then(|| unix.clone()));
        lab.until("they are stored", || manager.stored().len() == 2);
        assert_eq!(messages(&manager, &lab, "FDSTORE"), addresses.len(), "one for each listener");
        let come = || addresses.iter().flat_map(|at| [waiting(at), waiting(at)]).collect::<Vec<Client>>();
        answered(&mut come());
        stop(&lab);
        let mut early = come();
        let lab = begin();
        assert_eq!(lab.addresses(), bound);
        answered(&mut early);
        assert_eq!(messages(&manager, &lab, "FDSTORE"), 0, "of the second: all is there");
        assert_eq!(manager.stored().len(), 2);
        stop(&lab);
    }
}

#[test]
fn a_death_of_all_under_load_refuses_nobody() {
    let manager = Manager::new(Access::Main);
    let lab = start(&manager).set("bind", "127.0.0.1:0").ready();
    let address = lab.address().to_owned();
    manager.until_stored(&[&name(&address)]);
    let load = Load::fresh(&address, 4);
    load.more(50);
    lab.signal_all(Signal::SIGKILL);
    lab.until("it is gone", || lab.processes().is_empty());
    let mut early: Vec<Client> = (0..5).map(|_| waiting(&address)).collect();
    let lab = start(&manager).set("bind", &address).ready();
    answered(&mut early);
    load.more(50);
    let tally = load.finish();
    let refused = |failure: &&String| failure.contains("not connected") || failure.contains("refused");
    let failures: Vec<String> = tally.failures.iter().map(|failure| format!("{failure:?}")).collect();
    assert_eq!(failures.iter().find(refused), None);
    assert!(failures.len() <= 4, "one for each client that was being served: {failures:?}");
    lab.stop();
}

#[test]
fn a_reload_stores_what_it_adds_and_takes_out_what_it_retires() {
    let (manager, folder) = (Manager::new(Access::Main), tempfile::tempdir().expect("a folder"));
    let comes = unix(folder.path());
    let lab = listening(&manager, &["127.0.0.1:0", "127.0.0.1:0"]);
    let [stays, goes] = [0, 1].map(|index| lab.addresses()[index].clone());
    manager.until_stored(&[&name(&stays), &name(&goes)]);
    fs::write(lab.path("lab.toml"), settings(&[&stays, &comes])).expect("other settings");
    lab.signal(Signal::SIGHUP);
    lab.until_logged(log::RELOAD_DONE, 1);
    lab.until_logged(RETIRED, 1);
    manager.until_stored(&[&name(&stays), &name(&comes)]);
    assert!(TcpStream::connect(&goes).is_err(), "nobody would serve it again");
    answered(&mut [waiting(&comes)]);

    fs::write(lab.path("lab.toml"), settings(&[&stays])).expect("other settings");
    lab.signal(Signal::SIGHUP);
    lab.until_logged(RETIRED, 2);
    manager.until_stored(&[&name(&stays)]);
    assert!(!folder.path().join("app.sock").exists());
    lab.stop();
}

#[test]
fn an_upgrade_stores_what_is_new_and_takes_out_what_it_leaves() {
    let manager = Manager::new(Access::Main);
    let lab = listening(&manager, &["127.0.0.1:0", "127.0.0.1:0"]);
    let [stays, goes] = [0, 1].map(|index| lab.addresses()[index].clone());
    manager.until_stored(&[&name(&stays), &name(&goes)]);
    let folder = tempfile::tempdir().expect("a folder");
    let comes = unix(folder.path());
    let load = Load::fresh(&stays, 2);
    fs::write(lab.path("lab.toml"), settings(&[&stays, &comes])).expect("other settings");
    lab.upgrade();
    manager.until_stored(&[&name(&stays), &name(&comes)]);
    assert_eq!(messages(&manager, &lab, "FDSTORE"), 3);
    assert!(manager.account(lab.first()).refused.is_empty());
    load.more(20);
    load.finish_without_failure();
    lab.signal(Signal::SIGTERM);
    lab.until("it is gone", || lab.processes().is_empty());
    let mut early = [waiting(&stays), waiting(&comes)];
    let lab = listening(&manager, &[&stays, &comes]);
    answered(&mut early);
    lab.stop();
}

#[test]
fn a_successor_that_gives_up_takes_out_what_it_has_stored() {
    let (manager, folder) = (Manager::new(Access::Main), tempfile::tempdir().expect("a folder"));
    let (lab, stays, comes) = before_an_upgrade(&manager, folder.path());
    lab.install(&hatchery_tests::Program::lab_with("LAB_BOOT=crash"));
    lab.signal(Signal::SIGUSR2);
    lab.until_logged(log::TAKEN_BACK, 1);
    manager.until_stored(&[&name(&stays)]);
    lab.until("the new address is gone", || matches!(client::get(&comes, "/"), Err(Failure::NotConnected(_))));
    assert_eq!(lab.get("/").expect("an answer").status, 200);
    lab.signal(Signal::SIGTERM);
    lab.until("it is gone", || lab.processes().is_empty());
    drop(waiting(&stays));
}

/// It can take nothing out any more: what it has added stays until the next start.
#[test]
fn a_take_back_finds_its_own_sockets_stored() {
    let (manager, folder) = (Manager::new(Access::All), tempfile::tempdir().expect("a folder"));
    let (lab, stays, comes) = before_an_upgrade(&manager, folder.path());
    lab.signal(Signal::SIGUSR2);
    lab.until_logged(log::UPGRADE_DONE, 1);
    manager.until_stored(&[&name(&stays), &name(&comes)]);
    lab.signal_to(lab.serving(), Signal::SIGKILL);
    lab.until_logged(log::TAKEN_BACK, 1);
    answered(&mut [waiting(&stays)]);
    // Its predecessor cannot know what the dead one has changed: it says all that it has once more.
    manager.until(lab.first(), "FDNAME", &name(&stays), 2);
    stop(&lab);
    let mut early = [waiting(&stays)];
    let lab = listening(&manager, &[&stays]);
    answered(&mut early);
    manager.until_stored(&[&name(&stays)]);
    assert!(matches!(client::get(&comes, "/"), Err(Failure::NotConnected(_))), "nobody would serve it again");
    lab.stop();
}

#[test]
fn queues_of_workers_that_come_are_stored() {
    let manager = Manager::new(Access::Main);
    let begin = |address: &str, workers: &str| {
        start(&manager).set("bind", address).set("listen-mode", "reuseport").set("workers", workers).ready()
    };
    let lab = begin("127.0.0.1:0", "1");
    let address = lab.address().to_owned();
    manager.until_stored(&[&name(&address)]);
    lab.signal(Signal::SIGTTIN);
    lab.until_logged(log::QUEUES_ADDED, 1);
    manager.until_stored(&[&name(&address), &name(&address)]);
    // A queue stays when its worker goes: clients may be in it.
    lab.signal(Signal::SIGTTOU);
    lab.until("one worker is left", || lab.workers().len() == 1);
    stop(&lab);
    assert_eq!(manager.stored().len(), 2);
    let mut early: Vec<Client> = (0..16).map(|_| waiting(&address)).collect();
    let lab = begin(&address, "1");
    answered(&mut early);
    assert!(!lab.log().contains("fd-store:"), "{}", lab.log());
    lab.stop();
}

#[test]
fn a_store_that_is_too_small_is_said_once_for_each_number() {
    let manager = Manager::new(Access::Main).with_room(1);
    let lab = start(&manager).set("bind", "127.0.0.1:0").set("listen-mode", "reuseport").ready();
    let too_small = |sockets: usize| {
        let said = format!("there are {sockets} sockets, and the service manager stores 1: ");
        let unit = format!("expected FileDescriptorStoreMax={sockets} or more in the unit");
        lab.log().lines().filter(|line| line.contains(&said) && line.contains(&unit)).count()
    };
    lab.until("it is said", || too_small(2) == 1);
    lab.signal(Signal::SIGTTIN);
    lab.until_logged(log::QUEUES_ADDED, 1);
    lab.until("it is said of three", || too_small(3) == 1);
    lab.signal(Signal::SIGHUP);
    lab.until_logged(log::RELOAD_DONE, 1);
    assert_eq!((too_small(2), too_small(3), manager.stored().len()), (1, 1, 1));
    lab.stop();
}

#[test]
fn what_nothing_asks_for_is_taken_out_and_refuses() {
    for still in ["on", "off"] {
        let manager = Manager::new(Access::Main);
        let lab = listening(&manager, &["127.0.0.1:0", "127.0.0.1:0"]);
        let [stays, goes] = [0, 1].map(|index| lab.addresses()[index].clone());
        manager.until_stored(&[&name(&stays), &name(&goes)]);
        lab.signal_all(Signal::SIGKILL);
        lab.until("it is gone", || lab.processes().is_empty());
        let lab = manager.serves(Start::lab().set("fd-store", still)).set("bind", &stays).ready();
        match still {
            "on" => manager.until_stored(&[&name(&stays)]),
            _ => manager.until_stored(&[]),
        }
        assert!(TcpStream::connect(&goes).is_err());
        lab.stop();
        assert_eq!(TcpStream::connect(&stays).is_ok(), still == "on");
    }
}

#[test]
fn without_a_store_one_line_says_so() {
    let manager = Manager::new(Access::Main);
    for start in [Start::lab(), Start::lab().variable("NOTIFY_SOCKET", manager.address())] {
        let lab = start.set("fd-store", "on").ready();
        lab.until_logged(log::Line(&["fd-store: nobody stores sockets: expected systemd 254 or later"]), 1);
        let address = lab.address().to_owned();
        lab.stop();
        assert!(TcpStream::connect(&address).is_err());
    }
    assert!(manager.stored().is_empty());
}

#[test]
fn on_demand_stores_before_anybody_comes() {
    let manager = Manager::new(Access::Main);
    let mut lab = start(&manager).argument("--on-demand").spawn();
    lab.wait_until_dormant();
    let address = lab.address().to_owned();
    manager.until_stored(&[&name(&address)]);
    lab.signal(Signal::SIGTERM);
    lab.until("it is gone", || lab.processes().is_empty());
    let mut early = [waiting(&address)];
    let lab = start(&manager).set("bind", &address).ready();
    answered(&mut early);
    lab.stop();
}
