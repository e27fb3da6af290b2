//! Cases that need a process of their own, with one thread: those that fork,
//! and those that change what belongs to the whole process.
//!
//! Started by `cargo test`, this program starts itself once a case. A case that
//! becomes another program becomes this one too, in one of the `roles`.

use std::io::{self, Write};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

mod abort;
mod board;
mod channel;
mod exec;
mod files;
mod origin;
mod peer;
mod process;
mod roles;
mod signals;
mod support;
mod threads;
mod title;
mod user;
mod wait;

/// What a case is called, and what it does.
type Case = (&'static str, fn());

const CASES: &[&[Case]] = &[
    abort::CASES,
    board::CASES,
    channel::CASES,
    exec::CASES,
    files::CASES,
    origin::CASES,
    peer::CASES,
    process::CASES,
    signals::CASES,
    threads::CASES,
    title::CASES,
    user::CASES,
    wait::CASES,
];

/// After which a case has failed: it is killed by SIGALRM.
const DEADLINE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1).map(|arg| arg.to_string_lossy().into_owned());
    match args.next().as_deref() {
        Some("--case") => run_case(&args.next().unwrap_or_default()),
        Some("--role") => roles::play(&args.next().unwrap_or_default()),
        first => run_all(first.into_iter().map(str::to_owned).chain(args).collect()),
    }
}

fn all() -> impl Iterator<Item = Case> {
    CASES.iter().flat_map(|cases| cases.iter().copied())
}

/// A panic ends the process with another code.
fn run_case(name: &str) -> ExitCode {
    let (_, case) = all().find(|(known, _)| *known == name).expect("a case of this name");
    hatchery_sys::process::alarm(DEADLINE);
    case();
    ExitCode::SUCCESS
}

/// `filters` are parts of names, as for any other test binary; options are ignored.
fn run_all(filters: Vec<String>) -> ExitCode {
    if filters.iter().any(|filter| filter == "--list") {
        all().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let filters: Vec<String> = filters.into_iter().filter(|filter| !filter.starts_with('-')).collect();
    let wanted = |name: &str| filters.is_empty() || filters.iter().any(|part| name.contains(part.as_str()));
    let mut failed = Vec::new();
    let mut passed = 0;
    for (name, _) in all().filter(|(name, _)| wanted(name)) {
        let program = std::env::current_exe().expect("the path of this program");
        let case = Command::new(program).args(["--case", name]).stdin(Stdio::null()).output();
        let case = case.expect("this program starts");
        println!("test {name} ... {}", if case.status.success() { "ok" } else { "FAILED" });
        if case.status.success() {
            passed += 1;
        } else {
            println!("{}", case.status);
            let _ = io::stdout().write_all(&case.stdout);
            let _ = io::stdout().write_all(&case.stderr);
            failed.push(name);
        }
    }
    println!("\ntest result: {passed} passed; {} failed {failed:?}\n", failed.len());
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
