//! Jobs: work that a process of its own does for a worker.

use std::fmt;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use hatchery_core::Ending;
use hatchery_core::wire::jobs::Wants;
use hatchery_net::JobConfig;
use hatchery_sys::channel::Channel;
use thiserror::Error;

mod order;

/// The jobs of one name: each runs in a child process of its own.
///
/// A job that takes long does not block the loop of the worker, and one that
/// crashes, hangs, leaks or is killed is an error value here and nothing else.
/// [`Worker::jobs`](crate::Worker::jobs) gives one. Cheap to clone, `Send` and
/// `Sync`, and so are its futures: it can go where a framework wants that.
///
/// ```no_run
/// use hatchery_worker::{JobError, Worker};
///
/// async fn thumbnail(worker: &Worker, picture: &[u8]) -> Result<Vec<u8>, &'static str> {
///     match worker.jobs("thumbnails").run(picture).await {
///         Ok(thumbnail) => Ok(thumbnail),
///         // Worth another try, later.
///         Err(JobError::QueueFull | JobError::Lost) => Err("503 Service Unavailable"),
///         // This picture will never do.
///         Err(_) => Err("422 Unprocessable Content"),
///     }
/// }
/// # let _ = thumbnail;
/// ```
#[derive(Clone)]
pub struct Jobs(Arc<JobDesk>);

/// Where a process orders the jobs of one name.
#[derive(Debug)]
pub struct JobDesk {
    /// What the program calls them.
    pub name: String,
    /// What they are granted.
    pub config: JobConfig,
    /// The entry of their queue.
    pub entry: Channel,
}

/// Why a job has no output.
///
/// Whatever has happened, it has happened to the job alone.
///
/// ```
/// use hatchery_worker::JobError;
///
/// let error = JobError::Failed { text: "no picture".to_owned() };
/// assert_eq!(error.to_string(), "the job failed: no picture");
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum JobError {
    /// The job has returned an error.
    #[error("the job failed: {text}")]
    Failed {
        /// The error and its causes, in one line.
        text: String,
    },
    /// The job has panicked.
    #[error("the job panicked: {text}")]
    Panicked {
        /// The message.
        text: String,
    },
    /// The job's process has ended without an answer: by a signal, an abort, or an exit of its own.
    #[error("the job crashed: {ending}")]
    Crashed {
        /// How.
        ending: Ending,
    },
    /// The job has reached its `memory_limit`, as far as that can be told: a
    /// program that aborts when it gets no memory, as Rust programs do, unless
    /// `RUST_BACKTRACE` makes it print where that was. Otherwise it is `Crashed`,
    /// or `Failed` where the job has coped with it.
    #[error("the job ran out of memory")]
    OutOfMemory,
    /// The job has reached its `time_limit` and was killed.
    #[error("the job took longer than {} ms", limit.as_millis())]
    TimedOut {
        /// The limit.
        limit: Duration,
    },
    /// As many jobs run and wait as may. Also when the job server does not take
    /// in what is in its queue's socket, which holds some hundreds, for a second.
    #[error("too many jobs wait already")]
    QueueFull,
    /// The job server was killed or has crashed after it had accepted the job, or
    /// there is no job server any more. The job may have done a part of its work.
    #[error("the job server is gone")]
    Lost,
    /// The input is larger than `max_input`.
    #[error("the job's input has {len} bytes, and may have {limit}")]
    InputTooLarge {
        /// How large it is.
        len: usize,
        /// How large it may be.
        limit: usize,
    },
    /// The output is larger than `max_output`.
    #[error("the job's output has {len} bytes, and may have {limit}")]
    OutputTooLarge {
        /// How large it is.
        len: u64,
        /// How large it may be.
        limit: usize,
    },
    /// The job server, or the system there, could not run it.
    #[error("the job was not run: {text}")]
    Refused {
        /// Why.
        text: String,
    },
    /// This process could not order it: no descriptor or no memory is left.
    #[error("the job cannot be ordered")]
    NotOrdered(#[source] io::Error),
}

impl Jobs {
    /// # Panics
    /// If there are none of this name.
    #[track_caller]
    pub(crate) fn new(name: &str, desks: &[Arc<JobDesk>]) -> Self {
        match desks.iter().find(|desk| desk.name == name) {
            Some(desk) => Self(Arc::clone(desk)),
            None => panic!("there are no jobs with the name `{name}`: {}", known(desks)),
        }
    }

    /// Runs a job and waits for its output.
    ///
    /// The job is accepted when the job server has taken it in: from then on it
    /// runs, sooner or later, also when this worker drains or the server is
    /// replaced. The time until its turn does not count against its `time_limit`;
    /// wrap this in a timeout where that matters. During a reload, and after a
    /// crash of the job server, what was not accepted waits for the next server.
    ///
    /// # Errors
    /// One variant of [`JobError`] for each thing that can happen.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the job: one that waits is forgotten, one that
    /// runs is killed. It may have done a part of its work.
    ///
    /// # Example
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// use hatchery_worker::Worker;
    ///
    /// async fn soon(worker: &Worker, input: &[u8]) -> Option<Vec<u8>> {
    ///     // Five seconds for everything, the time in the queue included; then it is killed.
    ///     tokio::time::timeout(Duration::from_secs(5), worker.jobs("report").run(input)).await.ok()?.ok()
    /// }
    /// # let _ = soon;
    /// ```
    pub fn run<I>(&self, input: I) -> impl Future<Output = Result<Vec<u8>, JobError>> + use<I>
    where
        I: AsRef<[u8]>,
    {
        let this = self.clone();
        async move { order::run(&this.0, input.as_ref()).await }
    }

    /// Leaves a job to the job server: returns as soon as that has accepted it.
    ///
    /// Nobody waits for it, so its output is thrown away, and the log has what
    /// goes wrong with it. It runs also when this worker is gone by then. What
    /// ends it early is its `time_limit`, the end of its job server, or the
    /// drain-timeout at a stop, a reload or an upgrade.
    ///
    /// # Errors
    /// [`JobError::QueueFull`], [`JobError::InputTooLarge`], [`JobError::Lost`],
    /// [`JobError::Refused`] and [`JobError::NotOrdered`]: then it does not run, or in the case of `Lost` may not.
    ///
    /// # Cancel safety
    /// If the future is dropped before it has completed, the job may run or not.
    ///
    /// # Example
    /// ```no_run
    /// use hatchery_worker::{JobError, Worker};
    ///
    /// async fn send(worker: &Worker, mail: Vec<u8>) -> Result<(), JobError> {
    ///     worker.jobs("mail").detach(mail).await
    /// }
    /// # let _ = send;
    /// ```
    pub fn detach<I>(&self, input: I) -> impl Future<Output = Result<(), JobError>> + use<I>
    where
        I: AsRef<[u8]>,
    {
        let this = self.clone();
        async move { order::place(&this.0, input.as_ref(), Wants::Nothing).await?.accepted().await }
    }
}

fn known(desks: &[Arc<JobDesk>]) -> String {
    if desks.is_empty() {
        return "the program has none".to_owned();
    }
    let names: Vec<String> = desks.iter().map(|desk| format!("`{}`", desk.name)).collect();
    format!("expected one of {}", names.join(", "))
}

impl fmt::Debug for Jobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jobs").field("name", &self.0.name).finish_non_exhaustive()
    }
}
