//! Client networks for tests that ask for many: half of them in mapped ranges, a quarter at the borders of
//! ranges, where mistakes live, and a quarter anywhere. Both families; the seed decides everything.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use traffic_map::{Map, Span, Subnet};

use crate::random::Random;

/// The networks for one map, in the order that the seed gives.
///
/// # Panics
/// When the map has no mapped range in one of the families.
pub fn random_clients(map: &Map, seed: u64, count: usize) -> Vec<Subnet> {
    let families = [
        Family::new(map, IpAddr::is_ipv4),
        Family::new(map, IpAddr::is_ipv6),
    ];
    let mut random = Random(seed);
    let mut client = |n: usize| {
        let family = &families[random.index(families.len())];
        let address = match n % 4 {
            0 | 1 => family.inside(&mut random),
            2 => family.border(&mut random),
            _ => anywhere(family.v4, &mut random),
        };
        let len = length(address, &mut random);
        Subnet { address, len }.normalized()
    };
    (0..count).map(&mut client).collect()
}

/// An address of the network, picked from all of it.
pub fn within(network: Subnet, random: &mut Random) -> IpAddr {
    let (first, last) = network.bounds();
    between(first, last, random)
}

struct Family {
    v4: bool,
    all: Vec<Span>,
    mapped: Vec<Span>,
}

impl Family {
    fn new(map: &Map, is_in: impl Fn(&IpAddr) -> bool) -> Self {
        let all: Vec<Span> = map.ranges().filter(|span| is_in(&span.first)).collect();
        let mapped: Vec<Span> = all.iter().filter(|s| s.unit.is_some()).copied().collect();
        assert!(!mapped.is_empty(), "the map routes nobody in this family");
        let v4 = mapped[0].first.is_ipv4();
        Self { v4, all, mapped }
    }

    fn inside(&self, random: &mut Random) -> IpAddr {
        let span = self.mapped[random.index(self.mapped.len())];
        between(span.first, span.last, random)
    }

    fn border(&self, random: &mut Random) -> IpAddr {
        let span = self.all[random.index(self.all.len())];
        if random.below(2) == 0 {
            span.first
        } else {
            span.last
        }
    }
}

/// Of IPv6 mostly what is handed out (2000::/3), some of all of it, and some IPv4 written as IPv6.
fn anywhere(v4: bool, random: &mut Random) -> IpAddr {
    let v4_address = Ipv4Addr::from_bits(random.number() as u32);
    let v6_address = match random.below(10) {
        0 => v4_address.to_ipv6_mapped(),
        1 => Ipv6Addr::from_bits(random.wide()),
        _ => Ipv6Addr::from_bits(1 << 125 | random.wide() >> 3),
    };
    if v4 {
        v4_address.into()
    } else {
        v6_address.into()
    }
}

/// Mostly what resolvers send, /24 and /56 (RFC 7871 §11.1); a fifth is shorter, a fifth longer.
fn length(address: IpAddr, random: &mut Random) -> u8 {
    let (usual, shortest, longest): (u64, u64, u64) = match address {
        IpAddr::V4(_) => (24, 8, 32),
        IpAddr::V6(address) if address.to_ipv4_mapped().is_some() => (96 + 24, 96 + 8, 128),
        IpAddr::V6(_) => (56, 16, 128),
    };
    match random.below(5) {
        0 => (shortest + random.below(usual - shortest)) as u8,
        1 => (usual + 1 + random.below(longest - usual)) as u8,
        _ => usual as u8,
    }
}

fn between(first: IpAddr, last: IpAddr, random: &mut Random) -> IpAddr {
    let pick = |first: u128, last: u128, random: &mut Random| match (last - first).checked_add(1) {
        Some(count) => first + random.wide() % count,
        None => random.wide(),
    };
    match (first, last) {
        (IpAddr::V4(first), IpAddr::V4(last)) => {
            let (first, last) = (first.to_bits().into(), last.to_bits().into());
            Ipv4Addr::from_bits(pick(first, last, random) as u32).into()
        }
        (IpAddr::V6(first), IpAddr::V6(last)) => {
            Ipv6Addr::from_bits(pick(first.to_bits(), last.to_bits(), random)).into()
        }
        _ => first,
    }
}
