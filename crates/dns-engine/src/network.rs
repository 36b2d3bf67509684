//! Address prefixes, to say which clients a rule is for.

use std::net::IpAddr;
use std::str::FromStr;

/// Addresses with a common prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix_len: u8,
}

impl Network {
    /// A network; `None` if the prefix is longer than the address. Bits behind it do not matter.
    pub fn new(address: IpAddr, prefix_len: u8) -> Option<Self> {
        let network = Self {
            address,
            prefix_len,
        };
        (prefix_len <= Self::of(address).prefix_len).then_some(network)
    }

    /// One address.
    pub fn of(address: IpAddr) -> Self {
        let prefix_len = if address.is_ipv4() { 32 } else { 128 };
        Self {
            address,
            prefix_len,
        }
    }

    /// True if the address lies inside; an IPv4 address mapped into IPv6 counts as the IPv4 address.
    #[inline]
    pub fn contains(&self, address: IpAddr) -> bool {
        let shared = match (self.address, address) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                (ours.to_bits() ^ theirs.to_bits()).leading_zeros()
            }
            (ours, IpAddr::V6(theirs)) => match (ours, theirs.to_canonical()) {
                (IpAddr::V4(_), canonical @ IpAddr::V4(_)) => return self.contains(canonical),
                (IpAddr::V6(ours), IpAddr::V6(theirs)) => {
                    (ours.to_bits() ^ theirs.to_bits()).leading_zeros()
                }
                _ => return false,
            },
            _ => return false,
        };
        shared >= self.prefix_len.into()
    }
}

/// The text is no network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected an address, or a network such as 192.0.2.0/24 or 2001:db8::/32")]
pub struct NetworkError;

impl FromStr for Network {
    type Err = NetworkError;

    /// Reads `192.0.2.0/24`, or an address alone.
    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let network = match text.split_once('/') {
            None => text.parse().ok().map(Self::of),
            Some((address, length)) => address
                .parse()
                .ok()
                .zip(length.parse().ok())
                .and_then(|(address, length)| Self::new(address, length)),
        };
        network.ok_or(NetworkError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_holds_the_addresses_of_its_prefix() {
        let check = |network: &str, address: &str, expected: bool| {
            let network: Network = network.parse().unwrap();
            assert_eq!(network.contains(address.parse().unwrap()), expected);
        };
        check("192.0.2.0/24", "192.0.2.255", true);
        check("192.0.2.0/24", "192.0.3.0", false);
        check("192.0.2.0/24", "::ffff:192.0.2.7", true);
        check("192.0.2.7", "192.0.2.7", true);
        check("192.0.2.7", "192.0.2.6", false);
        check("0.0.0.0/0", "203.0.113.1", true);
        check("0.0.0.0/0", "2001:db8::1", false);
        check("2001:db8::/32", "2001:db8:ffff::1", true);
        check("2001:db8::/33", "2001:db8:ffff::1", false);
        check("::/0", "2001:db8::1", true);
        check("::/0", "::ffff:192.0.2.7", false);
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in [
            "",
            "192.0.2.0/33",
            "::/129",
            "192.0.2.0/",
            "192.0.2/24",
            "a/8",
            "1.2.3.4/-1",
        ] {
            assert_eq!(text.parse::<Network>(), Err(NetworkError), "{text}");
        }
    }
}
