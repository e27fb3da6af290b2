//! What the flags of a server do to the process, seen from outside.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use hatchery_tests::{End, Start, log};

/// The lab without the settings that `Start` gives it.
fn bare() -> Start {
    ["bind", "workers", "pid-file", "boot-timeout", "drain-timeout", "upgrade-probation"]
        .into_iter()
        .fold(Start::lab(), Start::without)
}

#[test]
fn help_is_no_error_and_names_every_setting() {
    let ended = bare().argument("--help").ended();
    assert_eq!(ended.end, End::Code(0));
    for flag in ["--config <FILE>", "--bind <ADDR>", "--workers <N>", "--umask <MODE>", "--raw <ADDR>"] {
        assert!(ended.log.contains(flag), "{}", ended.log);
    }
}

#[test]
fn a_log_does_not_hide_from_the_starter_why_the_server_does_not_start() {
    let holder = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = holder.local_addr().expect("an address").to_string();
    let start = Start::lab().set("bind", &address);
    let log = start.path("server.log").display().to_string();
    start.set("log", &log).ended().assert_one_line(1, &["lab: error: --bind (command line): address in use", &address]);
}

#[test]
fn a_log_has_everything_once_the_server_runs() {
    let start = Start::lab();
    let log = start.path("server.log");
    let lab = start.set("log", &log.display().to_string()).ready();
    assert_eq!(lab.log(), "", "nothing for the starter");
    let text = fs::read_to_string(log).expect("a log");
    assert_eq!(log::READY.count(&text), 1, "{text}");
    lab.stop();
}

#[test]
fn a_log_in_json_is_an_object_a_line() {
    let lab = Start::lab().set("log-format", "json").ready();
    let text = lab.log();
    let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("an object"));
    let messages: Vec<_> = lines.map(|line| line["message"].as_str().expect("a message").to_owned()).collect();
    assert!(messages.iter().any(|message| message.contains("generation 1 is ready")), "{messages:?}");
    lab.stop();
}

#[test]
fn rust_log_decides_what_is_logged_and_has_to_make_sense() {
    let quiet = Start::lab().variable("RUST_LOG", "error").ready();
    assert_eq!(quiet.log(), "");
    quiet.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(quiet.end_of(quiet.first()), End::Code(0));
    Start::lab().variable("RUST_LOG", "===").ended().assert_one_line(1, &["RUST_LOG (environment)", "expected"]);
}

#[test]
fn umask_and_folder_are_those_that_were_asked_for() {
    let start = Start::lab().set("umask", "027").set("pid-file", "lab.pid").set("log", "server.log");
    let work = start.path("work");
    fs::create_dir(&work).expect("a folder");
    let lab = start.set("working-dir", "work").ready();
    let folder = |pid: i32| fs::read_link(format!("/proc/{pid}/cwd")).expect("a folder");
    for pid in lab.workers().into_iter().chain([lab.first()]) {
        assert_eq!(folder(pid), work.canonicalize().expect("a folder"));
    }
    // Relative to where it was started, not to where it works.
    let mode = fs::metadata(lab.path("server.log")).expect("a log").permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    assert_eq!(lab.pid_file("lab.pid"), Some(lab.first()));
    lab.stop();
}

#[test]
fn a_folder_that_is_not_there_is_one_line() {
    Start::lab().set("working-dir", "/no/such/folder").ended().assert_one_line(1, &["working-dir", "/no/such/folder"]);
}

#[test]
fn the_environment_may_bind_several_addresses() {
    let lab = Start::lab().without("bind").variable("HATCHERY_BIND", "127.0.0.1:0, [::1]:0").ready();
    assert_eq!(lab.addresses().len(), 2);
    lab.stop();
}

#[test]
fn what_a_reload_cannot_read_changes_nothing() {
    let lab = Start::lab().without("workers").config("workers = 2\n").ready();
    let workers = lab.ready();
    fs::write(lab.path("lab.toml"), "workers = 'many'\n").expect("a file");
    lab.signal(nix::sys::signal::Signal::SIGHUP);
    lab.until_logged(log::RELOAD_FAILED, 1);
    let text = lab.log();
    assert!(text.contains("lab.toml line 1): expected a whole number"), "{text}");
    assert_eq!(lab.ready(), workers);
    fs::write(lab.path("lab.toml"), "workers = 3\n").expect("a file");
    lab.signal(nix::sys::signal::Signal::SIGHUP);
    lab.until_logged(log::RELOAD_DONE, 1);
    lab.until("there are three workers", || lab.ready().len() == 3);
    lab.stop();
}
