//! Counters that only one worker writes, summed by whoever reads them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// A number in a cache line of its worker.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// For the one writer: no locked instruction, as nobody else writes.
    pub(crate) fn add(&self, count: usize) {
        self.0
            .store(self.0.load(Relaxed).wrapping_add(count as u64), Relaxed);
    }

    /// For counters that several tasks share; once per batch, not per query.
    pub(crate) fn add_shared(&self, count: u64) {
        self.0.fetch_add(count, Relaxed);
    }

    fn read(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// The counters of one UDP worker; 128 octets apart, as processors fetch cache lines in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct UdpCounters {
    pub(crate) batches: Counter,
    pub(crate) received: Counter,
    pub(crate) answered: Counter,
    pub(crate) silent: Counter,
    pub(crate) refused_source: Counter,
    pub(crate) unproxied: Counter,
    pub(crate) oversized: Counter,
    pub(crate) malformed: Counter,
    pub(crate) send_failed: Counter,
    pub(crate) receive_failed: Counter,
    pub(crate) panics: Counter,
}

/// What a UDP listener did since its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UdpTotals {
    /// Calls that brought at least one datagram.
    pub batches: u64,
    /// Datagrams received.
    pub received: u64,
    /// Answers handed to the kernel.
    pub answered: u64,
    /// Queries the answerer said nothing to.
    pub silent: u64,
    /// Datagrams from ports that are no clients, or from our own address.
    pub refused_source: u64,
    /// Datagrams of a balancer that did not say whose they are.
    pub unproxied: u64,
    /// Datagrams larger than any query.
    pub oversized: u64,
    /// Frames whose lengths or checksums are wrong; of sockets the kernel drops them before.
    pub malformed: u64,
    /// Answers the kernel did not take.
    pub send_failed: u64,
    /// Failed receive calls.
    pub receive_failed: u64,
    /// Panics of the answerer; each cost one batch.
    pub panics: u64,
}

impl UdpTotals {
    /// What was lost or refused, by cause, as a metric shows it.
    pub fn causes(&self) -> [(&'static str, u64); 7] {
        [
            ("refused_source", self.refused_source),
            ("unproxied", self.unproxied),
            ("oversized", self.oversized),
            ("malformed", self.malformed),
            ("send_failed", self.send_failed),
            ("receive_failed", self.receive_failed),
            ("panics", self.panics),
        ]
    }
}

/// Reads the counters of a UDP listener; cheap to clone, for a metrics collector.
#[derive(Debug, Clone)]
pub struct UdpReader(pub(crate) Arc<[UdpCounters]>);

impl UdpReader {
    /// The sum over all workers.
    pub fn totals(&self) -> UdpTotals {
        let sum =
            |field: fn(&UdpCounters) -> &Counter| self.0.iter().map(|one| field(one).read()).sum();
        UdpTotals {
            batches: sum(|one| &one.batches),
            received: sum(|one| &one.received),
            answered: sum(|one| &one.answered),
            silent: sum(|one| &one.silent),
            refused_source: sum(|one| &one.refused_source),
            unproxied: sum(|one| &one.unproxied),
            oversized: sum(|one| &one.oversized),
            malformed: sum(|one| &one.malformed),
            send_failed: sum(|one| &one.send_failed),
            receive_failed: sum(|one| &one.receive_failed),
            panics: sum(|one| &one.panics),
        }
    }
}

/// How many receive queues of an interface are served past the sockets, for a metrics collector.
#[derive(Debug, Clone, Default)]
pub struct Serving(pub(crate) Arc<AtomicUsize>);

impl Serving {
    /// Queues whose worker runs: none after the stop, or when the interface is gone.
    pub fn queues(&self) -> usize {
        self.0.load(Relaxed)
    }
}

/// Connections are spread over this many cells, so that busy ones seldom share a cache line.
const CELLS: usize = 16;

#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct StreamCell {
    pub(crate) queries: Counter,
    pub(crate) answered: Counter,
    pub(crate) closed: Counter,
    pub(crate) timed_out: Counter,
    pub(crate) malformed: Counter,
    pub(crate) unproxied: Counter,
    pub(crate) handshake_failed: Counter,
}

/// Counters of a listener for connections: made by the caller, who may read them while it runs.
#[derive(Debug, Clone, Default)]
pub struct StreamCounters {
    pub(crate) accept: Arc<AcceptCounters>,
    cells: Arc<[StreamCell; CELLS]>,
}

/// Written by the accept loop, which `evicted` is not alone in.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct AcceptCounters {
    pub(crate) accepted: Counter,
    pub(crate) evicted: Counter,
    pub(crate) retried: Counter,
    pub(crate) failed: Counter,
}

/// What a listener for connections did since its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StreamTotals {
    /// Connections accepted.
    pub accepted: u64,
    /// Connections closed to make room for others, because of a cap.
    pub evicted: u64,
    /// QUIC connections that were asked to prove their address first.
    pub retried: u64,
    /// Failed accept calls.
    pub accept_failed: u64,
    /// Queries read.
    pub queries: u64,
    /// Answers written.
    pub answered: u64,
    /// Connections that ended; `accepted - closed` are open.
    pub closed: u64,
    /// Of these, by a deadline.
    pub timed_out: u64,
    /// Of these, as the peer sent what is no query; also single HTTP requests.
    pub malformed: u64,
    /// Of these, as a balancer did not say whose they are.
    pub unproxied: u64,
    /// Of these, as no handshake came about.
    pub handshake_failed: u64,
}

impl StreamTotals {
    /// Connections that were refused or ended by the server, by cause, as a metric shows it.
    pub fn causes(&self) -> [(&'static str, u64); 7] {
        [
            ("evicted", self.evicted),
            ("retried", self.retried),
            ("accept_failed", self.accept_failed),
            ("timed_out", self.timed_out),
            ("malformed", self.malformed),
            ("unproxied", self.unproxied),
            ("handshake_failed", self.handshake_failed),
        ]
    }
}

impl StreamCounters {
    pub(crate) fn cell(&self, connection: u64) -> &StreamCell {
        &self.cells[connection as usize % CELLS]
    }

    /// The sum over all connections.
    pub fn totals(&self) -> StreamTotals {
        let sum = |field: fn(&StreamCell) -> &Counter| {
            self.cells.iter().map(|one| field(one).read()).sum()
        };
        StreamTotals {
            accepted: self.accept.accepted.read(),
            evicted: self.accept.evicted.read(),
            retried: self.accept.retried.read(),
            accept_failed: self.accept.failed.read(),
            queries: sum(|one| &one.queries),
            answered: sum(|one| &one.answered),
            closed: sum(|one| &one.closed),
            timed_out: sum(|one| &one.timed_out),
            malformed: sum(|one| &one.malformed),
            unproxied: sum(|one| &one.unproxied),
            handshake_failed: sum(|one| &one.handshake_failed),
        }
    }
}
