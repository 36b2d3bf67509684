//! The look-up against slow, obvious twins, and the format against damaged bytes.
#![allow(clippy::unwrap_used, reason = "test helpers")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use traffic_map::{Choice, Edge, Map, MapParts, Region, Subnet, UnitId};

const UNITS: u32 = 5;

/// A map with the given range starts; everything else is small and fixed.
fn map(v4: &[(u32, Option<u32>)], v6: &[(u64, Option<u32>)]) -> Map {
    let mut parts = MapParts {
        ecs: (24, 56),
        ..MapParts::default()
    };
    parts.v4 = v4
        .iter()
        .map(|(start, unit)| (*start, unit.map(UnitId)))
        .collect();
    parts.v6 = v6
        .iter()
        .map(|(start, unit)| (*start, unit.map(UnitId)))
        .collect();
    parts.demand = vec![10, 20, 30, 0, 50];
    let placement = |unit: u32| {
        vec![
            Choice {
                region: 1 + (unit % 2) as u16,
                share: 1000,
            },
            Choice {
                region: 7,
                share: 0,
            },
        ]
    };
    let mut class: Vec<_> = (0..UNITS).map(placement).collect();
    class[3] = Vec::new();
    parts.placements = vec![class];
    let region = |id: u16| Region {
        id,
        name: format!("r{id}"),
        at: (id == 1).then_some((48.5, -2.25)),
        capacity: 1000,
        edges: Vec::new(),
    };
    parts.regions = vec![region(7), region(2), region(1)];
    parts.edges = vec![Edge {
        name: "e".to_owned(),
        region: 7,
        addresses: vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()],
        rtsp_port: 554,
        handoff: Some("192.0.2.1:8555".parse().unwrap()),
        capacity_sessions: 3,
        public_key: Some([9; 32]),
        profiles: vec!["mdc".to_owned()],
    }];
    Map::new(parts).unwrap()
}

fn starts<K: Ord + Copy + Default>(cuts: Vec<(K, u32)>) -> Vec<(K, Option<u32>)> {
    let mut all = cuts;
    all.push((K::default(), 0));
    all.sort_unstable();
    all.dedup_by_key(|(start, _)| *start);
    all.into_iter()
        .map(|(start, unit)| (start, unit.checked_sub(1)))
        .collect()
}

/// Cuts close together, so that networks of every length meet one, several and many ranges.
fn v4_starts() -> impl Strategy<Value = Vec<(u32, Option<u32>)>> {
    let cut = (prop_oneof![0..1_u32 << 11, 0..1_u32 << 24], 0..=UNITS);
    prop::collection::vec(cut, 0..300).prop_map(|cuts| {
        starts(
            cuts.into_iter()
                .map(|(start, unit)| (start << 8, unit))
                .collect(),
        )
    })
}

fn v6_starts() -> impl Strategy<Value = Vec<(u64, Option<u32>)>> {
    let cut = (prop_oneof![0..1_u64 << 11, 0..1_u64 << 56], 0..=UNITS);
    prop::collection::vec(cut, 0..300).prop_map(|cuts| {
        starts(
            cuts.into_iter()
                .map(|(start, unit)| (start << 8, unit))
                .collect(),
        )
    })
}

/// The unit of an address: walk the list until the start is past it.
fn slow_unit<K: Ord + Copy>(ranges: &[(K, Option<u32>)], key: K) -> Option<UnitId> {
    ranges
        .iter()
        .take_while(|(start, _)| *start <= key)
        .last()
        .and_then(|(_, unit)| unit.map(UnitId))
}

fn covers(block: Subnet, address: &str) -> bool {
    let (first, last) = block.bounds();
    (first..=last).contains(&address.parse::<IpAddr>().unwrap())
}

/// The shortest prefix around `key` whose addresses all have the unit of `key`, tried from /0 on.
fn slow_scope(ranges: &[(u64, Option<u32>)], key: u64, bits: u32) -> u8 {
    let unit = slow_unit(ranges, key);
    let fits = |len: u32| {
        let size = 1_u128 << (bits - len);
        let first = u128::from(key) / size * size;
        let inside = |start: u64| (first..first + size).contains(&u128::from(start));
        slow_unit(ranges, first as u64) == unit
            && ranges
                .iter()
                .all(|(start, other)| !inside(*start) || other.map(UnitId) == unit)
    };
    (0..=bits).find(|len| fits(*len)).unwrap() as u8
}

/// The rule for networks that span several ranges, computed from scratch.
fn slow_majority(
    ranges: &[(u64, Option<u32>)],
    demand: &[u32],
    first: u64,
    last: u64,
    max: u64,
) -> Option<UnitId> {
    let atoms = |from: u64, to: u64| {
        let mut sums = vec![0_u64; demand.len()];
        for (i, (start, unit)) in ranges.iter().enumerate() {
            let end = ranges.get(i + 1).map_or(max, |(next, _)| next - 1);
            let (low, high) = ((*start).max(from), end.min(to));
            if let Some(unit) = unit
                && low <= high
            {
                sums[*unit as usize] += (high >> 8) - (low >> 8) + 1;
            }
        }
        sums
    };
    let (here, all) = (atoms(first, last), atoms(0, max));
    let weight = |unit: usize| f64::from(demand[unit]) / all[unit] as f64 * here[unit] as f64;
    (0..demand.len())
        .filter(|unit| here[*unit] > 0)
        .max_by(|a, b| {
            weight(*a)
                .total_cmp(&weight(*b))
                .then(here[*a].cmp(&here[*b]))
                .then(b.cmp(a))
        })
        .map(|unit| UnitId(unit as u32))
}

fn v4(key: u32, len: u8) -> Subnet {
    Subnet {
        address: IpAddr::V4(Ipv4Addr::from(key)),
        len,
    }
}

fn v6(key: u64, len: u8) -> Subnet {
    Subnet {
        address: IpAddr::V6(Ipv6Addr::from(u128::from(key) << 64)),
        len,
    }
}

const DEMAND: [u32; 5] = [10, 20, 30, 0, 50];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn v4_unit_and_scope_agree_with_the_slow_twin(
        ranges in v4_starts(),
        keys in prop::collection::vec(prop_oneof![0..1_u32 << 19, any::<u32>()], 20),
    ) {
        let map = map(&ranges, &[(0, None)]);
        let wide: Vec<_> = ranges.iter().map(|(s, u)| (u64::from(*s), *u)).collect();
        for key in keys {
            let found = map.find(v4(key, 32));
            prop_assert_eq!(found.unit, slow_unit(&ranges, key));
            prop_assert_eq!(found.scope, slow_scope(&wide, u64::from(key), 32));
            prop_assert!(found.scope <= 24);
            let mapped = Subnet { address: IpAddr::V6(Ipv4Addr::from(key).to_ipv6_mapped()), len: 128 };
            let dressed = map.find(mapped);
            prop_assert_eq!((dressed.unit, dressed.scope), (found.unit, found.scope + 96));
        }
    }

    #[test]
    fn v6_unit_and_scope_agree_with_the_slow_twin(
        ranges in v6_starts(),
        keys in prop::collection::vec(prop_oneof![0..1_u64 << 19, any::<u64>()], 20),
    ) {
        let map = map(&[(0, None)], &ranges);
        for key in keys {
            let found = map.find(v6(key, 128));
            prop_assert_eq!(found.unit, slow_unit(&ranges, key));
            let by_ranges = slow_scope(&ranges, key, 64);
            prop_assert!(by_ranges <= 56);
            // Mapped addresses have IPv4 answers, so their block stays outside, and nothing else is cut off.
            let covers_mapped = |len| covers(v6(key, len), "::ffff:0:0");
            prop_assert!(!covers_mapped(found.scope));
            prop_assert!(found.scope == by_ranges || found.scope > by_ranges && covers_mapped(found.scope - 1));
        }
    }

    /// Whatever a network's length, its answer is either the range around it, or the majority rule
    /// together with the length at which all its blocks lie in one range.
    #[test]
    fn short_networks_follow_the_majority_rule(
        ranges in v4_starts(),
        keys in prop::collection::vec((prop_oneof![0..1_u32 << 19, any::<u32>()], 0..=32_u8), 20),
    ) {
        let map = map(&ranges, &[(0, None)]);
        let wide: Vec<_> = ranges.iter().map(|(s, u)| (u64::from(*s), *u)).collect();
        for (key, len) in keys {
            let found = map.find(v4(key, len));
            let size = 1_u64 << (32 - len);
            let first = u64::from(key) / size * size;
            let last = first + size - 1;
            let scopes = wide
                .iter()
                .map(|(start, _)| *start)
                .filter(|start| (first..=last).contains(start))
                .chain([first, last])
                .map(|key| slow_scope(&wide, key, 32));
            if found.scope <= len {
                prop_assert_eq!(found.unit, slow_unit(&ranges, first as u32));
                prop_assert_eq!(found.scope, slow_scope(&wide, first, 32));
            } else {
                let expected = slow_majority(&wide, &DEMAND, first, last, u64::from(u32::MAX));
                prop_assert_eq!(found.unit, expected);
                // Every block of that length in the network lies in one range, and none shorter would do.
                prop_assert!(scopes.clone().all(|scope| scope <= found.scope));
                let boundary = wide.windows(2).filter(|w| w[0].1 != w[1].1).map(|w| w[1].0);
                let finest = boundary
                    .filter(|start| *start > first && *start <= last)
                    .map(|start| 32 - start.trailing_zeros() as u8)
                    .max();
                prop_assert_eq!(Some(found.scope), finest);
            }
        }
    }

    #[test]
    fn answers_of_one_map_never_overlap(ranges in v4_starts(), keys in prop::collection::vec(any::<u32>(), 30)) {
        let map = map(&ranges, &[(0, None)]);
        let blocks: Vec<_> = keys
            .iter()
            .map(|key| Subnet { len: map.find(v4(*key, 32)).scope, ..v4(*key, 32) }.normalized())
            .collect();
        for a in &blocks {
            for b in &blocks {
                let nested = a.len < b.len && Subnet { len: a.len, ..*b }.normalized() == *a;
                prop_assert!(!nested, "{a} holds {b}");
            }
        }
    }

    #[test]
    fn decoding_gives_back_what_was_encoded(a in v4_starts(), b in v6_starts()) {
        let map = map(&a, &b);
        let bytes = map.encode();
        let again = Map::decode(&bytes).unwrap();
        prop_assert_eq!(again.encode(), bytes);
        prop_assert_eq!(again.edges(), map.edges());
        prop_assert_eq!(again.regions(), map.regions());
        prop_assert_eq!(again.placement(UnitId(3), 0), None);
        prop_assert_eq!(again.placement(UnitId(4), 0), map.placement(UnitId(4), 0));
    }

    /// Damaged bytes are refused, or are a map that encodes to exactly those bytes; nothing panics.
    #[test]
    fn damaged_bytes_are_refused_or_canonical(
        a in v4_starts(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
        random in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let bytes = map(&a, &[(0, Some(1))]).encode();
        prop_assert!(Map::decode(&bytes[..cut.index(bytes.len())]).is_err());
        prop_assert!(Map::decode(&random).is_err());
        let mut damaged = bytes;
        for (at, value) in damage {
            let at = at.index(damaged.len());
            damaged[at] = value;
        }
        if let Ok(map) = Map::decode(&damaged) {
            prop_assert_eq!(map.encode(), damaged.clone());
            map.find(v4(1 << 20, 12));
        }
        damaged.push(0);
        prop_assert!(Map::decode(&damaged).is_err());
    }
}

#[test]
fn every_byte_cut_off_is_refused() {
    let bytes = map(&[(0, None), (1 << 24, Some(2))], &[(0, None)]).encode();
    for len in 0..bytes.len() {
        assert!(
            Map::decode(&bytes[..len]).is_err(),
            "{len} of {} bytes",
            bytes.len()
        );
    }
}

#[test]
fn no_ipv6_scope_covers_the_block_of_mapped_addresses() {
    let map = map(&[(0, None)], &[(0, None)]);
    let check = |text: &str, scope| {
        let subnet: Subnet = text.parse().unwrap();
        assert_eq!(map.find(subnet).scope, scope, "{text}");
    };
    check("2001:db8::/56", 3);
    check("::/56", 81);
    check("::1/128", 81);
    check("::fffe:0:0/96", 96);
    check("::ffff:0:0/96", 96);
}

#[test]
fn edges_are_found_by_name_and_address_and_listed_in_their_region() {
    let map = map(&[(0, None)], &[(0, None)]);
    assert_eq!(
        map.edge("e"),
        map.edge_by_address("2001:db8::1".parse().unwrap())
    );
    assert_eq!(map.region(7).unwrap().edges, [0]);
    assert_eq!(map.region(3), None);
    let view = map.placement(UnitId(0), 0).unwrap();
    assert_eq!(map.placement_by_id(view.id), Some(view));
}
