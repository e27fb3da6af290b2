//! What a forked child of a job server does: one job, and nothing else.

use std::any::Any;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use hatchery_core::Generation;
use hatchery_core::wire::jobs::{Answer, Order, Wants};
use hatchery_net::JobConfig;
use hatchery_sys::channel::Channel;
use hatchery_sys::signals::{self, Blocked};
use hatchery_sys::{Pid, Signal, exhausted, limits, process, title};
use tracing::warn;

use super::LOG;

/// Exit codes: for those who look at processes, since callers get an answer.
const DONE: i32 = 0;
const FAILED: i32 = 1;
const PANICKED: i32 = 101;

/// Signals that reach a job because somebody sends them to a whole group, a
/// terminal or a service manager: whether it goes is for its server to say.
/// By a handler, since programs that the job starts would inherit a signal that is ignored.
const NOT_FOR_JOBS: [Signal; 10] = [
    Signal::SIGINT,
    Signal::SIGTERM,
    Signal::SIGQUIT,
    Signal::SIGHUP,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGWINCH,
    Signal::SIGTTIN,
    Signal::SIGTTOU,
    // An answer that nobody waits for is an error of a write.
    Signal::SIGPIPE,
];

/// What a job does: input to output, or an error in one line.
pub type Function<'a> = dyn Fn(&[u8]) -> Result<Vec<u8>, String> + 'a;

/// A job that was forked just now, with all that it needs.
#[derive(Debug)]
pub struct Job {
    pub(super) name: String,
    pub(super) config: JobConfig,
    pub(super) generation: Generation,
    pub(super) server: Pid,
    pub(super) order: Order,
    /// Where it says how it went.
    pub(super) answer: Channel,
    pub(super) sheet: File,
    pub(super) blocked: Blocked,
}

impl Job {
    /// Does the job, and answers. Returns the exit code.
    ///
    /// The caller leaves with [`exit_now`](process::exit_now): the frames above
    /// are copies of the server's, and of the master's above that.
    #[must_use]
    pub fn run(self, function: &Function<'_>) -> i32 {
        // Asked first, compared afterwards: a server that has died before sends no signal.
        let asked = process::die_with_parent(Signal::SIGKILL);
        if process::parent() != self.server {
            return FAILED;
        }
        let prepared = asked.and_then(|()| signals::ignore_by_handler(&NOT_FOR_JOBS));
        let Self { name, config, generation, order, answer, sheet, blocked, server: _ } = self;
        title::set(&format!("hatchery: job {name} gen {generation}"));
        let answer = Answers { channel: answer.into_fd(), name: &name, wants: order.wants };
        blocked.restore();
        let prepared = prepared.and_then(|()| config.memory_limit.map_or(Ok(()), limits::limit_memory));
        let prepared = prepared.and_then(|()| answer.say_when_exhausted());
        // After the limit: what it is given counts as well.
        let input = prepared.and_then(|()| read(&sheet, order.len));
        let input = match input {
            Ok(input) => input,
            Err(error) => return answer.say(&Answer::Refused { text: error.to_string() }, FAILED),
        };
        match catch_unwind(AssertUnwindSafe(|| function(&input))) {
            Ok(Ok(output)) if output.len() > config.max_output => {
                answer.say(&Answer::TooLarge { len: output.len() as u64 }, FAILED)
            }
            Ok(Ok(output)) => match write(&sheet, &output, order.wants) {
                Ok(()) => answer.say(&Answer::Done { len: output.len() as u64 }, DONE),
                Err(error) => {
                    let text = format!("its output cannot be written: {error}");
                    answer.say(&Answer::Refused { text }, FAILED)
                }
            },
            Ok(Err(text)) => answer.say(&Answer::Failed { text }, FAILED),
            Err(panic) => answer.say(&Answer::Panicked { text: message(&*panic).to_owned() }, PANICKED),
        }
    }
}

struct Answers<'a> {
    channel: OwnedFd,
    name: &'a str,
    wants: Wants,
}

impl Answers<'_> {
    /// Of one that nobody waits for, the log hears instead.
    fn say(self, answer: &Answer, code: i32) -> i32 {
        match self.wants {
            Wants::Answer => {
                // A caller that is gone does not hear it, and one that reads has room.
                let _ = Channel::from_fd(self.channel).and_then(|channel| channel.send(&answer.encode(), &[]));
            }
            Wants::Nothing => {
                if let Some(text) = trouble(answer) {
                    warn!(target: LOG, "a detached job of `{}` {text}", self.name);
                }
            }
        }
        code
    }

    fn say_when_exhausted(&self) -> io::Result<()> {
        // A copy that is never closed, as a handler needs it.
        let copy: &'static OwnedFd = Box::leak(Box::new(self.channel.try_clone()?));
        let message = Box::leak(Answer::OutOfMemory.encode().into_boxed_slice());
        exhausted::say_at_abort(copy.as_fd(), message)
    }
}

/// What a log says of a job that has not gone well; `None` if it has.
pub(super) fn trouble(answer: &Answer) -> Option<String> {
    match answer {
        Answer::Accepted | Answer::Full | Answer::Done { .. } => None,
        Answer::Refused { text } => Some(format!("was not run: {text}")),
        Answer::Failed { text } => Some(format!("failed: {text}")),
        Answer::Panicked { text } => Some(format!("panicked: {text}")),
        Answer::TooLarge { len } => Some(format!("failed: its output has {len} bytes, more than its `max_output`")),
        Answer::OutOfMemory => Some("failed: it has reached its `memory_limit`".to_owned()),
        Answer::TimedOut => Some("was killed: it has reached its `time_limit`".to_owned()),
        Answer::Ended(ending) => Some(format!("crashed: {ending}")),
    }
}

fn read(sheet: &File, len: u64) -> io::Result<Vec<u8>> {
    // The order says so, and nobody has made sure: so what is not there is not allocated.
    let len = usize::try_from(len.min(sheet.metadata()?.len())).map_err(|_| io::ErrorKind::OutOfMemory)?;
    let mut input = vec![0; len];
    sheet.read_exact_at(&mut input, 0)?;
    Ok(input)
}

fn write(sheet: &File, output: &[u8], wants: Wants) -> io::Result<()> {
    match wants {
        Wants::Answer => sheet.write_all_at(output, 0),
        Wants::Nothing => Ok(()),
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&'static str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
