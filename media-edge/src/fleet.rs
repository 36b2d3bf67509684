//! The other edges, as the signed traffic map lists them: who may be a peer, and whom to ask first.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use traffic_map::Map;

/// One edge of the map.
#[derive(Debug, Clone, PartialEq)]
pub struct Edge {
    /// Its name.
    pub name: String,
    /// Its region's name.
    pub region: String,
    /// Latitude and longitude of the region, degrees.
    pub at: Option<(f32, f32)>,
    /// Where players reach it.
    pub addresses: Vec<IpAddr>,
    /// The port players use.
    pub rtsp_port: u16,
    /// Where edges reach it.
    pub handoff: Option<SocketAddr>,
    /// The Ed25519 key it proves itself with.
    pub public_key: Option<[u8; 32]>,
}

impl Edge {
    /// The host and port for a player that reached us over `family`'s address family; the first address otherwise.
    pub fn rtsp_authority(&self, family: IpAddr) -> Option<SocketAddr> {
        let same = self
            .addresses
            .iter()
            .find(|a| a.is_ipv4() == family.is_ipv4());
        let address = same.or(self.addresses.first())?;
        Some(SocketAddr::new(*address, self.rtsp_port))
    }
}

/// Every edge of one release of the map.
#[derive(Debug, Clone, Default)]
pub struct Fleet {
    edges: Vec<Edge>,
    by_key: HashMap<[u8; 32], usize>,
}

impl Fleet {
    /// A fleet of these edges.
    pub fn new(edges: Vec<Edge>) -> Fleet {
        let keyed = edges
            .iter()
            .enumerate()
            .filter_map(|(i, edge)| Some((edge.public_key?, i)));
        Fleet {
            by_key: keyed.collect(),
            edges,
        }
    }

    /// The edges of a map.
    pub fn from_map(map: &Map) -> Fleet {
        let edge = |edge: &traffic_map::Edge| {
            let region = map.region(edge.region);
            Edge {
                name: edge.name.clone(),
                region: region.map(|region| region.name.clone()).unwrap_or_default(),
                at: region.and_then(|region| region.at),
                addresses: edge.addresses.clone(),
                rtsp_port: edge.rtsp_port,
                handoff: edge.handoff,
                public_key: edge.public_key,
            }
        };
        Fleet::new(map.edges().iter().map(edge).collect())
    }

    /// How many edges there are.
    pub fn len(&self) -> usize {
        self.edges.len()
    }

    /// Whether there is none, as before the first map.
    pub fn is_empty(&self) -> bool {
        self.edges.is_empty()
    }

    /// The edge of that name.
    pub fn edge(&self, name: &str) -> Option<&Edge> {
        self.edges.iter().find(|edge| edge.name == name)
    }

    /// The edge that owns a public key.
    pub fn by_key(&self, key: &[u8; 32]) -> Option<&Edge> {
        self.edges.get(*self.by_key.get(key)?)
    }

    /// The region of the edge at an address players use.
    pub fn region_at(&self, address: IpAddr) -> Option<&str> {
        let edge = self
            .edges
            .iter()
            .find(|edge| edge.addresses.contains(&address))?;
        Some(&edge.region)
    }

    /// Whom `own` may hand sessions to, best first: its own region, then other regions by distance, those without
    /// coordinates last; ties by name, so that the order is the same everywhere.
    pub fn candidates(&self, own: &str) -> Vec<&Edge> {
        let here = self.edge(own);
        let mut others: Vec<&Edge> = self
            .edges
            .iter()
            .filter(|edge| edge.name != own && edge.handoff.is_some() && edge.public_key.is_some())
            .collect();
        let rank = |edge: &Edge| match here {
            Some(here) if here.region == edge.region => -1.0,
            Some(here) => distance(here.at, edge.at),
            None => f64::MAX,
        };
        others.sort_by(|a, b| {
            rank(a)
                .total_cmp(&rank(b))
                .then_with(|| a.name.cmp(&b.name))
        });
        others
    }
}

/// Great-circle distance as an angle in radians (haversine); the largest number where a place is unknown.
fn distance(a: Option<(f32, f32)>, b: Option<(f32, f32)>) -> f64 {
    let (Some(a), Some(b)) = (a, b) else {
        return f64::MAX;
    };
    let radians = |(latitude, longitude): (f32, f32)| {
        (
            f64::from(latitude).to_radians(),
            f64::from(longitude).to_radians(),
        )
    };
    let ((lat_a, lon_a), (lat_b, lon_b)) = (radians(a), radians(b));
    let half = |angle: f64| (angle / 2.0).sin().powi(2);
    let h = half(lat_b - lat_a) + lat_a.cos() * lat_b.cos() * half(lon_b - lon_a);
    2.0 * h.sqrt().min(1.0).asin()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge(name: &str, region: &str, at: Option<(f32, f32)>) -> Edge {
        Edge {
            name: name.into(),
            region: region.into(),
            at,
            addresses: vec!["2001:db8::1".parse().unwrap(), "192.0.2.1".parse().unwrap()],
            rtsp_port: 8554,
            handoff: Some("192.0.2.1:8555".parse().unwrap()),
            public_key: Some([name.len() as u8; 32]),
        }
    }

    #[test]
    fn the_own_region_comes_first_then_the_nearest() {
        let mut closed = edge("closed", "vienna", None);
        closed.handoff = None;
        let fleet = Fleet::new(vec![
            edge("tokyo-1", "tokyo", Some((35.7, 139.7))),
            edge("munich-1", "munich", Some((48.1, 11.6))),
            edge("nowhere", "moon", None),
            edge("vienna-2", "vienna", Some((48.2, 16.4))),
            edge("vienna-1", "vienna", Some((48.2, 16.4))),
            closed,
        ]);
        let names: Vec<&str> = fleet
            .candidates("vienna-1")
            .into_iter()
            .map(|edge| edge.name.as_str())
            .collect();
        assert_eq!(names, ["vienna-2", "munich-1", "tokyo-1", "nowhere"]);
    }

    #[test]
    fn distance_crosses_the_date_line() {
        let near = distance(Some((0.0, 179.0)), Some((0.0, -179.0)));
        assert!(near < 0.04, "{near}");
    }

    #[test]
    fn a_player_is_sent_to_an_address_of_its_own_family() {
        let edge = edge("a", "b", None);
        let v4 = edge.rtsp_authority("127.0.0.1".parse().unwrap()).unwrap();
        assert_eq!(v4.to_string(), "192.0.2.1:8554");
        let v6 = edge.rtsp_authority("::1".parse().unwrap()).unwrap();
        assert_eq!(v6.to_string(), "[2001:db8::1]:8554");
    }
}
