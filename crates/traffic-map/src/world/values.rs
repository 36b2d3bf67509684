//! Values of `world.toml` with a form of their own: coordinates, bit rates, keys.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use toml::de::DeValue;

use crate::finding::Findings;
use crate::tree::{self, Value};

/// `[latitude, longitude]` in degrees.
pub(super) fn coordinates(value: &Value<'_>, findings: &mut Findings<'_>) -> Option<(f64, f64)> {
    let pair = value.get_ref().as_array().filter(|items| items.len() == 2);
    let mut items = pair.into_iter().flat_map(|items| items.iter());
    let (Some(lat), Some(lon)) = (items.next(), items.next()) else {
        findings.error(
            &value.span(),
            "`at` must be [latitude, longitude] in degrees",
        );
        return None;
    };
    let (lat, lon) = (
        tree::decimal("at", lat, findings)?,
        tree::decimal("at", lon, findings)?,
    );
    if lat.abs() > 90.0 || lon.abs() > 180.0 {
        let hint = "latitude -90 to 90 first, then longitude -180 to 180";
        findings.error_with_hint(
            &value.span(),
            format!("[{lat}, {lon}] is not on Earth"),
            hint,
        );
        return None;
    }
    Some((lat, lon))
}

/// `"40 Gbit/s"`, or a whole number of bits per second.
pub(super) fn bit_rate(key: &str, value: &Value<'_>, findings: &mut Findings<'_>) -> Option<u64> {
    let rate = match value.get_ref() {
        DeValue::Integer(_) => return tree::integer(key, value, 1..=RATE_MAX, findings),
        DeValue::String(text) => rate(text),
        _ => None,
    };
    if rate.is_none() {
        let hint = "such as \"40 Gbit/s\"; units: bit/s, kbit/s, Mbit/s, Gbit/s, Tbit/s";
        findings.error_with_hint(&value.span(), format!("`{key}` is no bit rate"), hint);
    }
    rate
}

/// An exabit a second: sums of rates stay far from 64 bits.
const RATE_MAX: u64 = 1_000_000_000_000_000;

fn rate(text: &str) -> Option<u64> {
    let (number, unit) = text.trim().split_once(' ')?;
    let factor = match unit.trim() {
        "bit/s" => 1.0,
        "kbit/s" => 1e3,
        "Mbit/s" => 1e6,
        "Gbit/s" => 1e9,
        "Tbit/s" => 1e12,
        _ => return None,
    };
    let rate = (number.parse::<f64>().ok()? * factor).round();
    (rate >= 1.0 && rate <= RATE_MAX as f64).then_some(rate as u64)
}

pub(super) fn public_key(
    key: &str,
    value: &Value<'_>,
    findings: &mut Findings<'_>,
) -> Option<[u8; 32]> {
    let text = tree::text(key, value, findings)?;
    let bytes = STANDARD
        .decode(text.trim())
        .ok()
        .and_then(|bytes| bytes.try_into().ok());
    if bytes.is_none() {
        findings.error(
            &value.span(),
            format!("`{key}` is not the base64 of a 32-octet public key"),
        );
    }
    bytes
}
