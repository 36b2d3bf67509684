//! Times in zone files: TTLs and timers with units, dates of signatures.

/// Reads `3600`, `1h` or `1w2d3h4m5s`.
pub(super) fn seconds(text: &str) -> Option<u32> {
    let (mut total, mut number, mut digits) = (0_u32, 0_u32, false);
    for octet in text.bytes() {
        let unit = match octet.to_ascii_lowercase() {
            b'0'..=b'9' => {
                number = number
                    .checked_mul(10)?
                    .checked_add(u32::from(octet - b'0'))?;
                digits = true;
                continue;
            }
            b's' => 1,
            b'm' => 60,
            b'h' => 3_600,
            b'd' => 86_400,
            b'w' => 604_800,
            _ => return None,
        };
        if !std::mem::take(&mut digits) {
            return None;
        }
        total = total.checked_add(std::mem::take(&mut number).checked_mul(unit)?)?;
    }
    // Seconds without a unit may stand alone, not behind units.
    match (digits, total) {
        (true, 0) => Some(number),
        (false, _) if !text.is_empty() => Some(total),
        _ => None,
    }
}

/// Reads `YYYYMMDDHHMMSS`, or seconds since 1970 (RFC 4034 §3.2).
pub(super) fn date(text: &str) -> Option<u32> {
    if !text.bytes().all(|octet| octet.is_ascii_digit()) {
        return None;
    }
    if text.len() != 14 {
        return text.parse().ok();
    }
    let part = |from: usize, to: usize| text.get(from..to)?.parse::<i64>().ok();
    let (year, month, day) = (part(0, 4)?, part(4, 6)?, part(6, 8)?);
    let (hour, minute, second) = (part(8, 10)?, part(10, 12)?, part(12, 14)?);
    let days = days_since_1970(year, month, day);
    let real = civil(days) == (year, month, day) && hour < 24 && minute < 60 && second < 60;
    let seconds = days * 86_400 + hour * 3_600 + minute * 60 + second;
    u32::try_from(seconds).ok().filter(|_| real)
}

/// Writes seconds since 1970 as `YYYYMMDDHHMMSS`.
pub(super) fn date_text(seconds: u32) -> String {
    let (year, month, day) = civil(i64::from(seconds / 86_400));
    let rest = seconds % 86_400;
    let (hour, minute, second) = (rest / 3_600, rest / 60 % 60, rest % 60);
    format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}")
}

/// Days in 400 years of the Gregorian calendar.
const ERA_DAYS: i64 = 146_097;
/// From the first of March of year 0 to 1970-01-01.
const EPOCH_DAYS: i64 = 719_468;

/// Years are counted from March, so that the day a leap year adds is its last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = of_era * 365 + of_era / 4 - of_era / 100 + day_of_year;
    era * ERA_DAYS + day_of_era - EPOCH_DAYS
}

/// Year, month and day of a day since 1970.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + EPOCH_DAYS;
    let (era, day_of_era) = (days.div_euclid(ERA_DAYS), days.rem_euclid(ERA_DAYS));
    let leaps = day_of_era / 1_460 - day_of_era / 36_524 + day_of_era / 146_096;
    let of_era = (day_of_era - leaps) / 365;
    let day_of_year = day_of_era - (365 * of_era + of_era / 4 - of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_seconds_with_and_without_units() {
        let check = |text, expected| assert_eq!(seconds(text), expected, "{text}");
        check("0", Some(0));
        check("3600", Some(3_600));
        check("1W2d3H4m5s", Some(788_645));
        check("0h", Some(0));
        for bad in ["", "h", "1h30", "1x", "-1", "4294967296", "9999w"] {
            check(bad, None);
        }
    }

    #[test]
    fn reads_the_dates_of_rfc_4034() {
        // RFC 4034 §3.2 and §3.3 with their values from `date -u +%s`.
        assert_eq!(date("20030322173103"), Some(1_048_354_263));
        assert_eq!(date("20240229000000"), Some(1_709_164_800));
        assert_eq!(date("1048354263"), Some(1_048_354_263));
        for bad in [
            "20230229000000",
            "20231301000000",
            "20230101240000",
            "19690101000000",
            "x",
            "",
        ] {
            assert_eq!(date(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn dates_read_back(seconds: u32) {
            prop_assert_eq!(date(&date_text(seconds)), Some(seconds));
        }
    }
}
