//! Addresses to listen on.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use thiserror::Error;

/// What stands before the path of a unix socket.
const UNIX: &str = "unix:";

/// What stands before the name of a socket that is passed.
const PASSED: &str = "fd:";

/// An address to listen on.
///
/// ```
/// use hatchery_net::Address;
///
/// let address: Address = "[::1]:8080".parse()?;
/// assert_eq!(address.to_string(), "[::1]:8080");
/// let address: Address = "unix:/run/hello.sock".parse()?;
/// assert_eq!(address.to_string(), "unix:/run/hello.sock");
/// # Ok::<(), hatchery_net::AddressError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// An IP address and a TCP port; port 0 has the kernel choose a free one.
    Tcp(SocketAddr),
    /// The path of a unix socket.
    Unix(PathBuf),
}

/// The text is no [`Address`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{text}` is no address: {reason}")]
pub struct AddressError {
    text: String,
    reason: String,
}

/// What a program is to listen on.
///
/// ```
/// use hatchery_net::Bind;
///
/// let bind: Bind = "fd:web".parse()?;
/// assert_eq!(bind, Bind::Passed("web".to_owned()));
/// assert_eq!("127.0.0.1:80".parse::<Bind>()?.to_string(), "127.0.0.1:80");
/// # Ok::<(), hatchery_net::AddressError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Bind {
    /// This address: a socket that was passed and has it, or a new one.
    Address(Address),
    /// Every socket that was passed under this name.
    Passed(String),
}

impl FromStr for Bind {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix(PASSED) {
            Some("") => {
                let reason = "the name of a socket that is passed has to follow `fd:`".to_owned();
                Err(AddressError { text: text.to_owned(), reason })
            }
            Some(name) => Ok(Self::Passed(name.to_owned())),
            None => text.parse().map(Self::Address),
        }
    }
}

impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Passed(name) => write!(f, "{PASSED}{name}"),
        }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = |reason: String| AddressError { text: text.to_owned(), reason };
        match text.strip_prefix(UNIX) {
            Some("") => Err(wrong("a path has to follow `unix:`".to_owned())),
            Some(path) if path.contains('\0') => Err(wrong("a path has no zero byte in it".to_owned())),
            Some(path) => Ok(Self::Unix(path.into())),
            None => text.parse().map(Self::Tcp).map_err(|_| wrong(advice(text))),
        }
    }
}

/// What would be right, for the mistakes that are made.
fn advice(text: &str) -> String {
    const FORMS: &str = "expected IP:PORT like 127.0.0.1:8080, [IP]:PORT like [::1]:8080, or unix:PATH";
    let bare = text.trim_matches(['[', ']']);
    if text.is_empty() {
        FORMS.to_owned()
    } else if bare.parse::<std::net::Ipv6Addr>().is_ok() {
        format!("the port is missing, like [{bare}]:8080")
    } else if bare.parse::<std::net::Ipv4Addr>().is_ok() {
        format!("the port is missing, like {bare}:8080")
    } else if text.parse::<u16>().is_ok() {
        format!("the IP address is missing, like 127.0.0.1:{text} or 0.0.0.0:{text}")
    } else if let Some(port) = text.strip_prefix(':').or_else(|| text.strip_prefix("*:")) {
        format!("the IP address is missing: all of this machine's are 0.0.0.0:{port}, or [::]:{port} for IPv6")
    } else if text.starts_with('/') || text.starts_with('.') {
        format!("a unix socket is written {UNIX}{text}")
    } else if let Some((host, port)) = text.rsplit_once(':') {
        if bare.parse::<std::net::Ipv6Addr>().is_err() && host.parse::<std::net::Ipv6Addr>().is_ok() {
            format!("an IPv6 address stands in brackets, like [{host}]:{port}")
        } else if host.parse::<std::net::IpAddr>().is_ok() || host.starts_with('[') {
            format!("`{port}` is no port (0 to 65535)")
        } else {
            format!("names are not looked up, `{host}` has to be an IP address, like 127.0.0.1:{port}")
        }
    } else {
        FORMS.to_owned()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_reads_back_as_it_is_written() {
        for text in ["127.0.0.1:8080", "0.0.0.0:0", "[::1]:8080", "[::]:80", "unix:/run/x.sock", "unix:x", "unix:a:1"] {
            let address: Address = text.parse().expect(text);
            assert_eq!(address.to_string(), text);
        }
    }

    #[test]
    fn what_is_passed_is_asked_for_by_name() {
        for text in ["fd:web", "fd:a:b.socket", "127.0.0.1:8080", "unix:/run/x.sock"] {
            assert_eq!(text.parse::<Bind>().expect(text).to_string(), text);
        }
        let error = "fd:".parse::<Bind>().unwrap_err().to_string();
        assert_eq!(error, "`fd:` is no address: the name of a socket that is passed has to follow `fd:`");
        assert!("fd".parse::<Bind>().unwrap_err().to_string().starts_with("`fd` is no address: expected IP:PORT"));
    }

    #[test]
    fn mistakes_are_answered_with_what_would_be_right() {
        let cases = [
            ("", "expected IP:PORT"),
            ("8080", "the IP address is missing, like 127.0.0.1:8080"),
            (":8080", "all of this machine's are 0.0.0.0:8080"),
            ("*:8080", "all of this machine's are 0.0.0.0:8080"),
            ("127.0.0.1", "the port is missing, like 127.0.0.1:8080"),
            ("::1", "the port is missing, like [::1]:8080"),
            ("[::1]", "the port is missing, like [::1]:8080"),
            ("127.0.0.1:", "`` is no port"),
            ("127.0.0.1:99999", "`99999` is no port (0 to 65535)"),
            ("[::1]:http", "`http` is no port"),
            ("localhost:8080", "names are not looked up, `localhost` has to be an IP address"),
            ("/run/x.sock", "a unix socket is written unix:/run/x.sock"),
            ("./x.sock", "a unix socket is written unix:./x.sock"),
            ("unix:", "a path has to follow `unix:`"),
            ("unix:a\0b", "a path has no zero byte"),
            ("nonsense", "expected IP:PORT"),
        ];
        for (text, expected) in cases {
            let error = text.parse::<Address>().expect_err(text).to_string();
            assert!(error.starts_with(&format!("`{text}` is no address: ")), "{error}");
            assert!(error.contains(expected), "{error}");
        }
    }
}
