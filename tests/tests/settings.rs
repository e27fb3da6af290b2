//! Settings from the command line, the environment and the file.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use hatchery_tests::{Start, client};
use nix::sys::signal::Signal;

/// Each flag, and a value that it does not take.
const WRONG: &[(&str, &str)] = &[
    ("bind", "nowhere"),
    ("workers", "513"),
    ("listen-mode", "both"),
    ("backlog", "many"),
    ("boot-timeout", "soon"),
    ("drain-timeout", "10"),
    ("crash-limit", "-"),
    ("header-timeout", "15 parsecs"),
    ("body-timeout", ""),
    ("send-timeout", "1.2.3s"),
    ("keep-alive-timeout", "-1s"),
    ("max-connections", "none"),
    ("max-connections-per-peer", "few"),
    ("max-header-size", "1KiB"),
    ("max-body-size", "huge"),
    ("min-body-rate", "slow"),
    ("proxy-protocol-from", "10.0.0.0/33"),
    ("upgrade-probation", "later"),
    ("log-format", "xml"),
    ("umask", "9"),
];

#[test]
fn every_flag_refuses_what_it_does_not_take() {
    for (name, value) in WRONG {
        let flag = format!("--{name}");
        let start = Start::lab().without(name).argument(&format!("{flag}={value}"));
        start.ended().assert_one_line(1, &[&flag]);
    }
}

#[test]
fn every_flag_has_an_environment_variable() {
    for (name, value) in WRONG {
        let variable = format!("HATCHERY_{}", name.to_uppercase().replace('-', "_"));
        let start = Start::lab().without(name).variable(&variable, value);
        start.ended().assert_one_line(1, &[&variable]);
    }
}

#[test]
fn every_flag_has_a_key_in_the_file() {
    for (name, value) in WRONG {
        let key = name.replace('-', "_");
        let start = Start::lab().without(name).config(&format!("{key} = \"{value}\"\n"));
        start.ended().assert_one_line(1, &["lab.toml", &key]);
    }
}

#[test]
fn everything_can_come_from_the_file() {
    let names = ["bind", "workers", "pid-file", "boot-timeout", "drain-timeout", "upgrade-probation"];
    let start = names.into_iter().fold(Start::lab(), Start::without);
    let pid_file = start.path("from-file.pid");
    let text = format!(
        "bind = [\"127.0.0.1:0\", \"[::1]:0\"]\nworkers = 3\nlisten_mode = \"reuseport\"\nbacklog = 128\npid_file = {pid_file:?}\n\
         boot_timeout = \"10s\"\ndrain_timeout = \"2m\"\ncrash_limit = 3\nupgrade_probation = \"100ms\"\n\
         header_timeout = \"1s\"\nbody_timeout = \"1s\"\nsend_timeout = \"1s\"\nkeep_alive_timeout = \"1s\"\nmax_connections = 100\n"
    );
    let lab = start.config(&text).ready();
    lab.until("three workers", || lab.ready().len() == 3);
    assert_eq!(lab.addresses().len(), 2);
    for address in lab.addresses() {
        assert_eq!(client::get(address, "/").expect("an answer").status, 200);
    }
    lab.until("the pid file is there", || lab.pid_file("from-file.pid") == Some(lab.first()));
    lab.stop();
    assert!(!pid_file.exists());
}

#[test]
fn a_bind_on_the_command_line_replaces_the_files_list() {
    let lab = Start::lab().config("bind = [\"127.0.0.1:0\", \"127.0.0.1:0\"]\n").ready();
    assert_eq!(lab.addresses().len(), 1);
    lab.stop();
}

#[test]
fn help_and_version_end_well() {
    for flag in ["--help", "--version"] {
        let ended = Start::lab().argument(flag).ended();
        assert!(matches!(ended.end, hatchery_tests::End::Code(0)) || flag == "--version", "{}", ended.log);
    }
    let help = Start::lab().argument("--help").ended().log;
    for (name, _) in WRONG {
        assert!(help.contains(&format!("--{name}")), "--{name} is not in the help");
    }
}

#[test]
fn every_line_of_a_json_log_is_json() {
    let start = Start::lab().set("log-format", "json");
    let lab = start.spawn();
    lab.until("ready", || lab.pid_file("lab.pid").is_some() && lab.ready().len() == 2);
    lab.signal(Signal::SIGHUP);
    lab.until("reloaded", || lab.log().contains("reload is done"));
    for line in lab.log().lines() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(value["message"].is_string() && value["level"].is_string(), "{line}");
    }
    lab.stop();
}

#[test]
fn the_umask_is_that_of_the_settings() {
    let start = Start::lab().set("umask", "027");
    let log = start.path("server.log");
    let lab = start.set("log", &log.display().to_string()).spawn();
    lab.until("ready", || lab.pid_file("lab.pid").is_some() && lab.ready().len() == 2);
    let mode = fs::metadata(&log).expect("a log").permissions().mode();
    assert_eq!(mode & 0o777, 0o640, "{mode:o}");
    lab.stop();
}

#[test]
fn the_working_folder_is_that_of_the_settings() {
    let lab = Start::lab().set("working-dir", "/").ready();
    for process in lab.processes() {
        let folder = fs::read_link(format!("/proc/{}/cwd", process.pid)).expect("a folder");
        assert_eq!(folder, Path::new("/"));
    }
    lab.stop();
}

#[test]
fn a_relative_pid_file_and_log_are_those_of_the_working_folder() {
    let start = Start::lab().set("pid-file", "relative.pid").set("log", "relative.log");
    let lab = start.spawn();
    lab.until("ready", || lab.pid_file("relative.pid") == Some(lab.first()) && lab.ready().len() == 2);
    assert!(lab.path("relative.log").exists());
    lab.stop();
}
