//! From an opened token to server addresses: the region's live edges, the placement's next region when it is dead, and
//! never an empty answer because of health.
//!
//! ```text
//! region of the token ──► next regions of its placement ──► everything dead: the first region's full set
//!      (unknown placement: the nearest regions instead)
//! ```

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use route_token::Payload;
use traffic_map::{Edge, Map};

use crate::config::ANSWERS_MAX;
use crate::rendezvous;

/// The address family that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// A.
    V4,
    /// AAAA.
    V6,
}

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
struct Server {
    seed: u64,
    weight: f64,
    /// Index of its first address in `targets`; the others follow.
    first_target: usize,
    addresses: Vec<IpAddr>,
}

/// Which addresses are live, by index into [`Plan::targets`].
pub type Live = Vec<bool>;

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
        rules: &Rules<'p>,
    ) -> impl Iterator<Item = u16> + use<'p> {
        let first = payload.region;
        let profile = rules.profile;
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

    /// Chooses. The same token, map and live table always give the same answer; nothing is allocated.
    pub fn choose<'p>(
        &'p self,
        live: &Live,
        payload: &Payload,
        family: Family,
        rules: &Rules<'p>,
    ) -> ServerSet {
        let mut chain = self.chain(payload, rules);
        let Some(first) = chain.next() else {
            return ServerSet::empty(Why::NoRegion, None);
        };
        if !self.candidates(first, family, rules).any(|_| true) {
            // Which families a region has does not depend on health: this is stable, and right to cache.
            return ServerSet::empty(Why::NoAddress, Some(first));
        }
        for (rank, region) in std::iter::once(first).chain(chain).enumerate() {
            let lives = |server: &&Server| server.live_addresses(live, family).next().is_some();
            let why = if rank == 0 {
                Why::Region
            } else {
                Why::NextRegion
            };
            let servers = self.candidates(region, family, rules).filter(lives);
            let set = fill(
                ServerSet::empty(why, Some(region)),
                servers,
                payload,
                rules,
                |server| server.live_addresses(live, family),
            );
            if set.count > 0 {
                return set;
            }
        }
        let servers = self.candidates(first, family, rules);
        let all = ServerSet::empty(Why::FailOpen, Some(first));
        fill(all, servers, payload, rules, |server| {
            server.addresses_of(family)
        })
    }

    /// The servers of a region that have an address of the family and serve the profile.
    fn candidates<'p>(
        &'p self,
        region: u16,
        family: Family,
        rules: &Rules<'p>,
    ) -> impl Iterator<Item = &'p Server> {
        let profile = rules.profile;
        self.edges_of(region)
            .filter(move |(edge, server)| {
                edge.serves(profile) && server.addresses_of(family).next().is_some()
            })
            .map(|(_, server)| server)
    }

    fn edges_of(&self, region: u16) -> impl Iterator<Item = (&Edge, &Server)> {
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
    fn addresses_of(&self, family: Family) -> impl Iterator<Item = IpAddr> {
        self.addresses
            .iter()
            .copied()
            .filter(move |address| address.is_ipv4() == (family == Family::V4))
    }

    fn live_addresses(&self, live: &Live, family: Family) -> impl Iterator<Item = IpAddr> {
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

/// Fills the set from the best servers: each server's first address, then second ones if there is room, and so on.
fn fill<'p, I: Iterator<Item = IpAddr>>(
    mut set: ServerSet,
    servers: impl Iterator<Item = &'p Server>,
    payload: &Payload,
    rules: &Rules<'_>,
    addresses: impl Fn(&'p Server) -> I,
) -> ServerSet {
    let answers = rules.answers.clamp(1, ANSWERS_MAX);
    let key = rendezvous::key(payload);
    let mut best: [(f64, Option<&Server>); ANSWERS_MAX] = [(f64::INFINITY, None); ANSWERS_MAX];
    for server in servers {
        let mut entry = (
            rendezvous::cost(server.seed, key, server.weight),
            Some(server),
        );
        for place in best.iter_mut().take(answers) {
            // Strictly less, or a free place: equal costs keep the map's order.
            if place.1.is_none() || entry.0 < place.0 {
                std::mem::swap(place, &mut entry);
            }
            if entry.1.is_none() {
                break;
            }
        }
    }
    for round in 0.. {
        let before = set.count;
        for server in best.iter().filter_map(|(_, server)| *server) {
            if set.count < answers
                && let Some(address) = addresses(server).nth(round)
            {
                set.push(address);
            }
        }
        if set.count == before || set.count == answers {
            break;
        }
    }
    set
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
