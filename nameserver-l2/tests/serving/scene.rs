//! A server with its files in a folder of its own, fake edges, and a client.

use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use distribution::{SigningKey, keys, release};
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use nameserver_l2::config::Probe;
use nameserver_l2::{Config, Running, start};
use route_token::{KeyRing, Payload};
use service::shutdown::{Trigger, channel};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinHandle;
use traffic_map::{Choice, Edge, Map, MapParts, Region, UnitId};

pub(crate) const ZONE: &str = "edge.stream.example.";
pub(crate) const ZONE_TEXT: &str = include_str!("../../../zones/l2/edge.stream.example.zone");
const SERVICES: &str = include_str!("../../../zones/services.toml");

/// Longest wait for something that must happen; only a failing test takes that long.
const PATIENCE: Duration = Duration::from_secs(60);

/// An RTSP server that knows OPTIONS only.
pub(crate) struct FakeEdge {
    pub(crate) address: SocketAddr,
    serving: JoinHandle<()>,
}

impl FakeEdge {
    pub(crate) async fn start(listen: &str) -> FakeEdge {
        let listener = TcpListener::bind(listen).await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                tokio::spawn(async move {
                    let mut request = [0; 1024];
                    let length = stream.read(&mut request).await.unwrap_or(0);
                    if request[..length].starts_with(b"OPTIONS ") {
                        let _ = stream
                            .write_all(b"RTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n")
                            .await;
                    }
                });
            }
        });
        FakeEdge { address, serving }
    }

    /// Ends it; its port refuses connections afterwards.
    pub(crate) async fn kill(self) -> SocketAddr {
        self.serving.abort();
        let _ = self.serving.await;
        self.address
    }
}

/// The map of the tests: region n is named `rn`; every edge is in one of them; the placement tries the regions in order.
pub(crate) fn map(edges: &[(u16, SocketAddr)]) -> Map {
    let mut ids: Vec<u16> = edges.iter().map(|(region, _)| *region).collect();
    ids.sort();
    ids.dedup();
    let choices = ids.iter().enumerate().map(|(i, id)| Choice {
        region: *id,
        share: if i == 0 { 1000 } else { 0 },
    });
    let edge = |(index, (region, address)): (usize, &(u16, SocketAddr))| Edge {
        name: format!("e{index:02}"),
        region: *region,
        addresses: vec![address.ip()],
        rtsp_port: address.port(),
        handoff: None,
        capacity_sessions: 100,
        public_key: None,
        profiles: Vec::new(),
    };
    let parts = MapParts {
        ecs: (24, 56),
        v4: vec![(0, Some(UnitId(0)))],
        v6: vec![(0, None)],
        demand: vec![1],
        placements: vec![vec![choices.collect()]],
        regions: ids
            .iter()
            .map(|id| Region {
                id: *id,
                name: format!("r{id}"),
                at: None,
                capacity: 1,
                edges: vec![],
            })
            .collect(),
        edges: edges.iter().enumerate().map(edge).collect(),
    };
    Map::new(parts).unwrap()
}

/// The token with one character changed.
pub(crate) fn mangled(token: &str) -> String {
    let other = if token.as_bytes()[9] == b'0' {
        "1"
    } else {
        "0"
    };
    format!("{}{other}{}", &token[..9], &token[10..])
}

/// A token for a region, with the placement of [`map`].
pub(crate) fn payload(map: &Map, region: u16) -> Payload {
    let placement = map.placement(UnitId(0), 0).unwrap().id;
    Payload {
        service: 1,
        region,
        placement,
        assumed: false,
    }
}

/// Everything but the server: can be written to while it runs.
pub(crate) struct Files {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) signing: SigningKey,
}

impl Files {
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn ring(&self) -> KeyRing {
        KeyRing::from_toml(&std::fs::read_to_string(self.path("token-keys.toml")).unwrap()).unwrap()
    }

    pub(crate) fn seal(&self, payload: &Payload) -> String {
        self.ring().zone(ZONE).seal(payload).to_string()
    }

    pub(crate) fn publish(&self, map: &Map) -> u64 {
        let blobs = [("map", &*map.encode())];
        release::publish(
            &self.path("releases"),
            &self.signing,
            &blobs,
            1_795_000_000,
            3,
        )
        .unwrap()
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let aside = self.path(&format!("{name}.new"));
        std::fs::write(&aside, text).unwrap();
        std::fs::rename(aside, self.path(name)).unwrap();
    }
}

pub(crate) struct Scene {
    pub(crate) files: Files,
    pub(crate) running: Running,
    pub(crate) config: Config,
    trigger: Trigger,
}

impl Scene {
    /// A running server without a release.
    pub(crate) async fn new() -> Scene {
        Scene::with(|_| {}).await
    }

    pub(crate) async fn with(adjust: impl FnOnce(&mut Config)) -> Scene {
        let files = Files {
            folder: tempfile::tempdir().unwrap(),
            signing: keys::generate(),
        };
        keys::write_public_key(&files.path("release.pub"), &files.signing.verifying_key()).unwrap();
        files.write("edge.stream.example.zone", ZONE_TEXT);
        files.write("services.toml", SERVICES);
        files.write("token-keys.toml", &KeyRing::generate([7; 32]));
        let owner_only = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(files.path("token-keys.toml"), owner_only).unwrap();
        let mut config = Config {
            listen: vec!["127.0.0.1:0".parse().unwrap()],
            admin: service::admin::LOOPBACK,
            workers: 2,
            zones: vec![files.path("edge.stream.example.zone")],
            services: files.path("services.toml"),
            releases: files.path("releases"),
            trusted_key: files.path("release.pub"),
            state: files.path("state"),
            token_keys: files.path("token-keys.toml"),
            probe: Probe {
                interval_ms: 20,
                timeout_ms: 2000,
                rise: 2,
                fall: 2,
            },
            ..Config::default()
        };
        adjust(&mut config);
        let (trigger, shutdown) = channel();
        let running = start(config.clone(), shutdown).await.unwrap();
        Scene {
            files,
            running,
            config,
            trigger,
        }
    }

    /// Stops the server and leaves its files.
    pub(crate) async fn stop(self) -> (Files, Config) {
        self.trigger.fire();
        self.running.wait().await.unwrap();
        (self.files, self.config)
    }

    pub(crate) fn server(&self) -> SocketAddr {
        self.running.dns[0]
    }

    pub(crate) async fn ask(&self, name: &str, rtype: RecordType) -> Message {
        ask(self.server(), name, rtype).await
    }

    /// Asks for a token's addresses of one family: the response code and the addresses, sorted.
    pub(crate) async fn addresses(
        &self,
        token: &str,
        rtype: RecordType,
    ) -> (ResponseCode, Vec<IpAddr>) {
        addresses(&self.ask(&format!("{token}.{ZONE}"), rtype).await)
    }

    /// Asks again and again until a token's A answer is as expected.
    pub(crate) async fn until(&self, token: &str, expected: &[SocketAddr]) {
        let mut wanted: Vec<IpAddr> = expected.iter().map(SocketAddr::ip).collect();
        wanted.sort();
        let began = Instant::now();
        loop {
            let found = self.addresses(token, RecordType::A).await;
            if found == (ResponseCode::NoError, wanted.clone()) {
                return;
            }
            assert!(
                began.elapsed() < PATIENCE,
                "{found:?} instead of {wanted:?}"
            );
        }
    }

    /// Asks for A records again and again until the response code is as expected.
    pub(crate) async fn until_rcode(&self, name: &str, wanted: ResponseCode) {
        let began = Instant::now();
        loop {
            let found = self.ask(name, RecordType::A).await.metadata.response_code;
            if found == wanted {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{found} instead of {wanted}");
        }
    }

    /// Reads the metrics again and again until a line is there.
    pub(crate) async fn until_metric(&self, line: &str) {
        let began = Instant::now();
        loop {
            let page = self.get("/metrics").await;
            if page.lines().any(|found| found == line) {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "no {line:?} in\n{page}");
        }
    }

    pub(crate) async fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.running.admin).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut page = String::new();
        stream.read_to_string(&mut page).await.unwrap();
        page
    }
}

pub(crate) fn query(name: &str, rtype: RecordType) -> Message {
    let mut message = Message::new(4711, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), rtype));
    message.set_edns(Edns::new());
    message
}

pub(crate) async fn ask(server: SocketAddr, name: &str, rtype: RecordType) -> Message {
    Message::from_vec(&exchange(server, &query(name, rtype).to_vec().unwrap()).await).unwrap()
}

/// One datagram there, one back.
pub(crate) async fn exchange(server: SocketAddr, query: &[u8]) -> Vec<u8> {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(server).await.unwrap();
    socket.send(query).await.unwrap();
    let mut answer = [0; 4096];
    let received = tokio::time::timeout(PATIENCE, socket.recv(&mut answer)).await;
    let length = received.expect("an answer").unwrap();
    answer[..length].to_vec()
}

pub(crate) async fn exchange_tcp(server: SocketAddr, query: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(server).await.unwrap();
    stream
        .write_all(&[&(query.len() as u16).to_be_bytes(), query].concat())
        .await
        .unwrap();
    let length = stream.read_u16().await.unwrap();
    let mut answer = vec![0; length.into()];
    stream.read_exact(&mut answer).await.unwrap();
    answer
}

pub(crate) fn addresses(message: &Message) -> (ResponseCode, Vec<IpAddr>) {
    let address = |data: &RData| match data {
        RData::A(a) => Some(IpAddr::V4(a.0)),
        RData::AAAA(aaaa) => Some(IpAddr::V6(aaaa.0)),
        _ => None,
    };
    let mut found: Vec<IpAddr> = message
        .answers
        .iter()
        .filter_map(|record| address(&record.data))
        .collect();
    found.sort();
    (message.metadata.response_code, found)
}
