//! Whole builds from small inputs: overrides, capacity, stickiness, spill, unplaced demand, diff.
#![allow(clippy::unwrap_used, reason = "test helpers")]

use std::fmt::Write;

use traffic_map::build::{Built, Inputs, Measurement, build};
use traffic_map::diff::diff;
use traffic_map::prefixes::{Prefix, parse_prefixes};
use traffic_map::services::{self, Services};
use traffic_map::world::{self, World};
use traffic_map::{Map, Subnet, id_of_name};

const SERVICES: &str = r#"
[service.live]
owner  = "_rtsp._tcp.live.stream.example."
tokens = "edge.stream.example."
srv    = { port = 8554 }
"#;

/// Three regions on one meridian, ten degrees (1,112 km, 36.6 ms by distance) apart.
fn world(capacity: [u64; 3], load: u64, more: &str) -> World {
    let mut text = format!("[map.world]\nload = {load}\n");
    for (i, capacity) in capacity.into_iter().enumerate() {
        let (lat, name) = (i * 10, ["south", "middle", "north"][i]);
        write!(
            text,
            "[region.{name}]\nat = [{lat}, 0]\ncapacity = {capacity}\n"
        )
        .unwrap();
        write!(
            text,
            "[edge.{name}1]\nregion = \"{name}\"\naddr = \"192.0.2.{i}\"\n"
        )
        .unwrap();
    }
    world::parse("world.toml", &(text + more), 0).unwrap()
}

fn services() -> Services {
    services::parse("services.toml", SERVICES).unwrap()
}

/// 10.0.0.0/16, 10.1.0.0/16 and so on, at these latitudes.
fn prefixes(latitudes: &[f32]) -> Vec<Prefix> {
    let row =
        |(i, lat): (usize, &f32)| format!("10.{i}.0.0,10.{i}.255.255,{},{lat},0,XX\n", 64500 + i);
    let text: String = latitudes.iter().enumerate().map(row).collect();
    parse_prefixes("p.csv", 0, &text).0
}

fn built(
    world: &World,
    prefixes: &[Prefix],
    measurements: &[Measurement],
    previous: Option<&Map>,
) -> Built {
    let services = services();
    let inputs = Inputs {
        world,
        services: &services,
        prefixes,
        demand: None,
        measurements,
        previous,
    };
    build(&inputs).unwrap()
}

/// Regions and shares for a client, in rank order.
fn choices(map: &Map, client: &str) -> Vec<(String, u16)> {
    let unit = map.find(client.parse::<Subnet>().unwrap()).unit.unwrap();
    let view = map.placement(unit, 0).unwrap();
    let name = |id| map.region(id).unwrap().name.clone();
    view.choices
        .iter()
        .map(|choice| (name(choice.region), choice.share))
        .collect()
}

fn check(map: &Map, client: &str, expected: &[(&str, u16)]) {
    let got = choices(map, client);
    let got: Vec<_> = got
        .iter()
        .map(|(name, share)| (name.as_str(), *share))
        .collect();
    assert_eq!(got, expected, "{client}");
}

#[test]
fn the_nearest_region_is_first_and_the_others_follow_by_distance() {
    let map = built(&world([9; 3], 9, ""), &prefixes(&[1.0, 21.0]), &[], None).map;
    check(
        &map,
        "10.0.0.1",
        &[("south", 1000), ("middle", 0), ("north", 0)],
    );
    check(
        &map,
        "10.1.0.1",
        &[("north", 1000), ("middle", 0), ("south", 0)],
    );
}

#[test]
fn a_full_region_shares_its_last_unit_with_the_next_best() {
    // Two equal units at the south, where three quarters of all demand fit.
    let built = built(
        &world([75, 100, 100], 100, ""),
        &prefixes(&[1.0, 0.0]),
        &[],
        None,
    );
    check(
        &built.map,
        "10.1.0.1",
        &[("south", 1000), ("middle", 0), ("north", 0)],
    );
    let mut halves = choices(&built.map, "10.0.0.1");
    assert_eq!(halves.pop(), Some(("north".to_owned(), 0)));
    halves.sort();
    assert_eq!(
        halves,
        [("middle".to_owned(), 500), ("south".to_owned(), 500)]
    );
    assert_eq!(built.summary.unplaced, 0);
}

#[test]
fn demand_beyond_all_capacity_still_gets_an_answer() {
    let built = built(
        &world([10, 10, 10], 100, ""),
        &prefixes(&[1.0; 4]),
        &[],
        None,
    );
    let unplaced = built.summary.unplaced as f64 / built.summary.demand as f64;
    assert!((unplaced - 0.7).abs() < 0.001, "{unplaced}");
    for client in ["10.0.0.1", "10.1.0.1", "10.2.0.1", "10.3.0.1"] {
        assert!(!choices(&built.map, client).is_empty());
    }
}

#[test]
fn an_override_cuts_ranges_and_its_order_is_obeyed() {
    let more =
        "[[override]]\nnet = \"10.0.4.0/22\"\norder = [\"north\", \"south\"]\nwhy = \"test\"\n";
    let map = built(&world([9; 3], 9, more), &prefixes(&[1.0]), &[], None).map;
    check(&map, "10.0.4.1", &[("north", 1000), ("south", 0)]);
    check(
        &map,
        "10.0.8.1",
        &[("south", 1000), ("middle", 0), ("north", 0)],
    );
    let scope = |client: &str| map.find(client.parse().unwrap()).scope;
    assert_eq!(
        (scope("10.0.4.1"), scope("10.0.8.1"), scope("10.0.0.1")),
        (22, 21, 22)
    );
}

#[test]
fn a_spill_list_comes_before_the_next_best() {
    let text = "[map.world]\nload = 9\n[region.a]\nat = [0, 0]\ncapacity = 9\nspill = [\"c\"]\n[region.b]\nat = [1, 0]\n\
                capacity = 9\n[region.c]\nat = [50, 0]\ncapacity = 9\n[edge.a1]\nregion = \"a\"\naddr = \"192.0.2.1\"\n\
                [edge.b1]\nregion = \"b\"\naddr = \"192.0.2.2\"\n[edge.c1]\nregion = \"c\"\naddr = \"192.0.2.3\"\n";
    let spilling = world::parse("w.toml", text, 0).unwrap();
    let map = built(&spilling, &prefixes(&[0.0]), &[], None).map;
    check(&map, "10.0.0.1", &[("a", 1000), ("c", 0), ("b", 0)]);
}

fn measured(client: &str, region: &str, rtt_us: u32) -> Measurement {
    let (net, region) = (client.parse().unwrap(), id_of_name(region));
    Measurement {
        ts: 0,
        net,
        region,
        rtt_us,
        loss: 0.0,
        n: 1,
    }
}

#[test]
fn a_measurement_beats_the_distance() {
    let lines = [
        measured("10.0.0.0/24", "south", 90_000),
        measured("10.0.0.0/24", "middle", 30_000),
    ];
    let map = built(&world([9; 3], 9, ""), &prefixes(&[1.0]), &lines, None).map;
    assert_eq!(choices(&map, "10.0.0.1")[0], ("middle".to_owned(), 1000));
}

#[test]
fn a_unit_stays_where_it_is_until_the_gain_is_worth_the_move() {
    let world = world([9; 3], 9, "");
    let with = |south, middle, previous: Option<&Map>| {
        let lines = [
            measured("10.0.0.0/24", "south", south),
            measured("10.0.0.0/24", "middle", middle),
        ];
        built(&world, &prefixes(&[1.0]), &lines, previous).map
    };
    let before = with(20_000, 21_000, None);
    let first = |map: &Map| choices(map, "10.0.0.1")[0].0.clone();
    assert_eq!(first(&before), "south");
    assert_eq!(first(&with(24_000, 20_000, None)), "middle");
    assert_eq!(
        first(&with(24_000, 20_000, Some(&before))),
        "south",
        "4 ms are not worth it"
    );
    assert_eq!(
        first(&with(26_000, 20_000, Some(&before))),
        "middle",
        "6 ms are"
    );
}

#[test]
fn diff_counts_moved_demand_and_uncovered_demand() {
    let world = world([9; 3], 9, "");
    let old = built(&world, &prefixes(&[1.0, 1.0, 1.0, 1.0]), &[], None).map;
    assert_eq!(diff(&old, &old), traffic_map::diff::Diff::default());
    let moved = diff(
        &old,
        &built(&world, &prefixes(&[1.0, 1.0, 1.0, 21.0]), &[], None).map,
    );
    assert!((moved.moved - 0.25).abs() < 1e-9, "{}", moved.moved);
    assert_eq!(moved.networks[0].0.to_string(), "10.3.0.0/16");
    let lost = diff(
        &old,
        &built(&world, &prefixes(&[1.0, 1.0, 1.0]), &[], None).map,
    );
    assert!((lost.moved - 0.25).abs() < 1e-9, "{}", lost.moved);
    let grown = diff(&old, &built(&world, &prefixes(&[1.0; 5]), &[], None).map);
    assert!(grown.moved < 1e-9, "new space is nobody's loss");
    assert_eq!(grown.networks, [("10.4.0.0/16".parse().unwrap(), 0.0)]);
}

#[test]
fn the_order_of_the_rows_does_not_matter() {
    let world = world([5, 3, 2], 9, "");
    let rows = prefixes(&[1.0, 8.0, 12.0, 30.0, 4.0, 4.5]);
    let lines = [
        measured("10.3.0.0/24", "south", 10_000),
        measured("10.4.0.0/24", "north", 10_000),
    ];
    let turned: Vec<_> = rows.iter().rev().copied().collect();
    let other_lines = [lines[1], lines[0]];
    let one = built(&world, &rows, &lines, None).map.encode();
    let two = built(&world, &turned, &other_lines, None).map.encode();
    assert!(one == two);
}
