//! What the program around the master wants to be asked or told.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use hatchery_core::notice::Cause;
use hatchery_core::{Ending, Generation, Pid, Policy, Revision, Slot, Who};
use hatchery_net::Listeners;
use tracing::{error, warn};

/// How long a hook may take before it is worth a line: nobody is supervised meanwhile.
const SLOW: Duration = Duration::from_millis(100);

/// Functions of the program that run in the master, between two events.
pub struct Hooks {
    /// Reads the settings again, and has listeners for what they ask for.
    pub reread: Box<Rereading>,
    /// Whether this program would serve the same once it began anew; else why not.
    pub may_begin_anew: Box<dyn FnMut() -> Result<(), String>>,
    /// Opens the log files again.
    pub reopen: Box<dyn FnMut()>,
    /// Runs when the workers are ready and this master serves: after the pid file was written.
    pub serving: Box<dyn FnMut()>,
    /// What is to be done from time to time: answers when it wants to be asked again, `None`: at the next event.
    pub upkeep: Box<dyn FnMut() -> Option<Duration>>,
    /// Runs before every fork of a worker.
    pub before_fork: Box<dyn FnMut(Slot)>,
    /// Runs after a worker was reaped.
    pub worker_exited: Box<dyn FnMut(&WorkerExit)>,
}

/// Reads the settings again, and makes the listeners those that they ask for.
pub type Rereading = dyn FnMut(&mut Listeners) -> Result<Reread, String>;

/// What settings that were read again mean for a master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reread {
    /// The limits to obey.
    pub policy: Policy,
    /// Where they ask for other listeners than before.
    pub listeners: Option<Revision>,
    /// What was logged meanwhile, and whoever waits for the reload is to hear.
    pub warnings: Vec<String>,
}

/// The end of a worker, as the program is told of it.
///
/// ```no_run
/// use hatchery_core::notice::Cause;
/// use hatchery_master::WorkerExit;
///
/// fn tell(exit: &WorkerExit) {
///     if exit.cause != Cause::Drained {
///         tracing::warn!("{} is gone: {}, {}", exit.who, exit.cause, exit.ending);
///     }
/// }
/// # let _ = tell;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerExit {
    /// Which it was: a worker and its slot, or a companion and its name.
    pub who: Who,
    /// The process that it was.
    pub pid: Pid,
    /// The generation that it belonged to.
    pub generation: Generation,
    /// How it ended, as the kernel says.
    pub ending: Ending,
    /// Why, as its master sees it.
    pub cause: Cause,
}

impl Hooks {
    pub(crate) fn reread(&mut self, listeners: &mut Listeners) -> Result<Reread, String> {
        guarded("the settings", &mut self.reread, |reread| reread(listeners))
            .unwrap_or_else(|| Err("reading the settings panicked".to_owned()))
    }

    pub(crate) fn may_begin_anew(&mut self) -> Result<(), String> {
        guarded("the settings", &mut self.may_begin_anew, |may| may())
            .unwrap_or_else(|| Err("reading the settings panicked".to_owned()))
    }

    pub(crate) fn reopen(&mut self) {
        guarded("reopening the logs", &mut self.reopen, |reopen| reopen());
    }

    pub(crate) fn serving(&mut self) {
        guarded("telling who waits for the workers", &mut self.serving, |serving| serving());
    }

    pub(crate) fn upkeep(&mut self) -> Option<Duration> {
        guarded("upkeep", &mut self.upkeep, |upkeep| upkeep()).flatten()
    }

    pub(crate) fn before_fork(&mut self, slot: Slot) {
        guarded("the before_fork hook", &mut self.before_fork, |hook| hook(slot));
    }

    pub(crate) fn worker_exited(&mut self, exit: &WorkerExit) {
        guarded("the on_worker_exit hook", &mut self.worker_exited, |hook| hook(exit));
    }
}

impl Default for Hooks {
    /// Hooks that do nothing, and settings that never change.
    fn default() -> Self {
        Self {
            reread: Box::new(|_| Err("this program cannot read its settings again".to_owned())),
            may_begin_anew: Box::new(|| Ok(())),
            reopen: Box::new(|| {}),
            serving: Box::new(|| {}),
            upkeep: Box::new(|| None),
            before_fork: Box::new(|_| {}),
            worker_exited: Box::new(|_| {}),
        }
    }
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks").finish_non_exhaustive()
    }
}

/// Runs a hook so that its panic costs nothing but a line, and its slowness is seen.
fn guarded<H: ?Sized, T>(name: &str, hook: &mut Box<H>, run: impl FnOnce(&mut H) -> T) -> Option<T> {
    let begin = Instant::now();
    let result = catch_unwind(AssertUnwindSafe(|| run(hook)));
    let took = begin.elapsed();
    if took > SLOW {
        warn!("{name} took {} ms in the master, which supervises nobody meanwhile", took.as_millis());
    }
    if result.is_err() {
        error!("{name} panicked in the master");
    }
    result.ok()
}
