//! What the listeners count by themselves: datagrams and connections that ended before an answer, and open connections.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use dns_transport::Transport;
use dns_transport::counters::{Serving, StreamCounters, StreamTotals, UdpReader, UdpTotals};
use prometheus::proto::MetricFamily;

use super::labels::TRANSPORTS;
use crate::exposition::{counters, gauge, gauges, sample};
use crate::xdp::Interface;

/// Readers of all listeners' counters.
#[derive(Debug, Default)]
pub(crate) struct Listeners(Mutex<Followed>);

#[derive(Debug, Default)]
struct Followed {
    udp: Vec<UdpReader>,
    streams: Vec<(Transport, StreamCounters)>,
    xdp: Vec<Xdp>,
}

/// An interface that is, or was to be, served below the sockets.
#[derive(Debug)]
struct Xdp {
    interface: String,
    mode: &'static str,
    serving: Serving,
    counters: Option<UdpReader>,
}

impl Listeners {
    /// Shows a UDP listener.
    pub(crate) fn udp(&self, counters: UdpReader) {
        self.lock().udp.push(counters);
    }

    /// Shows a listener for connections.
    pub(crate) fn stream(&self, transport: Transport, counters: StreamCounters) {
        self.lock().streams.push((transport, counters));
    }

    /// Shows an interface of `[xdp]`.
    pub(crate) fn xdp(&self, interface: &Interface) {
        self.lock().xdp.push(Xdp {
            interface: interface.name.clone(),
            mode: interface.mode,
            serving: interface.serving.clone(),
            counters: interface.counters.clone(),
        });
    }

    fn lock(&self) -> MutexGuard<'_, Followed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn gather(&self) -> Vec<MetricFamily> {
        let followed = self.lock();
        let streams: Vec<(&str, StreamTotals)> = followed
            .streams
            .iter()
            .map(|(transport, counters)| (name(*transport), counters.totals()))
            .collect();
        let mut causes = BTreeMap::new();
        // Every cause is shown from the start, so that its first increase is seen as one.
        let below = followed.xdp.iter().filter_map(|xdp| xdp.counters.as_ref());
        let udp = followed.udp.iter().chain(below).map(UdpReader::totals);
        let udp = udp.chain([UdpTotals::default()]);
        let udp = udp.flat_map(|totals| totals.causes().map(|(cause, sum)| ("udp", cause, sum)));
        let stream = streams.iter().flat_map(|(transport, totals)| {
            totals.causes().map(|(cause, sum)| (*transport, cause, sum))
        });
        for (transport, cause, sum) in udp.chain(stream) {
            *causes.entry((transport, cause)).or_default() += sum;
        }
        let (mut accepted, mut open) = (BTreeMap::new(), BTreeMap::new());
        for (transport, totals) in &streams {
            *accepted.entry(*transport).or_default() += totals.accepted;
            *open.entry(*transport).or_default() += totals.accepted.saturating_sub(totals.closed);
        }
        vec![
            counters(
                "signpost_dns_transport_total",
                "Messages and connections that ended before an answer, by cause.",
                causes
                    .into_iter()
                    .map(|((transport, cause), sum): (_, u64)| {
                        sample(&[("transport", transport), ("cause", cause)], sum)
                    }),
            ),
            counters(
                "signpost_dns_connections_total",
                "Connections accepted.",
                accepted
                    .into_iter()
                    .map(|(transport, sum): (_, u64)| sample(&[("transport", transport)], sum)),
            ),
            gauges(
                "signpost_dns_connections",
                "Connections that are open.",
                open.into_iter().map(|(transport, sum): (_, u64)| {
                    gauge(&[("transport", transport)], sum as f64)
                }),
            ),
            gauges(
                "signpost_dns_xdp_queues",
                "Receive queues whose UDP queries do not come to the sockets; 0 if the interface was to have some.",
                followed.xdp.iter().map(|xdp| {
                    let labels = [("interface", xdp.interface.as_str()), ("mode", xdp.mode)];
                    gauge(&labels, xdp.serving.queues() as f64)
                }),
            ),
            counters(
                "signpost_dns_xdp_datagrams_total",
                "UDP datagrams that came by them.",
                followed.xdp.iter().map(|xdp| {
                    let totals = xdp.counters.as_ref().map(UdpReader::totals);
                    let labels = [("interface", xdp.interface.as_str())];
                    sample(&labels, totals.map_or(0, |totals| totals.received))
                }),
            ),
        ]
    }
}

fn name(transport: Transport) -> &'static str {
    TRANSPORTS
        .get(transport as usize)
        .copied()
        .unwrap_or("other")
}
