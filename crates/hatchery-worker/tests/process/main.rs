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

/// Each module with its tests: a filter may name either, as with the usual harness.
const ALL: [(&str, &[Test]); 12] = [
    ("booting", booting::TESTS),
    ("serving", serving::TESTS),
    ("ending", ending::TESTS),
    ("signals", signals::TESTS),
    ("orphans", orphans::TESTS),
    ("trouble", trouble::TESTS),
    ("moving", moving::TESTS),
    ("jam", jam::TESTS),
    ("deaths", deaths::TESTS),
    ("dumps", dumps::TESTS),
    ("hostile", hostile::TESTS),
    ("last", last::TESTS),
];

fn main() -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let (mut passed, mut left_out, mut failed) = (0, 0, Vec::new());
    for (module, (name, test)) in ALL.iter().flat_map(|(module, tests)| tests.iter().map(move |test| (module, *test))) {
        let name = format!("{module}::{name}");
        if !wanted.is_empty() && !wanted.iter().any(|wanted| name.contains(wanted.as_str())) {
            left_out += 1;
            continue;
        }
        process::alarm(LONGEST);
        if catch_unwind(test).is_ok() {
            println!("test {name} ... ok");
            passed += 1;
        } else {
            println!("test {name} ... FAILED");
            failed.push(name);
        }
    }
    let result = if failed.is_empty() { "ok" } else { "FAILED" };
    println!("test result: {result}. {passed} passed; {} failed; {left_out} filtered out", failed.len());
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
