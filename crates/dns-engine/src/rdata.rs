//! The shape of record data, one table for everything that has to know it: reading zone files,
//! checking `\#` data, compressing and finding the names inside.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::name;
use crate::rtype;

/// One field of record data, in wire order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    /// A domain name.
    Name,
    /// One octet, written in decimal.
    U8,
    /// Two octets, written in decimal.
    U16,
    /// Four octets, written in decimal.
    U32,
    /// Four octets of seconds, written with or without units.
    Seconds,
    /// An IPv4 address.
    V4,
    /// An IPv6 address.
    V6,
    /// One character-string: a length octet and up to 255 octets.
    Text,
    /// One or more character-strings.
    Texts,
    /// The rest, written as one string.
    Rest,
    /// The rest, written in hexadecimal.
    Hex,
    /// The rest, written in base 64.
    Base64,
}

/// The fields of a type, or `None` for types that a zone file gives as `\# length hex` (RFC 3597).
pub(crate) fn fields(rtype: u16) -> Option<&'static [Field]> {
    use Field::*;
    Some(match rtype {
        rtype::A => &[V4],
        rtype::AAAA => &[V6],
        rtype::NS | rtype::CNAME | rtype::PTR | rtype::DNAME => &[Name],
        rtype::SOA => &[Name, Name, U32, Seconds, Seconds, Seconds, Seconds],
        rtype::MX => &[U16, Name],
        rtype::TXT | rtype::SPF => &[Texts],
        rtype::HINFO => &[Text, Text],
        rtype::SRV => &[U16, U16, U16, Name],
        rtype::NAPTR => &[U16, U16, Text, Text, Text, Name],
        rtype::CAA => &[U8, Text, Rest],
        rtype::URI => &[U16, U16, Rest],
        rtype::DS | rtype::CDS => &[U16, U8, U8, Hex],
        rtype::DNSKEY | rtype::CDNSKEY => &[U16, U8, U8, Base64],
        rtype::TLSA | rtype::SMIMEA => &[U8, U8, U8, Hex],
        rtype::SSHFP => &[U8, U8, Hex],
        _ => return None,
    })
}

/// True if `data` has the shape of its type; types without a table have any shape.
pub(crate) fn is_well_formed(rtype: u16, data: &[u8]) -> bool {
    let Some(fields) = fields(rtype) else {
        return true;
    };
    let mut rest = data;
    for field in fields {
        let Some(length) = field_length(*field, rest) else {
            return false;
        };
        let Some(after) = rest.get(length..) else {
            return false;
        };
        rest = after;
    }
    rest.is_empty()
}

fn field_length(field: Field, rest: &[u8]) -> Option<usize> {
    match field {
        Field::Name => name::read(rest).map(<[u8]>::len),
        Field::U8 => Some(1),
        Field::U16 => Some(2),
        Field::U32 | Field::Seconds | Field::V4 => Some(4),
        Field::V6 => Some(16),
        Field::Text => rest.first().map(|&length| 1 + usize::from(length)),
        Field::Texts => texts_length(rest),
        Field::Rest | Field::Hex | Field::Base64 => Some(rest.len()),
    }
}

fn texts_length(data: &[u8]) -> Option<usize> {
    let mut at = 0;
    while at == 0 || at < data.len() {
        at += 1 + usize::from(*data.get(at)?);
    }
    Some(at)
}

/// Where a type has names that may be compressed: octets in front of them, and how many names.
/// Only types of RFC 1035 qualify (RFC 3597 §4); SRV targets stay whole (RFC 2782).
pub(crate) fn compressible(rtype: u16) -> Option<(usize, usize)> {
    match rtype {
        rtype::NS | rtype::CNAME | rtype::PTR => Some((0, 1)),
        rtype::MX => Some((2, 1)),
        rtype::SOA => Some((0, 2)),
        _ => None,
    }
}

/// The host a record points to, whose addresses belong in the additional section.
pub(crate) fn additional_target(rtype: u16, data: &[u8]) -> Option<&[u8]> {
    let at = match rtype {
        rtype::NS => 0,
        rtype::MX => 2,
        rtype::SRV => 6,
        _ => return None,
    };
    data.get(at..)
}

/// The fields of an SRV record (RFC 2782).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Srv<'a> {
    /// Lower is tried first.
    pub priority: u16,
    /// Share among records of one priority.
    pub weight: u16,
    /// Port of the service.
    pub port: u16,
    /// Wire name of the host, in the case it was written.
    pub target: &'a [u8],
}

impl<'a> Srv<'a> {
    /// Reads record data of type SRV.
    pub fn read(data: &'a [u8]) -> Option<Self> {
        let (numbers, target) = data.split_first_chunk::<6>()?;
        let [p0, p1, w0, w1, o0, o1] = *numbers;
        Some(Self {
            priority: u16::from_be_bytes([p0, p1]),
            weight: u16::from_be_bytes([w0, w1]),
            port: u16::from_be_bytes([o0, o1]),
            target: name::read(target)?,
        })
    }
}

/// The address in record data of type A.
pub fn a(data: &[u8]) -> Option<Ipv4Addr> {
    <[u8; 4]>::try_from(data).ok().map(Ipv4Addr::from)
}

/// The address in record data of type AAAA.
pub fn aaaa(data: &[u8]) -> Option<Ipv6Addr> {
    <[u8; 16]>::try_from(data).ok().map(Ipv6Addr::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_whole_data_from_cut_and_overlong_data() {
        let check = |rtype, data: &[u8], expected| {
            assert_eq!(is_well_formed(rtype, data), expected, "{rtype} {data:?}");
        };
        check(rtype::A, &[1, 2, 3, 4], true);
        check(rtype::A, &[1, 2, 3], false);
        check(rtype::A, &[1, 2, 3, 4, 5], false);
        check(rtype::MX, b"\0\x0a\x01a\0", true);
        check(rtype::MX, b"\0\x0a\x01a", false);
        check(rtype::TXT, b"\x01a\x02bc", true);
        check(rtype::TXT, b"\x01a\x02b", false);
        check(rtype::TXT, b"", false);
        check(rtype::TXT, b"\0", true);
        check(65280, b"anything", true);
    }

    #[test]
    fn reads_an_srv_record() {
        let data = b"\0\x01\0\x02\x02\x2a\x01a\0";
        let srv = Srv::read(data).unwrap();
        assert_eq!(
            (srv.priority, srv.weight, srv.port, srv.target),
            (1, 2, 554, &b"\x01a\0"[..])
        );
        assert_eq!(Srv::read(&data[..7]), None);
    }
}
