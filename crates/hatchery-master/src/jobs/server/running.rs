//! Jobs that run: forked, watched, killed, reaped.

use std::io;
use std::time::Duration;

use hatchery_core::wire::jobs::{Answer, Wants};
use hatchery_core::wire::worker::WorkerSays;
use hatchery_core::{Ending, Moment};
use hatchery_sys::channel::Channel;
use hatchery_sys::fork::{self, Fork};
use hatchery_sys::signals::{self, Blocked};
use hatchery_sys::wait::Status;
use hatchery_sys::{Pid, Signal, process, streams, wait};
use tracing::{error, warn};

use super::orders::Waiting;
use super::{LOG, Server, Stage};
use crate::jobs::job::{Job, trouble};

/// How soon a fork that has failed is tried again.
const RETRY: Duration = Duration::from_millis(100);

/// A job that runs, or was killed and is still to be reaped.
pub(super) struct Running {
    pid: Pid,
    wants: Wants,
    pub(super) answer: Channel,
    fate: Fate,
}

/// What is expected of a job that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It ends by itself until then.
    Runs {
        /// When it is killed.
        until: Moment,
    },
    /// It was killed, and who waits for it has been told.
    Killed,
}

impl Server {
    /// Forks as many as there is room for. Returns the job in the child.
    pub(super) fn fork_jobs(&mut self) -> Option<Job> {
        if self.retry.is_some_and(|at| at > self.clock.now()) {
            return None;
        }
        while self.running.len() < self.config.concurrency {
            let next = self.waiting.pop_front()?;
            match self.fork(next) {
                Ok(None) => self.retry = None,
                Ok(Some(job)) => return Some(job),
                Err((next, failure)) => {
                    if self.retry.replace(self.clock.now() + RETRY).is_none() {
                        error!(target: LOG, "cannot fork a job of `{}`, and try again: {failure}", self.name);
                    }
                    self.waiting.push_front(next);
                    return None;
                }
            }
        }
        None
    }

    fn fork(&mut self, next: Waiting) -> Result<Option<Job>, (Waiting, io::Error)> {
        streams::flush();
        let blocked = match signals::block_all() {
            Ok(blocked) => blocked,
            Err(failure) => return Err((next, failure)),
        };
        let server = process::pid();
        match fork::fork(&blocked) {
            Ok(Fork::Child) => Ok(Some(self.become_job(next, server, blocked))),
            Ok(Fork::Parent { child }) => {
                blocked.restore();
                let until = self.clock.now() + self.config.time_limit;
                let Waiting { order, answer, sheet: _ } = next;
                self.running.push(Running { pid: child, wants: order.wants, answer, fate: Fate::Runs { until } });
                Ok(None)
            }
            Err(failure) => {
                blocked.restore();
                Err((next, failure))
            }
        }
    }

    fn become_job(&mut self, next: Waiting, server: Pid, blocked: Blocked) -> Job {
        signals::reset_in_child();
        Job {
            name: self.name.clone(),
            config: self.config.clone(),
            generation: self.generation,
            server,
            order: next.order,
            answer: next.answer,
            sheet: next.sheet,
            blocked,
        }
    }

    pub(super) fn cancel_expired(&mut self) {
        let now = self.clock.now();
        for job in self.running.iter_mut().filter(|job| job.deadline().is_some_and(|until| until <= now)) {
            job.conclude(&self.name, &Answer::TimedOut);
            job.kill();
        }
    }

    pub(super) fn take_signals(&mut self) -> io::Result<()> {
        for caught in self.signals.take() {
            match (caught.signal, self.stage) {
                // If this is the signal of the master's death, the end of the channel tells as well.
                (Signal::SIGTERM | Signal::SIGQUIT, Stage::Serving) => self.say(&WorkerSays::Recycle),
                (Signal::SIGUSR1, _) => (self.reopen)(None),
                _ => {}
            }
        }
        // Signals coalesce: reap until nobody is left, whichever it was.
        while let Some((pid, status)) = wait::reap()? {
            let Some(index) = self.running.iter().position(|job| job.pid == pid) else { continue };
            let job = self.running.swap_remove(index);
            if job.fate != Fate::Killed {
                job.ended(&self.name, status);
            }
        }
        Ok(())
    }
}

impl Running {
    /// Whether it runs, and is cancelled when nobody waits for it.
    pub(super) fn is_awaited(&self) -> bool {
        self.wants == Wants::Answer && self.fate != Fate::Killed
    }

    pub(super) fn deadline(&self) -> Option<Moment> {
        match self.fate {
            Fate::Runs { until } => Some(until),
            Fate::Killed => None,
        }
    }

    /// It stays among those that run until it is reaped: until then it may use a processor.
    pub(super) fn kill(&mut self) {
        self.fate = Fate::Killed;
        if let Err(failure) = process::kill(self.pid, Signal::SIGKILL) {
            warn!(target: LOG, "cannot kill a job (pid {}): {failure}", self.pid);
        }
    }

    /// Tells who waits, or else the log.
    fn conclude(&self, name: &str, answer: &Answer) {
        match self.wants {
            Wants::Answer => {
                let _ = self.answer.send(&answer.encode(), &[]);
            }
            Wants::Nothing => {
                if let Some(text) = trouble(answer) {
                    warn!(target: LOG, "a detached job of `{name}` {text}");
                }
            }
        }
    }

    fn ended(&self, name: &str, status: Status) {
        let answer = match status {
            // It has said so itself, or to the log; this is heard by nobody then.
            Status::Exited(_) if self.wants == Wants::Nothing => return,
            Status::Exited(code) => Answer::Ended(Ending::Code(code)),
            Status::Killed { signal, .. } => Answer::Ended(Ending::Signal(signal)),
        };
        self.conclude(name, &answer);
    }
}
