//! What busy clients wait around an upgrade.

use std::io;
use std::ops::Range;
use std::thread;
use std::time::Duration;

use hatchery_tests::storm::{Ask, Crowd, Storm, Tally, Timing};
use nix::sys::signal::Signal;

use crate::compare::figures::Figures;
use crate::compare::peers::{Running, lab};
use crate::operations::contestants::Contestant;
use crate::operations::subject::{Listen, Operation, WORKERS};

/// What is looked at, before and after.
const WINDOW: Duration = Duration::from_secs(1);

/// How long a round lasts: a window before, one after, and what comes after that.
const REST: Duration = Duration::from_millis(1500);

/// What clients have waited in one second of each round.
#[derive(Clone, Debug)]
pub struct Waits {
    /// Half of the answers took no longer, in milliseconds.
    pub median: Figures,
    /// All but one of a hundred.
    pub p99: Figures,
    /// The longest.
    pub longest: Figures,
    /// Answers.
    pub answers: Figures,
}

/// What an upgrade did to busy clients.
#[derive(Debug)]
pub struct Felt {
    /// In the second before it.
    pub before: Waits,
    /// In the second that began with it.
    pub after: Waits,
    /// All that the clients have seen.
    pub tally: Tally,
}

/// Upgrades the lab to itself so many times, under so many clients with such pauses.
///
/// The probation lasts 300 ms, so that connections move within the second that is looked at.
///
/// # Errors
///
/// When an upgrade fails.
pub fn of_lab(clients: usize, pause: Range<Duration>, rounds: u32) -> io::Result<Felt> {
    let server = lab(WORKERS, &["--upgrade-probation", "300ms"])?;
    let mut master = server.group.leader();
    measure(server.port, clients, pause, rounds, || {
        master = upgrade(&server, master)?;
        Ok(())
    })
}

/// The same for nginx; its clients lose their connections, and open others.
///
/// # Errors
///
/// When an upgrade fails.
pub fn of_nginx(clients: usize, pause: Range<Duration>, rounds: u32) -> io::Result<Felt> {
    let mut server = Contestant::Nginx(Listen::Shared).start(Operation::Upgrade)?;
    measure(server.port(), clients, pause, rounds, || server.perform(Operation::Upgrade))
}

fn measure(
    port: u16,
    clients: usize,
    pause: Range<Duration>,
    rounds: u32,
    mut change: impl FnMut() -> io::Result<()>,
) -> io::Result<Felt> {
    let crowd = Crowd::keep_alive(&format!("127.0.0.1:{port}"), clients).asking([Ask::hello()]).pausing(pause).timed();
    let storm = Storm::begin([crowd]);
    let mut begins = Vec::new();
    let mut changed = Ok(());
    for _ in 0..rounds {
        thread::sleep(REST);
        begins.push(storm.lasts());
        changed = changed.and_then(|()| change());
        let left = begins.last().map_or(WINDOW, |begin| (*begin + WINDOW).saturating_sub(storm.lasts()));
        thread::sleep(left);
    }
    let mut report = storm.finish();
    changed?;
    let (_, mut tally) = report.crowds.pop().ok_or_else(|| io::Error::other("there were no clients"))?;
    let timings = std::mem::take(&mut tally.timings);
    let before = Waits::of(&timings, begins.iter().map(|begin| begin.saturating_sub(WINDOW)));
    let after = Waits::of(&timings, begins.iter().copied());
    Ok(Felt { before, after, tally })
}

impl Waits {
    /// Of the answers in the windows that begin then.
    fn of(timings: &[Timing], begins: impl Iterator<Item = Duration>) -> Self {
        let (mut median, mut p99, mut longest, mut answers) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for begin in begins {
            let within = timings.iter().filter(|timing| (begin..begin + WINDOW).contains(&timing.at));
            let mut waits: Vec<f64> = within.map(|timing| timing.took.as_secs_f64() * 1e3).collect();
            waits.sort_by(f64::total_cmp);
            let part =
                |hundredths: usize| waits.get((waits.len() * hundredths / 100).min(waits.len().saturating_sub(1)));
            let part = |hundredths| part(hundredths).copied().unwrap_or(f64::NAN);
            median.push(part(50));
            p99.push(part(99));
            longest.push(part(100));
            answers.push(u32::try_from(waits.len()).map_or(f64::NAN, f64::from));
        }
        let [median, p99, longest, answers] = [median, p99, longest, answers].map(Figures::new);
        Self { median, p99, longest, answers }
    }
}

/// Answers with the successor's pid, when the predecessor's workers have gone.
fn upgrade(server: &Running, master: i32) -> io::Result<i32> {
    let from = server.group.logged();
    server.group.signal(master, Signal::SIGUSR2)?;
    let done = server.group.wait_for("upgrade is done", from)?;
    server.group.wait_for("the predecessor is gone", from)?;
    super::changes::successor(&done)
}
