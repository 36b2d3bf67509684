//! L2 repairs L1: a token that was given to a resolver's address says where the client was assumed to be. When the
//! address query tells the client's network, the map is asked again, and the token stands for the region that the first
//! level would have given had it known.
//!
//! ```text
//! token: region, placement, assumed ─┬─ not assumed, or no client subnet ──► as it is, for everyone (scope 0)
//!                                    └─ client subnet ─► map: unit, scope ─► its placement, the region of equal rank
//! ```

use std::net::IpAddr;

use dns_engine::ClientSubnet;
use route_token::Payload;
use traffic_map::{Choice, Map, PlacementView, Subnet};

use crate::rendezvous;

/// How the client's network compares with what the token assumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The same placement.
    Agreed,
    /// Another placement: the answer is for that one.
    Moved,
    /// The map has no placement for that network: the token is all there is.
    Unknown,
}

impl Finding {
    /// Every finding, for metrics that show zeros.
    pub const ALL: [Finding; 3] = [Finding::Agreed, Finding::Moved, Finding::Unknown];

    /// As a metric label and in `explain`.
    pub fn as_str(self) -> &'static str {
        match self {
            Finding::Agreed => "agreed",
            Finding::Moved => "moved",
            Finding::Unknown => "unknown",
        }
    }
}

/// What a token stands for, given who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remapped {
    /// What to choose servers for; no longer assumed.
    pub payload: Payload,
    /// The ECS scope of the answer (RFC 7871 §7.2.1); 0 for one that is the same for everyone.
    pub scope: u8,
    /// `None` if the map was not asked.
    pub finding: Option<Finding>,
}

/// Looks at a token in the light of the client's network. `class` is that of the token's service.
pub fn remap(
    map: &Map,
    payload: &Payload,
    class: Option<u8>,
    client: Option<ClientSubnet>,
) -> Remapped {
    let told = Payload {
        assumed: false,
        ..*payload
    };
    let (Some(client), Some(class), true) = (client, class, payload.assumed) else {
        return Remapped {
            payload: told,
            scope: 0,
            finding: None,
        };
    };
    let found = map.find(Subnet {
        address: client.address,
        len: client.source_len,
    });
    let placement = found.unit.and_then(|unit| map.placement(unit, class));
    let (payload, finding) = match placement {
        None => (told, Finding::Unknown),
        Some(placement) if placement.id == told.placement => (told, Finding::Agreed),
        Some(placement) => {
            let assumed = map.placement_by_id(told.placement);
            let moved = Payload {
                region: stand_in(assumed, &told, placement, found.range.0),
                placement: placement.id,
                ..told
            };
            (moved, Finding::Moved)
        }
    };
    Remapped {
        payload,
        scope: found.scope,
        finding: Some(finding),
    }
}

/// The region of the client's placement that has the place which the token's region has in the assumed one: a shared
/// region stands for a shared one (the same if possible, else by their shares), a fallback for a fallback.
fn stand_in(
    assumed: Option<PlacementView<'_>>,
    token: &Payload,
    placement: PlacementView<'_>,
    range_start: IpAddr,
) -> u16 {
    let has = |choices: &[Choice]| choices.iter().any(|choice| choice.region == token.region);
    let (shared, fallbacks) = split(placement.choices);
    let (_, assumed_fallbacks) = split(assumed.map_or(&[], |assumed| assumed.choices));
    let rank = assumed_fallbacks
        .iter()
        .position(|choice| choice.region == token.region);
    match rank {
        Some(_) if has(fallbacks) => token.region,
        Some(rank) if !fallbacks.is_empty() => {
            let choice = fallbacks.get(rank).or(fallbacks.last());
            choice.map_or(token.region, |choice| choice.region)
        }
        _ if has(shared) => token.region,
        _ => by_share(shared, token, range_start).unwrap_or(token.region),
    }
}

/// The choices with a share, and the fallbacks behind them.
fn split(choices: &[Choice]) -> (&[Choice], &[Choice]) {
    let shared = choices.iter().take_while(|choice| choice.share > 0).count();
    choices.split_at(shared)
}

/// One of the shared regions, each for its share of the map's ranges: the same for all clients of a range, as the scope says.
fn by_share(shared: &[Choice], token: &Payload, range_start: IpAddr) -> Option<u16> {
    let key = rendezvous::key(token) ^ rendezvous::address(range_start);
    let cost = |choice: &Choice| {
        let seed = rendezvous::number(choice.region.into());
        rendezvous::cost(seed, key, f64::from(choice.share))
    };
    let costs = shared.iter().map(|choice| (cost(choice), choice.region));
    let best = costs.min_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    best.map(|(_, region)| region)
}

#[cfg(test)]
mod tests {
    use traffic_map::{MapParts, Region, UnitId};

    use super::*;

    const CLASS: Option<u8> = Some(0);

    fn choices(list: &[(u16, u16)]) -> Vec<Choice> {
        let choice = |&(region, share)| Choice { region, share };
        list.iter().map(choice).collect()
    }

    /// 0.0.0.0/2 at A with fallbacks B and C, 64.0.0.0/2 at B and C with fallback A, 128.0.0.0/2 at D alone, the rest unmapped.
    fn map() -> Map {
        let quarter = |n: u32| n << 30;
        let region = |id| Region {
            id,
            name: format!("r{id}"),
            at: None,
            capacity: 1,
            edges: Vec::new(),
        };
        Map::new(MapParts {
            ecs: (24, 56),
            v4: vec![
                (quarter(0), Some(UnitId(0))),
                (quarter(1), Some(UnitId(1))),
                (quarter(2), Some(UnitId(2))),
                (quarter(3), None),
            ],
            v6: vec![(0, None)],
            demand: vec![1, 1, 1],
            placements: vec![vec![
                choices(&[(A, 1000), (B, 0), (C, 0)]),
                choices(&[(B, 600), (C, 400), (A, 0)]),
                choices(&[(D, 1000)]),
            ]],
            regions: [A, B, C, D].map(region).to_vec(),
            edges: Vec::new(),
        })
        .unwrap()
    }

    const A: u16 = 1;
    const B: u16 = 2;
    const C: u16 = 3;
    const D: u16 = 4;

    fn token(map: &Map, unit: u32, region: u16) -> Payload {
        Payload {
            service: 1,
            region,
            placement: map.placement(UnitId(unit), 0).unwrap().id,
            assumed: true,
        }
    }

    fn from(text: &str) -> Option<ClientSubnet> {
        let subnet: Subnet = text.parse().unwrap();
        Some(ClientSubnet {
            address: subnet.address,
            source_len: subnet.len,
        })
    }

    #[test]
    fn a_client_elsewhere_gets_the_region_of_equal_rank_there() {
        let map = map();
        let check = |unit, region, client, expected, finding| {
            let token = token(&map, unit, region);
            let found = remap(&map, &token, CLASS, from(client));
            assert_eq!(
                (found.payload.region, found.finding),
                (expected, Some(finding)),
                "{unit} {region} {client}"
            );
            assert_eq!((found.scope, found.payload.assumed), (2, false));
        };
        check(0, A, "10.0.0.0/24", A, Finding::Agreed);
        check(0, C, "10.0.0.0/24", C, Finding::Agreed);
        check(0, A, "130.0.0.0/24", D, Finding::Moved);
        check(0, B, "130.0.0.0/24", D, Finding::Moved);
        check(0, B, "70.0.0.0/24", A, Finding::Moved);
        check(0, C, "70.0.0.0/24", A, Finding::Moved);
        check(1, A, "10.0.0.0/24", B, Finding::Moved);
        check(1, C, "10.0.0.0/24", A, Finding::Moved);
        check(2, D, "10.0.0.0/24", A, Finding::Moved);
        check(0, A, "200.0.0.0/24", A, Finding::Unknown);
    }

    #[test]
    fn what_nobody_doubts_stays_and_is_for_everyone() {
        let map = map();
        let token = token(&map, 0, A);
        let told = Payload {
            assumed: false,
            ..token
        };
        let as_it_is = Remapped {
            payload: told,
            scope: 0,
            finding: None,
        };
        let elsewhere = from("130.0.0.0/24");
        assert_eq!(remap(&map, &told, CLASS, elsewhere), as_it_is);
        assert_eq!(remap(&map, &token, CLASS, None), as_it_is);
        assert_eq!(remap(&map, &token, None, elsewhere), as_it_is);
    }

    #[test]
    fn a_token_of_a_placement_that_is_gone_goes_where_the_client_is() {
        let map = map();
        let token = Payload {
            placement: 1,
            ..token(&map, 0, C)
        };
        let found = remap(&map, &token, CLASS, from("10.0.0.0/24"));
        assert_eq!((found.payload.region, found.scope), (A, 2));
        let stays = remap(&map, &token, CLASS, from("70.0.0.0/24"));
        assert_eq!(stays.payload.region, C, "shared there as well");
    }

    #[test]
    fn shared_regions_get_their_shares_of_the_ranges() {
        let shared = choices(&[(B, 600), (C, 400)]);
        let token = Payload {
            region: A,
            ..Payload::default()
        };
        let to_b = (0..10_000_u32)
            .filter(|range| by_share(&shared, &token, IpAddr::V4((range << 8).into())) == Some(B))
            .count();
        assert!((5_700..6_300).contains(&to_b), "{to_b}");
    }
}
