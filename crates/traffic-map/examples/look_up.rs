//! Prints how long a map takes to decode and to be asked (nanoseconds of the processor), and what it takes of memory:
//! `cargo run --release -p traffic-map --example look_up [IPv4 ranges [IPv6 ranges]]`.
//! Each question depends on the answer before it, so that no two of them wait for memory at the same time.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a measurement needs /proc"
)]

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use traffic_map::{Choice, Map, MapParts, Region, Subnet, UnitId};

const UNITS: u64 = 50_000;
const CLASSES: u64 = 4;
const QUESTIONS: u64 = 2_000_000;

fn main() {
    let argument = |place: usize, default: usize| {
        let text = std::env::args().nth(place);
        text.map_or(default, |text| text.parse().unwrap())
    };
    let (v4, v6) = (argument(1, 1_800_000), argument(2, 600_000));
    let bytes = map(v4, v6).encode();
    let mut map = None;
    for _ in 0..5 {
        drop(map.take());
        let (before, start) = (resident(), processor_nanoseconds());
        map = Some(Map::decode(&bytes).unwrap());
        let milliseconds = (processor_nanoseconds() - start) as f64 / 1e6;
        let grown = (resident() - before) / 1000;
        println!(
            "{} octets: decoded in {milliseconds:.1} ms, resident +{grown} MB",
            bytes.len()
        );
    }
    let map = map.unwrap();
    let v4 = |random: u64, len| Subnet {
        address: IpAddr::V4(Ipv4Addr::from_bits(random as u32)),
        len,
    };
    let v6 = |random: u64, len| Subnet {
        address: IpAddr::V6(Ipv6Addr::from_bits(
            u128::from(0x2000 << 48 | random >> 3) << 64,
        )),
        len,
    };
    ask("an IPv4 /24", &map, |random| v4(random, 24));
    ask("an IPv4 /22", &map, |random| v4(random, 22));
    ask("an IPv4 /16", &map, |random| v4(random, 16));
    ask("an IPv4 /12", &map, |random| v4(random, 12));
    ask("an IPv6 /56", &map, |random| v6(random, 56));
}

/// Times questions for unit, scope and placement; takes off what the same loop costs without them.
fn ask(what: &str, map: &Map, subnet: impl Fn(u64) -> Subnet) {
    let run = |ask: &dyn Fn(u64, Subnet) -> u64| {
        let (start, mut state) = (processor_nanoseconds(), 1_u64);
        for number in 0..QUESTIONS {
            let random = mix(state.wrapping_add(number));
            state = ask(random, subnet(random));
        }
        black_box(state);
        (processor_nanoseconds() - start) as f64 / QUESTIONS as f64
    };
    let empty = run(&|random, subnet| random ^ u64::from(black_box(subnet).len));
    let asked = run(&|random, subnet| {
        let (unit, scope) = map.unit_and_scope(black_box(subnet));
        let class = (random % CLASSES) as u8;
        let placement = unit.and_then(|unit| map.placement_index(unit, class));
        u64::from(scope) ^ placement.map_or(0, u64::from)
    });
    println!("{what}: {:.1} ns", asked - empty);
}

fn map(v4: usize, v6: usize) -> Map {
    let mut random = 0;
    let mut next = move || {
        random += 1;
        mix(random)
    };
    let pool: Vec<Vec<Choice>> = (0..64)
        .map(|number| {
            let share = |region, share| Choice { region, share };
            vec![
                share(number % 16, 600),
                share(16 + number / 16, 400),
                share(20, 0),
            ]
        })
        .collect();
    let mut class = || {
        let one = |_| pool[next() as usize % pool.len()].clone();
        (0..UNITS).map(one).collect()
    };
    let placements = (0..CLASSES).map(|_| class()).collect();
    let mut starts4: Vec<u32> = (1..v4).map(|_| (next() as u32 >> 8) << 8).collect();
    let mut starts6: Vec<u64> = (1..v6)
        .map(|_| 0x2000 << 48 | (next() >> 11) << 8)
        .collect();
    starts4.push(0);
    starts6.push(0);
    starts4.sort_unstable();
    starts6.sort_unstable();
    starts4.dedup();
    starts6.dedup();
    // A tenth of the space is unmapped.
    let mut unit = || match next() {
        random if random.is_multiple_of(10) => None,
        random => Some(UnitId((mix(random) % UNITS) as u32)),
    };
    let region = |id| Region {
        id,
        name: format!("r{id}"),
        at: None,
        capacity: 1,
        edges: Vec::new(),
    };
    Map::new(MapParts {
        ecs: (24, 56),
        v4: starts4.into_iter().map(|start| (start, unit())).collect(),
        v6: starts6.into_iter().map(|start| (start, unit())).collect(),
        demand: vec![1; UNITS as usize],
        placements,
        regions: (0..21).map(region).collect(),
        edges: Vec::new(),
    })
    .unwrap()
}

/// The mixing half of SplitMix64.
fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Resident kilobytes.
fn resident() -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let number = line.unwrap().split_whitespace().nth(1);
    number.unwrap().parse().unwrap()
}

/// Of user and system so far; the clock would count what others do on this machine.
fn processor_nanoseconds() -> u64 {
    let status = std::fs::read_to_string("/proc/self/schedstat").unwrap();
    status.split(' ').next().unwrap().parse().unwrap()
}
