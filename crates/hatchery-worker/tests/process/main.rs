//! Real workers, forked by a process that has one thread, under a minimal master.
//!
//! The usual harness runs tests on threads of their own, and a process with
//! threads must not fork: so this one runs them one after the other.

use std::panic::catch_unwind;
use std::process::ExitCode;
use std::time::Duration;

use hatchery_sys::process;

mod apps;
mod booting;
mod deaths;
mod dumps;
mod ending;
mod hostile;
mod jam;
mod last;
mod moving;
mod orphans;
mod serving;
mod signals;
mod support;
mod trouble;

/// The most that one test may take. SIGALRM then ends everything.
const LONGEST: Duration = Duration::from_secs(60);

type Test = (&'static str, fn());

const ALL: [&[Test]; 12] = [
    booting::TESTS,
    serving::TESTS,
    ending::TESTS,
    signals::TESTS,
    orphans::TESTS,
    trouble::TESTS,
    moving::TESTS,
    jam::TESTS,
    deaths::TESTS,
    dumps::TESTS,
    hostile::TESTS,
    last::TESTS,
];

fn main() -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let all: Vec<Test> = ALL.concat();
    let mut failed = Vec::new();
    for (name, test) in all {
        if !wanted.is_empty() && !wanted.iter().any(|wanted| name.contains(wanted.as_str())) {
            continue;
        }
        process::alarm(LONGEST);
        let passed = catch_unwind(test).is_ok();
        println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
        if !passed {
            failed.push(name);
        }
    }
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
