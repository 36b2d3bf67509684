//! A scripted RTSP client, small titles, and edges on free ports: what the tests of this package share.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each test binary uses another part, and failing is their way to speak"
)]

use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ed25519_dalek::SigningKey;
use mdc::rtp::{AccessUnit, Clock, Depacketizer};
use mdc::title::{Description, Manifest};
use media_edge::fleet::{Edge as FleetEdge, Fleet};
use media_edge::{Config, Running, title};
use rtsp::codec::{Codec, Event, encode_request, encode_response};
use rtsp::message::{self, header};
use rtsp::{Method, Request, Response, StatusCode, Url};
use service::shutdown::{Shutdown, Trigger};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::mpsc;

/// Nothing in these tests takes longer unless it hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A folder with the titles `clip` (3 s, IDRs every second) and `quick` (4 s, IDRs every half second), made once.
pub(crate) fn titles() -> &'static Path {
    static TITLES: OnceLock<PathBuf> = OnceLock::new();
    TITLES.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap().keep();
        for (name, seconds, gop_ms) in [("clip", 3, 1_000), ("quick", 4, 500)] {
            let settings = title::Settings {
                name: Some(name.to_owned()),
                gop_ms,
                bitrate: Some(300_000),
                ..title::Settings::default()
            };
            let input = format!("pattern:128x96@30:{seconds}s");
            title::create(&input, &folder, &settings, |_| {}).unwrap();
        }
        folder
    })
}

/// A title read straight from its files, as the reference.
pub(crate) struct Reference {
    pub(crate) manifest: Manifest,
    pub(crate) descriptions: Vec<(Description, Vec<u8>)>,
}

pub(crate) fn reference(name: &str) -> Reference {
    let folder = titles().join(name);
    let text = std::fs::read_to_string(folder.join("title.toml")).unwrap();
    let manifest = Manifest::parse(&text).unwrap();
    let timing = manifest.timing().unwrap();
    let descriptions = (0..2_u8)
        .map(|number| {
            let file = &manifest.descriptions[usize::from(number)].file;
            let bytes = std::fs::read(folder.join(file)).unwrap();
            let index = Description::read(&bytes, &timing, number, manifest.payload_limit).unwrap();
            (index, bytes)
        })
        .collect();
    Reference {
        manifest,
        descriptions,
    }
}

impl Reference {
    /// Every frame of a description: number and the Annex B octets that a receiver should end up with.
    pub(crate) fn frames(&self, description: u8) -> Vec<(u32, Vec<u8>)> {
        let (index, bytes) = &self.descriptions[usize::from(description)];
        let unit = |frame: &mdc::title::Frame| {
            let data = index.frame_bytes(frame, bytes).unwrap();
            let mut unit = Vec::new();
            for nal in index.nals(frame, data) {
                unit.extend_from_slice(&[0, 0, 0, 1]);
                unit.extend_from_slice(nal);
            }
            (frame.number, unit)
        };
        index.frames.iter().map(unit).collect()
    }

    /// Frame numbers and octets of what was received.
    pub(crate) fn numbered(&self, units: &[AccessUnit]) -> Vec<(u32, Vec<u8>)> {
        let timing = self.manifest.timing().unwrap();
        units
            .iter()
            .map(|u| (timing.frame_at(u.rtp_time).unwrap(), u.data.clone()))
            .collect()
    }
}

/// An edge under test.
pub(crate) struct TestEdge {
    pub(crate) running: Running,
    pub(crate) trigger: Trigger,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) name: String,
}

/// Starts an edge on free ports; `change` adjusts its configuration.
pub(crate) async fn edge(name: &str, change: impl FnOnce(&mut Config)) -> TestEdge {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config {
        name: name.to_owned(),
        listen: vec![any],
        handoff: any,
        admin: any,
        titles: titles().to_owned(),
        identity: folder.path().join("identity.key"),
        ..Config::default()
    };
    change(&mut config);
    let (trigger, shutdown): (Trigger, Shutdown) = service::shutdown::channel();
    let running = media_edge::start(config, shutdown).await.unwrap();
    TestEdge {
        running,
        trigger,
        folder,
        name: name.to_owned(),
    }
}

impl TestEdge {
    pub(crate) fn rtsp(&self) -> SocketAddr {
        self.running.rtsp[0]
    }

    pub(crate) fn url(&self, path: &str) -> Url {
        Url::parse(&format!("rtsp://{}{path}", self.rtsp())).unwrap()
    }

    pub(crate) fn as_fleet_edge(&self) -> FleetEdge {
        FleetEdge {
            name: self.name.clone(),
            region: "here".to_owned(),
            at: None,
            addresses: vec![self.rtsp().ip()],
            rtsp_port: self.rtsp().port(),
            handoff: Some(self.running.handoff),
            public_key: Some(self.running.public_key),
        }
    }
}

/// Lets the edges know each other, as a map does.
pub(crate) fn acquaint(edges: &[&TestEdge]) {
    let fleet = Fleet::new(edges.iter().map(|edge| edge.as_fleet_edge()).collect());
    for edge in edges {
        edge.running.edge.fleet.store(Arc::new(fleet.clone()));
    }
}

/// One RTSP connection.
pub(crate) struct Client {
    write: OwnedWriteHalf,
    events: mpsc::UnboundedReceiver<Event>,
    /// Interleaved packets not looked at yet.
    pub(crate) packets: VecDeque<(u8, Vec<u8>)>,
    /// The edge's own requests not looked at yet.
    pub(crate) asked: VecDeque<Request>,
    pub(crate) session: Option<String>,
    pub(crate) authority: SocketAddr,
    cseq: u32,
}

impl Client {
    pub(crate) async fn connect(authority: SocketAddr) -> Client {
        let stream = TcpStream::connect(authority).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (mut read, write) = stream.into_split();
        let (sender, events) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let (mut codec, mut buffer) = (Codec::new(), vec![0; 65_536]);
            while let Ok(octets @ 1..) = read.read(&mut buffer).await {
                codec.push(&buffer[..octets]);
                while let Some(event) = codec.next_event().unwrap() {
                    if sender.send(event).is_err() {
                        return;
                    }
                }
            }
        });
        let (packets, asked) = (VecDeque::new(), VecDeque::new());
        Client {
            write,
            events,
            packets,
            asked,
            session: None,
            authority,
            cseq: 0,
        }
    }

    pub(crate) fn url(&self, path: &str) -> Url {
        Url::parse(&format!("rtsp://{}{path}", self.authority)).unwrap()
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.write.write_all(bytes).await.unwrap();
    }

    /// Waits for the next event; `None` when the edge has closed the connection.
    pub(crate) async fn event(&mut self) -> Option<Event> {
        tokio::time::timeout(PATIENCE, self.events.recv())
            .await
            .expect("the edge fell silent")
    }

    /// Reads whatever comes next into the queues; false at the end.
    pub(crate) async fn turn(&mut self) -> bool {
        match self.event().await {
            None => return false,
            Some(Event::Interleaved { channel, payload }) => {
                self.packets.push_back((channel, payload));
            }
            Some(Event::Request(request)) => self.asked.push_back(request),
            Some(Event::Response(response)) => panic!("an answer nobody asked for: {response:?}"),
        }
        true
    }

    /// Sends a request with the session's id, if any, and waits for its answer.
    pub(crate) async fn request(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&'static str, &str)],
        body: &str,
    ) -> Response {
        self.cseq += 1;
        let mut all: Vec<(&'static str, String)> = headers
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()))
            .collect();
        if let Some(session) = &self.session
            && !headers.iter().any(|(name, _)| *name == "Session")
        {
            all.push(("Session", session.clone()));
        }
        let url = self.url(path);
        let request =
            message::request(Method::from(method), &url, self.cseq, &all, body.as_bytes());
        self.send(&encode_request(&request)).await;
        self.answer(self.cseq).await
    }

    /// The answer with that number.
    pub(crate) async fn answer(&mut self, cseq: u32) -> Response {
        loop {
            match self.event().await.expect("the edge closed the connection") {
                Event::Response(response) => {
                    assert_eq!(message::cseq(&response), Some(cseq));
                    if let Some(id) = message::session_id(&response) {
                        self.session = Some(id.to_owned());
                    }
                    return response;
                }
                Event::Interleaved { channel, payload } => {
                    self.packets.push_back((channel, payload));
                }
                Event::Request(request) => self.asked.push_back(request),
            }
        }
    }

    /// As [`Client::request`], and the status has to be that.
    pub(crate) async fn expect(
        &mut self,
        status: u16,
        method: &str,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> Response {
        let response = self.request(method, path, headers, "").await;
        assert_eq!(
            u16::from(response.status()),
            status,
            "{method} {path} {headers:?}"
        );
        response
    }

    /// Answers a request of the edge's.
    pub(crate) async fn reply(&mut self, request: &Request, status: StatusCode) {
        let response = message::respond(request, status, &[], b"");
        self.send(&encode_response(&response)).await;
    }
}

/// The entry of one description in an answer's RTP-Info, as a depacketizer's clock.
pub(crate) fn clock(response: &Response, description: u8) -> Clock {
    let range = rtsp::range::NptRange::parse(header(response, "Range").unwrap()).unwrap();
    let info = rtsp::rtp_info::parse(header(response, "RTP-Info").unwrap()).unwrap();
    let name = format!("/d{description}");
    let entry = info
        .iter()
        .find(|entry| entry.url.ends_with(&name))
        .unwrap();
    Clock {
        rtptime: entry.rtptime.unwrap(),
        rtp_time: range.start.unwrap().0,
        sequence: entry.seq,
    }
}

/// Access units per channel of RTP, out of interleaved packets.
pub(crate) struct Receiver {
    streams: BTreeMap<u8, (Depacketizer, Vec<AccessUnit>)>,
}

impl Receiver {
    pub(crate) fn new(streams: impl IntoIterator<Item = (u8, Clock)>) -> Receiver {
        let streams = streams
            .into_iter()
            .map(|(channel, clock)| (channel, (Depacketizer::new(Some(clock)), Vec::new())))
            .collect();
        Receiver { streams }
    }

    pub(crate) fn push(&mut self, channel: u8, packet: &[u8]) {
        let Some((depacketizer, units)) = self.streams.get_mut(&channel) else {
            return;
        };
        depacketizer.push(packet, 0).unwrap();
        while let Some(unit) = depacketizer.pop() {
            assert!(unit.complete && unit.lost_before == 0, "a damaged frame");
            units.push(unit);
        }
    }

    pub(crate) fn units(&self, channel: u8) -> &[AccessUnit] {
        &self.streams[&channel].1
    }
}

/// Whether an RTCP packet says goodbye.
pub(crate) fn is_goodbye(packet: &[u8]) -> bool {
    let packets = rtcp_types::Compound::parse(packet).unwrap();
    packets
        .flatten()
        .any(|packet| matches!(packet, rtcp_types::Packet::Bye(_)))
}

/// A client's ephemeral key.
pub(crate) fn client_key(seed: u8) -> (SigningKey, String) {
    let key = SigningKey::from_bytes(&[seed; 32]);
    let text = rtsp::ticket::proof::key_text(&key.verifying_key());
    (key, text)
}

/// Waits until a condition holds, looking again whenever other tasks have run.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let looking = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, looking)
        .await
        .unwrap_or_else(|_| panic!("never: {what}"));
}
