//! The client-id label: a client's network spelled as one DNS label, put in front of a service by a
//! player whose resolver passes no client subnet on. `ip4-198-51-100-0-24` is 198.51.100.0/24 and
//! `ip6-2001-db8-0-0-0-0-0-0-56` is 2001:db8::/56. Each network has exactly one spelling, so that
//! caches keep one entry for it; everything else is mangled and does not exist (NXDOMAIN).

use std::{
    fmt::Write,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use dns_engine::HashedName;
use traffic_map::Subnet;

const IPV4_MARK: &[u8; 4] = b"ip4-";
const IPV6_MARK: &[u8; 4] = b"ip6-";

/// What a label says about the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientLabel {
    /// It carries none of the marks: an ordinary label.
    Ordinary,
    /// It carries a mark, and what follows is not a network in its one spelling.
    Mangled,
    /// The client's network.
    Network(Subnet),
}

/// Reads a label (without its length octet, letters of either case).
///
/// Numbers have no leading zeros, the prefix length is within the family's limit, and no bit past it
/// is set.
pub fn read(label: &[u8]) -> ClientLabel {
    let Some((mark, text)) = label.split_first_chunk::<4>() else {
        return ClientLabel::Ordinary;
    };
    let network = match &mark.map(|octet| octet.to_ascii_lowercase()) {
        IPV4_MARK => ipv4(text),
        IPV6_MARK => ipv6(text),
        _ => return ClientLabel::Ordinary,
    };
    network.map_or(ClientLabel::Mangled, ClientLabel::Network)
}

/// True if a lower-cased label carries a mark: it is not an ordinary one.
#[inline]
pub fn is_marked(label: &[u8]) -> bool {
    matches!(label.first_chunk(), Some(IPV4_MARK | IPV6_MARK))
}

/// True if some label of a name carries a mark.
pub fn is_in(name: &HashedName) -> bool {
    (0..name.label_count()).any(|place| is_marked(name.label(place)))
}

/// Spells a network as a label; bits past the prefix length are cleared.
pub fn write(subnet: Subnet) -> String {
    let mut label = String::new();
    match subnet.address {
        IpAddr::V4(address) => {
            let length = subnet.len.min(32);
            label.push_str("ip4");
            for octet in Ipv4Addr::from(address.to_bits() & mask_v4(length)).octets() {
                let _ = write!(label, "-{octet}"); // a String takes every write
            }
            let _ = write!(label, "-{length}");
        }
        IpAddr::V6(address) => {
            let length = subnet.len.min(128);
            label.push_str("ip6");
            for group in Ipv6Addr::from(address.to_bits() & mask_v6(length)).segments() {
                let _ = write!(label, "-{group:x}");
            }
            let _ = write!(label, "-{length}");
        }
    }
    label
}

fn ipv4(text: &[u8]) -> Option<Subnet> {
    let mut fields = text.split(|&octet| octet == b'-');
    let mut octets = [0u8; 4];
    for octet in &mut octets {
        *octet = u8::try_from(number(fields.next()?, 10, 3)?).ok()?;
    }
    let length = u8::try_from(number(fields.next()?, 10, 2)?).ok()?;
    let address = Ipv4Addr::from(octets);
    let whole = fields.next().is_none() && length <= 32;
    (whole && address.to_bits() & !mask_v4(length) == 0).then_some(Subnet {
        address: IpAddr::V4(address),
        len: length,
    })
}

fn ipv6(text: &[u8]) -> Option<Subnet> {
    let mut fields = text.split(|&octet| octet == b'-');
    let mut groups = [0u16; 8];
    for group in &mut groups {
        *group = number(fields.next()?, 16, 4)?;
    }
    let length = u8::try_from(number(fields.next()?, 10, 3)?).ok()?;
    let address = Ipv6Addr::from(groups);
    let whole = fields.next().is_none() && length <= 128;
    (whole && address.to_bits() & !mask_v6(length) == 0).then_some(Subnet {
        address: IpAddr::V6(address),
        len: length,
    })
}

/// A number of at most `digits_max` digits, without leading zeros.
fn number(text: &[u8], radix: u32, digits_max: usize) -> Option<u16> {
    let padded = text.len() > 1 && text.first() == Some(&b'0');
    if text.is_empty() || text.len() > digits_max || padded {
        return None;
    }
    text.iter()
        .try_fold(0u32, |sum, &octet| {
            Some(sum * radix + char::from(octet).to_digit(radix)?)
        })
        .and_then(|sum| u16::try_from(sum).ok())
}

fn mask_v4(length: u8) -> u32 {
    u32::MAX
        .checked_shl(32 - u32::from(length.min(32)))
        .unwrap_or(0)
}

fn mask_v6(length: u8) -> u128 {
    u128::MAX
        .checked_shl(128 - u32::from(length.min(128)))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> ClientLabel {
        let (address, len) = text.split_once('/').unwrap();
        ClientLabel::Network(Subnet {
            address: address.parse().unwrap(),
            len: len.parse().unwrap(),
        })
    }

    #[test]
    fn reads_both_families_in_either_case() {
        for (label, expected) in [
            ("ip4-198-51-100-0-24", "198.51.100.0/24"),
            ("IP4-198-51-100-7-32", "198.51.100.7/32"),
            ("ip4-0-0-0-0-0", "0.0.0.0/0"),
            ("ip6-2001-db8-0-0-0-0-0-0-56", "2001:db8::/56"),
            ("Ip6-2001-DB8-0-aB00-0-0-0-0-56", "2001:db8:0:ab00::/56"),
            ("ip6-0-0-0-0-0-0-0-1-128", "::1/128"),
        ] {
            assert_eq!(read(label.as_bytes()), network(expected), "{label}");
        }
    }

    #[test]
    fn refuses_everything_that_is_not_the_one_spelling() {
        for label in [
            "ip4-",
            "ip4-198-51-100-0",
            "ip4-198-51-100-0-24-1",
            "ip4-198-51-100-1-24",  // host bits
            "ip4-198-51-100-0-33",  // length past the family's
            "ip4-198-51-256-0-24",  // octet past 255
            "ip4-198-051-100-0-24", // leading zero
            "ip4-198-51-100-0-024",
            "ip4-198--100-0-24",
            "ip4-198-51-100-x-24",
            "ip4-+98-51-100-0-24",
            "ip6-2001-db8-0-0-0-0-0-0-129",
            "ip6-2001-db8-0-0-0-0-0-1-56", // host bits
            "ip6-2001-0db8-0-0-0-0-0-0-56",
            "ip6-2001-db8-0-0-0-0-0-56", // seven groups
            "ip6-2001-db8--56",
            "ip6-12001-db8-0-0-0-0-0-0-56",
        ] {
            assert_eq!(read(label.as_bytes()), ClientLabel::Mangled, "{label}");
        }
        for label in ["", "ip4", "live", "_tcp", "ip5-1-2-3-0-24"] {
            assert_eq!(read(label.as_bytes()), ClientLabel::Ordinary, "{label}");
        }
        assert_eq!(read(&[0xff; 63]), ClientLabel::Ordinary);
        assert_eq!(read(b"ip4-\xff-1-1-0-24"), ClientLabel::Mangled);
    }

    #[test]
    fn what_is_written_is_read_back_and_fits_a_label() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64; // xorshift: the same networks in every run
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        for _ in 0..2_000 {
            let wide = u128::from(next()) << 64 | u128::from(next());
            let v4 = (next() % 33) as u8;
            let v6 = (next() % 129) as u8;
            let cleared = [
                (
                    IpAddr::V4(Ipv4Addr::from_bits(wide as u32 & mask_v4(v4))),
                    v4,
                ),
                (IpAddr::V6(Ipv6Addr::from_bits(wide & mask_v6(v6))), v6),
            ];
            for (address, len) in cleared {
                let subnet = Subnet { address, len };
                let label = write(subnet);
                assert!(label.len() <= 63, "{label}");
                assert_eq!(
                    read(label.as_bytes()),
                    ClientLabel::Network(subnet),
                    "{label}"
                );
            }
        }
    }
}
