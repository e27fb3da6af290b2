//! How a server is, for people and as JSON.

use std::fs;

use hatchery_control::{Reply, Request, Status};

use crate::args::Server;
use crate::ask::Question;
use crate::failure::Failure;
use crate::output;
use crate::table::{Side, Table};
use crate::words::{age, count, name};

/// Prints how the server is.
pub(crate) fn run(server: &Server, json: bool) -> Result<(), Failure> {
    let status = fetch(Question::at_once(server, Request::Status)?)?;
    if json {
        output::print(&format!("{}\n", status.to_json()))
    } else {
        output::print(&shown(&status, uptime(&status)))
    }
}

/// Asks for it.
pub(crate) fn fetch(question: Question) -> Result<Status, Failure> {
    read(question.ask(|_, _| ())?)
}

/// What an answer says of it.
pub(crate) fn read(answer: Reply) -> Result<Status, Failure> {
    match answer {
        Reply::Status { status } => Ok(*status),
        _ => Err(Failure::Unexpected),
    }
}

/// For people.
fn shown(status: &Status, uptime: Option<f64>) -> String {
    let mut text = format!("{}\n", headline(status, uptime));
    for predecessor in &status.predecessors {
        text += &format!("generation {}  master {}  draining\n", predecessor.generation, predecessor.master);
    }
    text += &format!("\n{}\n{}", workers(status), listeners(status));
    let totals = &status.totals;
    text += &format!(
        "\nin all: {}, {} ({} moved), {}\n",
        count(totals.requests, "request"),
        count(totals.connections, "connection"),
        totals.moved,
        count(totals.restarts, "restart")
    );
    text
}

/// The serving master, in a line.
pub(crate) fn headline(status: &Status, uptime: Option<f64>) -> String {
    let mut parts =
        vec![format!("generation {}", status.generation), format!("master {}", status.master), name(status.state)];
    parts.extend(match (status.stop_in_seconds, status.operation) {
        (Some(seconds), _) => Some(format!("stop begins in {}", age(seconds))),
        (None, operation) => operation.map(|operation| format!("{} goes on", name(operation))),
    });
    parts.extend(uptime.map(|seconds| format!("up {}", age(seconds))));
    parts.join("  ")
}

fn workers(status: &Status) -> String {
    let mut table = Table::new([
        ("SLOT", Side::Right),
        ("PID", Side::Right),
        ("GEN", Side::Right),
        ("STATE", Side::Left),
        ("CONNECTIONS", Side::Right),
        ("IN FLIGHT", Side::Right),
        ("REQUESTS", Side::Right),
        ("AGE", Side::Right),
        ("NAME", Side::Left),
    ]);
    for worker in &status.workers {
        table.row([
            worker.slot.to_string(),
            worker.pid.to_string(),
            worker.generation.to_string(),
            name(worker.state),
            worker.connections.to_string(),
            worker.in_flight.to_string(),
            worker.requests.to_string(),
            age(worker.age_seconds),
            worker.name.clone().unwrap_or_default(),
        ]);
    }
    table.lines()
}

fn listeners(status: &Status) -> String {
    let mut table = Table::new([
        ("LISTENER", Side::Left),
        ("QUEUES", Side::Right),
        ("QUEUED", Side::Right),
        ("BACKLOG", Side::Right),
    ]);
    for listener in &status.listeners {
        table.row([
            listener.address.clone(),
            listener.queues.to_string(),
            listener.queued.map_or_else(|| "-".to_owned(), |queued| queued.to_string()),
            listener.backlog.to_string(),
        ]);
    }
    table.lines()
}

/// How long the serving master has run, in seconds: `None` where it cannot be
/// seen from here, as from outside of its container. See proc(5).
pub(crate) fn uptime(status: &Status) -> Option<f64> {
    // Its title tells that the number means the same process here and there.
    let title = fs::read(format!("/proc/{}/cmdline", status.master)).ok()?;
    if !title.starts_with(format!("hatchery: master gen {}", status.generation).as_bytes()) {
        return None;
    }
    let stat = fs::read_to_string(format!("/proc/{}/stat", status.master)).ok()?;
    let since_boot = fs::read_to_string("/proc/uptime").ok()?;
    // The name, the only field that may have spaces, ends with the last bracket; the start is field 22.
    let started: f64 = stat.rsplit_once(") ")?.1.split(' ').nth(19)?.parse().ok()?;
    let now: f64 = since_boot.split(' ').next()?.parse().ok()?;
    // Linux tells other programs of 100 ticks a second, whatever its own are.
    Some((now - started / 100.0).max(0.0))
}

#[cfg(test)]
mod tests {
    use hatchery_control::{MasterState, Operation};

    use super::*;
    use crate::fake::{Fake, status};

    #[test]
    fn a_stop_that_has_not_begun_says_when_it_does() {
        let duck = Status {
            state: MasterState::LameDuck,
            operation: Some(Operation::Stop),
            stop_in_seconds: Some(7.25),
            ..status()
        };
        assert_eq!(headline(&duck, None), "generation 3  master 4242  lame-duck  stop begins in 7.2s");
        assert!(duck.to_json().contains(r#""stop_in_seconds": 7.25"#), "{}", duck.to_json());
        assert!(!status().to_json().contains("stop_in_seconds"), "only then");
        assert!(duck.readiness().is_err_and(|why| why.starts_with("stopping soon")));
    }

    #[test]
    fn people_see_tables() {
        let expected = "\
generation 3  master 4242  serving  reload goes on  up 1h00m
generation 2  master 4100  draining

SLOT   PID  GEN  STATE     CONNECTIONS  IN FLIGHT  REQUESTS    AGE  NAME
   0  4243    3  ready              12          1     90210  1m15s
   1  4244    3  draining           12          1     90111  1m15s
   2  4250    3  ready               0          0         0  1m15s  metrics

LISTENER            QUEUES  QUEUED  BACKLOG
127.0.0.1:8080           1       0     4096
unix:/run/app.sock       1       -     4096

in all: 180321 requests, 4711 connections (96 moved), 2 restarts
";
        assert_eq!(shown(&status(), Some(3600.0)), expected);
    }

    #[test]
    fn it_is_asked_for() {
        let fake = Fake::answers([vec![Reply::Status { status: Box::new(status()) }]]);
        let question = Question::at_once(&fake.server(), Request::Status).unwrap();
        assert_eq!(fetch(question).unwrap(), status());
        assert_eq!(fake.heard(), [Request::Status]);
    }

    #[test]
    fn only_a_master_has_an_uptime() {
        let own = i32::try_from(std::process::id()).unwrap();
        assert_eq!(uptime(&Status { master: own, ..status() }), None);
        assert_eq!(uptime(&Status { master: -1, ..status() }), None);
    }
}
