//! Reads the data of one record from tokens, guided by the field table of its type.

use super::lexer::Token;
use super::{Fault, Place, seconds};
use crate::name;
use crate::rdata::{self, Field};
use crate::rtype;

/// The wire form of record data; `end` is where the line ends, for what is missing there.
pub(super) fn read(
    rtype: u16,
    tokens: &[Token<'_>],
    origin: Option<&[u8]>,
    end: Place,
) -> Result<Vec<u8>, Fault> {
    if let [mark, rest @ ..] = tokens
        && mark.text == "\\#"
        && !mark.quoted
    {
        return generic(rtype, mark, rest);
    }
    let Some(fields) = rdata::fields(rtype) else {
        let place = tokens.first().map_or(end, |token| token.place);
        let message = format!(
            "data of type {} is not read in its own form",
            rtype::text(rtype)
        );
        return Err(Fault::new(
            place,
            message,
            r"write it as `\# length hexadecimal` (RFC 3597)",
        ));
    };
    let mut data = Vec::new();
    let mut rest = tokens;
    for &field in fields {
        rest = read_field(field, rest, origin, end, rtype, &mut data)?;
    }
    if let [extra, ..] = rest {
        let message = format!(
            "`{}` is more than a {} record takes",
            extra.text,
            rtype::text(rtype)
        );
        return Err(Fault::new(extra.place, message, shape(rtype)));
    }
    if data.len() > usize::from(u16::MAX) {
        return Err(Fault::new(
            end,
            "record data longer than 65535 octets",
            "split the record",
        ));
    }
    Ok(data)
}

/// Reads one field and returns the tokens behind it.
fn read_field<'a, 't>(
    field: Field,
    tokens: &'a [Token<'t>],
    origin: Option<&[u8]>,
    end: Place,
    rtype: u16,
    data: &mut Vec<u8>,
) -> Result<&'a [Token<'t>], Fault> {
    let [token, rest @ ..] = tokens else {
        let message = format!("{} record ends too early", rtype::text(rtype));
        return Err(Fault::new(end, message, shape(rtype)));
    };
    let wrong = |what: &str, hint: &str| {
        Fault::new(token.place, format!("`{}` is not {what}", token.text), hint)
    };
    match field {
        Field::Name => data.extend(name_of(token, origin)?),
        Field::U8 => data.push(number(token, 255)? as u8),
        Field::U16 => data.extend((number(token, 65_535)? as u16).to_be_bytes()),
        Field::U32 => data.extend(number(token, u32::MAX)?.to_be_bytes()),
        Field::Seconds => {
            let value = seconds(token.text).ok_or_else(|| {
                wrong("a time", "write seconds, or units as in 1h30m (w d h m s)")
            })?;
            data.extend(value.to_be_bytes());
        }
        Field::V4 => {
            let address: std::net::Ipv4Addr = token
                .text
                .parse()
                .map_err(|_| wrong("an IPv4 address", "write four numbers, as in 192.0.2.1"))?;
            data.extend(address.octets());
        }
        Field::V6 => {
            let address: std::net::Ipv6Addr = token
                .text
                .parse()
                .map_err(|_| wrong("an IPv6 address", "write it as in 2001:db8::1"))?;
            data.extend(address.octets());
        }
        Field::Text => text(token, data)?,
        Field::Texts => {
            for token in tokens {
                text(token, data)?;
            }
            return Ok(&[]);
        }
        Field::Rest => data.extend(decoded(token)?),
        Field::Hex => {
            let digits: String = tokens.iter().map(|token| token.text).collect();
            data.extend(hex(&digits).ok_or_else(|| {
                wrong(
                    "hexadecimal",
                    "write an even number of the digits 0-9 and a-f",
                )
            })?);
            return Ok(&[]);
        }
        Field::Base64 => {
            let digits: String = tokens.iter().map(|token| token.text).collect();
            data.extend(base64(&digits).ok_or_else(|| {
                wrong(
                    "base 64",
                    "write whole groups of four characters, `=` only at the end",
                )
            })?);
            return Ok(&[]);
        }
    }
    Ok(rest)
}

/// A name, `@` for the origin, relative ones completed.
pub(super) fn name_of(token: &Token<'_>, origin: Option<&[u8]>) -> Result<Vec<u8>, Fault> {
    let result = match (token.text, token.quoted, origin) {
        ("@", false, Some(origin)) => Ok(origin.to_vec()),
        ("@", false, None) => Err(name::NameError::NoOrigin),
        _ => name::parse(token.text, origin),
    };
    result.map_err(|error| {
        let hint = match error {
            name::NameError::NoOrigin => "end the name with a dot, or write `$ORIGIN zone.` first",
            name::NameError::NotAscii => "write other letters in their xn-- form, octets as \\DDD",
            name::NameError::BadEscape => "write a backslash itself as \\\\",
            _ => "labels are 1 to 63 octets, whole names up to 255",
        };
        Fault::new(token.place, format!("`{}`: {error}", token.text), hint)
    })
}

fn number(token: &Token<'_>, max: u32) -> Result<u32, Fault> {
    let plain = token.text.bytes().all(|octet| octet.is_ascii_digit());
    let value = if plain {
        token.text.parse::<u32>().ok()
    } else {
        None
    };
    value.filter(|&value| value <= max).ok_or_else(|| {
        let message = format!("`{}` is not a number from 0 to {max}", token.text);
        Fault::new(token.place, message, "write it in decimal")
    })
}

fn text(token: &Token<'_>, data: &mut Vec<u8>) -> Result<(), Fault> {
    let octets = decoded(token)?;
    let Ok(length) = u8::try_from(octets.len()) else {
        let message = format!("string of {} octets, but 255 is the most", octets.len());
        return Err(Fault::new(
            token.place,
            message,
            "split it: \"first part\" \"second part\"",
        ));
    };
    data.push(length);
    data.extend(octets);
    Ok(())
}

/// The octets of a string with its escapes resolved.
fn decoded(token: &Token<'_>) -> Result<Vec<u8>, Fault> {
    let mut octets = token.text.bytes();
    let mut decoded = Vec::with_capacity(token.text.len());
    while let Some(octet) = octets.next() {
        decoded.push(match octet {
            b'\\' => name::unescape(&mut octets).ok_or_else(|| {
                let message = name::NameError::BadEscape.to_string();
                Fault::new(token.place, message, "write a backslash itself as \\\\")
            })?,
            _ => octet,
        });
    }
    Ok(decoded)
}

/// `\# length hex` (RFC 3597 §5), checked against the shape of the type where it is known.
fn generic(rtype: u16, mark: &Token<'_>, rest: &[Token<'_>]) -> Result<Vec<u8>, Fault> {
    let hint = r"write `\# length hexadecimal`, as in `\# 4 C0000201`";
    let [length, digits @ ..] = rest else {
        return Err(Fault::new(mark.place, r"`\#` without a length", hint));
    };
    let wanted = number(length, 65_535)? as usize;
    let text: String = digits.iter().map(|token| token.text).collect();
    let place = digits.first().map_or(length.place, |token| token.place);
    let data = hex(&text).ok_or_else(|| Fault::new(place, "this is not hexadecimal", hint))?;
    if data.len() != wanted {
        let message = format!("{} octets follow, but {wanted} were announced", data.len());
        return Err(Fault::new(length.place, message, hint));
    }
    if !rdata::is_well_formed(rtype, &data) {
        let message = format!("these octets are no data of type {}", rtype::text(rtype));
        return Err(Fault::new(place, message, shape(rtype)));
    }
    Ok(data)
}

/// What a record of this type looks like, as a hint.
fn shape(rtype: u16) -> &'static str {
    match rtype {
        rtype::A => "write `A 192.0.2.1`",
        rtype::AAAA => "write `AAAA 2001:db8::1`",
        rtype::NS | rtype::CNAME | rtype::PTR | rtype::DNAME => "write one name, as in `NS ns1`",
        rtype::SOA => "write `SOA primary mailbox serial refresh retry expire minimum`",
        rtype::MX => "write `MX preference host`",
        rtype::TXT | rtype::SPF => "write `TXT \"text\"`",
        rtype::SRV => "write `SRV priority weight port target`",
        rtype::CAA => "write `CAA flags tag \"value\"`",
        rtype::DS | rtype::CDS => "write `DS key-tag algorithm digest-type digest`",
        rtype::DNSKEY | rtype::CDNSKEY => "write `DNSKEY flags 3 algorithm key`",
        rtype::TLSA | rtype::SMIMEA => "write `TLSA usage selector matching-type data`",
        rtype::NAPTR => "write `NAPTR order preference \"flags\" \"service\" \"regexp\" name`",
        rtype::HINFO => "write `HINFO \"cpu\" \"os\"`",
        rtype::URI => "write `URI priority weight \"uri\"`",
        rtype::SSHFP => "write `SSHFP algorithm type fingerprint`",
        _ => r"write `\# length hexadecimal` (RFC 3597)",
    }
}

fn hex(digits: &str) -> Option<Vec<u8>> {
    let (pairs, tail) = digits.as_bytes().as_chunks::<2>();
    let nibble = |digit: u8| char::from(digit).to_digit(16).map(|value| value as u8);
    let octets = pairs
        .iter()
        .map(|&[high, low]| Some(nibble(high)? << 4 | nibble(low)?));
    if tail.is_empty() {
        octets.collect()
    } else {
        None
    }
}

/// Base 64 with padding (RFC 4648 §4).
fn base64(digits: &str) -> Option<Vec<u8>> {
    let bare = digits.trim_end_matches('=');
    let padding = digits.len() - bare.len();
    if padding > 2 || !digits.len().is_multiple_of(4) {
        return None;
    }
    let mut octets = Vec::with_capacity(bare.len() * 3 / 4);
    let (mut bits, mut held) = (0_u32, 0);
    for digit in bare.bytes() {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6 | u32::from(value)) & 0xFFFF;
        held += 6;
        if held >= 8 {
            held -= 8;
            octets.push((bits >> held) as u8);
        }
    }
    Some(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_base64_and_hex() {
        assert_eq!(base64("Zm9vYmFy"), Some(b"foobar".to_vec()));
        assert_eq!(base64("Zm9vYg=="), Some(b"foob".to_vec()));
        assert_eq!(base64("Zm9vYmE="), Some(b"fooba".to_vec()));
        assert_eq!(base64(""), Some(Vec::new()));
        assert_eq!(base64("Zm9"), None);
        assert_eq!(base64("Z==="), None);
        assert_eq!(base64("Zm9*"), None);
        assert_eq!(hex("00fF"), Some(vec![0, 255]));
        assert_eq!(hex("0"), None);
        assert_eq!(hex("0g"), None);
    }
}
