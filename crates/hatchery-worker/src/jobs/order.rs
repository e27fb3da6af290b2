//! One order, from its input to its output.

use std::fs::File;
use std::future::poll_fn;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::task::{Poll, ready};
use std::time::Duration;

use hatchery_core::wire::jobs::{Answer, LONGEST, Order, Wants};
use hatchery_sys::channel::{self, Channel, Received};
use hatchery_sys::sheet::sheet;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep};

use super::{JobDesk, JobError};
use crate::relay::watched::Watched;

/// What is copied to or from a sheet before others get their turn, in bytes.
const STEP: usize = 256 * 1024;

/// How long an order waits for room in the queue's socket, and how often it looks.
const PATIENCE: Duration = Duration::from_secs(1);
const INTERVAL: Duration = Duration::from_millis(5);

/// An order that the server can read.
#[derive(Debug)]
pub(super) struct Placed<'a> {
    desk: &'a JobDesk,
    answers: Watched<Channel>,
    sheet: File,
}

/// Orders a job and waits for its output.
pub(super) async fn run(desk: &JobDesk, input: &[u8]) -> Result<Vec<u8>, JobError> {
    place(desk, input, Wants::Answer).await?.output().await
}

/// Orders a job.
pub(super) async fn place<'a>(desk: &'a JobDesk, input: &[u8], wants: Wants) -> Result<Placed<'a>, JobError> {
    let limit = desk.config.max_input;
    if input.len() > limit {
        return Err(JobError::InputTooLarge { len: input.len(), limit });
    }
    let sheet = sheet().map_err(JobError::NotOrdered)?;
    write(&sheet, input).await.map_err(JobError::NotOrdered)?;
    let (answers, theirs) = Channel::pair().map_err(JobError::NotOrdered)?;
    let answers = Watched::register(answers).map_err(JobError::NotOrdered)?;
    let order = Order { len: input.len() as u64, wants }.encode();
    let give_up = Instant::now() + PATIENCE;
    while let Err(error) = desk.entry.send(&order, &[theirs.as_fd(), sheet.as_fd()]) {
        match error.kind() {
            io::ErrorKind::WouldBlock if Instant::now() >= give_up => return Err(JobError::QueueFull),
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => return Err(JobError::Lost),
            io::ErrorKind::WouldBlock => {}
            _ if channel::is_shortage(&error) && Instant::now() < give_up => {}
            _ => return Err(JobError::NotOrdered(error)),
        }
        sleep(INTERVAL).await;
    }
    Ok(Placed { desk, answers, sheet })
}

impl Placed<'_> {
    /// Waits until the server has it.
    pub(super) async fn accepted(self) -> Result<(), JobError> {
        match self.next().await? {
            Answer::Accepted => Ok(()),
            other => Err(self.error(other)),
        }
    }

    async fn output(self) -> Result<Vec<u8>, JobError> {
        loop {
            match self.next().await? {
                Answer::Accepted => {}
                Answer::Done { len } => return self.read(len).await,
                other => return Err(self.error(other)),
            }
        }
    }

    /// The next thing that the server or the job says.
    async fn next(&self) -> Result<Answer, JobError> {
        let mut message = vec![0; LONGEST];
        let received = poll_fn(|cx| {
            loop {
                match self.answers.socket().recv(&mut message) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    received => return Poll::Ready(received),
                }
                self.answers.was_empty();
                ready!(self.answers.poll_readable(cx))?;
            }
        });
        match received.await {
            Ok(Received::Message { len, .. } | Received::Stripped { len }) => {
                Answer::decode(&message[..len]).map_err(|error| JobError::Refused { text: error.to_string() })
            }
            // Nobody is left who could say something.
            Ok(Received::Closed) => Err(JobError::Lost),
            Ok(Received::Truncated) => Err(JobError::Refused { text: "its answer is too long".to_owned() }),
            Err(error) => Err(JobError::Refused { text: format!("its answer cannot be read: {error}") }),
        }
    }

    async fn read(&self, len: u64) -> Result<Vec<u8>, JobError> {
        let limit = self.desk.config.max_output;
        let Some(len) = usize::try_from(len).ok().filter(|len| *len <= limit) else {
            return Err(JobError::OutputTooLarge { len, limit });
        };
        let mut output = vec![0; len];
        for (index, step) in output.chunks_mut(STEP).enumerate() {
            if index > 0 {
                yield_now().await;
            }
            let read = self.sheet.read_exact_at(step, (index * STEP) as u64);
            read.map_err(|error| JobError::Refused { text: format!("its output cannot be read: {error}") })?;
        }
        Ok(output)
    }

    fn error(&self, answer: Answer) -> JobError {
        match answer {
            Answer::Full => JobError::QueueFull,
            Answer::Refused { text } => JobError::Refused { text },
            Answer::Failed { text } => JobError::Failed { text },
            Answer::Panicked { text } => JobError::Panicked { text },
            Answer::TooLarge { len } => JobError::OutputTooLarge { len, limit: self.desk.config.max_output },
            Answer::OutOfMemory => JobError::OutOfMemory,
            Answer::TimedOut => JobError::TimedOut { limit: self.desk.config.time_limit },
            Answer::Ended(ending) => JobError::Crashed { ending },
            Answer::Accepted | Answer::Done { .. } => {
                JobError::Refused { text: "its answer makes no sense".to_owned() }
            }
        }
    }
}

async fn write(sheet: &File, input: &[u8]) -> io::Result<()> {
    for (index, step) in input.chunks(STEP).enumerate() {
        if index > 0 {
            yield_now().await;
        }
        sheet.write_all_at(step, (index * STEP) as u64)?;
    }
    Ok(())
}
