//! Connections that move: how many a second, and whether busy clients feel it.
//!
//! `cargo run --release -p hatchery-benches --bin moves`, with `-- --only idle` or `-- --only latency` for one part,
//! `--connections 1,100,10000`, `--rounds N` and `--workers N`. Both ends of ten thousand connections need
//! 10 100 open files each (`ulimit -Hn`). nginx is measured if Debian's `nginx-light` is installed.

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use hatchery_benches::arguments::{number, text};
use hatchery_benches::compare::figures::Figures;
use hatchery_benches::compare::group::kill_all_when_told_to_end;
use hatchery_benches::compare::peers::{Peer, build_examples};
use hatchery_benches::moves::changes::{Change, Shown};
use hatchery_benches::moves::{floor, latency};

fn main() -> ExitCode {
    match measure() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("moves: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure() -> io::Result<()> {
    if cfg!(debug_assertions) {
        return Err(io::Error::other("an unoptimised build tells nothing: cargo run --release"));
    }
    kill_all_when_told_to_end()?;
    // Servers inherit the limit: ten thousand sockets need it on both sides.
    let files = hatchery_sys::limits::raise_open_files()?;
    build_examples()?;
    let args: Vec<String> = std::env::args().skip(1).collect();
    let only = text(&args, "--only");
    let wanted = |part: &str| only.is_none_or(|parts| parts.split(',').any(|one| one == part));
    if wanted("idle") {
        idle(&args, files)?;
    }
    if wanted("latency") {
        felt(&args)?;
    }
    Ok(())
}

fn idle(args: &[String], files: u64) -> io::Result<()> {
    let counts = text(args, "--connections").unwrap_or("1,100,10000");
    let counts: Result<Vec<usize>, _> = counts.split(',').map(str::parse).collect();
    let counts = counts.map_err(|_| io::Error::other("--connections needs numbers"))?;
    let rounds = number(args, "--rounds", 7)?;
    let workers: Option<u16> = text(args, "--workers").map(|_| number(args, "--workers", 1)).transpose()?;

    println!(
        "Idle keep-alive connections, moved by a change; ms until the last old worker has gone, and until each connection"
    );
    println!("has had an answer, all being asked then; us a connection is the difference to one connection:\n");
    println!(
        "| | workers | connections | ms | us a connection | a second | CPU us a connection | ms to all answers | by a new worker | closed |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for change in [Change::Reload, Change::Upgrade, Change::Nginx] {
        if change == Change::Nginx && !Peer::Nginx.is_installed() {
            println!("| {} | not installed (nginx-light) | | | | | | | | |", change.name());
            continue;
        }
        for workers in workers.map_or(vec![1, 2], |workers| vec![workers]) {
            let mut one = None;
            for count in &counts {
                if *count as u64 + 100 > files {
                    println!(
                        "| {} | {workers} | {count} | needs more than {files} open files | | | | | | |",
                        change.name()
                    );
                    continue;
                }
                let shown = change.measure(workers, *count, rounds)?;
                let base = one.get_or_insert_with(|| shown.clone());
                row(change, workers, *count, &shown, base);
            }
        }
    }
    let floor: Vec<f64> = (0..rounds).map(|_| floor::measure(5000)).collect::<io::Result<_>>()?;
    println!("\nfloor: a message with a descriptor from one thread to another, us: {:.1}", Figures::new(floor));
    Ok(())
}

/// A difference of less than a thousand connections says nothing.
fn row(change: Change, workers: u16, count: usize, shown: &Shown, one: &Shown) {
    #[expect(clippy::cast_precision_loss, reason = "there are no 2^52 connections")]
    let micros = |all: &Figures, one: &Figures| (all.median() - one.median()) * 1e3 / count as f64;
    let (gone, answered, fate) = (&shown.gone, &shown.answered, shown.fate);
    let mut each = ["-".to_owned(), "-".to_owned(), "-".to_owned()];
    if count >= 1000 && change != Change::Nginx {
        let wall = micros(gone, &one.gone);
        each = [format!("{wall:.1}"), format!("{:.0}", 1e6 / wall), "-".to_owned()];
        if let (Some([old, new]), Some([old_one, new_one])) = (&shown.cpu, &one.cpu) {
            each[2] = format!("{:.1} + {:.1}", micros(old, old_one), micros(new, new_one));
        }
    }
    let moved = if change == Change::Nginx { "-".to_owned() } else { fate.moved.to_string() };
    println!(
        "| {} | {workers} | {count} | {gone:.1} | {} | {answered:.0} | {moved} | {} |",
        change.name(),
        each.join(" | "),
        fate.closed
    );
}

fn felt(args: &[String]) -> io::Result<()> {
    let clients = number(args, "--clients", 64)?;
    let rounds = number(args, "--rounds", 7)?;
    println!("\n{clients} keep-alive clients; the second before an upgrade, and the second that begins with USR2:\n");
    println!("| | pauses | | p50 ms | p99 ms | longest ms | answers | failed | closed |");
    println!("|---|---|---|---|---|---|---|---|---|");
    for pause in [Duration::ZERO, Duration::from_millis(20)] {
        let show = |name: &str, felt: latency::Felt| {
            let (failed, closed) = (felt.tally.failures.len(), felt.tally.announced + felt.tally.closed_idle);
            for (when, waits, end) in
                [("before", felt.before, "|".to_owned()), ("after", felt.after, format!("{failed} | {closed}"))]
            {
                let latency::Waits { median, p99, longest, answers } = waits;
                let pauses = format!("0 to {} ms", pause.as_millis());
                println!(
                    "| {name} | {pauses} | {when} | {median:.2} | {p99:.2} | {longest:.1} | {answers:.0} | {end} |"
                );
            }
        };
        show("hatchery", latency::of_lab(clients, Duration::ZERO..pause, rounds)?);
        if Peer::Nginx.is_installed() {
            show("nginx", latency::of_nginx(clients, Duration::ZERO..pause, rounds)?);
        }
    }
    Ok(())
}
