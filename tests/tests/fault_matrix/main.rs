//! Every fault at every moment, under clients that never retry: only requests
//! in flight in a killed process may fail.
//!
//! A selection runs with the other tests. The whole matrix, as it stands in
//! `docs/reliability.md`, is printed by
//!
//! ```text
//! cargo test -p hatchery-tests --test fault_matrix -- --ignored --nocapture
//! ```

mod cell;
mod faults;
mod moments;

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::thread;

use cell::{Cell, run};
use faults::Fault;
use moments::Moment;

/// How many cells are tried at once.
const AT_ONCE: usize = 2;

/// Tries cells, each on a server of its own, and gives the results in their order.
fn try_all(cells: &[(Fault, Moment)]) -> Vec<Cell> {
    let left: Mutex<VecDeque<usize>> = Mutex::new((0..cells.len()).collect());
    let done: Mutex<Vec<(usize, Cell)>> = Mutex::default();
    let next = || left.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(index) = next() {
                    let (fault, moment) = cells[index];
                    let cell = run(fault, moment);
                    done.lock().unwrap_or_else(PoisonError::into_inner).push((index, cell));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, cell)| cell).collect()
}

/// Prints a Markdown table of it, and asserts that nobody paid who need not.
fn report(faults: &[Fault], moments: &[Moment], tried: &[(Fault, Moment)], cells: &[Cell]) {
    let names: Vec<&str> = moments.iter().map(|moment| moment.name()).collect();
    println!("| fault | {} |\n|---|{}", names.join(" | "), "---|".repeat(names.len()));
    for fault in faults {
        let texts = moments.iter().map(|moment| {
            let index = tried.iter().position(|cell| *cell == (*fault, *moment));
            index.map_or_else(|| "-".to_owned(), |index| cells[index].to_string())
        });
        println!("| {} | {} |", fault.name(), texts.collect::<Vec<_>>().join(" | "));
    }
    let unfair = |(at, cell): &(&(Fault, Moment), &Cell)| {
        (!cell.is_fair()).then(|| format!("{} / {}:\n{}", at.0.name(), at.1.name(), cell.failures.join("\n")))
    };
    let paid: Vec<String> = tried.iter().zip(cells).filter_map(|pair| unfair(&pair)).collect();
    assert!(paid.is_empty(), "clients paid who need not:\n{}", paid.join("\n"));
}

#[test]
fn a_selection() {
    let cells = [
        (Fault::WorkerKilled, Moment::Reload),
        (Fault::WorkerStopped, Moment::Preparing),
        (Fault::WorkerBlocked, Moment::Serving),
        (Fault::WorkerAborts, Moment::Probation),
        (Fault::WorkerLeaks, Moment::Serving),
        (Fault::AllKilled, Moment::Serving),
        (Fault::MasterKilled, Moment::Serving),
        (Fault::MasterStopped, Moment::Retiring),
        (Fault::SuccessorKilled, Moment::Probation),
        (Fault::PredecessorKilled, Moment::Preparing),
        (Fault::NoDescriptors, Moment::ScaleDown),
        (Fault::ProgramCrashes, Moment::Preparing),
    ];
    report(&Fault::ALL, &Moment::ALL, &cells, &try_all(&cells));
}

#[test]
#[ignore = "it takes some minutes"]
fn the_whole_matrix() {
    let pairs = Fault::ALL.iter().flat_map(|fault| Moment::ALL.map(|moment| (*fault, moment)));
    let cells: Vec<(Fault, Moment)> = pairs.filter(|(fault, moment)| fault.makes_sense(*moment)).collect();
    report(&Fault::ALL, &Moment::ALL, &cells, &try_all(&cells));
}
