//! From an opened token to server addresses: the region's live edges, the placement's next region when it is dead, and
//! never an empty answer because of health.
//!
//! ```text
//! region of the token ──► next regions of its placement ──► everything dead: the first region's full set
//!      (unknown placement: the nearest regions instead)
//! ```

use std::net::{IpAddr, Ipv4Addr};

use route_token::Payload;

use crate::config::ANSWERS_MAX;
use crate::plan::{Address, Area, Family, Live, Plan, Server};
use crate::rendezvous;

/// Why these addresses were chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The token's region has live edges.
    Region,
    /// The token's region is dead; the next one that lives.
    NextRegion,
    /// Everything that could answer looks dead; probably our own view is.
    FailOpen,
    /// The token's region has no address of this family.
    NoAddress,
    /// No region that the map knows can serve this token.
    NoRegion,
}

impl Why {
    /// Every reason, for metrics that show zeros.
    pub const ALL: [Why; 5] = [
        Why::Region,
        Why::NextRegion,
        Why::FailOpen,
        Why::NoAddress,
        Why::NoRegion,
    ];

    /// The reason as a metric label.
    pub fn as_str(self) -> &'static str {
        match self {
            Why::Region => "region",
            Why::NextRegion => "next_region",
            Why::FailOpen => "fail_open",
            Why::NoAddress => "no_address",
            Why::NoRegion => "no_region",
        }
    }
}

/// The chosen addresses, best first.
#[derive(Clone, Copy, Debug)]
pub struct ServerSet {
    /// Why these.
    pub why: Why,
    /// Id of the region they are in.
    pub region: Option<u16>,
    addresses: [IpAddr; ANSWERS_MAX],
    count: usize,
}

impl ServerSet {
    fn empty(why: Why, region: Option<u16>) -> ServerSet {
        let addresses = [IpAddr::V4(Ipv4Addr::UNSPECIFIED); ANSWERS_MAX];
        ServerSet {
            why,
            region,
            addresses,
            count: 0,
        }
    }

    /// The addresses, best first.
    pub fn addresses(&self) -> &[IpAddr] {
        self.addresses.get(..self.count).unwrap_or(&[])
    }

    fn push(&mut self, address: IpAddr) {
        if let Some(place) = self.addresses.get_mut(self.count) {
            *place = address;
            self.count += 1;
        }
    }
}

/// What a choice depends on besides the token.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// Format that the service's edges have to serve.
    pub profile: Option<&'a str>,
    /// Addresses at most, up to [`ANSWERS_MAX`].
    pub answers: usize,
}

impl Plan {
    /// Chooses. The same token, map and live table always give the same answer; nothing is allocated.
    pub fn choose<'p>(
        &'p self,
        live: &Live,
        payload: &Payload,
        family: Family,
        rules: &Rules<'p>,
    ) -> ServerSet {
        let mut areas = self.areas(payload, rules.profile);
        let Some(first) = areas.next() else {
            return ServerSet::empty(Why::NoRegion, None);
        };
        let up = |address: &Address| {
            // An address that is not in the table has never been probed: unknown is not down.
            live.get(address.target).is_none_or(|up| *up)
        };
        let key = rendezvous::key(payload);
        let set = self.fill(Why::Region, first, family, key, rules, up);
        if set.count > 0 {
            return set;
        }
        let mut servers = first.pool(family).servers.iter();
        if !servers.any(|server| self.serves(server.edge, rules.profile)) {
            // Which families a region has does not depend on health: this is stable, and right to cache.
            return ServerSet::empty(Why::NoAddress, Some(first.id));
        }
        for area in areas {
            let set = self.fill(Why::NextRegion, area, family, key, rules, up);
            if set.count > 0 {
                return set;
            }
        }
        self.fill(Why::FailOpen, first, family, key, rules, |_| true)
    }

    /// A set of the best servers of a region that have an address that is up: each server's first, then second ones if there
    /// is room, and so on.
    fn fill(
        &self,
        why: Why,
        area: &Area,
        family: Family,
        key: u64,
        rules: &Rules<'_>,
        up: impl Fn(&Address) -> bool,
    ) -> ServerSet {
        let pool = area.pool(family);
        let answers = rules.answers.clamp(1, ANSWERS_MAX);
        // The best so far in order, `found` of them.
        let mut best: [(f64, Option<&Server>); ANSWERS_MAX] = [(0.0, None); ANSWERS_MAX];
        let mut found = 0;
        for server in &pool.servers {
            if !self.serves(server.edge, rules.profile) || !server.addresses().any(&up) {
                continue;
            }
            let cost = if pool.even {
                rendezvous::cost_among_equals(server.seed, key)
            } else {
                rendezvous::cost(server.seed, key, server.weight)
            };
            if found < answers {
                found += 1;
            } else if cost >= best[found - 1].0 {
                continue;
            }
            let mut at = found - 1;
            // Strictly less: equal costs keep the map's order.
            while at > 0 && cost < best[at - 1].0 {
                best[at] = best[at - 1];
                at -= 1;
            }
            best[at] = (cost, Some(server));
        }
        let mut set = ServerSet::empty(why, Some(area.id));
        for round in 0.. {
            let before = set.count;
            for server in best[..found].iter().filter_map(|(_, server)| *server) {
                let mut addresses = server.addresses().filter(|address| up(address));
                if set.count < answers
                    && let Some(address) = addresses.nth(round)
                {
                    set.push(address.ip);
                }
            }
            if set.count == before || set.count == answers {
                break;
            }
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use traffic_map::{Choice, Edge, Map, MapParts, Region, UnitId};

    use super::*;

    const RULES: Rules<'static> = Rules {
        profile: None,
        answers: 3,
    };

    fn region(id: u16, at: Option<(f32, f32)>) -> Region {
        Region {
            id,
            name: format!("r{id}"),
            at,
            capacity: 1,
            edges: Vec::new(),
        }
    }

    fn edge(name: &str, region: u16, addresses: &[&str]) -> Edge {
        Edge {
            name: name.to_owned(),
            region,
            addresses: addresses
                .iter()
                .map(|address| address.parse().unwrap())
                .collect(),
            rtsp_port: 8554,
            handoff: None,
            capacity_sessions: 100,
            public_key: None,
            profiles: Vec::new(),
        }
    }

    /// Regions 1 (four edges, one with IPv6), 2 (two), 3 (one) and 4 (none); placements [1, 2] and [2, 3, 1].
    fn plan() -> Plan {
        let choices = |list: &[(u16, u16)]| -> Vec<Choice> {
            list.iter()
                .map(|(region, share)| Choice {
                    region: *region,
                    share: *share,
                })
                .collect()
        };
        let map = Map::new(MapParts {
            ecs: (24, 56),
            v4: vec![(0, Some(UnitId(0))), (1 << 31, Some(UnitId(1)))],
            v6: vec![(0, None)],
            demand: vec![1, 1],
            placements: vec![vec![
                choices(&[(1, 1000), (2, 0)]),
                choices(&[(2, 600), (3, 400), (1, 0)]),
            ]],
            regions: vec![
                region(1, Some((50.0, 0.0))),
                region(2, Some((50.0, 90.0))),
                region(3, Some((50.0, 10.0))),
                region(4, None),
            ],
            edges: vec![
                edge("a", 1, &["127.0.0.1"]),
                edge("b", 1, &["127.0.0.2", "127.0.0.12", "::2"]),
                edge("c", 1, &["127.0.0.3"]),
                edge("d", 1, &["127.0.0.4"]),
                edge("e", 2, &["127.0.0.5", "::5"]),
                edge("f", 2, &["127.0.0.6"]),
                edge("g", 3, &["127.0.0.7", "::7"]),
            ],
        });
        Plan::new(7, 0, map.unwrap(), Some("r3"))
    }

    fn placement(plan: &Plan, unit: u32) -> u32 {
        plan.map.placement(UnitId(unit), 0).unwrap().id
    }

    fn live_without(plan: &Plan, dead: &[&str]) -> Live {
        let dead: Vec<IpAddr> = dead
            .iter()
            .map(|address| address.parse().unwrap())
            .collect();
        plan.targets
            .iter()
            .map(|target| !dead.contains(&target.ip()))
            .collect()
    }

    fn check(
        plan: &Plan,
        dead: &[&str],
        payload: Payload,
        family: Family,
        expected: (Why, &[&str]),
    ) {
        let set = plan.choose(&live_without(plan, dead), &payload, family, &RULES);
        let mut found: Vec<String> = set.addresses().iter().map(IpAddr::to_string).collect();
        found.sort();
        assert_eq!(
            (
                set.why,
                found
                    .iter()
                    .map(String::as_str)
                    .collect::<Vec<_>>()
                    .as_slice()
            ),
            expected
        );
    }

    const R1: [&str; 5] = [
        "127.0.0.1",
        "127.0.0.2",
        "127.0.0.12",
        "127.0.0.3",
        "127.0.0.4",
    ];
    const R2: [&str; 2] = ["127.0.0.5", "127.0.0.6"];

    #[test]
    fn a_dead_region_falls_to_the_next_of_its_placement_and_then_fails_open() {
        let plan = plan();
        let payload = Payload {
            region: 2,
            placement: placement(&plan, 1),
            ..Payload::default()
        };
        let v4 = Family::V4;
        check(&plan, &[], payload, v4, (Why::Region, &R2));
        check(
            &plan,
            &["127.0.0.5"],
            payload,
            v4,
            (Why::Region, &["127.0.0.6"]),
        );
        check(&plan, &R2, payload, v4, (Why::NextRegion, &["127.0.0.7"]));
        let dead: Vec<&str> = R2.into_iter().chain(["127.0.0.7"]).collect();
        let set = plan.choose(&live_without(&plan, &dead), &payload, v4, &RULES);
        assert_eq!(
            (set.why, set.region, set.addresses().len()),
            (Why::NextRegion, Some(1), 3)
        );
        let all: Vec<&str> = dead.into_iter().chain(R1).collect();
        check(&plan, &all, payload, v4, (Why::FailOpen, &R2));
    }

    #[test]
    fn an_unknown_placement_falls_to_the_nearest_regions() {
        let plan = plan();
        let payload = Payload {
            region: 1,
            placement: 1,
            ..Payload::default()
        };
        let chain: Vec<u16> = plan.chain(&payload, None).collect();
        assert_eq!(
            chain,
            [1, 3, 2],
            "3 is ten degrees away, 2 is ninety; 4 has no edge"
        );
        check(
            &plan,
            &R1,
            payload,
            Family::V4,
            (Why::NextRegion, &["127.0.0.7"]),
        );
    }

    #[test]
    fn an_unknown_region_is_served_by_its_placement_or_by_the_default_region() {
        let plan = plan();
        let gone = Payload {
            region: 9,
            placement: placement(&plan, 1),
            ..Payload::default()
        };
        check(&plan, &[], gone, Family::V4, (Why::Region, &R2));
        let lost = Payload {
            region: 9,
            placement: 1,
            ..Payload::default()
        };
        check(&plan, &[], lost, Family::V4, (Why::Region, &["127.0.0.7"]));
        let map = plan.map.clone();
        check(
            &Plan::new(7, 0, map, None),
            &[],
            lost,
            Family::V4,
            (Why::NoRegion, &[]),
        );
    }

    #[test]
    fn which_families_a_region_has_does_not_depend_on_health() {
        let plan = plan();
        let v6 = Family::V6;
        let payload = Payload {
            region: 2,
            placement: placement(&plan, 1),
            ..Payload::default()
        };
        check(&plan, &[], payload, v6, (Why::Region, &["::5"]));
        check(&plan, &["::5"], payload, v6, (Why::NextRegion, &["::7"]));
        check(
            &plan,
            &["::5", "::7", "::2"],
            payload,
            v6,
            (Why::FailOpen, &["::5"]),
        );
        let only_v4 = Map::new(MapParts {
            ecs: (24, 56),
            v4: vec![(0, None)],
            v6: vec![(0, None)],
            regions: vec![region(1, None), region(2, None)],
            edges: vec![edge("a", 1, &["127.0.0.1"]), edge("b", 2, &["::1"])],
            ..MapParts::default()
        });
        let plan = Plan::new(1, 0, only_v4.unwrap(), None);
        let payload = Payload {
            region: 1,
            ..Payload::default()
        };
        check(&plan, &[], payload, v6, (Why::NoAddress, &[]));
        check(&plan, &["127.0.0.1"], payload, v6, (Why::NoAddress, &[]));
    }

    #[test]
    fn second_addresses_of_an_edge_fill_the_answer_only_when_edges_run_out() {
        let plan = plan();
        let payload = Payload {
            region: 1,
            ..Payload::default()
        };
        let dead = ["127.0.0.1", "127.0.0.3", "127.0.0.4"];
        check(
            &plan,
            &dead,
            payload,
            Family::V4,
            (Why::Region, &["127.0.0.12", "127.0.0.2"]),
        );
        for placement in 0..200 {
            let payload = Payload {
                placement,
                ..payload
            };
            let set = plan.choose(&plan.all_up(), &payload, Family::V4, &RULES);
            assert!(!set.addresses().contains(&"127.0.0.12".parse().unwrap()));
        }
    }

    #[test]
    fn only_edges_that_serve_the_profile_are_chosen() {
        let mut edges = vec![edge("a", 1, &["127.0.0.1"]), edge("b", 2, &["127.0.0.2"])];
        edges[0].profiles = vec!["hevc".to_owned()];
        let map = Map::new(MapParts {
            ecs: (24, 56),
            v4: vec![(0, None)],
            v6: vec![(0, None)],
            regions: vec![region(1, None), region(2, None)],
            edges,
            ..MapParts::default()
        });
        let plan = Plan::new(1, 0, map.unwrap(), None);
        let payload = Payload {
            region: 1,
            ..Payload::default()
        };
        let choose = |profile| {
            let rules = Rules {
                profile,
                answers: 3,
            };
            plan.choose(&plan.all_up(), &payload, Family::V4, &rules)
                .addresses()
                .to_vec()
        };
        assert_eq!(
            choose(Some("hevc")),
            ["127.0.0.1".parse::<IpAddr>().unwrap()]
        );
        assert_eq!(
            choose(Some("avc")),
            ["127.0.0.2".parse::<IpAddr>().unwrap()]
        );
    }

    /// The slow, obvious twin: sort everything by cost, then take first addresses, then second ones.
    fn choose_by_sorting(
        plan: &Plan,
        live: &Live,
        payload: &Payload,
        answers: usize,
    ) -> Vec<IpAddr> {
        let key = rendezvous::key(payload);
        let mut ranked: Vec<(f64, Vec<IpAddr>)> = plan
            .map
            .edges()
            .iter()
            .enumerate()
            .filter(|(_, edge)| edge.region == payload.region)
            .map(|(index, edge)| {
                let live = plan
                    .targets_of(index)
                    .zip(&edge.addresses)
                    .filter(|(t, _)| live[*t]);
                let v4 = live
                    .map(|(_, address)| *address)
                    .filter(IpAddr::is_ipv4)
                    .collect();
                let weight = f64::from(edge.capacity_sessions);
                let seed = rendezvous::seed(&edge.name);
                (rendezvous::cost(seed, key, weight), v4)
            })
            .collect();
        ranked.sort_by(|a, b| a.0.total_cmp(&b.0));
        ranked.retain(|(_, addresses)| !addresses.is_empty());
        ranked.truncate(answers);
        let rounds = (0..2).flat_map(|round| {
            ranked
                .iter()
                .filter_map(move |(_, addresses)| addresses.get(round).copied())
        });
        rounds.take(answers).collect()
    }

    #[test]
    fn the_choice_agrees_with_its_slow_twin() {
        let even = plan();
        let mut edges = even.map.edges().to_vec();
        for (edge, capacity) in edges.iter_mut().zip([100, 300, 0, 50]) {
            edge.capacity_sessions = capacity;
        }
        let uneven = Map::new(MapParts {
            ecs: (24, 56),
            v4: vec![(0, None)],
            v6: vec![(0, None)],
            regions: [1, 2, 3].map(|id| region(id, None)).to_vec(),
            edges,
            ..MapParts::default()
        });
        for plan in [even, Plan::new(7, 0, uneven.unwrap(), None)] {
            for seed in 0u32..20_000 {
                let answers = 1 + seed as usize % ANSWERS_MAX;
                let live: Live = (0..plan.targets.len())
                    .map(|bit| seed.wrapping_mul(0x9e37_79b9) >> bit & 1 == 1)
                    .collect();
                let payload = Payload {
                    region: 1,
                    placement: seed,
                    ..Payload::default()
                };
                let expected = choose_by_sorting(&plan, &live, &payload, answers);
                if !expected.is_empty() {
                    let rules = Rules {
                        profile: None,
                        answers,
                    };
                    let set = plan.choose(&live, &payload, Family::V4, &rules);
                    assert_eq!(set.addresses(), expected, "{seed}");
                }
            }
        }
    }
}
