//! The queue of a job server, and what a program may say about it.

use std::io;
use std::thread;
use std::time::Duration;

use hatchery_sys::channel::Channel;

/// Room for orders that no server has looked at yet, in bytes. The kernel
/// usually grants less: what it gives to everybody.
const CAPACITY: usize = 1024 * 1024;

/// What jobs of one name are granted.
///
/// ```
/// use std::time::Duration;
///
/// use hatchery_net::JobConfig;
///
/// let config = JobConfig { concurrency: 2, time_limit: Duration::from_secs(5), ..JobConfig::default() };
/// assert!(config.check().is_ok());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct JobConfig {
    /// How many run at the same time; by default as many as there are processors.
    /// While a reload replaces the job server, what the old one has accepted
    /// runs beside what the new one has.
    pub concurrency: usize,
    /// How many wait for their turn before the next one is refused; 256 by default.
    /// None may wait: then only what can run at once is accepted.
    pub queue: usize,
    /// How long one may run before it is killed, from its fork to its answer; 30 s by default.
    pub time_limit: Duration,
    /// How much memory one may have beyond what its server has, in bytes; 512 MiB
    /// by default, `None` for no limit. Its input counts, and so do stacks of
    /// threads and everything else that is private and can be written to; what it
    /// shares with its server, as preloaded data, does not.
    pub memory_limit: Option<u64>,
    /// The largest input, in bytes; 64 MiB by default.
    pub max_input: usize,
    /// The largest output, in bytes; 64 MiB by default.
    pub max_output: usize,
}

/// A pair of connected sockets that orders for jobs go through.
///
/// The master holds both ends, so that what is queued outlives a job server.
/// Workers hold the entry alone, and a job server the exit alone: so a worker
/// learns that there will be no server any more, and a server that there will be
/// no orders.
#[derive(Debug)]
pub struct JobQueue {
    entry: Channel,
    exit: Channel,
}

impl JobQueue {
    /// A new one.
    ///
    /// # Errors
    /// When this process or the system has no descriptor left.
    pub fn pair() -> io::Result<Self> {
        let (entry, exit) = Channel::pair()?;
        entry.set_send_capacity(CAPACITY)?;
        Ok(Self { entry, exit })
    }

    /// Where orders are sent, for a process that runs no jobs.
    #[must_use]
    pub fn into_entry(self) -> Channel {
        self.entry
    }

    /// Where they are received, for a job server.
    #[must_use]
    pub fn into_exit(self) -> Channel {
        self.exit
    }
}

impl JobConfig {
    /// Says what is wrong with it, if anything.
    ///
    /// # Errors
    /// A sentence that names the field, what is wrong, and what would be right.
    pub fn check(&self) -> Result<(), String> {
        // Less than that, and not even the error could be told.
        const LEAST_MEMORY: u64 = 1 << 20;
        if self.concurrency == 0 {
            return Err("`concurrency` is 0, and no job would ever run: at least 1".to_owned());
        }
        if self.time_limit.is_zero() {
            return Err("`time_limit` is zero, and no job could end in time: more than that".to_owned());
        }
        match self.memory_limit {
            Some(limit) if limit < LEAST_MEMORY => {
                Err(format!("`memory_limit` is {limit} bytes: at least 1 MiB, or `None`"))
            }
            Some(_) | None => Ok(()),
        }
    }
}

impl Default for JobConfig {
    fn default() -> Self {
        Self {
            concurrency: thread::available_parallelism().map_or(1, usize::from),
            queue: 256,
            time_limit: Duration::from_secs(30),
            memory_limit: Some(512 << 20),
            max_input: 64 << 20,
            max_output: 64 << 20,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said_by_name() {
        let default = JobConfig::default;
        assert_eq!(default().check(), Ok(()));
        for (wrong, field) in [
            (JobConfig { concurrency: 0, ..default() }, "`concurrency`"),
            (JobConfig { time_limit: Duration::ZERO, ..default() }, "`time_limit`"),
            (JobConfig { memory_limit: Some(4096), ..default() }, "`memory_limit`"),
        ] {
            assert!(wrong.check().unwrap_err().contains(field));
        }
        assert_eq!(JobConfig { queue: 0, memory_limit: None, ..default() }.check(), Ok(()));
    }
}
