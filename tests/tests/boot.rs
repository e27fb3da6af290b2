//! From the start to ready, and what happens when the application does not boot.

use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};

use hatchery_tests::procfs::{Process, Role};
use hatchery_tests::{End, Start, client, log, wait};

#[test]
fn port_0_is_told_in_the_log_and_served() {
    let lab = Start::lab().ready();
    assert_eq!(lab.get("/").expect("an answer").text(), "Hello, World!");
    lab.stop();
}

#[test]
fn every_address_is_served() {
    let start = Start::lab().argument("--bind").argument("[::1]:0");
    let path = start.path("lab.sock");
    let unix = format!("unix:{}", path.display());
    let lab = start.argument("--bind").argument(&unix).ready();
    assert_eq!(lab.addresses().len(), 2, "{:?}", lab.addresses());
    for address in lab.addresses().iter().chain([&unix]) {
        let answer = client::get(address, "/").unwrap_or_else(|failure| panic!("{address}: {failure}"));
        assert_eq!(answer.text(), "Hello, World!");
    }
    assert!(fs::symlink_metadata(&path).expect("a socket").file_type().is_socket());
    lab.stop();
    assert!(!path.exists(), "a unix socket is removed at the end");
}

#[test]
fn titles_tell_who_is_who() {
    let lab = Start::lab().set("workers", "3").ready();
    assert_eq!(lab.generation(), Some(1));
    let mut slots: Vec<u16> = lab
        .workers()
        .iter()
        .map(|pid| match Process::read(*pid).expect("a worker").role() {
            Role::Worker { slot, generation: 1, .. } => slot,
            other => panic!("{other:?}"),
        })
        .collect();
    slots.sort_unstable();
    assert_eq!(slots, [0, 1, 2]);
    assert_eq!(lab.processes().len(), 4, "the master's children are its workers and nothing else");
    lab.stop();
}

#[test]
fn a_reuseport_server_answers_on_every_queue() {
    let lab = Start::lab().set("listen-mode", "reuseport").set("workers", "3").ready();
    let mut seen = std::collections::BTreeSet::new();
    lab.until("every worker has answered", || {
        seen.insert(lab.whoami().pid);
        seen == lab.ready()
    });
    lab.stop();
}

#[test]
fn the_pid_file_is_written_when_ready_and_removed_at_the_end() {
    let booting = Start::lab().variable("LAB_BOOT", "hang").spawn();
    booting.until("the workers boot", || booting.workers().len() == 2);
    assert_eq!(booting.pid_file("lab.pid"), None);
    drop(booting);

    let lab = Start::lab().ready();
    assert_eq!(lab.pid_file("lab.pid"), Some(lab.first()));
    lab.stop();
}

#[test]
fn a_pid_file_of_nobody_is_replaced() {
    let start = Start::lab();
    fs::write(start.path("lab.pid"), "999999999\n").expect("a stale pid file");
    let lab = start.spawn();
    lab.until("the pid file is ours", || lab.pid_file("lab.pid") == Some(lab.first()));
    lab.stop();
}

#[test]
fn a_unix_socket_of_nobody_is_replaced() {
    let start = Start::lab();
    let path = start.path("lab.sock");
    drop(UnixListener::bind(&path).expect("a socket"));
    // A child that another test forks has a copy of the listener until it execs.
    wait::until("nobody listens", || UnixStream::connect(&path).err());
    let address = format!("unix:{}", path.display());
    let lab = start.set("bind", &address).ready();
    assert_eq!(client::get(&address, "/").expect("an answer").status, 200);
    lab.stop();
}

#[test]
fn the_command_line_beats_the_environment_beats_the_file() {
    let layers = |start: Start| start.without("workers").config("workers = 1\n");
    let workers = |start: Start| {
        let lab = start.ready();
        lab.until_logged(log::READY, 1);
        let workers = lab.workers().len();
        lab.stop();
        workers
    };
    assert_eq!(workers(layers(Start::lab())), 1);
    assert_eq!(workers(layers(Start::lab()).variable("HATCHERY_WORKERS", "2")), 2);
    assert_eq!(workers(layers(Start::lab()).variable("HATCHERY_WORKERS", "2").set("workers", "3")), 3);
}

#[test]
fn an_application_that_fails_to_boot_ends_the_server_with_its_own_words() {
    let ended = Start::lab().variable("LAB_BOOT", "fail").set("crash-limit", "3").ended();
    assert_eq!(ended.end, End::Code(3), "{}", ended.log);
    assert!(log::BOOT_FAILED.count(&ended.log) >= 1, "{}", ended.log);
}

#[test]
fn an_application_that_hangs_is_given_up_after_the_boot_timeout() {
    let start = Start::lab().variable("LAB_BOOT", "hang").set("boot-timeout", "300ms").set("crash-limit", "2");
    let ended = start.ended();
    assert_eq!(ended.end, End::Code(3), "{}", ended.log);
    assert!(log::BOOT_TIMEOUT.count(&ended.log) >= 1, "{}", ended.log);
}

#[test]
fn workers_that_crash_in_a_row_end_a_server_that_has_never_served() {
    let ended = Start::lab().variable("LAB_BOOT", "crash").set("crash-limit", "4").ended();
    assert_eq!(ended.end, End::Code(3), "{}", ended.log);
    assert_eq!(log::GAVE_UP.count(&ended.log), 1, "{}", ended.log);
    assert!(log::WORKER_EXITED.count(&ended.log) >= 4, "{}", ended.log);
}

#[test]
fn a_failed_boot_leaves_no_pid_file() {
    let lab = Start::lab().variable("LAB_BOOT", "fail").set("crash-limit", "1").spawn();
    assert_eq!(lab.end_of(lab.first()), End::Code(3));
    lab.assert_gone();
}
