//! One server, one operation, and clients of four kinds that never retry.

use std::io;
use std::thread;
use std::time::Duration;

use hatchery_tests::storm::{Ask, Crowd, Report, Storm};

use super::contestants::Contestant;
use super::subject::Operation;

/// What a cell of the table says.
#[derive(Clone, Debug)]
pub enum Cell {
    /// The server is not installed.
    Missing {
        /// The Debian package that has it.
        package: &'static str,
    },
    /// The server has no such operation.
    None,
    /// It was done, and this is what clients have seen.
    Done(Counts),
    /// It did not come to its end.
    Broken(String),
}

/// What clients have seen.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// How often it was done.
    pub times: u32,
    /// For each kind of client, in the order of [`KINDS`].
    pub kinds: [Count; KINDS.len()],
}

/// What clients of one kind have seen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Count {
    /// Requests that were sent.
    pub sent: u64,
    /// Of them, those without a whole and right answer.
    pub failed: u64,
    /// Answers that announced that the connection ends.
    pub announced: u64,
    /// Connections that the server closed in order, with no request under way.
    pub closed: u64,
}

/// The kinds of clients: a connection a request; one after the other without a pause; with pauses of up to 100 ms;
/// one request before the operations and one after them.
pub const KINDS: [&str; 4] = ["fresh", "busy", "thinking", "idle"];

/// Between two operations, for the clients to come to rest.
const PAUSE: Duration = Duration::from_millis(500);

impl Counts {
    /// All kinds together.
    #[must_use]
    pub fn sum(&self) -> Count {
        self.kinds.iter().fold(Count::default(), |sum, kind| Count {
            sent: sum.sent + kind.sent,
            failed: sum.failed + kind.failed,
            announced: sum.announced + kind.announced,
            closed: sum.closed + kind.closed,
        })
    }

    fn of(report: &Report, times: u32) -> Self {
        let mut kinds = [Count::default(); KINDS.len()];
        for (kind, (_, tally)) in kinds.iter_mut().zip(&report.crowds) {
            let failed = tally.failures.len() as u64;
            let (announced, closed) = (tally.announced, tally.closed_idle);
            *kind = Count { sent: tally.answered + failed, failed, announced, closed };
        }
        Self { times, kinds }
    }
}

/// Starts the server, does the operation so many times under load, and ends the server.
///
/// What clients have seen is told on standard error as well, with the reasons of the first failures.
#[must_use]
pub fn run(contestant: Contestant, operation: Operation, times: u32) -> Cell {
    if contestant.manual(operation).is_none() {
        return Cell::None;
    }
    if let Some(package) = contestant.package().filter(|_| !contestant.is_installed()) {
        return Cell::Missing { package };
    }
    // The clients panic when nobody answers them any more.
    let done = thread::scope(|scope| scope.spawn(|| under_load(contestant, operation, times)).join());
    match done {
        Ok(Ok(counts)) => Cell::Done(counts),
        Ok(Err(error)) => Cell::Broken(error.to_string()),
        Err(_panic) => Cell::Broken("nobody answered any more".to_owned()),
    }
}

fn under_load(contestant: Contestant, operation: Operation, times: u32) -> io::Result<Counts> {
    let mut server = contestant.start(operation)?;
    let storm = Storm::begin(crowds(server.port()));
    let mut done = Ok(());
    for _ in 0..times {
        thread::sleep(PAUSE);
        done = done.and_then(|()| server.perform(operation));
    }
    thread::sleep(PAUSE);
    let report = storm.finish();
    eprintln!("--- {}, {} times {}: {report}", contestant.name(), times, operation.name());
    if let Err(error) = &done {
        eprintln!("*** {error}");
    }
    done.map(|()| Counts::of(&report, times))
}

/// In the order of [`KINDS`].
fn crowds(port: u16) -> [Crowd; KINDS.len()] {
    let address = format!("127.0.0.1:{port}");
    let millis = |from, to| Duration::from_millis(from)..Duration::from_millis(to);
    [
        Crowd::fresh(&address, 12).pausing(millis(0, 2)),
        Crowd::keep_alive(&address, 12).pausing(millis(0, 0)),
        Crowd::keep_alive(&address, 24).pausing(millis(0, 100)),
        Crowd::idle(&address, 50),
    ]
    .map(|crowd| crowd.asking([Ask::hello()]))
}
