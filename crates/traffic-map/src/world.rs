//! `world.toml`: what the map is made from — regions, edges, overrides, and where the data files are.

mod edges;
mod overrides;
mod values;

use std::collections::BTreeMap;
use std::ops::Range;

use crate::finding::{Finding, Findings, nearest};
use crate::id_of_name;
use crate::map::Edge;
use crate::services::check_name;
use crate::subnet::Subnet;
use crate::tree::{self, Table};
use crate::world::edges::read_edges;
use crate::world::overrides::read_overrides;
use crate::world::values::{bit_rate, coordinates, public_key};

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

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

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
}
