//! DNS traffic, counted by the threads that answer and shown to Prometheus: the same names and labels in both programs.
//! Labels are of small, fixed sets and never tell a client.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use dns_engine::{Rcode, Summary};
use dns_transport::Arrival;
use dns_transport::counters::{StreamCounters, UdpReader};
use prometheus::Registry;
use prometheus::proto::{Metric, MetricFamily};

use crate::Counts;
use crate::exposition::{self, counters, sample};

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
/// In the order of [`dns_transport::Transport`].
const TRANSPORTS: [&str; 5] = ["udp", "tcp", "tls", "https", "quic"];
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

/// Everything counted about queries and their answers.
#[derive(Debug, Default)]
pub struct Traffic {
    requests: Counts<REQUESTS>,
    responses: Counts<{ RCODES.len() + 1 }>,
    events: Counts<{ Event::COUNT }>,
    listeners: Mutex<Vec<(UdpReader, StreamCounters)>>,
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

impl Traffic {
    /// Counts, and the collector that shows them in a registry.
    ///
    /// # Errors
    /// When a name is taken in the registry.
    pub fn register(registry: &Registry) -> prometheus::Result<Arc<Self>> {
        let traffic = Arc::new(Self::default());
        let shown = Arc::clone(&traffic);
        exposition::register(registry, "signpost_dns_requests_total", move || {
            shown.gather()
        })?;
        Ok(traffic)
    }

    /// Counts a query and, if one was sent, its response.
    pub fn count(&self, summary: &Summary, from: &Arrival, sent: bool) {
        let known = TYPES
            .iter()
            .position(|(number, _)| *number == summary.rtype);
        let rtype = known.unwrap_or(TYPES.len() - 1);
        let family = usize::from(from.source.ip().to_canonical().is_ipv6());
        let index = (rtype * TRANSPORTS.len() + from.transport as usize) * FAMILIES.len() + family;
        self.requests.add(index);
        let count = |event: Event| self.events.add(event as usize);
        if !sent {
            count(Event::NoSubnet);
            return count(Event::Dropped);
        }
        let known = RCODES.iter().position(|(rcode, _)| *rcode == summary.rcode);
        self.responses.add(known.unwrap_or(RCODES.len()));
        count(match summary.subnet {
            true => Event::Subnet,
            false => Event::NoSubnet,
        });
        if summary.truncated {
            count(Event::Truncated);
        }
    }

    /// Shows what these listeners count by themselves.
    pub fn follow(&self, udp: UdpReader, tcp: StreamCounters) {
        let listeners = self.listeners.lock();
        listeners
            .unwrap_or_else(PoisonError::into_inner)
            .push((udp, tcp));
    }

    /// Adds the cells up.
    fn gather(&self) -> Vec<MetricFamily> {
        let rcodes = RCODES.iter().map(|(_, name)| *name).chain(["OTHER"]);
        let responses = rcodes
            .enumerate()
            .map(|(at, rcode)| sample(&[("rcode", rcode)], self.responses.sum(at)));
        let event =
            |label, value, event| sample(&[(label, value)], self.events.sum(event as usize));
        vec![
            counters(
                "signpost_dns_requests_total",
                "DNS messages received.",
                self.requests(),
            ),
            counters(
                "signpost_dns_responses_total",
                "DNS messages sent.",
                responses,
            ),
            counters(
                "signpost_ecs_requests_total",
                "DNS queries with a client subnet.",
                [
                    event("present", "yes", Event::Subnet),
                    event("present", "no", Event::NoSubnet),
                ],
            ),
            counters(
                "signpost_dns_truncated_total",
                "DNS answers cut to fit a datagram.",
                [event("transport", "udp", Event::Truncated)],
            ),
            counters(
                "signpost_dns_dropped_total",
                "DNS messages that got no answer.",
                [event("reason", "unanswerable", Event::Dropped)],
            ),
            counters(
                "signpost_dns_transport_total",
                "Messages and connections that ended before an answer, by cause.",
                self.transport(),
            ),
        ]
    }

    fn requests(&self) -> Vec<Metric> {
        let mut requests = Vec::new();
        for (at, (_, rtype)) in TYPES.iter().enumerate() {
            for (carried, transport) in TRANSPORTS.iter().enumerate() {
                for (ipv6, family) in FAMILIES.iter().enumerate() {
                    let index = (at * TRANSPORTS.len() + carried) * FAMILIES.len() + ipv6;
                    let labels = [
                        ("type", *rtype),
                        ("transport", *transport),
                        ("family", *family),
                    ];
                    requests.push(sample(&labels, self.requests.sum(index)));
                }
            }
        }
        requests
    }

    /// What the sockets themselves counted.
    fn transport(&self) -> Vec<Metric> {
        let listeners = self.listeners.lock();
        let listeners = listeners.unwrap_or_else(PoisonError::into_inner);
        let totals = listeners
            .iter()
            .map(|(udp, tcp)| (udp.totals(), tcp.totals()));
        let mut sums = BTreeMap::new();
        // Every cause is shown from the start, so that its first increase is seen as one.
        for (udp, tcp) in totals.chain([Default::default()]) {
            let udp = udp.causes().map(|(cause, sum)| ("udp", cause, sum));
            let tcp = tcp.causes().map(|(cause, sum)| ("tcp", cause, sum));
            for (transport, cause, sum) in udp.into_iter().chain(tcp) {
                *sums.entry((transport, cause)).or_default() += sum;
            }
        }
        let show = |((transport, cause), sum)| {
            let labels = [("transport", transport), ("cause", cause)];
            sample(&labels, sum)
        };
        sums.into_iter().map(show).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use dns_transport::Transport;

    use super::*;

    #[test]
    fn queries_are_shown_by_type_transport_family_and_rcode() {
        let registry = Registry::new();
        let traffic = Traffic::register(&registry).unwrap();
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
        traffic.count(&asked(33, 3), &from("192.0.2.1:53", Transport::Tcp), true);
        traffic.count(
            &asked(0, 0),
            &from("[2001:db8::1]:53", Transport::Udp),
            false,
        );
        let cut = Summary {
            truncated: true,
            subnet: true,
            ..asked(33, 16)
        };
        traffic.count(&cut, &from("192.0.2.1:53", Transport::Udp), true);
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
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }
}
