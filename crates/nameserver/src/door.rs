//! The one door: every transport calls the same function, with the snapshot loaded once for each batch.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use arc_swap::{ArcSwap, cache::Cache};
use dns_engine::{Meta, Outcome, Scratch, Snapshot, Transport, Zones, respond};
use dns_transport::{Answerer, Arrival, Reply, Worker};

use crate::dnstap::Tap;
use crate::outgoing::Outgoing;
use crate::traffic::{Fate, Tally};
use crate::{Settings, Traffic};

/// What all sockets share.
#[derive(Clone)]
pub struct Door {
    current: Arc<ArcSwap<Snapshot>>,
    settings: Arc<Settings>,
    traffic: Arc<Traffic>,
    tap: Option<Tap>,
    /// Where all its workers count milliseconds from.
    started: Instant,
}

impl Door {
    /// A door behind which there is nothing yet: queries are refused.
    pub(crate) fn new(settings: Settings, traffic: Arc<Traffic>, tap: Option<Tap>) -> Self {
        let nothing = Snapshot::of_zones(Zones::new());
        Self {
            current: Arc::new(ArcSwap::from_pointee(nothing)),
            settings: Arc::new(settings),
            traffic,
            tap,
            started: Instant::now(),
        }
    }

    /// From the next batch on, queries are answered from this.
    pub fn serve(&self, mut snapshot: Snapshot) {
        self.settings.furnish(&mut snapshot);
        self.traffic.set_zones(&snapshot.zones);
        self.current.store(Arc::new(snapshot));
    }
}

/// Answers for one thread or connection.
pub struct Attendant {
    current: Cache<Arc<ArcSwap<Snapshot>>, Arc<Snapshot>>,
    /// Of this batch.
    snapshot: Arc<Snapshot>,
    scratch: Scratch,
    /// Unix time at the start of the batch.
    now: u64,
    /// Milliseconds since the door was made, at the start of the batch.
    now_ms: u64,
    started: Instant,
    tally: Tally,
    tap: Option<Tap>,
}

impl Answerer for Door {
    type Worker = Attendant;

    fn worker(&self) -> Attendant {
        Attendant {
            current: Cache::new(Arc::clone(&self.current)),
            snapshot: self.current.load_full(),
            scratch: Scratch::new(),
            now: unix_seconds(),
            now_ms: 0,
            started: self.started,
            tally: Tally::new(Arc::clone(&self.traffic), self.started.elapsed()),
            tap: self.tap.clone(),
        }
    }
}

impl Worker for Attendant {
    fn begin_batch(&mut self) {
        let newest = self.current.load();
        if !Arc::ptr_eq(newest, &self.snapshot) {
            self.snapshot = Arc::clone(newest);
            self.tally.forget_zone();
        }
        self.now = unix_seconds();
        self.now_ms = self.started.elapsed().as_millis() as u64;
    }

    fn answer(&mut self, query: &[u8], from: &Arrival, out: &mut [u8]) -> Reply {
        let meta = Meta {
            source: from.source,
            local: from.local,
            transport: transport(from.transport),
            now: self.now,
            now_ms: self.now_ms,
        };
        let tapped = self.tap.as_mut().and_then(Tap::next);
        let begun = self.tally.begin();
        let outcome = respond(&self.snapshot, query, &meta, &mut self.scratch, out);
        let (reply, fate) = match outcome {
            Outcome::Send(length) => (Reply::Send(length), Fate::Answered),
            Outcome::Transfer(sending) => {
                (Reply::Stream(Box::new(Outgoing(sending))), Fate::Answered)
            }
            Outcome::Drop(reason) => (Reply::Silent, Fate::Dropped(reason)),
        };
        self.tally.end(&self.scratch, from, fate, begun);
        if let (Some(asked), Some(tap)) = (tapped, &mut self.tap) {
            let answer = match reply {
                Reply::Send(length) => out.get(..length),
                _ => None,
            };
            tap.tell(asked, query, answer, from);
        }
        reply
    }
}

/// The transports' word for it as the engine's.
fn transport(transport: dns_transport::Transport) -> Transport {
    match transport {
        dns_transport::Transport::Udp => Transport::Udp,
        dns_transport::Transport::Tcp => Transport::Tcp,
        dns_transport::Transport::Tls => Transport::Tls,
        dns_transport::Transport::Https => Transport::Https,
        dns_transport::Transport::Quic => Transport::Quic,
    }
}

fn unix_seconds() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
