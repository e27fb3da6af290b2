//! What this program does when a case has become it by exec.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;

use hatchery_sys::exec::{Program, exec};
use hatchery_sys::origin::Origin;
use hatchery_sys::signals::{SelfPipe, Startup, ignore_by_handler};
use hatchery_sys::{Signal, env, process, signals, title};

pub(crate) fn play(role: &str) -> ExitCode {
    match role {
        "hold" => hold(),
        "mirror" => mirror(),
        "start-again" => start_again(),
        "meddle-with-signals" => meddle_with_signals(),
        "say-origin" => say_origin(),
        other => panic!("no role {other}"),
    }
    ExitCode::SUCCESS
}

/// Says that it is there, and stays until its standard input ends.
fn hold() {
    say(b"!");
    let _ = io::stdin().read(&mut [0]);
}

/// Says what the kernel has of its arguments, its environment and its directory.
fn mirror() {
    say(&fs::read("/proc/self/cmdline").expect("arguments"));
    say(b"\n--\n");
    say(&fs::read("/proc/self/environ").expect("environment"));
    say(b"\n--\n");
    say(fs::read_link("/proc/self/cwd").expect("a directory").as_os_str().as_bytes());
}

/// Does what a master does between its start and its upgrade, then starts
/// itself again: as `mirror`, which is the only thing that it changes.
fn start_again() {
    let startup = Startup::capture();
    let origin = Origin::capture().expect("origin");
    let args: Vec<OsString> = std::env::args_os().collect();
    let _ = env::take("TAKEN");
    let vars: Vec<(OsString, OsString)> = std::env::vars_os().collect();
    title::set("hatchery: a title that is longer than the arguments, so that it has to run into the environment");
    assert_eq!(args, std::env::args_os().collect::<Vec<_>>());
    assert_eq!(vars, std::env::vars_os().collect::<Vec<_>>());
    assert_eq!(std::env::var_os("TAKEN"), None);
    process::set_working_dir("/".as_ref()).expect("the root can be entered");
    let mut args = origin.args.clone();
    args[2] = "mirror".into();
    let error = exec(&Program { path: origin.program, args, env: origin.env, dir: origin.dir }, &[], &startup);
    panic!("{error}");
}

/// Handles, ignores and blocks signals, then becomes `cat` of its own status.
fn meddle_with_signals() {
    let startup = Startup::capture();
    assert!(startup.ignores(Signal::SIGHUP));
    assert!(!startup.ignores(Signal::SIGPIPE), "that is Rust's runtime");
    let _pipe = SelfPipe::install(&[Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGTERM]).expect("a self-pipe");
    ignore_by_handler(&[Signal::SIGINT]).expect("it can be caught");
    let _ = signals::block_all().expect("signals can be blocked");
    let cat = Program {
        path: "/bin/cat".into(),
        args: vec!["cat".into(), "/proc/self/status".into()],
        env: Vec::new(),
        dir: "/".into(),
    };
    panic!("{}", exec(&cat, &[], &startup));
}

fn say_origin() {
    let origin = Origin::capture().expect("origin");
    assert_eq!(origin, Origin::capture().expect("origin"));
    say(origin.program.as_os_str().as_bytes());
    say(b"\n");
    say(origin.dir.as_os_str().as_bytes());
}

fn say(bytes: &[u8]) {
    io::stdout().write_all(bytes).and_then(|()| io::stdout().flush()).expect("standard output");
}
