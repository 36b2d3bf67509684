//! A small RTSP server for tests: real sockets, a real title, every fault on request. It is not media-edge:
//! it knows one title, trusts everybody, and does what `Fault` says.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mdc::rtp::Continuity;
use mdc::split::{Settings, Title, encode_title};
use mdc::title::{Description, Timing};
use mdc::{pattern, rtp};
use rtsp::codec::{encode_request, encode_response, interleaved_header};
use rtsp::message::{header, request, respond};
use rtsp::range::{Npt, NptRange};
use rtsp::transport::{Policy, Transport, negotiate};
use rtsp::{
    Codec, Event, Method, Request, StatusCode, Url, handoff, locator, rtp_info, sdp, ticket,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::watch;

/// What is wrong with this server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing.
    #[default]
    None,
    /// Frames of this description and numbers in this range are not sent, their packet numbers skipped.
    Loses(u8, u32, u32),
    /// From this frame on every second frame of this description is left out, with its packet numbers.
    Thins(u8, u32),
    /// Packets carry another SSRC than announced.
    WrongSource,
    /// So do these, and each of them comes three hundred times.
    Floods,
    /// DESCRIBE redirects to itself, for ever.
    Redirects,
    /// DESCRIBE answers with this text instead of SDP.
    Describes(&'static str),
    /// The connection closes at this frame.
    Dies(u32),
    /// After this frame nothing is sent any more, the connection stays.
    FallsSilent(u32),
    /// Headers without end.
    Babbles,
    /// One octet of the answer per 200 ms.
    Drips,
    /// As a second server of a handoff: PLAY is refused.
    RefusesPlay,
    /// As a second server of a handoff: PLAY is taken, no frame ever comes for this description.
    SendsNothing(u8),
}

/// A title in memory.
pub(crate) struct Loaded {
    pub(crate) title: Title,
    pub(crate) descriptions: Vec<Description>,
}

/// A stamped title of two descriptions, 30 frames per second, GOP of one second.
pub(crate) fn title(frames: u32) -> Arc<Loaded> {
    let mut settings = Settings::new("live", 320, 180, (30, 1)).unwrap();
    settings.stamp = true;
    settings.gop_ms = 1000;
    let timing = Timing::in_turn((30, 1), 2).unwrap();
    let pictures = (0..frames).map(|n| Ok::<_, ()>(pattern::picture(n, 320, 180)));
    let title = encode_title(pictures, settings, None)
        .map_err(|_| ())
        .unwrap();
    let read = |(index, file): (usize, &Vec<u8>)| {
        Description::read(file, &timing, index as u8, title.manifest.payload_limit).unwrap()
    };
    let descriptions = title.files.iter().enumerate().map(read).collect();
    Arc::new(Loaded {
        title,
        descriptions,
    })
}

/// What all servers of a test share: the session's numbers and the title's clock.
pub(crate) struct World {
    pub(crate) loaded: Arc<Loaded>,
    pub(crate) secret: [u8; 32],
    /// When title time 0 was sent in the session that started last.
    began: Mutex<Option<Instant>>,
    /// The player's key, learnt at the first SETUP.
    client_key: Mutex<Option<String>>,
    /// Bodies of all SET_PARAMETERs, with the server's port.
    pub(crate) told: Mutex<Vec<(u16, String)>>,
}

impl World {
    pub(crate) fn new(frames: u32) -> Arc<World> {
        World::of(title(frames))
    }

    /// A world with a clock of its own.
    pub(crate) fn of(loaded: Arc<Loaded>) -> Arc<World> {
        Arc::new(World {
            loaded,
            secret: [7; 32],
            began: Mutex::default(),
            client_key: Mutex::default(),
            told: Mutex::default(),
        })
    }

    /// When title time 0 is sent: a session of its own starts with what was asked for, one that was handed
    /// over goes on.
    fn clock(&self, handed_over: bool, start: Npt) -> Instant {
        let mut began = self.began.lock().unwrap();
        if !handed_over || began.is_none() {
            let before = Duration::from_micros(start.0 * 100 / 9);
            *began = Some(Instant::now().checked_sub(before).unwrap());
        }
        began.unwrap()
    }
}

/// A running server.
#[derive(Clone)]
pub(crate) struct Edge {
    pub(crate) address: SocketAddr,
    world: Arc<World>,
    fault: Fault,
    /// The connections whose sessions play.
    playing: Arc<Mutex<Vec<Arc<Client>>>>,
    /// How many of them.
    count: watch::Sender<usize>,
}

/// One connection.
struct Client {
    writer: tokio::sync::Mutex<OwnedWriteHalf>,
    peer: SocketAddr,
    streams: Mutex<HashMap<u8, Arc<Stream>>>,
    /// It came with a ticket: its session goes on by the clock of the one before.
    handed_over: AtomicBool,
    dead: AtomicBool,
}

struct Stream {
    transport: Transport,
    socket: Option<UdpSocket>,
    started: AtomicBool,
    stopped: AtomicBool,
}

impl Edge {
    pub(crate) async fn start(world: &Arc<World>, fault: Fault) -> Edge {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (playing, count) = (Arc::default(), watch::Sender::new(0));
        let edge = Edge {
            address,
            world: world.clone(),
            fault,
            playing,
            count,
        };
        let serving = edge.clone();
        tokio::spawn(async move {
            while let Ok((stream, peer)) = listener.accept().await {
                let edge = serving.clone();
                tokio::spawn(async move { edge.serve(stream, peer).await });
            }
        });
        edge
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("rtsp://{}/{path}", self.address)
    }

    /// Waits until somebody plays.
    pub(crate) async fn played(&self) {
        self.until(|playing| playing > 0).await;
    }

    /// Waits until nobody plays any more.
    pub(crate) async fn left(&self) {
        self.until(|playing| playing == 0).await;
    }

    async fn until(&self, fits: impl Fn(usize) -> bool) {
        let mut count = self.count.subscribe();
        count.wait_for(|playing| fits(*playing)).await.unwrap();
    }

    /// Asks every playing client to go on at `to`, from these frames on.
    pub(crate) async fn hand_over(&self, to: SocketAddr, id: &str, frames: (u32, u32)) {
        let clients = self.playing.lock().unwrap().clone();
        for client in clients {
            let headers = notice(to, id, frames);
            let url = Url::parse(&self.url("live")).unwrap();
            let notice = request(Method::PlayNotify, &url, 900, &headers, b"");
            client.write(&encode_request(&notice)).await;
        }
    }

    async fn serve(&self, stream: TcpStream, peer: SocketAddr) {
        stream.set_nodelay(true).unwrap();
        let (mut reader, writer) = stream.into_split();
        let client = Arc::new(Client {
            writer: tokio::sync::Mutex::new(writer),
            peer,
            streams: Mutex::default(),
            handed_over: AtomicBool::new(false),
            dead: AtomicBool::new(false),
        });
        let mut codec = Codec::new();
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = reader.read(&mut buffer).await {
            codec.push(&buffer[..length]);
            while let Ok(Some(event)) = codec.next_event() {
                if let Event::Request(asked) = event {
                    self.answer(&client, &asked).await;
                }
            }
            if client.dead.load(Ordering::Relaxed) {
                break;
            }
        }
        client.dead.store(true, Ordering::Relaxed);
        let left = {
            let mut playing = self.playing.lock().unwrap();
            playing.retain(|other| !Arc::ptr_eq(other, &client));
            playing.len()
        };
        self.count.send_replace(left);
    }

    async fn answer(&self, client: &Arc<Client>, asked: &Request) {
        let ok = |headers: &[(&'static str, String)], body: &[u8]| {
            encode_response(&respond(asked, StatusCode::Ok, headers, body))
        };
        let session = ("Session", "s1;timeout=60".to_owned());
        let supported = ("Supported", rtsp::capabilities::supported());
        let answer = match asked.method() {
            Method::Options => {
                let public = ("Public", rtsp::capabilities::PUBLIC.to_owned());
                let challenge = (handoff::CHALLENGE, "nonce".to_owned());
                ok(&[public, supported, challenge], b"")
            }
            Method::Describe => match self.describe(asked) {
                Ok(body) => {
                    let base = ("Content-Base", self.url("live/"));
                    ok(&[base, ("Content-Type", "application/sdp".into())], &body)
                }
                Err(answer) => answer,
            },
            Method::Setup => match self.set_up(client, asked).await {
                Some(transport) => ok(&[session, ("Transport", transport)], b""),
                None => encode_response(&respond(asked, StatusCode::Forbidden, &[], b"")),
            },
            Method::Play if self.fault == Fault::RefusesPlay => {
                encode_response(&respond(asked, StatusCode::NotEnoughBandwidth, &[], b""))
            }
            Method::Play => {
                let headers = self.play(client, asked);
                // The answer goes out before the first packet.
                client.write(&ok(&headers, b"")).await;
                self.send_all(client, asked);
                return;
            }
            Method::SetParameter => {
                self.told(client, asked);
                ok(&[], b"")
            }
            _ => ok(&[], b""),
        };
        match self.fault {
            Fault::Drips => {
                for octet in answer {
                    client.write(&[octet]).await;
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            }
            Fault::Babbles if asked.method() == Method::Describe => {
                client.write(b"RTSP/1.0 200 OK\r\n").await;
                for _ in 0..10_000 {
                    client.write(&b"X-Babble: babble\r\n".repeat(100)).await;
                }
            }
            _ => client.write(&answer).await,
        }
        if asked.method() == Method::Teardown {
            client.stop();
        }
    }

    fn describe(&self, asked: &Request) -> Result<Vec<u8>, Vec<u8>> {
        if let Fault::Describes(text) = self.fault {
            return Ok(text.as_bytes().to_vec());
        }
        if self.fault == Fault::Redirects {
            let location = [("Location", self.url("live"))];
            return Err(encode_response(&respond(
                asked,
                StatusCode::Found,
                &location,
                b"",
            )));
        }
        let locator = locator::Locator::parse(asked.request_uri().unwrap()).unwrap();
        let stream = |(number, description): (usize, &Description)| sdp::Stream {
            control: locator::control(number as u8),
            payload_type: 96 + number as u8,
            sps: description.sps.clone(),
            pps: description.pps.clone(),
            frame_rate: (15, 1),
            kbit_per_second: 300,
        };
        let wanted = |stream: &sdp::Stream| match locator.description {
            Some(number) => stream.control == locator::control(number),
            None => locator.grouped || stream.control == "d0",
        };
        let all = self
            .world
            .loaded
            .descriptions
            .iter()
            .enumerate()
            .map(stream);
        let manifest = &self.world.loaded.title.manifest;
        let described = sdp::Description {
            title: "live".into(),
            duration: Some(Npt(manifest.duration().unwrap())),
            streams: all.filter(wanted).collect(),
        };
        Ok(described.write(self.address.ip(), 1))
    }

    async fn set_up(&self, client: &Arc<Client>, asked: &Request) -> Option<String> {
        let locator = locator::Locator::parse(asked.request_uri()?)?;
        let number = locator.description.unwrap_or(0);
        if let Some(ticket) = header(asked, handoff::TICKET) {
            let key = self.world.client_key.lock().unwrap().clone().unwrap();
            let proof = header(asked, handoff::PROOF)?;
            ticket::proof::verify(&key, "nonce", ticket, proof).ok()?;
            client.handed_over.store(true, Ordering::Relaxed);
        } else if let Some(key) = header(asked, handoff::KEY) {
            *self.world.client_key.lock().unwrap() = Some(key.to_owned());
        }
        let transport = negotiate(
            header(asked, "Transport")?,
            Policy::default(),
            (0, 1),
            |_| false,
        )?;
        let socket = match transport {
            Transport::Udp { .. } => Some(UdpSocket::bind("127.0.0.1:0").await.unwrap()),
            Transport::Tcp { .. } => None,
        };
        let ports = socket
            .as_ref()
            .map(|s| s.local_addr().unwrap().port())
            .map(|p| (p, p));
        let stream = Stream {
            transport,
            socket,
            started: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
        };
        client
            .streams
            .lock()
            .unwrap()
            .insert(number, Arc::new(stream));
        Some(transport.to_response_header(ports, self.numbers(number).ssrc))
    }

    fn numbers(&self, description: u8) -> Continuity {
        Continuity::new(&self.world.secret, "live", description)
    }

    fn range(asked: &Request) -> Npt {
        header(asked, "Range")
            .and_then(NptRange::parse)
            .and_then(|r| r.start)
            .unwrap_or_default()
    }

    fn play(&self, client: &Arc<Client>, asked: &Request) -> Vec<(&'static str, String)> {
        let start = Self::range(asked);
        let info = |number: &u8| {
            let description = &self.world.loaded.descriptions[usize::from(*number)];
            let frame = description.frames.get(description.idr_before(start.0));
            rtp_info::RtpInfo {
                url: self.url(&format!("live/{}", locator::control(*number))),
                seq: frame.map(|frame| self.numbers(*number).rtp_info(frame).0),
                rtptime: Some(self.numbers(*number).timestamp(start.0)),
            }
        };
        let infos: Vec<_> = client.streams.lock().unwrap().keys().map(info).collect();
        let range = NptRange::from(start).to_header();
        vec![
            ("Range", range),
            ("RTP-Info", rtp_info::to_header(&infos)),
            ("Session", "s1".into()),
        ]
    }

    fn send_all(&self, client: &Arc<Client>, asked: &Request) {
        let start = Self::range(asked);
        // Set before anybody learns that the client plays, and may hand it over.
        let began = self
            .world
            .clock(client.handed_over.load(Ordering::Relaxed), start);
        let count = {
            let mut playing = self.playing.lock().unwrap();
            if !playing.iter().any(|other| Arc::ptr_eq(other, client)) {
                playing.push(client.clone());
            }
            playing.len()
        };
        self.count.send_replace(count);
        let streams = client.streams.lock().unwrap().clone();
        for (number, stream) in streams {
            if !stream.started.swap(true, Ordering::Relaxed) {
                let sending = self
                    .clone()
                    .send(client.clone(), stream, number, (start, began));
                tokio::spawn(sending);
            }
        }
    }

    /// Sends one description in real time, then BYE.
    async fn send(
        self,
        client: Arc<Client>,
        stream: Arc<Stream>,
        number: u8,
        (start, began): (Npt, Instant),
    ) {
        let description = &self.world.loaded.descriptions[usize::from(number)];
        let mut numbers = self.numbers(number);
        if matches!(self.fault, Fault::WrongSource | Fault::Floods) {
            numbers.ssrc ^= 1;
        }
        let copies = if self.fault == Fault::Floods { 300 } else { 1 };
        for frame in &description.frames[description.idr_before(start.0)..] {
            let due = began + Duration::from_micros(frame.rtp_time * 100 / 9);
            tokio::time::sleep_until(due.into()).await;
            if stream.stopped.load(Ordering::Relaxed) || client.dead.load(Ordering::Relaxed) {
                return;
            }
            match self.fault {
                Fault::Loses(d, from, to) if d == number && (from..to).contains(&frame.number) => {
                    continue;
                }
                Fault::Thins(d, from)
                    if d == number && frame.number >= from && frame.number % 4 > 1 =>
                {
                    continue;
                }
                Fault::Dies(at) if frame.number >= at => return client.die().await,
                Fault::FallsSilent(at) if frame.number >= at => return,
                Fault::SendsNothing(d) if d == number => return,
                _ => {}
            }
            let bytes =
                description.frame_bytes(frame, &self.world.loaded.title.files[usize::from(number)]);
            let nals: Vec<&[u8]> = description.nals(frame, bytes.unwrap()).collect();
            for packet in packets(&nals, description, frame, &numbers) {
                for _ in 0..copies {
                    client.packet(&stream, false, &packet).await;
                }
            }
        }
        // RFC 3550 §6.6: version 2, one source, packet type 203, length 1.
        let bye = [&[0x81, 203, 0, 1][..], &numbers.ssrc.to_be_bytes()].concat();
        client.packet(&stream, true, &bye).await;
    }

    fn told(&self, client: &Arc<Client>, asked: &Request) {
        let body = String::from_utf8_lossy(asked.body()).into_owned();
        self.world
            .told
            .lock()
            .unwrap()
            .push((self.address.port(), body));
        let Some(confirmation) = handoff::Confirmation::parse(asked.body()) else {
            return;
        };
        for (description, outcome) in confirmation.outcomes {
            let streams = client.streams.lock().unwrap();
            if let (Some(stream), handoff::Outcome::Ok) = (streams.get(&description), outcome) {
                stream.stopped.store(true, Ordering::Relaxed);
            }
        }
    }
}

impl Client {
    async fn write(&self, bytes: &[u8]) {
        self.writer.lock().await.write_all(bytes).await.ok();
    }

    async fn packet(&self, stream: &Stream, rtcp: bool, packet: &[u8]) {
        match (stream.transport, &stream.socket) {
            (Transport::Tcp { rtp, rtcp: control }, _) => {
                let channel = if rtcp { control } else { rtp };
                let header = interleaved_header(channel, packet.len() as u16);
                self.write(&[&header, packet].concat()).await;
            }
            (Transport::Udp { rtp, rtcp: control }, Some(socket)) => {
                let port = if rtcp { control } else { rtp };
                socket.send_to(packet, (self.peer.ip(), port)).await.ok();
            }
            _ => {}
        }
    }

    fn stop(&self) {
        let streams = self.streams.lock().unwrap();
        streams
            .values()
            .for_each(|stream| stream.stopped.store(true, Ordering::Relaxed));
    }

    async fn die(&self) {
        self.dead.store(true, Ordering::Relaxed);
        self.writer.lock().await.shutdown().await.ok();
    }
}

/// The packets of a frame as bytes.
fn packets(
    nals: &[&[u8]],
    description: &Description,
    frame: &mdc::title::Frame,
    numbers: &Continuity,
) -> Vec<Vec<u8>> {
    let bytes = |packet: rtp::Packet<'_>| {
        let mut bytes = Vec::new();
        packet.write_to(&mut bytes);
        bytes
    };
    let limit = description.payload_limit;
    rtp::packetize(nals.iter().copied(), frame, numbers, 96, limit)
        .map(bytes)
        .collect()
}

/// The headers of a PLAY_NOTIFY that moves d1 at the first and d0 at the second frame number.
fn notice(to: SocketAddr, id: &str, (d1, d0): (u32, u32)) -> Vec<(&'static str, String)> {
    let at = |frame: u32| Npt(u64::from(frame) * 3000);
    vec![
        ("Session", "s1".into()),
        ("Notify-Reason", handoff::REASON.into()),
        (handoff::ID, id.into()),
        ("Location", format!("rtsp://{to}/live?mdc=1")),
        (handoff::TICKET, "dGlja2V0".into()),
        (
            handoff::START,
            handoff::start_to_header(&[(1, at(d1)), (0, at(d0))]),
        ),
    ]
}
