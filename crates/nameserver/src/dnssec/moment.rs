//! Times as operators read them: `2026-11-20T13:00:00Z` in key files and lists, Unix seconds inside.

use std::fmt;

use serde::Deserialize;
use toml::value::{Datetime, Offset};

/// A time in whole seconds, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "Datetime")]
pub struct Moment(
    /// Unix seconds.
    pub u64,
);

const DAY: u64 = 86_400;

impl TryFrom<Datetime> for Moment {
    type Error = String;

    fn try_from(written: Datetime) -> Result<Self, String> {
        let (Some(date), Some(time), Some(Offset::Z)) =
            (written.date, written.time, written.offset)
        else {
            return Err("a time looks like 2026-11-20T13:00:00Z".to_owned());
        };
        let days = days_until(date.year.into(), date.month.into(), date.day.into())
            .ok_or("the date is before 1970")?;
        let [hour, minute] = [time.hour, time.minute].map(u64::from);
        let second = time.second.map_or(0, u64::from);
        Ok(Self(days * DAY + hour * 3600 + minute * 60 + second))
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, second) = (self.0 / DAY, self.0 % DAY);
        let (year, month, day) = date_of(days);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"
        )
    }
}

/// Days from 1970-01-01 to a date; `None` if it is before. Years begin in March here, so that the leap day is the last.
fn days_until(year: u64, month: u64, day: u64) -> Option<u64> {
    let year = if month > 2 {
        year
    } else {
        year.checked_sub(1)?
    };
    let in_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = year * 365 + year / 4 - year / 100 + year / 400 + in_year;
    days.checked_sub(BEFORE_1970)
}

/// Days from 0000-03-01 to 1970-01-01.
const BEFORE_1970: u64 = 719_468;
/// Days in 400 years.
const ERA: u64 = 146_097;

/// Year, month and day of the day this many days after 1970-01-01.
fn date_of(days: u64) -> (u64, u64, u64) {
    let days = days + BEFORE_1970;
    let (era, in_era) = (days / ERA, days % ERA);
    let year = (in_era - in_era / 1460 + in_era / 36_524 - in_era / (ERA - 1)) / 365;
    let in_year = in_era - (365 * year + year / 4 - year / 100);
    let month = (5 * in_year + 2) / 153;
    let day = in_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Sample {
        at: Moment,
    }

    fn read(text: &str) -> Result<u64, String> {
        toml::from_str::<Sample>(&format!("at = {text}"))
            .map(|sample| sample.at.0)
            .map_err(|error| error.message().to_owned())
    }

    #[test]
    fn known_times_are_read_and_written() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1999-12-31T23:59:59Z", 946_684_799),
            ("2000-02-29T12:00:00Z", 951_825_600),
            ("2027-01-15T08:00:00Z", 1_800_000_000),
            ("2106-02-07T06:28:16Z", 1 << 32),
        ] {
            assert_eq!(read(text), Ok(seconds), "{text}");
            assert_eq!(Moment(seconds).to_string(), text);
        }
    }

    #[test]
    fn every_day_of_two_centuries_reads_back() {
        for day in 0..73_000 {
            let (year, month, date) = date_of(day);
            assert_eq!(days_until(year, month, date), Some(day));
        }
    }

    #[test]
    fn what_is_no_time_in_utc_is_refused() {
        for text in [
            "2026-11-20",
            "13:00:00",
            "2026-11-20T13:00:00",
            "2026-11-20T13:00:00+01:00",
            "1969-12-31T00:00:00Z",
            "5",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
