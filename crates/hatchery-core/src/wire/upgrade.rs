//! What a predecessor and its successor say to each other, over their `SOCK_SEQPACKET` pair.

use super::WireError;
use super::fields::{Fields, number};
use crate::takes::Takes;

/// What a predecessor tells its successor.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PredecessorSays {
    /// Take over: assign the queues, take the pid file.
    Commit {
        /// How many older predecessors still drain behind this one.
        draining: u8,
        /// Which connections it takes back.
        takes: Takes,
    },
    /// The upgrade is off: stop, nothing was yours yet.
    Abort,
    /// The number of older predecessors that still drain has changed.
    Behind {
        /// How many there are now.
        draining: u8,
    },
    /// Those who waited for this upgrade, and were entrusted to the successor, have been answered.
    Answered {
        /// Which of them.
        whom: Whom,
    },
}

/// Who has been answered of those who waited for an upgrade.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Whom {
    /// All of them.
    Everybody,
    /// Those who waited for the successor to take over, and not for the end of its probation.
    ForTheTakeover,
}

/// What a successor tells its predecessor.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SuccessorSays {
    /// It has come to this part of its start; for the log.
    Phase {
        /// What it does now, as `preloading`.
        name: String,
    },
    /// Its workers have booted, and wait for queues.
    Ready {
        /// Which connections it takes.
        takes: Takes,
    },
    /// It could not start, or gives up while the predecessor can still take back.
    Failed {
        /// The whole error, as it would stand on standard error.
        text: String,
    },
    /// Its settings do not ask for these of the listeners that were handed over,
    /// in their order: nobody will accept from them once it has taken over.
    Leaves {
        /// Which they are, counted from 0.
        listeners: Vec<u16>,
    },
    /// It accepts on every queue, and holds the pid file.
    Taken,
    /// Its end is wanted, or its own successor follows: do not take back.
    Released,
    /// Somebody who has ended it does not want to wait: whoever still drains is to end now.
    Hurry,
}

impl PredecessorSays {
    /// The message as it travels.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Commit { draining, takes } => {
                takes.write(Fields::default().with_number("draining", *draining)).message("commit")
            }
            Self::Abort => Fields::default().message("abort"),
            Self::Answered { whom: Whom::Everybody } => Fields::default().message("answered"),
            Self::Answered { whom: Whom::ForTheTakeover } => Fields::default().with("but", "proof").message("answered"),
            Self::Behind { draining } => Fields::default().with_number("draining", *draining).message("behind"),
        }
    }

    /// Reads a message; `None` for one that a newer version may say and that can be skipped.
    ///
    /// # Errors
    /// When the bytes are no message.
    pub fn decode(message: &[u8]) -> Result<Option<Self>, WireError> {
        let (verb, fields) = Fields::of_message(message)?;
        let draining = || fields.number("draining").map(Option::unwrap_or_default);
        Ok(match verb {
            "commit" => Some(Self::Commit { draining: draining()?, takes: Takes::read(&fields)? }),
            "abort" => Some(Self::Abort),
            "answered" if fields.text("but").as_deref() == Some("proof") => {
                Some(Self::Answered { whom: Whom::ForTheTakeover })
            }
            "answered" => Some(Self::Answered { whom: Whom::Everybody }),
            "behind" => Some(Self::Behind { draining: draining()? }),
            _ => None,
        })
    }
}

impl SuccessorSays {
    /// The message as it travels.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Phase { name } => Fields::default().with("name", name).message("phase"),
            Self::Ready { takes } => takes.write(Fields::default()).message("ready"),
            Self::Failed { text } => Fields::default().with("text", text).message("failed"),
            Self::Leaves { listeners } => {
                let list: Vec<String> = listeners.iter().map(ToString::to_string).collect();
                Fields::default().with("listeners", list.join(",")).message("leaves")
            }
            Self::Taken => Fields::default().message("taken"),
            Self::Released => Fields::default().message("released"),
            Self::Hurry => Fields::default().message("hurry"),
        }
    }

    /// Reads a message; `None` for one that a newer version may say and that can be skipped.
    ///
    /// # Errors
    /// When the bytes are no message.
    pub fn decode(message: &[u8]) -> Result<Option<Self>, WireError> {
        let (verb, fields) = Fields::of_message(message)?;
        Ok(match verb {
            "phase" => Some(Self::Phase { name: fields.text("name").unwrap_or_default() }),
            "ready" => Some(Self::Ready { takes: Takes::read(&fields)? }),
            "failed" => Some(Self::Failed { text: fields.text("text").unwrap_or_default() }),
            "leaves" => {
                let list = fields.bytes("listeners").unwrap_or_default().split(|b| *b == b',');
                let listeners = list.filter(|index| !index.is_empty()).map(|index| number("listeners", index));
                Some(Self::Leaves { listeners: listeners.collect::<Result<_, _>>()? })
            }
            "taken" => Some(Self::Taken),
            "released" => Some(Self::Released),
            "hurry" => Some(Self::Hurry),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::takes::Service;

    #[test]
    fn both_sides_understand_each_other() {
        let service = Service { listener: "127.0.0.1:8080".to_owned(), name: "http".to_owned(), state: 0 };
        let takes = Takes::these([service]);
        for said in [
            PredecessorSays::Commit { draining: 1, takes: takes.clone() },
            PredecessorSays::Abort,
            PredecessorSays::Behind { draining: 0 },
            PredecessorSays::Answered { whom: Whom::Everybody },
            PredecessorSays::Answered { whom: Whom::ForTheTakeover },
        ] {
            assert_eq!(PredecessorSays::decode(&said.encode()), Ok(Some(said)));
        }
        for said in [
            SuccessorSays::Phase { name: "preloading".to_owned() },
            SuccessorSays::Ready { takes },
            SuccessorSays::Failed { text: "address in use;\n100 %".to_owned() },
            SuccessorSays::Leaves { listeners: vec![0, 2] },
            SuccessorSays::Taken,
            SuccessorSays::Released,
        ] {
            assert_eq!(SuccessorSays::decode(&said.encode()), Ok(Some(said)));
        }
    }

    #[test]
    fn another_version_may_say_more_and_less() {
        assert_eq!(PredecessorSays::decode(b"relay;v=2"), Ok(None));
        assert_eq!(SuccessorSays::decode(b"moved;n=4"), Ok(None));
        assert_eq!(
            PredecessorSays::decode(b"commit"),
            Ok(Some(PredecessorSays::Commit { draining: 0, takes: Takes::nothing() }))
        );
        // A program that knows of no relay takes nothing from one.
        assert_eq!(SuccessorSays::decode(b"ready"), Ok(Some(SuccessorSays::Ready { takes: Takes::nothing() })));
        assert!(PredecessorSays::decode(b"commit;draining=x").is_err());
        assert!(SuccessorSays::decode(b"\xff\xff").is_err());
    }
}
