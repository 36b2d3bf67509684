//! dnstap (<https://dnstap.info>): a copy of the queries and answers for a collector that listens on a Unix socket.
//!
//! ```text
//! workers ── encoded frames, bounded queue ──► sender ── Frame Streams ──► collector
//! ```
//!
//! A worker never waits: when the queue is full, or no collector listens for long, messages are dropped and counted.

mod frames;
mod message;
mod sender;

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use dns_transport::Arrival;
use prometheus::Registry;
use serde::Deserialize;
use tokio::sync::mpsc;

use crate::Counts;
use crate::exposition::{self, counters, gauge, gauges, sample};
use message::Kind;
pub(crate) use sender::Sender;

/// Messages that may wait for the collector: a fifth of a second at 20,000 queries a second, 10 MiB at most in common.
const QUEUE: usize = 8192;

/// `[dnstap]`: off until there is a socket.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Dnstap {
    /// Unix socket that the collector listens on; without it, dnstap is off.
    pub socket: Option<PathBuf>,
    /// What every message says the server's name is.
    pub identity: Option<String>,
    /// What every message says the server's software is.
    pub version: Option<String>,
    /// Send queries (AUTH_QUERY).
    pub queries: bool,
    /// Send answers (AUTH_RESPONSE).
    pub responses: bool,
    /// One of so many queries, with its answer.
    pub sample: NonZeroU32,
}

impl Default for Dnstap {
    /// Off; with a socket, everything.
    fn default() -> Self {
        Self {
            socket: None,
            identity: None,
            version: None,
            queries: true,
            responses: true,
            sample: NonZeroU32::MIN,
        }
    }
}

impl Dnstap {
    /// The worker's end and the collector's, if dnstap is on.
    ///
    /// # Errors
    /// When a name is taken in the registry.
    pub(crate) fn open(&self, registry: &Registry) -> prometheus::Result<Option<(Tap, Sender)>> {
        let Some(socket) = self.socket.clone() else {
            return Ok(None);
        };
        let told = Arc::<Told>::default();
        let shown = Arc::clone(&told);
        exposition::register(registry, "signpost_dnstap_messages_total", move || {
            shown.gather()
        })?;
        let (queue, waiting) = mpsc::channel(QUEUE);
        let tap = Tap {
            queue,
            head: message::head(self.identity.as_deref(), self.version.as_deref()).into(),
            queries: self.queries,
            responses: self.responses,
            sample: self.sample,
            told: Arc::clone(&told),
            turn: 0,
            body: Vec::new(),
        };
        Ok(Some((tap, Sender::new(socket, waiting, told))))
    }
}

/// What became of messages.
#[derive(Debug, Default)]
pub(crate) struct Told {
    results: Counts<2>,
    connected: AtomicBool,
}

#[derive(Clone, Copy)]
enum Fate {
    /// Written to the collector.
    Sent,
    /// No room in the queue, or lost with a connection.
    Dropped,
}

impl Told {
    fn add(&self, fate: Fate, count: u64) {
        self.results.add_many(fate as usize, count);
    }

    fn gather(&self) -> Vec<prometheus::proto::MetricFamily> {
        let result = |result, fate: Fate| {
            let labels = [("result", result)];
            sample(&labels, self.results.sum(fate as usize))
        };
        let connected = f64::from(u8::from(self.connected.load(Ordering::Relaxed)));
        vec![
            counters(
                "signpost_dnstap_messages_total",
                "Messages for the dnstap collector, by what became of them.",
                [result("sent", Fate::Sent), result("dropped", Fate::Dropped)],
            ),
            gauges(
                "signpost_dnstap_connected",
                "Whether a dnstap collector listens: 1 if so.",
                [gauge(&[], connected)],
            ),
        ]
    }
}

/// One worker's end: every worker has a copy.
#[derive(Clone)]
pub(crate) struct Tap {
    queue: mpsc::Sender<Vec<u8>>,
    /// Identity and version, encoded.
    head: Arc<[u8]>,
    queries: bool,
    responses: bool,
    sample: NonZeroU32,
    told: Arc<Told>,
    /// Queries since the last that was told.
    turn: u32,
    body: Vec<u8>,
}

impl Tap {
    /// Called for every query: when it came, if it is one to tell.
    pub(crate) fn next(&mut self) -> Option<SystemTime> {
        self.turn += 1;
        if self.turn < self.sample.get() {
            return None;
        }
        self.turn = 0;
        Some(SystemTime::now())
    }

    /// Tells a query for a `zone` (wire name) that came at `asked`, and its answer if there is one.
    pub(crate) fn tell(
        &mut self,
        asked: SystemTime,
        query: &[u8],
        zone: Option<&[u8]>,
        answer: Option<&[u8]>,
        from: &Arrival,
    ) {
        if self.queries {
            self.send(Kind::Query { asked, query }, zone, from);
        }
        if let Some(answer) = answer.filter(|_| self.responses) {
            let answered = SystemTime::now();
            let kind = Kind::Response {
                asked,
                answered,
                answer,
            };
            self.send(kind, zone, from);
        }
    }

    fn send(&mut self, kind: Kind<'_>, zone: Option<&[u8]>, from: &Arrival) {
        message::encode(&kind, zone, from, &mut self.body);
        let frame = message::frame(&self.head, &self.body);
        if self.queue.try_send(frame).is_err() {
            self.told.add(Fate::Dropped, 1);
        }
    }
}
