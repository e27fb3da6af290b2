//! What a worker, a job server and a job say to each other.
//!
//! A worker sends an [`Order`] into the queue of a job server, with two
//! descriptors: one end of a `SOCK_SEQPACKET` pair for the [`Answer`]s, and a
//! file without a name, the *sheet*, that holds the job's input. The server says
//! [`Answer::Accepted`] or [`Answer::Full`]. The job, a child of the server,
//! reads the sheet, writes its output over it and says how it went. What it
//! cannot say itself, since it was killed, the server does. When the pair's
//! other end is closed without any of that, the job is lost.

use super::WireError;
use super::fields::Fields;
use crate::event::Ending;

/// A message is at most so long, in bytes: a text of which every byte is escaped.
pub const LONGEST: usize = 3 * LONGEST_TEXT + 64;

/// A text is cut off after so many bytes.
pub const LONGEST_TEXT: usize = 8 * 1024;

/// What a worker asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Order {
    /// How many bytes of input are on the sheet.
    pub len: u64,
    /// Whether somebody waits for the answer.
    pub wants: Wants,
}

/// Whether somebody waits for a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wants {
    /// Its answer. When nobody waits any more, the job is cancelled.
    Answer,
    /// That it is done, some time.
    Nothing,
}

/// What becomes of a job. All but the first are the last word.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// The server has it: it will run.
    Accepted,
    /// The server has as many as it may have.
    Full,
    /// The server, or the system, cannot run it.
    Refused {
        /// Why.
        text: String,
    },
    /// It is done.
    Done {
        /// How many bytes of output are on the sheet.
        len: u64,
    },
    /// It has failed.
    Failed {
        /// Its own error, in one line.
        text: String,
    },
    /// It has panicked.
    Panicked {
        /// The message.
        text: String,
    },
    /// Its output is larger than it may be.
    TooLarge {
        /// How large it is, in bytes.
        len: u64,
    },
    /// It has reached its limit of memory.
    OutOfMemory,
    /// It has reached its limit of time, and was killed.
    TimedOut,
    /// It has ended without a word.
    Ended(Ending),
}

impl Order {
    /// The message as it travels.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let detached = match self.wants {
            Wants::Answer => 0_u8,
            Wants::Nothing => 1,
        };
        Fields::default().with_number("len", self.len).with_number("detached", detached).message("job")
    }

    /// Reads a message.
    ///
    /// # Errors
    /// When it is none, or lacks a field.
    pub fn decode(message: &[u8]) -> Result<Self, WireError> {
        let (verb, fields) = Fields::of_message(message)?;
        if verb != "job" {
            return Err(WireError::new(format!("a worker does not say `{verb}` to a job server")));
        }
        let detached: u8 = fields.number("detached")?.unwrap_or(0);
        let wants = if detached == 0 { Wants::Answer } else { Wants::Nothing };
        Ok(Self { len: fields.required("len")?, wants })
    }
}

impl Answer {
    /// The message as it travels. A text is cut off after [`LONGEST_TEXT`] bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let fields = Fields::default();
        match self {
            Self::Accepted => fields.message("accepted"),
            Self::Full => fields.message("full"),
            Self::Refused { text } => fields.with("text", cut(text)).message("refused"),
            Self::Done { len } => fields.with_number("len", *len).message("done"),
            Self::Failed { text } => fields.with("text", cut(text)).message("failed"),
            Self::Panicked { text } => fields.with("text", cut(text)).message("panicked"),
            Self::TooLarge { len } => fields.with_number("len", *len).message("too-large"),
            Self::OutOfMemory => fields.message("out-of-memory"),
            Self::TimedOut => fields.message("timed-out"),
            Self::Ended(Ending::Code(code)) => fields.with("code", code.to_string()).message("ended"),
            Self::Ended(Ending::Signal(signal)) => fields.with("signal", signal.to_string()).message("ended"),
        }
    }

    /// Reads a message.
    ///
    /// # Errors
    /// When it is none of these, or lacks a field.
    pub fn decode(message: &[u8]) -> Result<Self, WireError> {
        let (verb, fields) = Fields::of_message(message)?;
        let text = || fields.text("text").unwrap_or_default();
        match verb {
            "accepted" => Ok(Self::Accepted),
            "full" => Ok(Self::Full),
            "refused" => Ok(Self::Refused { text: text() }),
            "done" => Ok(Self::Done { len: fields.required("len")? }),
            "failed" => Ok(Self::Failed { text: text() }),
            "panicked" => Ok(Self::Panicked { text: text() }),
            "too-large" => Ok(Self::TooLarge { len: fields.required("len")? }),
            "out-of-memory" => Ok(Self::OutOfMemory),
            "timed-out" => Ok(Self::TimedOut),
            "ended" => match fields.number("signal")? {
                Some(signal) => Ok(Self::Ended(Ending::Signal(signal))),
                None => Ok(Self::Ended(Ending::Code(fields.required("code")?))),
            },
            other => Err(WireError::new(format!("a job server does not say `{other}`"))),
        }
    }
}

/// At the end of a character.
fn cut(text: &str) -> &str {
    let mut end = text.len().min(LONGEST_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn orders_are_read() {
        for wants in [Wants::Answer, Wants::Nothing] {
            let order = Order { len: u64::MAX, wants };
            assert_eq!(Order::decode(&order.encode()), Ok(order));
        }
        // What a later version may add is skipped, what it may leave out has a meaning.
        assert_eq!(Order::decode(b"job;len=3;mood=good"), Ok(Order { len: 3, wants: Wants::Answer }));
        for broken in ["job", "job;len=x", "job;len=-1", "job;len=1;detached=300", "ready", "", ";", "\u{fffd}"] {
            assert!(Order::decode(broken.as_bytes()).is_err(), "{broken}");
        }
    }

    #[test]
    fn answers_are_read() {
        let text = || "no such file; 100 %\nof it".to_owned();
        for answer in [
            Answer::Accepted,
            Answer::Full,
            Answer::Refused { text: text() },
            Answer::Done { len: 0 },
            Answer::Failed { text: text() },
            Answer::Panicked { text: String::new() },
            Answer::TooLarge { len: 1 << 40 },
            Answer::OutOfMemory,
            Answer::TimedOut,
            Answer::Ended(Ending::Code(3)),
            Answer::Ended(Ending::Signal(11)),
        ] {
            let message = answer.encode();
            assert!(message.len() <= LONGEST);
            assert_eq!(Answer::decode(&message), Ok(answer));
        }
        for broken in ["done", "done;len=", "ended", "ended;signal=x", "ended;code=99999999999", "fly", "", "%"] {
            assert!(Answer::decode(broken.as_bytes()).is_err(), "{broken}");
        }
    }

    #[test]
    fn a_long_text_is_cut_off_where_a_character_ends() {
        let text = format!("x{}", "\u{e9}".repeat(LONGEST_TEXT));
        let message = Answer::Failed { text }.encode();
        assert!(message.len() <= LONGEST);
        let Ok(Answer::Failed { text }) = Answer::decode(&message) else { panic!() };
        assert_eq!(text.len(), LONGEST_TEXT - 1);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = Order::decode(&bytes);
            let _ = Answer::decode(&bytes);
        }

        #[test]
        fn no_line_panics(line in "(job|done|failed|ended)(;(len|detached|code|signal|text)=[ -~]{0,12}){0,3}") {
            let _ = Order::decode(line.as_bytes());
            let _ = Answer::decode(line.as_bytes());
        }
    }
}
