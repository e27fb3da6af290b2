//! Messages between a master and its worker, over their `SOCK_SEQPACKET` pair.

use std::time::Duration;

use super::WireError;
use super::fields::{self, Fields};
use crate::ids::QueueId;

/// What a master tells a worker.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum MasterSays {
    /// Accept from these queues and from no other. An empty list: stop accepting, keep serving.
    Assign {
        /// All queues of this worker from now on.
        queues: Vec<QueueId>,
    },
    /// Somebody else serves the queues: stop accepting, finish what is open, go.
    Drain {
        /// How long until the master kills.
        timeout: Duration,
    },
    /// The final stop: accept until every assigned queue is empty, say
    /// [`WorkerSays::Emptied`], then drain.
    Finish {
        /// How long until the master kills.
        timeout: Duration,
    },
    /// Open the log files again.
    Reopen,
}

/// What a worker tells its master.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum WorkerSays {
    /// The application has booted; queues may be assigned.
    Ready,
    /// The application did not boot; the worker is about to exit.
    BootFailed {
        /// The application's own error, one line.
        text: String,
    },
    /// A TERM or QUIT reached the worker: please replace it.
    Recycle,
    /// After [`MasterSays::Finish`]: every queue was accepted until empty.
    Emptied,
}

impl MasterSays {
    /// The message as it travels.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Assign { queues } => {
                let list: Vec<String> = queues.iter().map(ToString::to_string).collect();
                Fields::default().with("queues", list.join(",")).message("assign")
            }
            Self::Drain { timeout } => with_timeout(*timeout).message("drain"),
            Self::Finish { timeout } => with_timeout(*timeout).message("finish"),
            Self::Reopen => Fields::default().message("reopen"),
        }
    }

    /// Reads a message.
    ///
    /// # Errors
    /// When it is none of these, or lacks a field.
    pub fn decode(message: &[u8]) -> Result<Self, WireError> {
        let (verb, fields) = Fields::of_message(message)?;
        match verb {
            "assign" => {
                let list = fields.bytes("queues").ok_or_else(|| WireError::missing("queues"))?;
                let queues = list
                    .split(|b| *b == b',')
                    .filter(|id| !id.is_empty())
                    .map(|id| fields::number("queues", id).map(QueueId))
                    .collect::<Result<_, _>>()?;
                Ok(Self::Assign { queues })
            }
            "drain" => Ok(Self::Drain { timeout: timeout(&fields)? }),
            "finish" => Ok(Self::Finish { timeout: timeout(&fields)? }),
            "reopen" => Ok(Self::Reopen),
            other => Err(WireError::new(format!("a master does not say `{other}`"))),
        }
    }
}

impl WorkerSays {
    /// The message as it travels.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Ready => Fields::default().message("ready"),
            Self::BootFailed { text } => Fields::default().with("text", text).message("boot-failed"),
            Self::Recycle => Fields::default().message("recycle"),
            Self::Emptied => Fields::default().message("emptied"),
        }
    }

    /// Reads a message.
    ///
    /// # Errors
    /// When it is none of these.
    pub fn decode(message: &[u8]) -> Result<Self, WireError> {
        let (verb, fields) = Fields::of_message(message)?;
        match verb {
            "ready" => Ok(Self::Ready),
            "boot-failed" => Ok(Self::BootFailed { text: fields.text("text").unwrap_or_default() }),
            "recycle" => Ok(Self::Recycle),
            "emptied" => Ok(Self::Emptied),
            other => Err(WireError::new(format!("a worker does not say `{other}`"))),
        }
    }
}

fn with_timeout(timeout: Duration) -> Fields {
    let millis = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
    Fields::default().with_number("timeout", millis)
}

fn timeout(fields: &Fields) -> Result<Duration, WireError> {
    fields.required("timeout").map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_master_says_is_read() {
        for said in [
            MasterSays::Assign { queues: vec![] },
            MasterSays::Assign { queues: vec![QueueId(0), QueueId(7)] },
            MasterSays::Drain { timeout: Duration::from_millis(1500) },
            MasterSays::Finish { timeout: Duration::from_secs(30) },
            MasterSays::Reopen,
        ] {
            assert_eq!(MasterSays::decode(&said.encode()), Ok(said));
        }
        assert!(MasterSays::decode(b"assign;queues=1,x").is_err());
        assert!(MasterSays::decode(b"fly").is_err());
    }

    #[test]
    fn what_a_worker_says_is_read() {
        for said in [
            WorkerSays::Ready,
            WorkerSays::BootFailed { text: "no such table: users; 100%".to_owned() },
            WorkerSays::Recycle,
            WorkerSays::Emptied,
        ] {
            assert_eq!(WorkerSays::decode(&said.encode()), Ok(said));
        }
        assert!(WorkerSays::decode(b"").is_err());
    }
}
