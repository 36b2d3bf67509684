//! The shape of record data, one table for everything that has to know it: reading zone files,
//! checking `\#` data, compressing and finding the names inside.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::dnssec::canonical;
use crate::name;
use crate::rtype;

pub(crate) mod location;
mod sense;
pub(crate) mod svcb;
pub(crate) mod types;

pub(crate) use sense::nonsense;

/// One field of record data, in wire order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    /// A domain name.
    Name,
    /// Domain names to the end, perhaps none.
    Names,
    /// One octet, written in decimal.
    U8,
    /// Two octets, written in decimal.
    U16,
    /// Four octets, written in decimal.
    U32,
    /// One octet, written in decimal or as one of these words.
    Word8(Words),
    /// Two octets, written in decimal or as one of these words.
    Word16(Words),
    /// Four octets of seconds, written with or without units.
    Seconds,
    /// Four octets of seconds since 1970, written as a date (RFC 4034 §3.2).
    Date,
    /// A record type.
    Type,
    /// A set of record types to the end (RFC 4034 §4.1.2).
    Types,
    /// An IPv4 address.
    V4,
    /// An IPv6 address.
    V6,
    /// Eight octets, written as four groups of hexadecimal (RFC 6742).
    Groups,
    /// So many octets, written as hexadecimal pairs with hyphens (RFC 7043).
    Mac(usize),
    /// One character-string: a length octet and up to 255 octets.
    Text,
    /// One character-string or none.
    OptionalText,
    /// One or more character-strings.
    Texts,
    /// One character-string of letters and digits (RFC 8659 §4.1).
    Tag,
    /// The rest, written as one string.
    Rest,
    /// The rest, written in hexadecimal.
    Hex,
    /// The rest, written in base 64.
    Base64,
    /// The rest, perhaps nothing, written in base 64.
    OptionalBase64,
    /// A length octet and octets written in hexadecimal, none as `-` (RFC 5155 §3.3).
    Salt,
    /// A length octet and octets written in base 32 (RFC 5155 §3.3).
    Hash,
    /// A place on earth (RFC 1876).
    Location,
    /// Address prefixes to the end (RFC 3123).
    Prefixes,
    /// Type, algorithm and a gateway of that type (RFC 4025 §2).
    Gateway,
    /// A flag, a type and a relay of that type (RFC 8777 §4.2).
    Relay,
    /// Lengths, algorithm, identity tag and key (RFC 8005 §5).
    Host,
    /// Service parameters to the end (RFC 9460 §2.2).
    Parameters,
}

/// Words that stand for numbers.
pub(crate) type Words = &'static [(u16, &'static str)];

/// DNSSEC algorithms (RFC 4034 appendix A.1, and IANA's registry).
const ALGORITHMS: Words = &[
    (1, "RSAMD5"),
    (2, "DH"),
    (3, "DSA"),
    (5, "RSASHA1"),
    (6, "DSA-NSEC3-SHA1"),
    (7, "RSASHA1-NSEC3-SHA1"),
    (8, "RSASHA256"),
    (10, "RSASHA512"),
    (12, "ECC-GOST"),
    (13, "ECDSAP256SHA256"),
    (14, "ECDSAP384SHA384"),
    (15, "ED25519"),
    (16, "ED448"),
    (252, "INDIRECT"),
    (253, "PRIVATEDNS"),
    (254, "PRIVATEOID"),
];
/// Kinds of certificates (RFC 4398 §2.1).
const CERTIFICATES: Words = &[
    (1, "PKIX"),
    (2, "SPKI"),
    (3, "PGP"),
    (4, "IPKIX"),
    (5, "ISPKI"),
    (6, "IPGP"),
    (7, "ACPKIX"),
    (8, "IACPKIX"),
    (253, "URI"),
    (254, "OID"),
];
/// Ways to announce a change (RFC 9859 §2.1).
const SCHEMES: Words = &[(1, "NOTIFY")];

/// The fields of a type, or `None` for types that a zone file gives as `\# length hex` (RFC 3597).
pub(crate) fn fields(rtype: u16) -> Option<&'static [Field]> {
    use Field::*;
    const ALGORITHM: Field = Word8(ALGORITHMS);
    Some(match rtype {
        rtype::A => &[V4],
        rtype::AAAA => &[V6],
        rtype::NS | rtype::CNAME | rtype::PTR | rtype::DNAME => &[Name],
        rtype::MB | rtype::MG | rtype::MR => &[Name],
        rtype::SOA => &[Name, Name, U32, Seconds, Seconds, Seconds, Seconds],
        rtype::MX | rtype::AFSDB | rtype::RT | rtype::KX | rtype::LP => &[U16, Name],
        rtype::RP | rtype::MINFO | rtype::TALINK => &[Name, Name],
        rtype::PX => &[U16, Name, Name],
        rtype::TXT | rtype::SPF | rtype::NINFO | rtype::AVC => &[Texts],
        rtype::RESINFO | rtype::WALLET => &[Texts],
        rtype::HINFO => &[Text, Text],
        rtype::X25 => &[Text],
        rtype::ISDN => &[Text, OptionalText],
        rtype::GPOS => &[Text, Text, Text],
        rtype::LOC => &[Location],
        rtype::SRV => &[U16, U16, U16, Name],
        rtype::NAPTR => &[U16, U16, Text, Text, Text, Name],
        rtype::CAA => &[U8, Tag, Rest],
        rtype::URI => &[U16, U16, Rest],
        rtype::DS | rtype::CDS | rtype::TA | rtype::DLV => &[U16, ALGORITHM, U8, Hex],
        rtype::DNSKEY | rtype::CDNSKEY => &[U16, U8, ALGORITHM, Base64],
        rtype::KEY | rtype::RKEY => &[U16, U8, ALGORITHM, OptionalBase64],
        rtype::RRSIG => &[Type, ALGORITHM, U8, U32, Date, Date, U16, Name, Base64],
        rtype::NSEC => &[Name, Types],
        rtype::NSEC3 => &[U8, U8, U16, Salt, Hash, Types],
        rtype::NSEC3PARAM => &[U8, U8, U16, Salt],
        rtype::CSYNC => &[U32, U16, Types],
        rtype::ZONEMD => &[U32, U8, U8, Hex],
        rtype::TLSA | rtype::SMIMEA => &[U8, U8, U8, Hex],
        rtype::SSHFP => &[U8, U8, Hex],
        rtype::CERT => &[Word16(CERTIFICATES), U16, ALGORITHM, Base64],
        rtype::OPENPGPKEY | rtype::DHCID => &[Base64],
        rtype::IPSECKEY => &[U8, Gateway, OptionalBase64],
        rtype::AMTRELAY => &[U8, Relay],
        rtype::HIP => &[Host, Names],
        rtype::APL => &[Prefixes],
        rtype::SVCB | rtype::HTTPS => &[U16, Name, Parameters],
        rtype::DSYNC => &[Type, Word8(SCHEMES), U16, Name],
        rtype::NID | rtype::L64 => &[U16, Groups],
        rtype::L32 => &[U16, V4],
        rtype::EUI48 => &[Mac(6)],
        rtype::EUI64 => &[Mac(8)],
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
        let Some((_, after)) = field.split(rest) else {
            return false;
        };
        rest = after;
    }
    rest.is_empty()
}

impl Field {
    /// Parts record data behind this field; `None` if it is not well-formed.
    pub(crate) fn split(self, data: &[u8]) -> Option<(&[u8], &[u8])> {
        data.split_at_checked(self.length(data)?)
    }

    /// Octets that the field takes at the start of `data`, perhaps more than there are.
    fn length(self, data: &[u8]) -> Option<usize> {
        Some(match self {
            Field::Name => name::read(data)?.len(),
            Field::Names => lengths(data, |rest| Some(name::read(rest)?.len()))?,
            Field::U8 | Field::Word8(_) => 1,
            Field::U16 | Field::Word16(_) | Field::Type => 2,
            Field::U32 | Field::Seconds | Field::Date | Field::V4 => 4,
            Field::V6 => 16,
            Field::Groups => 8,
            Field::Mac(length) => length,
            Field::Text | Field::Salt => text_length(data)?,
            Field::OptionalText if data.is_empty() => 0,
            Field::OptionalText => text_length(data)?,
            Field::Texts if data.is_empty() => return None,
            Field::Texts => lengths(data, text_length)?,
            Field::Tag => text_length(data).filter(|&length| is_tag(data.get(1..length)))?,
            Field::Hash => text_length(data).filter(|&length| length > 1)?,
            Field::Hex | Field::Base64 if data.is_empty() => return None,
            Field::Rest | Field::Hex | Field::Base64 | Field::OptionalBase64 => data.len(),
            Field::Types => types::is_well_formed(data).then_some(data.len())?,
            Field::Location => location::is_well_formed(data).then_some(location::LENGTH)?,
            Field::Prefixes => lengths(data, |rest| Some(Prefix::read(rest)?.1))?,
            Field::Gateway => 2 + gateway_length(*data.first()?, data.get(2..)?)?,
            Field::Relay => 1 + gateway_length(*data.first()? & 0x7F, data.get(1..)?)?,
            Field::Host => Host::read(data)?.1,
            Field::Parameters => svcb::is_well_formed(data).then_some(data.len())?,
        })
    }
}

/// The sum of the lengths of items to the end.
fn lengths(data: &[u8], length: impl Fn(&[u8]) -> Option<usize>) -> Option<usize> {
    let mut at = 0;
    while at < data.len() {
        at += length(data.get(at..)?)?;
    }
    Some(at)
}

fn text_length(data: &[u8]) -> Option<usize> {
    data.first().map(|&length| 1 + usize::from(length))
}

fn is_tag(octets: Option<&[u8]>) -> bool {
    octets.is_some_and(|tag| !tag.is_empty() && tag.iter().all(u8::is_ascii_alphanumeric))
}

/// Octets of a gateway (RFC 4025 §2.3) or relay (RFC 8777 §4.2.3) of this type.
fn gateway_length(kind: u8, data: &[u8]) -> Option<usize> {
    match kind {
        0 => Some(0),
        1 => Some(4),
        2 => Some(16),
        3 => name::read(data).map(<[u8]>::len),
        _ => None,
    }
}

/// One item of an APL record (RFC 3123 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Prefix<'a> {
    /// 1 for IPv4, 2 for IPv6.
    pub(crate) family: u16,
    pub(crate) length: u8,
    pub(crate) negated: bool,
    /// The address without its trailing zero octets.
    pub(crate) address: &'a [u8],
}

impl<'a> Prefix<'a> {
    /// The item at the start of `data`, and how many octets it takes.
    pub(crate) fn read(data: &'a [u8]) -> Option<(Self, usize)> {
        let (&[f0, f1, length, octets], rest) = data.split_first_chunk::<4>()?;
        let address = rest.get(..usize::from(octets & 0x7F))?;
        let family = u16::from_be_bytes([f0, f1]);
        let longest = match family {
            1 => 4,
            2 => 16,
            _ => return None,
        };
        let fits = usize::from(length) <= longest * 8 && address.len() <= longest;
        let item = Self {
            family,
            length,
            negated: octets & 0x80 != 0,
            address,
        };
        (fits && address.last() != Some(&0)).then_some((item, 4 + address.len()))
    }
}

/// What stands in front of the rendezvous servers of a HIP record (RFC 8005 §5).
pub(crate) struct Host<'a> {
    pub(crate) algorithm: u8,
    pub(crate) identity: &'a [u8],
    pub(crate) key: &'a [u8],
}

impl<'a> Host<'a> {
    /// The part at the start of `data`, and how many octets it takes.
    pub(crate) fn read(data: &'a [u8]) -> Option<(Self, usize)> {
        let (&[identity, algorithm, k0, k1], rest) = data.split_first_chunk::<4>()?;
        let key = usize::from(u16::from_be_bytes([k0, k1]));
        let (identity, rest) = rest.split_at_checked(usize::from(identity))?;
        let key = rest.get(..key)?;
        let length = 4 + identity.len() + key.len();
        let host = Self {
            algorithm,
            identity,
            key,
        };
        (!host.identity.is_empty() && !host.key.is_empty()).then_some((host, length))
    }
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

/// True if two records of a type say the same (RFC 2181 §5): the case of names makes no difference.
pub(crate) fn is_same(rtype: u16, one: &[u8], other: &[u8]) -> bool {
    if !one.eq_ignore_ascii_case(other) || one == other {
        return one == other;
    }
    canonical_form(rtype, one) == canonical_form(rtype, other)
}

/// A copy with names in lower case where the canonical form has them so.
pub(crate) fn canonical_form(rtype: u16, data: &[u8]) -> Vec<u8> {
    let mut copy = Vec::with_capacity(data.len());
    canonical::push(rtype, data, &mut copy);
    copy
}

/// The host a record points to, whose addresses belong in the additional section.
pub(crate) fn additional_target(rtype: u16, data: &[u8]) -> Option<&[u8]> {
    let at = match rtype {
        rtype::NS => 0,
        rtype::MX => 2,
        rtype::SRV => 6,
        // In RFC 9460 §4.1 a SHOULD; the owner itself, written `.`, is left to the client.
        rtype::SVCB | rtype::HTTPS => return name::read(data.get(2..)?),
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
        check(rtype::CAA, b"\0\x05issue;", true);
        check(rtype::CAA, b"\0\x05is-ue;", false);
        check(rtype::CAA, b"\0\0;", false);
        check(rtype::HIP, b"\x01\x02\0\x01hk\x01a\0", true);
        check(rtype::HIP, b"\x01\x02\0\x02hk", false);
        check(rtype::IPSECKEY, b"\x0a\x01\x02\xc0\0\x02\x01key", true);
        check(rtype::IPSECKEY, b"\x0a\x04\x02key", false);
        check(rtype::AMTRELAY, b"\x0a\x83\x01a\0", true);
        check(rtype::APL, b"\0\x01\x15\x03\xc0\xa8\x20", true);
        check(rtype::APL, b"\0\x01\x15\x03\xc0\xa8\0", false);
        check(rtype::APL, b"\0\x01\x21\0", false);
        check(rtype::APL, b"", true);
        check(rtype::ISDN, b"\x011", true);
        check(rtype::ISDN, b"\x011\x012", true);
        check(rtype::ISDN, b"\x011\x012\0", false);
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
