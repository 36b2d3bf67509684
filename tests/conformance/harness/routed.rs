//! Both name servers with a service that is routed by a map of the test's own making: every unit of clients has one
//! region, every region one edge with one address, so that an answer says which unit was meant.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::PathBuf,
};

use distribution::{SigningKey, keys, release};
use route_token::{KeyRing, ZoneKeys};
use signpost_tests::{clients, random::Random, wire::Wire};
use tempfile::TempDir;
use traffic_map::{Choice, Edge, Map, MapParts, Region, Subnet, UnitId, services};

use crate::site::{Server, Site};

/// Owner of the routed SRV records.
pub const OWNER: &str = "_rtsp._tcp.live.stream.test.";
/// The zone that tokens are in.
pub const TOKENS: &str = "edge.stream.test.";
/// The target of clients that the map does not know.
pub const ORIGIN: &str = "origin.stream.test.";
/// The zone of the first level.
pub const ZONE: &str = "stream.test.";

const ZONE_TEXT: &str = "\
$ORIGIN stream.test.
$TTL 300
@ IN SOA ns1 hostmaster 1 3600 900 1209600 60
@ IN NS ns1
ns1 IN A 192.0.2.53
edge IN NS ns1.edge
ns1.edge IN A 192.0.2.54
_rtsp._tcp.live 30 IN SRV 7 9 554 origin
_rtsp._tcp.vod 30 IN SRV 1 2 554 origin
_rtsp._tcp.members 30 IN SRV 3 4 554 origin
origin IN A 192.0.2.80
";

const TOKENS_TEXT: &str = "\
$ORIGIN edge.stream.test.
$TTL 300
@ IN SOA ns1 hostmaster 1 3600 900 1209600 60
@ IN NS ns1
ns1 IN A 192.0.2.54
";

const SERVICES_TEXT: &str = "\
[service.live]
owner = \"_rtsp._tcp.live.stream.test.\"
tokens = \"edge.stream.test.\"
srv = { port = 8554, answers = 2 }
ttl = { max = 30, min = 5 }
[service.vod]
owner = \"_rtsp._tcp.vod.stream.test.\"
tokens = \"edge.stream.test.\"
srv = { port = 8555, answers = 3 }
unmapped = \"nodata\"
[service.members]
owner = \"_rtsp._tcp.members.stream.test.\"
tokens = \"edge.stream.test.\"
srv = { port = 8556 }
unmapped = \"refuse\"
";

/// The services: name and owner.
pub const SERVICES: [(&str, &str); 3] = [
    ("live", OWNER),
    ("vod", "_rtsp._tcp.vod.stream.test."),
    ("members", "_rtsp._tcp.members.stream.test."),
];

/// Where tests ask from, and its unit: whoever says nothing about a client is answered for this one.
pub const HERE: (&str, u32) = ("127.0.0.0/8", 0);

/// Client networks and the unit of each; the longest network that has a client decides, and whoever is in none is in
/// no unit.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// Network and unit.
    pub networks: Vec<(Subnet, u32)>,
    /// The longest scopes, IPv4 and IPv6.
    pub ecs: (u8, u8),
}

/// Running servers, their files, and what tests need to read answers.
#[derive(Debug)]
pub struct Routed {
    /// The servers.
    pub site: Site,
    /// Opens tokens.
    pub keys: ZoneKeys,
    signing: SigningKey,
    folder: TempDir,
}

impl Routed {
    /// Starts both levels over a map.
    ///
    /// # Panics
    /// When one does not start.
    pub fn start(map: &Map) -> Self {
        Self::configured(map, "")
    }

    /// Starts both levels over a map, with more tables in the configuration of both.
    ///
    /// # Panics
    /// When one does not start.
    pub fn configured(map: &Map, tables: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let signing = keys::generate();
        let ring = KeyRing::generate([7; 32]);
        let path = |name: &str| folder.path().join(name);
        let write = |name: &str, text: &str| fs::write(path(name), text).expect("a file");
        fs::create_dir(path("zones")).expect("a folder");
        fs::create_dir(path("zones2")).expect("a folder");
        write("zones/stream.test.zone", ZONE_TEXT);
        write("zones2/edge.stream.test.zone", TOKENS_TEXT);
        write("services.toml", SERVICES_TEXT);
        write("token-keys.toml", &ring);
        keys::write_public_key(&path("release.pub"), &signing.verifying_key()).expect("a key");
        publish(&path("releases"), &signing, map);
        let site = Site::over(
            &configuration(&path, "l1", "zones", tables),
            // Nobody listens where the edges are said to be, and all of them down is as good as all of them up.
            &configuration(
                &path,
                "l2",
                "zones2",
                &format!("[probe]\ninterval_ms = 3600000\n{tables}"),
            ),
        );
        let keys = KeyRing::from_toml(&ring).expect("a key ring").zone(TOKENS);
        Self {
            site,
            keys,
            signing,
            folder,
        }
    }

    /// Publishes another map; the generation of the release.
    ///
    /// # Panics
    /// When the folder cannot be written to.
    pub fn publish(&self, map: &Map) -> u64 {
        publish(&self.path("releases"), &self.signing, map)
    }

    /// Writes a file the way careful editors do: aside, then over the old one.
    ///
    /// # Panics
    /// When the folder cannot be written to.
    pub fn write(&self, name: &str, text: &str) {
        let aside = self.path("aside");
        fs::write(&aside, text).expect("a file");
        fs::rename(aside, self.path(name)).expect("a file in its place");
    }

    /// A path among the servers' files: `zones/stream.test.zone`, `zones2/edge.stream.test.zone`.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The configuration file of a level, `l1` or `l2`.
    pub fn configuration(&self, level: &str) -> PathBuf {
        self.path(&format!("{level}.toml"))
    }

    /// The number that tokens carry for a service.
    ///
    /// # Panics
    /// When there is no such service.
    pub fn service(&self, name: &str) -> u16 {
        let services = services::parse("services.toml", SERVICES_TEXT).expect("services");
        services.by_name(name).expect("a service").id
    }

    /// The unit that a token was sealed for.
    pub fn unit(&self, target: &str) -> Option<u32> {
        let label = target.strip_suffix(TOKENS)?.strip_suffix('.')?;
        let region = self.keys.open(label.as_bytes()).ok()?.region;
        u32::from(region).checked_sub(1)
    }
}

fn publish(folder: &std::path::Path, key: &SigningKey, map: &Map) -> u64 {
    let blobs: [(&str, &[u8]); 1] = [("map", &map.encode())];
    release::publish(folder, key, &blobs, 1_700_000_000, 3).expect("a release is published")
}

fn configuration(path: &dyn Fn(&str) -> PathBuf, level: &str, zones: &str, more: &str) -> PathBuf {
    let file = path(&format!("{level}.toml"));
    let text = format!(
        "listen = [\"127.0.0.1:0\"]\nadmin = \"127.0.0.1:0\"\nworkers = 1\nzones = \"{zones}\"\n\
         services = \"services.toml\"\nreleases = \"releases\"\ntrusted_key = \"release.pub\"\n\
         state = \"{level}.state\"\ntoken_keys = \"token-keys.toml\"\n{more}"
    );
    fs::write(&file, text).expect("a file");
    file
}

/// The address of a unit's edge. The second level knocks there, so it is this machine's; nobody opens.
pub fn address(unit: u32) -> IpAddr {
    Ipv4Addr::from_bits(0x7f40_0000 | unit).into()
}

/// The unit whose edge has this address.
pub fn unit_of(address: IpAddr) -> u32 {
    number(address) as u32 & 0xffff
}

impl Rules {
    /// Some networks within one another, and beside, of both families; now and then one that is the whole family. Each
    /// has a unit of its own, so that different networks have different answers.
    pub fn random(random: &mut Random) -> Self {
        let ecs = [(24, 56), (24, 56), (20, 48), (16, 40)][random.index(4)];
        let mut networks = vec![(HERE.0.parse().expect("a network"), HERE.1)];
        for v4 in [true, false] {
            let longest = u64::from(if v4 { ecs.0 } else { ecs.1 });
            if random.below(8) == 0 {
                let all = from_number(0, v4);
                networks.push((
                    Subnet {
                        address: all,
                        len: 0,
                    },
                    networks.len() as u32,
                ));
            }
            for _ in 0..2 + random.below(14) {
                let len = 1 + random.below(longest) as u8;
                // Half of them near another one: within, around or beside it.
                let near: Subnet = networks[random.index(networks.len())].0;
                let address = match random.below(2) {
                    0 if near.address.is_ipv4() == v4 => beside(near, random),
                    _ => anywhere(v4, random),
                };
                let network = Subnet { address, len }.normalized();
                let (first, _) = network.bounds();
                let is_new = networks.iter().all(|(other, _)| *other != network);
                if is_new && !first.is_loopback() {
                    networks.push((network, networks.len() as u32));
                }
            }
        }
        Self { networks, ecs }
    }

    /// A client: mostly in a network or just beside one, sometimes anywhere.
    pub fn client(&self, random: &mut Random) -> IpAddr {
        let network = self.networks[random.index(self.networks.len())].0;
        match random.below(4) {
            0 => anywhere(random.below(2) == 0, random),
            1 => beside(network, random),
            _ => clients::within(network, random),
        }
    }

    /// The unit of a client; the slow way, over the whole list.
    pub fn unit(&self, client: IpAddr) -> Option<u32> {
        let covers = |network: &Subnet| {
            network.address.is_ipv4() == client.is_ipv4()
                && Subnet {
                    address: client,
                    len: network.len,
                }
                .normalized()
                    == network.normalized()
        };
        let matching = self.networks.iter().filter(|(network, _)| covers(network));
        matching
            .max_by_key(|(network, _)| network.len)
            .map(|(_, unit)| *unit)
    }

    /// Every address at which the unit may change, ascending; the first of the family is one.
    pub fn borders(&self, v4: bool) -> Vec<u128> {
        let mut borders = vec![0];
        for (network, _) in self
            .networks
            .iter()
            .filter(|(network, _)| network.address.is_ipv4() == v4)
        {
            let (first, last) = network.bounds();
            borders.push(number(first));
            borders.extend(
                number(last)
                    .checked_add(1)
                    .filter(|next| !v4 || *next <= u32::MAX.into()),
            );
        }
        borders.sort_unstable();
        borders.dedup();
        borders
    }

    /// The map that says the same.
    ///
    /// # Panics
    /// When networks are longer than the scopes, or one unit is repeated with the same network.
    pub fn map(&self) -> Map {
        let units = 1 + self
            .networks
            .iter()
            .map(|(_, unit)| *unit)
            .max()
            .unwrap_or(0);
        let start = |border: u128, v4: bool| self.unit(from_number(border, v4)).map(UnitId);
        let v4 = self
            .borders(true)
            .into_iter()
            .map(|border| (border as u32, start(border, true)));
        let v6 = self
            .borders(false)
            .into_iter()
            .map(|border| ((border >> 64) as u64, start(border, false)));
        let place = |unit: u32| {
            vec![Choice {
                region: region(unit),
                share: 1000,
            }]
        };
        Map::new(MapParts {
            ecs: self.ecs,
            v4: v4.collect(),
            v6: v6.collect(),
            demand: (0..units).map(|unit| 1 + unit % 97).collect(),
            placements: vec![(0..units).map(place).collect()],
            regions: (0..units).map(a_region).collect(),
            edges: (0..units).map(an_edge).collect(),
        })
        .expect("a map")
    }
}

fn region(unit: u32) -> u16 {
    unit as u16 + 1
}

fn a_region(unit: u32) -> Region {
    Region {
        id: region(unit),
        name: format!("r{unit}"),
        at: None,
        capacity: 1_000_000,
        edges: Vec::new(),
    }
}

fn an_edge(unit: u32) -> Edge {
    Edge {
        name: format!("e{unit}"),
        region: region(unit),
        addresses: vec![address(unit)],
        rtsp_port: 1,
        handoff: None,
        capacity_sessions: 100,
        public_key: None,
        profiles: Vec::new(),
    }
}

/// An address as a number.
pub fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// The address of a number.
pub fn from_number(number: u128, v4: bool) -> IpAddr {
    match v4 {
        true => Ipv4Addr::from_bits(number as u32).into(),
        false => Ipv6Addr::from_bits(number).into(),
    }
}

/// Any address; of IPv6 mostly what is handed out (2000::/3).
pub fn anywhere(v4: bool, random: &mut Random) -> IpAddr {
    match v4 {
        true => from_number(u128::from(random.number() as u32), true),
        false if random.below(4) == 0 => from_number(random.wide(), false),
        false => from_number(1 << 125 | random.wide() >> 3, false),
    }
}

/// The first address of a network, the one before it, or the one behind its last.
fn beside(network: Subnet, random: &mut Random) -> IpAddr {
    let (first, last) = network.bounds();
    let v4 = first.is_ipv4();
    let end = if v4 { u128::from(u32::MAX) } else { u128::MAX };
    let number = match random.below(3) {
        0 => number(first).saturating_sub(1),
        1 => number(last).saturating_add(1).min(end),
        _ => number(first),
    };
    from_number(number, v4)
}

/// A server of ours that answers over UDP.
pub fn wire(server: &Server) -> Wire {
    Wire::new(server.dns)
}
