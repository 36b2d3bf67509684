//! A release prepared for choosing: the edges with their hashes and addresses, the regions with their neighbours, and the
//! order in which a token's regions are tried.

use std::net::{IpAddr, SocketAddr};

use route_token::Payload;
use traffic_map::{Edge, Map};

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
    servers: Vec<Server>,
    /// For each region, as in the map: the others by distance.
    nearest: Vec<Vec<u16>>,
    /// For tokens that the map does not know.
    default_region: Option<u16>,
}

/// One edge, ready for choosing. In the order of the map's edges.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) seed: u64,
    pub(crate) weight: f64,
    /// Index of its first address in `targets`; the others follow.
    first_target: usize,
    addresses: Vec<IpAddr>,
}

/// Which addresses are live, by index into [`Plan::targets`].
pub type Live = Vec<bool>;

impl Plan {
    /// Prepares a map for choosing. `default_region` (a name) gets the tokens whose region and placement are both unknown.
    pub fn new(generation: u64, built_at: u64, map: Map, default_region: Option<&str>) -> Plan {
        let mut targets = Vec::new();
        let servers = map
            .edges()
            .iter()
            .map(|edge| server(edge, &mut targets))
            .collect();
        let nearest = nearest(&map);
        let default_region = default_region
            .and_then(|name| map.regions().iter().find(|region| region.name == name))
            .map(|region| region.id);
        Plan {
            generation,
            built_at,
            map,
            targets,
            servers,
            nearest,
            default_region,
        }
    }

    /// A live table in which everything is up: how a fresh start sees the world.
    pub fn all_up(&self) -> Live {
        vec![true; self.targets.len()]
    }

    /// The targets of one edge (an index into the map's edges).
    pub fn targets_of(&self, edge: usize) -> std::ops::Range<usize> {
        self.servers.get(edge).map_or(0..0, |server| {
            server.first_target..server.first_target + server.addresses.len()
        })
    }

    /// The regions to try for a token, in order; those without an edge for the profile are left out.
    pub fn chain<'p>(
        &'p self,
        payload: &Payload,
        profile: Option<&'p str>,
    ) -> impl Iterator<Item = u16> + use<'p> {
        let first = payload.region;
        let known = self.map.region(first).map(|region| region.id);
        let placement = self.map.placement_by_id(payload.placement);
        let choices = placement.map_or(&[][..], |placement| placement.choices);
        // The nearest regions stand in for a placement that this map does not have.
        let (near, fallback) = match (known, choices) {
            (Some(id), []) => (self.nearest_to(id), None),
            (None, []) => (&[][..], self.default_region),
            _ => (&[][..], None),
        };
        let next = choices
            .iter()
            .map(|choice| choice.region)
            .filter(move |region| *region != first);
        known
            .into_iter()
            .chain(next)
            .chain(near.iter().copied())
            .chain(fallback)
            .filter(move |region| self.edges_of(*region).any(|(edge, _)| edge.serves(profile)))
    }

    /// The edges of a region, as the map has them and as they are chosen from.
    pub(crate) fn edges_of(&self, region: u16) -> impl Iterator<Item = (&Edge, &Server)> {
        let indexes = self
            .map
            .region(region)
            .map_or(&[][..], |region| &region.edges);
        indexes
            .iter()
            .filter_map(|index| Some((self.map.edges().get(*index)?, self.servers.get(*index)?)))
    }

    fn nearest_to(&self, region: u16) -> &[u16] {
        let at = self
            .map
            .regions()
            .binary_search_by_key(&region, |region| region.id);
        at.ok()
            .and_then(|at| self.nearest.get(at))
            .map_or(&[], Vec::as_slice)
    }
}

impl Server {
    /// Its addresses of one family.
    pub(crate) fn addresses_of(&self, family: Family) -> impl Iterator<Item = IpAddr> {
        self.addresses
            .iter()
            .copied()
            .filter(move |address| address.is_ipv4() == (family == Family::V4))
    }

    /// Those of them that are live.
    pub(crate) fn live_addresses(
        &self,
        live: &Live,
        family: Family,
    ) -> impl Iterator<Item = IpAddr> {
        // An address that is not in the table has never been probed: unknown is not down.
        let states = live
            .get(self.first_target..)
            .unwrap_or(&[])
            .iter()
            .chain(std::iter::repeat(&true));
        let wanted = move |address: &IpAddr| address.is_ipv4() == (family == Family::V4);
        self.addresses
            .iter()
            .zip(states)
            .filter(move |(address, up)| **up && wanted(address))
            .map(|(address, _)| *address)
    }
}

fn server(edge: &Edge, targets: &mut Vec<SocketAddr>) -> Server {
    let first_target = targets.len();
    targets.extend(
        edge.addresses
            .iter()
            .map(|address| SocketAddr::new(*address, edge.rtsp_port)),
    );
    Server {
        seed: rendezvous::seed(&edge.name),
        weight: f64::from(edge.capacity_sessions),
        first_target,
        addresses: edge.addresses.clone(),
    }
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
