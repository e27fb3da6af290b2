//! What a benchmark is told on its command line.

use std::io;
use std::str::FromStr;

/// The value that follows `name`.
#[must_use]
pub fn text<'a>(args: &'a [String], name: &str) -> Option<&'a str> {
    args.iter().skip_while(|arg| *arg != name).nth(1).map(String::as_str)
}

/// The number that follows `name`, or `default`.
///
/// # Errors
///
/// When it is no number.
pub fn number<N: FromStr>(args: &[String], name: &str, default: N) -> io::Result<N> {
    match text(args, name) {
        None => Ok(default),
        Some(value) => value.parse().map_err(|_| io::Error::other(format!("{name} needs a number, not {value}"))),
    }
}
