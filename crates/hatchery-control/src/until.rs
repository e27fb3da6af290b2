//! How long whoever asks for an upgrade waits for its answer.

use std::fmt;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How long whoever asks for an upgrade waits for the last line of the answer.
///
/// On the line it is the value of `wait`: `false`, `true`, or `"proven"`. A server that does not know the last one
/// refuses the request, and begins nothing.
///
/// ```
/// use hatchery_control::{Request, Until};
///
/// let line = Request::Upgrade { wait: Until::Proven }.to_line();
/// assert_eq!(line, "{\"version\":1,\"command\":\"upgrade\",\"wait\":\"proven\"}\n");
/// assert_eq!(Until::from(true), Until::Done);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Until {
    /// It has begun.
    #[default]
    Begun,
    /// The successor has taken over.
    Done,
    /// Its probation is over as well: nothing is taken back because of its workers any more.
    Proven,
}

impl From<bool> for Until {
    /// As operations have it that have no probation.
    fn from(wait: bool) -> Self {
        if wait { Self::Done } else { Self::Begun }
    }
}

impl Serialize for Until {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Begun => serializer.serialize_bool(false),
            Self::Done => serializer.serialize_bool(true),
            Self::Proven => serializer.serialize_str("proven"),
        }
    }
}

impl<'de> Deserialize<'de> for Until {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Words)
    }
}

struct Words;

impl Visitor<'_> for Words {
    type Value = Until;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("true, false or \"proven\"")
    }

    fn visit_bool<E: de::Error>(self, wait: bool) -> Result<Until, E> {
        Ok(Until::from(wait))
    }

    fn visit_str<E: de::Error>(self, word: &str) -> Result<Until, E> {
        match word {
            "proven" => Ok(Until::Proven),
            other => Err(E::invalid_value(de::Unexpected::Str(other), &self)),
        }
    }
}
