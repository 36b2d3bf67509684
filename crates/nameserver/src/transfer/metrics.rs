//! What Prometheus is shown about transfers. Zones are labels: there are as many as the operator or a catalog lists, up to a
//! bound.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use dns_engine::transfer::Sent;
use prometheus::Registry;
use prometheus::proto::{Metric, MetricFamily};

use super::Transfers;
use super::settings::shown;
use crate::exposition::{self, counters, gauge, gauges, sample};
use crate::unix_seconds;

const FIRST: &str = "signpost_transfers_in_total";
/// Zones with a label of their own; of more, the rest is counted together.
const ZONES_MAX: usize = 1000;
/// The label of that rest.
const OTHER: &str = "other";

/// What asking for a zone brought.
#[derive(Clone, Copy, Debug)]
pub(super) enum Got {
    Current,
    Differences,
    Whole,
    Nothing,
}

/// What became of telling a secondary.
#[derive(Clone, Copy, Debug)]
pub(super) enum Told {
    Heard,
    Refused,
    Failed,
}

/// What has happened so far, by zone. Nothing of it is on the way of a query.
#[derive(Debug, Default)]
pub(super) struct Counts(Mutex<BTreeMap<String, Zone>>);

#[derive(Debug, Default)]
struct Zone {
    came: [u64; 4],
    came_octets: u64,
    /// Whole, differences, current; behind them those that were broken off.
    went: [u64; 4],
    went_octets: u64,
    told: [u64; 3],
    heard: u64,
}

const CAME: [&str; 4] = ["current", "differences", "whole", "failed"];
const WENT: [&str; 4] = ["current", "whole", "differences", "broken"];
const TOLD: [&str; 3] = ["heard", "refused", "failed"];

impl Counts {
    fn count(&self, zone: &[u8], count: impl FnOnce(&mut Zone)) {
        let mut zones = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut label = shown(zone);
        if zones.len() >= ZONES_MAX && !zones.contains_key(&label) {
            label = OTHER.to_owned();
        }
        count(zones.entry(label).or_default());
    }

    pub(super) fn came(&self, zone: &[u8], got: Got, octets: u64) {
        self.count(zone, |zone| {
            zone.came[got as usize] += 1;
            zone.came_octets += octets;
        });
    }

    /// A transfer has ended; not all was `taken` if the other side left.
    pub(super) fn went(&self, zone: &[u8], sent: Sent, taken: bool, octets: u64) {
        self.count(zone, |zone| {
            zone.went[if taken { sent as usize } else { 3 }] += 1;
            zone.went_octets += octets;
        });
    }

    pub(super) fn told(&self, zone: &[u8], told: Told) {
        self.count(zone, |zone| zone.told[told as usize] += 1);
    }

    /// A NOTIFY came and is believed.
    pub(super) fn heard(&self, zone: &[u8]) {
        self.count(zone, |zone| zone.heard += 1);
    }
}

/// Shows what is counted, and how the followed zones stand.
///
/// # Errors
/// When a name is taken in the registry.
pub(super) fn register(registry: &Registry, transfers: &Arc<Transfers>) -> prometheus::Result<()> {
    let transfers = Arc::clone(transfers);
    exposition::register(registry, FIRST, move || {
        let mut families = gather(&transfers.counts);
        families.extend(standing(&transfers));
        families
    })
}

fn gather(counts: &Counts) -> Vec<MetricFamily> {
    let zones = counts.0.lock().unwrap_or_else(PoisonError::into_inner);
    let each = |label: &'static str, names: &[&str], values: &dyn Fn(&Zone) -> Vec<u64>| {
        let mut samples: Vec<Metric> = Vec::new();
        for (zone, counted) in &*zones {
            for (name, value) in names.iter().zip(values(counted)) {
                samples.push(sample(&[("zone", zone), (label, name)], value));
            }
        }
        samples
    };
    vec![
        counters(
            FIRST,
            "Times that a primary was asked for a zone, by what it had.",
            each("result", &CAME, &|zone| zone.came.to_vec()),
        ),
        counters(
            "signpost_transfers_out_total",
            "Zones sent to other servers, by what they got.",
            each("result", &WENT, &|zone| zone.went.to_vec()),
        ),
        counters(
            "signpost_transfer_octets_total",
            "Octets of transferred zones.",
            each("direction", &["in", "out"], &|zone| {
                vec![zone.came_octets, zone.went_octets]
            }),
        ),
        counters(
            "signpost_notify_sent_total",
            "Secondaries told of a new version, by what they said.",
            each("result", &TOLD, &|zone| zone.told.to_vec()),
        ),
        counters(
            "signpost_notify_received_total",
            "NOTIFY messages from primaries.",
            zones
                .iter()
                .map(|(zone, counted)| sample(&[("zone", zone)], counted.heard)),
        ),
    ]
}

/// Serials, and how long zones of other servers may be served without a word from a primary.
fn standing(transfers: &Transfers) -> Vec<MetricFamily> {
    let now = unix_seconds();
    let (mut serials, mut left) = (BTreeMap::new(), Vec::new());
    for (zone, serial) in transfers.provided_serials() {
        serials.insert(shown(&zone), serial);
    }
    for followed in transfers.roster.all().into_iter().take(ZONES_MAX) {
        let (zone, state) = (shown(&followed.zone), followed.state());
        let seconds = state.expires_in(now).unwrap_or(0);
        left.push(gauge(&[("zone", &zone)], seconds as f64));
        if let Some(held) = &state.held {
            serials.insert(zone, held.serial());
        }
    }
    let serials = serials.iter().take(ZONES_MAX);
    vec![
        gauges(
            "signpost_transfer_serial",
            "Serial of the newest version of a zone that comes or goes.",
            serials.map(|(zone, serial)| gauge(&[("zone", zone)], f64::from(*serial))),
        ),
        gauges(
            "signpost_secondary_expires_seconds",
            "Until a zone of another server may not be served any more; 0 or less: it is not.",
            left,
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_has_its_place_and_zones_have_a_bound() {
        let counts = Counts::default();
        let zone = b"\x01a\0";
        for got in [Got::Current, Got::Differences, Got::Whole, Got::Nothing] {
            counts.came(zone, got, 10);
        }
        counts.went(zone, Sent::Differences, true, 7);
        counts.went(zone, Sent::Whole, false, 5);
        counts.told(zone, Told::Refused);
        counts.heard(zone);
        for number in 0..ZONES_MAX as u16 + 4 {
            let [high, low] = number.to_be_bytes();
            counts.heard(&[3, b'z', high, low, 0]);
        }
        let registry = Registry::new();
        exposition::register(&registry, FIRST, move || gather(&counts)).unwrap();
        let text = exposition::text(&registry);
        for line in [
            "signpost_transfers_in_total{zone=\"a.\",result=\"current\"} 1",
            "signpost_transfers_in_total{zone=\"a.\",result=\"differences\"} 1",
            "signpost_transfers_in_total{zone=\"a.\",result=\"whole\"} 1",
            "signpost_transfers_in_total{zone=\"a.\",result=\"failed\"} 1",
            "signpost_transfers_out_total{zone=\"a.\",result=\"differences\"} 1",
            "signpost_transfers_out_total{zone=\"a.\",result=\"broken\"} 1",
            "signpost_transfers_out_total{zone=\"a.\",result=\"whole\"} 0",
            "signpost_transfer_octets_total{zone=\"a.\",direction=\"in\"} 40",
            "signpost_transfer_octets_total{zone=\"a.\",direction=\"out\"} 12",
            "signpost_notify_sent_total{zone=\"a.\",result=\"refused\"} 1",
            "signpost_notify_received_total{zone=\"a.\"} 1",
            "signpost_notify_received_total{zone=\"other\"} 5",
        ] {
            assert!(
                text.lines().any(|shown| shown == line),
                "no {line} in\n{text}"
            );
        }
    }
}
