//! A made-up world of any size: ranges, units, placements, regions and edges, all from one seed.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::Context;
use traffic_map::{Choice, Edge, Map, MapParts, Region, Subnet, UnitId};

use crate::random::Random;

/// How large it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    /// IPv4 ranges, of /24 networks.
    pub(crate) v4: usize,
    /// IPv6 ranges, of /56 networks.
    pub(crate) v6: usize,
    pub(crate) units: usize,
    /// Different placements.
    pub(crate) placements: usize,
    /// Token services.
    pub(crate) services: usize,
    /// Groups of edges: at least as many as an answer has records, at most 255.
    pub(crate) regions: u16,
    /// Edges of a region.
    pub(crate) edges: u8,
}

/// The address space as it is routed, with a unit for each access network.
pub(crate) const FULL: Scale = Scale {
    v4: 1_800_000,
    v6: 600_000,
    units: 50_000,
    placements: 64,
    services: 1000,
    regions: REGIONS,
    edges: EDGES,
};

/// Enough to see that everything works.
pub(crate) const SMALL: Scale = Scale {
    v4: 8_000,
    v6: 2_000,
    units: 500,
    placements: 16,
    services: 1000,
    regions: REGIONS,
    edges: EDGES,
};

/// Service classes.
pub(crate) const CLASSES: usize = 4;
/// Regions, where their number does not matter.
pub(crate) const REGIONS: u16 = 16;
/// Edges of a region, likewise: more than an answer has addresses, so that there is something to choose.
pub(crate) const EDGES: u8 = 4;

/// Where ranges and units come from.
const SEED: u64 = 17;

/// Makes a map. All generations have the same ranges and units and place them differently, as after new measurements.
/// `rtsp_port` is where all edges listen, each on an address of its own within 127.1.0.0/16.
pub(crate) fn map(scale: &Scale, generation: u64, rtsp_port: u16) -> anyhow::Result<Map> {
    let mut random = Random(generation);
    let ids: Vec<u16> = (1..=scale.regions).collect();
    let pool: Vec<Vec<Choice>> = (0..scale.placements)
        .map(|_| placement(&ids, &mut random))
        .collect();
    let by_class = |random: &mut Random| {
        let one = |_| pool[random.below(pool.len())].clone();
        (0..scale.units).map(one).collect()
    };
    let placements = (0..CLASSES).map(|_| by_class(&mut random)).collect();
    let mut random = Random(SEED);
    let v4 = starts(scale.v4, || (random.next() as u32 >> 8) << 8);
    let v6 = starts(scale.v6, || 0x2000 << 48 | random.next() >> 11 << 8);
    // A tenth of the space is unmapped.
    let mut unit = || (random.below(10) > 0).then(|| UnitId(random.below(scale.units) as u32));
    Map::new(MapParts {
        ecs: (24, 56),
        v4: v4.into_iter().map(|start| (start, unit())).collect(),
        v6: v6.into_iter().map(|start| (start, unit())).collect(),
        demand: vec![1; scale.units],
        placements,
        regions: ids.iter().map(|id| region(*id)).collect(),
        edges: ids
            .iter()
            .flat_map(|id| (1..=scale.edges).map(|number| edge(*id, number, rtsp_port)))
            .collect(),
    })
    .context("the made-up map")
}

/// Where edges listen: those of every world that has as many.
pub(crate) fn edge_addresses() -> impl Iterator<Item = IpAddr> {
    (1..=REGIONS).flat_map(|region| (1..=EDGES).map(move |number| edge_address(region, number)))
}

/// Of a region's edge, both counted from 1.
pub(crate) fn edge_address(region: u16, number: u8) -> IpAddr {
    IpAddr::from([127, 1, region as u8, number])
}

/// A /24 of mapped space.
pub(crate) fn mapped_network(map: &Map, random: &mut Random) -> Ipv4Addr {
    loop {
        let address = Ipv4Addr::from((random.next() as u32) << 8);
        let subnet = Subnet {
            address: IpAddr::V4(address),
            len: 24,
        };
        if map.find(subnet).unit.is_some() {
            return address;
        }
    }
}

/// Range starts, from 0, ascending, each once.
fn starts<K: Ord + Default>(count: usize, mut next: impl FnMut() -> K) -> Vec<K> {
    let mut starts: Vec<K> = (1..count).map(|_| next()).collect();
    starts.push(K::default());
    starts.sort_unstable();
    starts.dedup();
    starts
}

/// One or two regions that share, and fallbacks: at least three regions, as answers have three records.
fn placement(regions: &[u16], random: &mut Random) -> Vec<Choice> {
    let mut order = regions.to_vec();
    for at in 0..order.len() {
        let other = at + random.below(order.len() - at);
        order.swap(at, other);
    }
    let first = 1000 - 100 * random.below(5) as u16;
    let share = |rank| match rank {
        0 => first,
        1 => 1000 - first,
        _ => 0,
    };
    let count = 3 + random.below(3);
    let choices = order.into_iter().take(count).enumerate();
    choices
        .map(|(rank, region)| Choice {
            region,
            share: share(rank),
        })
        .collect()
}

fn region(id: u16) -> Region {
    Region {
        id,
        name: format!("region-{id}"),
        at: None,
        capacity: 1_000_000_000,
        edges: Vec::new(),
    }
}

fn edge(region: u16, number: u8, rtsp_port: u16) -> Edge {
    Edge {
        name: format!("edge-{region:02}-{number}"),
        region,
        addresses: vec![edge_address(region, number)],
        rtsp_port,
        handoff: None,
        capacity_sessions: 1000,
        public_key: None,
        profiles: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_world_is_as_large_as_asked_for_and_the_same_every_time() {
        let made = map(&SMALL, 1, 8554).unwrap();
        let (v4, v6) = made.range_counts();
        assert!(
            v4 > SMALL.v4 * 9 / 10 && v6 > SMALL.v6 * 9 / 10,
            "{v4} {v6}"
        );
        assert_eq!(made.placement_count(), SMALL.placements);
        assert_eq!(made.encode(), map(&SMALL, 1, 8554).unwrap().encode());
        let next = map(&SMALL, 2, 8554).unwrap();
        assert!(next.ranges().eq(made.ranges()));
        assert_ne!(next.encode(), made.encode());
    }
}
