//! LOC records in zone files (RFC 1876 §3): `d [m [s]] N|S d [m [s]] E|W altitude [size [horizontal [vertical]]]`.

use std::fmt;

use super::data::{Reading, wrong};
use super::place::Fault;
use crate::rdata::location::{ALTITUDE_ZERO, ANGLE_ZERO, DEGREE, Location};

/// Size and precisions where they are left out: 1 m, 10 km, 10 m.
const DEFAULTS: [u8; 3] = [0x12, 0x16, 0x13];

pub(super) fn read(reading: &mut Reading<'_, '_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    let latitude = angle(reading, 90, ["N", "S"])?;
    let longitude = angle(reading, 180, ["E", "W"])?;
    let token = reading.next()?;
    let hint = "write metres between -100000.00 and 42849672.95";
    let altitude = centimetres(token.text)
        .and_then(|altitude| u32::try_from(altitude + ALTITUDE_ZERO).ok())
        .ok_or_else(|| wrong(token, "an altitude", hint))?;
    let mut sizes = DEFAULTS;
    for size in &mut sizes {
        let Some(token) = reading.peek() else { break };
        let hint = "write metres between 0 and 90000000.00";
        *size = centimetres(token.text)
            .and_then(rounded)
            .ok_or_else(|| wrong(token, "a size", hint))?;
        reading.next()?;
    }
    let [size, horizontal, vertical] = sizes;
    let place = Location {
        size,
        horizontal,
        vertical,
        latitude,
        longitude,
        altitude,
    };
    place.write(out);
    Ok(())
}

/// Degrees up to `most`, perhaps minutes and seconds, and which side of zero.
fn angle(reading: &mut Reading<'_, '_>, most: u32, sides: [&str; 2]) -> Result<u32, Fault> {
    let hint = "write degrees, minutes, seconds and a side, as in 42 21 54.5 N";
    let fault = |token| wrong(token, "part of an angle", hint);
    let side = |text: &str, angle: u32| match text {
        _ if text.eq_ignore_ascii_case(sides[0]) => Some(ANGLE_ZERO + angle),
        _ if text.eq_ignore_ascii_case(sides[1]) => Some(ANGLE_ZERO - angle),
        _ => None,
    };
    let mut angle = 0;
    // Below 60 minutes and 60 seconds; only seconds have decimals.
    for (unit, below, decimals) in [(DEGREE, most + 1, 0), (60_000, 60, 0), (1_000, 60, 3)] {
        let token = reading.next()?;
        if let (Some(angle), false) = (side(token.text, angle), unit == DEGREE) {
            return Ok(angle);
        }
        angle += scaled(token.text, decimals)
            .and_then(|part| u32::try_from(part).ok())
            .filter(|&part| part < below * 10_u32.pow(decimals))
            .map(|part| part * (unit / 10_u32.pow(decimals)))
            .filter(|part| angle + part <= most * DEGREE)
            .ok_or_else(|| fault(token))?;
    }
    let token = reading.next()?;
    side(token.text, angle).ok_or_else(|| fault(token))
}

/// Metres with up to two decimals and perhaps an `m`, as centimetres.
fn centimetres(text: &str) -> Option<i64> {
    let text = text.strip_suffix(['m', 'M']).unwrap_or(text);
    match text.strip_prefix('-') {
        Some(text) => scaled(text, 2).map(|value| -value),
        None => scaled(text, 2),
    }
}

/// `digits[.digits]` with up to so many digits behind the point, as a whole number of the smallest unit.
fn scaled(text: &str, decimals: u32) -> Option<i64> {
    let places = decimals as usize;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|octet| octet.is_ascii_digit());
    let fits = !whole.is_empty() && whole.len() <= 8 && fraction.len() <= places;
    if !fits || !digits(whole) || !digits(fraction) {
        return None;
    }
    format!("{whole}{fraction:0<places$}").parse().ok()
}

/// Centimetres as mantissa and exponent, rounded down to one digit.
fn rounded(centimetres: i64) -> Option<u8> {
    let (mut mantissa, mut exponent) = (u64::try_from(centimetres).ok()?, 0);
    while mantissa > 9 {
        mantissa /= 10;
        exponent += 1;
    }
    (exponent <= 9).then_some((mantissa as u8) << 4 | exponent)
}

/// The canonical form: everything written out, lengths in metres.
pub(super) fn write(data: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let Some(place) = Location::read(data) else {
        return Ok(());
    };
    write_angle(place.latitude, ["N", "S"], f)?;
    write_angle(place.longitude, ["E", "W"], f)?;
    let altitude = i64::from(place.altitude) - ALTITUDE_ZERO;
    let sign = if altitude < 0 { "-" } else { "" };
    write!(
        f,
        "{sign}{}.{:02}m",
        altitude.abs() / 100,
        altitude.abs() % 100
    )?;
    for size in [place.size, place.horizontal, place.vertical] {
        let value = u64::from(size >> 4) * 10_u64.pow((size & 15).into());
        write!(f, " {}.{:02}m", value / 100, value % 100)?;
    }
    Ok(())
}

fn write_angle(angle: u32, sides: [&str; 2], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let [positive, negative] = sides;
    let side = if angle >= ANGLE_ZERO {
        positive
    } else {
        negative
    };
    let distance = angle.abs_diff(ANGLE_ZERO);
    let (degrees, rest) = (distance / DEGREE, distance % DEGREE);
    let (minutes, rest) = (rest / 60_000, rest % 60_000);
    write!(
        f,
        "{degrees} {minutes} {}.{:03} {side} ",
        rest / 1_000,
        rest % 1_000
    )
}
