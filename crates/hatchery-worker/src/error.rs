//! Why a worker cannot serve, and how an error is said in a log.

use std::error::Error as StdError;

use hatchery_net::Address;
use thiserror::Error;

/// A mistake in how an application divides its listeners; found when it begins to serve.
///
/// ```no_run
/// use hatchery_worker::{Conn, ServeError, Worker};
///
/// async fn app(worker: Worker) -> Result<(), ServeError> {
///     match worker.only("echo").serve(echo).await {
///         // The settings name none so: then all of them are for it.
///         Err(ServeError::NoSuchListener { .. }) => worker.serve(echo).await,
///         served => served,
///     }
/// }
/// # async fn echo(_: Conn) {}
/// # let _ = app;
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ServeError {
    /// [`Worker::only`](crate::Worker::only) or [`Worker::without`](crate::Worker::without) named no listener.
    #[error("there is no listener with the name `{name}`: {}", known_names(known))]
    NoSuchListener {
        /// The name.
        name: String,
        /// The names that there are for this call.
        known: Vec<String>,
    },
    /// [`Worker::carrying`](crate::Worker::carrying) was given a name that no service can have.
    #[error("`{name}` is no name of a service: it is not empty, and has no `/` in it")]
    BadServiceName {
        /// The name.
        name: String,
    },
    /// Two calls serve the same listener. Each is served by one call in a worker's life.
    #[error("the listener on {address} is served already: narrow one call with `only`, another with `without`")]
    ServedTwice {
        /// Where it listens.
        address: Address,
    },
    /// A listener speaks TLS, and the call that would serve it does not: protocols of one's own have to leave it to HTTP.
    #[error("the listener on {address} speaks TLS, for HTTP only: narrow this call with `without(\"tls\")`")]
    SpeaksTls {
        /// Where it listens.
        address: Address,
    },
}

fn known_names(known: &[String]) -> String {
    if known.is_empty() { "none has a name".to_owned() } else { format!("expected one of `{}`", known.join("`, `")) }
}

/// An error and its causes in one line, joined by colons; line breaks become semicolons.
///
/// Whatever text a client or a library has put into an error, it is one line of the log.
///
/// ```
/// let error = std::io::Error::other("no such\nhost");
/// assert_eq!(hatchery_worker::error::one_line(&error), "no such; host");
/// ```
#[must_use]
pub fn one_line(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let said = cause.to_string();
        // Some errors say their cause themselves.
        if !text.ends_with(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        next = cause.source();
    }
    text.lines()
        .map(|line| line.trim().trim_end_matches(';'))
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join("; ")
}

#[cfg(test)]
mod tests {
    use std::{fmt, io};

    use super::*;

    #[test]
    fn an_error_is_one_line_with_its_causes() {
        let cause = io::Error::other("no such\nhost");
        let error: Box<dyn StdError + Send + Sync> = Box::new(Wrapped(cause));
        assert_eq!(one_line(&*error), "cannot connect: no such; host");
    }

    #[derive(Debug)]
    struct Wrapped(io::Error);

    impl fmt::Display for Wrapped {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("cannot connect")
        }
    }

    impl StdError for Wrapped {
        fn source(&self) -> Option<&(dyn StdError + 'static)> {
            Some(&self.0)
        }
    }
}
