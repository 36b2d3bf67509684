//! What the edge counts. No client, title or session is a label.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

/// All metrics of one edge.
#[derive(Debug)]
pub struct Metrics {
    /// Sessions set up at present.
    pub sessions: IntGauge,
    /// RTSP connections at present.
    pub connections: IntGauge,
    /// Requests answered, by status class (`2xx` …).
    pub requests: IntCounterVec,
    /// RTP packets sent.
    pub rtp_packets: IntCounter,
    /// RTP octets sent, headers included.
    pub rtp_octets: IntCounter,
    /// Frames left out for readers too slow to take them.
    pub frames_thinned: IntCounter,
    /// Datagrams that the socket would not take.
    pub rtp_dropped: IntCounter,
    /// Handoffs of this edge's sessions to others, by result.
    pub handoffs: IntCounterVec,
    /// Offers from other edges, by result.
    pub offers: IntCounterVec,
    /// Players sent to another edge by a 302.
    pub redirects: IntCounter,
    /// Tickets and proofs refused, by reason.
    pub tickets_refused: IntCounterVec,
    /// Requests to other edges for parts of titles, by result.
    pub fetches: IntCounterVec,
    /// Race reports taken.
    pub reports: IntCounter,
    /// Sessions ended for want of a sign of life.
    pub timeouts: IntCounter,
    /// Generation of the map in use.
    pub map_generation: IntGauge,
    /// Releases refused.
    pub releases_refused: IntCounter,
}

impl Metrics {
    /// Registers everything.
    pub fn new(registry: &Registry) -> anyhow::Result<Metrics> {
        let gauge = |name: &str, help: &str| -> anyhow::Result<IntGauge> {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok(gauge)
        };
        let counter = |name: &str, help: &str| -> anyhow::Result<IntCounter> {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let by = |label: &str, name: &str, help: &str| -> anyhow::Result<IntCounterVec> {
            let counter = IntCounterVec::new(Opts::new(name, help), &[label])?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        Ok(Metrics {
            sessions: gauge("signpost_edge_sessions", "Sessions set up at present.")?,
            connections: gauge("signpost_edge_connections", "RTSP connections at present.")?,
            requests: by(
                "class",
                "signpost_edge_requests_total",
                "RTSP requests answered, by status class.",
            )?,
            rtp_packets: counter("signpost_edge_rtp_packets_total", "RTP packets sent.")?,
            rtp_octets: counter("signpost_edge_rtp_octets_total", "RTP octets sent.")?,
            frames_thinned: counter(
                "signpost_edge_frames_thinned_total",
                "Frames left out for slow readers.",
            )?,
            rtp_dropped: counter(
                "signpost_edge_rtp_dropped_total",
                "RTP datagrams that the socket would not take.",
            )?,
            handoffs: by(
                "result",
                "signpost_edge_handoffs_total",
                "Sessions offered to other edges, by result.",
            )?,
            offers: by(
                "result",
                "signpost_edge_offers_total",
                "Sessions offered by other edges, by result.",
            )?,
            redirects: counter(
                "signpost_edge_redirects_total",
                "Players sent to another edge before they started.",
            )?,
            tickets_refused: by(
                "reason",
                "signpost_edge_tickets_refused_total",
                "Handoff tickets and proofs refused, by reason.",
            )?,
            fetches: by(
                "result",
                "signpost_edge_fetches_total",
                "Parts of titles asked of other edges, by result.",
            )?,
            reports: counter("signpost_edge_reports_total", "Race reports taken.")?,
            timeouts: counter(
                "signpost_edge_session_timeouts_total",
                "Sessions ended for want of a sign of life.",
            )?,
            map_generation: gauge(
                "signpost_edge_map_generation",
                "Generation of the traffic map in use; 0 for none.",
            )?,
            releases_refused: counter(
                "signpost_edge_releases_refused_total",
                "Releases of the map refused.",
            )?,
        })
    }
}
