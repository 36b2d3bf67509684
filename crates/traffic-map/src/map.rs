//! The map in memory: frozen, checked, owning everything; what L1, L2 and the edges look things up in.

use std::net::{IpAddr, SocketAddr};

use crate::bitmap::Bitmap;
use crate::placement::{Choice, PlacementView, Placements};
use crate::ranges::{NO_UNIT, Ranges};
use crate::sorted::Sorted;
use crate::subnet::{self, Subnet};

/// A set of client prefixes treated alike, by number. Numbers mean something inside one map only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UnitId(pub u32);

/// An index into [`Map::edges`].
pub type EdgeIndex = usize;

/// A group of edges at one place.
#[derive(Clone, Debug, PartialEq)]
pub struct Region {
    /// Stable across releases; tokens carry it.
    pub id: u16,
    /// The name in `world.toml`.
    pub name: String,
    /// Latitude and longitude in degrees, if known.
    pub at: Option<(f32, f32)>,
    /// Bits per second.
    pub capacity: u64,
    /// Its edges in [`Map::edges`], ascending. Derived from the edges: what a caller of [`Map::new`] puts here is ignored.
    pub edges: Vec<EdgeIndex>,
}

/// One media edge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    /// The name in `world.toml`.
    pub name: String,
    /// The id of its region.
    pub region: u16,
    /// Where players reach it; at least one; no address belongs to two edges.
    pub addresses: Vec<IpAddr>,
    /// RTSP port on each of its addresses.
    pub rtsp_port: u16,
    /// Where other edges reach it for handoffs.
    pub handoff: Option<SocketAddr>,
    /// Sessions it is meant to carry.
    pub capacity_sessions: u32,
    /// Ed25519 public key that other edges know it by.
    pub public_key: Option<[u8; 32]>,
    /// Formats it serves (`profile` of a service); empty means every one.
    pub profiles: Vec<String>,
}

impl Edge {
    /// Whether this edge can serve a service with this profile (`None`: any edge can).
    pub fn serves(&self, profile: Option<&str>) -> bool {
        profile.is_none_or(|p| self.profiles.is_empty() || self.profiles.iter().any(|own| own == p))
    }
}

/// What [`Map::find`] says about a client network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Match {
    /// The unit; `None` for space that the map says nothing about.
    pub unit: Option<UnitId>,
    /// RFC 7871 scope prefix length, in the family the network was given in (a v4-mapped network gets 96
    /// added). At most /24 and /56, but that no IPv6 scope covers the block of mapped addresses. Larger than the network's own length when the network spans several
    /// ranges: then `unit` is the one with most demand in it and this is the length that would tell them apart.
    pub scope: u8,
    /// First and last address the answer speaks for: the range, or the network itself if it spans several.
    pub range: (IpAddr, IpAddr),
}

/// A range as [`Map::ranges`] lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// First address.
    pub first: IpAddr,
    /// Last address.
    pub last: IpAddr,
    /// `None` for unmapped space.
    pub unit: Option<UnitId>,
}

impl Span {
    /// The largest aligned blocks that together are this range.
    pub fn blocks(&self) -> Vec<Subnet> {
        match (self.first, self.last) {
            (IpAddr::V4(first), IpAddr::V4(last)) => subnet::blocks(first.into(), last.into())
                .map(|(key, len)| Subnet {
                    address: subnet::v4_address(key),
                    len,
                })
                .collect(),
            (IpAddr::V6(first), IpAddr::V6(last)) => {
                subnet::blocks(subnet::v6_key(first), subnet::v6_key(last))
                    .map(|(key, len)| Subnet {
                        address: subnet::v6_first(key),
                        len,
                    })
                    .collect()
            }
            _ => Vec::new(),
        }
    }
}

/// What a map is put together from; [`Map::new`] checks it.
#[derive(Clone, Debug, Default)]
pub struct MapParts {
    /// The longest scopes for IPv4 and IPv6, at most 24 and 56; range starts must be aligned to them.
    pub ecs: (u8, u8),
    /// IPv4 range starts, ascending from 0, with their unit. Neighbours with equal units are joined.
    pub v4: Vec<(u32, Option<UnitId>)>,
    /// IPv6 range starts (top 64 bits), ascending from 0, with their unit.
    pub v6: Vec<(u64, Option<UnitId>)>,
    /// Demand of each unit, in any unit of measure; its length is the number of units.
    pub demand: Vec<u32>,
    /// For each service class, for each unit, its placement (empty: none).
    pub placements: Vec<Vec<Vec<Choice>>>,
    /// Regions in any order.
    pub regions: Vec<Region>,
    /// Edges in any order.
    pub edges: Vec<Edge>,
}

/// Why bytes or parts are no map.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MapError {
    /// The file does not begin with the magic number.
    #[error("not a traffic map")]
    Magic,
    /// Written by another version of the format.
    #[error("map format {0} is not supported (this program reads {expected})", expected = crate::FORMAT_VERSION)]
    Version(u32),
    /// The bytes end early, or there are bytes left over.
    #[error("{0}: the section is cut short or too long")]
    Size(&'static str),
    /// The section table is not the one every map has.
    #[error("the section table is malformed")]
    Sections,
    /// A section's content breaks a rule of the format.
    #[error("{0}: {1}")]
    Content(&'static str, String),
}

/// The decoded map.
#[derive(Clone, Debug)]
pub struct Map {
    pub(crate) ecs: (u8, u8),
    pub(crate) v4: Ranges<Bitmap>,
    pub(crate) v6: Ranges<Sorted>,
    pub(crate) demand: Vec<u32>,
    pub(crate) placements: Placements,
    /// Placement index by class, then unit; `NO_PLACEMENT` for none.
    pub(crate) assignment: Vec<Vec<u16>>,
    pub(crate) regions: Vec<Region>,
    pub(crate) edges: Vec<Edge>,
    /// (address, edge), sorted.
    by_address: Vec<(IpAddr, EdgeIndex)>,
}

/// Stands for "no placement" in the assignment.
pub(crate) const NO_PLACEMENT: u16 = u16::MAX;

impl Map {
    /// Puts a map together: joins equal neighbours, sorts regions by id and edges by name, keeps each
    /// different placement once.
    ///
    /// # Errors
    /// [`MapError::Content`] names the rule that the parts break.
    pub fn new(parts: MapParts) -> Result<Map, MapError> {
        let mut lists: Vec<&[Choice]> = parts
            .placements
            .iter()
            .flatten()
            .map(Vec::as_slice)
            .filter(|l| !l.is_empty())
            .collect();
        lists.sort_unstable();
        lists.dedup();
        let index_of = |list: &Vec<Choice>| match lists.binary_search(&list.as_slice()) {
            Ok(index) => u16::try_from(index).unwrap_or(NO_PLACEMENT),
            Err(_) => NO_PLACEMENT,
        };
        let assignment = parts
            .placements
            .iter()
            .map(|class| class.iter().map(index_of).collect())
            .collect();
        let placements = Placements::from_sorted(lists.into_iter())
            .map_err(|bad| MapError::Content("placements", bad.to_string()))?;
        let (v4_starts, v4_units) = joined(parts.v4);
        let (v6_starts, v6_units) = joined(parts.v6);
        let (mut regions, mut edges) = (parts.regions, parts.edges);
        regions.sort_by_key(|region| region.id);
        edges.sort_by(|a, b| a.name.cmp(&b.name));
        for edge in &mut edges {
            // An IPv6 socket address may carry a flow label and a zone, which have no place in a map.
            edge.handoff = edge
                .handoff
                .map(|handoff| SocketAddr::new(handoff.ip(), handoff.port()));
        }
        Map::from_checked(Raw {
            ecs: parts.ecs,
            v4: (v4_starts, v4_units),
            v6: (v6_starts, v6_units),
            demand: parts.demand,
            placements,
            assignment,
            regions,
            edges,
        })
    }

    /// The unit, scope and range for a client network. See [`Match`] for networks that span several ranges.
    pub fn find(&self, subnet: Subnet) -> Match {
        let (address, len, mapped) = canonical(subnet);
        match address {
            IpAddr::V4(address) => {
                let found = self.v4.find(address.into(), len);
                Match {
                    unit: unit(found.unit),
                    scope: found.scope.min(self.ecs.0) + if mapped { 96 } else { 0 },
                    range: (
                        subnet::v4_address(found.first),
                        subnet::v4_address(found.last),
                    ),
                }
            }
            IpAddr::V6(address) => {
                let found = self.v6.find(subnet::v6_key(address), len);
                Match {
                    unit: unit(found.unit),
                    scope: found
                        .scope
                        .min(self.ecs.1)
                        .max(subnet::beside_mapped(address)),
                    range: (subnet::v6_first(found.first), subnet::v6_last(found.last)),
                }
            }
        }
    }

    /// The unit and scope that [`Map::find`] gives, for who does not need the range: made to be cheap for IPv4.
    #[inline]
    pub fn unit_and_scope(&self, subnet: Subnet) -> (Option<UnitId>, u8) {
        let IpAddr::V4(address) = subnet.address else {
            return self.v6_unit_and_scope(subnet);
        };
        let found = self.v4.find(address.into(), subnet.len);
        (unit(found.unit), found.scope.min(self.ecs.0))
    }

    #[inline(never)]
    fn v6_unit_and_scope(&self, subnet: Subnet) -> (Option<UnitId>, u8) {
        let found = self.find(subnet);
        (found.unit, found.scope)
    }

    /// The placement of a unit for a service class; `None` if the unit or class is unknown, or has none.
    #[inline]
    pub fn placement(&self, unit: UnitId, class: u8) -> Option<PlacementView<'_>> {
        self.placement_at(self.placement_index(unit, class)?)
    }

    /// As [`Map::placement`], by its number in this map, below [`Map::placement_count`]: for tables beside the map.
    #[inline]
    pub fn placement_index(&self, unit: UnitId, class: u8) -> Option<u16> {
        let class = self.assignment.get(usize::from(class))?;
        let index = *class.get(unit.0 as usize)?;
        (index != NO_PLACEMENT).then_some(index)
    }

    /// The placement with this number.
    #[inline]
    pub fn placement_at(&self, index: u16) -> Option<PlacementView<'_>> {
        self.placements.view(usize::from(index))
    }

    /// The placement with this content hash, if this map still has it.
    pub fn placement_by_id(&self, id: u32) -> Option<PlacementView<'_>> {
        self.placements.by_id(id)
    }

    /// All regions, by ascending id.
    pub fn regions(&self) -> &[Region] {
        &self.regions
    }

    /// The region with this id.
    pub fn region(&self, id: u16) -> Option<&Region> {
        let at = self
            .regions
            .binary_search_by_key(&id, |region| region.id)
            .ok()?;
        self.regions.get(at)
    }

    /// All edges, by ascending name.
    pub fn edges(&self) -> &[Edge] {
        &self.edges
    }

    /// The edge with this name.
    pub fn edge(&self, name: &str) -> Option<&Edge> {
        let at = self
            .edges
            .binary_search_by(|edge| edge.name.as_str().cmp(name))
            .ok()?;
        self.edges.get(at)
    }

    /// The edge with this address.
    pub fn edge_by_address(&self, address: IpAddr) -> Option<&Edge> {
        let at = self
            .by_address
            .binary_search_by_key(&address, |(address, _)| *address)
            .ok()?;
        self.edges.get(self.by_address.get(at)?.1)
    }

    /// The longest scopes this map gives, for IPv4 and IPv6.
    pub fn ecs(&self) -> (u8, u8) {
        self.ecs
    }

    /// Number of units.
    pub fn unit_count(&self) -> usize {
        self.demand.len()
    }

    /// Number of service classes.
    pub fn class_count(&self) -> usize {
        self.assignment.len()
    }

    /// Number of different placements.
    pub fn placement_count(&self) -> usize {
        self.placements.len()
    }

    /// Demand of a unit as the mapmaker saw it.
    pub fn demand(&self, unit: UnitId) -> Option<u32> {
        self.demand.get(unit.0 as usize).copied()
    }

    /// Number of ranges, IPv4 and IPv6, unmapped ones included.
    pub fn range_counts(&self) -> (usize, usize) {
        (self.v4.len(), self.v6.len())
    }

    /// Every range in address order, IPv4 first; together they are the whole of both families.
    pub fn ranges(&self) -> impl Iterator<Item = Span> + '_ {
        let v4 = self.v4.iter().map(|(place, raw)| Span {
            first: subnet::v4_address(place.first),
            last: subnet::v4_address(place.last),
            unit: unit(raw),
        });
        let v6 = self.v6.iter().map(|(place, raw)| Span {
            first: subnet::v6_first(place.first),
            last: subnet::v6_last(place.last),
            unit: unit(raw),
        });
        v4.chain(v6)
    }

    /// The one gate that every map passes, whether built or decoded.
    pub(crate) fn from_checked(raw: Raw) -> Result<Map, MapError> {
        let bad = |section, text: &str| Err(MapError::Content(section, text.to_owned()));
        if raw.ecs.0 > 24 || raw.ecs.1 > 56 {
            return bad("limits", "ECS lengths above /24 and /56");
        }
        if raw.assignment.len() > usize::from(u8::MAX) {
            return bad("limits", "more than 255 service classes");
        }
        let v4 = Ranges::new(raw.v4.0, raw.v4.1, &raw.demand, raw.ecs.0)
            .map_err(|bad| MapError::Content("v4 ranges", bad.to_string()))?;
        let v6 = Ranges::new(raw.v6.0, raw.v6.1, &raw.demand, raw.ecs.1)
            .map_err(|bad| MapError::Content("v6 ranges", bad.to_string()))?;
        let mut used = vec![false; raw.placements.len()];
        for class in &raw.assignment {
            if class.len() != raw.demand.len() {
                return bad(
                    "assignment",
                    "a class does not have one entry for each unit",
                );
            }
            for index in class.iter().filter(|index| **index != NO_PLACEMENT) {
                match used.get_mut(usize::from(*index)) {
                    Some(used) => *used = true,
                    None => {
                        return bad("assignment", "a unit names a placement that does not exist");
                    }
                }
            }
        }
        if used.contains(&false) {
            return bad("placements", "a placement is used by no unit");
        }
        let mut regions = raw.regions;
        check_regions(&regions).map_err(|text| MapError::Content("regions", text.to_owned()))?;
        for index in 0..raw.placements.len() {
            let list = raw.placements.list(index).unwrap_or(&[]);
            let known = |id: u16| {
                regions
                    .binary_search_by_key(&id, |region| region.id)
                    .is_ok()
            };
            if !list.iter().all(|choice| known(choice.region)) {
                return bad(
                    "placements",
                    "a placement names a region that does not exist",
                );
            }
        }
        let by_address = join_edges(&mut regions, &raw.edges)
            .map_err(|text| MapError::Content("edges", text.to_owned()))?;
        Ok(Map {
            ecs: raw.ecs,
            v4,
            v6,
            demand: raw.demand,
            placements: raw.placements,
            assignment: raw.assignment,
            regions,
            edges: raw.edges,
            by_address,
        })
    }
}

/// Two maps are equal when they would be written as the same bytes.
impl PartialEq for Map {
    fn eq(&self, other: &Map) -> bool {
        self.encode() == other.encode()
    }
}

/// A map before its last check: sorted, joined, interned.
pub(crate) struct Raw {
    pub(crate) ecs: (u8, u8),
    pub(crate) v4: (Vec<u32>, Vec<u32>),
    pub(crate) v6: (Vec<u64>, Vec<u32>),
    pub(crate) demand: Vec<u32>,
    pub(crate) placements: Placements,
    pub(crate) assignment: Vec<Vec<u16>>,
    pub(crate) regions: Vec<Region>,
    pub(crate) edges: Vec<Edge>,
}

#[inline]
fn unit(raw: u32) -> Option<UnitId> {
    (raw != NO_UNIT).then_some(UnitId(raw))
}

/// The address to look up, its length, and whether it was an IPv4 address in IPv6 clothes.
fn canonical(subnet: Subnet) -> (IpAddr, u8, bool) {
    if let IpAddr::V6(address) = subnet.address
        && let Some(v4) = address.to_ipv4_mapped()
        && subnet.len >= 96
    {
        return (IpAddr::V4(v4), subnet.len - 96, true);
    }
    (subnet.address, subnet.len, false)
}

fn joined<K: Copy>(ranges: Vec<(K, Option<UnitId>)>) -> (Vec<K>, Vec<u32>) {
    let (mut starts, mut units) = (Vec::new(), Vec::new());
    for (start, unit) in ranges {
        let unit = unit.map_or(NO_UNIT, |unit| unit.0);
        if units.last() != Some(&unit) {
            starts.push(start);
            units.push(unit);
        }
    }
    (starts, units)
}

/// Addresses, and profiles, of one edge; the file counts them in one octet.
const EDGE_LIST_MAX: usize = 32;

fn is_name(text: &str) -> bool {
    (1..=63).contains(&text.len())
}

fn check_regions(regions: &[Region]) -> Result<(), &'static str> {
    if regions
        .iter()
        .zip(regions.iter().skip(1))
        .any(|(a, b)| a.id >= b.id)
    {
        return Err("region ids do not ascend");
    }
    let mut names: Vec<&str> = regions.iter().map(|region| region.name.as_str()).collect();
    names.sort_unstable();
    if names.iter().zip(names.iter().skip(1)).any(|(a, b)| a == b) {
        return Err("two regions have the same name");
    }
    let on_earth = |(lat, lon): (f32, f32)| lat.abs() <= 90.0 && lon.abs() <= 180.0;
    if !regions.iter().all(|region| is_name(&region.name)) {
        return Err("a region's name is empty or longer than 63 octets");
    }
    if !regions.iter().all(|region| region.at.is_none_or(on_earth)) {
        return Err("a region's coordinates are not on Earth");
    }
    Ok(())
}

/// Lists each edge in its region; gives the addresses, sorted.
fn join_edges(
    regions: &mut [Region],
    edges: &[Edge],
) -> Result<Vec<(IpAddr, EdgeIndex)>, &'static str> {
    if edges
        .iter()
        .zip(edges.iter().skip(1))
        .any(|(a, b)| a.name >= b.name)
    {
        return Err("edge names do not ascend");
    }
    for region in regions.iter_mut() {
        region.edges.clear();
    }
    let mut by_address = Vec::new();
    for (index, edge) in edges.iter().enumerate() {
        let Ok(at) = regions.binary_search_by_key(&edge.region, |region| region.id) else {
            return Err("an edge is in a region that does not exist");
        };
        if let Some(region) = regions.get_mut(at) {
            region.edges.push(index);
        }
        if edge.addresses.is_empty() || edge.addresses.len() > EDGE_LIST_MAX {
            return Err("an edge has no address, or too many");
        }
        if edge.profiles.len() > EDGE_LIST_MAX || !edge.profiles.iter().all(|name| is_name(name)) {
            return Err("an edge has too many profiles, or one with a bad name");
        }
        if !is_name(&edge.name) {
            return Err("an edge's name is empty or longer than 63 octets");
        }
        by_address.extend(edge.addresses.iter().map(|address| (*address, index)));
    }
    by_address.sort_unstable();
    if by_address
        .iter()
        .zip(by_address.iter().skip(1))
        .any(|(a, b)| a.0 == b.0)
    {
        return Err("an address belongs to two edges");
    }
    Ok(by_address)
}
