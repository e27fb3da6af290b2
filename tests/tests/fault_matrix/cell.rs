//! One fault at one moment, on a server of its own, under clients of several kinds.

use std::fmt;
use std::time::{Duration, Instant};

use hatchery_tests::client::Failure;
use hatchery_tests::storm::{Crowd, Reason, Storm};
use hatchery_tests::{Lab, Start};

use crate::faults::{Fault, Harm, open_sockets};
use crate::moments::Moment;

/// How many workers there are.
const WORKERS: usize = 3;

/// How many clients open a connection for each request.
pub(crate) const FRESH: usize = 4;

/// How many clients speak a protocol of the application's own.
pub(crate) const RAW: usize = 4;

/// How many clients there are.
pub(crate) const CLIENTS: usize = FRESH + 12 + 4 + RAW + 20;

/// What clients have noticed.
#[derive(Debug)]
pub(crate) struct Cell {
    /// Connections of processes that were killed.
    allowed: usize,
    failed: usize,
    /// Connections that were refused, because nobody was there: between a master's
    /// death and the restart, and after a stop.
    refused: usize,
    answered: u64,
    recovered: Duration,
    pub(crate) failures: Vec<String>,
}

impl Cell {
    /// Whether only those have paid whose requests were in flight in a killed process.
    pub(crate) fn is_fair(&self) -> bool {
        self.failed <= self.allowed
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.allowed {
            0 => write!(f, "{}", self.failed)?,
            allowed => write!(f, "{} of {allowed}", self.failed)?,
        }
        if self.refused > 0 {
            write!(f, " (+{})", self.refused)?;
        }
        write!(f, ", {} ms", self.recovered.as_millis())
    }
}

fn crowds(http: &str, counter: &str) -> Vec<Crowd> {
    let at_ease = Duration::from_millis(20)..Duration::from_millis(100);
    vec![
        Crowd::fresh(http, FRESH),
        Crowd::keep_alive(http, 6),
        Crowd::keep_alive(http, 6).pausing(at_ease),
        Crowd::slow_stream(http, 4),
        Crowd::raw(counter, RAW),
        Crowd::idle(http, 20),
    ]
}

/// Tries it.
pub(crate) fn run(fault: Fault, moment: Moment) -> Cell {
    let start = Start::lab().for_a_storm().set("workers", &WORKERS.to_string());
    let start = start.set("upgrade-probation", moment.probation());
    let lab = fault.prepare(start).ready();
    let own = lab.ready().into_iter().map(open_sockets).min().unwrap_or(0);
    let storm = Storm::begin(crowds(lab.address(), lab.counter()));
    fault.before(&lab);
    moment.reach(&lab);
    let began = Instant::now();
    let harm = fault.strike(&lab, own);
    until_recovered(&lab, &harm, moment);
    let recovered = began.elapsed();
    if moment != Moment::Stop {
        storm.more(2);
    }
    let report = storm.finish();
    let is_refused = |reason: &Reason| matches!(reason, Reason::Lost(Failure::NotConnected(_)));
    let all = report.crowds.iter().flat_map(|(name, tally)| tally.failures.iter().map(move |failure| (name, failure)));
    let (refused, failed): (Vec<_>, Vec<_>) = all.partition(|(_, failure)| is_refused(&failure.reason));
    let cell = Cell {
        // At a stop those of a protocol that has no word for goodbye are closed.
        allowed: harm.connections + if moment == Moment::Stop { RAW } else { 0 },
        failed: failed.len(),
        refused: refused.len(),
        answered: report.answered(),
        recovered,
        failures: failed.iter().map(|(name, failure)| format!("  {name}: {failure}")).collect(),
    };
    eprintln!("{} / {}: {cell}, {} answered", fault.name(), moment.name(), cell.answered);
    cell
}

/// Waits until everything is as it is to be when nothing goes on.
fn until_recovered(lab: &Lab, harm: &Harm, moment: Moment) {
    let workers = moment.workers_after(WORKERS);
    lab.until("all has recovered", || {
        let processes = lab.processes();
        let has_gone = |pid: &i32| processes.iter().all(|process| process.pid != *pid || process.is_zombie());
        if !harm.gone.iter().all(has_gone) {
            return false;
        }
        match (&harm.next, moment) {
            (Some(next), _) => {
                assert!(!next.has_ended(next.first()), "the restart has failed: {}", next.log());
                processes.is_empty() && lab.pid_file("lab.pid") == Some(next.first())
            }
            (None, Moment::Stop) => processes.is_empty(),
            (None, _) => lab.ready().len() == workers && processes.len() == workers + 1 && moment.is_over(lab),
        }
    });
}
