//! One RTSP session at one server: DESCRIBE (with redirects), SETUP per description, PLAY, keep-alive.
//!
//! Datagrams come in as if on interleaved channels: description *d* has channel 2*d* for RTP and 2*d*+1
//! for RTCP, so the play loop does not care which transport it is.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rtsp::message::{header, session_id, session_timeout_seconds};
use rtsp::range::{Npt, NptRange};
use rtsp::rtp_info::{self, RtpInfo};
use rtsp::sdp::Description;
use rtsp::transport::{Agreed, Transport};
use rtsp::{Method, Response, Url, capabilities};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::connection::{Connection, Event, Incoming, RtspError, request, set_parameter};
use crate::location;

/// Redirects followed for one DESCRIBE: a chain is a mistake or a loop.
const REDIRECTS_MAX: usize = 3;
/// Largest datagram read: RTP over Ethernet stays far below.
const DATAGRAM_OCTETS_MAX: usize = 65_536;
/// Tries to find an even port with its odd neighbour free (RFC 3550 §11).
const PORT_TRIES: usize = 32;
/// Keep-alives are sent at least this often, however long the server's timeout: NATs forget sooner.
const KEEP_ALIVE_MAX: Duration = Duration::from_secs(25);

/// What carries the packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Carrier {
    /// Inside the RTSP connection.
    #[default]
    Tcp,
    /// Datagrams.
    Udp,
}

impl std::str::FromStr for Carrier {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "tcp" => Ok(Carrier::Tcp),
            "udp" => Ok(Carrier::Udp),
            _ => Err(format!("`{text}` is neither tcp nor udp")),
        }
    }
}

/// What DESCRIBE led to.
pub struct Described {
    /// The server that answered, after redirects.
    pub connection: Connection,
    /// Control URLs are relative to this.
    pub base: Url,
    /// The session description.
    pub description: Description,
}

/// Asks for the description of `url`, following redirects.
pub async fn describe(
    mut connection: Connection,
    mut url: Url,
    events: &mpsc::Sender<Event>,
) -> Result<Described, RtspError> {
    for _ in 0..=REDIRECTS_MAX {
        let headers = [
            ("Accept", "application/sdp".to_owned()),
            ("Supported", capabilities::supported()),
        ];
        let answer = connection
            .send(request(Method::Describe, &url, &headers))
            .await?;
        if answer.status().is_redirection() {
            (connection, url) = follow(&connection, &answer, events).await?;
            continue;
        }
        if !answer.status().is_success() {
            return Err(RtspError::Status {
                request: "DESCRIBE".into(),
                code: answer.status().into(),
                phrase: answer.reason_phrase().to_owned(),
            });
        }
        let description = Description::parse(answer.body())
            .ok_or_else(|| wrong("the session description is not SDP".into()))?;
        let base = content_base(&answer).unwrap_or(url);
        return Ok(Described {
            connection,
            base,
            description,
        });
    }
    Err(wrong(format!("more than {REDIRECTS_MAX} redirects")))
}

async fn follow(
    connection: &Connection,
    answer: &Response,
    events: &mpsc::Sender<Event>,
) -> Result<(Connection, Url), RtspError> {
    let target = header(answer, "Location").ok_or_else(|| wrong("a redirect nowhere".into()))?;
    let url =
        Url::parse(target).map_err(|error| wrong(format!("redirect to `{target}`: {error}")))?;
    let address = location::look_up(Some(connection.peer.ip()), &url)
        .await
        .map_err(|reason| wrong(format!("redirect refused: {reason}")))?;
    Ok((Connection::open(address, events.clone()).await?, url))
}

fn content_base(answer: &Response) -> Option<Url> {
    let text = header(answer, "Content-Base").or_else(|| header(answer, "Content-Location"))?;
    Url::parse(text).ok()
}

/// The URL to SETUP for a `control` attribute (RFC 2326 §C.1.1): absolute, or under the base. A base's
/// query (`?mdc=1`) belongs to the DESCRIBE; other servers' queries stay where they expect them.
pub fn control_url(base: &Url, control: &str) -> Result<Url, RtspError> {
    if let Ok(url) = Url::parse(control) {
        return Ok(url);
    }
    let mut base = base.clone();
    if base.query() == Some("mdc=1") {
        base.set_query(None);
    }
    let text = format!("{}/{control}", base.as_str().trim_end_matches('/'));
    Url::parse(&text).map_err(|error| wrong(format!("control `{control}`: {error}")))
}

/// A session at one server; shared between the play loop and the tasks that talk to the server.
pub struct Session {
    /// The connection it lives on.
    pub connection: Connection,
    /// The title's URL, for PLAY and everything aggregate.
    pub url: Url,
    carrier: Carrier,
    events: mpsc::Sender<Event>,
    id: OnceLock<String>,
    timeout_seconds: AtomicU32,
    datagrams: Mutex<Vec<Datagrams>>,
}

/// One description set up.
#[derive(Clone, Copy, Debug)]
pub struct SetUp {
    /// Its number.
    pub description: u8,
    /// RTP comes on this channel …
    pub rtp: u8,
    /// … and RTCP on this one.
    pub rtcp: u8,
    /// The synchronisation source the server announced.
    pub ssrc: Option<u32>,
}

/// What PLAY was answered with.
#[derive(Clone, Debug, Default)]
pub struct Started {
    /// Where the server starts, if it says so.
    pub start: Option<Npt>,
    /// RTP-Info.
    pub streams: Vec<RtpInfo>,
}

impl Started {
    /// The entry for the stream with this control name or URL.
    pub fn stream(&self, control: &str) -> Option<&RtpInfo> {
        let end = control.rsplit('/').next().unwrap_or(control);
        let fits = |info: &&RtpInfo| info.url.trim_end_matches('/').rsplit('/').next() == Some(end);
        match self.streams.as_slice() {
            [only] => Some(only),
            several => several.iter().find(fits),
        }
    }
}

/// The sockets of one description's datagrams.
struct Datagrams {
    rtcp_channel: u8,
    rtcp: Arc<UdpSocket>,
    server_rtcp: Option<SocketAddr>,
    readers: [AbortHandle; 2],
}

impl Drop for Datagrams {
    fn drop(&mut self) {
        self.readers.iter().for_each(AbortHandle::abort);
    }
}

impl Session {
    /// A session to be, at `url`.
    pub fn new(
        connection: Connection,
        url: Url,
        carrier: Carrier,
        events: mpsc::Sender<Event>,
    ) -> Session {
        Session {
            connection,
            url,
            carrier,
            events,
            id: OnceLock::new(),
            timeout_seconds: AtomicU32::new(60),
            datagrams: Mutex::default(),
        }
    }

    /// The session's id; empty before the first SETUP.
    pub fn id(&self) -> &str {
        self.id.get().map_or("", String::as_str)
    }

    /// Sets up one description.
    pub async fn set_up(
        &self,
        control: &Url,
        description: u8,
        extra: &[(&'static str, String)],
    ) -> Result<SetUp, RtspError> {
        let (rtp, rtcp) = (
            description.saturating_mul(2),
            description.saturating_mul(2) + 1,
        );
        let sockets = match self.carrier {
            Carrier::Tcp => None,
            Carrier::Udp => Some(port_pair(self.connection.local).await?),
        };
        let wanted = match &sockets {
            None => Transport::Tcp { rtp, rtcp },
            Some((rtp, rtcp)) => Transport::Udp {
                rtp: port(rtp)?,
                rtcp: port(rtcp)?,
            },
        };
        let mut headers = vec![
            ("Transport", wanted.to_request_header()),
            ("Supported", capabilities::supported()),
        ];
        headers.extend_from_slice(extra);
        if !self.id().is_empty() {
            headers.push(("Session", self.id().to_owned()));
        }
        let answer = self
            .connection
            .request(request(Method::Setup, control, &headers))
            .await?;
        self.learn(&answer)?;
        let agreed = header(&answer, "Transport")
            .and_then(Agreed::parse)
            .ok_or_else(|| wrong("SETUP was answered without a transport".into()))?;
        let (rtp, rtcp) = match (agreed.transport, sockets) {
            (Transport::Tcp { rtp, rtcp }, None) => (rtp, rtcp),
            (Transport::Udp { .. }, Some(sockets)) => {
                self.receive(sockets, (rtp, rtcp), agreed.server_ports);
                (rtp, rtcp)
            }
            _ => {
                return Err(wrong(
                    "the server chose a transport that was not offered".into(),
                ));
            }
        };
        Ok(SetUp {
            description,
            rtp,
            rtcp,
            ssrc: agreed.ssrc,
        })
    }

    fn learn(&self, answer: &Response) -> Result<(), RtspError> {
        let id = session_id(answer).filter(|id| !id.is_empty());
        let id = id.ok_or_else(|| wrong("SETUP was answered without a session".into()))?;
        if self.id.get_or_init(|| id.to_owned()) != id {
            return Err(wrong("the server changed the session's id".into()));
        }
        self.timeout_seconds
            .store(session_timeout_seconds(answer), Ordering::Relaxed);
        Ok(())
    }

    /// Starts reading datagrams; only the server's own address may send any.
    fn receive(
        &self,
        (rtp, rtcp): (UdpSocket, UdpSocket),
        (rtp_channel, rtcp_channel): (u8, u8),
        server_ports: Option<(u16, u16)>,
    ) {
        let (rtp, rtcp) = (Arc::new(rtp), Arc::new(rtcp));
        let spawn = |socket: &Arc<UdpSocket>, channel| {
            let (socket, events) = (socket.clone(), self.events.clone());
            let (id, peer) = (self.connection.id, self.connection.peer);
            tokio::spawn(read_datagrams(socket, id, channel, peer, events)).abort_handle()
        };
        let readers = [spawn(&rtp, rtp_channel), spawn(&rtcp, rtcp_channel)];
        let server_rtcp =
            server_ports.map(|(_, port)| SocketAddr::new(self.connection.peer.ip(), port));
        let datagrams = Datagrams {
            rtcp_channel,
            rtcp,
            server_rtcp,
            readers,
        };
        self.datagrams
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(datagrams);
    }

    /// Plays everything that is set up, from `start` (`None`: from the beginning).
    pub async fn play(&self, start: Option<Npt>) -> Result<Started, RtspError> {
        let range = NptRange::from(start.unwrap_or_default()).to_header();
        let headers = [("Session", self.id().to_owned()), ("Range", range)];
        let answer = self
            .connection
            .request(request(Method::Play, &self.url, &headers))
            .await?;
        Ok(Started {
            start: header(&answer, "Range")
                .and_then(NptRange::parse)
                .and_then(|range| range.start),
            streams: header(&answer, "RTP-Info")
                .and_then(rtp_info::parse)
                .unwrap_or_default(),
        })
    }

    /// Tells the server something: the race report, a handoff's progress.
    pub async fn tell(&self, body: &str) -> Result<(), RtspError> {
        self.connection
            .request(set_parameter(&self.url, self.id(), body))
            .await
            .map(|_| ())
    }

    /// How often [`keep_alive`](Self::keep_alive) is due: half the server's timeout.
    pub fn keep_alive_every(&self) -> Duration {
        let timeout = Duration::from_secs(self.timeout_seconds.load(Ordering::Relaxed).into());
        (timeout / 2).clamp(Duration::from_secs(1), KEEP_ALIVE_MAX)
    }

    /// Shows that we are there. OPTIONS, since every server has to know it.
    pub async fn keep_alive(&self) -> Result<(), RtspError> {
        let headers = [("Session", self.id().to_owned())];
        self.connection
            .send(request(Method::Options, &self.url, &headers))
            .await
            .map(|_| ())
    }

    /// Sends an RTCP packet on a description's RTCP channel.
    pub async fn send_rtcp(&self, channel: u8, packet: &[u8]) -> Result<(), RtspError> {
        let udp = {
            let datagrams = self
                .datagrams
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let found = datagrams.iter().find(|d| d.rtcp_channel == channel);
            found.map(|d| (d.rtcp.clone(), d.server_rtcp))
        };
        match (self.carrier, udp) {
            (Carrier::Tcp, _) => self.connection.interleaved(channel, packet).await,
            (Carrier::Udp, Some((socket, Some(server)))) => {
                let sent = socket.send_to(packet, server).await;
                sent.map(|_| ()).map_err(|error| RtspError::Closed {
                    reason: error.to_string(),
                })
            }
            (Carrier::Udp, _) => Ok(()), // the server named no port: it does not want any
        }
    }

    /// Ends the session; the connection closes when the session is dropped.
    pub async fn tear_down(&self) -> Result<(), RtspError> {
        let headers = [("Session", self.id().to_owned())];
        self.connection
            .send(request(Method::Teardown, &self.url, &headers))
            .await
            .map(|_| ())
    }
}

async fn read_datagrams(
    socket: Arc<UdpSocket>,
    connection: u64,
    channel: u8,
    peer: SocketAddr,
    events: mpsc::Sender<Event>,
) {
    let mut buffer = vec![0; DATAGRAM_OCTETS_MAX];
    // Errors are ICMP messages about our own reports; the stream's silence is noticed elsewhere.
    loop {
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else {
            continue;
        };
        if from.ip() != peer.ip() {
            continue;
        }
        let packet = buffer.get(..length).unwrap_or_default().to_vec();
        let incoming = Incoming::Packet(channel, packet);
        if events
            .send(Event {
                connection,
                at: Instant::now(),
                incoming,
            })
            .await
            .is_err()
        {
            return;
        }
    }
}

/// Two sockets on an even port and the next (RFC 3550 §11), at the address the connection has.
async fn port_pair(local: SocketAddr) -> Result<(UdpSocket, UdpSocket), RtspError> {
    let bind = |port| UdpSocket::bind(SocketAddr::new(local.ip(), port));
    for _ in 0..PORT_TRIES {
        let first = bind(0)
            .await
            .map_err(|error| wrong(format!("no UDP port: {error}")))?;
        let number = port(&first)?;
        let Some(neighbour) = number.checked_add(1).filter(|_| number % 2 == 0) else {
            continue;
        };
        if let Ok(second) = bind(neighbour).await {
            return Ok((first, second));
        }
    }
    Err(wrong("no pair of UDP ports is free".into()))
}

fn port(socket: &UdpSocket) -> Result<u16, RtspError> {
    let local = socket
        .local_addr()
        .map_err(|error| wrong(error.to_string()))?;
    Ok(local.port())
}

fn wrong(what: String) -> RtspError {
    RtspError::Answer { what }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_names_go_under_the_title() {
        let check = |base: &str, control: &str, expected: &str| {
            let url = control_url(&Url::parse(base).unwrap(), control).unwrap();
            assert_eq!(url.as_str(), expected);
        };
        check("rtsp://e:1/live?mdc=1", "d1", "rtsp://e:1/live/d1");
        check("rtsp://e:1/live/", "d1", "rtsp://e:1/live/d1");
        check(
            "rtsp://e:1/cam?id=7",
            "trackID=1",
            "rtsp://e:1/cam?id=7/trackID=1",
        );
        check("rtsp://e:1/live", "rtsp://f:2/x/d0", "rtsp://f:2/x/d0");
    }

    #[test]
    fn rtp_info_is_found_by_its_control_name() {
        let info = |url: &str, seq| RtpInfo {
            url: url.into(),
            seq: Some(seq),
            rtptime: None,
        };
        let streams = vec![info("rtsp://e/live/d0", 1), info("rtsp://e/live/d1", 2)];
        let started = Started {
            start: None,
            streams,
        };
        assert_eq!(started.stream("d1").unwrap().seq, Some(2));
        assert_eq!(started.stream("rtsp://e/live/d0").unwrap().seq, Some(1));
        assert!(started.stream("d2").is_none());
    }
}
