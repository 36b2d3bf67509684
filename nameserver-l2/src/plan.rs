//! A release prepared for choosing: for each region and address family the servers with their hashes and addresses, and the
//! order in which a token's regions are tried.

use std::iter;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use route_token::Payload;
use traffic_map::{Edge, Map};

use crate::by_id::ById;
use crate::rendezvous;

/// The part of the live table that changes with the release only.
#[derive(Debug)]
pub struct Plan {
    /// Generation of the release.
    pub generation: u64,
    /// When it was built, Unix seconds.
    pub built_at: u64,
    /// The map itself.
    pub map: Map,
    /// Every address of every edge: what is probed. Liveness is kept by index into this list.
    pub targets: Vec<SocketAddr>,
    /// By edge, in the map's order: its addresses in `targets`.
    targets_of: Vec<Range<usize>>,
    /// In the order of the map's regions.
    areas: Vec<Area>,
    areas_by_id: ById,
    /// For tokens that the map does not know.
    default_region: Option<u16>,
}

/// One region, ready for choosing.
#[derive(Debug)]
pub(crate) struct Area {
    pub(crate) id: u16,
    /// Its edges, by index into the map's.
    edges: Vec<usize>,
    v4: Pool,
    v6: Pool,
    /// The other regions by distance.
    nearest: Vec<u16>,
}

/// The servers of a region that have addresses of one family, in the order of the map's edges.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) servers: Vec<Server>,
    /// All weights are the same, and not 0.
    pub(crate) even: bool,
}

/// One edge with its addresses of one family.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) seed: u64,
    pub(crate) weight: f64,
    /// Index into the map's edges.
    pub(crate) edge: usize,
    /// Beside the rest of what every choice looks at.
    first: Address,
    more: Vec<Address>,
}

/// An address of a server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Address {
    pub(crate) ip: IpAddr,
    /// Index into [`Plan::targets`].
    pub(crate) target: usize,
}

/// Which addresses are live, by index into [`Plan::targets`].
pub type Live = Vec<bool>;

impl Plan {
    /// Prepares a map for choosing. `default_region` (a name) gets the tokens whose region and placement are both unknown.
    pub fn new(generation: u64, built_at: u64, map: Map, default_region: Option<&str>) -> Plan {
        let mut targets = Vec::new();
        let targets_of = map.edges().iter().map(|edge| {
            let first = targets.len();
            let sockets = edge.addresses.iter();
            targets.extend(sockets.map(|address| SocketAddr::new(*address, edge.rtsp_port)));
            first..targets.len()
        });
        let targets_of: Vec<Range<usize>> = targets_of.collect();
        let areas = map.regions().iter().zip(nearest(&map));
        let areas = areas.map(|(region, nearest)| {
            let pool = |family| pool(&map, &region.edges, &targets_of, family);
            Area {
                id: region.id,
                edges: region.edges.clone(),
                v4: pool(Family::V4),
                v6: pool(Family::V6),
                nearest,
            }
        });
        let areas = areas.collect();
        let areas_by_id = ById::new(map.regions().iter().map(|region| region.id));
        let default_region = default_region
            .and_then(|name| map.regions().iter().find(|region| region.name == name))
            .map(|region| region.id);
        Plan {
            generation,
            built_at,
            map,
            targets,
            targets_of,
            areas,
            areas_by_id,
            default_region,
        }
    }

    /// A live table in which everything is up: how a fresh start sees the world.
    pub fn all_up(&self) -> Live {
        vec![true; self.targets.len()]
    }

    /// The targets of one edge (an index into the map's edges).
    pub fn targets_of(&self, edge: usize) -> Range<usize> {
        self.targets_of.get(edge).cloned().unwrap_or_default()
    }

    /// The regions to try for a token, in order; those without an edge for the profile are left out.
    pub fn chain<'p>(
        &'p self,
        payload: &Payload,
        profile: Option<&'p str>,
    ) -> impl Iterator<Item = u16> + use<'p> {
        self.areas(payload, profile).map(|area| area.id)
    }

    /// The same regions, ready for choosing. What comes after the first is looked up when it is asked for.
    pub(crate) fn areas<'p>(
        &'p self,
        payload: &Payload,
        profile: Option<&'p str>,
    ) -> impl Iterator<Item = &'p Area> + use<'p> {
        let (first, placement) = (payload.region, payload.placement);
        let known = self.area(first);
        let next = iter::once_with(move || self.next_regions(first, placement, known)).flatten();
        let next = next.filter_map(|region| self.area(region));
        let serves = move |edge: &usize| self.serves(*edge, profile);
        known
            .into_iter()
            .chain(next)
            .filter(move |area| area.edges.iter().any(serves))
    }

    fn next_regions<'p>(
        &'p self,
        first: u16,
        placement: u32,
        known: Option<&'p Area>,
    ) -> impl Iterator<Item = u16> + use<'p> {
        let placement = self.map.placement_by_id(placement);
        let choices = placement.map_or(&[][..], |placement| placement.choices);
        // The nearest regions stand in for a placement that this map does not have.
        let (near, fallback) = match (known, choices) {
            (Some(area), []) => (&*area.nearest, None),
            (None, []) => (&[][..], self.default_region),
            _ => (&[][..], None),
        };
        let others = choices.iter().map(|choice| choice.region);
        others
            .filter(move |region| *region != first)
            .chain(near.iter().copied())
            .chain(fallback)
    }

    /// Whether an edge, by index into the map's, can serve a service with this profile.
    pub(crate) fn serves(&self, edge: usize, profile: Option<&str>) -> bool {
        let edge = self.map.edges().get(edge);
        edge.is_some_and(|edge| edge.serves(profile))
    }

    fn area(&self, region: u16) -> Option<&Area> {
        self.areas.get(self.areas_by_id.place(region)?)
    }
}

impl Area {
    pub(crate) fn pool(&self, family: Family) -> &Pool {
        match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        }
    }
}

impl Server {
    /// Its addresses, at least one.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = &Address> {
        iter::once(&self.first).chain(&self.more)
    }
}

fn pool(map: &Map, edges: &[usize], targets_of: &[Range<usize>], family: Family) -> Pool {
    let servers = edges.iter().filter_map(|&at| {
        let (edge, targets) = (map.edges().get(at)?, targets_of.get(at)?);
        server(at, edge, targets, family)
    });
    let servers: Vec<Server> = servers.collect();
    let weight = servers.first().map_or(0.0, |server| server.weight);
    let same = servers.iter().all(|server| server.weight == weight);
    Pool {
        even: same && weight > 0.0,
        servers,
    }
}

fn server(at: usize, edge: &Edge, targets: &Range<usize>, family: Family) -> Option<Server> {
    let addresses = edge.addresses.iter().zip(targets.clone());
    let mut addresses = addresses
        .filter(|(ip, _)| ip.is_ipv4() == (family == Family::V4))
        .map(|(ip, target)| Address { ip: *ip, target });
    Some(Server {
        seed: rendezvous::seed(&edge.name),
        weight: f64::from(edge.capacity_sessions),
        edge: at,
        first: addresses.next()?,
        more: addresses.collect(),
    })
}

/// For each region the others, nearest first; those without coordinates last, by id.
fn nearest(map: &Map) -> Vec<Vec<u16>> {
    let others = |from: &traffic_map::Region| {
        let mut others: Vec<(f64, u16)> = map
            .regions()
            .iter()
            .filter(|region| region.id != from.id)
            .map(|region| (distance(from.at, region.at), region.id))
            .collect();
        others.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        others.into_iter().map(|(_, id)| id).collect()
    };
    map.regions().iter().map(others).collect()
}

/// A measure that grows with the great-circle distance (half the squared chord); infinite when a place is unknown.
fn distance(a: Option<(f32, f32)>, b: Option<(f32, f32)>) -> f64 {
    let (Some(a), Some(b)) = (a, b) else {
        return f64::INFINITY;
    };
    let on_sphere = |(lat, lon): (f32, f32)| {
        let (lat, lon) = (f64::from(lat).to_radians(), f64::from(lon).to_radians());
        [lat.cos() * lon.cos(), lat.cos() * lon.sin(), lat.sin()]
    };
    let dot: f64 = on_sphere(a)
        .iter()
        .zip(on_sphere(b))
        .map(|(x, y)| x * y)
        .sum();
    1.0 - dot
}

/// The address family that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// A.
    V4,
    /// AAAA.
    V6,
}
