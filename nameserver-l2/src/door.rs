//! Joins the engine to the transports: one function for UDP and TCP, the snapshot loaded once per batch.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use arc_swap::{ArcSwap, cache::Cache};
use dns_engine::{Meta, Outcome, Scratch, Snapshot, Transport, respond};
use dns_transport::{Answerer, Arrival, Reply, Worker};

use crate::metrics::Counters;

/// What all sockets share.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) current: Arc<ArcSwap<Snapshot>>,
    pub(crate) counters: Arc<Counters>,
}

/// Answers for one thread or connection.
pub(crate) struct Attendant {
    current: Cache<Arc<ArcSwap<Snapshot>>, Arc<Snapshot>>,
    /// Of this batch.
    snapshot: Arc<Snapshot>,
    scratch: Scratch,
    now: u64,
    started: Instant,
    /// Milliseconds since `started`.
    now_ms: u64,
    counters: Arc<Counters>,
}

impl Answerer for Door {
    type Worker = Attendant;

    fn worker(&self) -> Attendant {
        Attendant {
            current: Cache::new(self.current.clone()),
            snapshot: self.current.load_full(),
            scratch: Scratch::new(),
            now: unix_seconds(),
            started: Instant::now(),
            now_ms: 0,
            counters: self.counters.clone(),
        }
    }
}

impl Worker for Attendant {
    fn begin_batch(&mut self) {
        let newest = self.current.load();
        if !Arc::ptr_eq(newest, &self.snapshot) {
            self.snapshot = newest.clone();
        }
        self.now = unix_seconds();
        self.now_ms = self.started.elapsed().as_millis() as u64;
    }

    fn answer(&mut self, query: &[u8], from: &Arrival, out: &mut [u8]) -> Reply {
        let meta = Meta {
            source: from.source,
            local: from.local,
            transport: if from.transport.is_datagram() {
                Transport::Udp
            } else {
                Transport::Tcp
            },
            now: self.now,
            now_ms: self.now_ms,
        };
        let stream = !from.transport.is_datagram();
        self.counters
            .request(stream, !from.source.ip().to_canonical().is_ipv4());
        match respond(&self.snapshot, query, &meta, &mut self.scratch, out) {
            Outcome::Send(length) => {
                self.counters.response(&self.scratch.summary());
                Reply::Send(length)
            }
            Outcome::Drop(_) => {
                self.counters.dropped();
                Reply::Silent
            }
        }
    }
}

fn unix_seconds() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
