//! A disk that is full under the pid file or the log.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use hatchery_tests::client;
use hatchery_tests::load::Load;
use hatchery_tests::{End, Lab, Start, log};
use nix::sys::signal::Signal;
use nix::unistd::geteuid;

/// What begins a mount namespace of one's own.
fn unshare() -> &'static [&'static str] {
    if geteuid().is_root() { &["unshare", "-m"] } else { &["unshare", "-Urm"] }
}

/// A start on a disk of 16 KiB in a folder that nobody else sees, after a
/// command there; `None` where that is not allowed.
fn on_a_small_disk(start: Start, first: &str) -> Option<(Start, PathBuf)> {
    let [command, option] = unshare() else { return None };
    let mount = [*option, "mount", "-t", "tmpfs", "tmpfs", "/mnt"];
    let allowed = Command::new(command).args(mount).stderr(Stdio::null()).status();
    if !allowed.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: a mount namespace is not allowed");
        return None;
    }
    let folder = start.path("disk");
    fs::create_dir(&folder).expect("a folder");
    let path = folder.display();
    let script =
        format!("mount -t tmpfs -o size=16k tmpfs {path} && cd {path} && {{ {first}; }} ; cd / && exec \"$@\"");
    Some((start.launcher([*command, *option, "sh", "-c", &script, "sh"]), folder))
}

/// Takes what room there is.
const FILL: &str = "head -c 100000 /dev/zero > filled 2> /dev/null";

/// A path in the namespace of a lab's master, as this process sees it.
fn inside(lab: &Lab, path: &std::path::Path) -> PathBuf {
    PathBuf::from(format!("/proc/{}/root{}", lab.first(), path.display()))
}

#[test]
fn a_pid_file_that_cannot_be_written_ends_a_start() {
    let Some((start, folder)) = on_a_small_disk(Start::lab(), FILL) else { return };
    let pid_file = folder.join("lab.pid").display().to_string();
    let ended = start.set("pid-file", &pid_file).ended();
    ended.assert_one_line(1, &["cannot write pid file", &pid_file, "No space left on device"]);
}

#[test]
fn a_pid_file_that_cannot_be_written_fails_an_upgrade_and_nothing_else() {
    let Some((start, folder)) = on_a_small_disk(Start::lab(), "true") else { return };
    let pid_file = folder.join("lab.pid");
    let lab = start.set("pid-file", &pid_file.display().to_string()).spawn();
    lab.until("it is ready", || log::READY.count(&lab.log()) == 1);
    let seen = inside(&lab, &pid_file);
    let address = log::listening(&lab.log())[0].to_string();
    let load = Load::fresh(&address, 2);
    let filled = inside(&lab, &folder.join("filled"));
    assert!(fs::write(&filled, vec![0; 100_000]).is_err(), "it is full now");
    lab.signal_to(lab.first(), Signal::SIGUSR2);
    lab.until("the upgrade has an end", || {
        log::UPGRADE_FAILED.count(&lab.log()) + log::UPGRADE_DONE.count(&lab.log()) + log::TAKEN_BACK.count(&lab.log())
            == 1
    });
    load.more(50);
    assert_eq!(log::UPGRADE_FAILED.count(&lab.log()) + log::TAKEN_BACK.count(&lab.log()), 1, "{}", lab.log());
    assert!(lab.log().contains("No space left on device"), "{}", lab.log());
    assert_eq!(fs::read_to_string(&seen).expect("a pid file").trim(), lab.first().to_string());

    fs::remove_file(&filled).expect("room");
    lab.signal_to(lab.first(), Signal::SIGUSR2);
    lab.until("the upgrade is done", || log::UPGRADE_DONE.count(&lab.log()) == 1);
    load.more(50);
    load.finish_without_failure();
    lab.signal_all(Signal::SIGTERM);
    lab.until("nobody is left", || lab.processes().is_empty());
}

#[test]
fn a_log_on_a_disk_that_fills_up_costs_lines_and_nothing_else() {
    let Some((start, folder)) = on_a_small_disk(Start::lab(), "true") else { return };
    let (start, address) = start.unix();
    let path = folder.join("lab.log");
    let lab = start.set("log", &path.display().to_string()).spawn();
    lab.until("it serves", || client::get(&address, "/").is_ok_and(|answer| answer.status == 200));
    let (seen, filled) = (inside(&lab, &path), inside(&lab, &folder.join("filled")));
    assert!(fs::write(&filled, vec![0; 100_000]).is_err(), "it is full now");
    let load = Load::fresh(&address, 2);
    let mut before = lab.ready();
    // The room up to the end of a page is there, then there is none.
    for _ in 0..30 {
        lab.signal(Signal::SIGHUP);
        lab.until("every worker is new", || lab.ready().is_disjoint(&before) && lab.ready().len() == 2);
        before = lab.ready();
    }
    assert_eq!(client::get(&address, "/panic").expect("an answer").status, 500);
    load.more(50);
    let said = fs::read_to_string(&seen).expect("the log");
    assert!(log::RELOAD_DONE.count(&said) < 30, "the disk was not full");
    let lines = said.lines().count();
    fs::remove_file(&filled).expect("room");
    lab.signal(Signal::SIGHUP);
    lab.until("it is said again", || fs::read_to_string(&seen).is_ok_and(|log| log.lines().count() > lines));
    load.finish_without_failure();
    lab.signal(Signal::SIGTERM);
    assert_eq!(lab.end_of(lab.first()), End::Code(0));
    lab.assert_gone();
}
