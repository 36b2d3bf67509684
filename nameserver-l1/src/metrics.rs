//! What the server counts, and how Prometheus is told. Labels are of small, fixed sets and never tell a
//! client.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use prometheus::{
    IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    core::{Collector, Desc},
    proto::{Counter, LabelPair, Metric, MetricFamily, MetricType},
};

use dns_engine::{Rcode, Summary};
use dns_transport::{
    Arrival,
    counters::{TcpCounters, UdpReader},
};

use crate::{client::KnownBy, counts::Counts, routing::Reason, world::Source};

/// Record types counted apart; the last stands for all others.
const TYPES: [(u16, &str); 8] = [
    (33, "SRV"),
    (1, "A"),
    (28, "AAAA"),
    (2, "NS"),
    (6, "SOA"),
    (16, "TXT"),
    (255, "ANY"),
    (0, "other"),
];
const TRANSPORTS: [&str; 2] = ["udp", "tcp"];
const FAMILIES: [&str; 2] = ["ipv4", "ipv6"];
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
const REQUESTS: usize = TYPES.len() * TRANSPORTS.len() * FAMILIES.len();
const REASONS: usize = Reason::ALL.len();

/// Answers of one service by reason; kept by name, so that a new release counts on.
pub type ServiceCounts = Arc<Counts<REASONS>>;

/// Everything counted, and the state of what is served.
#[derive(Clone)]
pub struct Metrics {
    traffic: Arc<Traffic>,
    /// `signpost_map_generation`.
    pub generation: IntGauge,
    /// `signpost_map_published_timestamp_seconds`.
    pub published: IntGauge,
    /// `signpost_map_rows{family}`.
    pub rows: IntGaugeVec,
    /// `signpost_reload_total{source,result}`.
    pub reloads: IntCounterVec,
    /// `signpost_services_misfit`.
    pub misfits: IntGauge,
    refused: IntGaugeVec,
    refused_now: Arc<Mutex<BTreeSet<Source>>>,
}

/// What else there is to count about a query.
#[derive(Clone, Copy)]
enum Event {
    /// It carried no client subnet.
    NoSubnet,
    /// It carried one.
    Subnet,
    /// Its answer was cut.
    Truncated,
    /// It got no answer.
    Dropped,
}

impl Event {
    const COUNT: usize = 4;
}

#[derive(Default)]
struct Traffic {
    requests: Counts<REQUESTS>,
    responses: Counts<{ RCODES.len() + 1 }>,
    events: Counts<{ Event::COUNT }>,
    clients: Counts<3>,
    services: Mutex<BTreeMap<String, ServiceCounts>>,
    listeners: Mutex<Vec<(UdpReader, TcpCounters)>>,
}

/// How a service's client was known, as the label of `signpost_clients_total`.
const CLIENTS: [&str; 3] = ["label", "subnet", "source"];

impl Metrics {
    /// Registers everything.
    ///
    /// # Errors
    /// When a name is taken in the registry.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let traffic = Arc::new(Traffic::default());
        registry.register(Box::new(TrafficCollector(Arc::clone(&traffic))))?;
        let metrics = Self {
            traffic,
            generation: IntGauge::new(
                "signpost_map_generation",
                "Generation of the release being served; 0 before the first.",
            )?,
            published: IntGauge::new(
                "signpost_map_published_timestamp_seconds",
                "When the release being served was built, in Unix seconds.",
            )?,
            rows: IntGaugeVec::new(
                Opts::new(
                    "signpost_map_rows",
                    "Address ranges in the map being served.",
                ),
                &["family"],
            )?,
            misfits: IntGauge::new(
                "signpost_services_misfit",
                "Services that do not fit their zone or the map: not routed.",
            )?,
            reloads: IntCounterVec::new(
                Opts::new(
                    "signpost_reload_total",
                    "New versions of what is served, by outcome.",
                ),
                &["source", "result"],
            )?,
            refused: IntGaugeVec::new(
                Opts::new(
                    "signpost_reload_refused",
                    "Sources whose newest version is refused, so that an older one is served.",
                ),
                &["source"],
            )?,
            refused_now: Arc::default(),
        };
        for source in ["zone", "services", "keys", "release"] {
            metrics.refused.with_label_values(&[source]);
            for result in ["adopted", "refused"] {
                metrics.reloads.with_label_values(&[source, result]);
            }
        }
        registry.register(Box::new(metrics.generation.clone()))?;
        registry.register(Box::new(metrics.published.clone()))?;
        registry.register(Box::new(metrics.rows.clone()))?;
        registry.register(Box::new(metrics.reloads.clone()))?;
        registry.register(Box::new(metrics.refused.clone()))?;
        registry.register(Box::new(metrics.misfits.clone()))?;
        Ok(metrics)
    }

    /// Counts a query and, if one was sent, its response.
    pub fn count(&self, summary: Summary, from: &Arrival, sent: bool) {
        let known = TYPES
            .iter()
            .position(|(number, _)| *number == summary.rtype);
        let rtype = known.unwrap_or(TYPES.len() - 1);
        let family = usize::from(from.source.ip().to_canonical().is_ipv6());
        let index = (rtype * TRANSPORTS.len() + usize::from(!from.transport.is_datagram()))
            * FAMILIES.len()
            + family;
        self.traffic.requests.add(index);
        let count = |event: Event| self.traffic.events.add(event as usize);
        if !sent {
            count(Event::NoSubnet);
            return count(Event::Dropped);
        }
        let known = RCODES.iter().position(|(rcode, _)| *rcode == summary.rcode);
        self.traffic.responses.add(known.unwrap_or(RCODES.len()));
        count(match summary.subnet {
            true => Event::Subnet,
            false => Event::NoSubnet,
        });
        if summary.truncated {
            count(Event::Truncated);
        }
    }

    /// Shows what these listeners count by themselves.
    pub fn follow(&self, udp: UdpReader, tcp: TcpCounters) {
        let mut listeners = self
            .traffic
            .listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        listeners.push((udp, tcp));
    }

    /// Notes whether the newest version of a source is refused.
    pub fn set_refused(&self, source: &Source, refused: bool) {
        let mut now = self
            .refused_now
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if refused {
            now.insert(source.clone());
        } else {
            now.remove(source);
        }
        let count = now
            .iter()
            .filter(|other| other.label() == source.label())
            .count();
        self.refused
            .with_label_values(&[source.label()])
            .set(count as i64);
    }

    /// Counts how a service's client was known.
    pub fn count_client(&self, known_by: KnownBy) {
        self.traffic.clients.add(known_by as usize);
    }

    /// The counts of the service with this name.
    pub fn service(&self, name: &str) -> ServiceCounts {
        let mut services = self
            .traffic
            .services
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        Arc::clone(services.entry(name.to_owned()).or_default())
    }
}

/// Adds the cells up whenever Prometheus asks.
struct TrafficCollector(Arc<Traffic>);

impl Collector for TrafficCollector {
    fn desc(&self) -> Vec<&Desc> {
        Vec::new() // one collector of this kind a registry; nothing to tell apart
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let traffic = &self.0;
        let mut requests = Vec::new();
        for (at, (_, rtype)) in TYPES.iter().enumerate() {
            for (tcp, transport) in TRANSPORTS.iter().enumerate() {
                for (ipv6, family) in FAMILIES.iter().enumerate() {
                    let index = (at * TRANSPORTS.len() + tcp) * FAMILIES.len() + ipv6;
                    let labels = [
                        ("type", *rtype),
                        ("transport", *transport),
                        ("family", *family),
                    ];
                    requests.push(sample(&labels, traffic.requests.sum(index)));
                }
            }
        }
        let rcodes = RCODES.iter().map(|(_, name)| *name).chain(["OTHER"]);
        let responses = (0..).zip(rcodes);
        let responses =
            responses.map(|(i, rcode)| sample(&[("rcode", rcode)], traffic.responses.sum(i)));
        let event = |labels: &[(&str, &str)], event: Event| {
            sample(labels, traffic.events.sum(event as usize))
        };
        let clients = (0..).zip(CLIENTS);
        let clients = clients.map(|(i, by)| sample(&[("known_by", by)], traffic.clients.sum(i)));
        let mut answers = Vec::new();
        for (name, counts) in &*traffic
            .services
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
        {
            for (index, reason) in Reason::ALL.into_iter().enumerate() {
                let labels = [("service", name.as_str()), ("reason", reason.as_str())];
                answers.push(sample(&labels, counts.sum(index)));
            }
        }
        vec![
            family(
                "signpost_dns_requests_total",
                "DNS messages received.",
                requests,
            ),
            family(
                "signpost_dns_responses_total",
                "DNS messages sent.",
                responses.collect(),
            ),
            family(
                "signpost_ecs_requests_total",
                "DNS queries with a client subnet.",
                vec![
                    event(&[("present", "yes")], Event::Subnet),
                    event(&[("present", "no")], Event::NoSubnet),
                ],
            ),
            family(
                "signpost_dns_truncated_total",
                "DNS answers cut to fit a datagram.",
                vec![event(&[("transport", "udp")], Event::Truncated)],
            ),
            family(
                "signpost_dns_dropped_total",
                "DNS messages that got no answer.",
                vec![event(&[("reason", "unanswerable")], Event::Dropped)],
            ),
            family(
                "signpost_dns_transport_total",
                "Messages and connections that ended before an answer, by cause.",
                traffic.transport(),
            ),
            family(
                "signpost_clients_total",
                "Queries for services, by how the client was known.",
                clients.collect(),
            ),
            family(
                "signpost_answers_total",
                "Answers of services, by reason.",
                answers,
            ),
        ]
    }
}

impl Traffic {
    fn transport(&self) -> Vec<Metric> {
        let listeners = self
            .listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let udp: Vec<_> = listeners.iter().map(|(udp, _)| udp.totals()).collect();
        let tcp: Vec<_> = listeners.iter().map(|(_, tcp)| tcp.totals()).collect();
        let udp = [
            ("refused_port", udp.iter().map(|one| one.refused_port).sum()),
            ("oversized", udp.iter().map(|one| one.oversized).sum()),
            ("send_failed", udp.iter().map(|one| one.send_failed).sum()),
            (
                "receive_failed",
                udp.iter().map(|one| one.receive_failed).sum(),
            ),
            ("panics", udp.iter().map(|one| one.panics).sum()),
        ];
        let tcp = [
            ("turned_away", tcp.iter().map(|one| one.turned_away).sum()),
            (
                "accept_failed",
                tcp.iter().map(|one| one.accept_failed).sum(),
            ),
            ("timed_out", tcp.iter().map(|one| one.timed_out).sum()),
            ("malformed", tcp.iter().map(|one| one.malformed).sum()),
        ];
        let show = |transport| {
            move |(cause, sum): (&str, u64)| {
                sample(&[("transport", transport), ("cause", cause)], sum)
            }
        };
        udp.into_iter()
            .map(show("udp"))
            .chain(tcp.into_iter().map(show("tcp")))
            .collect()
    }
}

fn family(name: &str, help: &str, metrics: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(MetricType::COUNTER);
    family.set_metric(metrics);
    family
}

fn sample(labels: &[(&str, &str)], value: u64) -> Metric {
    let pair = |(name, value): &(&str, &str)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    };
    let mut counter = Counter::default();
    counter.set_value(value as f64);
    let mut metric = Metric::from_label(labels.iter().map(pair).collect());
    metric.set_counter(counter);
    metric
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use dns_transport::Transport;

    use super::*;

    #[test]
    fn queries_are_shown_by_type_transport_family_and_rcode() {
        let registry = Registry::new();
        let metrics = Metrics::register(&registry).unwrap();
        let asked = |rtype, rcode| Summary {
            rtype,
            rcode: Rcode(rcode),
            ..Summary::default()
        };
        let from = |source: &str, transport| {
            let address: SocketAddr = source.parse().unwrap();
            Arrival {
                source: address,
                local: address,
                transport,
            }
        };
        metrics.count(asked(33, 3), &from("192.0.2.1:53", Transport::Tcp), true);
        metrics.count(
            asked(0, 0),
            &from("[2001:db8::1]:53", Transport::Udp),
            false,
        );
        let cut = Summary {
            truncated: true,
            subnet: true,
            ..asked(33, 16)
        };
        metrics.count(cut, &from("192.0.2.1:53", Transport::Udp), true);
        metrics.service("live").add(0);
        let text = prometheus::TextEncoder::new()
            .encode_to_string(&registry.gather())
            .unwrap();
        for line in [
            "signpost_dns_requests_total{type=\"SRV\",transport=\"tcp\",family=\"ipv4\"} 1",
            "signpost_dns_requests_total{type=\"other\",transport=\"udp\",family=\"ipv6\"} 1",
            "signpost_dns_responses_total{rcode=\"NXDOMAIN\"} 1",
            "signpost_dns_responses_total{rcode=\"NOERROR\"} 0",
            "signpost_dns_responses_total{rcode=\"BADVERS\"} 1",
            "signpost_ecs_requests_total{present=\"yes\"} 1",
            "signpost_ecs_requests_total{present=\"no\"} 2",
            "signpost_dns_truncated_total{transport=\"udp\"} 1",
            "signpost_dns_dropped_total{reason=\"unanswerable\"} 1",
            "signpost_dns_transport_total{transport=\"udp\",cause=\"panics\"}",
            "signpost_reload_refused{source=\"zone\"} 0",
            "signpost_answers_total{service=\"live\",reason=\"map\"} 1",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }
}
