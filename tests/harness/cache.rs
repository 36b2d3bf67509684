//! What a resolver's cache would keep of answers that depend on the client's network (RFC 7871 §7.3.1).

use std::net::{IpAddr, Ipv4Addr};

use traffic_map::Subnet;

/// `::ffff:0:0/96`, IPv4 addresses written as IPv6 ones (RFC 4291 §2.5.5.2).
pub const MAPPED: Block = Block {
    family: 6,
    first: 0xffff_0000_0000,
    last: 0xffff_ffff_ffff,
};

/// Addresses that one answer is kept for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Block {
    /// 4 or 6. Blocks of different families have nothing in common.
    pub family: u8,
    /// First address, as a number.
    pub first: u128,
    /// Last address, as a number.
    pub last: u128,
}

impl Block {
    /// The block of `scope` bits around a client.
    pub fn of(client: Subnet, scope: u8) -> Self {
        let network = Subnet {
            len: scope,
            ..client
        };
        let (first, last) = network.bounds();
        Self::from_range(first, last)
    }

    /// All addresses from `first` to `last`, which are of one family.
    pub fn from_range(first: IpAddr, last: IpAddr) -> Self {
        let number = |address: IpAddr| match address {
            IpAddr::V4(address) => u128::from(address.to_bits()),
            IpAddr::V6(address) => address.to_bits(),
        };
        Self {
            family: if first.is_ipv4() { 4 } else { 6 },
            first: number(first),
            last: number(last),
        }
    }

    /// The same addresses, IPv4 ones written as IPv6.
    pub fn in_ipv6(self) -> Self {
        let mapped = |number: u128| Ipv4Addr::from_bits(number as u32).to_ipv6_mapped();
        match self.family {
            4 => Self::from_range(mapped(self.first).into(), mapped(self.last).into()),
            _ => self,
        }
    }

    /// True if every address of the other block is in this one.
    pub fn covers(&self, other: &Self) -> bool {
        self.family == other.family && self.first <= other.first && other.last <= self.last
    }
}

/// Two kept answers that differ and cover some address both, which they must not (RFC 7871 §7.2.1).
pub fn conflict<T: PartialEq>(kept: &mut [(Block, T)]) -> Option<[&(Block, T); 2]> {
    kept.sort_by_key(|(block, _)| *block);
    // The one that reaches furthest of those before. Prefixes are nested or apart, so it is enough.
    let mut furthest: Option<&(Block, T)> = None;
    for entry in &*kept {
        let (block, answer) = entry;
        if let Some(before) = furthest
            && before.0.family == block.family
            && block.first <= before.0.last
            && *answer != before.1
        {
            return Some([before, entry]);
        }
        let reach = |block: &Block| (block.family, block.last);
        if furthest.is_none_or(|(before, _)| reach(before) <= reach(block)) {
            furthest = Some(entry);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kept: &[(&str, u8)], conflicts: bool) {
        let block = |text: &str| {
            let network: Subnet = text.parse().unwrap();
            Block::of(network, network.len)
        };
        let mut entries: Vec<_> = kept.iter().map(|(text, a)| (block(text), *a)).collect();
        assert_eq!(conflict(&mut entries).is_some(), conflicts, "{kept:?}");
    }

    #[test]
    fn only_different_answers_for_the_same_address_conflict() {
        check(&[("10.0.0.0/8", 1), ("10.1.0.0/16", 1)], false);
        check(&[("10.1.0.0/16", 2), ("10.0.0.0/8", 1)], true);
        check(&[("10.0.0.0/16", 1), ("10.1.0.0/16", 2)], false);
        check(&[("0.0.0.0/0", 1), ("::/0", 2)], false);
        let nested = [("10.0.0.0/8", 1), ("10.1.0.0/16", 1), ("10.9.0.0/16", 2)];
        check(&nested, true);
        check(&[("10.0.0.0/24", 1), ("10.0.0.0/24", 2)], true);
    }

    #[test]
    fn ipv4_addresses_written_as_ipv6_are_in_the_mapped_block() {
        let all = Block::of("0.0.0.0/0".parse().unwrap(), 0);
        assert_eq!(all.in_ipv6(), MAPPED);
        assert!(!MAPPED.covers(&all));
    }
}
