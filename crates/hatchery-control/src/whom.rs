//! Which process is to be replaced.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Which process is to be replaced: a worker by its slot, a job server or a sidecar by its name.
///
/// On the line it is one of the keys `slot` and `name`, as a [status](crate::WorkerStatus) has them. A server that
/// does not know names refuses the request, and begins nothing.
///
/// ```
/// use hatchery_control::{Request, Whom};
///
/// let line = Request::Recycle { whom: Whom::Name("notes".to_owned()), wait: true }.to_line();
/// assert_eq!(line, "{\"version\":1,\"command\":\"recycle\",\"name\":\"notes\",\"wait\":true}\n");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Whom {
    /// Whoever has this slot. Those of job servers and sidecars begin at 32768.
    Slot(u16),
    /// The job server or sidecar that the program calls so.
    Name(String),
}

impl fmt::Display for Whom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Slot(slot) => write!(f, "slot {slot}"),
            Self::Name(name) => write!(f, "`{name}`"),
        }
    }
}
