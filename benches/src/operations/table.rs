//! What was counted, as Markdown.

use std::fmt::Write;

use super::cell::{Cell, Count, KINDS};
use super::contestants::Contestant;
use super::subject::Operation;

/// A row of cells, one for each operation that was tried.
#[derive(Debug)]
pub struct Row {
    /// The server.
    pub contestant: Contestant,
    /// In the order of the operations.
    pub cells: Vec<Cell>,
}

/// Failed requests by operation.
#[must_use]
pub fn failed(operations: &[Operation], rows: &[Row]) -> String {
    by_operation(operations, rows, |count| {
        let failed = count.failed;
        let failed = if failed == 0 { "**0**".to_owned() } else { grouped(failed) };
        format!("{failed} of {}", grouped(count.sent))
    })
}

/// Connections that the server closed, by operation.
#[must_use]
pub fn closed(operations: &[Operation], rows: &[Row]) -> String {
    by_operation(operations, rows, |count| format!("{} + {}", grouped(count.announced), grouped(count.closed)))
}

/// A row for each server and operation, with the failures of each kind of client.
#[must_use]
pub fn details(operations: &[Operation], rows: &[Row]) -> String {
    let kinds = KINDS.join(" | ");
    let mut table = format!("| server | operation | {kinds} | announced closes | idle closes |\n");
    table.push_str("|---|---|---|---|---|---|---|---|\n");
    for row in rows {
        for (operation, cell) in operations.iter().zip(&row.cells) {
            if let Cell::Done(counts) = cell {
                let failed = counts.kinds.map(|kind| format!("{} of {}", kind.failed, kind.sent)).join(" | ");
                let (name, sum) = (row.contestant.name(), counts.sum());
                let (times, operation) = (counts.times, operation.name());
                let _ = writeln!(
                    table,
                    "| {name} | {operation} x {times} | {failed} | {} | {} |",
                    sum.announced, sum.closed
                );
            }
        }
    }
    table
}

/// How each operation was done.
#[must_use]
pub fn manuals(operations: &[Operation], rows: &[Row]) -> String {
    let mut table = heading(operations);
    for row in rows {
        let words = operations
            .iter()
            .map(|operation| row.contestant.manual(*operation).unwrap_or(row.contestant.instead(*operation)));
        push(&mut table, row, words.map(str::to_owned));
    }
    table
}

fn by_operation(operations: &[Operation], rows: &[Row], show: impl Fn(Count) -> String) -> String {
    let mut table = heading(operations);
    for row in rows {
        let cells = operations.iter().zip(&row.cells).map(|(operation, cell)| match cell {
            Cell::Missing { package } => format!("not installed ({package})"),
            Cell::None => row.contestant.instead(*operation).to_owned(),
            Cell::Done(counts) => show(counts.sum()),
            Cell::Broken(_) => "did not end".to_owned(),
        });
        push(&mut table, row, cells);
    }
    table
}

fn heading(operations: &[Operation]) -> String {
    let names: Vec<_> = operations.iter().map(|operation| operation.name()).collect();
    format!("| | {} |\n|---|{}\n", names.join(" | "), "---|".repeat(operations.len()))
}

fn push(table: &mut String, row: &Row, cells: impl Iterator<Item = String>) {
    let cells: Vec<_> = cells.collect();
    let _ = writeln!(table, "| {} | {} |", row.contestant.name(), cells.join(" | "));
}

/// Digits in groups of three.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let first = digits.len() % 3;
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && place % 3 == first {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_grouped_from_the_right() {
        assert_eq!([7, 123, 1234, 123_456].map(grouped), ["7", "123", "1 234", "123 456"]);
    }
}
