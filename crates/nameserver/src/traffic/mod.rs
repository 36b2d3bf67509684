//! DNS traffic, counted by the threads that answer and shown to Prometheus: the same names and labels in both programs.
//! Labels are of small, fixed sets, or the names of the server's own zones; they never tell a client.
//!
//! ```text
//! worker ── Tally ──► cells of its thread (Counts) ──┐
//! listener's own counters ───────────────────────────┴─ gather ─► /metrics
//! ```

mod durations;
mod labels;
mod listeners;
mod zones;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dns_engine::{CookieState, DropReason, RateState, Scratch, Summary, Zones};
use dns_transport::Arrival;
use prometheus::Registry;
use prometheus::proto::{Metric, MetricFamily};

use crate::Counts;
use crate::exposition::{self, counters, sample};
use durations::Durations;
use labels::{DROPS, EXTENDED_ERRORS, FAMILIES, TRANSPORTS, TYPES};
use listeners::Listeners;
use zones::{ByZone, ZoneCounts};

/// One answer in so many is timed: reading the clock twice costs a tenth of an answer.
const TIMED: u32 = 64;
const REQUESTS: usize = TYPES.len() * TRANSPORTS.len() * FAMILIES.len();
const COOKIES: [&str; 4] = ["none", "client_only", "bad", "valid"];

/// Everything counted about queries and their answers.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    requests: Counts<REQUESTS>,
    by_zone: ByZone,
    events: Counts<{ Event::COUNT }>,
    drops: Counts<{ DROPS.len() }>,
    cookies: Counts<{ COOKIES.len() }>,
    extended_errors: Counts<{ EXTENDED_ERRORS + 1 }>,
    durations: Durations,
    listeners: Listeners,
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
    /// Over the rate limit: told to come again over TCP.
    Slipped,
    /// Over the rate limit: not answered.
    Limited,
}

impl Event {
    const COUNT: usize = 5;
}

/// What became of a query.
#[derive(Clone, Copy)]
pub(crate) enum Fate {
    Answered,
    Dropped(DropReason),
}

impl Traffic {
    /// Counts, and the collector that shows them in a registry.
    ///
    /// # Errors
    /// When a name is taken in the registry.
    pub(crate) fn register(registry: &Registry) -> prometheus::Result<Arc<Self>> {
        let traffic = Arc::new(Self::default());
        let shown = Arc::clone(&traffic);
        exposition::register(registry, "signpost_dns_requests_total", move || {
            shown.gather()
        })?;
        Ok(traffic)
    }

    /// Shows what a listener counts by itself.
    pub(crate) fn listeners(&self) -> &Listeners {
        &self.listeners
    }

    /// From now on answers are counted for these zones.
    pub(crate) fn set_zones(&self, zones: &Zones) {
        self.by_zone.set(zones);
    }

    /// Adds the cells up.
    fn gather(&self) -> Vec<MetricFamily> {
        let event = |label, value, event: Event| {
            let labels = [(label, value)];
            sample(&labels, self.events.sum(event as usize))
        };
        let drops = DROPS.iter().enumerate();
        let drops = drops.map(|(at, reason)| sample(&[("reason", reason)], self.drops.sum(at)));
        let cookies = COOKIES.iter().enumerate();
        let cookies = cookies.map(|(at, state)| sample(&[("state", state)], self.cookies.sum(at)));
        let mut families = vec![
            counters(
                "signpost_dns_requests_total",
                "DNS messages received.",
                self.requests(),
            ),
            counters(
                "signpost_dns_responses_total",
                "DNS messages sent, by the zone that was asked; zone=\"none\": none that is served.",
                self.by_zone.gather(),
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
                drops,
            ),
            counters(
                "signpost_dns_rate_limited_total",
                "DNS queries over the rate limit of their source.",
                [
                    event("result", "slipped", Event::Slipped),
                    event("result", "dropped", Event::Limited),
                ],
            ),
            counters(
                "signpost_dns_cookies_total",
                "DNS queries by what their cookie proved.",
                cookies,
            ),
            counters(
                "signpost_dns_extended_errors_total",
                "DNS answers with an extended error, by its code (RFC 8914).",
                self.extended_errors(),
            ),
            self.durations.gather(),
        ];
        families.extend(self.listeners.gather());
        families
    }

    fn requests(&self) -> Vec<Metric> {
        let mut requests = Vec::new();
        for (at, rtype) in TYPES.iter().enumerate() {
            for (carried, transport) in TRANSPORTS.iter().enumerate() {
                for (ipv6, family) in FAMILIES.iter().enumerate() {
                    let index = (at * TRANSPORTS.len() + carried) * FAMILIES.len() + ipv6;
                    let labels = [
                        ("type", *rtype),
                        ("transport", *transport),
                        ("family", *family),
                    ];
                    let sum = self.requests.sum(index);
                    // Of the transports that few have, what has happened.
                    if sum > 0 || carried < 2 {
                        requests.push(sample(&labels, sum));
                    }
                }
            }
        }
        requests
    }

    /// Only codes that have been sent: most never are.
    fn extended_errors(&self) -> Vec<Metric> {
        let codes = (0..=EXTENDED_ERRORS).map(|code| (code, self.extended_errors.sum(code)));
        let sent = codes.filter(|(_, sum)| *sum > 0);
        let name = |code| match code {
            EXTENDED_ERRORS => "other".to_owned(),
            code => code.to_string(),
        };
        sent.map(|(code, sum)| sample(&[("code", &name(code))], sum))
            .collect()
    }
}

/// One worker's hand: it counts into the cells of its thread.
pub(crate) struct Tally {
    traffic: Arc<Traffic>,
    /// The zone asked last, which is commonly the next one as well; its counts, if they are known.
    zone: (Vec<u8>, Option<Arc<ZoneCounts>>),
    /// Queries until one is timed.
    turn: u32,
}

impl Tally {
    /// `age` only spreads the timed queries of many workers, short-lived ones too.
    pub(crate) fn new(traffic: Arc<Traffic>, age: Duration) -> Self {
        Self {
            traffic,
            zone: (Vec::new(), None),
            turn: age.subsec_nanos() % TIMED,
        }
    }

    /// The zones may be others from now on.
    pub(crate) fn forget_zone(&mut self) {
        self.zone.1 = None;
    }

    /// Called before an answer is made: now, if it is one to time.
    pub(crate) fn begin(&mut self) -> Option<Instant> {
        self.turn = self.turn.checked_sub(1).unwrap_or(TIMED - 1);
        (self.turn == 0).then(Instant::now)
    }

    /// Counts what was just answered, or not.
    #[inline(always)]
    pub(crate) fn end(
        &mut self,
        scratch: &Scratch,
        from: &Arrival,
        fate: Fate,
        begun: Option<Instant>,
    ) {
        if let Some(begun) = begun {
            self.traffic.durations.add(begun.elapsed());
        }
        let summary = scratch.summary();
        self.count_request(summary, from);
        match fate {
            Fate::Answered => {
                self.count_answer(summary);
                let counts = self.zone(scratch.zone());
                counts.add(summary.rcode);
            }
            Fate::Dropped(reason) => self.traffic.drops.add(labels::drop(reason)),
        }
    }

    #[inline(always)]
    fn count_request(&self, summary: &Summary, from: &Arrival) {
        let rtype = labels::rtype(summary.rtype);
        let ipv6 = match from.source {
            SocketAddr::V4(_) => 0,
            SocketAddr::V6(source) => usize::from(source.ip().to_canonical().is_ipv6()),
        };
        let index = (rtype * TRANSPORTS.len() + from.transport as usize) * FAMILIES.len() + ipv6;
        self.traffic.requests.add(index);
        let subnet = match summary.subnet {
            true => Event::Subnet,
            false => Event::NoSubnet,
        };
        self.traffic.events.add(subnet as usize);
        let limited = match summary.rate {
            RateState::Unlimited | RateState::Passed => None,
            RateState::Slipped => Some(Event::Slipped),
            RateState::Dropped => Some(Event::Limited),
        };
        if let Some(event) = limited {
            self.traffic.events.add(event as usize);
        }
        self.traffic.cookies.add(match summary.cookie {
            CookieState::None => 0,
            CookieState::ClientOnly => 1,
            CookieState::Bad => 2,
            CookieState::Valid => 3,
        });
    }

    #[inline(always)]
    fn count_answer(&self, summary: &Summary) {
        if summary.truncated {
            self.traffic.events.add(Event::Truncated as usize);
        }
        if let Some(code) = summary.extended_error {
            let code = usize::from(code).min(EXTENDED_ERRORS);
            self.traffic.extended_errors.add(code);
        }
    }

    /// The counts of a zone (lower-cased wire name); `None` of none.
    fn zone(&mut self, origin: Option<&[u8]>) -> &ZoneCounts {
        let Some(origin) = origin else {
            return self.traffic.by_zone.none();
        };
        let (name, counts) = &mut self.zone;
        if *name != origin {
            // The room for the name stays, so that queries for two zones by turns allocate nothing.
            name.clear();
            name.extend_from_slice(origin);
            *counts = None;
        }
        counts.get_or_insert_with(|| self.traffic.by_zone.find(origin))
    }
}

#[cfg(test)]
mod tests {
    use dns_engine::{Meta, Outcome, Snapshot, respond, zonefile};
    use dns_transport::Transport;

    use super::*;

    /// Asks for a name and a type, and counts it.
    fn ask(tally: &mut Tally, snapshot: &Snapshot, name: &str, rtype: u8, transport: Transport) {
        let source: SocketAddr = "[2001:db8::1]:7777".parse().unwrap();
        let local: SocketAddr = "[2001:db8::2]:53".parse().unwrap();
        let mut query = vec![0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        query.extend(dns_engine::name::parse(name, None).unwrap());
        query.extend([0, rtype, 0, 1]);
        let meta = Meta {
            source,
            local,
            transport: dns_engine::Transport::Udp,
            now: 0,
            now_ms: 0,
        };
        let (mut scratch, mut out) = (Scratch::new(), [0; 4096]);
        let begun = tally.begin();
        let outcome = respond(snapshot, &query, &meta, &mut scratch, &mut out);
        let fate = match outcome {
            Outcome::Send(_) | Outcome::Transfer(_) => Fate::Answered,
            Outcome::Drop(reason) => Fate::Dropped(reason),
        };
        let from = Arrival {
            source,
            local,
            transport,
        };
        tally.end(&scratch, &from, fate, begun);
    }

    fn zones(names: &[&str]) -> Zones {
        let mut zones = Zones::new();
        for origin in names {
            let text = format!("$ORIGIN {origin}\n$TTL 1\n@ SOA n. h. 1 1 1 1 1\n@ NS n.\n");
            let zone = zonefile::parse("t", &text, None).unwrap();
            assert!(zones.insert(zone).is_ok());
        }
        zones
    }

    #[test]
    fn queries_and_answers_are_shown_with_their_labels() {
        let registry = Registry::new();
        let traffic = Traffic::register(&registry).unwrap();
        let snapshot = Snapshot::of_zones(zones(&["a.example.", "b.example."]));
        traffic.set_zones(&snapshot.zones);
        let mut tally = Tally::new(Arc::clone(&traffic), Duration::from_nanos(1));
        ask(&mut tally, &snapshot, "a.example.", 6, Transport::Udp);
        ask(&mut tally, &snapshot, "x.A.example.", 33, Transport::Quic);
        ask(&mut tally, &snapshot, "b.example.", 99, Transport::Tcp);
        ask(&mut tally, &snapshot, "c.example.", 1, Transport::Udp);
        for name in ["none.", "d.example.", "example."] {
            let only = Snapshot::of_zones(zones(&[name]));
            ask(&mut tally, &only, name, 6, Transport::Udp); // no zone that is counted
        }
        let text = crate::exposition::text(&registry);
        for line in [
            "signpost_dns_requests_total{type=\"SOA\",transport=\"udp\",family=\"ipv6\"} 4",
            "signpost_dns_requests_total{type=\"SRV\",transport=\"quic\",family=\"ipv6\"} 1",
            "signpost_dns_requests_total{type=\"other\",transport=\"tcp\",family=\"ipv6\"} 1",
            "signpost_dns_requests_total{type=\"A\",transport=\"udp\",family=\"ipv4\"} 0",
            "signpost_dns_responses_total{zone=\"a.example.\",rcode=\"NOERROR\"} 1",
            "signpost_dns_responses_total{zone=\"a.example.\",rcode=\"NXDOMAIN\"} 1",
            "signpost_dns_responses_total{zone=\"b.example.\",rcode=\"NOERROR\"} 1",
            "signpost_dns_responses_total{zone=\"none\",rcode=\"REFUSED\"} 1",
            "signpost_dns_responses_total{zone=\"other\",rcode=\"NOERROR\"} 3",
            "signpost_ecs_requests_total{present=\"no\"} 7",
            "signpost_dns_truncated_total{transport=\"udp\"} 0",
            "signpost_dns_dropped_total{reason=\"is_response\"} 0",
            "signpost_dns_cookies_total{state=\"none\"} 7",
            "signpost_dns_request_duration_seconds_count 1",
        ] {
            assert!(
                text.lines().any(|shown| shown == line),
                "no {line} in\n{text}"
            );
        }
    }

    #[test]
    fn a_zone_that_comes_back_counts_from_nothing_and_one_that_stays_goes_on() {
        let registry = Registry::new();
        let traffic = Traffic::register(&registry).unwrap();
        let both = Snapshot::of_zones(zones(&["a.example.", "b.example."]));
        let mut tally = Tally::new(Arc::clone(&traffic), Duration::ZERO);
        for names in [
            &["a.example.", "b.example."][..],
            &["a.example."],
            &["a.example.", "b.example."],
        ] {
            traffic.set_zones(&zones(names));
            tally.forget_zone();
            for name in names {
                ask(&mut tally, &both, name, 6, Transport::Udp);
            }
        }
        let text = crate::exposition::text(&registry);
        for line in [
            "signpost_dns_responses_total{zone=\"a.example.\",rcode=\"NOERROR\"} 3",
            "signpost_dns_responses_total{zone=\"b.example.\",rcode=\"NOERROR\"} 1",
        ] {
            assert!(
                text.lines().any(|shown| shown == line),
                "no {line} in\n{text}"
            );
        }
    }

    #[test]
    fn one_answer_in_sixty_four_is_timed_whatever_the_worker_began_with() {
        let traffic = Arc::new(Traffic::default());
        for nanos in [0, 1, 63, 64, 999_999_999] {
            let mut tally = Tally::new(Arc::clone(&traffic), Duration::from_nanos(nanos));
            let timed = (0..640).filter(|_| tally.begin().is_some()).count();
            assert_eq!(timed, 10, "{nanos}");
        }
    }
}
