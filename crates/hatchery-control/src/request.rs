//! What a client asks for.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{Until, VERSION, Whom};

/// What a client asks for.
///
/// ```
/// use hatchery_control::Request;
///
/// let line = Request::Scale { workers: 4, wait: true }.to_line();
/// assert_eq!(line, "{\"version\":1,\"command\":\"scale\",\"workers\":4,\"wait\":true}\n");
/// assert_eq!(Request::from_line(&line), Ok(Request::Scale { workers: 4, wait: true }));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Request {
    /// How the server is.
    Status,
    /// Which connections are open, and what each of them does.
    Connections,
    /// Replace the program, as SIGUSR2 does.
    Upgrade {
        /// When to answer.
        #[serde(default)]
        wait: Until,
    },
    /// Read the settings again and replace all workers, as SIGHUP does.
    Reload {
        /// Answer when it has ended, and not when it has begun.
        #[serde(default)]
        wait: bool,
    },
    /// Run so many workers.
    Scale {
        /// How many: 1 to 512.
        workers: u16,
        /// Answer when they are ready, and surplus ones accept no more.
        #[serde(default)]
        wait: bool,
    },
    /// Replace one worker, job server or sidecar.
    Recycle {
        /// Which one.
        #[serde(flatten)]
        whom: Whom,
        /// Answer when the old one is replaced, and accepts no more.
        #[serde(default)]
        wait: bool,
    },
    /// Open the log files again, as SIGUSR1 does.
    Reopen,
    /// Drain and stop, as SIGTERM does.
    Stop {
        /// Answer when everything is drained.
        #[serde(default)]
        wait: bool,
    },
}

/// A line that is no request, or one of a version that is not spoken here.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Unreadable {
    /// It is no request.
    #[error("not a request: {0}")]
    Invalid(String),
    /// It is of another version.
    #[error("version {0} of the protocol is not spoken here, only {VERSION}")]
    Version(u32),
}

/// A request as it stands on the line.
#[derive(Serialize)]
struct Spoken<'a> {
    version: u32,
    #[serde(flatten)]
    request: &'a Request,
}

/// What has to be known of a line before the rest of it means anything.
#[derive(Deserialize)]
struct Head {
    version: u32,
}

impl Request {
    /// The request as a line, with its end.
    #[must_use]
    pub fn to_line(&self) -> String {
        let mut line = serde_json::to_string(&Spoken { version: VERSION, request: self }).unwrap_or_default();
        line.push('\n');
        line
    }

    /// Reads a line, with or without its end.
    ///
    /// # Errors
    /// When it is no request, or one of another version.
    pub fn from_line(line: &str) -> Result<Self, Unreadable> {
        let invalid = |error: serde_json::Error| Unreadable::Invalid(error.to_string());
        let head: Head = serde_json::from_str(line).map_err(invalid)?;
        if head.version != VERSION {
            return Err(Unreadable::Version(head.version));
        }
        serde_json::from_str(line).map_err(invalid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_is_read_as_it_was_written() {
        for request in [
            Request::Status,
            Request::Connections,
            Request::Upgrade { wait: Until::Done },
            Request::Upgrade { wait: Until::Proven },
            Request::Reload { wait: false },
            Request::Scale { workers: 512, wait: true },
            Request::Recycle { whom: Whom::Slot(3), wait: false },
            Request::Recycle { whom: Whom::Name("notes".to_owned()), wait: true },
            Request::Reopen,
            Request::Stop { wait: true },
        ] {
            let line = request.to_line();
            assert!(line.ends_with('\n') && line.lines().count() == 1, "{line}");
            assert_eq!(Request::from_line(&line), Ok(request));
        }
    }

    #[test]
    fn what_is_left_out_means_no() {
        assert_eq!(
            Request::from_line(r#"{"version":1,"command":"upgrade"}"#),
            Ok(Request::Upgrade { wait: Until::Begun })
        );
        let told = r#"{"version":1,"command":"upgrade","wait":true}"#;
        assert_eq!(Request::from_line(told), Ok(Request::Upgrade { wait: Until::Done }));
    }

    #[test]
    fn who_is_replaced_is_a_slot_or_a_name() {
        let read = |rest: &str| Request::from_line(&format!(r#"{{"version":1,"command":"recycle"{rest}}}"#));
        let slot = Request::Recycle { whom: Whom::Slot(2), wait: true };
        assert_eq!(read(r#","wait":true,"slot":2"#), Ok(slot));
        let name = Request::Recycle { whom: Whom::Name("notes".to_owned()), wait: false };
        assert_eq!(read(r#","name":"notes","more":1"#), Ok(name));
        for nonsense in ["", r#","slot":"notes""#, r#","slot":70000"#, r#","name":2"#] {
            assert!(matches!(read(nonsense), Err(Unreadable::Invalid(_))), "{nonsense}");
        }
    }

    #[test]
    fn another_version_is_told_from_nonsense() {
        let read = |line| Request::from_line(line).unwrap_err();
        assert_eq!(read(r#"{"version":2,"command":"dance"}"#), Unreadable::Version(2));
        for nonsense in ["", "{}", "status", r#"{"version":1}"#, r#"{"version":1,"command":"dance"}"#] {
            assert!(matches!(read(nonsense), Unreadable::Invalid(_)), "{nonsense}");
        }
        let Unreadable::Invalid(why) = read(r#"{"version":1,"command":"upgrade","wait":"long"}"#) else { panic!() };
        assert!(why.contains("true, false or \"proven\""), "{why}");
    }
}
