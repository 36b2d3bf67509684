//! Why a client gets the answer it gets. Takes the same decision as a query does, then tells it.

use std::{fmt, sync::Arc};

use dns_engine::{Zones, name};
use serde::Serialize;
use traffic_map::Subnet;

use crate::{
    client::{Asker, KnownBy},
    routing::{Action, Release, Routing},
    sealing::Record,
    world::wire,
};

/// A decision in words and numbers, as JSON or as text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// Name of the service.
    pub service: String,
    /// Its owner name.
    pub owner: String,
    /// The client network asked about.
    pub client: String,
    /// Generation of the release; `None` before the first.
    pub generation: Option<u64>,
    /// When that release was built, in Unix seconds.
    pub built_at: Option<u64>,
    /// Serial of the owner's zone.
    pub zone_serial: Option<u32>,
    /// Why: map, unmapped, none_up, no_release, no_keys, misfit.
    pub reason: &'static str,
    /// First and last address that the map treats like this client.
    pub range: Option<(String, String)>,
    /// Number of the client's unit in this release.
    pub unit: Option<u32>,
    /// ECS scope of the answer.
    pub scope: u8,
    /// The placement, if there is one.
    pub placement: Option<Placement>,
    /// NOERROR or REFUSED.
    pub rcode: &'static str,
    /// Seconds.
    pub ttl: u32,
    /// The SRV records of the answer.
    pub answer: Vec<Srv>,
}

/// A placement with its regions by rank.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Placement {
    /// Content hash; the same in every release.
    pub id: u32,
    /// Best first.
    pub regions: Vec<RegionShare>,
}

/// A region and how much of the unit's demand it is meant to take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RegionShare {
    /// Its name.
    pub region: String,
    /// Thousandths; 0 marks a fallback.
    pub share: u16,
}

/// One SRV record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Srv {
    /// Lower first.
    pub priority: u16,
    /// Among equal priorities.
    pub weight: u16,
    /// Port of the service.
    pub port: u16,
    /// Where it points.
    pub target: String,
    /// The token in the target; `None` for the zone's own records.
    pub token: Option<String>,
    /// The region that the token stands for.
    pub region: Option<String>,
}

/// What is being served, for a look at single decisions.
pub struct Explainer {
    /// The services.
    pub routing: Arc<Routing>,
    /// The zones they are in.
    pub zones: Zones,
}

impl Explainer {
    /// Explains the answer of a service (by name or owner) to a client network.
    ///
    /// # Errors
    /// When there is no such service, naming those there are; and for a client of length 0.
    pub fn explain(&self, service: &str, client: Subnet) -> Result<Explanation, String> {
        explain(&self.routing, &self.zones, service, client)
    }
}

fn explain(
    routing: &Routing,
    zones: &Zones,
    service: &str,
    client: Subnet,
) -> Result<Explanation, String> {
    let index = find(routing, service)?;
    if client.len == 0 {
        // RFC 7871 §7.1.2; the answer then has scope 0.
        return Err(format!(
            "{client} tells nothing about a client: such a query is answered for its source address; \
             explain that address"
        ));
    }
    let asker = Asker {
        subnet: client.normalized(),
        known_by: KnownBy::Subnet,
    };
    let (Some(routed), Some(decision)) =
        (routing.services.get(index), routing.decide(index, &asker))
    else {
        return Err(format!("there is no service {service}"));
    };
    let release = routing.release.as_deref();
    let tokens = |placement| {
        let zone = routed.tokens.as_ref();
        let records = zone.map(|zone| zone.records(&routed.service, placement, asker.is_assumed()));
        let srv = |record: Record| Srv {
            priority: record.priority,
            weight: record.weight,
            port: routed.service.srv.port,
            target: name::text(&record.target),
            token: Some(record.token.to_string()),
            region: Some(region_name(release, record.region)),
        };
        records.into_iter().flatten().map(srv).collect()
    };
    let (rcode, ttl, answer) = match decision.action {
        Action::Tokens(placement) => ("NOERROR", routed.service.ttl.max, tokens(placement)),
        Action::Zone => {
            let records = routed
                .default
                .records
                .iter()
                .filter_map(|data| own_record(data));
            ("NOERROR", routed.default.ttl, records.collect())
        }
        Action::NoData => ("NOERROR", 0, Vec::new()),
        Action::Refuse => ("REFUSED", 0, Vec::new()),
    };
    let range = release
        .filter(|_| decision.reason.is_of_map())
        .map(|release| release.map.find(asker.subnet).range);
    Ok(Explanation {
        service: routed.service.name.clone(),
        owner: routed.service.owner.clone(),
        client: asker.subnet.to_string(),
        generation: release.map(|release| release.generation),
        built_at: release.map(|release| release.built_at),
        zone_serial: serial(zones, &wire(&routed.service.owner)),
        reason: decision.reason.as_str(),
        range: range.map(|(first, last)| (first.to_string(), last.to_string())),
        unit: decision.unit.map(|unit| unit.0),
        scope: decision.scope,
        placement: decision.placement.and_then(|id| placement(release?, id)),
        rcode,
        ttl,
        answer,
    })
}

fn find(routing: &Routing, service: &str) -> Result<usize, String> {
    let owner = format!("{}.", service.trim_end_matches('.').to_ascii_lowercase());
    let all = &routing.services;
    all.iter()
        .position(|routed| routed.service.name == service || routed.service.owner == owner)
        .ok_or_else(|| {
            let names: Vec<&str> = all
                .iter()
                .map(|routed| routed.service.name.as_str())
                .collect();
            format!(
                "there is no service `{service}`; there are: {}",
                names.join(", ")
            )
        })
}

fn placement(release: &Release, id: u32) -> Option<Placement> {
    let view = release.map.placement_by_id(id)?;
    let regions = view.choices.iter().map(|choice| RegionShare {
        region: region_name(Some(release), choice.region),
        share: choice.share,
    });
    Some(Placement {
        id,
        regions: regions.collect(),
    })
}

fn region_name(release: Option<&Release>, id: u16) -> String {
    let region = release.and_then(|release| release.map.region(id));
    region.map_or_else(|| format!("region {id}"), |region| region.name.clone())
}

fn own_record(data: &[u8]) -> Option<Srv> {
    let ([p0, p1, w0, w1, o0, o1], target) = data.split_first_chunk::<6>()?;
    Some(Srv {
        priority: u16::from_be_bytes([*p0, *p1]),
        weight: u16::from_be_bytes([*w0, *w1]),
        port: u16::from_be_bytes([*o0, *o1]),
        target: name::text(target),
        token: None,
        region: None,
    })
}

/// The serial of the zone that a name is in: it follows the two names in the SOA's data.
pub fn serial(zones: &Zones, name: &[u8]) -> Option<u32> {
    let data = zones.find(name)?.soa().rdatas().next()?;
    let after_primary = data.get(name::read(data)?.len()..)?;
    let numbers = after_primary.get(name::read(after_primary)?.len()..)?;
    numbers
        .first_chunk::<4>()
        .map(|serial| u32::from_be_bytes(*serial))
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or_none = |number: Option<u64>| number.map_or("none".to_owned(), |n| n.to_string());
        writeln!(
            f,
            "generation {}   built at {}   zone serial {}",
            or_none(self.generation),
            or_none(self.built_at),
            or_none(self.zone_serial.map(u64::from)),
        )?;
        writeln!(f, "service    {} ({})", self.service, self.owner)?;
        write!(f, "client     {}", self.client)?;
        if let Some((first, last)) = &self.range {
            write!(f, "   range {first} - {last}")?;
        }
        match self.unit {
            Some(unit) => write!(f, "   unit {unit}")?,
            None => write!(f, "   no unit")?,
        }
        writeln!(f, "   ECS scope /{}", self.scope)?;
        writeln!(f, "reason     {}", self.reason)?;
        if let Some(placement) = &self.placement {
            write!(f, "placement  {:08x}", placement.id)?;
            for RegionShare { region, share } in &placement.regions {
                match share {
                    0 => write!(f, "   {region} (fallback)")?,
                    share => write!(f, "   {region} {}.{} %", share / 10, share % 10)?,
                }
            }
            writeln!(f)?;
        }
        if self.answer.is_empty() {
            writeln!(f, "answer     {}, no records", self.rcode)?;
        }
        for Srv {
            priority,
            weight,
            port,
            target,
            token,
            region,
        } in &self.answer
        {
            write!(
                f,
                "answer     {priority} {weight} {port} {target}   ttl {}",
                self.ttl
            )?;
            match (token, region) {
                (Some(token), Some(region)) => writeln!(f, "   token {token}: {region}")?,
                _ => writeln!(f, "   the zone's own")?,
            }
        }
        Ok(())
    }
}
