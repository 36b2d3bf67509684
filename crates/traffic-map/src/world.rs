//! `world.toml`: what the map is made from — regions, edges, overrides, and where the data files are.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use toml::de::DeValue;

use crate::finding::{Finding, Findings, nearest};
use crate::id_of_name;
use crate::map::Edge;
use crate::services::check_name;
use crate::subnet::Subnet;
use crate::tree::{self, Table, Value};

/// A region as the operator describes it.
#[derive(Clone, Debug, PartialEq)]
pub struct WorldRegion {
    /// Stable number that tokens carry: `id`, or a hash of the name.
    pub id: u16,
    /// The name of its table: `eu-west`.
    pub name: String,
    /// Latitude and longitude in degrees; `None` when not said.
    pub at: Option<(f64, f64)>,
    /// Bits per second.
    pub capacity: u64,
    /// Ids of the regions to fall back on first, in order; then the next-best by score follow.
    pub spill: Vec<u16>,
}

/// Networks that an operator routes by hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// The networks, normalized. No network of any override overlaps another.
    pub nets: Vec<Subnet>,
    /// Region ids, best first.
    pub order: Vec<u16>,
    /// The reason, shown by `explain` and in diffs.
    pub why: String,
    /// Last day it holds, `YYYY-MM-DD`.
    pub until: Option<String>,
    /// Line in `world.toml`.
    pub line: usize,
}

/// A whole file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct World {
    /// The name of its map.
    pub map: String,
    /// Prefix tables (`start,end,asn,lat,lon,country`), relative to this file.
    pub prefixes: Vec<String>,
    /// Measurement tables (`ts,prefix,region,rtt_us,loss,n,source`), relative to this file.
    pub measurements: Vec<String>,
    /// Demand table (`prefix,weight`), relative to this file.
    pub demand: Option<String>,
    /// Edge identities (see [`parse_identities`]), relative to this file.
    pub identities: Option<String>,
    /// The longest ECS scopes, IPv4 and IPv6: at most 24 and 56.
    pub ecs: (u8, u8),
    /// What all demand together amounts to, in bits per second; `None`: 60 % of all capacity.
    pub load: Option<u64>,
    /// By name.
    pub regions: Vec<WorldRegion>,
    /// By name.
    pub edges: Vec<Edge>,
    /// In file order.
    pub overrides: Vec<Override>,
    /// What is odd but accepted, such as an override about to end.
    pub warnings: Vec<Finding>,
}

impl World {
    /// The region with this name.
    pub fn region(&self, name: &str) -> Option<&WorldRegion> {
        self.regions.iter().find(|region| region.name == name)
    }

    /// The region with this id.
    pub fn region_by_id(&self, id: u16) -> Option<&WorldRegion> {
        self.regions.iter().find(|region| region.id == id)
    }

    /// Gives edges the public keys of an identities file; its keys win over those in `world.toml`.
    pub fn set_identities(&mut self, identities: &BTreeMap<String, [u8; 32]>) {
        for edge in &mut self.edges {
            edge.public_key = identities.get(&edge.name).copied().or(edge.public_key);
        }
    }
}

/// An override that ends within this many seconds is remarked on.
const UNTIL_WARNING_SECONDS: u64 = 14 * DAY_SECONDS;
const DAY_SECONDS: u64 = 86_400;
/// RTSP (RFC 7826 gives 554; players of ours run unprivileged edges).
const RTSP_PORT: u16 = 8554;
/// Sessions an edge is meant to carry when the file does not say.
const SESSIONS: u64 = 1000;

/// Reads `world.toml`. `file` is how findings name it; `now` (Unix seconds) decides which overrides are past.
///
/// # Errors
/// Everything that is wrong, in file order; nothing is accepted from a file with an error.
pub fn parse(file: &str, text: &str, now: u64) -> Result<World, Vec<Finding>> {
    let mut findings = Findings::new(file, text);
    let tree = tree::parse(text, &mut findings);
    let mut root = Table::root(&tree, "world.toml");
    let mut world = World {
        ecs: (24, 56),
        ..World::default()
    };
    if let Some(maps) = root.table("map", &mut findings) {
        read_map(maps, &mut world, &mut findings);
    }
    let regions = read_regions(&mut root, &mut world, &mut findings);
    read_edges(&mut root, &mut world, &regions, &mut findings);
    read_overrides(&mut root, &mut world, now, &mut findings);
    root.finish(&mut findings);
    if world.regions.is_empty() {
        findings.error(&(0..0), "there is no [region.…]: a map needs at least one");
    }
    let (mut world, warnings) = findings.finish(world)?;
    world.warnings = warnings;
    Ok(world)
}

/// Reads an identities file: one line `edge = "base64 of its Ed25519 public key"` for each edge.
///
/// # Errors
/// Everything that is wrong, in file order.
pub fn parse_identities(
    file: &str,
    text: &str,
) -> Result<BTreeMap<String, [u8; 32]>, Vec<Finding>> {
    let mut findings = Findings::new(file, text);
    let tree = tree::parse(text, &mut findings);
    let root = Table::root(&tree, "identities");
    let mut keys = BTreeMap::new();
    for (edge, _, value) in root.named() {
        if let Some(key) = public_key(edge, value, &mut findings) {
            keys.insert(edge.to_owned(), key);
        }
    }
    findings.finish(keys).map(|(keys, _)| keys)
}

fn read_map(maps: Table<'_, '_>, world: &mut World, findings: &mut Findings<'_>) {
    for (count, (name, place, value)) in maps.named().enumerate() {
        if count > 0 {
            findings.error(&place, "a second map: one world makes one map");
            continue;
        }
        check_name("map", name, &place, findings);
        let Some(mut table) = Table::of(format!("[map.{name}]"), value, findings) else {
            continue;
        };
        let paths = |found: Vec<(&str, Range<usize>)>| {
            found
                .into_iter()
                .map(|(path, _)| path.to_owned())
                .collect::<Vec<_>>()
        };
        world.map = name.to_owned();
        world.prefixes = paths(table.texts("prefixes", findings));
        world.measurements = paths(table.texts("measurements", findings));
        world.demand = table.text("demand", findings).map(str::to_owned);
        world.identities = table.text("identities", findings).map(str::to_owned);
        world.load = table
            .optional("load")
            .and_then(|value| bit_rate("load", value, findings));
        if let Some(mut ecs) = table.table("ecs", findings) {
            world.ecs.0 = ecs.integer("v4", 8..=24, findings).unwrap_or(24) as u8;
            world.ecs.1 = ecs.integer("v6", 16..=56, findings).unwrap_or(56) as u8;
            ecs.finish(findings);
        }
        table.finish(findings);
    }
}

/// An edge named in a region's `edges` list, and where.
struct Listed {
    region: u16,
    region_name: String,
    place: Range<usize>,
}

fn read_regions(
    root: &mut Table<'_, '_>,
    world: &mut World,
    findings: &mut Findings<'_>,
) -> BTreeMap<String, Listed> {
    let mut listed: BTreeMap<String, Listed> = BTreeMap::new();
    let mut spills = Vec::new();
    let mut ids: BTreeMap<u16, &str> = BTreeMap::new();
    let Some(regions) = root.table("region", findings) else {
        return listed;
    };
    for (name, place, value) in regions.named() {
        check_name("region", name, &place, findings);
        let Some(mut table) = Table::of(format!("[region.{name}]"), value, findings) else {
            continue;
        };
        let explicit = table.integer("id", 0..=65535, findings);
        let id = explicit.map_or(id_of_name(name), |id| id as u16);
        if let Some(first) = ids.insert(id, name) {
            findings.error_with_hint(
                &place,
                format!("regions {first} and {name} have the same id {id}"),
                "give one of them an `id` of its own",
            );
        }
        for (edge, place) in table.texts("edges", findings) {
            let entry = Listed {
                region: id,
                region_name: name.to_owned(),
                place: place.clone(),
            };
            if let Some(first) = listed.insert(edge.to_owned(), entry) {
                let (first, message) =
                    (first.region_name, format!("edge {edge} is in two regions"));
                findings.error_with_hint(
                    &place,
                    message,
                    format!("it is in {first} and in {name}"),
                );
            }
        }
        let at = table
            .optional("at")
            .and_then(|value| coordinates(value, findings));
        let capacity = table.required("capacity", findings);
        let capacity = capacity.and_then(|value| bit_rate("capacity", value, findings));
        spills.push(table.texts("spill", findings));
        world.regions.push(WorldRegion {
            id,
            name: name.to_owned(),
            at,
            capacity: capacity.unwrap_or(0),
            spill: Vec::new(),
        });
        table.finish(findings);
    }
    for (index, spill) in spills.into_iter().enumerate() {
        let ids = region_ids(
            "spill",
            spill,
            &world.regions,
            findings,
            |name, place, findings| {
                if world
                    .regions
                    .get(index)
                    .is_some_and(|region| region.name == name)
                {
                    findings.error(place, format!("region {name} spills into itself"));
                }
            },
        );
        if let Some(region) = world.regions.get_mut(index) {
            region.spill = ids;
        }
    }
    listed
}

/// Region names to ids; an unknown one, or the same one twice, is a finding.
fn region_ids(
    key: &str,
    names: Vec<(&str, Range<usize>)>,
    regions: &[WorldRegion],
    findings: &mut Findings<'_>,
    also: impl Fn(&str, &Range<usize>, &mut Findings<'_>),
) -> Vec<u16> {
    let mut ids = Vec::new();
    for (name, place) in names {
        also(name, &place, findings);
        match regions.iter().find(|region| region.name == name) {
            Some(region) if ids.contains(&region.id) => {
                findings.error(&place, format!("`{key}` names region {name} twice"));
            }
            Some(region) => ids.push(region.id),
            None => unknown_region(name, &place, regions, findings),
        }
    }
    ids
}

fn unknown_region(
    name: &str,
    place: &Range<usize>,
    regions: &[WorldRegion],
    findings: &mut Findings<'_>,
) {
    let names = || regions.iter().map(|region| region.name.as_str());
    let hint = match nearest(name, names()) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("there are: {}", names().collect::<Vec<_>>().join(", ")),
    };
    findings.error_with_hint(place, format!("there is no region {name}"), hint);
}

fn read_edges(
    root: &mut Table<'_, '_>,
    world: &mut World,
    listed: &BTreeMap<String, Listed>,
    findings: &mut Findings<'_>,
) {
    let mut addresses: BTreeMap<IpAddr, &str> = BTreeMap::new();
    let mut defined = Vec::new();
    if let Some(edges) = root.table("edge", findings) {
        for (name, place, value) in edges.named() {
            defined.push(name);
            check_name("edge", name, &place, findings);
            let Some(mut table) = Table::of(format!("[edge.{name}]"), value, findings) else {
                continue;
            };
            let region = edge_region(name, &place, &mut table, listed, &world.regions, findings);
            let mut own = Vec::new();
            for (text, place) in table.texts("addr", findings) {
                let Ok(address) = text.parse::<IpAddr>() else {
                    findings.error(&place, format!("\"{text}\" is no IP address"));
                    continue;
                };
                if let Some(first) = addresses.insert(address, name) {
                    let message =
                        format!("edges {first} and {name} have the same address {address}");
                    findings.error(&place, message);
                }
                own.push(address);
            }
            if own.is_empty() {
                findings.error(&place, format!("[edge.{name}] lacks a usable `addr`"));
            }
            let rtsp = table.integer("rtsp", 1..=65535, findings);
            let handoff = table.optional("handoff");
            let public_key = table.optional("public_key");
            world.edges.push(Edge {
                name: name.to_owned(),
                region: region.unwrap_or(0),
                rtsp_port: rtsp.map_or(RTSP_PORT, |port| port as u16),
                handoff: handoff.and_then(|value| handoff_address(value, &own, findings)),
                addresses: own,
                capacity_sessions: table
                    .integer("sessions", 1..=u64::from(u32::MAX), findings)
                    .unwrap_or(SESSIONS) as u32,
                public_key: public_key.and_then(|value| public_key_of(value, findings)),
                profiles: table
                    .texts("profiles", findings)
                    .into_iter()
                    .map(|p| p.0.to_owned())
                    .collect(),
            });
            table.finish(findings);
        }
    }
    for (name, entry) in listed {
        if !defined.contains(&name.as_str()) {
            let message = format!(
                "region {} lists edge {name}, but there is no [edge.{name}]",
                entry.region_name
            );
            findings.error(&entry.place, message);
        }
    }
}

/// The region an edge says it is in, or the one that lists it; both may say so if they agree.
fn edge_region(
    name: &str,
    place: &Range<usize>,
    table: &mut Table<'_, '_>,
    listed: &BTreeMap<String, Listed>,
    regions: &[WorldRegion],
    findings: &mut Findings<'_>,
) -> Option<u16> {
    let listed = listed.get(name);
    let Some(value) = table.optional("region") else {
        if listed.is_none() {
            let hint = format!("set `region`, or name {name} in a region's `edges`");
            findings.error_with_hint(place, format!("edge {name} is in no region"), hint);
        }
        return listed.map(|listed| listed.region);
    };
    let said = tree::text("region", value, findings)?;
    let Some(region) = regions.iter().find(|region| region.name == said) else {
        unknown_region(said, &value.span(), regions, findings);
        return None;
    };
    if let Some(listed) = listed
        && listed.region != region.id
    {
        let hint = format!("it says {said}, and {} lists it", listed.region_name);
        findings.error_with_hint(
            &value.span(),
            format!("edge {name} is in two regions"),
            hint,
        );
    }
    Some(region.id)
}

fn read_overrides(
    root: &mut Table<'_, '_>,
    world: &mut World,
    now: u64,
    findings: &mut Findings<'_>,
) {
    let Some(value) = root.optional("override") else {
        return;
    };
    let Some(items) = value.get_ref().as_array() else {
        let message = format!(
            "`override` must be written [[override]], not {}",
            tree::kind(value)
        );
        findings.error(&value.span(), message);
        return;
    };
    let mut seen: Vec<(Subnet, usize)> = Vec::new();
    for item in items.iter() {
        let Some(mut table) = Table::of("[[override]]".to_owned(), item, findings) else {
            continue;
        };
        let (line, _) = findings.place(item.span().start);
        let mut nets = Vec::new();
        if table.required("net", findings).is_some() {
            for (text, place) in table.texts("net", findings) {
                if let Some(net) = override_net(text, &place, world.ecs, &seen, findings) {
                    seen.push((net, line));
                    nets.push(net);
                }
            }
        }
        let order = match table.required("order", findings) {
            Some(_) => table.texts("order", findings),
            None => Vec::new(),
        };
        let order = region_ids("order", order, &world.regions, findings, |_, _, _| ());
        if table
            .required("why", findings)
            .is_some_and(|why| why.get_ref().as_str() == Some(""))
        {
            findings.error(
                table.place(),
                "`why` is empty: an override needs its reason",
            );
        }
        let why = table.text("why", findings).unwrap_or_default().to_owned();
        let until = table
            .optional("until")
            .and_then(|value| until(value, now, findings));
        if order.is_empty() {
            findings.error(table.place(), "[[override]] names no region to go to");
        }
        world.overrides.push(Override {
            nets,
            order,
            why,
            until,
            line,
        });
        table.finish(findings);
    }
}

fn override_net(
    text: &str,
    place: &Range<usize>,
    ecs: (u8, u8),
    seen: &[(Subnet, usize)],
    findings: &mut Findings<'_>,
) -> Option<Subnet> {
    let net = match text.parse::<Subnet>() {
        Ok(net) => net,
        Err(error) => {
            findings.error(place, format!("`net`: {error}"));
            return None;
        }
    };
    let normal = net.normalized();
    if normal != net {
        let hint = format!("the network is {normal}");
        findings.error_with_hint(
            place,
            format!("`net` {text} has bits set past its length"),
            hint,
        );
        return None;
    }
    let finest = if net.address.is_ipv4() { ecs.0 } else { ecs.1 };
    if net.len > finest {
        let message = format!("`net` {text} is finer than the map's ECS length /{finest}");
        findings.error_with_hint(
            place,
            message,
            "resolvers never say more of a client than that",
        );
        return None;
    }
    if let Some((other, line)) = seen.iter().find(|(other, _)| overlap(*other, net)) {
        let message = format!("`net` {text} overlaps {other} of the override in line {line}");
        findings.error_with_hint(
            place,
            message,
            "which one wins would be arbitrary: make them disjoint",
        );
        return None;
    }
    Some(net)
}

/// Whether one of two normalized networks lies in the other.
fn overlap(a: Subnet, b: Subnet) -> bool {
    let len = a.len.min(b.len);
    let cut = |net: Subnet| Subnet { len, ..net }.normalized();
    a.address.is_ipv4() == b.address.is_ipv4() && cut(a) == cut(b)
}

/// The last day of an override, still good on that day (UTC).
fn until(value: &Value<'_>, now: u64, findings: &mut Findings<'_>) -> Option<String> {
    let date = match value.get_ref() {
        DeValue::Datetime(datetime) => datetime.date.map(|d| (d.year.into(), d.month, d.day)),
        DeValue::String(text) => date(text),
        _ => None,
    };
    let Some((year, month, day)) = date else {
        findings.error(&value.span(), "`until` must be a date such as 2026-12-01");
        return None;
    };
    let end = (days_since_1970(year, month, day) + 1) * DAY_SECONDS;
    let text = format!("{year:04}-{month:02}-{day:02}");
    if now >= end {
        let hint = "remove it, or give it a later date";
        findings.error_with_hint(&value.span(), format!("the override ended on {text}"), hint);
    } else if end - now <= UNTIL_WARNING_SECONDS {
        let days = (end - now).div_ceil(DAY_SECONDS);
        findings.warning(
            &value.span(),
            format!("the override ends in {days} days, after {text}"),
            None,
        );
    }
    Some(text)
}

fn date(text: &str) -> Option<(u64, u8, u8)> {
    let mut parts = text.splitn(3, '-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    let date = (year.parse().ok()?, month.parse().ok()?, day.parse().ok()?);
    ((1970..=9999).contains(&date.0) && (1..=12).contains(&date.1) && (1..=31).contains(&date.2))
        .then_some(date)
}

/// Days from 1970-01-01, by counting leap days; years before 1970 count as 1970.
fn days_since_1970(year: u64, month: u8, day: u8) -> u64 {
    const BEFORE_MONTH: [u64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    let years = year.saturating_sub(1970);
    let leap = |y: u64| y.is_multiple_of(4) && (!y.is_multiple_of(100) || y.is_multiple_of(400));
    let leap_days = (1970..year).filter(|y| leap(*y)).count() as u64;
    let before = BEFORE_MONTH
        .get(usize::from(month).saturating_sub(1))
        .copied()
        .unwrap_or(0);
    let this_year = u64::from(month > 2 && leap(year));
    years * 365 + leap_days + before + this_year + u64::from(day).saturating_sub(1)
}

/// `[latitude, longitude]` in degrees.
fn coordinates(value: &Value<'_>, findings: &mut Findings<'_>) -> Option<(f64, f64)> {
    let pair = value.get_ref().as_array().filter(|items| items.len() == 2);
    let mut items = pair.into_iter().flat_map(|items| items.iter());
    let (Some(lat), Some(lon)) = (items.next(), items.next()) else {
        findings.error(
            &value.span(),
            "`at` must be [latitude, longitude] in degrees",
        );
        return None;
    };
    let (lat, lon) = (
        tree::decimal("at", lat, findings)?,
        tree::decimal("at", lon, findings)?,
    );
    if lat.abs() > 90.0 || lon.abs() > 180.0 {
        let hint = "latitude -90 to 90 first, then longitude -180 to 180";
        findings.error_with_hint(
            &value.span(),
            format!("[{lat}, {lon}] is not on Earth"),
            hint,
        );
        return None;
    }
    Some((lat, lon))
}

/// `"40 Gbit/s"`, or a whole number of bits per second.
fn bit_rate(key: &str, value: &Value<'_>, findings: &mut Findings<'_>) -> Option<u64> {
    let rate = match value.get_ref() {
        DeValue::Integer(_) => return tree::integer(key, value, 1..=RATE_MAX, findings),
        DeValue::String(text) => rate(text),
        _ => None,
    };
    if rate.is_none() {
        let hint = "such as \"40 Gbit/s\"; units: bit/s, kbit/s, Mbit/s, Gbit/s, Tbit/s";
        findings.error_with_hint(&value.span(), format!("`{key}` is no bit rate"), hint);
    }
    rate
}

/// An exabit a second: sums of rates stay far from 64 bits.
const RATE_MAX: u64 = 1_000_000_000_000_000;

fn rate(text: &str) -> Option<u64> {
    let (number, unit) = text.trim().split_once(' ')?;
    let factor = match unit.trim() {
        "bit/s" => 1.0,
        "kbit/s" => 1e3,
        "Mbit/s" => 1e6,
        "Gbit/s" => 1e9,
        "Tbit/s" => 1e12,
        _ => return None,
    };
    let rate = (number.parse::<f64>().ok()? * factor).round();
    (rate >= 1.0 && rate <= RATE_MAX as f64).then_some(rate as u64)
}

/// A port on the edge's first address, or a whole `address:port`.
fn handoff_address(
    value: &Value<'_>,
    addresses: &[IpAddr],
    findings: &mut Findings<'_>,
) -> Option<SocketAddr> {
    if let DeValue::Integer(_) = value.get_ref() {
        let port = tree::integer("handoff", value, 1..=65535, findings)? as u16;
        return addresses
            .first()
            .map(|address| SocketAddr::new(*address, port));
    }
    let text = tree::text("handoff", value, findings)?;
    match text.parse() {
        Ok(address) => Some(address),
        Err(_) => {
            let hint = "a port, or such as \"192.0.2.11:8555\"";
            findings.error_with_hint(
                &value.span(),
                format!("`handoff` \"{text}\" is no address"),
                hint,
            );
            None
        }
    }
}

fn public_key_of(value: &Value<'_>, findings: &mut Findings<'_>) -> Option<[u8; 32]> {
    public_key("public_key", value, findings)
}

fn public_key(key: &str, value: &Value<'_>, findings: &mut Findings<'_>) -> Option<[u8; 32]> {
    let text = tree::text(key, value, findings)?;
    let bytes = STANDARD
        .decode(text.trim())
        .ok()
        .and_then(|bytes| bytes.try_into().ok());
    if bytes.is_none() {
        findings.error(
            &value.span(),
            format!("`{key}` is not the base64 of a 32-octet public key"),
        );
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-20.
    const NOW: u64 = 1_795_132_800;

    const GOOD: &str = r#"
[map.world]
prefixes     = "data/prefixes.csv.zst"
measurements = ["data/a.csv", "data/b.csv"]
ecs          = { v4 = 24, v6 = 56 }
[region.eu-west]
at       = [48.86, 2.35]
edges    = ["cdg1"]
capacity = "40 Gbit/s"
spill    = ["us-east"]
[region.us-east]
capacity = 1000
[[override]]
net   = ["203.0.113.0/24", "2001:db8:40::/48"]
order = ["us-east", "eu-west"]
why   = "ticket 4711: peering moved"
until = 2027-12-01
[edge.cdg1]
region  = "eu-west"
addr    = ["192.0.2.11", "2001:db8::11"]
rtsp    = 554
handoff = 8555
[edge.iad1]
region = "us-east"
addr   = "192.0.2.12"
"#;

    fn refused(text: &str) -> String {
        let findings = parse("w.toml", text, NOW).unwrap_err();
        findings.iter().map(|f| f.to_string() + "\n").collect()
    }

    #[test]
    fn reads_a_world() {
        let world = parse("w.toml", GOOD, NOW).unwrap();
        let eu = world.region("eu-west").unwrap();
        assert_eq!((eu.at, eu.capacity), (Some((48.86, 2.35)), 40_000_000_000));
        assert_eq!(eu.spill, [id_of_name("us-east")]);
        assert_eq!(
            world.edges[0].handoff,
            Some("192.0.2.11:8555".parse().unwrap())
        );
        assert_eq!(world.edges[1].rtsp_port, 8554);
        assert_eq!(world.overrides[0].line, 13);
        assert_eq!(world.overrides[0].until.as_deref(), Some("2027-12-01"));
        assert_eq!(world.measurements, ["data/a.csv", "data/b.csv"]);
        assert_eq!(world.warnings, []);
    }

    #[test]
    fn reports_every_mistake_in_one_run_with_its_place() {
        let text = GOOD
            .replace("[48.86, 2.35]", "[248.86, 2.35]")
            .replace("\"40 Gbit/s\"", "\"40 Gb\"")
            .replace("spill    = [\"us-east\"]", "spil = []")
            .replace("\"eu-west\"]\nwhy", "\"eu-wset\"]\nwhy")
            .replace("192.0.2.12", "192.0.2.11");
        let all = refused(&text);
        for expected in [
            "w.toml:7:12: error: [248.86, 2.35] is not on Earth",
            "w.toml:9:12: error: `capacity` is no bit rate",
            "w.toml:10:1: error: unknown key `spil` in [region.eu-west] (did you mean `spill`?)",
            "w.toml:15:21: error: there is no region eu-wset (did you mean `eu-west`?)",
            "w.toml:25:10: error: edges cdg1 and iad1 have the same address 192.0.2.11",
        ] {
            assert!(all.contains(expected), "{expected}\n---\n{all}");
        }
        assert_eq!(all.lines().count(), 5, "{all}");
    }

    #[test]
    fn refuses_an_edge_in_two_regions() {
        let all = refused(&GOOD.replace("capacity = 1000", "capacity = 1000\nedges = [\"cdg1\"]"));
        assert!(all.contains("edge cdg1 is in two regions"), "{all}");
        let all = refused(&GOOD.replace("region  = \"eu-west\"", "region  = \"us-east\""));
        assert!(all.contains("edge cdg1 is in two regions"), "{all}");
    }

    #[test]
    fn refuses_overlapping_overrides() {
        let more = "[[override]]\nnet = \"203.0.112.0/23\"\norder = [\"eu-west\"]\nwhy = \"x\"\n";
        let all = refused(&GOOD.replace("[edge.cdg1]", &format!("{more}[edge.cdg1]")));
        assert!(
            all.contains("203.0.112.0/23 overlaps 203.0.113.0/24 of the override in line 13"),
            "{all}"
        );
    }

    #[test]
    fn an_override_warns_before_its_end_and_is_an_error_after() {
        let soon = parse("w.toml", &GOOD.replace("2027-12-01", "2026-11-22"), NOW).unwrap();
        assert!(
            soon.warnings[0]
                .to_string()
                .contains("warning: the override ends in 3 days")
        );
        assert!(parse("w.toml", &GOOD.replace("2027-12-01", "2026-11-20"), NOW).is_ok());
        let all = refused(&GOOD.replace("2027-12-01", "2026-11-19"));
        assert!(
            all.contains("w.toml:17:9: error: the override ended on 2026-11-19"),
            "{all}"
        );
    }

    #[test]
    fn ids_that_collide_are_an_error_with_the_way_out() {
        let text = GOOD
            .replace("capacity = 1000", "capacity = 1000\nid = 3")
            .replace(
                "capacity = \"40 Gbit/s\"",
                "capacity = \"40 Gbit/s\"\nid = 3",
            );
        assert!(
            refused(&text).contains("have the same id 3 (give one of them an `id` of its own)")
        );
    }

    #[test]
    fn reads_identities() {
        let key = STANDARD.encode([7; 32]);
        let mut world = parse("w.toml", GOOD, NOW).unwrap();
        world.set_identities(&parse_identities("k", &format!("cdg1 = \"{key}\"")).unwrap());
        assert_eq!(world.edges[0].public_key, Some([7; 32]));
        assert!(parse_identities("k", "cdg1 = \"AAAA\"").is_err());
    }

    #[test]
    fn counts_days_as_the_calendar_does() {
        assert_eq!(days_since_1970(1970, 1, 1), 0);
        assert_eq!(days_since_1970(2000, 3, 1), 11_017);
        assert_eq!(days_since_1970(2026, 11, 20) * DAY_SECONDS, NOW);
    }
}
