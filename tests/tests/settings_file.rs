//! A settings file that is none, at a start, a reload and an upgrade.

use std::fs;
use std::path::Path;

use hatchery_tests::{Lab, Start, log};
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

fn pipe(path: &Path) {
    mkfifo(path, Mode::S_IRWXU).expect("a pipe");
}

/// Puts something else in the place of the settings of a running server: what
/// reads them fails and says so with these words, and the server serves on.
fn fails_and_serves_on(put: impl Fn(&Path), words: &[&str]) {
    let lab = Start::lab().config("send_timeout = \"9s\"\n").ready();
    let path = lab.path("lab.toml");
    let workers = lab.ready();
    fs::remove_file(&path).expect("removed");
    put(&path);
    for count in 1..=2 {
        lab.signal(Signal::SIGHUP);
        lab.until_logged(log::RELOAD_FAILED, count);
    }
    assert_line(&lab, log::RELOAD_FAILED, words);
    assert_eq!(lab.ready(), workers);
    assert_eq!(lab.get("/").expect("an answer").status, 200);

    lab.signal(Signal::SIGUSR2);
    lab.until_logged(log::UPGRADE_FAILED, 1);
    lab.until("nothing is left of it", || lab.processes().len() == 3);
    assert_line(&lab, log::UPGRADE_FAILED, words);
    assert_eq!(lab.ready(), workers);

    // What is right again is as if nothing had been.
    let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir(&path));
    fs::write(&path, "workers = 2\n").expect("a settings file");
    lab.signal(Signal::SIGHUP);
    lab.until("every worker is new", || lab.ready().is_disjoint(&workers) && lab.ready().len() == 2);
    lab.upgrade();
    assert_eq!(lab.whoami().generation, 2);
    lab.stop();
}

fn assert_line(lab: &Lab, line: log::Line, words: &[&str]) {
    let log = lab.log();
    let said = log.lines().find(|said| line.is(said)).expect("the line");
    for word in words.iter().chain(&["lab.toml"]) {
        assert!(said.contains(word), "`{word}` is not in: {said}");
    }
}

#[test]
fn a_pipe_is_refused_at_a_start() {
    let start = Start::lab();
    let path = start.path("lab.toml");
    pipe(&path);
    start.set("config", &path.display().to_string()).ended().assert_one_line(1, &["lab.toml", "not a regular file"]);
}

#[test]
fn a_device_and_a_folder_are_refused_at_a_start() {
    for path in ["/dev/zero", "/dev"] {
        Start::lab().set("config", path).ended().assert_one_line(1, &[path, "not a regular file"]);
    }
}

#[test]
fn a_pipe_in_its_place() {
    fails_and_serves_on(pipe, &["not a regular file"]);
}

#[test]
fn a_folder_in_its_place() {
    fails_and_serves_on(|path| fs::create_dir(path).expect("a folder"), &["not a regular file"]);
}

#[test]
fn nothing_in_its_place() {
    fails_and_serves_on(|_| {}, &["No such file"]);
}

#[test]
fn garbage_in_its_place() {
    fails_and_serves_on(|path| fs::write(path, "= = =\n").expect("a file"), &[]);
    fails_and_serves_on(|path| fs::write(path, b"\xff\xfe\n").expect("a file"), &["UTF-8"]);
    fails_and_serves_on(|path| fs::write(path, "wrokers = 2\n").expect("a file"), &["wrokers"]);
}
