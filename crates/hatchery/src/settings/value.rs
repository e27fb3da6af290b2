//! From text to values. An error quotes the text and says what would have been right.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// No limit may be longer: a year is for ever, and clocks can still add it.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// What a log line looks like.
///
/// ```
/// use hatchery::LogFormat;
///
/// assert_eq!("json".parse(), Ok(LogFormat::Json));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// A line for people.
    #[default]
    Text,
    /// A JSON object a line.
    Json,
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Json => "json",
        })
    }
}

impl FromStr for LogFormat {
    type Err = UnknownLogFormat;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(UnknownLogFormat),
        }
    }
}

/// The text names no [`LogFormat`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected `text` or `json`")]
pub struct UnknownLogFormat;

/// Whether TLS clients are asked for a certificate.
///
/// ```
/// use hatchery::TlsClientAuth;
///
/// assert_eq!("required".parse(), Ok(TlsClientAuth::Required));
/// assert_eq!(TlsClientAuth::default(), TlsClientAuth::Off);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsClientAuth {
    /// They are not.
    #[default]
    Off,
    /// They may have one; one that is not right ends the handshake.
    Optional,
    /// They must have one.
    Required,
}

impl fmt::Display for TlsClientAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "off",
            Self::Optional => "optional",
            Self::Required => "required",
        })
    }
}

impl FromStr for TlsClientAuth {
    type Err = UnknownTlsClientAuth;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "off" => Ok(Self::Off),
            "optional" => Ok(Self::Optional),
            "required" => Ok(Self::Required),
            _ => Err(UnknownTlsClientAuth),
        }
    }
}

/// The text names no [`TlsClientAuth`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected `off`, `optional` or `required`")]
pub struct UnknownTlsClientAuth;

/// Whether a process whose pid never changes stands before the master.
///
/// ```
/// use hatchery::Anchor;
///
/// assert_eq!("always".parse(), Ok(Anchor::Always));
/// assert_eq!(Anchor::default(), Anchor::Auto);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Anchor {
    /// If the pid is 1, or the parent is a pid 1 that only waits for its child;
    /// never for a server that detaches itself.
    #[default]
    Auto,
    /// Yes.
    Always,
    /// No.
    Never,
}

impl fmt::Display for Anchor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Always => "always",
            Self::Never => "never",
        })
    }
}

impl FromStr for Anchor {
    type Err = UnknownAnchor;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Auto),
            "always" => Ok(Self::Always),
            "never" => Ok(Self::Never),
            _ => Err(UnknownAnchor),
        }
    }
}

/// The text names no [`Anchor`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected `auto`, `always` or `never`")]
pub struct UnknownAnchor;

/// A whole number from `least` to `most`.
pub(super) fn number(text: &str, least: u64, most: u64) -> Result<u64, String> {
    // Digits only: Rust's own parser would also take a plus sign.
    digits(text)
        .and_then(|digits| digits.parse().ok())
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| expected(text, &format!("a whole number from {least} to {most}")))
}

/// Something that is done or is not.
pub(super) fn switch(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(expected(text, "`on` or `off`")),
    }
}

/// A duration of more than nothing.
pub(super) fn span(text: &str) -> Result<Duration, String> {
    match span_or_zero(text)? {
        Duration::ZERO => Err(expected(text, "more than 0, as in `500ms`, `10s` or `2m`")),
        span => Ok(span),
    }
}

/// A whole number and its unit, or a plain `0`, which needs none.
pub(super) fn span_or_zero(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let no_span = || expected(text, "a whole number and its unit, as in `500ms`, `10s` or `2m`");
    let amount = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let millis = match &text[amount.len()..] {
        "ms" => 1,
        "s" => 1000,
        "m" => 60 * 1000,
        "h" => 60 * 60 * 1000,
        _ => return Err(no_span()),
    };
    // Only what is too long for the type does not parse.
    let amount: u64 = digits(amount).ok_or_else(no_span)?.parse().unwrap_or(u64::MAX);
    let span = Duration::from_millis(amount.saturating_mul(millis));
    if span > LONGEST { Err(expected(text, "a year at most")) } else { Ok(span) }
}

/// Where the access log goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AccessLogTo {
    /// Nowhere: there is none.
    #[default]
    Off,
    /// To standard output.
    On,
    /// To this file, which workers append to.
    File(PathBuf),
}

/// `on`, `off`, or the path of a file.
pub(super) fn access_log(text: &str) -> Result<AccessLogTo, String> {
    match switch(text) {
        Ok(true) => Ok(AccessLogTo::On),
        Ok(false) => Ok(AccessLogTo::Off),
        Err(_no_switch) => path(text).map(AccessLogTo::File),
    }
}

/// A number of bytes: a whole number and its unit, or a plain `0`.
pub(super) fn size(text: &str) -> Result<u64, String> {
    if text == "0" {
        return Ok(0);
    }
    let no_size = || expected(text, "a whole number and its unit, as in `512KiB`, `300MiB` or `1GiB`");
    let amount = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let bytes = match &text[amount.len()..] {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(no_size()),
    };
    let amount: u64 = digits(amount).ok_or_else(no_size)?.parse().unwrap_or(u64::MAX);
    amount.checked_mul(bytes).ok_or_else(|| expected(text, "less than 2^64 bytes"))
}

/// The name or the number of a user or a group.
pub(super) fn account(text: &str) -> Result<String, String> {
    if text.is_empty() { Err(expected(text, "a name or a number")) } else { Ok(text.to_owned()) }
}

/// How a duration is written so that [`span_or_zero`] reads it: in whole
/// milliseconds, rounded up, since a limit is never shorter than was said.
pub(crate) fn spell(span: Duration) -> String {
    format!("{}ms", span.as_nanos().div_ceil(1_000_000))
}

/// A path that is not empty.
pub(super) fn path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() { Err(expected(text, "a path")) } else { Ok(PathBuf::from(text)) }
}

/// Permission bits in octal.
pub(super) fn mode(text: &str) -> Result<u32, String> {
    digits(text)
        .filter(|digits| digits.len() <= 4)
        .and_then(|digits| u32::from_str_radix(digits, 8).ok())
        .filter(|mode| *mode <= 0o777)
        .ok_or_else(|| expected(text, "octal digits from `000` to `777`"))
}

/// The words for a text that is not what it should be.
pub(super) fn expected(text: &str, what: &str) -> String {
    format!("`{text}`: expected {what}")
}

fn digits(text: &str) -> Option<&str> {
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, millis) in [("500ms", 500), ("10s", 10_000), ("2m", 120_000), ("0", 0), ("0s", 0), ("007ms", 7)] {
            assert_eq!(span_or_zero(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        assert_eq!(span_or_zero("525600m"), Ok(LONGEST));
        for text in ["", "s", "10", "1.5s", "-1s", "+1s", " 1s", "1 s", "1d", "1S", "1m30s", "١s", "00"] {
            assert!(span_or_zero(text).unwrap_err().contains("`500ms`, `10s` or `2m`"), "{text}");
        }
        for text in ["525601m", "99999999999999999999s", "18446744073709551615m"] {
            assert_eq!(span_or_zero(text).unwrap_err(), format!("`{text}`: expected a year at most"));
        }
        assert!(span("0").is_err() && span("0ms").is_err() && span("1ms").is_ok());
    }

    #[test]
    fn sizes() {
        for (text, bytes) in
            [("0", 0), ("1KiB", 1024), ("300MiB", 300 << 20), ("2GiB", 2 << 30), ("0MiB", 0), ("7B", 7)]
        {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "10", "1KB", "1kib", "1.5GiB", "-1MiB", " 1MiB", "KiB", "00"] {
            assert!(size(text).unwrap_err().contains("`512KiB`, `300MiB` or `1GiB`"), "{text}");
        }
        assert_eq!(size("99999999999GiB").unwrap_err(), "`99999999999GiB`: expected less than 2^64 bytes");
    }

    #[test]
    fn a_duration_that_is_spelled_is_never_shorter() {
        for (nanos, text) in [(0, "0ms"), (1, "1ms"), (1_000_000, "1ms"), (1_500_000_001, "1501ms")] {
            assert_eq!(spell(Duration::from_nanos(nanos)), text);
        }
        assert_eq!(span_or_zero(&spell(Duration::from_secs(90))), Ok(Duration::from_secs(90)));
    }

    #[test]
    fn numbers() {
        assert_eq!(number("1", 1, 512), Ok(1));
        assert_eq!(number("512", 1, 512), Ok(512));
        for text in ["", "0", "513", "many", "-1", "+1", "1.0", "1_0", "0x1", "99999999999999999999"] {
            assert_eq!(number(text, 1, 512).unwrap_err(), format!("`{text}`: expected a whole number from 1 to 512"));
        }
    }

    #[test]
    fn modes() {
        for (text, bits) in [("022", 0o22), ("27", 0o27), ("0077", 0o77), ("000", 0), ("777", 0o777)] {
            assert_eq!(mode(text), Ok(bits), "{text}");
        }
        for text in ["", "8", "0o22", "1000", "00022", "u=rw"] {
            assert!(mode(text).is_err(), "{text}");
        }
    }
}
