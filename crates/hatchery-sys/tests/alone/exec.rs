//! Exec: what is kept, what is not, and what is said when it fails.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use hatchery_sys::exec::{Program, exec};
use hatchery_sys::signals::Startup;
use hatchery_sys::wait::Status;
use hatchery_sys::{limits, process};
use nix::unistd;

use crate::Case;
use crate::support::{child, forbid, join, pipe, read_all, read_byte, temp_file};

pub(crate) const CASES: &[Case] = &[
    ("exec::only_what_is_kept_stays_open", kept),
    ("exec::only_what_is_kept_stays_open_without_close_range", kept_without_close_range),
    ("exec::only_what_is_kept_stays_open_without_a_list", kept_without_a_list),
    ("exec::arguments_environment_and_directory_arrive_byte_for_byte", bytes),
    ("exec::says_which_step_failed", says),
    ("exec::a_failed_one_leaves_descriptors_open", failed_leaves_open),
];

fn this_program(role: &str) -> Program {
    let path = std::env::current_exe().expect("a path");
    let args = vec!["alone".into(), "--role".into(), role.into()];
    Program { path, args, env: Vec::new(), dir: "/".into() }
}

fn kept() {
    check_kept(|| {});
}

fn kept_without_close_range() {
    check_kept(|| forbid(&[libc::SYS_close_range], libc::ENOSYS));
}

fn kept_without_a_list() {
    // Every number is tried then.
    nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE, 1024, 1024).expect("lower is allowed");
    assert_eq!(limits::open_files(), (1024, 1024));
    check_kept(|| forbid(&[libc::SYS_close_range, libc::SYS_getdents64], libc::EPERM));
}

/// Becomes another program with descriptors lying about, and looks at it from outside.
fn check_kept(before_exec: impl Fn()) {
    let files = [temp_file("kept"), temp_file("not kept"), temp_file("kept")];
    // As a careless shell leaves them.
    let strays: Vec<i32> = (0..20).map(|_| stray(&files[1])).collect();
    let high = stray_at(&files[1], 900);
    let (mut told, tell) = pipe();
    let (hold, release) = pipe();
    let successor = child(|| {
        unistd::dup2_stdin(&hold).expect("a descriptor");
        unistd::dup2_stdout(&tell).expect("a descriptor");
        before_exec();
        let keep = [files[0].as_fd(), files[2].as_fd()];
        let error = exec(&this_program("hold"), &keep, &Startup::capture());
        eprintln!("{error}");
        1
    });
    drop((hold, tell));
    read_byte(&mut told);
    let open: BTreeSet<i32> = fs::read_dir(format!("/proc/{successor}/fd"))
        .expect("/proc")
        .map(|entry| entry.expect("/proc").file_name().to_string_lossy().parse().expect("a number"))
        .collect();
    assert_eq!(open, BTreeSet::from([0, 1, 2, files[0].as_raw_fd(), files[2].as_raw_fd()]));
    drop(release);
    assert_eq!(join(successor), Status::Exited(0));
    assert!(strays.len() == 20 && high == 900);
}

/// A copy that an exec would inherit.
fn stray(file: &File) -> i32 {
    // SAFETY: the descriptor is open; the copy is leaked on purpose.
    unsafe { libc::dup(file.as_raw_fd()) }
}

fn stray_at(file: &File, number: i32) -> i32 {
    // SAFETY: as above; nothing has this number.
    unsafe { libc::dup2(file.as_raw_fd(), number) }
}

/// The role does what a master does until its upgrade, then starts itself again.
fn bytes() {
    let dir = tempfile::tempdir().expect("a directory");
    let link = dir.path().join("current");
    let real = dir.path().join("release-1");
    fs::create_dir(&real).expect("a directory");
    std::os::unix::fs::symlink(&real, &link).expect("a link");
    let odd = |bytes: &[u8]| OsStr::from_bytes(bytes).to_owned();
    let mut pwd = OsString::from("PWD=");
    pwd.push(&link);
    let env =
        vec![odd(b"A=1"), odd(b"A=2"), odd(b"no equals sign"), odd(b"X=\xff\xfe"), odd(b"TAKEN=1"), odd(b"E="), pwd];
    let mut program = this_program("start-again");
    program.args.extend([odd(b"\xff\xfe"), odd(b""), odd(b"two words"), odd(b"--x=\n"), odd(b"")]);
    program.env.clone_from(&env);
    program.dir.clone_from(&link);
    let args = program.args.clone();

    let text = output_of(&program, &[]);
    let parts: Vec<&[u8]> = split(&text, b"\n--\n");
    let [got_args, got_env, got_dir] = parts[..] else { panic!("{}", String::from_utf8_lossy(&text)) };
    let expected_args = zero_terminated(&args);
    // The one thing that the role changes.
    let got_args = replace(got_args, b"mirror", b"start-again");
    assert_eq!(String::from_utf8_lossy(&got_args), String::from_utf8_lossy(&expected_args));
    assert_eq!(got_args, expected_args);
    assert_eq!(got_env, zero_terminated(&env));
    assert_eq!(Path::new(OsStr::from_bytes(got_dir)), real.canonicalize().expect("it exists"));
}

fn zero_terminated(strings: &[OsString]) -> Vec<u8> {
    strings.iter().flat_map(|string| [string.as_bytes(), b"\0"].concat()).collect()
}

fn split<'a>(bytes: &'a [u8], mark: &[u8]) -> Vec<&'a [u8]> {
    match bytes.windows(mark.len()).position(|window| window == mark) {
        Some(at) => [vec![&bytes[..at]], split(&bytes[at + mark.len()..], mark)].concat(),
        None => vec![bytes],
    }
}

fn replace(bytes: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    split(bytes, old).join(new)
}

/// What a program writes to its standard output, or why it cannot be started.
fn output_of(program: &Program, keep: &[BorrowedFd<'_>]) -> Vec<u8> {
    let (read, write) = pipe();
    let role = child(|| {
        unistd::dup2_stdout(&write).expect("a descriptor");
        let error = exec(program, keep, &Startup::capture());
        print!("{error}");
        hatchery_sys::streams::flush();
        0
    });
    drop(write);
    let text = read_all(read);
    assert_eq!(join(role), Status::Exited(0), "{}", String::from_utf8_lossy(&text));
    text
}

fn says() {
    let good = this_program("mirror");
    let dir = tempfile::tempdir().expect("a directory");
    let plain = dir.path().join("plain");
    fs::write(&plain, "no program").expect("a file");
    let cases = [
        (Program { path: "/nowhere/x".into(), ..good.clone() }, "cannot start /nowhere/x: No such file or directory"),
        (
            Program { path: plain.clone(), ..good.clone() },
            &format!("cannot start {}: Permission denied", plain.display()),
        ),
        (Program { dir: "/nowhere".into(), ..good.clone() }, "cannot enter /nowhere: No such file or directory"),
        (Program { args: vec!["a\0b".into()], ..good.clone() }, "a zero byte in an argument"),
    ];
    for (program, expected) in cases {
        let text = String::from_utf8(output_of(&program, &[])).expect("text");
        assert!(text.contains(expected), "{text}");
    }
}

fn failed_leaves_open() {
    let (read, write) = pipe();
    let role = child(|| {
        let program = Program { path: "/nowhere/x".into(), ..this_program("mirror") };
        let error = exec(&program, &[], &Startup::capture());
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        let mut write = &write;
        io::Write::write_all(&mut write, error.to_string().as_bytes()).expect("still open");
        process::exit_now(127)
    });
    drop(write);
    assert_eq!(read_all(read), b"cannot start /nowhere/x: No such file or directory");
    assert_eq!(join(role), Status::Exited(127));
}
