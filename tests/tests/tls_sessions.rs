//! Sessions go on: in another worker, in the next generation, and with an older key.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use hatchery_tests::certificates::{Authority, authority};
use hatchery_tests::client::Client;
use hatchery_tests::procfs::{self, Process};
use hatchery_tests::{Lab, Start, log, openssl, wait};
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use nix::sys::signal::Signal;
use nix::unistd::Uid;
use rustls::{ClientConfig, HandshakeKind};

/// The name of the keys' file.
const KEYS: &str = "memfd:hatchery-keys";

/// Whether a session went on, and who has answered.
fn visit(lab: &Lab, config: &Arc<ClientConfig>) -> (bool, i32) {
    let mut client = Client::connect_tls(lab.secure(), config).expect("a handshake");
    let pid = client.get("/whoami").expect("an answer").whoami().pid;
    (client.tls().handshake_kind() == Some(HandshakeKind::Resumed), pid)
}

fn resumes(lab: &Lab, config: &Arc<ClientConfig>) -> i32 {
    let (resumed, pid) = visit(lab, config);
    assert!(resumed, "worker {pid} does not know the session");
    pid
}

#[test]
fn every_worker_of_every_generation_knows_a_session() {
    let lab = Start::lab().secured().set("listen-mode", "reuseport").ready();
    let config = authority().client(&[], None);
    assert!(!visit(&lab, &config).0, "there is none yet");
    let mut seen = BTreeSet::new();
    lab.until("both workers have answered", || {
        seen.insert(resumes(&lab, &config));
        seen.len() == 2
    });

    let before = lab.ready();
    lab.signal(Signal::SIGHUP);
    lab.until_logged(log::RELOAD_DONE, 1);
    lab.until("the old workers are gone", || lab.workers().is_disjoint(&before));
    resumes(&lab, &config);

    lab.upgrade();
    resumes(&lab, &config);
    lab.upgrade();
    resumes(&lab, &config);

    // A successor that dies while it is on probation is taken back from.
    let serving = lab.serving();
    lab.signal(Signal::SIGUSR2);
    lab.until_logged(log::UPGRADE_DONE, 3);
    resumes(&lab, &config);
    let successor = lab.serving();
    if successor != serving {
        lab.signal_to(successor, Signal::SIGKILL);
        lab.until("somebody serves", || lab.serving() != successor && !lab.ready().is_empty());
    }
    resumes(&lab, &config);
    lab.stop();
}

/// What a process has of the keys' page: descriptors, and mappings with their access.
fn held(pid: i32) -> (usize, Vec<String>) {
    let descriptors = procfs::descriptors(pid);
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("it lives");
    let access = maps.lines().filter(|line| line.contains(KEYS)).filter_map(|line| line.split(' ').nth(1));
    (descriptors.values().filter(|target| target.contains(KEYS)).count(), access.map(str::to_owned).collect())
}

#[test]
fn only_masters_hold_the_file_of_the_keys() {
    let is_root = Uid::effective().is_root();
    let start = Start::lab().secured().set("admin", "127.0.0.1:0");
    let lab = if is_root { start.set("user", "nobody") } else { start }.ready();
    let config = authority().client(&[], None);
    for _ in 0..2 {
        let master = lab.serving();
        assert_ne!(held(master).0, 0, "nobody would find them after an upgrade");
        let workers = lab.workers();
        for worker in &workers {
            assert_eq!(held(*worker), (0, vec!["r--s".to_owned()]));
        }
        // It gets its title after it has let go of what is not its own.
        let is_admin = |process: &Process| process.parent == master && process.title.contains("admin");
        let admin = wait::until("the admin process", || lab.processes().into_iter().find(is_admin)).pid;
        assert_eq!(held(admin), (0, Vec::new()));
        for pid in workers.into_iter().chain([admin]).filter(|_| is_root) {
            let owner = fs::metadata(format!("/proc/{pid}/mem")).expect("it lives").uid();
            assert_eq!(owner, 0, "{pid}: its user can look at its memory");
        }
        visit(&lab, &config);
        resumes(&lab, &config);
        lab.upgrade();
    }
    lab.stop();
}

#[test]
fn whoever_keeps_masters_from_making_keys_is_told_of() {
    let lab = Start::lab().secured().set("tls-ticket-lifetime", "2s").ready();
    let master = lab.serving();
    let open = procfs::descriptors(master);
    let number = open.iter().find(|(_, target)| target.contains(KEYS)).expect("it has the keys").0;
    let path = format!("/proc/{master}/fd/{number}");
    let file = fs::File::options().read(true).write(true).open(path).expect("the test may");
    let all = libc::flock {
        l_type: libc::F_WRLCK.try_into().expect("a small number"),
        l_whence: libc::SEEK_SET.try_into().expect("a small number"),
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    fcntl(&file, FcntlArg::F_SETLKW(&all)).expect("a lock");
    lab.until_logged(log::KEYS_LOCKED, 1);
    assert!(lab.log().contains(&format!("process {} holds their lock", std::process::id())), "{}", lab.log());
    lab.stop();
}

#[test]
fn another_server_does_not_know_it() {
    let config = authority().client(&[], None);
    for _ in 0..2 {
        let lab = Start::lab().secured().ready();
        assert!(!visit(&lab, &config).0);
        resumes(&lab, &config);
        lab.stop();
    }
}

#[test]
fn no_tickets_where_none_are_wanted() {
    let lab = Start::lab().secured().set("tls-ticket-lifetime", "0").ready();
    let config = authority().client(&[], None);
    for _ in 0..3 {
        assert!(!visit(&lab, &config).0);
    }
    lab.stop();
}

#[test]
fn whoever_must_show_a_certificate_cannot_go_around_that_with_an_old_session() {
    let start = Start::lab().secured();
    let issuer = Authority::new("issuer of clients");
    fs::write(start.path("issuer.pem"), issuer.pem()).expect("a file");
    let file = start.path("issuer.pem").display().to_string();
    let text = |auth: &str| format!("tls_client_ca = {file:?}\ntls_client_auth = {auth:?}\n");
    let lab = start.config(&text("optional")).ready();
    let config = authority().client(&[], None);
    visit(&lab, &config);
    resumes(&lab, &config);

    fs::write(lab.path("lab.toml"), text("required")).expect("a file");
    let before = lab.ready();
    lab.signal(Signal::SIGHUP);
    lab.until_logged(log::RELOAD_DONE, 1);
    lab.until("the old workers are gone", || lab.workers().is_disjoint(&before));
    let asked = Client::connect_tls(lab.secure(), &config).and_then(|mut client| client.get("/"));
    assert!(asked.is_err(), "{asked:?}");
    lab.stop();
}

/// One request with `openssl s_client`: whether its session went on. A new one is written to a file.
fn resumed(lab: &Lab, version: &str, session: Option<&Path>, new: &Path) -> bool {
    let new = new.display().to_string();
    let mut arguments = vec![version, "-sess_out", &new];
    let session = session.map(|session| session.display().to_string());
    if let Some(session) = &session {
        arguments.extend(["-sess_in", session]);
    }
    let said = openssl::ask(lab.secure(), &arguments);
    said.contains("\nReused, ")
}

/// The number of the key in a ticket, which it begins with.
fn key_of(session: &Path) -> String {
    let output =
        Command::new("openssl").args(["sess_id", "-noout", "-text", "-in"]).arg(session).output().expect("openssl");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let dump = text.lines().skip_while(|line| !line.contains("session ticket:")).nth(1);
    let dump = dump.unwrap_or_else(|| panic!("no ticket: {text}"));
    let bytes = dump.split_once(" - ").expect("a dump").1;
    bytes[..23].replace('-', " ")
}

#[test]
fn a_ticket_outlives_the_rotation_of_keys() {
    for version in ["-tls1_2", "-tls1_3"] {
        let lab = Start::lab().secured().set("tls-ticket-lifetime", "8s").ready();
        let (old, new) = (lab.path("old.pem"), lab.path("new.pem"));
        assert!(!resumed(&lab, version, None, &old));
        assert!(resumed(&lab, version, Some(&old), &new), "{version}");
        wait::until("a new key encrypts", || {
            resumed(&lab, version, None, &new);
            (key_of(&new) > key_of(&old)).then_some(())
        });
        assert!(resumed(&lab, version, Some(&old), &new), "{version}: the key before it decrypts");
        let session = fs::read(&old).expect("a session");
        lab.stop();

        // Keys that nobody has any more: the client gets a new session, and its answer.
        let lab = Start::lab().secured().set("tls-ticket-lifetime", "8s").ready();
        fs::write(lab.path("old.pem"), session).expect("a file");
        assert!(!resumed(&lab, version, Some(&lab.path("old.pem")), &lab.path("new.pem")));
        lab.stop();
    }
}
