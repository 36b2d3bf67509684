//! Service parameters in zone files (RFC 9460 §2.1 and appendix A), both ways.

use std::fmt::{self, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr};

use super::data::{decimal, decoded, wrong};
use super::encoding::{Base64, read_base64};
use super::lexer::Token;
use super::place::{Fault, Place};
use super::text::Quoted;
use crate::rdata::svcb::{
    ALPN, ECH, IPV4HINT, IPV6HINT, MANDATORY, PORT, RESERVED, conflict, key, key_text, misfit,
    parameters,
};

/// Reads parameters in any order and appends them in theirs.
pub(super) fn read(tokens: &[Token<'_>], out: &mut Vec<u8>) -> Result<(), Fault> {
    let mut read = Vec::<(u16, Vec<u8>, Place)>::new();
    let mut rest = tokens;
    while let [token, after @ ..] = rest {
        rest = after;
        let (name, value) = parameter(token, &mut rest)?;
        let number = key(name).filter(|number| *number != RESERVED);
        let number = number.ok_or_else(|| {
            let hint = "write a name in lower case, or keyNNNNN";
            Fault::new(
                token.place,
                format!("`{name}` is not a key of a parameter"),
                hint,
            )
        })?;
        let mut octets = Vec::new();
        // A key written by its number has its value written as octets.
        let bare = if name.starts_with("key") {
            RESERVED
        } else {
            number
        };
        let good = match &value {
            Some(value) => encode(bare, value, &mut octets).is_some(),
            None => true,
        };
        let misfit = misfit(number, &octets).filter(|_| good);
        if let (Some(what), _) | (None, Some(what)) = (misfit, (!good).then(|| form(number))) {
            let hint = hint(number);
            return Err(Fault::new(
                token.place,
                format!("the value of {name} {what}"),
                hint,
            ));
        }
        if let Some((number, ..)) = read.iter().find(|(other, ..)| *other == number) {
            let message = format!("a second parameter {}", key_text(*number));
            return Err(Fault::new(token.place, message, "each key may stand once"));
        }
        read.push((number, octets, token.place));
    }
    read.sort_by_key(|(number, ..)| *number);
    let start = out.len();
    for (number, value, place) in &read {
        let Ok(length) = u16::try_from(value.len()) else {
            return Err(Fault::new(
                *place,
                "the value is too long",
                "65535 octets are the most",
            ));
        };
        out.extend(number.to_be_bytes());
        out.extend(length.to_be_bytes());
        out.extend(value);
    }
    match (conflict(out.get(start..).unwrap_or_default()), tokens) {
        (Some(message), [first, ..]) => {
            let hint = "add what is missing, or leave out what asks for it (RFC 9460 §7.1, §8)";
            Err(Fault::new(first.place, message, hint))
        }
        _ => Ok(()),
    }
}

/// Key and value of `key`, `key=value` or `key="value"`, whose value is a token of its own.
fn parameter<'t>(
    token: &Token<'t>,
    rest: &mut &[Token<'t>],
) -> Result<(&'t str, Option<Vec<u8>>), Fault> {
    if token.quoted {
        return Err(wrong(
            token,
            "a parameter",
            "write `key=\"value\"`, the key without quotes",
        ));
    }
    let Some((name, value)) = token.text.split_once('=') else {
        return Ok((token.text, None));
    };
    if let ("", [quoted, after @ ..]) = (value, *rest)
        && quoted.joined
        && quoted.quoted
    {
        *rest = after;
        return Ok((name, Some(decoded(quoted)?)));
    }
    let value = Token {
        text: value,
        ..*token
    };
    Ok((name, Some(decoded(&value)?)))
}

/// Appends the wire form of a value whose escapes are resolved.
fn encode(key: u16, value: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let text = str::from_utf8(value).ok();
    let items = || Some(text?.split(','));
    match key {
        MANDATORY => {
            let mut keys = items()?.map(self::key).collect::<Option<Vec<u16>>>()?;
            keys.sort_unstable();
            out.extend(keys.iter().flat_map(|key| key.to_be_bytes()));
        }
        ALPN => {
            for item in list(value) {
                out.push(u8::try_from(item.len()).ok()?);
                out.extend(item);
            }
        }
        PORT => out.extend(u16::try_from(decimal(text?)?).ok()?.to_be_bytes()),
        IPV4HINT => {
            for item in items()? {
                out.extend(item.parse::<Ipv4Addr>().ok()?.octets());
            }
        }
        IPV6HINT => {
            for item in items()? {
                out.extend(item.parse::<Ipv6Addr>().ok()?.octets());
            }
        }
        ECH => read_base64(text?, out)?,
        _ => out.extend(value),
    }
    Some(())
}

/// The items of a list with commas; `\,` and `\\` stand for themselves (RFC 9460 appendix A.1).
fn list(value: &[u8]) -> Vec<Vec<u8>> {
    let mut items = vec![Vec::new()];
    let mut octets = value.iter();
    while let Some(&octet) = octets.next() {
        match (octet, items.last_mut()) {
            (b',', _) => items.push(Vec::new()),
            (b'\\', Some(item)) => item.extend(octets.next()),
            (_, Some(item)) => item.push(octet),
            (_, None) => {}
        }
    }
    items
}

/// What the value of a key with a form of its own is not.
fn form(key: u16) -> &'static str {
    match key {
        MANDATORY => "is not a list of keys",
        ALPN => "is not a list of protocols",
        PORT => "is not a port",
        IPV4HINT => "is not a list of IPv4 addresses",
        IPV6HINT => "is not a list of IPv6 addresses",
        _ => "is not base 64",
    }
}

fn hint(key: u16) -> &'static str {
    match key {
        MANDATORY => "name other keys, each once, as in mandatory=alpn,port",
        ALPN => "write alpn=h2,h3",
        PORT => "write port=443",
        IPV4HINT => "write ipv4hint=192.0.2.1,192.0.2.2",
        IPV6HINT => "write ipv6hint=2001:db8::1",
        ECH => "write the ECHConfigList in base 64",
        _ => "see RFC 9460 §7",
    }
}

/// Writes parameters, a space in front of each.
pub(super) fn write(data: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (key, value) in parameters(data) {
        write!(f, " {}", key_text(key))?;
        if !value.is_empty() {
            f.write_char('=')?;
            write_value(key, value, f)?;
        }
    }
    Ok(())
}

fn write_value(key: u16, value: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let (pairs, _) = value.as_chunks::<2>();
    let (v4, _) = value.as_chunks::<4>();
    let (v6, _) = value.as_chunks::<16>();
    match key {
        MANDATORY => joined(
            f,
            pairs.iter().map(|pair| key_text(u16::from_be_bytes(*pair))),
        ),
        ALPN => write!(f, "{}", Quoted(&protocols(value))),
        PORT => joined(f, pairs.iter().map(|pair| u16::from_be_bytes(*pair))),
        IPV4HINT => joined(f, v4.iter().map(|octets| Ipv4Addr::from(*octets))),
        IPV6HINT => joined(f, v6.iter().map(|octets| Ipv6Addr::from(*octets))),
        ECH => write!(f, "{}", Base64(value)),
        _ => write!(f, "{}", Quoted(value)),
    }
}

fn joined(
    f: &mut fmt::Formatter<'_>,
    items: impl Iterator<Item = impl fmt::Display>,
) -> fmt::Result {
    for (place, item) in items.enumerate() {
        let comma = if place == 0 { "" } else { "," };
        write!(f, "{comma}{item}")?;
    }
    Ok(())
}

/// The inverse of [`list`].
fn protocols(value: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    let mut rest = value;
    while let [length, after @ ..] = rest {
        let (item, after) = after
            .split_at_checked((*length).into())
            .unwrap_or((after, &[]));
        if !text.is_empty() {
            text.push(b',');
        }
        for &octet in item {
            if matches!(octet, b',' | b'\\') {
                text.push(b'\\');
            }
            text.push(octet);
        }
        rest = after;
    }
    text
}
