//! The client-subnet option (RFC 7871): read strictly, echoed with the scope of the answer.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::ClientSubnet;

/// A client-subnet option as it came, to be echoed (RFC 7871 §7.2.1).
#[derive(Clone, Copy)]
pub(crate) struct Subnet {
    pub(crate) family: u16,
    pub(crate) source_len: u8,
    octets: [u8; 16],
}

impl Subnet {
    /// Reads the option; wrong lengths, stray bits and a scope in a query are malformed (RFC 7871 §6, §7.1.1).
    #[inline(always)]
    pub(crate) fn read(data: &[u8]) -> Option<Self> {
        let (&[f0, f1, source_len, scope], address) = data.split_first_chunk::<4>()?;
        let family = u16::from_be_bytes([f0, f1]);
        let longest = match family {
            // "No family" comes from resolvers that disclose nothing.
            0 => 0,
            1 => 32,
            2 => 128,
            _ => return None,
        };
        if scope != 0 || source_len > longest || address.len() != octets_of(source_len) {
            return None;
        }
        let stray_bits = (8 - source_len % 8) % 8;
        if address
            .last()
            .is_some_and(|last| last & !(0xFF << stray_bits) != 0)
        {
            return None;
        }
        let mut octets = [0; 16];
        octets.get_mut(..address.len())?.copy_from_slice(address);
        Some(Self {
            family,
            source_len,
            octets,
        })
    }

    /// What the answer may depend on; nothing if the client discloses nothing (SOURCE 0).
    #[inline(always)]
    pub(crate) fn client(&self) -> Option<ClientSubnet> {
        let [a, b, c, d, ..] = self.octets;
        let address = match (self.family, self.source_len) {
            (_, 0) => return None,
            (1, _) => IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
            _ => IpAddr::V6(Ipv6Addr::from(self.octets)),
        };
        Some(ClientSubnet {
            address,
            source_len: self.source_len,
        })
    }

    /// The disclosed address octets, to be echoed.
    #[inline(always)]
    pub(crate) fn address(&self) -> &[u8] {
        &self.octets[..octets_of(self.source_len).min(16)]
    }

    /// The scope of the answer: none for a client that discloses nothing, else within the family.
    pub(crate) fn scope(&self, wanted: u8) -> u8 {
        match (self.family, self.source_len) {
            (0, _) | (_, 0) => 0,
            (1, _) => wanted.min(32),
            _ => wanted.min(128),
        }
    }
}

fn octets_of(prefix_len: u8) -> usize {
    usize::from(prefix_len).div_ceil(8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_client_subnets_strictly() {
        let check = |data: &[u8], expected: Option<(&str, u8)>| {
            let read = Subnet::read(data).and_then(|subnet| subnet.client());
            let expected = expected.map(|(address, source_len)| ClientSubnet {
                address: address.parse().unwrap(),
                source_len,
            });
            assert_eq!(read, expected, "{data:?}");
        };
        check(&[0, 1, 24, 0, 198, 51, 100], Some(("198.51.100.0", 24)));
        check(&[0, 1, 20, 0, 198, 51, 0x60], Some(("198.51.96.0", 20)));
        check(&[0, 2, 32, 0, 0x20, 1, 0xd, 0xb8], Some(("2001:db8::", 32)));
        // Stray bits, too many and too few octets, a scope, too long for the family, cut header.
        check(&[0, 1, 20, 0, 198, 51, 0x64], None);
        check(&[0, 1, 24, 0, 198, 51, 100, 0], None);
        check(&[0, 1, 24, 0, 198, 51], None);
        check(&[0, 1, 24, 24, 198, 51, 100], None);
        check(&[0, 1, 33, 0, 1, 2, 3, 4, 0], None);
        check(&[0, 3, 8, 0, 1], None);
        check(&[0, 1, 24], None);
    }

    #[test]
    fn takes_source_zero_as_disclosing_nothing() {
        for data in [&[0, 0, 0, 0][..], &[0, 1, 0, 0], &[0, 2, 0, 0]] {
            let subnet = Subnet::read(data).unwrap();
            assert_eq!(subnet.client(), None);
            assert_eq!(subnet.scope(24), 0);
        }
    }
}
