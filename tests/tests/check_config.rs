//! What a server would run with, and the file that it could be told so by.

use std::fs;
use std::process::{Command, Output};

use hatchery_tests::program::example;
use hatchery_tests::{Start, log};
use nix::sys::signal::Signal;

fn lab(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(example("lab"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("HATCHERY_")) {
        command.env_remove(name);
    }
    command.args(arguments).envs(variables.iter().copied()).output().expect("the lab runs")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8")
}

#[test]
fn each_setting_is_told_with_its_source() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("app.toml");
    fs::write(&file, "# ours\ndrain_timeout = \"5s\"\nworkers = 7\nbacklog = 9\n").expect("a file");
    let path = file.display().to_string();
    let variables = [("HATCHERY_WORKERS", "6"), ("HATCHERY_WROKERS", "6"), ("HATCHERY_BACKLOG", "8")];
    let told = lab(&["--check-config", "--config", &path, "--backlog", "7"], &variables);
    assert_eq!(told.status.code(), Some(0), "{}", text(&told.stderr));
    // Also for those who look at nothing but what is wrong.
    let warning = "lab: warning: HATCHERY_WROKERS in the environment is no setting; did you mean HATCHERY_WORKERS?\n";
    assert_eq!(text(&told.stderr), warning);
    let report = text(&told.stdout);
    let file_line = format!("drain_timeout = \"5s\"  # {path} line 2");
    for line in [
        "backlog = 7  # command line",
        "workers = 6  # environment",
        &file_line,
        "bind = [\"127.0.0.1:8080\"]  # set by the program",
        "send_timeout = \"30s\"  # default",
        "# pid_file is not set",
        "# HATCHERY_WROKERS in the environment is no setting; did you mean HATCHERY_WORKERS?",
    ] {
        assert!(report.lines().any(|told| told == line), "`{line}` is not in\n{report}");
    }
    // It is a settings file itself, that leads to the same settings.
    let again = folder.path().join("again.toml");
    fs::write(&again, report).expect("a file");
    let told = lab(&["--check-config", "--config", &again.display().to_string()], &[]);
    assert_eq!(told.status.code(), Some(0), "{}", text(&told.stderr));
    assert!(text(&told.stdout).contains("workers = 6  # "), "{}", text(&told.stdout));
}

#[test]
fn what_would_not_start_is_said_as_a_start_would() {
    for (arguments, words) in [
        (&["--check-config", "--workers", "0"][..], &["--workers", "from 1 to 512"][..]),
        (&["--check-config", "--idle-timeout", "1s"], &["--idle-timeout", "only with --on-demand"]),
        (&["--check-config", "--config", "/no/such/file"], &["/no/such/file", "--config"]),
        (&["--check-config", "--working-dir", "/no/such/folder"], &["--working-dir", "not a folder"]),
        (&["--check-config", "--log", "/no/such/folder/log"], &["/no/such/folder/log"]),
        (&["--check-config", "--user", "nobody-of-that-name"], &["--user"]),
    ] {
        let told = lab(arguments, &[]);
        assert_eq!(told.status.code(), Some(1), "{arguments:?}");
        let error = text(&told.stderr);
        assert_eq!(error.lines().count(), 1, "{error}");
        for word in words {
            assert!(error.contains(word), "`{word}` is not in {error}");
        }
        assert!(told.stdout.is_empty());
    }
}

#[test]
fn a_log_that_is_not_there_yet_is_not_made() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("app.log");
    let path = log.display().to_string();
    for name in ["--log", "--access-log"] {
        let told = lab(&["--check-config", name, &path], &[]);
        assert_eq!(told.status.code(), Some(0), "{}", text(&told.stderr));
        assert!(!log.exists(), "{name}");
    }
    // It would be made there, but not in place of a folder.
    let told = lab(&["--check-config", "--log", &folder.path().display().to_string()], &[]);
    assert_eq!(told.status.code(), Some(1));
    assert!(text(&told.stderr).contains("Is a directory"), "{}", text(&told.stderr));
}

#[test]
fn paths_that_two_settings_name_are_refused() {
    for (arguments, name) in [
        (["--bind", "unix:/run/x", "--pid-file", "/run/x"], "--pid-file"),
        (["--bind", "unix:/run/x", "--log", "/run/x"], "--log"),
        (["--admin", "unix:/run/x", "--pid-file", "/run/x"], "--pid-file"),
        (["--pid-file", "/run/x", "--control", "/run/x.oldbin"], "--pid-file"),
    ] {
        let told = lab(&[&["--check-config"], &arguments[..]].concat(), &[]);
        assert_eq!(told.status.code(), Some(1), "{arguments:?}");
        let error = text(&told.stderr);
        assert!(error.contains(name) && error.contains("expected a path of its own"), "{error}");
    }
}

#[test]
fn the_sample_is_a_settings_file_and_nothing_is_started_for_it() {
    let told = lab(&["--sample-config"], &[]);
    assert_eq!(told.status.code(), Some(0));
    let sample = text(&told.stdout);
    assert!(sample.contains("# drain_timeout = \"30s\"\n"), "{sample}");
    let lab = Start::lab().config(sample).ready();
    assert_eq!(lab.get("/").expect("an answer").status, 200);
    lab.stop();
}

#[test]
fn a_variable_that_is_no_setting_is_said_at_a_start_and_a_reload() {
    let lab = Start::lab().variable("HATCHERY_WROKERS", "3").ready();
    let said = || lab.log().matches("HATCHERY_WROKERS in the environment is no setting; did you mean ").count();
    assert_eq!(said(), 1, "{}", lab.log());
    lab.signal(Signal::SIGHUP);
    lab.until_logged(log::RELOAD_DONE, 1);
    assert_eq!(said(), 2, "{}", lab.log());
    lab.stop();
}
