//! What the program counts. The query path adds to counters of its own thread; `/metrics` sums them up.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use dns_engine::{Rcode, Summary};
use dns_transport::counters::{TcpCounters, TcpTotals, UdpReader, UdpTotals};
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};
use route_token::Refused;

use crate::remap::Finding;
use crate::server_set::Why;
use crate::view::View;

/// More threads than this share counters, which costs a little and loses nothing.
const SHARDS: usize = 16;

/// Response codes that have a label of their own; others are counted as OTHER.
const RCODES: [(Rcode, &str); 7] = [
    (Rcode::NOERROR, "NOERROR"),
    (Rcode::FORMERR, "FORMERR"),
    (Rcode::SERVFAIL, "SERVFAIL"),
    (Rcode::NXDOMAIN, "NXDOMAIN"),
    (Rcode::NOTIMP, "NOTIMP"),
    (Rcode::REFUSED, "REFUSED"),
    (Rcode::BADVERS, "BADVERS"),
];

/// Counters of the query path.
#[derive(Debug, Default)]
pub struct Counters {
    shards: [Shard; SHARDS],
    listeners: Mutex<Vec<(UdpReader, TcpCounters)>>,
}

/// Alone in its cache lines (two, as they are fetched in pairs).
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard {
    requests: [AtomicU64; 4],
    subnets: AtomicU64,
    responses: [AtomicU64; RCODES.len() + 1],
    truncated: AtomicU64,
    dropped: AtomicU64,
    tokens: [AtomicU64; Refused::ALL.len() + 1],
    answers: [AtomicU64; Why::ALL.len() + 1],
    remaps: [AtomicU64; Finding::ALL.len()],
}

thread_local! {
    static SHARD: usize = {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS
    };
}

impl Counters {
    /// Shows what a listener counts as well.
    pub(crate) fn follow(&self, udp: UdpReader, tcp: TcpCounters) {
        self.listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((udp, tcp));
    }

    /// A query came.
    pub(crate) fn request(&self, tcp: bool, v6: bool) {
        add(self
            .shard()
            .requests
            .get(usize::from(tcp) * 2 + usize::from(v6)));
    }

    /// It was answered.
    pub(crate) fn response(&self, summary: &Summary) {
        let shard = self.shard();
        let at = RCODES.iter().position(|(rcode, _)| *rcode == summary.rcode);
        add(shard.responses.get(at.unwrap_or(RCODES.len())));
        add(Some(&shard.subnets).filter(|_| summary.subnet));
        add(Some(&shard.truncated).filter(|_| summary.truncated));
    }

    /// It was not answered at all.
    pub(crate) fn dropped(&self) {
        add(Some(&self.shard().dropped));
    }

    /// A label was opened, or refused.
    pub(crate) fn token(&self, refused: Option<Refused>) {
        let at =
            refused.and_then(|refused| Refused::ALL.iter().position(|reason| *reason == refused));
        add(self.shard().tokens.get(at.map_or(0, |at| at + 1)));
    }

    /// A server set was chosen; `None`: there is no release.
    pub(crate) fn answer(&self, why: Option<Why>) {
        let at = why.and_then(|why| Why::ALL.iter().position(|reason| *reason == why));
        add(self.shard().answers.get(at.map_or(0, |at| at + 1)));
    }

    /// A token given on an assumption was compared with the client's network.
    pub(crate) fn remapped(&self, finding: Finding) {
        add(self.shard().remaps.get(finding as usize));
    }

    fn shard(&self) -> &Shard {
        self.shards
            .get(SHARD.with(|shard| *shard))
            .expect("a shard number below SHARDS")
    }

    fn total(&self, field: impl Fn(&Shard) -> Option<&AtomicU64>) -> u64 {
        self.shards
            .iter()
            .filter_map(field)
            .map(|value| value.load(Ordering::Relaxed))
            .sum()
    }
}

fn add(counter: Option<&AtomicU64>) {
    if let Some(counter) = counter {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// What `/metrics` shows, gathered when it is asked for.
struct Gatherer {
    counters: Arc<Counters>,
    view: Arc<View>,
    requests: IntCounterVec,
    subnets: IntCounterVec,
    responses: IntCounterVec,
    truncated: IntCounterVec,
    dropped: IntCounterVec,
    tokens: IntCounterVec,
    answers: IntCounterVec,
    remaps: IntCounterVec,
    generation: IntGauge,
    published: IntGauge,
    rows: IntGaugeVec,
    transport: IntCounterVec,
    edges: IntGaugeVec,
    gathering: Mutex<()>,
}

/// What the follower of the files counts.
#[derive(Clone, Debug)]
pub(crate) struct Reloads {
    /// `signpost_reload_total{source,result}`.
    pub(crate) total: IntCounterVec,
    /// `signpost_reload_refused{source}`.
    pub(crate) refused: IntGaugeVec,
}

/// Registers everything and returns what is counted elsewhere.
///
/// # Errors
/// When a name is already taken in the registry.
pub(crate) fn register(
    registry: &Registry,
    counters: &Arc<Counters>,
    view: &Arc<View>,
) -> prometheus::Result<Reloads> {
    let counter = |name: &str, help: &str, labels: &[&str]| {
        IntCounterVec::new(Opts::new(format!("signpost_{name}"), help), labels)
    };
    let gauge = |name: &str, help: &str| IntGauge::new(format!("signpost_{name}"), help);
    let gatherer = Gatherer {
        counters: counters.clone(),
        view: view.clone(),
        requests: counter(
            "dns_requests_total",
            "DNS queries.",
            &["transport", "family"],
        )?,
        subnets: counter(
            "ecs_requests_total",
            "DNS queries with a client subnet.",
            &["present"],
        )?,
        responses: counter(
            "dns_responses_total",
            "DNS answers by response code.",
            &["rcode"],
        )?,
        truncated: counter(
            "dns_truncated_total",
            "DNS answers cut to fit a datagram.",
            &["transport"],
        )?,
        dropped: counter(
            "dns_dropped_total",
            "DNS messages that got no answer.",
            &["reason"],
        )?,
        tokens: counter(
            "token_decode_total",
            "Labels opened as tokens.",
            &["result"],
        )?,
        answers: counter(
            "answers_total",
            "Server sets by the reason for their choice.",
            &["reason"],
        )?,
        remaps: counter(
            "token_remaps_total",
            "Tokens given to a resolver's address, compared with the client's network.",
            &["result"],
        )?,
        generation: gauge(
            "map_generation",
            "Generation of the release in force; 0 before the first.",
        )?,
        published: gauge(
            "map_published_timestamp_seconds",
            "When the release in force was built, in Unix seconds.",
        )?,
        rows: IntGaugeVec::new(
            Opts::new("signpost_map_rows", "Address ranges in the map in force."),
            &["family"],
        )?,
        transport: counter(
            "dns_transport_total",
            "Messages and connections that ended before an answer, by cause.",
            &["transport", "cause"],
        )?,
        edges: IntGaugeVec::new(
            Opts::new(
                "signpost_edge_up",
                "1 for an edge with a live address, by our own probes.",
            ),
            &["edge"],
        )?,
        gathering: Mutex::new(()),
    };
    registry.register(Box::new(gatherer))?;
    let total = counter(
        "reload_total",
        "Changed files that were taken over or refused.",
        &["source", "result"],
    )?;
    let refused = IntGaugeVec::new(
        Opts::new(
            "signpost_reload_refused",
            "Sources whose newest version is refused, so that an older one is served.",
        ),
        &["source"],
    )?;
    for source in ["zone", "services", "keys", "release"] {
        refused.with_label_values(&[source]);
        for result in ["adopted", "refused"] {
            total.with_label_values(&[source, result]);
        }
    }
    registry.register(Box::new(total.clone()))?;
    registry.register(Box::new(refused.clone()))?;
    Ok(Reloads { total, refused })
}

impl Gatherer {
    fn sum(&self) {
        let total = |field: &dyn Fn(&Shard) -> Option<&AtomicU64>| self.counters.total(field);
        for (at, labels) in [
            ["udp", "ipv4"],
            ["udp", "ipv6"],
            ["tcp", "ipv4"],
            ["tcp", "ipv6"],
        ]
        .iter()
        .enumerate()
        {
            raise(
                &self.requests,
                labels,
                total(&|shard| shard.requests.get(at)),
            );
        }
        let subnets = total(&|shard| Some(&shard.subnets));
        let requests: u64 = (0..4)
            .map(|at| total(&|shard| shard.requests.get(at)))
            .sum();
        raise(&self.subnets, &["yes"], subnets);
        raise(&self.subnets, &["no"], requests.saturating_sub(subnets));
        let rcodes = RCODES.iter().map(|(_, name)| *name).chain(["OTHER"]);
        for (at, name) in rcodes.enumerate() {
            raise(
                &self.responses,
                &[name],
                total(&|shard| shard.responses.get(at)),
            );
        }
        raise(
            &self.truncated,
            &["udp"],
            total(&|shard| Some(&shard.truncated)),
        );
        raise(
            &self.dropped,
            &["unanswerable"],
            total(&|shard| Some(&shard.dropped)),
        );
        let results = ["ok"].into_iter().chain(Refused::ALL.map(Refused::as_str));
        for (at, name) in results.enumerate() {
            raise(&self.tokens, &[name], total(&|shard| shard.tokens.get(at)));
        }
        for (at, finding) in Finding::ALL.iter().enumerate() {
            raise(
                &self.remaps,
                &[finding.as_str()],
                total(&|shard| shard.remaps.get(at)),
            );
        }
        let reasons = ["no_release"].into_iter().chain(Why::ALL.map(Why::as_str));
        for (at, name) in reasons.enumerate() {
            raise(
                &self.answers,
                &[name],
                total(&|shard| shard.answers.get(at)),
            );
        }
    }

    /// What the sockets themselves counted.
    fn listen(&self) {
        let listeners = self
            .counters
            .listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let udp: Vec<_> = listeners.iter().map(|(udp, _)| udp.totals()).collect();
        let tcp: Vec<_> = listeners.iter().map(|(_, tcp)| tcp.totals()).collect();
        let udp_sum = |field: fn(&UdpTotals) -> u64| udp.iter().map(field).sum::<u64>();
        let tcp_sum = |field: fn(&TcpTotals) -> u64| tcp.iter().map(field).sum::<u64>();
        for (labels, total) in [
            (["udp", "refused_port"], udp_sum(|udp| udp.refused_port)),
            (["udp", "oversized"], udp_sum(|udp| udp.oversized)),
            (["udp", "send_failed"], udp_sum(|udp| udp.send_failed)),
            (["udp", "receive_failed"], udp_sum(|udp| udp.receive_failed)),
            (["udp", "panics"], udp_sum(|udp| udp.panics)),
            (["tcp", "turned_away"], tcp_sum(|tcp| tcp.turned_away)),
            (["tcp", "accept_failed"], tcp_sum(|tcp| tcp.accept_failed)),
            (["tcp", "timed_out"], tcp_sum(|tcp| tcp.timed_out)),
            (["tcp", "malformed"], tcp_sum(|tcp| tcp.malformed)),
        ] {
            raise(&self.transport, &labels, total);
        }
    }

    fn look(&self) {
        self.edges.reset();
        let table = self.view.table();
        let Some(table) = table.as_deref() else {
            return;
        };
        let plan = &table.plan;
        self.generation.set(signed(plan.generation));
        self.published.set(signed(plan.built_at));
        let (v4, v6) = plan.map.range_counts();
        self.rows
            .with_label_values(&["ipv4"])
            .set(signed(v4 as u64));
        self.rows
            .with_label_values(&["ipv6"])
            .set(signed(v6 as u64));
        for (index, edge) in plan.map.edges().iter().enumerate() {
            let up = plan
                .targets_of(index)
                .any(|target| table.live.get(target) == Some(&true));
            self.edges
                .with_label_values(&[&edge.name])
                .set(i64::from(up));
        }
    }

    fn parts(&self) -> [&dyn Collector; 13] {
        [
            &self.requests,
            &self.subnets,
            &self.responses,
            &self.truncated,
            &self.dropped,
            &self.tokens,
            &self.answers,
            &self.remaps,
            &self.generation,
            &self.published,
            &self.rows,
            &self.transport,
            &self.edges,
        ]
    }
}

impl Collector for Gatherer {
    fn desc(&self) -> Vec<&Desc> {
        self.parts().into_iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let _alone = self
            .gathering
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        self.sum();
        self.listen();
        self.look();
        self.parts()
            .into_iter()
            .flat_map(Collector::collect)
            .collect()
    }
}

fn raise(counter: &IntCounterVec, labels: &[&str], total: u64) {
    let counter = counter.with_label_values(labels);
    counter.inc_by(total.saturating_sub(counter.get()));
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
