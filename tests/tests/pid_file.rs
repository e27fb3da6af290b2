//! What stands at the path of a pid file is a master's, or is left alone.

use std::fs::{self, File};
use std::os::unix::fs::{FileTypeExt, symlink};
use std::path::Path;
use std::sync::Barrier;
use std::thread;

use hatchery_tests::{End, Lab, Start, client, log};
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use tempfile::TempDir;

fn folder() -> TempDir {
    TempDir::with_prefix("hatchery-pid-").expect("a folder")
}

fn with_pid_file(path: &Path) -> Start {
    Start::lab().set("pid-file", &path.display().to_string())
}

/// The names in a folder.
fn names(folder: &TempDir) -> Vec<String> {
    let files = fs::read_dir(folder.path()).expect("a folder");
    files.map(|file| file.expect("a file").file_name().to_string_lossy().into_owned()).collect()
}

fn is_refused(path: &Path) {
    with_pid_file(path).ended().assert_one_line(1, &[&path.display().to_string(), "no pid file"]);
}

#[test]
fn a_pipe_is_refused_and_left_alone() {
    let folder = folder();
    let path = folder.path().join("pipe");
    mkfifo(&path, Mode::S_IRWXU).expect("a pipe");
    is_refused(&path);
    assert!(fs::symlink_metadata(&path).expect("it is there").file_type().is_fifo());
    assert_eq!(names(&folder), ["pipe"]);
}

#[test]
fn a_folder_is_refused_and_left_alone() {
    let folder = folder();
    let path = folder.path().join("inner");
    fs::create_dir(&path).expect("a folder");
    is_refused(&path);
    assert!(path.is_dir());
    assert_eq!(names(&folder), ["inner"]);
}

#[test]
fn a_symbolic_link_is_refused_and_left_alone() {
    // Where it leads makes no difference: to data, to a stale pid file, to nothing.
    for content in [Some("data"), Some("999999999\n"), None] {
        let folder = folder();
        let (path, target) = (folder.path().join("link"), folder.path().join("target"));
        symlink("target", &path).expect("a link");
        if let Some(content) = content {
            fs::write(&target, content).expect("a file");
        }
        is_refused(&path);
        assert_eq!(fs::read_link(&path).expect("it is there"), Path::new("target"));
        assert_eq!(fs::read_to_string(&target).ok().as_deref(), content);
    }
}

#[test]
fn a_file_with_something_else_in_it_is_refused_and_left_alone() {
    let long = "x".repeat(100_000);
    for precious in ["data", "4242 and more", "12\n13\n", "\u{fffd}", &long] {
        let folder = folder();
        let path = folder.path().join("precious");
        fs::write(&path, precious).expect("a file");
        is_refused(&path);
        assert_eq!(fs::read_to_string(&path).expect("it is there"), precious);
        assert_eq!(names(&folder), ["precious"]);
    }
}

/// Starts six servers at once that want the same pid file: one has to get it.
fn race(prepare: impl Fn(&Path)) {
    for _ in 0..3 {
        let folder = folder();
        let path = folder.path().join("pid");
        prepare(&path);
        let together = Barrier::new(6);
        let labs: Vec<Lab> = thread::scope(|scope| {
            let start = || {
                let start = with_pid_file(&path);
                together.wait();
                start.spawn()
            };
            let started: Vec<_> = (0..6).map(|_| scope.spawn(start)).collect();
            started.into_iter().map(|lab| lab.join().expect("a server")).collect()
        });
        let (mut winners, mut losers) = (Vec::new(), Vec::new());
        for lab in labs {
            lab.until("it serves or has ended", || lab.has_ended(lab.first()) || log::READY.count(&lab.log()) > 0);
            if lab.has_ended(lab.first()) { losers.push(lab) } else { winners.push(lab) }
        }
        assert_eq!(winners.len(), 1, "{:?}", winners.iter().map(Lab::log).collect::<Vec<_>>());
        for lab in losers {
            assert_eq!(lab.end_of(lab.first()), End::Code(1), "{}", lab.log());
            assert_eq!(lab.log().lines().count(), 1, "{}", lab.log());
            assert!(lab.log().contains("is held by a running master"), "{}", lab.log());
        }
        let winner = winners.pop().expect("one");
        let held = || fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok());
        winner.until("the pid file is the winner's", || held() == Some(winner.first()));
        let address = log::listening(&winner.log())[0].to_string();
        assert_eq!(client::get(&address, "/").expect("an answer").status, 200);
        winner.stop();
        assert!(names(&folder).is_empty(), "{:?}", names(&folder));
    }
}

#[test]
fn of_six_that_start_at_once_one_serves() {
    race(|_| {});
}

#[test]
fn of_six_that_start_at_once_beside_a_dead_ones_file_one_serves() {
    race(|path| fs::write(path, "999999999\n").expect("a stale pid file"));
}

#[test]
fn of_six_that_start_at_once_beside_what_a_dead_one_had_reserved_one_serves() {
    race(|path| fs::write(path.with_extension("new"), "999999999\n").expect("a stale reservation"));
    race(|path| {
        for stale in [path, &path.with_extension("new")] {
            fs::write(stale, "999999999\n").expect("a stale file");
        }
    });
}

#[test]
fn who_only_looks_at_a_dead_ones_file_does_not_hold_it() {
    let folder = folder();
    let path = folder.path().join("pid");
    fs::write(&path, "999999999\n").expect("a stale pid file");
    // As another server does that starts, for a moment.
    let looks = Flock::lock(File::open(&path).expect("a file"), FlockArg::LockSharedNonblock).expect("a lock");
    let lab = with_pid_file(&path).spawn();
    let held = || fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok());
    lab.until("the pid file is its own", || {
        assert!(!lab.has_ended(lab.first()), "it was refused");
        held() == Some(lab.first())
    });
    drop(looks);
    lab.stop();
    assert!(names(&folder).is_empty(), "{:?}", names(&folder));
}

#[test]
fn a_folder_that_is_gone_at_an_upgrade_fails_it_and_the_next_one_puts_things_right() {
    let folder = folder();
    let inner = folder.path().join("run");
    fs::create_dir(&inner).expect("a folder");
    let path = inner.join("lab.pid");
    let lab = with_pid_file(&path).spawn();
    lab.until_logged(log::READY, 1);
    lab.until("the pid file is there", || path.exists());
    let before = lab.ready();
    fs::remove_dir_all(&inner).expect("the folder can be removed");
    lab.signal(Signal::SIGUSR2);
    lab.until_logged(log::UPGRADE_FAILED, 1);
    lab.until("nothing is left of it", || lab.processes().len() == 3);
    assert_eq!(lab.ready(), before);
    assert!(lab.log().contains(&format!("cannot write pid file {}", path.display())));
    let address = log::listening(&lab.log())[0].to_string();
    assert_eq!(client::get(&address, "/").expect("an answer").status, 200);

    fs::create_dir(&inner).expect("a folder");
    lab.signal(Signal::SIGUSR2);
    lab.until_logged(log::UPGRADE_DONE, 1);
    let held = || fs::read_to_string(&path).ok().and_then(|text| text.trim().parse::<i32>().ok());
    let successor = held().expect("a pid file");
    assert_ne!(successor, lab.first());
    // Until then its workers answer what they had accepted.
    lab.until("the predecessor is gone", || lab.has_ended(lab.first()));
    assert!(client::get(&address, "/whoami").expect("an answer").text().contains("\"generation\":2"));
    lab.signal_to(successor, Signal::SIGTERM);
    assert_eq!(lab.end_of(successor), End::Code(0));
    lab.assert_gone();
    assert_eq!(fs::read_dir(&inner).expect("the folder").count(), 0);
}

#[test]
fn something_else_in_its_place_while_it_is_held_is_left_alone() {
    let lab = Start::lab().ready();
    let path = lab.path("lab.pid");
    fs::remove_file(&path).expect("removed");
    mkfifo(&path, Mode::S_IRWXU).expect("a pipe");
    lab.signal_to(lab.first(), Signal::SIGUSR2);
    lab.until("the upgrade has an end", || {
        log::UPGRADE_DONE.count(&lab.log()) + log::UPGRADE_FAILED.count(&lab.log()) > 0
    });
    assert_eq!(lab.get("/").expect("an answer").status, 200);
    assert!(fs::symlink_metadata(&path).expect("it is there").file_type().is_fifo());
    lab.signal_all(Signal::SIGTERM);
    lab.until("no process is left", || lab.processes().is_empty());
    assert!(fs::symlink_metadata(&path).expect("it is there").file_type().is_fifo());
}
