//! Normal play time and the `Range` header, `npt` only (RFC 2326 §3.6, §12.29).

/// A point of normal play time in ticks of 90 kHz, the clock of the video, so that a frame's time survives the trip
/// through decimal seconds unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Npt(pub u64);

/// Ticks of [`Npt`] in a second.
pub const TICKS_PER_SECOND: u64 = 90_000;
/// Highest number of seconds read (over a hundred years); anything above is a mistake and could overflow.
const SECONDS_MAX: u64 = 4_000_000_000;

impl Npt {
    /// Decimal seconds with six places, as `npt=` carries them.
    pub fn to_seconds_text(self) -> String {
        let micros = (self.0 % TICKS_PER_SECOND) * 1_000_000;
        // Round to the nearest microsecond; a tick is eleven of them, so reading back finds the same tick.
        let micros = (micros + TICKS_PER_SECOND / 2) / TICKS_PER_SECOND;
        format!("{}.{:06}", self.0 / TICKS_PER_SECOND, micros)
    }

    /// Reads `12`, `12.5` or `hh:mm:ss.fraction`.
    pub fn parse(text: &str) -> Option<Npt> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let mut seconds = 0_u64;
        let fields = whole.split(':').count();
        if fields != 1 && fields != 3 {
            return None;
        }
        for field in whole.split(':') {
            seconds = seconds.checked_mul(60)?.checked_add(digits(field)?)?;
        }
        if seconds > SECONDS_MAX {
            return None;
        }
        let micros = micros(fraction)?;
        let ticks = (micros * TICKS_PER_SECOND + 500_000) / 1_000_000;
        Some(Npt(seconds * TICKS_PER_SECOND + ticks))
    }
}

/// A `Range` header: from where, up to where. Either end may be open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NptRange {
    /// The first moment to play; `None` means from the present position.
    pub start: Option<Npt>,
    /// The moment to stop before; `None` means to the end.
    pub end: Option<Npt>,
}

impl NptRange {
    /// From `start` to the end of the title.
    pub fn from(start: Npt) -> NptRange {
        NptRange {
            start: Some(start),
            end: None,
        }
    }

    /// Reads `npt=10-20`, `npt=10-`, `npt=-20`, `npt=now-`; `None` for other units and for an end before the start.
    pub fn parse(value: &str) -> Option<NptRange> {
        let value = value.split(';').next().unwrap_or(value).trim();
        let value = value
            .strip_prefix("npt")?
            .trim_start()
            .strip_prefix('=')?
            .trim();
        let (start, end) = value.split_once('-')?;
        let start = match start.trim() {
            "" | "now" => None,
            text => Some(Npt::parse(text)?),
        };
        let end = match end.trim() {
            "" => None,
            text => Some(Npt::parse(text)?),
        };
        match (start, end) {
            (Some(start), Some(end)) if end <= start => None,
            _ => Some(NptRange { start, end }),
        }
    }

    /// The header's value.
    pub fn to_header(self) -> String {
        let start = self
            .start
            .map_or_else(|| "now".to_owned(), Npt::to_seconds_text);
        let end = self.end.map(Npt::to_seconds_text).unwrap_or_default();
        format!("npt={start}-{end}")
    }
}

fn digits(text: &str) -> Option<u64> {
    let plain = !text.is_empty() && text.len() <= 10 && text.bytes().all(|b| b.is_ascii_digit());
    if plain { text.parse().ok() } else { None }
}

/// A decimal fraction in microseconds; further places are ignored.
fn micros(fraction: &str) -> Option<u64> {
    if !fraction.bytes().all(|octet| octet.is_ascii_digit()) {
        return None;
    }
    let places = fraction.bytes().chain(std::iter::repeat(b'0')).take(6);
    Some(places.fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_every_form_of_normal_play_time() {
        for (text, ticks) in [
            ("0", 0),
            ("12.5", 1_125_000),
            ("0.033333", 3_000),
            ("00:01:02.5", 5_625_000),
            ("1:00:00", 324_000_000),
        ] {
            assert_eq!(Npt::parse(text), Some(Npt(ticks)), "{text}");
        }
        for text in ["", "-1", "1:2", "1.2.3", "+1", "1e9", "99999999999", "::"] {
            assert_eq!(Npt::parse(text), None, "{text}");
        }
    }

    #[test]
    fn reads_open_and_closed_ranges() {
        let at = |seconds: u64| Some(Npt(seconds * TICKS_PER_SECOND));
        for (text, start, end) in [
            ("npt=0-", at(0), None),
            ("npt=10-20", at(10), at(20)),
            ("npt=now-", None, None),
            ("npt=-20", None, at(20)),
            ("npt = 5-;time=x", at(5), None),
        ] {
            assert_eq!(
                NptRange::parse(text),
                Some(NptRange { start, end }),
                "{text}"
            );
        }
        for text in [
            "clock=19961108T143720.25Z-",
            "npt=",
            "npt=20-10",
            "npt=5-5",
            "5-",
            "npt=a-",
        ] {
            assert_eq!(NptRange::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_tick_survives_its_decimal_text(ticks in 0_u64..324_000_000) {
            prop_assert_eq!(Npt::parse(&Npt(ticks).to_seconds_text()), Some(Npt(ticks)));
        }

        #[test]
        fn ranges_never_panic(text in ".{0,60}") {
            let _ = NptRange::parse(&text);
            let _ = NptRange::parse(&format!("npt={text}"));
        }
    }
}
