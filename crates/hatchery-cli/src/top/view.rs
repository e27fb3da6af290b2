//! What the live view knows, and what follows from it. Time comes from outside.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::time::Duration;

use hatchery_control::{Status, WorkerStatus};
use ratatui::crossterm::event::KeyCode;

use crate::top::watch::{Happened, PATIENCE};
use crate::words::whole;

/// How many rates are kept: more than a terminal has columns.
const HISTORY: usize = 512;

/// What to do after something has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Show it.
    Draw,
    /// Put the terminal back.
    Quit,
}

/// By what workers are sorted; by slot where that is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    Slot,
    Connections,
    InFlight,
    Rate,
    Age,
}

/// Whether the server answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Contact {
    /// It has, the last time.
    Answers,
    /// Not since then, for this reason.
    Silent {
        /// When the first answer failed to come.
        since: Duration,
        /// Why the last one did not.
        reason: String,
    },
}

/// What is counted a second, between the last two answers.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Rates {
    /// Requests of all workers.
    pub(crate) requests: f64,
    /// Connections that were accepted.
    pub(crate) connections: f64,
    /// Connections that have moved.
    pub(crate) moved: f64,
    /// Of each worker, by its pid.
    pub(crate) workers: BTreeMap<i32, WorkerRates>,
}

/// What is counted a second in one worker.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct WorkerRates {
    /// Requests.
    pub(crate) requests: f64,
    /// Connections that it has accepted.
    pub(crate) connections: f64,
}

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    at: Duration,
    pub(crate) status: Status,
    pub(crate) uptime: Option<f64>,
}

/// What the live view knows.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) path: PathBuf,
    pub(crate) interval: Duration,
    pub(crate) contact: Contact,
    pub(crate) sort: Sort,
    pub(crate) rates: Rates,
    /// Requests a second, the newest last; `None` where there was no answer.
    pub(crate) history: VecDeque<Option<f64>>,
    /// The first worker that is shown.
    pub(crate) first: usize,
    latest: Option<Sample>,
    /// When the last look has ended.
    looked: Duration,
    now: Duration,
}

impl View {
    pub(crate) fn new(path: &Path, interval: Duration) -> Self {
        Self {
            path: path.to_owned(),
            interval,
            contact: Contact::Answers,
            sort: Sort::Slot,
            rates: Rates::default(),
            history: VecDeque::new(),
            first: 0,
            latest: None,
            looked: Duration::ZERO,
            now: Duration::ZERO,
        }
    }

    /// The time goes on.
    pub(crate) fn now(&mut self, now: Duration) {
        self.now = now;
        // Nobody accepts, or the machine is very busy.
        if self.contact == Contact::Answers && now.saturating_sub(self.looked) > self.interval + 2 * PATIENCE {
            let reason = format!("not a word from {}", self.path.display());
            self.contact = Contact::Silent { since: self.looked, reason };
            self.rates = Rates::default();
        }
    }

    /// How long nobody has answered, and why.
    pub(crate) fn silence(&self) -> Option<(Duration, &str)> {
        match &self.contact {
            Contact::Answers => None,
            Contact::Silent { since, reason } => Some((self.now.saturating_sub(*since), reason)),
        }
    }

    /// The last answer.
    pub(crate) fn latest(&self) -> Option<&Sample> {
        self.latest.as_ref()
    }

    /// Something has happened.
    pub(crate) fn take(&mut self, happened: Happened, now: Duration) -> Next {
        self.now = now;
        match happened {
            Happened::Answer { status, uptime } => self.answered(Sample { at: now, status: *status, uptime }),
            Happened::NoAnswer(failure) => self.silent(failure.to_string()),
            Happened::Key(key) => return self.typed(key),
            Happened::Resized => {}
            Happened::Quit => return Next::Quit,
        }
        Next::Draw
    }

    fn answered(&mut self, sample: Sample) {
        self.looked = self.now;
        if let Some(before) = &self.latest
            && let Some(rates) = Rates::between(before, &sample)
        {
            self.remember(Some(rates.requests));
            self.rates = rates;
        }
        self.first = self.first.min(sample.status.workers.len().saturating_sub(1));
        self.contact = Contact::Answers;
        self.latest = Some(sample);
    }

    fn silent(&mut self, reason: String) {
        self.looked = self.now;
        let since = match self.contact {
            Contact::Answers => self.now,
            Contact::Silent { since, .. } => since,
        };
        self.contact = Contact::Silent { since, reason };
        // What was said a moment ago is shown on, but nothing is claimed of now.
        self.rates = Rates::default();
        self.remember(None);
    }

    fn remember(&mut self, rate: Option<f64>) {
        self.history.push_back(rate);
        if self.history.len() > HISTORY {
            self.history.pop_front();
        }
    }

    fn typed(&mut self, key: KeyCode) -> Next {
        let last = self.latest.as_ref().map_or(0, |sample| sample.status.workers.len().saturating_sub(1));
        match key {
            KeyCode::Char('q') | KeyCode::Esc => return Next::Quit,
            KeyCode::Char('s') => self.sort = Sort::Slot,
            KeyCode::Char('c') => self.sort = Sort::Connections,
            KeyCode::Char('f') => self.sort = Sort::InFlight,
            KeyCode::Char('r') => self.sort = Sort::Rate,
            KeyCode::Char('a') => self.sort = Sort::Age,
            KeyCode::Up => self.first = self.first.saturating_sub(1),
            KeyCode::Down => self.first = (self.first + 1).min(last),
            KeyCode::PageUp => self.first = self.first.saturating_sub(10),
            KeyCode::PageDown => self.first = (self.first + 10).min(last),
            KeyCode::Home => self.first = 0,
            KeyCode::End => self.first = last,
            _ => {}
        }
        Next::Draw
    }

    /// The workers as they are sorted.
    pub(crate) fn workers(&self) -> Vec<&WorkerStatus> {
        let mut workers: Vec<&WorkerStatus> = self.latest.iter().flat_map(|sample| &sample.status.workers).collect();
        workers.sort_by_key(|worker| {
            let most = match self.sort {
                Sort::Slot => 0,
                Sort::Connections => worker.connections,
                Sort::InFlight => worker.in_flight,
                Sort::Rate => whole(1000.0 * self.rates_of(worker.pid).requests),
                Sort::Age => whole(1000.0 * worker.age_seconds),
            };
            (Reverse(most), worker.slot, worker.pid)
        });
        workers
    }

    /// What is counted a second in one worker.
    pub(crate) fn rates_of(&self, pid: i32) -> WorkerRates {
        self.rates.workers.get(&pid).copied().unwrap_or_default()
    }

    /// The highest rate that is remembered.
    pub(crate) fn peak(&self) -> f64 {
        self.history.iter().flatten().copied().fold(0.0, f64::max)
    }
}

impl Rates {
    /// `None` if no time has gone by.
    fn between(before: &Sample, after: &Sample) -> Option<Self> {
        let seconds = after.at.saturating_sub(before.at).as_secs_f64();
        if seconds <= 0.0 {
            return None;
        }
        let a_second = |before: u64, after: u64| after.saturating_sub(before) as f64 / seconds;
        let workers = after.status.workers.iter().map(|worker| {
            let same = before.status.workers.iter().find(|other| other.pid == worker.pid);
            // One that is new has made all of its requests since then; a pid that comes back is somebody else.
            let same = same.filter(|same| same.requests <= worker.requests && same.accepted <= worker.accepted);
            let (requests, accepted) = same.map_or((0, 0), |same| (same.requests, same.accepted));
            let rates = WorkerRates {
                requests: a_second(requests, worker.requests),
                connections: a_second(accepted, worker.accepted),
            };
            (worker.pid, rates)
        });
        let (then, now) = (&before.status.totals, &after.status.totals);
        Some(Self {
            requests: a_second(then.requests, now.requests),
            connections: a_second(then.connections, now.connections),
            moved: a_second(then.moved, now.moved),
            workers: workers.collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use hatchery_control::Totals;

    use super::*;
    use crate::failure::Failure;
    use crate::fake::status;

    fn view() -> View {
        View::new(Path::new("/run/app.ctl"), Duration::from_secs(1))
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn answer(status: &Status) -> Happened {
        Happened::Answer { status: Box::new(status.clone()), uptime: None }
    }

    /// Two seconds later.
    fn later() -> Status {
        let mut status = status();
        status.workers[0].requests += 100;
        status.workers[1].requests += 20;
        status.workers[0].accepted += 6;
        status.totals.requests += 120;
        status.totals.connections += 6;
        status
    }

    #[test]
    fn rates_are_what_has_come_between_two_answers() {
        let mut view = view();
        view.take(answer(&status()), seconds(10));
        assert!(view.history.is_empty());
        view.take(answer(&later()), seconds(12));
        assert_eq!((view.rates.requests, view.rates.connections), (60.0, 3.0));
        assert_eq!([4243, 4244, 1].map(|pid| view.rates_of(pid).connections), [3.0, 0.0, 0.0]);
        assert_eq!([4243, 4244, 1].map(|pid| view.rates_of(pid).requests), [50.0, 10.0, 0.0]);
        assert_eq!(view.history, [Some(60.0)]);
    }

    #[test]
    fn a_worker_that_is_new_begins_at_nothing() {
        let mut view = view();
        view.take(answer(&status()), seconds(1));
        let mut upgraded = later();
        upgraded.workers[0] = WorkerStatus { pid: 5000, requests: 7, ..upgraded.workers[0].clone() };
        // A pid that has come round.
        upgraded.workers[1].requests = 3;
        view.take(answer(&upgraded), seconds(2));
        assert_eq!([5000, 4244].map(|pid| view.rates_of(pid).requests), [7.0, 3.0]);
    }

    #[test]
    fn nothing_is_claimed_while_nobody_answers_and_totals_do_not_jump_then() {
        let mut view = view();
        view.take(answer(&status()), seconds(1));
        view.take(answer(&later()), seconds(2));
        for second in 3..6 {
            view.take(Happened::NoAnswer(Failure::Unexpected), seconds(second));
        }
        assert_eq!(view.silence().unwrap().0, seconds(2));
        assert_eq!(view.rates, Rates::default());
        let mut back = later();
        back.totals = Totals { requests: back.totals.requests + 80, ..back.totals };
        view.take(answer(&back), seconds(10));
        assert_eq!(view.silence(), None);
        assert_eq!(view.history, [Some(120.0), None, None, None, Some(10.0)]);
        assert_eq!(view.peak(), 120.0);
    }

    #[test]
    fn a_look_that_does_not_end_is_no_answer_either() {
        let mut view = view();
        view.take(answer(&status()), seconds(1));
        view.now(seconds(6));
        assert_eq!(view.silence(), None);
        view.now(seconds(7));
        assert_eq!(view.silence().unwrap(), (seconds(6), "not a word from /run/app.ctl"));
        view.take(answer(&status()), seconds(8));
        assert_eq!(view.silence(), None);
    }

    #[test]
    fn workers_are_sorted_as_was_typed() {
        let mut view = view();
        let mut status = status();
        status.workers[1].connections = 99;
        view.take(answer(&status), seconds(1));
        let slots = |view: &View| view.workers().iter().map(|worker| worker.slot).collect::<Vec<_>>();
        assert_eq!(slots(&view), [0, 1, 2]);
        view.take(Happened::Key(KeyCode::Char('c')), seconds(1));
        assert_eq!(slots(&view), [1, 0, 2]);
        view.take(Happened::Key(KeyCode::Char('s')), seconds(1));
        assert_eq!(slots(&view), [0, 1, 2]);
    }

    #[test]
    fn scrolling_ends_at_the_last_worker() {
        let mut view = view();
        view.take(answer(&status()), seconds(1));
        for key in [KeyCode::Down, KeyCode::PageDown, KeyCode::End] {
            view.take(Happened::Key(key), seconds(1));
        }
        assert_eq!(view.first, 2);
        let fewer = Status { workers: status().workers[..1].to_vec(), ..status() };
        view.take(answer(&fewer), seconds(2));
        assert_eq!(view.first, 0);
    }

    #[test]
    fn quitting_is_by_q_escape_or_from_outside() {
        for happened in [Happened::Key(KeyCode::Char('q')), Happened::Key(KeyCode::Esc), Happened::Quit] {
            assert_eq!(view().take(happened, seconds(1)), Next::Quit);
        }
        assert_eq!(view().take(Happened::Key(KeyCode::Char('x')), seconds(1)), Next::Draw);
    }

    #[test]
    fn what_is_remembered_has_an_end() {
        let mut view = view();
        for _ in 0..2 * HISTORY {
            view.take(Happened::NoAnswer(Failure::Unexpected), seconds(1));
        }
        assert_eq!(view.history.len(), HISTORY);
    }
}
