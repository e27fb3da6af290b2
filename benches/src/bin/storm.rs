//! Failed requests by operation: hatchery beside nginx, haproxy, gunicorn and puma, for clients that never retry.
//!
//! `cargo run --release -p hatchery-benches --bin storm`, with `-- --only hatchery,puma` for some servers,
//! `--operations reload,upgrade` for some operations and `--times N` for more or less of each. It needs Linux; of
//! Debian the packages `nginx-light`, `haproxy`, `gunicorn` and `puma`, and says in the table which is missing.
//! The tables are on standard output; reasons of failures are on standard error.

use std::io;
use std::process::ExitCode;

use hatchery_benches::arguments::{number, text};
use hatchery_benches::compare::group::kill_all_when_told_to_end;
use hatchery_benches::compare::peers::build_examples;
use hatchery_benches::operations::cell::{self, Cell, KINDS};
use hatchery_benches::operations::contestants::Contestant;
use hatchery_benches::operations::subject::{Operation, WORKERS};
use hatchery_benches::operations::table::{self, Row};

fn main() -> ExitCode {
    match measure() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("storm: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure() -> io::Result<()> {
    kill_all_when_told_to_end()?;
    build_examples()?;
    let args: Vec<String> = std::env::args().skip(1).collect();
    let chosen = |option: &str, name: &str| {
        text(&args, option).is_none_or(|names| names.split(',').any(|one| name.split(", ").next() == Some(one)))
    };
    let operations: Vec<Operation> =
        Operation::ALL.into_iter().filter(|operation| chosen("--operations", operation.name())).collect();
    let mut rows = Vec::new();
    for contestant in Contestant::ALL.into_iter().filter(|contestant| chosen("--only", contestant.name())) {
        let mut cells = Vec::new();
        for operation in &operations {
            let times = number(&args, "--times", operation.times())?;
            cells.push(cell::run(contestant, *operation, times));
        }
        rows.push(Row { contestant, cells });
    }
    print(&operations, &rows);
    Ok(())
}

fn print(operations: &[Operation], rows: &[Row]) {
    println!("Failed requests, of those that were sent; {WORKERS} workers, clients never retry:\n");
    println!("{}", table::failed(operations, rows));
    println!("Connections that the server closed: announced by an answer + while they were idle:\n");
    println!("{}", table::closed(operations, rows));
    println!("Failed requests by kind of client ({}):\n", KINDS.join(", "));
    println!("{}", table::details(operations, rows));
    println!("How each operation is done:\n");
    println!("{}", table::manuals(operations, rows));
    for row in rows {
        for (operation, cell) in operations.iter().zip(&row.cells) {
            if let Cell::Broken(why) = cell {
                println!("{}, {}: {why}", row.contestant.name(), operation.name());
            }
        }
    }
}
