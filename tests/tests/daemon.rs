//! `--daemonize`: the command returns when the server is ready, and the server has let go of it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Stdio;

use hatchery_tests::client::{self, Client, Failure};
use hatchery_tests::pty::Terminal;
use hatchery_tests::{End, Lab, Program, Start, log, procfs};
use nix::sys::signal::Signal;
use nix::unistd::Pid;

/// Asserts that a process has nothing of who has started it.
fn assert_detached(pid: i32) {
    let session = procfs::session(pid).expect("it is there");
    assert_ne!(session, pid, "who leads a session can get a terminal");
    assert_ne!(session, procfs::session(i32::try_from(std::process::id()).expect("a pid")).expect("this one"));
    assert!(!procfs::has_terminal(pid));
    assert_eq!(procfs::descriptors(pid)[&0], "/dev/null");
}

#[test]
fn the_command_returns_when_the_workers_are_ready() {
    let lab = Start::lab().daemon();
    // Not waited for: it was so when the command returned.
    assert_eq!(log::WORKER_READY.count(&lab.log()), 2);
    assert_eq!(lab.ready().len(), 2);
    assert_eq!(lab.whoami().master, lab.first());
    assert_detached(lab.first());
    let log = lab.path("log").display().to_string();
    for pid in lab.processes().iter().map(|process| process.pid) {
        let open = procfs::descriptors(pid);
        assert_eq!((&open[&1], &open[&2]), (&log, &log));
        assert_eq!(fs::read_link(format!("/proc/{pid}/cwd")).expect("a folder").to_str(), Some("/"));
    }
    lab.stop();
}

#[test]
fn without_a_log_the_streams_are_the_null_device() {
    let start = Start::lab().argument("--daemonize");
    let (start, address) = start.unix();
    let lab = start.spawn();
    assert_eq!(lab.end_of(lab.first()), End::Code(0));
    assert_eq!(lab.log(), "", "the command says nothing");
    let master = lab.pid_file("lab.pid").expect("it is ready");
    for stream in 0..=2 {
        assert_eq!(procfs::descriptors(master)[&stream], "/dev/null");
    }
    assert_eq!(client::get(&address, "/").expect("an answer").status, 200);
    nix::sys::signal::kill(Pid::from_raw(master), Signal::SIGTERM).expect("it is there");
    lab.until("it is gone, and its pid file", || lab.pid_file("lab.pid").is_none());
}

#[test]
fn relative_paths_mean_what_they_meant_at_the_start() {
    let start = Start::lab().without("workers").set("pid-file", "lab.pid").set("log", "./log");
    fs::create_dir(start.path("inner")).expect("a folder");
    fs::write(start.path("settings.toml"), "workers = 2\n").expect("settings");
    Program::lab().install(&start.path("lab"));
    let start = start.set("bind", "unix:lab.sock").set("config", "settings.toml");
    let start = start.set("working-dir", "inner").set("umask", "027").first_argument("./lab");
    let (inner, address) = (start.path("inner"), format!("unix:{}", start.path("lab.sock").display()));
    let lab = start.daemon();
    let cwd = |pid: i32| fs::read_link(format!("/proc/{pid}/cwd")).expect("a folder");
    let mode = |name: &str| fs::metadata(lab.path(name)).expect("a file").mode() & 0o777;
    assert_eq!(cwd(lab.first()), inner);
    assert_eq!((mode("log"), mode("lab.sock"), mode("lab.pid")), (0o640, 0o750, 0o640));

    // The settings file, and the log.
    fs::write(lab.path("settings.toml"), "workers = 3\n").expect("settings");
    lab.signal(Signal::SIGHUP);
    lab.until_logged(log::RELOAD_DONE, 1);
    lab.until("three workers", || lab.workers().len() == 3 && lab.ready().len() == 3);
    fs::rename(lab.path("log"), lab.path("log.1")).expect("moved");
    lab.signal(Signal::SIGUSR1);
    lab.until("there is a log again", || lab.path("log").exists());
    assert_eq!(mode("log"), 0o640);

    // The program, and everything once more in the successor.
    let successor = lab.upgrade();
    assert_eq!(client::get(&address, "/whoami").expect("an answer").whoami().generation, 2);
    assert_eq!(cwd(successor), inner);
    lab.until("three workers", || lab.ready().len() == 3);
    assert_eq!(fs::read_dir(&inner).expect("its folder").count(), 0, "nothing is in the wrong place");
    lab.signal(Signal::SIGTERM);
    lab.assert_gone();
    assert!(!lab.path("lab.sock").exists());
}

#[test]
fn reload_and_upgrade_and_a_successor_that_does_not_detach_again() {
    let lab = Start::lab().daemon();
    let before = lab.ready();
    lab.signal(Signal::SIGHUP);
    lab.until_logged(log::RELOAD_DONE, 1);
    lab.until("every worker is new", || lab.ready().is_disjoint(&before) && lab.ready().len() == 2);
    let session = procfs::session(lab.first());
    for generation in 2..=3 {
        let successor = lab.upgrade();
        assert_eq!(lab.whoami().generation, generation);
        assert_eq!(procfs::session(successor), session, "another session would be another daemon");
        assert_detached(successor);
    }
    lab.stop();
}

#[test]
fn the_terminal_does_not_reach_it() {
    let mut terminal = Terminal::open();
    // A shell that goes on, so that the terminal has a session when the command is done.
    let shell = ["sh", "-c", "\"$@\" && echo returned && exec cat", "sh"];
    let launcher = Terminal::LAUNCHER.into_iter().chain(shell);
    let (start, address) = Start::lab().set("log", "log").unix();
    let shell = start.terminal(&terminal).launcher(launcher).argument("--daemonize").spawn();
    shell.until("the command has returned", || shell.log().contains("returned"));
    let master = shell.pid_file("lab.pid").expect("it is ready");
    assert_detached(master);
    terminal.interrupt();
    assert_eq!(shell.end_of(shell.first()), End::Signal(Signal::SIGINT as i32), "this one was reached");
    drop(terminal);
    let mut client = Client::connect(&address).expect("a connection");
    assert_eq!(client.get("/whoami").expect("an answer").whoami().master, master);
    assert_eq!(log::STOP_BEGUN.count(&shell.log()) + log::RELOAD_BEGUN.count(&shell.log()), 0);
    nix::sys::signal::kill(Pid::from_raw(master), Signal::SIGTERM).expect("it is there");
    shell.until("it has stopped", || shell.pid_file("lab.pid").is_none());
}

/// A daemon that does not come up: what its command says, in one line, and its code.
fn fails(start: Start, code: i32, words: &[&str]) {
    let ended = start.argument("--daemonize").ended();
    ended.assert_one_line(code, &[&["lab: error: "], words].concat());
}

#[test]
fn what_keeps_it_from_coming_up_is_said_by_the_command() {
    let boot = |value: &str| Start::lab().variable("LAB_BOOT", value).set("crash-limit", "2");
    fails(boot("fail"), 3, &["lab told to fail"]);
    fails(boot("nonsense"), 3, &["preload failed", "LAB_BOOT"]);
    fails(Start::lab().set("workers", "many"), 1, &["--workers (command line)", "many"]);
    fails(Start::lab().set("log", "/nowhere/log"), 1, &["log: cannot append to /nowhere/log"]);
    fails(Start::lab().set("working-dir", "/nowhere"), 1, &["working-dir", "/nowhere"]);
    fails(Start::lab().set("pid-file", "/nowhere/pid"), 1, &["/nowhere/pid"]);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    fails(Start::lab().set("bind", &address), 1, &[&address, "in use"]);
    let held = Start::lab().daemon();
    let pid_file = held.path("lab.pid").display().to_string();
    fails(Start::lab().set("pid-file", &pid_file), 1, &["held by a running master"]);
    held.stop();
}

#[test]
fn with_a_log_the_error_is_there_as_well() {
    let start = Start::lab().variable("LAB_BOOT", "fail").set("crash-limit", "2").argument("--daemonize");
    let path = start.path("server.log");
    let lab = start.set("log", &path.display().to_string()).spawn();
    assert_eq!(lab.end_of(lab.first()), End::Code(3));
    assert_eq!(lab.log().lines().count(), 1, "{}", lab.log());
    assert!(lab.log().contains("lab told to fail"), "{}", lab.log());
    let server = fs::read_to_string(path).expect("a log");
    assert_eq!(log::GAVE_UP.count(&server), 1, "{server}");
    assert!(!lab.path("lab.pid").exists());
}

/// A command that waits for a daemon that will never be ready, and that daemon.
fn waiting() -> (Lab, i32) {
    let lab = Start::lab().variable("LAB_BOOT", "hang").set("boot-timeout", "10m").argument("--daemonize").spawn();
    let mut daemon = None;
    lab.until("its worker boots", || {
        // Meanwhile orphans are the command's children.
        daemon = procfs::children(lab.first()).into_iter().find(|child| !procfs::children(*child).is_empty());
        daemon.is_some_and(|daemon| procfs::descriptors(daemon).len() > 3)
    });
    (lab, daemon.expect("found"))
}

#[test]
fn a_daemon_that_is_killed_before_it_is_ready() {
    let (lab, daemon) = waiting();
    nix::sys::signal::kill(Pid::from_raw(daemon), Signal::SIGKILL).expect("it is there");
    assert_eq!(lab.end_of(lab.first()), End::Code(128 + 9));
    assert_eq!(lab.log().lines().count(), 1, "{}", lab.log());
    assert!(lab.log().contains("ended before it was ready: it was killed by SIGKILL"), "{}", lab.log());
}

#[test]
fn a_daemon_that_is_stopped_before_it_is_ready() {
    let (lab, daemon) = waiting();
    lab.until("it listens to signals", || {
        let caught = procfs::status(daemon, "SigCgt");
        caught.first().is_some_and(|mask| u64::from_str_radix(mask, 16).is_ok_and(|mask| mask >> 14 & 1 == 1))
    });
    nix::sys::signal::kill(Pid::from_raw(daemon), Signal::SIGTERM).expect("it is there");
    assert_eq!(lab.end_of(lab.first()), End::Code(1));
    assert!(lab.log().contains("stopped before it was ready"), "{}", lab.log());
}

#[test]
fn on_demand_it_is_ready_when_it_listens() {
    let start = Start::lab().without("workers").argument("--on-demand");
    let (start, address) = start.unix();
    let lab = start.argument("--daemonize").spawn();
    assert_eq!(lab.end_of(lab.first()), End::Code(0));
    let master = lab.pid_file("lab.pid").expect("it is ready");
    assert_eq!(procfs::children(master), Vec::<i32>::new());
    assert_eq!(client::get(&address, "/").expect("an answer").status, 200);
    nix::sys::signal::kill(Pid::from_raw(master), Signal::SIGTERM).expect("it is there");
    lab.until("it has stopped", || lab.pid_file("lab.pid").is_none());
}

#[test]
fn behind_an_anchor() {
    let lab = Start::lab().set("anchor", "always").daemon();
    let anchor = procfs::parent(lab.first()).expect("it is there");
    assert_detached(anchor);
    assert_detached(lab.first());
    assert_eq!(procfs::children(anchor), [lab.first()]);
    let successor = lab.upgrade();
    lab.until("it is the anchor's", || procfs::parent(successor) == Some(anchor));
    lab.signal_to(anchor, Signal::SIGTERM);
    assert_eq!(lab.end_of(anchor), End::Code(0));
    lab.assert_gone();
}

#[test]
fn a_stop_closes_what_it_had() {
    let lab = Start::lab().daemon();
    let mut open = Client::connect(lab.address()).expect("a connection");
    open.begin("/stream?chunks=4&ms=100").expect("the answer begins");
    lab.signal(Signal::SIGTERM);
    assert_eq!(open.answer().expect("what is open is finished").body.len(), 64);
    assert_eq!(lab.end_of(lab.first()), End::Code(0));
    assert!(matches!(lab.get("/"), Err(Failure::NotConnected(_))));
    lab.assert_gone();
}

#[test]
fn pid_1_is_no_daemon() {
    let start = Start::lab().streams(Stdio::null(), Stdio::null());
    let Some(launcher) = hatchery_tests::namespace::launcher() else { return };
    let ended = start.launcher(launcher).argument("--daemonize").ended();
    ended.assert_one_line(1, &["--daemonize (command line)", "pid 1"]);
}
