//! `--user` and `--group`: the master stays who it is, its workers are somebody else for ever.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use hatchery_tests::client::{self, Client};
use hatchery_tests::load::Load;
use hatchery_tests::{End, Lab, Start, chores, eve, log, procfs};
use nix::sys::signal::Signal;
use nix::unistd::{Uid, User};

/// Whom the workers of these tests become.
const NOBODY: &str = "nobody";

/// Skips loudly where only root gets any further.
fn is_root() -> bool {
    let is_root = Uid::effective().is_root();
    if !is_root {
        eprintln!("SKIPPED: only root can start workers as somebody else");
    }
    is_root
}

fn nobody() -> User {
    User::from_name(NOBODY).expect("accounts").expect("nobody is everywhere")
}

/// Asserts who the ready workers are, by all four ids each, and that the master is root.
fn assert_workers_are(lab: &Lab, uid: u32, gid: u32) {
    for worker in lab.ready() {
        assert_eq!(procfs::status(worker, "Uid"), vec![uid.to_string(); 4]);
        assert_eq!(procfs::status(worker, "Gid"), vec![gid.to_string(); 4]);
        assert_eq!(procfs::status(worker, "Groups"), [gid.to_string()]);
        if uid != 0 {
            for set in ["CapPrm", "CapEff", "CapInh", "CapAmb"] {
                assert_eq!(procfs::status(worker, set), ["0000000000000000"], "{set}");
            }
        }
    }
    assert_eq!(procfs::status(lab.serving(), "Uid"), ["0"; 4]);
    assert_eq!(procfs::status(lab.serving(), "Gid"), ["0"; 4]);
}

fn assert_workers_are_nobody(lab: &Lab) {
    assert_workers_are(lab, nobody().uid.as_raw(), nobody().gid.as_raw());
}

#[test]
fn workers_are_nobody_in_every_generation() {
    if !is_root() {
        return;
    }
    for mode in ["shared", "reuseport"] {
        let lab = Start::lab().set("user", NOBODY).set("listen-mode", mode).ready();
        assert_workers_are_nobody(&lab);
        let before = lab.ready();

        lab.signal_to(*before.first().expect("a worker"), Signal::SIGKILL);
        lab.until("it is replaced", || lab.ready() != before && lab.ready().len() == 2);
        assert_workers_are_nobody(&lab);

        let before = lab.ready();
        lab.signal(Signal::SIGHUP);
        lab.until("every worker is new", || lab.ready().is_disjoint(&before) && lab.ready().len() == 2);
        assert_workers_are_nobody(&lab);

        lab.upgrade();
        assert_workers_are_nobody(&lab);
        assert_eq!(lab.whoami().generation, 2);
        lab.stop();
    }
}

#[test]
fn by_number_and_by_group() {
    if !is_root() {
        return;
    }
    let lab = Start::lab().set("user", "12345").set("group", "23456").ready();
    assert_workers_are(&lab, 12345, 23456);
    lab.upgrade();
    assert_workers_are(&lab, 12345, 23456);
    lab.stop();
    let lab = Start::lab().set("group", "23456").ready();
    assert_workers_are(&lab, 0, 23456);
    lab.stop();
    // A name, and another group than its own.
    let lab = Start::lab().set("user", NOBODY).set("group", "0").ready();
    let worker = *lab.ready().first().expect("a worker");
    assert_eq!(procfs::status(worker, "Gid"), ["0"; 4]);
    assert_eq!(procfs::status(worker, "Uid"), vec![nobody().uid.to_string(); 4]);
    lab.stop();
}

#[test]
fn who_cannot_be_is_said_and_nothing_is_started() {
    if !is_root() {
        return;
    }
    let said = |start: Start, words: &[&str]| start.ended().assert_one_line(1, words);
    said(Start::lab().set("user", "no-such"), &["--user (command line): `no-such`: no user has this name"]);
    said(Start::lab().set("group", "no-such"), &["--group (command line): `no-such`: no group has this name"]);
    said(Start::lab().set("user", NOBODY).set("group", "no-such"), &["--group (command line): `no-such`"]);
    said(Start::lab().set("user", "4000000000"), &["--user", "4000000000", "expected a group as well"]);
    said(Start::lab().set("user", "4294967295").set("group", "0"), &["--user", "no user has this name"]);
    said(Start::lab().variable("HATCHERY_USER", "no-such"), &["HATCHERY_USER (environment): `no-such`"]);
    said(Start::lab().config("workers = 2\n\ngroup = 'no-such'\n"), &["group (", "lab.toml line 3): `no-such`"]);
}

/// A start in a user namespace, if there is such a thing here.
fn in_user_namespace(start: Start, options: &[&'static str]) -> Option<Start> {
    let command: Vec<&str> = ["unshare", "--user"].iter().chain(options).copied().collect();
    let tried = std::process::Command::new(command[0]).args(&command[1..]).arg("true").status();
    if !tried.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: no user namespace can be made here");
        return None;
    }
    Some(start.launcher(command))
}

#[test]
fn only_root_can() {
    if let Some(start) = in_user_namespace(Start::lab().set("user", NOBODY), &[]) {
        start.ended().assert_one_line(1, &["--user (command line): only root can", "expected a start as root"]);
    }
    if let Some(start) = in_user_namespace(Start::lab().set("group", "0"), &[]) {
        start.ended().assert_one_line(1, &["--group (command line): only root can"]);
    }
    // Root, but of a world with nobody else in it: tried before anything is started.
    if let Some(start) = in_user_namespace(Start::lab().set("user", NOBODY), &["--map-root-user"]) {
        start.ended().assert_one_line(1, &["--user (command line): it does not work here: setting the "]);
    }
}

#[test]
fn no_privileges_to_gain() {
    let lab = Start::lab().argument("--no-new-privileges").ready();
    for generation in 1..=2 {
        assert_eq!(lab.whoami().generation, generation);
        for worker in lab.ready() {
            assert_eq!(procfs::status(worker, "NoNewPrivs"), ["1"]);
        }
        assert_eq!(procfs::status(lab.serving(), "NoNewPrivs"), ["0"]);
        if generation == 1 {
            lab.upgrade();
        }
    }
    lab.stop();
}

#[test]
fn a_log_that_workers_must_not_open_is_opened_again_for_them() {
    if !is_root() {
        return;
    }
    // The folder is root's alone, and so is the log.
    let start = Start::lab().set("user", NOBODY).set("umask", "077");
    let path = start.path("server.log");
    let lab = start.set("log", &path.display().to_string()).spawn();
    lab.until("ready", || lab.ready().len() == 2 && lab.pid_file("lab.pid").is_some());
    let all_write_to = |path: &Path| {
        let writes_to = |pid: i32| procfs::descriptors(pid).get(&2).cloned().unwrap_or_default();
        lab.processes().iter().all(|process| writes_to(process.pid) == path.display().to_string())
    };
    assert!(all_write_to(&path));
    for turn in 1..=2 {
        let moved = lab.path(&format!("server.log.{turn}"));
        fs::rename(&path, &moved).expect("moved");
        lab.until("every process sees it", || all_write_to(&moved));
        // To everybody, as an operator may: nobody complains.
        lab.signal_all(Signal::SIGUSR1);
        lab.until("every process writes to the new file", || all_write_to(&path));
        let said = fs::read_to_string(&moved).expect("a log") + &fs::read_to_string(&path).expect("a log");
        assert!(!said.contains("ERROR") && !said.contains("WARN"), "{said}");
    }
    let successor = lab.upgrade();
    assert!(all_write_to(&path), "{successor}");
    lab.stop();
}

#[test]
fn job_servers_and_sidecars_are_nobody_too() {
    if !is_root() {
        return;
    }
    let start = chores::start(env!("CARGO_BIN_EXE_chores")).variable("CHORES_SIDECAR", "good").set("user", NOBODY);
    // The sidecar writes there.
    fs::set_permissions(start.path("."), fs::Permissions::from_mode(0o777)).expect("its folder");
    let path = start.path("log").display().to_string();
    let lab = start.set("log", &path).argument("--no-new-privileges").ready();
    for generation in 1..=2 {
        let titles = ["hatchery: jobs", "hatchery: sidecar", "hatchery: worker"];
        let forked: Vec<i32> = titles.iter().flat_map(|title| lab.titled(title)).map(|process| process.pid).collect();
        assert!(forked.len() >= 4, "{forked:?}");
        for pid in forked {
            assert_eq!(procfs::status(pid, "Uid"), vec![nobody().uid.to_string(); 4]);
            assert_eq!(procfs::status(pid, "NoNewPrivs"), ["1"]);
        }
        let moved = lab.path(&format!("log.{generation}"));
        fs::rename(lab.path("log"), &moved).expect("moved");
        lab.signal(Signal::SIGUSR1);
        let writes_to = |pid: i32| procfs::descriptors(pid).get(&2).cloned().unwrap_or_default();
        lab.until("every process writes to the new file", || {
            lab.processes().iter().all(|process| writes_to(process.pid) == path)
        });
        if generation == 1 {
            lab.upgrade();
        }
    }
    lab.stop();
}

#[test]
fn unix_sockets_serve_and_are_removed() {
    if !is_root() {
        return;
    }
    let (start, address) = Start::lab().set("user", NOBODY).unix();
    let lab = start.ready();
    assert_eq!(client::get(&address, "/").expect("an answer").status, 200);
    lab.upgrade();
    assert_eq!(client::get(&address, "/whoami").expect("an answer").whoami().generation, 2);
    lab.signal(Signal::SIGTERM);
    lab.assert_gone();
    assert!(!lab.path("lab.sock").exists());
}

#[test]
fn connections_move_as_ever() {
    if !is_root() {
        return;
    }
    let lab = Start::lab().set("user", NOBODY).for_a_storm().ready();
    let idle = |_| {
        let mut client = Client::connect(lab.address()).expect("a connection");
        assert_eq!(client.get("/").expect("an answer").status, 200);
        client
    };
    let mut held: Vec<Client> = (0..200).map(idle).collect();
    let load = Load::fresh(lab.address(), 2);
    load.more(10);
    for _ in 0..2 {
        lab.upgrade();
        load.more(10);
    }
    let before = lab.ready();
    lab.signal(Signal::SIGHUP);
    lab.until("every worker is new", || lab.ready().is_disjoint(&before) && lab.workers().len() == 2);
    load.finish_without_failure();
    for client in &mut held {
        let who = client.get("/whoami").expect("the same connection").whoami();
        assert_eq!((who.generation, who.master), (3, lab.serving()));
    }
    drop(held);
    lab.stop();
}

/// The kernel counts the descriptors that are on their way for each user, and
/// refuses more than one process may have open. Root is not counted.
#[test]
fn more_connections_move_than_a_user_may_have_on_their_way() {
    if !is_root() {
        return;
    }
    const MANY: usize = 200;
    let start = Start::lab().for_a_storm().set("user", NOBODY).set("workers", "3").set("upgrade-probation", "10m");
    let lab = start.open_files(128).ready();
    let mut waiting = eve::idle(lab.address(), MANY);
    let senders = lab.ready();
    lab.signal(Signal::SIGUSR2);
    lab.until_logged(log::UPGRADE_DONE, 1);
    lab.until("the successor's workers are ready", || lab.ready().is_disjoint(&senders) && lab.ready().len() == 3);
    let readers = lab.ready();
    readers.iter().for_each(|reader| lab.freeze(*reader));
    let sockets = || -> usize {
        let of = |pid: &i32| procfs::descriptors(*pid).values().filter(|it| it.starts_with("socket:")).count();
        senders.iter().map(of).sum()
    };
    let before = sockets();
    assert!(before >= MANY);
    lab.signal_to(lab.first(), Signal::SIGWINCH);
    lab.until("as many are on their way as may be", || before - sockets().min(before) >= 120);
    assert!(before - sockets() < MANY, "the rest has to wait");
    readers.iter().for_each(|reader| lab.thaw(*reader));
    lab.until("all have moved", || lab.processes().iter().all(|process| !senders.contains(&process.pid)));
    assert_eq!(eve::fate(&mut waiting), eve::Fate { answered: MANY, ..eve::Fate::default() });
    drop(waiting);
    lab.stop();
}

/// The kernel forgets, at the change of the user, whom it has to tell of a parent's death.
#[test]
fn workers_that_cannot_hear_it_die_with_their_master() {
    if !is_root() {
        return;
    }
    let lab = Start::lab().set("user", NOBODY).variable("LAB_BOOT", "hang").set("boot-timeout", "10m").spawn();
    lab.until("its workers boot", || {
        lab.workers().len() == 2 && lab.workers().iter().all(|worker| procfs::status(*worker, "Uid") != ["0"; 4])
    });
    let workers = lab.workers();
    workers.iter().for_each(|worker| lab.freeze(*worker));
    lab.signal_to(lab.first(), Signal::SIGKILL);
    for worker in workers {
        assert_eq!(lab.end_of(worker), End::Signal(9), "stopped, it can only be killed");
    }
}

#[test]
fn a_user_that_changes_waits_for_the_upgrade() {
    if !is_root() {
        return;
    }
    let lab = Start::lab().config(&format!("user = '{NOBODY}'\n")).ready();
    assert_workers_are_nobody(&lab);
    fs::write(lab.path("lab.toml"), "user = '12345'\ngroup = '23456'\n").expect("new settings");
    lab.signal(Signal::SIGHUP);
    lab.until_logged(log::RELOAD_DONE, 1);
    assert!(lab.log().contains("`user` has changed: it takes effect at the next upgrade"), "{}", lab.log());
    assert_workers_are_nobody(&lab);
    lab.until("two workers", || lab.workers().len() == 2);
    lab.upgrade();
    assert_workers_are(&lab, 12345, 23456);

    // One that is wrong keeps the successor from starting, and says why.
    fs::write(lab.path("lab.toml"), "user = 'no-such'\n").expect("new settings");
    lab.signal(Signal::SIGUSR2);
    lab.until_logged(log::UPGRADE_FAILED, 1);
    assert!(lab.log().contains("no user has this name"), "{}", lab.log());
    assert_eq!(lab.whoami().generation, 2);
    lab.stop();
}
