//! A connection on its way from one process to another.
//!
//! One message a connection, with the socket as its only descriptor: a line of
//! fields as everywhere, a line feed, what was read from the socket and not
//! used, and the application's own state. The line says how long both are.
//!
//! `v=1;listener=127.0.0.1:8080;service=http;state=0;peer=…;age=3100;requests=4;unread=17`
//!
//! A reader takes this from processes of its own family, and yet believes
//! nothing: what is damaged, or of another version, is refused.

use std::net::SocketAddr;
use std::time::Duration;

use super::WireError;
use super::fields::Fields;
use crate::takes::Service;

/// The version that this library writes.
pub const VERSION: u16 = if cfg!(hatchery_next_relay) { 2 } else { 1 };

/// The oldest version that this library reads.
pub const OLDEST: u16 = VERSION;

/// A message is at most so long, in bytes; the kernel may grant less. That is
/// 128 KiB of state and 64 KiB that were read, behind the longest line.
pub const LONGEST: usize = 192 * 1024 + LONGEST_LINE;

/// The line of fields is at most so long: an address is the longest thing in it.
const LONGEST_LINE: usize = 4 * 1024;

/// What a connection takes along, but for its socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// Where it belongs.
    pub service: Service,
    /// The client; `None` for one of a unix socket, which has no address.
    pub peer: Option<SocketAddr>,
    /// The address that the client has connected to; `None` for a unix socket.
    pub local: Option<SocketAddr>,
    /// The client behind a proxy, where that has said so.
    pub real_peer: Option<SocketAddr>,
    /// Since it was accepted.
    pub age: Duration,
    /// How long the client has been taking over the request head that it is sending.
    pub waited: Duration,
    /// Requests that were answered on it.
    pub requests: u64,
    /// How often it has moved before.
    pub moves: u32,
    /// Read from the socket, and not used.
    pub unread: Vec<u8>,
    /// The application's own; `None` for a service that has none.
    pub saved: Option<Vec<u8>>,
}

impl Transfer {
    /// The message as it travels.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut line = Fields::default()
            .with_number("v", VERSION)
            .with("listener", &self.service.listener)
            .with("service", &self.service.name)
            .with_number("state", self.service.state);
        for (key, address) in [("peer", self.peer), ("local", self.local), ("real", self.real_peer)] {
            if let Some(address) = address {
                line = line.with(key, address.to_string());
            }
        }
        line = line.with_number("age", millis(self.age));
        for (key, number) in [
            ("waited", millis(self.waited)),
            ("requests", self.requests),
            ("moves", u64::from(self.moves)),
            ("unread", self.unread.len() as u64),
        ] {
            if number > 0 {
                line = line.with_number(key, number);
            }
        }
        if let Some(saved) = &self.saved {
            line = line.with_number("saved", saved.len() as u64);
        }
        let saved = self.saved.as_deref().unwrap_or_default();
        let line = line.encode();
        let mut message = Vec::with_capacity(line.len() + 1 + self.unread.len() + saved.len());
        message.extend_from_slice(line.as_bytes());
        message.push(b'\n');
        message.extend_from_slice(&self.unread);
        message.extend_from_slice(saved);
        message
    }

    /// Reads a message.
    ///
    /// # Errors
    /// When it is of a version that this library does not read, lacks a field,
    /// or is longer or shorter than it says.
    pub fn decode(message: &[u8]) -> Result<Self, WireError> {
        let head = &message[..message.len().min(LONGEST_LINE)];
        let end = head.iter().position(|b| *b == b'\n').ok_or_else(|| WireError::new("it has no line"))?;
        let line = Fields::decode(&message[..end])?;
        let version: u16 = line.required("v")?;
        if !(OLDEST..=VERSION).contains(&version) {
            return Err(WireError::new(format!("its version {version} is not between {OLDEST} and {VERSION}")));
        }
        let rest = &message[end + 1..];
        let unread: usize = line.number("unread")?.unwrap_or(0);
        let saved: Option<usize> = line.number("saved")?;
        if unread.checked_add(saved.unwrap_or(0)) != Some(rest.len()) {
            return Err(WireError::new(format!("it is not as long as it says: {} bytes are left", rest.len())));
        }
        let (unread, state) = rest.split_at(unread);
        let service = Service {
            listener: text(&line, "listener")?,
            name: text(&line, "service")?,
            state: line.required("state")?,
        };
        if !service.is_sound() {
            return Err(WireError::new(format!("its service `{}` is none", service.name)));
        }
        Ok(Self {
            service,
            peer: address(&line, "peer")?,
            local: address(&line, "local")?,
            real_peer: address(&line, "real")?,
            age: Duration::from_millis(line.required("age")?),
            waited: Duration::from_millis(line.number("waited")?.unwrap_or(0)),
            requests: line.number("requests")?.unwrap_or(0),
            moves: line.number("moves")?.unwrap_or(0),
            unread: unread.to_vec(),
            saved: saved.map(|_| state.to_vec()),
        })
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

fn text(line: &Fields, key: &str) -> Result<String, WireError> {
    let bytes = line.bytes(key).ok_or_else(|| WireError::missing(key))?;
    String::from_utf8(bytes.to_vec()).map_err(|_| WireError::new(format!("`{key}` is not text")))
}

fn address(line: &Fields, key: &str) -> Result<Option<SocketAddr>, WireError> {
    if line.bytes(key).is_none() {
        return Ok(None);
    }
    let text = text(line, key)?;
    text.parse().map(Some).map_err(|_| WireError::new(format!("`{key}={text}` is no address")))
}

#[cfg(test)]
mod tests;
