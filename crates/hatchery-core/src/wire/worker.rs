//! Messages between a master and its worker, over their `SOCK_SEQPACKET` pair.

use std::time::Duration;

use super::WireError;
use super::fields::{self, Fields};
use crate::ids::QueueId;
use crate::takes::Takes;

/// What a master tells a worker.
///
/// Where an [`Heir`] is named, the message brings a descriptor: the entry of the heir's relay.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum MasterSays {
    /// Accept from these queues and from no other. An empty list: stop accepting, keep serving.
    Assign {
        /// All queues of this worker from now on.
        queues: Vec<QueueId>,
        /// Whether it takes in connections that move within this generation.
        relay: bool,
    },
    /// Somebody else serves the queues: stop accepting, move or finish what is open, go.
    ///
    /// Said again when the heir changes.
    Drain {
        /// How long until the master kills.
        timeout: Duration,
        /// Who takes the connections; without one they are closed politely.
        heir: Option<Heir>,
        /// Whether the relay of this generation ends: it is read until then.
        last: bool,
    },
    /// The final stop: accept until every assigned queue is empty, say
    /// [`WorkerSays::Emptied`], then drain.
    Finish {
        /// How long until the master kills.
        timeout: Duration,
    },
    /// Others have fewer connections: hand over so many of those that are idle.
    Shed {
        /// How many.
        connections: u32,
        /// Who takes them.
        heir: Heir,
    },
    /// If the master dies, connections can go to the generation that serves beside
    /// this one: the predecessor, or for a predecessor's workers the successor.
    Refuge {
        /// Its relay.
        heir: Heir,
    },
    /// Its loop has been at work for long: is it there? The answer is a turn on the board.
    Ask,
    /// An accept queue that was made after this worker was forked; it is the message's descriptor.
    Queue {
        /// Its name.
        id: QueueId,
    },
    /// Open the log files again.
    Reopen,
    /// How the server is, answering [`WorkerSays::HowIsIt`]: the message's descriptor is a file with it.
    Status,
}

/// Who takes the connections of a worker that drains.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Heir {
    /// Whose relay it is.
    pub relay: Whose,
    /// What may be sent.
    pub takes: Takes,
}

/// One of the relays that a master knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Whose {
    /// That of this generation.
    Own,
    /// That of the next one.
    Successor,
    /// That of the one before.
    Predecessor,
}

/// What a worker tells its master.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum WorkerSays {
    /// The application has booted; queues may be assigned.
    Ready {
        /// Which connections of others it can go on with.
        takes: Takes,
    },
    /// Some listeners are served, and others have not been for a while: the worker is not ready before they are.
    Waits {
        /// Which ones, one line.
        text: String,
    },
    /// The application did not boot; the worker is about to exit.
    BootFailed {
        /// The application's own error, one line.
        text: String,
    },
    /// A TERM or QUIT reached the worker, or it has served long enough: please replace it.
    Recycle,
    /// After [`MasterSays::Finish`]: every queue was accepted until empty.
    Emptied,
    /// How is the server? The answer is [`MasterSays::Status`], to whoever tells operators.
    HowIsIt,
}

impl MasterSays {
    /// The message as it travels.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Assign { queues, relay } => {
                let list: Vec<String> = queues.iter().map(ToString::to_string).collect();
                let fields = Fields::default().with("queues", list.join(","));
                fields.with_number("relay", u8::from(*relay)).message("assign")
            }
            Self::Drain { timeout, heir, last } => {
                let fields = with_timeout(*timeout).with_number("last", u8::from(*last));
                heir.iter().fold(fields, |fields, heir| heir.write(fields)).message("drain")
            }
            Self::Finish { timeout } => with_timeout(*timeout).message("finish"),
            Self::Shed { connections, heir } => {
                heir.write(Fields::default().with_number("connections", *connections)).message("shed")
            }
            Self::Refuge { heir } => heir.write(Fields::default()).message("refuge"),
            Self::Queue { id } => Fields::default().with("id", id.to_string()).message("queue"),
            Self::Ask => Fields::default().message("ask"),
            Self::Reopen => Fields::default().message("reopen"),
            Self::Status => Fields::default().message("status"),
        }
    }

    /// Reads a message.
    ///
    /// # Errors
    /// When it is none of these, or lacks a field.
    pub fn decode(message: &[u8]) -> Result<Self, WireError> {
        let (verb, fields) = Fields::of_message(message)?;
        let heir = || Heir::read(&fields)?.ok_or_else(|| WireError::missing("heir"));
        match verb {
            "assign" => {
                let list = fields.bytes("queues").ok_or_else(|| WireError::missing("queues"))?;
                let queues = list.split(|b| *b == b',').filter(|id| !id.is_empty()).map(queue_id);
                Ok(Self::Assign { queues: queues.collect::<Result<_, _>>()?, relay: flag(&fields, "relay")? })
            }
            "drain" => {
                Ok(Self::Drain { timeout: timeout(&fields)?, heir: Heir::read(&fields)?, last: flag(&fields, "last")? })
            }
            "finish" => Ok(Self::Finish { timeout: timeout(&fields)? }),
            "shed" => Ok(Self::Shed { connections: fields.required("connections")?, heir: heir()? }),
            "refuge" => Ok(Self::Refuge { heir: heir()? }),
            "queue" => {
                let id = fields.bytes("id").ok_or_else(|| WireError::missing("id"))?;
                Ok(Self::Queue { id: queue_id(id)? })
            }
            "ask" => Ok(Self::Ask),
            "reopen" => Ok(Self::Reopen),
            "status" => Ok(Self::Status),
            other => Err(WireError::new(format!("a master does not say `{other}`"))),
        }
    }

    /// Whose relay's entry goes along as a descriptor.
    #[must_use]
    pub fn heir(&self) -> Option<&Heir> {
        match self {
            Self::Drain { heir, .. } => heir.as_ref(),
            Self::Shed { heir, .. } | Self::Refuge { heir } => Some(heir),
            Self::Assign { .. }
            | Self::Finish { .. }
            | Self::Ask
            | Self::Queue { .. }
            | Self::Reopen
            | Self::Status => None,
        }
    }
}

impl WorkerSays {
    /// The message as it travels.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Ready { takes } => takes.write(Fields::default()).message("ready"),
            Self::Waits { text } => Fields::default().with("text", text).message("waits"),
            Self::BootFailed { text } => Fields::default().with("text", text).message("boot-failed"),
            Self::Recycle => Fields::default().message("recycle"),
            Self::Emptied => Fields::default().message("emptied"),
            Self::HowIsIt => Fields::default().message("how-is-it"),
        }
    }

    /// Reads a message.
    ///
    /// # Errors
    /// When it is none of these.
    pub fn decode(message: &[u8]) -> Result<Self, WireError> {
        let (verb, fields) = Fields::of_message(message)?;
        match verb {
            "ready" => Ok(Self::Ready { takes: Takes::read(&fields)? }),
            "waits" => Ok(Self::Waits { text: fields.text("text").unwrap_or_default() }),
            "boot-failed" => Ok(Self::BootFailed { text: fields.text("text").unwrap_or_default() }),
            "recycle" => Ok(Self::Recycle),
            "emptied" => Ok(Self::Emptied),
            "how-is-it" => Ok(Self::HowIsIt),
            other => Err(WireError::new(format!("a worker does not say `{other}`"))),
        }
    }
}

impl Heir {
    fn write(&self, fields: Fields) -> Fields {
        self.takes.write(fields.with("heir", self.relay.name()))
    }

    fn read(fields: &Fields) -> Result<Option<Self>, WireError> {
        let Some(name) = fields.text("heir") else { return Ok(None) };
        let whose = [Whose::Own, Whose::Successor, Whose::Predecessor];
        let relay = whose.into_iter().find(|whose| whose.name() == name);
        let relay = relay.ok_or_else(|| WireError::new(format!("`heir={name}` is nobody")))?;
        Ok(Some(Self { relay, takes: Takes::read(fields)? }))
    }
}

impl Whose {
    fn name(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Successor => "successor",
            Self::Predecessor => "predecessor",
        }
    }
}

fn queue_id(text: &[u8]) -> Result<QueueId, WireError> {
    let dot = text.iter().position(|b| *b == b'.');
    let dot = dot.ok_or_else(|| WireError::new(format!("`{}` is no queue", String::from_utf8_lossy(text))))?;
    let (listener, index) = (&text[..dot], &text[dot + 1..]);
    Ok(QueueId { listener: fields::number("queue", listener)?, index: fields::number("queue", index)? })
}

fn flag(fields: &Fields, key: &str) -> Result<bool, WireError> {
    Ok(fields.number::<u8>(key)?.is_some_and(|number| number > 0))
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
    use crate::takes::Service;

    fn takes() -> Takes {
        let service = |name: &str| Service { listener: "unix:/a;b@c".to_owned(), name: name.to_owned(), state: 3 };
        Takes::these([service("http"), service("counter")])
    }

    fn heir(relay: Whose) -> Heir {
        Heir { relay, takes: takes() }
    }

    #[test]
    fn what_a_master_says_is_read() {
        let queue = |listener, index| QueueId { listener, index };
        let timeout = Duration::from_millis(1500);
        for said in [
            MasterSays::Assign { queues: vec![], relay: true },
            MasterSays::Assign { queues: vec![queue(0, 0), queue(7, 12)], relay: false },
            MasterSays::Drain { timeout, heir: None, last: true },
            MasterSays::Drain { timeout, heir: Some(heir(Whose::Successor)), last: false },
            MasterSays::Finish { timeout: Duration::from_secs(30) },
            MasterSays::Shed { connections: 7, heir: heir(Whose::Own) },
            MasterSays::Refuge { heir: heir(Whose::Predecessor) },
            MasterSays::Queue { id: queue(1, 3) },
            MasterSays::Ask,
            MasterSays::Reopen,
        ] {
            assert_eq!(MasterSays::decode(&said.encode()), Ok(said));
        }
        for broken in ["assign;queues=1.0,x", "assign;queues=1", "drain;timeout=1;heir=me", "refuge", "queue", "fly"] {
            assert!(MasterSays::decode(broken.as_bytes()).is_err(), "{broken}");
        }
    }

    #[test]
    fn what_a_worker_says_is_read() {
        for said in [
            WorkerSays::Ready { takes: takes() },
            WorkerSays::Ready { takes: Takes::nothing() },
            WorkerSays::Waits { text: "nobody serves `a` on unix:/a;b".to_owned() },
            WorkerSays::BootFailed { text: "no such table: users; 100%".to_owned() },
            WorkerSays::Recycle,
            WorkerSays::Emptied,
        ] {
            assert_eq!(WorkerSays::decode(&said.encode()), Ok(said));
        }
        assert!(WorkerSays::decode(b"").is_err());
    }
}
