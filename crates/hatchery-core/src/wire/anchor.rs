//! What masters say to those who stand before them: the anchor, and the command that a daemon was started by.

use super::WireError;
use super::fields::Fields;
use crate::ids::Pid;

/// What a master says to its anchor.
///
/// The anchor is the oldest program of all: it was started with the first
/// generation, and hears every later one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnchorHears {
    /// This master serves from now on: signals are for it.
    Serving {
        /// Its process.
        pid: Pid,
    },
    /// What the service manager is to be told in the anchor's name.
    Notify {
        /// Lines of `VARIABLE=VALUE`.
        text: String,
    },
}

/// What a daemon says to the command that it was started by, which waits for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StarterHears {
    /// The daemon is this process.
    Pid {
        /// The daemon.
        pid: Pid,
    },
    /// The workers are ready.
    Ready,
    /// They never were.
    Failed {
        /// The exit code.
        code: u8,
        /// Why, in one line.
        text: String,
    },
}

impl AnchorHears {
    /// The message as it travels.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Serving { pid } => Fields::default().with("pid", pid.to_string()).message("serving"),
            Self::Notify { text } => Fields::default().with("text", text).message("notify"),
        }
    }

    /// Reads a message; `None` for one that a newer version may say and that can be skipped.
    ///
    /// # Errors
    /// When the bytes are no message.
    pub fn decode(message: &[u8]) -> Result<Option<Self>, WireError> {
        let (verb, fields) = Fields::of_message(message)?;
        Ok(match verb {
            "serving" => Some(Self::Serving { pid: Pid(fields.required("pid")?) }),
            "notify" => Some(Self::Notify { text: fields.text("text").unwrap_or_default() }),
            _ => None,
        })
    }
}

impl StarterHears {
    /// The message as it travels.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Pid { pid } => Fields::default().with("pid", pid.to_string()).message("pid"),
            Self::Ready => Fields::default().message("ready"),
            Self::Failed { code, text } => {
                Fields::default().with_number("code", *code).with("text", text).message("failed")
            }
        }
    }

    /// Reads a message; `None` for one that can be skipped.
    ///
    /// # Errors
    /// When the bytes are no message.
    pub fn decode(message: &[u8]) -> Result<Option<Self>, WireError> {
        let (verb, fields) = Fields::of_message(message)?;
        Ok(match verb {
            "pid" => Some(Self::Pid { pid: Pid(fields.required("pid")?) }),
            "ready" => Some(Self::Ready),
            "failed" => {
                let text = fields.text("text").unwrap_or_default();
                Some(Self::Failed { code: fields.required("code")?, text })
            }
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_heard() {
        let said = AnchorHears::Serving { pid: Pid(7) };
        assert_eq!(AnchorHears::decode(&said.encode()), Ok(Some(said)));
        let said = AnchorHears::Notify { text: "READY=1\nSTATUS=50 %; well\n".to_owned() };
        assert_eq!(AnchorHears::decode(&said.encode()), Ok(Some(said)));
        let failed = StarterHears::Failed { code: 3, text: "no; 100 %\n".to_owned() };
        for said in [StarterHears::Pid { pid: Pid(9) }, StarterHears::Ready, failed] {
            assert_eq!(StarterHears::decode(&said.encode()), Ok(Some(said)));
        }
    }

    #[test]
    fn later_versions_may_say_more() {
        assert_eq!(AnchorHears::decode(b"leaving;pid=7"), Ok(None));
        assert!(AnchorHears::decode(b"serving").is_err());
        assert!(AnchorHears::decode(b"serving;pid=-1").is_err());
        assert!(StarterHears::decode(b"failed;code=256").is_err());
    }
}
