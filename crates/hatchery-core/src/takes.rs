//! What a process takes over a relay: nobody is sent what it has not declared.

use std::collections::BTreeSet;
use std::fmt;

use crate::wire::fields::Fields;
use crate::wire::{WireError, relay};

/// What somebody takes: which messages, and connections of which services.
///
/// ```
/// use hatchery_core::{Service, Takes};
///
/// let counter = |state| Service { listener: "127.0.0.1:7000".to_owned(), name: "counter".to_owned(), state };
/// let old = Takes::these([counter(1)]);
/// let new = Takes::these([counter(2)]);
/// assert!(old.takes(&counter(1)));
/// // An upgrade that changes what a connection's state looks like: none of them moves.
/// assert!(!old.both(&new).takes(&counter(1)));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Takes {
    /// Versions of the message: from the oldest to the newest. `None` takes nothing.
    messages: Option<(u16, u16)>,
    services: BTreeSet<Service>,
}

/// What is served on a listener, as far as a connection that moves has to know.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Service {
    /// The address that the listener is bound to.
    pub listener: String,
    /// What the application calls the service; `http` for HTTP without a state of its own.
    pub name: String,
    /// The version of the application's state.
    pub state: u32,
}

/// A name that no [`Service`] can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadServiceName;

impl Takes {
    /// Nothing at all: what a program says that knows of no relay.
    #[must_use]
    pub fn nothing() -> Self {
        Self::default()
    }

    /// Connections of these services, in every version of the message that this library reads.
    #[must_use]
    pub fn these(services: impl IntoIterator<Item = Service>) -> Self {
        Self { messages: Some((relay::OLDEST, relay::VERSION)), services: services.into_iter().collect() }
    }

    /// The services.
    pub fn services(&self) -> impl Iterator<Item = &Service> {
        self.services.iter()
    }

    /// Whether a connection of this service can be sent by this library.
    #[must_use]
    pub fn takes(&self, service: &Service) -> bool {
        let reads = |(oldest, newest): (u16, u16)| (oldest..=newest).contains(&relay::VERSION);
        self.messages.is_some_and(reads) && self.services.contains(service)
    }

    /// What both take: where either may turn out to be the reader.
    #[must_use]
    pub fn both(&self, other: &Self) -> Self {
        let messages = self.messages.zip(other.messages).map(|(a, b)| (a.0.max(b.0), a.1.min(b.1)));
        Self {
            messages: messages.filter(|(oldest, newest)| oldest <= newest),
            services: self.services.intersection(&other.services).cloned().collect(),
        }
    }
}

impl Takes {
    /// Adds to a message what it takes.
    pub(crate) fn write(&self, fields: Fields) -> Fields {
        let Some((oldest, newest)) = self.messages else { return fields };
        let fields = fields.with_number("relay-min", oldest).with_number("relay", newest);
        self.services.iter().fold(fields, |fields, service| fields.with("take", service.encode()))
    }

    /// Reads it from a message. A service that a later version describes in
    /// another way is one that cannot be sent.
    ///
    /// # Errors
    /// When the versions are no numbers.
    pub(crate) fn read(fields: &Fields) -> Result<Self, WireError> {
        let messages = fields.number("relay-min")?.zip(fields.number("relay")?);
        let services = fields.all("take").filter_map(|text| Service::decode(std::str::from_utf8(text).ok()?));
        Ok(Self { messages, services: services.collect() })
    }
}

impl Service {
    /// The longest name, in bytes.
    const LONGEST_NAME: usize = 128;

    /// The longest text of an address: a path of a unix socket and what stands in front of it.
    const LONGEST_LISTENER: usize = 256;

    /// Checks a name that an application has chosen: 1 to 128 bytes, without `/`, which ends it on its way.
    ///
    /// # Errors
    /// When it is no such name.
    pub fn check_name(name: &str) -> Result<(), BadServiceName> {
        if name.is_empty() || name.len() > Self::LONGEST_NAME || name.contains('/') {
            return Err(BadServiceName);
        }
        Ok(())
    }

    /// Whether it is one that a message can name.
    pub(crate) fn is_sound(&self) -> bool {
        Self::check_name(&self.name).is_ok() && self.listener.len() <= Self::LONGEST_LISTENER
    }

    /// As it travels: `NAME/STATE@LISTENER`.
    pub(crate) fn encode(&self) -> String {
        format!("{}/{}@{}", self.name, self.state, self.listener)
    }

    pub(crate) fn decode(text: &str) -> Option<Self> {
        let (name, rest) = text.split_once('/')?;
        let (state, listener) = rest.split_once('@')?;
        let service = Self { listener: listener.to_owned(), name: name.to_owned(), state: state.parse().ok()? };
        service.is_sound().then_some(service)
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` with state {} on {}", self.name, self.state, self.listener)
    }
}

impl fmt::Display for BadServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a service's name has 1 to 128 bytes, and no `/`")
    }
}

impl std::error::Error for BadServiceName {}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(name: &str, state: u32) -> Service {
        Service { listener: "unix:/run/a@b/c.sock".to_owned(), name: name.to_owned(), state }
    }

    #[test]
    fn a_service_is_read_as_it_was_written() {
        assert_eq!(Service::decode(&service("a@b", 7).encode()), Some(service("a@b", 7)));
        for broken in ["", "x", "x/1", "/1@here", "x/-1@here", "x/y@here"] {
            assert_eq!(Service::decode(broken), None, "{broken}");
        }
        assert_eq!(Service::check_name("a/b"), Err(BadServiceName));
    }

    #[test]
    fn only_what_both_declare_is_sent() {
        let both = Takes::these([service("a", 1), service("b", 1)]).both(&Takes::these([service("b", 1)]));
        assert!(both.takes(&service("b", 1)) && !both.takes(&service("a", 1)) && !both.takes(&service("b", 2)));
        assert!(!both.both(&Takes::nothing()).takes(&service("b", 1)));
    }

    #[test]
    fn a_reader_of_other_messages_is_sent_none() {
        let later = relay::VERSION + 1;
        let other = Takes { messages: Some((later, later)), services: BTreeSet::from([service("a", 1)]) };
        assert!(!other.takes(&service("a", 1)));
        assert_eq!(other.both(&Takes::these([service("a", 1)])).messages, None);
        let newer = Takes { messages: Some((relay::OLDEST, later)), services: BTreeSet::from([service("a", 1)]) };
        assert!(newer.takes(&service("a", 1)));
    }
}
