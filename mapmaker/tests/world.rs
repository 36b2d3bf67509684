//! The worked example in `zones/`, whole: sample, map, look-ups against slow twins, determinism, explain.
#![allow(clippy::unwrap_used, reason = "test helpers")]

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use mapmaker::explain::Explanation;
use mapmaker::inputs::{Files, Inputs, now};
use mapmaker::model::{self, Model};
use traffic_map::build::{Built, build};
use traffic_map::{Map, Span, Subnet, UnitId};

fn zones(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../zones")
        .join(name)
}

fn example() -> &'static (Inputs, Built) {
    static EXAMPLE: OnceLock<(Inputs, Built)> = OnceLock::new();
    EXAMPLE.get_or_init(|| {
        let files = Files {
            world: zones("world.toml"),
            services: zones("services.toml"),
            measurements: Vec::new(),
        };
        let inputs = Inputs::read(&files, now()).unwrap();
        let built = build(&inputs.for_build(None)).unwrap();
        (inputs, built)
    })
}

/// A fixed sequence of numbers (SplitMix64).
fn numbers(seed: u64) -> impl Iterator<Item = u64> {
    (1..).map(move |i: u64| {
        let mut x = seed.wrapping_add(i.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    })
}

#[test]
fn the_sample_covers_most_of_the_routed_internet() {
    let (inputs, _) = example();
    assert!(inputs.report.is_empty(), "{}", inputs.report);
    let v4: Vec<_> = inputs
        .prefixes
        .iter()
        .filter(|prefix| prefix.first.is_ipv4())
        .collect();
    assert!(v4.len() >= 50_000, "{}", v4.len());
    assert!(inputs.prefixes.len() - v4.len() >= 10_000);
    let countries: BTreeSet<_> = inputs
        .prefixes
        .iter()
        .map(|prefix| prefix.country)
        .collect();
    assert!(countries.len() >= 200, "{}", countries.len());
    let addresses: u64 = v4
        .iter()
        .map(|prefix| match (prefix.first, prefix.last) {
            (IpAddr::V4(first), IpAddr::V4(last)) => {
                u64::from(u32::from(last) - u32::from(first)) + 1
            }
            _ => 0,
        })
        .sum();
    // The whole table has 3,310,151,665.
    assert!(addresses > 3_000_000_000, "{addresses}");
    // The big access networks: Comcast, NTT, China Telecom, Telefonica Brasil, Orange, Deutsche Telekom,
    // Telstra, Telkom SA, Reliance Jio.
    for asn in [7922, 4713, 4134, 27699, 3215, 3320, 1221, 37457, 55836] {
        assert!(v4.iter().any(|prefix| prefix.asn == asn), "AS{asn}");
    }
}

#[test]
fn the_world_has_eight_regions_on_four_continents_with_two_edges_each() {
    let (_, built) = example();
    let regions = built.map.regions();
    assert!(regions.len() >= 8);
    assert!(regions.iter().all(|region| region.edges.len() == 2));
    let continents: BTreeSet<_> = regions
        .iter()
        .map(|region| match region.at.unwrap() {
            (lat, lon) if lon < -30.0 => {
                if lat > 12.0 {
                    "North America"
                } else {
                    "South America"
                }
            }
            (lat, lon) if lon < 55.0 => {
                if lat > 36.0 {
                    "Europe"
                } else {
                    "Africa"
                }
            }
            (lat, _) => {
                if lat > -10.0 {
                    "Asia"
                } else {
                    "Australia"
                }
            }
        })
        .collect();
    assert!(continents.len() >= 4, "{continents:?}");
    let addresses: BTreeSet<IpAddr> = built
        .map
        .edges()
        .iter()
        .flat_map(|edge| edge.addresses.clone())
        .collect();
    for last in 1..=16 {
        assert!(addresses.contains(&IpAddr::V4(Ipv4Addr::new(127, 0, 1, last))));
    }
    assert!(addresses.contains(&IpAddr::V6(Ipv6Addr::LOCALHOST)));
}

#[test]
fn the_same_inputs_give_the_same_bytes() {
    let (inputs, built) = example();
    let again = build(&inputs.for_build(None)).unwrap();
    assert!(again.map.encode() == built.map.encode());
    let bytes = built.map.encode();
    assert!(Map::decode(&bytes).unwrap().encode() == bytes);
}

#[test]
fn building_on_the_map_in_force_changes_nothing() {
    let (inputs, built) = example();
    let again = build(&inputs.for_build(Some(&built.map))).unwrap();
    let moved = traffic_map::diff::diff(&built.map, &again.map).moved;
    assert!(moved < 0.001, "{moved}");
}

#[test]
fn ranges_are_disjoint_aligned_and_cover_both_families() {
    let (_, built) = example();
    let mut next_v4 = Some(0_u32);
    let mut next_v6 = Some(0_u128);
    let mut before: Option<Option<UnitId>> = None;
    for span in built.map.ranges() {
        match (span.first, span.last) {
            (IpAddr::V4(first), IpAddr::V4(last)) => {
                assert_eq!(next_v4, Some(first.into()));
                assert_eq!(u32::from(first) % 256, 0);
                next_v4 = u32::from(last).checked_add(1);
            }
            (IpAddr::V6(first), IpAddr::V6(last)) => {
                if next_v6 == Some(0) {
                    assert_eq!(next_v4, None, "IPv4 is covered to its end");
                    before = None;
                }
                assert_eq!(next_v6, Some(first.into()));
                assert_eq!(u128::from(first) % (1 << 72), 0);
                next_v6 = u128::from(last).checked_add(1);
            }
            _ => panic!("a range over both families"),
        }
        assert_ne!(before, Some(span.unit), "neighbours are joined");
        before = Some(span.unit);
    }
    assert_eq!(next_v6, None);
}

#[test]
fn a_hundred_thousand_addresses_agree_with_a_search_through_all_ranges() {
    let (_, built) = example();
    let ranges: Vec<Span> = built.map.ranges().collect();
    let mut keys: Vec<IpAddr> = numbers(7)
        .take(50_000)
        .map(|n| IpAddr::V4(Ipv4Addr::from(n as u32)))
        .chain(numbers(8).zip(numbers(9)).take(50_000).map(|(a, b)| {
            // Three in four in the space that is in use.
            let high = if a % 4 == 0 {
                a
            } else {
                ((a >> 3) % (1 << 61)) | (1 << 61)
            };
            IpAddr::V6(Ipv6Addr::from((u128::from(high) << 64) | u128::from(b)))
        }))
        .collect();
    // One walk through the ranges answers all: both are in order.
    keys.sort();
    let mut at = 0;
    for key in keys {
        while ranges[at].last < key || ranges[at].first.is_ipv4() != key.is_ipv4() {
            at += 1;
        }
        let found = built.map.find(Subnet::host(key));
        assert_eq!(found.unit, ranges[at].unit, "{key}");
        assert_eq!(found.range, (ranges[at].first, ranges[at].last), "{key}");
        let block = Subnet {
            address: key,
            len: found.scope,
        }
        .normalized();
        let wider = Subnet {
            address: key,
            len: found.scope.saturating_sub(1),
        }
        .normalized();
        let inside = |net: Subnet| {
            let (first, last) = net.bounds();
            ranges[at].first <= first && last <= ranges[at].last
        };
        assert!(inside(block), "{key} {block}");
        assert!(
            found.scope == 0 || !inside(wider),
            "{key} {block} could be wider"
        );
    }
}

#[test]
fn every_mapped_unit_has_a_placement_in_every_class() {
    let (inputs, built) = example();
    for class in 0..inputs.services.class_count() {
        for unit in 0..built.map.unit_count() as u32 {
            let view = built.map.placement(UnitId(unit), class).unwrap();
            let total: u32 = view
                .choices
                .iter()
                .map(|choice| u32::from(choice.share))
                .sum();
            assert_eq!(total, 1000);
            assert!(view.choices.len() >= 2, "there is a fallback");
            assert_eq!(built.map.placement_by_id(view.id), Some(view));
        }
    }
}

#[test]
fn no_region_carries_more_than_it_can_and_nothing_is_left_over() {
    let (_, built) = example();
    assert_eq!(built.summary.unplaced, 0);
    for (load, room) in &built.summary.loads {
        assert!(load <= room, "{load} {room}");
    }
    let full = built
        .summary
        .loads
        .iter()
        .filter(|(load, room)| load == room)
        .count();
    assert!(full >= 1, "the example has a region that spills");
}

#[test]
fn explain_names_the_override_the_row_and_the_measurement() {
    let (inputs, _) = example();
    let explain = |client: &str| {
        Explanation::new(inputs, None, client.parse().unwrap(), "live")
            .unwrap()
            .to_string()
    };
    let overridden = explain("203.0.113.7");
    assert!(
        overridden.contains("the worked example's visitors"),
        "{overridden}"
    );
    assert!(
        overridden.contains("100.0 %    ap-northeast"),
        "{overridden}"
    );
    let measured = inputs.measurements[0].net.to_string();
    let mapped = explain(&measured);
    assert!(mapped.contains("prefixes-v4.csv.zst:"), "{mapped}");
    assert!(mapped.contains("measured, 1 lines; decided by"), "{mapped}");
    assert!(mapped.contains(&measured), "{mapped}");
    assert!(explain("192.0.2.1").contains("none: unmapped"));
    let unknown = Explanation::new(inputs, None, "1.1.1.1".parse().unwrap(), "radio");
    assert_eq!(
        unknown.err().unwrap().to_string(),
        "there is no service radio"
    );
}

#[test]
fn explain_agrees_with_the_map() {
    let (inputs, built) = example();
    let for_build = inputs.for_build(None);
    for (number, key) in numbers(3).take(2_000).enumerate() {
        let client = Subnet {
            address: IpAddr::V4(Ipv4Addr::from(key as u32)),
            len: (number % 33) as u8,
        };
        let explained = built.explain(&for_build, client, 0);
        assert_eq!(explained.found, built.map.find(client));
        let view = explained
            .found
            .unit
            .and_then(|unit| built.map.placement(unit, 0));
        let ranked: Vec<_> = view.into_iter().flat_map(|view| view.ranked()).collect();
        for (ranked, candidate) in ranked.iter().zip(&explained.candidates) {
            assert_eq!(ranked.region, candidate.region);
            assert_eq!(Some(ranked.priority), candidate.priority);
        }
        assert_eq!(
            explained.source.is_some(),
            explained.found.unit.is_some(),
            "{client}"
        );
    }
}

#[test]
fn the_example_measurements_are_what_the_model_draws() {
    let (inputs, _) = example();
    let drawn = model::draw(
        inputs,
        Model {
            seed: 1,
            networks: 600,
            ts: 1_793_491_200,
        },
    );
    let text: String = drawn
        .iter()
        .map(distribution::measurement::write_line)
        .collect();
    let file = std::fs::read_to_string(zones("data/measurements.csv")).unwrap();
    let (header, lines) = file.split_once('\n').unwrap();
    assert_eq!(header, distribution::measurement::HEADER);
    assert!(
        lines.replace('\n', "") == text.replace('\n', ""),
        "run `mapmaker model` again"
    );
}
