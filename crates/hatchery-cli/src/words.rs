//! Durations, from text and to text, and who is meant.

use std::time::Duration;

use hatchery_control::Whom;

/// The shortest time between two looks of `top`.
const SHORTEST: Duration = Duration::from_millis(100);

/// A duration of more than nothing, as the server's settings are written.
pub(crate) fn span(text: &str) -> Result<Duration, String> {
    let wrong = "expected a whole number and its unit, as in `500ms`, `10s` or `2m`";
    let amount = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let millis = match &text[amount.len()..] {
        "ms" => 1,
        "s" => 1000,
        "m" => 60 * 1000,
        _ => return Err(wrong.to_owned()),
    };
    if amount.is_empty() || !amount.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong.to_owned());
    }
    let amount: u64 = amount.parse().map_err(|_| "expected less".to_owned())?;
    match amount.checked_mul(millis) {
        None => Err("expected less".to_owned()),
        Some(0) => Err("expected more than 0".to_owned()),
        Some(millis) => Ok(Duration::from_millis(millis)),
    }
}

/// A slot, or else the name of a job server or sidecar.
pub(crate) fn whom(text: &str) -> Result<Whom, String> {
    let wrong = "expected a slot of 65535 at most, or a name";
    match text.bytes().all(|byte| byte.is_ascii_digit()) {
        true => text.parse().map(Whom::Slot).map_err(|_| wrong.to_owned()),
        false => Ok(Whom::Name(text.to_owned())),
    }
}

/// A duration between two looks.
pub(crate) fn interval(text: &str) -> Result<Duration, String> {
    let span = span(text)?;
    if span < SHORTEST { Err(format!("expected at least {}", spell(SHORTEST))) } else { Ok(span) }
}

/// A duration as [`span`] reads it.
pub(crate) fn spell(span: Duration) -> String {
    let millis = span.as_millis();
    match (millis % 1000, millis % 60_000) {
        (0, 0) => format!("{}m", millis / 60_000),
        (0, _) => format!("{}s", millis / 1000),
        _ => format!("{millis}ms"),
    }
}

/// An age in seconds, for people: its two largest units.
pub(crate) fn age(seconds: f64) -> String {
    let span = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    let whole = span.as_secs();
    let (minutes, hours, days) = (whole / 60, whole / 3600, whole / 86_400);
    if days > 0 {
        format!("{days}d{:02}h", hours % 24)
    } else if hours > 0 {
        format!("{hours}h{:02}m", minutes % 60)
    } else if minutes > 0 {
        format!("{minutes}m{:02}s", whole % 60)
    } else {
        format!("{}.{}s", whole, span.subsec_millis() / 100)
    }
}

/// The nearest whole number; 0 for what is less, or no number.
#[expect(clippy::cast_sign_loss, reason = "a cast from a float ends at 0 and at the type's end")]
pub(crate) fn whole(number: f64) -> u64 {
    number.round() as u64
}

/// How a value of a protocol's enum is written there.
pub(crate) fn name(value: impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => name,
        Ok(_) | Err(_) => "?".to_owned(),
    }
}

/// "1 worker", "2 workers".
pub(crate) fn count(number: u64, what: &str) -> String {
    let end = if number == 1 { "" } else { "s" };
    format!("{number} {what}{end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_settings_are() {
        let table = [("500ms", 500), ("10s", 10_000), ("2m", 120_000), ("1500ms", 1500)];
        for (text, millis) in table {
            assert_eq!(span(text), Ok(Duration::from_millis(millis)), "{text}");
            assert_eq!(spell(Duration::from_millis(millis)), text);
        }
        for text in
            ["", "s", "10", "1h", "-1s", "+1s", "1.5s", "0s", "0ms", "99999999999999999999s", "18446744073709551615m"]
        {
            assert!(span(text).is_err(), "{text}");
        }
        assert!(interval("99ms").is_err() && interval("100ms").is_ok());
    }

    #[test]
    fn ages_have_two_units() {
        let table = [
            (0.0, "0.0s"),
            (12.55, "12.5s"),
            (60.0, "1m00s"),
            (3599.9, "59m59s"),
            (3600.0, "1h00m"),
            (90_000.0, "1d01h"),
            (-1.0, "0.0s"),
            (f64::NAN, "0.0s"),
        ];
        for (seconds, text) in table {
            assert_eq!(age(seconds), text);
        }
    }

    #[test]
    fn numbers_are_rounded() {
        let table = [(1.5, 2), (0.4, 0), (-3.0, 0), (f64::NAN, 0), (f64::INFINITY, u64::MAX)];
        for (number, expected) in table {
            assert_eq!(whole(number), expected, "{number}");
        }
    }

    #[test]
    fn one_is_not_many() {
        assert_eq!((count(1, "worker"), count(0, "worker")), ("1 worker".to_owned(), "0 workers".to_owned()));
    }
}
