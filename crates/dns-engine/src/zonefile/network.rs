//! Addresses, prefixes and gateways in zone files, both ways.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::data::{Reading, wrong};
use super::encoding::read_hex;
use super::lexer::Token;
use super::place::Fault;
use crate::name;
use crate::rdata::Prefix;

/// `192.0.2.1`.
pub(super) fn v4(token: &Token<'_>) -> Result<[u8; 4], Fault> {
    let hint = "write four numbers, as in 192.0.2.1";
    let address: Result<Ipv4Addr, _> = token.text.parse();
    address
        .map(|address| address.octets())
        .map_err(|_| wrong(token, "an IPv4 address", hint))
}

/// `2001:db8::1`.
pub(super) fn v6(token: &Token<'_>) -> Result<[u8; 16], Fault> {
    let hint = "write it as in 2001:db8::1";
    let address: Result<Ipv6Addr, _> = token.text.parse();
    address
        .map(|address| address.octets())
        .map_err(|_| wrong(token, "an IPv6 address", hint))
}

/// `0014:4fff:ff20:ee64` (RFC 6742 §2.1.2).
pub(super) fn groups(token: &Token<'_>) -> Result<[u8; 8], Fault> {
    let hint = "write four groups of hexadecimal, as in 0014:4fff:ff20:ee64";
    let mut octets = [0; 8];
    let mut texts = token.text.split(':');
    for place in octets.chunks_exact_mut(2) {
        let text = texts.next().filter(|text| (1..=4).contains(&text.len()));
        let group = text
            .filter(|text| !text.starts_with('+'))
            .and_then(|text| u16::from_str_radix(text, 16).ok())
            .ok_or_else(|| wrong(token, "an identifier of 64 bits", hint))?;
        place.copy_from_slice(&group.to_be_bytes());
    }
    match texts.next() {
        None => Ok(octets),
        Some(_) => Err(wrong(token, "an identifier of 64 bits", hint)),
    }
}

pub(super) fn write_groups(octets: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let (groups, _) = octets.as_chunks::<2>();
    for (place, [high, low]) in groups.iter().enumerate() {
        let colon = if place == 0 { "" } else { ":" };
        write!(f, "{colon}{high:02x}{low:02x}")?;
    }
    Ok(())
}

/// `00-00-5e-00-53-2a` (RFC 7043 §3.2).
pub(super) fn mac(token: &Token<'_>, length: usize, out: &mut Vec<u8>) -> Result<(), Fault> {
    let hint = "write pairs of hexadecimal digits with hyphens, as in 00-00-5e-00-53-2a";
    let what = format!("an address of {} bits", length * 8);
    let mut pairs = token.text.split('-');
    for _ in 0..length {
        pairs
            .next()
            .filter(|pair| pair.len() == 2)
            .and_then(|pair| read_hex(pair, out))
            .ok_or_else(|| wrong(token, &what, hint))?;
    }
    match pairs.next() {
        None => Ok(()),
        Some(_) => Err(wrong(token, &what, hint)),
    }
}

pub(super) fn write_mac(octets: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (place, octet) in octets.iter().enumerate() {
        let hyphen = if place == 0 { "" } else { "-" };
        write!(f, "{hyphen}{octet:02x}")?;
    }
    Ok(())
}

/// `[!]family:address/length` (RFC 3123 §5).
pub(super) fn prefix(token: &Token<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    let hint = "write `1:192.0.2.0/24` or `2:2001:db8::/32`, with `!` in front to exclude it";
    let fault = || wrong(token, "an address prefix", hint);
    let (negated, text) = match token.text.strip_prefix('!') {
        Some(rest) => (0x80, rest),
        None => (0, token.text),
    };
    let (family, rest) = text.split_once(':').ok_or_else(fault)?;
    let (address, length) = rest.rsplit_once('/').ok_or_else(fault)?;
    let length = super::data::decimal(length).ok_or_else(fault)?;
    let (family, octets) = match family {
        "1" => (1, address.parse().map(|v4: Ipv4Addr| v4.octets().to_vec())),
        "2" => (2, address.parse().map(|v6: Ipv6Addr| v6.octets().to_vec())),
        _ => return Err(fault()),
    };
    let octets = octets.map_err(|_| fault())?;
    let length = u8::try_from(length)
        .ok()
        .filter(|&length| usize::from(length) <= octets.len() * 8)
        .ok_or_else(fault)?;
    let used = octets
        .iter()
        .rposition(|&octet| octet != 0)
        .map_or(0, |last| last + 1);
    out.extend([0, family, length, negated | used as u8]);
    out.extend(octets.iter().take(used));
    Ok(())
}

pub(super) fn write_prefix(prefix: &Prefix<'_>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mark = if prefix.negated { "!" } else { "" };
    let mut octets = [0; 16];
    for (place, octet) in octets.iter_mut().zip(prefix.address) {
        *place = *octet;
    }
    let [a, b, c, d, ..] = octets;
    write!(f, "{mark}{}:", prefix.family)?;
    match prefix.family {
        1 => write!(f, "{}", Ipv4Addr::new(a, b, c, d))?,
        _ => write!(f, "{}", Ipv6Addr::from(octets))?,
    }
    write!(f, "/{}", prefix.length)
}

/// `type algorithm gateway` of an IPSECKEY record (RFC 4025 §3.1).
pub(super) fn gateway(reading: &mut Reading<'_, '_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    let kind = reading.number(3)? as u8;
    let algorithm = reading.number(u8::MAX.into())? as u8;
    out.extend([kind, algorithm]);
    relay_of(kind, reading, out)
}

/// `discovery-optional type relay` of an AMTRELAY record (RFC 8777 §4.3).
pub(super) fn relay(reading: &mut Reading<'_, '_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    let optional = reading.number(1)? as u8;
    let kind = reading.number(3)? as u8;
    out.push(optional << 7 | kind);
    relay_of(kind, reading, out)
}

fn relay_of(kind: u8, reading: &mut Reading<'_, '_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    match kind {
        1 => out.extend(v4(reading.next()?)?),
        2 => out.extend(v6(reading.next()?)?),
        3 => reading.name(out)?,
        _ => {
            let token = reading.next()?;
            if token.text != "." {
                return Err(wrong(token, "`.`", "type 0 stands for no gateway"));
            }
        }
    }
    Ok(())
}

/// The gateway of a kind; data that passed the check of its shape.
pub(super) fn write_relay(kind: u8, data: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match (kind, <[u8; 4]>::try_from(data), <[u8; 16]>::try_from(data)) {
        (1, Ok(octets), _) => write!(f, "{}", Ipv4Addr::from(octets)),
        (2, _, Ok(octets)) => write!(f, "{}", Ipv6Addr::from(octets)),
        (3, ..) => write!(f, "{}", name::Text(data)),
        _ => f.write_str("."),
    }
}
