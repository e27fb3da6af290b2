//! When a request came, as logs write it.

use std::fmt::{self, Write as _};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use httpdate::HttpDate;

/// The last second of the year 9999: dates of HTTP have four digits for it.
const LAST: Duration = Duration::from_secs(253_402_300_799);

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A moment in UTC.
pub(super) struct Date {
    /// As in `Tue, 29 Feb 2000 12:34:56 GMT`: fields of fixed length, which the formats of logs only put otherwise.
    http: String,
    millis: u32,
}

impl Date {
    pub(super) fn of(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default().min(LAST);
        Self { http: HttpDate::from(UNIX_EPOCH + since).to_string(), millis: since.subsec_millis() }
    }

    /// `29/Feb/2000:12:34:56 +0000`
    pub(super) fn combined(&self, line: &mut String) -> fmt::Result {
        let [day, month, year, clock] = self.fields();
        write!(line, "{day}/{month}/{year}:{clock} +0000")
    }

    /// `2000-02-29T12:34:56.123Z`
    pub(super) fn iso(&self, line: &mut String) -> fmt::Result {
        let [day, month, year, clock] = self.fields();
        let month = MONTHS.iter().take_while(|name| **name != month).count() + 1;
        write!(line, "{year}-{month:02}-{day}T{clock}.{:03}Z", self.millis)
    }

    fn fields(&self) -> [&str; 4] {
        [5..7, 8..11, 12..16, 17..25].map(|field| self.http.get(field).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        let day = |secs| {
            let mut day = String::new();
            Date::of(UNIX_EPOCH + Duration::from_secs(secs)).iso(&mut day).unwrap();
            day
        };
        assert_eq!(day(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(day(1_709_164_799), "2024-02-28T23:59:59.000Z");
        assert_eq!(day(1_735_689_599), "2024-12-31T23:59:59.000Z");
        assert_eq!(day(4_107_542_400), "2100-03-01T00:00:00.000Z");
        assert_eq!(day(999_999_999_999), "9999-12-31T23:59:59.000Z");
    }

    #[test]
    fn every_month_has_its_name() {
        for (month, name) in MONTHS.iter().enumerate() {
            let mut date = String::new();
            Date::of(UNIX_EPOCH + Duration::from_secs(86_400 * 31 * month as u64)).combined(&mut date).unwrap();
            assert!(date.contains(name), "{date}");
        }
    }
}
