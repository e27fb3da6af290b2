//! What a client is told.

use serde::{Deserialize, Serialize};

use crate::{Connection, Status, VERSION};

/// What a client is told.
///
/// ```
/// use hatchery_control::Reply;
///
/// let line = Reply::Done { text: "scaled to 4 workers".to_owned() }.to_line();
/// assert_eq!(line, "{\"version\":1,\"reply\":\"done\",\"text\":\"scaled to 4 workers\"}\n");
/// assert!(Reply::from_line(&line)?.is_last());
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Reply {
    /// How the server is.
    Status {
        /// How.
        status: Box<Status>,
    },
    /// Some of the connections.
    Connections {
        /// Each of them.
        connections: Vec<Connection>,
        /// Whether others follow in another reply.
        more: bool,
    },
    /// What has happened meanwhile: a line of the log.
    Progress {
        /// The line.
        text: String,
        /// How loud it is; left out on the line where everything is as it should be.
        #[serde(default, skip_serializing_if = "Level::is_info")]
        level: Level,
    },
    /// It was done, or has begun where the client does not wait.
    Done {
        /// What was.
        text: String,
    },
    /// It was not done.
    Failed {
        /// What kind of reason it is.
        because: Refusal,
        /// The reason.
        text: String,
    },
}

/// How loud a line of the log is.
///
/// ```
/// use hatchery_control::{Level, Reply};
///
/// let warning = Reply::Progress { text: "`umask` has changed".to_owned(), level: Level::Warn };
/// let line = warning.to_line();
/// assert_eq!(line, "{\"version\":1,\"reply\":\"progress\",\"text\":\"`umask` has changed\",\"level\":\"warn\"}\n");
/// # assert_eq!(Reply::from_line(&line)?, warning);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Level {
    /// Something needs a look, and the service goes on.
    Warn,
    /// Something that was asked for did not happen.
    Error,
    /// Everything is as it should be, or it is a level that only a newer server has a name for.
    #[default]
    #[serde(other)]
    Info,
}

impl Level {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
    fn is_info(&self) -> bool {
        *self == Self::Info
    }
}

/// Why something was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Refusal {
    /// The line was no request that this version knows.
    Invalid,
    /// Not now, or not at all: nothing was begun.
    Refused,
    /// It was begun, and has failed; the server serves on as before.
    Failed,
    /// Another master serves by now, at the same path: ask again there.
    Replaced,
    /// The client is nobody who may ask.
    Forbidden,
    /// What only a newer server has a name for.
    #[serde(other)]
    Unknown,
}

/// A reply as it stands on the line.
#[derive(Serialize)]
struct Spoken<'a> {
    version: u32,
    #[serde(flatten)]
    reply: &'a Reply,
}

impl Reply {
    /// The reply as a line, with its end.
    #[must_use]
    pub fn to_line(&self) -> String {
        let mut line = serde_json::to_string(&Spoken { version: VERSION, reply: self }).unwrap_or_default();
        line.push('\n');
        line
    }

    /// Reads a line, with or without its end.
    ///
    /// # Errors
    /// When it is no reply that this version knows.
    pub fn from_line(line: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(line)
    }

    /// Whether nothing follows it.
    #[must_use]
    pub fn is_last(&self) -> bool {
        match self {
            Self::Status { .. } | Self::Done { .. } | Self::Failed { .. } => true,
            Self::Connections { more, .. } => !more,
            Self::Progress { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_one_ends_an_answer() {
        let text = String::new;
        assert!(!Reply::Progress { text: text(), level: Level::Info }.is_last());
        assert!(!Reply::Connections { connections: Vec::new(), more: true }.is_last());
        assert!(Reply::Connections { connections: Vec::new(), more: false }.is_last());
        assert!(Reply::Done { text: text() }.is_last());
        assert!(Reply::Failed { because: Refusal::Refused, text: text() }.is_last());
    }

    #[test]
    fn a_level_that_is_left_out_or_not_known_is_no_warning() {
        for level in ["", r#","level":"info""#, r#","level":"strange""#] {
            let line = format!(r#"{{"version":1,"reply":"progress","text":"a"{level}}}"#);
            let told = Reply::Progress { text: "a".to_owned(), level: Level::Info };
            assert_eq!(Reply::from_line(&line).unwrap(), told, "{line}");
        }
    }

    #[test]
    fn a_text_of_several_lines_is_one_line() {
        let failed = Reply::Failed { because: Refusal::Failed, text: "one\ntwo".to_owned() };
        assert_eq!(failed.to_line().lines().count(), 1);
        assert_eq!(Reply::from_line(&failed.to_line()).unwrap(), failed);
    }
}
