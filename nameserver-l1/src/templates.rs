//! The answers a service can give, made once for each placement when a release or key ring arrives, so
//! that a query costs no cryptography: SRV records whose targets are sealed tokens.

use std::collections::HashMap;

use dns_engine::name;
use route_token::{LENGTH, Payload, Token, ZoneKeys};
use traffic_map::{Map, PlacementView, UnitId, services::Service};

/// One SRV record of an answer; the port is the service's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Lower is tried first (RFC 2782): 0 for regions with a share, then one for each fallback.
    pub priority: u16,
    /// Share of the clients, in thousandths, among records of the same priority.
    pub weight: u16,
    /// The region that the token stands for.
    pub region: u16,
    /// `<token>.<token zone>` in wire form.
    pub target: Box<[u8]>,
}

impl Record {
    /// The data of the SRV record.
    pub fn data(&self, port: u16) -> Vec<u8> {
        let numbers = [self.priority, self.weight, port].map(u16::to_be_bytes);
        [numbers.as_flattened(), &self.target].concat()
    }

    /// The token as text.
    pub fn token(&self) -> &str {
        let label = self.target.get(1..=LENGTH).unwrap_or_default();
        std::str::from_utf8(label).unwrap_or_default()
    }
}

/// The records for every placement that some unit has in the service's class.
#[derive(Debug, Default)]
pub struct Templates {
    by_placement: HashMap<u32, Variants>,
}

/// The same records with two kinds of tokens.
#[derive(Debug)]
struct Variants {
    /// For a client whose network was told.
    told: Box<[Record]>,
    /// For a client taken to be where its resolver is.
    assumed: Box<[Record]>,
}

impl Templates {
    /// Seals the tokens of one service. `keys` are those of its token zone, `zone` that zone's wire name.
    pub fn seal(service: &Service, zone: &[u8], map: &Map, keys: &ZoneKeys) -> Self {
        let mut by_placement = HashMap::new();
        for unit in (0u32..).take(map.unit_count()).map(UnitId) {
            let Some(placement) = map.placement(unit, service.class) else {
                continue;
            };
            by_placement.entry(placement.id).or_insert_with(|| {
                let records = |assumed| records(service, zone, &placement, assumed, keys);
                Variants {
                    told: records(false),
                    assumed: records(true),
                }
            });
        }
        Self { by_placement }
    }

    /// All records there are, those of one answer together.
    pub fn all(&self) -> impl Iterator<Item = &[Record]> {
        let variants = self.by_placement.values();
        variants.flat_map(|variants| [&*variants.told, &*variants.assumed])
    }

    /// The records for the placement with this id; `assumed` if nobody told the client's network.
    pub fn get(&self, placement: u32, assumed: bool) -> Option<&[Record]> {
        let variants = self.by_placement.get(&placement)?;
        Some(if assumed {
            &variants.assumed
        } else {
            &variants.told
        })
    }
}

fn records(
    service: &Service,
    zone: &[u8],
    placement: &PlacementView<'_>,
    assumed: bool,
    keys: &ZoneKeys,
) -> Box<[Record]> {
    let record = |ranked: traffic_map::Ranked| {
        let payload = Payload {
            service: service.id,
            region: ranked.region,
            placement: placement.id,
            assumed,
        };
        Record {
            priority: ranked.priority,
            weight: ranked.weight,
            region: ranked.region,
            target: target(&keys.seal(&payload), zone),
        }
    };
    placement
        .ranked()
        .take(usize::from(service.srv.answers))
        .map(record)
        .collect()
}

fn target(token: &Token, zone: &[u8]) -> Box<[u8]> {
    let mut target = Vec::with_capacity(1 + LENGTH + zone.len());
    target.push(LENGTH as u8); // 27
    target.extend_from_slice(token.as_bytes());
    target.extend_from_slice(zone);
    target.into()
}

/// True if a token in front of this wire name is still a name (255 octets).
pub fn fits(zone: &[u8]) -> bool {
    1 + LENGTH + zone.len() <= name::NAME_MAX
}
