//! A client network and the arithmetic of scopes on address keys.
//!
//! Keys are the part of an address that the map can tell apart: all 32 bits of IPv4, the top 64 of IPv6.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A client network: an address and how many of its leading bits count. Bits past `len` are ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subnet {
    /// Any address of the network.
    pub address: IpAddr,
    /// Leading bits that count: 0 to 32 (IPv4) or 0 to 128 (IPv6); more is read as the maximum.
    pub len: u8,
}

impl Subnet {
    /// The network of one address.
    pub fn host(address: IpAddr) -> Subnet {
        let len = if address.is_ipv4() { 32 } else { 128 };
        Subnet { address, len }
    }

    /// Its first and last address.
    pub fn bounds(self) -> (IpAddr, IpAddr) {
        let normal = self.normalized();
        let last = match normal.address {
            IpAddr::V4(address) => {
                IpAddr::V4(Ipv4Addr::from(u32::from(address) | !mask32(normal.len)))
            }
            IpAddr::V6(address) => {
                let rest = u128::MAX.checked_shr(u32::from(normal.len)).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from(u128::from(address) | rest))
            }
        };
        (normal.address, last)
    }

    /// The same network with the bits past `len` cleared and `len` within its family.
    pub fn normalized(self) -> Subnet {
        match self.address {
            IpAddr::V4(address) => {
                let len = self.len.min(32);
                let bits = u32::from(address) & mask32(len);
                Subnet {
                    address: IpAddr::V4(Ipv4Addr::from(bits)),
                    len,
                }
            }
            IpAddr::V6(address) => {
                let len = self.len.min(128);
                let mask = u128::MAX.checked_shl(128 - u32::from(len)).unwrap_or(0);
                let bits = u128::from(address) & mask;
                Subnet {
                    address: IpAddr::V6(Ipv6Addr::from(bits)),
                    len,
                }
            }
        }
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let normal = self.normalized();
        write!(f, "{}/{}", normal.address, normal.len)
    }
}

/// Why a text is no network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubnetError {
    /// Neither an IPv4 nor an IPv6 address before the slash.
    #[error("`{0}` is not an IP address")]
    Address(String),
    /// The number behind the slash is missing, no number, or too large for the family.
    #[error("`{0}` is not a prefix length of 0 to {1}")]
    Length(String, u8),
}

/// Reads `address/length`, or a bare address as the network of that one address.
impl FromStr for Subnet {
    type Err = SubnetError;

    fn from_str(text: &str) -> Result<Subnet, SubnetError> {
        let (address_text, len_text) = match text.split_once('/') {
            Some((address, len)) => (address, Some(len)),
            None => (text, None),
        };
        let address: IpAddr = address_text
            .parse()
            .map_err(|_| SubnetError::Address(address_text.to_owned()))?;
        let len_max = if address.is_ipv4() { 32 } else { 128 };
        let len = match len_text {
            None => len_max,
            Some(text) => match text.parse::<u8>() {
                Ok(len) if len <= len_max => len,
                _ => return Err(SubnetError::Length(text.to_owned(), len_max)),
            },
        };
        Ok(Subnet { address, len })
    }
}

/// `::ffff:0:0/96`, the block of IPv4 addresses written as IPv6 ones (RFC 4291 §2.5.5.2).
const MAPPED: (u128, u8) = (0xffff_0000_0000, 96);

/// The shortest scope around an IPv6 address outside the mapped block that keeps that block out: mapped addresses are
/// answered as IPv4 ones, so no block of other answers may cover them.
pub(crate) fn beside_mapped(address: Ipv6Addr) -> u8 {
    let shared = (address.to_bits() ^ MAPPED.0).leading_zeros() as u8; // at most 128
    1 + shared.min(MAPPED.1 - 1)
}

fn mask32(len: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(len)).unwrap_or(0)
}

/// What the range table needs from an address key: `u32` for IPv4, `u64` for the top half of IPv6.
pub(crate) trait Key: Copy + Ord + Default + fmt::Debug {
    const BITS: u8;
    const MAX: Self;
    fn to_u64(self) -> u64;
    fn trailing_zeros(self) -> u8;
    /// The top 16 bits, the index of the first-level table.
    fn top16(self) -> usize;
    fn next(self) -> Option<Self>;
    fn previous(self) -> Option<Self>;
    /// The last key of the aligned block of length `len` that begins at `self`.
    fn block_end(self, len: u8) -> Self;
    /// The first key of the aligned block of length `len` around `self`.
    fn block_start(self, len: u8) -> Self;
    /// The length of the largest aligned block around `self` that lies inside `[start, end]`.
    ///
    /// The block must differ from the nearest foreign key on each side, `start - 1` and `end + 1`. The key that is
    /// nearer differs from `self` by the smaller number, and in the first bit of that. At an end of the address
    /// space there is no neighbour: what stands for it differs in a bit before the first one.
    /// Disjoint ranges give disjoint blocks, as RFC 7871 §7.2.1 demands.
    fn scope(self, start: Self, end: Self) -> u8;
}

macro_rules! key {
    ($type:ty, $wider:ty, $bits:expr) => {
        impl Key for $type {
            const BITS: u8 = $bits;
            const MAX: Self = <$type>::MAX;
            #[inline]
            fn to_u64(self) -> u64 {
                u64::from(self)
            }
            #[inline]
            fn trailing_zeros(self) -> u8 {
                <$type>::trailing_zeros(self) as u8
            }
            #[inline]
            fn top16(self) -> usize {
                (self >> ($bits - 16)) as usize
            }
            #[inline]
            fn next(self) -> Option<Self> {
                self.checked_add(1)
            }
            #[inline]
            fn previous(self) -> Option<Self> {
                self.checked_sub(1)
            }
            #[inline]
            fn block_end(self, len: u8) -> Self {
                self | <$type>::MAX.checked_shr(u32::from(len)).unwrap_or(0)
            }
            #[inline]
            fn block_start(self, len: u8) -> Self {
                self & !<$type>::MAX.checked_shr(u32::from(len)).unwrap_or(0)
            }
            #[inline]
            fn scope(self, start: Self, end: Self) -> u8 {
                let key = <$wider>::from(self);
                let below = key ^ <$wider>::from(start).wrapping_sub(1);
                let above = key ^ (<$wider>::from(end) + 1);
                let shared = below.min(above).leading_zeros() + 1;
                shared.saturating_sub(<$wider>::BITS - $bits) as u8
            }
        }
    };
}

key!(u32, u64, 32);
key!(u64, u128, 64);

/// The address of an IPv4 key.
pub(crate) fn v4_address(key: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from(key))
}

/// The first address of an IPv6 key.
pub(crate) fn v6_first(key: u64) -> IpAddr {
    IpAddr::V6(Ipv6Addr::from(u128::from(key) << 64))
}

/// The last address of an IPv6 key.
pub(crate) fn v6_last(key: u64) -> IpAddr {
    IpAddr::V6(Ipv6Addr::from(
        (u128::from(key) << 64) | u128::from(u64::MAX),
    ))
}

/// The key of an IPv6 address: its top 64 bits.
pub(crate) fn v6_key(address: Ipv6Addr) -> u64 {
    (u128::from(address) >> 64) as u64
}

/// The largest aligned blocks that together are exactly `[start, end]`, in order.
pub(crate) fn blocks<K: Key>(start: K, end: K) -> impl Iterator<Item = (K, u8)> {
    let mut next = Some(start);
    std::iter::from_fn(move || {
        let first = next.filter(|first| *first <= end)?;
        let mut len = K::BITS - first.trailing_zeros().min(K::BITS);
        while first.block_end(len) > end {
            len += 1;
        }
        next = first.block_end(len).next();
        Some((first, len))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        assert_eq!(text.parse::<Subnet>().unwrap().to_string(), expected);
    }

    #[test]
    fn reads_networks_and_bare_addresses() {
        check("198.51.100.7/24", "198.51.100.0/24");
        check("198.51.100.7", "198.51.100.7/32");
        check("0.0.0.0/0", "0.0.0.0/0");
        check("2001:db8::1/56", "2001:db8::/56");
        check("2001:db8::1", "2001:db8::1/128");
    }

    #[test]
    fn refuses_what_is_no_network() {
        for text in [
            "",
            "x",
            "1.2.3/8",
            "1.2.3.4/33",
            "1.2.3.4/",
            "::/129",
            "::/-1",
            "1.2.3.4/8/8",
        ] {
            assert!(text.parse::<Subnet>().is_err(), "{text}");
        }
    }

    #[test]
    fn scope_is_the_largest_block_inside_the_range() {
        // 10.0.0.0 to 10.0.2.255: a /23 and a /24.
        let (start, end) = (0x0a00_0000_u32, 0x0a00_02ff);
        assert_eq!(0x0a00_0001_u32.scope(start, end), 23);
        assert_eq!(0x0a00_0201_u32.scope(start, end), 24);
        assert_eq!(7_u32.scope(0, u32::MAX), 0);
        assert_eq!(u64::MAX.scope(1 << 63, u64::MAX), 1);
    }

    #[test]
    fn blocks_cover_a_range_exactly() {
        let all: Vec<_> = blocks(0x0a00_0100_u32, 0x0a00_04ff).collect();
        assert_eq!(
            all,
            [(0x0a00_0100, 24), (0x0a00_0200, 23), (0x0a00_0400, 24)]
        );
        assert_eq!(blocks(0_u32, u32::MAX).collect::<Vec<_>>(), [(0, 0)]);
        assert_eq!(
            blocks(u64::MAX, u64::MAX).collect::<Vec<_>>(),
            [(u64::MAX, 64)]
        );
    }
}
