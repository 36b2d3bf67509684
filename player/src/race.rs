//! The race: OPTIONS to every server of the set at once, each timed; the first to answer wins and its
//! connection is kept. The others' times are still wanted, for the report: they come in while we play.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use rtsp::message::header;
use rtsp::report::{Outcome, Race as ReportedLap, RaceReport};
use rtsp::{Method, Response, Url, capabilities};
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::connection::{Connection, Event, RtspError, request};
use crate::name::ClientNet;
use crate::resolve::{Server, millis};

/// Servers that have not answered by then are out; a viewer would rather have the next priority.
pub const LAP_TIMEOUT: Duration = Duration::from_millis(1500);
/// Most servers raced at once, against name servers that answer with whole networks.
pub const CONTENDERS_MAX: usize = 32;
/// Longest capability text kept from a server.
const TEXT_MAX: usize = 256;

/// How a server did.
#[derive(Clone, Copy, Debug, Serialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Finish {
    /// It answered 2xx.
    Ok,
    /// Nothing within [`LAP_TIMEOUT`].
    Timeout,
    /// Closed port, closed connection, an error status or no RTSP at all.
    Refused,
}

/// One server's result.
#[derive(Clone, Debug, Serialize, PartialEq, Eq)]
pub struct Lap {
    /// The server raced.
    pub address: SocketAddr,
    /// Its SRV target (empty for a plain address).
    pub target: String,
    /// How it did.
    pub result: Finish,
    /// OPTIONS to its answer on the open connection, in microseconds; without an answer, the time waited.
    pub rtt_us: u64,
    /// Connecting, in microseconds (0 when it did not).
    pub connect_us: u64,
    /// Methods it offers.
    pub public: Vec<String>,
    /// Features it supports.
    pub supported: Vec<String>,
    /// Its product text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// Why it did not win, if not for being slower.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Lap {
    /// Whether the server named `feature` in Supported.
    pub fn supports(&self, feature: &str) -> bool {
        self.supported.iter().any(|s| s == feature)
    }
}

/// The winner and what will be known of the others.
pub struct Race {
    /// The open connection to the first server that answered.
    pub winner: Connection,
    /// Its lap.
    pub lap: Lap,
    /// Start to the winner's answer.
    pub race_ms: f64,
    /// All laps (the winner's too), once everybody has finished or run out of time.
    pub laps: oneshot::Receiver<Vec<Lap>>,
}

/// Races the best priority's servers; the next priority runs only if nobody answers.
///
/// # Errors
/// All laps, when no server of any priority answered.
pub async fn race(
    servers: &[Server],
    title: &str,
    events: &mpsc::Sender<Event>,
) -> Result<Race, Vec<Lap>> {
    let started = Instant::now();
    let mut lost = Vec::new();
    for group in servers.chunk_by(|a, b| a.priority == b.priority) {
        match run(contenders(group), title, events, lost).await {
            Ok((winner, lap, laps)) => {
                return Ok(Race {
                    winner,
                    lap,
                    race_ms: millis(started.elapsed()),
                    laps,
                });
            }
            Err(laps) => lost = laps,
        }
    }
    Err(lost)
}

/// Every address once, in the order of the set.
fn contenders(group: &[Server]) -> Vec<(SocketAddr, String)> {
    let mut contenders: Vec<(SocketAddr, String)> = Vec::new();
    for (server, address) in group.iter().flat_map(|s| s.sockets().map(move |a| (s, a))) {
        let known = contenders.iter().any(|(other, _)| *other == address);
        if !known && contenders.len() < CONTENDERS_MAX {
            contenders.push((address, server.target.clone()));
        }
    }
    contenders
}

type Won = (Connection, Lap, oneshot::Receiver<Vec<Lap>>);

async fn run(
    contenders: Vec<(SocketAddr, String)>,
    title: &str,
    events: &mpsc::Sender<Event>,
    mut laps: Vec<Lap>,
) -> Result<Won, Vec<Lap>> {
    let mut running: FuturesUnordered<_> = contenders
        .into_iter()
        .map(|(address, target)| lap(address, target, title.to_owned(), events.clone()))
        .collect();
    while let Some((lap, connection)) = running.next().await {
        laps.push(lap.clone());
        let Some(winner) = connection else { continue };
        let (sender, receiver) = oneshot::channel();
        tokio::spawn(async move {
            // A later finisher's connection is dropped, and so closed, as soon as it has its time.
            while let Some((lap, _)) = running.next().await {
                laps.push(lap);
            }
            sender.send(laps).ok();
        });
        return Ok((winner, lap, receiver));
    }
    Err(laps)
}

/// Connects to one server and asks for its options.
pub async fn lap(
    address: SocketAddr,
    target: String,
    title: String,
    events: mpsc::Sender<Event>,
) -> (Lap, Option<Connection>) {
    let mut lap = Lap {
        address,
        target,
        result: Finish::Timeout,
        rtt_us: 0,
        connect_us: 0,
        public: Vec::new(),
        supported: Vec::new(),
        server: None,
        reason: None,
    };
    let started = Instant::now();
    let mut asked = started;
    let connect_us = &mut lap.connect_us;
    let running = async {
        let connection = Connection::open(address, events).await?;
        asked = Instant::now();
        *connect_us = micros(asked - started);
        let answer = connection.request(options(address, &title)?).await?;
        Ok((connection, answer))
    };
    let outcome: Result<_, RtspError> = match timeout(LAP_TIMEOUT, running).await {
        Ok(outcome) => outcome,
        Err(_) => Err(RtspError::Timeout {
            request: "OPTIONS".into(),
            seconds: 1,
        }),
    };
    lap.rtt_us = micros(asked.elapsed());
    match outcome {
        Ok((connection, answer)) => {
            lap.result = Finish::Ok;
            learn(&mut lap, &answer);
            (lap, Some(connection))
        }
        Err(error) => {
            let silent = matches!(
                error,
                RtspError::Timeout { .. } | RtspError::Connect { refused: false, .. }
            );
            lap.result = if silent {
                Finish::Timeout
            } else {
                Finish::Refused
            };
            lap.reason = Some(match silent {
                true => format!("no answer within {} ms", LAP_TIMEOUT.as_millis()),
                false => error.to_string(),
            });
            (lap, None)
        }
    }
}

fn options(address: SocketAddr, title: &str) -> Result<rtsp::Request, RtspError> {
    let url = title_url(address, title)?;
    Ok(request(
        Method::Options,
        &url,
        &[("Supported", capabilities::supported())],
    ))
}

/// `rtsp://address/title`.
pub fn title_url(address: SocketAddr, title: &str) -> Result<Url, RtspError> {
    Url::parse(&format!(
        "rtsp://{address}/{}",
        title.trim_start_matches('/')
    ))
    .map_err(|error| RtspError::Answer {
        what: format!("the title `{title}`: {error}"),
    })
}

fn learn(lap: &mut Lap, answer: &Response) {
    let list = |name| {
        let text = header(answer, name).unwrap_or_default();
        text.split(',')
            .map(|item| clean(item.trim()))
            .filter(|i| !i.is_empty())
            .take(32)
            .collect()
    };
    lap.public = list("Public");
    lap.supported = list("Supported");
    lap.server = header(answer, "Server").map(clean);
}

/// A server's text, made safe for a terminal and a report.
fn clean(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control())
        .take(TEXT_MAX)
        .collect()
}

/// What the chosen edge is told of the race (C6): every server's time, and where we say we are.
pub fn report(laps: &[Lap], client: Option<&ClientNet>) -> RaceReport {
    let outcome = |finish| match finish {
        Finish::Ok => Outcome::Ok,
        Finish::Timeout => Outcome::Timeout,
        Finish::Refused => Outcome::Refused,
    };
    let races = laps
        .iter()
        .take(rtsp::report::RACES_MAX)
        .map(|lap| ReportedLap {
            edge: lap.address.ip(),
            rtt_us: match lap.result {
                Finish::Ok => u32::try_from(lap.rtt_us).unwrap_or(u32::MAX),
                Finish::Timeout | Finish::Refused => 0,
            },
            outcome: outcome(lap.result),
        });
    RaceReport {
        client: client.map(|net| (net.address, net.length)),
        races: races.collect(),
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
