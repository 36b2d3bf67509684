//! A small site in a temporary folder, the server over it, and a client that decodes answers with an
//! independent library.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::{
    net::{IpAddr, SocketAddr, UdpSocket},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use distribution::{SigningKey, keys, release};
use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{
        RData,
        rdata::opt::{ClientSubnet, EdnsCode, EdnsOption},
    },
};
use nameserver_l1::{Config, Running};
use route_token::{KeyRing, ZoneKeys};
use service::shutdown::Trigger;
use traffic_map::{Choice, Edge, Map, MapParts, Region, Subnet, UnitId};

pub const OWNER: &str = "_rtsp._tcp.live.stream.test.";
pub const TOKENS: &str = "edge.stream.test.";
pub const SRV: u16 = 33;
pub const TXT: u16 = 16;

pub const ZONE: &str = "\
$TTL 300
@ IN SOA ns1 hostmaster 1 3600 900 1209600 60
@ IN NS ns1
ns1 IN A 192.0.2.53
edge IN NS ns1.edge
ns1.edge IN A 192.0.2.54
_rtsp._tcp.live 30 IN SRV 7 9 554 origin
_rtsp._tcp.live IN TXT \"about\"
_rtsp._tcp.vod 30 IN SRV 0 0 554 origin
_rtsp._tcp.none 30 IN SRV 0 0 554 origin
origin IN A 192.0.2.80
";

pub const SERVICES: &str = r#"
[service.live]
owner    = "_rtsp._tcp.live.stream.test."
tokens   = "edge.stream.test."
srv      = { port = 8554, answers = 2 }
ttl      = { max = 30, min = 5 }
[service.vod]
owner    = "_rtsp._tcp.vod.stream.test."
tokens   = "edge.stream.test."
class    = 1
srv      = { port = 8555, answers = 3 }
unmapped = "nodata"
[service.none]
owner    = "_rtsp._tcp.none.stream.test."
tokens   = "edge.stream.test."
srv      = { port = 8554 }
unmapped = "refuse"
"#;

/// Files, keys and releases in a folder that goes away with it.
pub struct Site {
    folder: tempfile::TempDir,
    key: SigningKey,
    pub ring: KeyRing,
}

impl Site {
    /// Zone, services and keys; no release yet.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = keys::generate();
        keys::write_public_key(&folder.path().join("release.pub"), &key.verifying_key()).unwrap();
        let ring = KeyRing::generate([7; 32]);
        let site = Self {
            folder,
            key,
            ring: KeyRing::from_toml(&ring).unwrap(),
        };
        std::fs::create_dir(site.path("zones")).unwrap();
        site.write("token-keys.toml", &ring);
        site.write("zones/stream.test.zone", ZONE);
        site.write("services.toml", SERVICES);
        site.write(
            "l1.toml",
            "listen = [\"127.0.0.1:0\"]\nadmin = \"127.0.0.1:0\"\nworkers = 2\nzones = \"zones\"\n\
             services = \"services.toml\"\nreleases = \"releases\"\ntrusted_key = \"release.pub\"\n\
             state = \"state\"\ntoken_keys = \"token-keys.toml\"\n",
        );
        site
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file the way careful editors do: aside, then over the old one.
    pub fn write(&self, name: &str, text: &str) {
        let aside = self.path("aside");
        std::fs::write(&aside, text).unwrap();
        std::fs::rename(aside, self.path(name)).unwrap();
    }

    pub fn publish(&self, map: &Map) -> u64 {
        self.publish_bytes(&map.encode())
    }

    pub fn publish_bytes(&self, map: &[u8]) -> u64 {
        release::publish(
            &self.path("releases"),
            &self.key,
            &[("map", map)],
            1_700_000_000,
            3,
        )
        .unwrap()
    }

    pub fn publish_signed_by(&self, key: &SigningKey, map: &Map) -> u64 {
        let blobs: [(&str, &[u8]); 1] = [("map", &map.encode())];
        release::publish(&self.path("releases"), key, &blobs, 1_700_000_000, 3).unwrap()
    }

    pub fn config_file(&self) -> PathBuf {
        self.path("l1.toml")
    }

    pub fn keys(&self) -> ZoneKeys {
        self.ring.zone(TOKENS)
    }

    pub async fn start(&self) -> Server {
        let (trigger, shutdown) = service::shutdown::channel();
        let config = Config::load(&self.config_file()).unwrap();
        let running = nameserver_l1::start(config, shutdown).await.unwrap();
        Server {
            address: running.dns[0],
            admin: running.admin,
            running,
            trigger,
        }
    }
}

pub struct Server {
    pub address: SocketAddr,
    pub admin: SocketAddr,
    running: Running,
    trigger: Trigger,
}

impl Server {
    pub async fn stop(self) {
        self.trigger.fire();
        self.running.wait().await.unwrap();
    }
}

/// A question on the wire.
#[derive(Clone)]
pub struct Ask<'a> {
    pub name: &'a str,
    pub rtype: u16,
    pub subnet: Option<Subnet>,
}

pub fn ask(name: &str, rtype: u16) -> Ask<'_> {
    Ask {
        name,
        rtype,
        subnet: None,
    }
}

impl Ask<'_> {
    pub fn by(self, subnet: Subnet) -> Self {
        Self {
            subnet: Some(subnet),
            ..self
        }
    }

    fn message(&self, id: u16) -> Vec<u8> {
        let mut message = id.to_be_bytes().to_vec();
        message.extend([0, 0, 0, 1, 0, 0, 0, 0, 0, 1]);
        for label in self.name.trim_end_matches('.').split('.') {
            message.push(label.len() as u8);
            message.extend(label.as_bytes());
        }
        message.push(0);
        message.extend(self.rtype.to_be_bytes());
        message.extend([0, 1]);
        message.extend([0, 0, 41, 0x04, 0xd0, 0, 0, 0, 0]); // OPT, 1232 octets
        let option = self.subnet.map_or_else(Vec::new, subnet_option);
        message.extend((option.len() as u16).to_be_bytes());
        message.extend(option);
        message
    }
}

fn subnet_option(subnet: Subnet) -> Vec<u8> {
    let (family, octets) = match subnet.normalized().address {
        IpAddr::V4(address) => (1, address.octets().to_vec()),
        IpAddr::V6(address) => (2, address.octets().to_vec()),
    };
    let used = &octets[..usize::from(subnet.len).div_ceil(8)];
    let mut option = vec![0, 8, 0, 4 + used.len() as u8, 0, family, subnet.len, 0];
    option.extend(used);
    option
}

/// What came back, decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub rcode: ResponseCode,
    pub authoritative: bool,
    pub records: Vec<Record>,
    pub scope: Option<u8>,
    /// TTLs of SOA records in the authority section.
    pub negative: Vec<u32>,
    /// Code of the extended error (RFC 8914).
    pub extended_error: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub ttl: u32,
    pub priority: u16,
    pub weight: u16,
    pub port: u16,
    pub target: String,
}

/// A client socket.
pub struct Asker {
    socket: UdpSocket,
    next_id: u16,
}

impl Asker {
    pub fn new(server: SocketAddr) -> Self {
        Self::from(IpAddr::from([127, 0, 0, 1]), server)
    }

    /// Asks from this address.
    pub fn from(source: IpAddr, server: SocketAddr) -> Self {
        let socket = UdpSocket::bind((source, 0)).unwrap();
        socket.connect(server).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        Self { socket, next_id: 1 }
    }

    /// Asks once; `None` if no answer comes within five seconds.
    pub fn try_ask(&mut self, ask: &Ask<'_>) -> Option<Answer> {
        self.next_id = self.next_id.wrapping_add(1);
        self.socket.send(&ask.message(self.next_id)).unwrap();
        let mut buffer = [0; 4096];
        let length = self.socket.recv(&mut buffer).ok()?;
        let message = Message::from_vec(&buffer[..length]).unwrap();
        assert_eq!(message.metadata.id, self.next_id);
        Some(decoded(&message, ask))
    }

    pub fn ask(&mut self, ask: &Ask<'_>) -> Answer {
        self.try_ask(ask).expect("an answer")
    }
}

fn decoded(message: &Message, ask: &Ask<'_>) -> Answer {
    let records = message
        .answers
        .iter()
        .filter_map(|record| match &record.data {
            RData::SRV(srv) => Some(Record {
                ttl: record.ttl,
                priority: srv.priority,
                weight: srv.weight,
                port: srv.port,
                target: srv.target.to_ascii(),
            }),
            _ => None,
        });
    let option = message
        .edns
        .as_ref()
        .and_then(|edns| edns.option(EdnsCode::Subnet));
    let subnet: Option<ClientSubnet> = option.map(|option| match option {
        EdnsOption::Subnet(subnet) => *subnet,
        other => panic!("{other:?}"),
    });
    if let (Some(asked), Some(subnet)) = (ask.subnet, subnet) {
        assert_eq!(subnet.source_prefix(), asked.len, "the source is echoed");
    }
    let soas = message
        .authorities
        .iter()
        .filter(|r| matches!(r.data, RData::SOA(_)));
    Answer {
        rcode: message.metadata.response_code,
        authoritative: message.metadata.authoritative,
        records: records.collect(),
        scope: subnet.map(|subnet| subnet.scope_prefix()),
        negative: soas.map(|record| record.ttl).collect(),
        extended_error: extended_error(message),
    }
}

fn extended_error(message: &Message) -> Option<u16> {
    match message.edns.as_ref()?.option(EdnsCode::Unknown(15))? {
        EdnsOption::Unknown(_, data) => Some(u16::from_be_bytes([data[0], data[1]])),
        other => panic!("{other:?}"),
    }
}

/// Asks until the answer is as wanted; panics after ten seconds.
pub fn eventually(server: SocketAddr, ask: &Ask<'_>, wanted: impl Fn(&Answer) -> bool) -> Answer {
    let until = Instant::now() + Duration::from_secs(10);
    let mut asker = Asker::new(server);
    loop {
        let answer = asker.ask(ask);
        if wanted(&answer) {
            return answer;
        }
        assert!(Instant::now() < until, "still {answer:?}");
        std::thread::yield_now();
    }
}

/// A page of the admin port.
pub fn page(admin: SocketAddr, path: &str) -> String {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(admin).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

/// Waits until the metrics have this line.
pub fn until_metric(admin: SocketAddr, line: &str) {
    until_page(admin, "/metrics", line);
}

/// Waits until a page of the admin port says this; gives the page.
pub fn until_page(admin: SocketAddr, path: &str, text: &str) -> String {
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        let page = page(admin, path);
        if page.contains(text) {
            return page;
        }
        assert!(Instant::now() < until, "no {text} in\n{page}");
        std::thread::yield_now();
    }
}

/// Repeatable numbers (SplitMix64).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

/// A map with `ranges` ranges a family at random places, a third of them unmapped, over `units` units of
/// which every tenth has no placement; `seed` decides everything.
pub fn random_map(seed: u64, ranges: usize, units: u32) -> Map {
    random_map_of(2, seed, ranges, units)
}

/// The same with this many classes.
pub fn random_map_of(classes: usize, seed: u64, ranges: usize, units: u32) -> Map {
    let mut random = Random(seed);
    let unit = |random: &mut Random| {
        (random.below(3) > 0).then(|| UnitId(random.below(u64::from(units)) as u32))
    };
    let mut v4: Vec<u32> = (0..ranges).map(|_| (random.next() as u32) << 8).collect();
    // Loopback gets borders as well, for clients that are known by their source address.
    v4.extend((0..64).map(|_| 0x7f00_0000 | ((random.next() as u32) << 8) & 0x00ff_ff00));
    v4.push(0);
    v4.sort_unstable();
    v4.dedup();
    let mut v6: Vec<u64> = (0..ranges)
        .map(|_| 0x2000 << 48 | random.next() >> 3 << 8)
        .collect();
    v6.push(0);
    v6.sort_unstable();
    v6.dedup();
    let regions: Vec<u16> = (1..=6).collect();
    let placement = |random: &mut Random| {
        if random.below(10) == 0 {
            return Vec::new();
        }
        let mut order = regions.clone();
        for at in 0..order.len() {
            let other = at + random.below((order.len() - at) as u64) as usize;
            order.swap(at, other);
        }
        let share = 1000 - random.below(3) as u16 * 200; // 1000, 800 or 600
        let mut choices = vec![Choice {
            region: order[0],
            share,
        }];
        if share < 1000 {
            choices.push(Choice {
                region: order[1],
                share: 1000 - share,
            });
        }
        let fallbacks = order.iter().skip(2).take(random.below(3) as usize);
        choices.extend(fallbacks.map(|region| Choice {
            region: *region,
            share: 0,
        }));
        choices
    };
    let placements = (0..classes)
        .map(|_| (0..units).map(|_| placement(&mut random)).collect())
        .collect();
    let mut random = Random(seed ^ 1);
    Map::new(MapParts {
        ecs: (24, 56),
        v4: v4
            .into_iter()
            .map(|start| (start, unit(&mut random)))
            .collect(),
        v6: v6
            .into_iter()
            .map(|start| (start, unit(&mut random)))
            .collect(),
        demand: (0..units).map(|n| n % 97 + 1).collect(),
        placements,
        regions: (1..=6)
            .map(|id| Region {
                id,
                name: format!("region-{id}"),
                at: None,
                capacity: 1_000_000,
                edges: Vec::new(),
            })
            .collect(),
        edges: vec![Edge {
            name: "edge-1".into(),
            region: 1,
            addresses: vec![IpAddr::from([127, 0, 1, 1])],
            rtsp_port: 8554,
            handoff: None,
            capacity_sessions: 100,
            public_key: None,
            profiles: Vec::new(),
        }],
    })
    .unwrap()
}

/// Reads a file of the repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}
