//! Octets as hexadecimal, base 64 and base 32 (RFC 4648), both ways.

use std::fmt::{self, Write};

/// Appends what hexadecimal digits say; `None` if they are none or come in an odd number.
pub(super) fn read_hex(digits: &str, out: &mut Vec<u8>) -> Option<()> {
    let (pairs, tail) = digits.as_bytes().as_chunks::<2>();
    let nibble = |digit: u8| char::from(digit).to_digit(16).map(|value| value as u8);
    for &[high, low] in pairs {
        out.push(nibble(high)? << 4 | nibble(low)?);
    }
    tail.is_empty().then_some(())
}

/// Appends what base 64 says; the padding has to be there.
pub(super) fn read_base64(digits: &str, out: &mut Vec<u8>) -> Option<()> {
    let bare = digits.trim_end_matches('=');
    let padding = digits.len() - bare.len();
    if padding > 2 || !digits.len().is_multiple_of(4) {
        return None;
    }
    read_bits(bare, 6, out, |digit| match digit {
        b'A'..=b'Z' => Some(digit - b'A'),
        b'a'..=b'z' => Some(digit - b'a' + 26),
        b'0'..=b'9' => Some(digit - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    })
}

/// Appends what base 32 with the extended hexadecimal alphabet and without padding says.
pub(super) fn read_base32(digits: &str, out: &mut Vec<u8>) -> Option<()> {
    if matches!(digits.len() % 8, 1 | 3 | 6) {
        return None;
    }
    read_bits(digits, 5, out, |digit| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'A'..=b'V' => Some(digit - b'A' + 10),
        b'a'..=b'v' => Some(digit - b'a' + 10),
        _ => None,
    })
}

fn read_bits(
    digits: &str,
    width: u32,
    out: &mut Vec<u8>,
    value: impl Fn(u8) -> Option<u8>,
) -> Option<()> {
    let (mut bits, mut held) = (0_u32, 0);
    for digit in digits.bytes() {
        bits = (bits << width | u32::from(value(digit)?)) & 0xFFFF;
        held += width;
        if held >= 8 {
            held -= 8;
            out.push((bits >> held) as u8);
        }
    }
    Some(())
}

/// Shows octets in hexadecimal.
pub(super) struct Hex<'a>(pub(super) &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

/// Shows octets in base 64 with padding.
pub(super) struct Base64<'a>(pub(super) &'a [u8]);

impl fmt::Display for Base64<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        for group in self.0.chunks(3) {
            write_bits(f, group, 6, DIGITS)?;
            (group.len()..3).try_for_each(|_| f.write_char('='))?;
        }
        Ok(())
    }
}

/// Shows octets in base 32 with the extended hexadecimal alphabet, without padding.
pub(super) struct Base32<'a>(pub(super) &'a [u8]);

impl fmt::Display for Base32<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";
        let mut groups = self.0.chunks(5);
        groups.try_for_each(|group| write_bits(f, group, 5, DIGITS))
    }
}

/// Writes up to five octets as digits of so many bits, zeros added at the end.
fn write_bits(f: &mut fmt::Formatter<'_>, octets: &[u8], width: u32, digits: &[u8]) -> fmt::Result {
    let value = octets
        .iter()
        .fold(0_u64, |value, octet| value << 8 | u64::from(*octet));
    let bits = octets.len() as u32 * 8;
    let count = bits.div_ceil(width);
    let value = value << (count * width - bits);
    for place in (0..count).rev() {
        let digit = (value >> (place * width)) as usize & ((1 << width) - 1);
        f.write_char(char::from(digits[digit]))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str, read: impl Fn(&str, &mut Vec<u8>) -> Option<()>) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        read(text, &mut out).map(|()| out)
    }

    #[test]
    fn agrees_with_the_vectors_of_rfc_4648() {
        let vectors = [
            ("", "", ""),
            ("f", "Zg==", "CO"),
            ("fo", "Zm8=", "CPNG"),
            ("foo", "Zm9v", "CPNMU"),
            ("foob", "Zm9vYg==", "CPNMUOG"),
            ("fooba", "Zm9vYmE=", "CPNMUOJ1"),
            ("foobar", "Zm9vYmFy", "CPNMUOJ1E8"),
        ];
        for (octets, base64, base32) in vectors {
            let octets = octets.as_bytes();
            assert_eq!(read(base64, read_base64).as_deref(), Some(octets));
            assert_eq!(read(base32, read_base32).as_deref(), Some(octets));
            assert_eq!(Base64(octets).to_string(), base64);
            assert_eq!(Base32(octets).to_string(), base32.to_lowercase());
        }
        assert_eq!(read("00fF", read_hex), Some(vec![0, 255]));
    }

    #[test]
    fn refuses_other_digits_and_broken_groups() {
        for bad in ["Zm9", "Z===", "Zm9*", "=", "Zg=a"] {
            assert_eq!(read(bad, read_base64), None, "{bad}");
        }
        for bad in ["0", "000", "000000", "w0"] {
            assert_eq!(read(bad, read_base32), None, "{bad}");
        }
        assert_eq!(read("0", read_hex), None);
        assert_eq!(read("0g", read_hex), None);
    }

    proptest! {
        #[test]
        fn reading_gives_back_what_was_written(octets in prop::collection::vec(any::<u8>(), 0..80)) {
            prop_assert_eq!(read(&Hex(&octets).to_string(), read_hex), Some(octets.clone()));
            prop_assert_eq!(read(&Base64(&octets).to_string(), read_base64), Some(octets.clone()));
            prop_assert_eq!(read(&Base32(&octets).to_string(), read_base32), Some(octets.clone()));
        }
    }
}
