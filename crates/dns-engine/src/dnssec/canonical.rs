//! Canonical record data: what is signed has the names inside in lower case (RFC 4034 §6.2 as corrected
//! by RFC 6840 §5.1). This list is frozen; types that came later keep their case.

use crate::name;
use crate::rtype;

/// Where the names of a type are that get lower case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Names {
    /// This many octets, then this many names.
    After(usize, usize),
    /// Four octets, three character-strings, one name (RFC 3403 §4.1).
    Naptr,
    /// A prefix length, the rest of an address, and one name unless the prefix is empty (RFC 2874 §3.1.1).
    A6,
}

fn names(rtype: u16) -> Option<Names> {
    /// Types that have no constant, as zone files give their data in octets only.
    const MD: u16 = 3;
    const MF: u16 = 4;
    const SIG: u16 = 24;
    const NXT: u16 = 30;
    const A6: u16 = 38;
    Some(match rtype {
        rtype::NS | rtype::CNAME | rtype::PTR | rtype::DNAME => Names::After(0, 1),
        MD | MF | NXT | rtype::MB | rtype::MG | rtype::MR => Names::After(0, 1),
        rtype::SOA | rtype::MINFO | rtype::RP => Names::After(0, 2),
        rtype::MX | rtype::AFSDB | rtype::RT | rtype::KX => Names::After(2, 1),
        rtype::PX => Names::After(2, 2),
        rtype::SRV => Names::After(6, 1),
        SIG => Names::After(18, 1),
        rtype::NAPTR => Names::Naptr,
        A6 => Names::A6,
        _ => return None,
    })
}

/// Appends the canonical form of record data. What does not have the shape of its type stays as it is.
pub(crate) fn push(rtype: u16, data: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(data);
    let Some((mut at, count)) = names(rtype).and_then(|names| find(names, data)) else {
        return;
    };
    for _ in 0..count {
        let Some(name) = data.get(at..).and_then(name::read) else {
            return;
        };
        let end = at + name.len();
        out[start + at..start + end].make_ascii_lowercase();
        at = end;
    }
}

/// Where the first name is, and how many there are.
fn find(names: Names, data: &[u8]) -> Option<(usize, usize)> {
    match names {
        Names::After(octets, count) => Some((octets, count)),
        Names::Naptr => {
            let mut at = 4;
            for _ in 0..3 {
                at += 1 + usize::from(*data.get(at)?);
            }
            Some((at, 1))
        }
        Names::A6 => {
            let prefix = usize::from(*data.first()?);
            let address = 128_usize.checked_sub(prefix)?.div_ceil(8);
            Some((1 + address, usize::from(prefix > 0)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rtype: u16, data: &[u8], expected: &[u8]) {
        let mut out = b"before".to_vec();
        push(rtype, data, &mut out);
        assert_eq!(&out[6..], expected, "type {rtype}");
    }

    #[test]
    fn names_inside_get_lower_case_in_the_listed_types_only() {
        check(rtype::NS, b"\x01A\x02Bc\0", b"\x01a\x02bc\0");
        check(rtype::MX, b"AZ\x01A\0", b"AZ\x01a\0");
        check(rtype::SRV, b"ABCDEF\x01A\0", b"ABCDEF\x01a\0");
        check(rtype::SOA, b"\x01A\0\x01B\0ABCD", b"\x01a\0\x01b\0ABCD");
        check(
            rtype::NAPTR,
            b"\0A\0B\x01S\x00\x02RE\x01A\0",
            b"\0A\0B\x01S\x00\x02RE\x01a\0",
        );
        check(38, b"\x78A\x01A\0", b"\x78A\x01a\0");
        check(38, b"\0ABCDEFGHIJKLMNOP", b"\0ABCDEFGHIJKLMNOP");
        for rtype in [rtype::TXT, rtype::NSEC, rtype::SVCB, rtype::HTTPS, 65280] {
            check(rtype, b"\x01A\x02Bc\0", b"\x01A\x02Bc\0");
        }
    }

    #[test]
    fn data_of_another_shape_stays_as_it_is() {
        check(rtype::NS, b"\x02A", b"\x02A");
        check(rtype::MX, b"A", b"A");
        check(rtype::NAPTR, b"\0A\0B\xff", b"\0A\0B\xff");
        check(38, b"\xffA", b"\xffA");
        check(38, b"", b"");
    }
}
