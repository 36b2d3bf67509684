//! Answers by zone and response code. The zones are those of the snapshot in force, so the label is bounded by what an
//! operator configured.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use dns_engine::{Rcode, Zones, name};
use prometheus::proto::Metric;

use super::labels::{self, RCODES};
use crate::Counts;
use crate::exposition::sample;

/// Zones with a label of their own; of more (a catalog may hold any number), the rest is counted together.
const ZONES_MAX: usize = 1000;

/// Answers of each zone.
#[derive(Debug)]
pub(super) struct ByZone {
    zones: ArcSwap<HashMap<Box<[u8]>, Arc<ZoneCounts>>>,
    /// Of names in no zone.
    none: ZoneCounts,
    /// Of zones without a label.
    other: Arc<ZoneCounts>,
}

/// Answers of one zone by response code.
#[derive(Debug)]
pub(super) struct ZoneCounts {
    label: String,
    responses: Counts<{ RCODES.len() }>,
}

impl Default for ByZone {
    fn default() -> Self {
        Self {
            zones: ArcSwap::default(),
            none: ZoneCounts::new("none".to_owned()),
            other: Arc::new(ZoneCounts::new("other".to_owned())),
        }
    }
}

impl ZoneCounts {
    fn new(label: String) -> Self {
        Self {
            label,
            responses: Counts::default(),
        }
    }

    /// Counts an answer.
    pub(super) fn add(&self, rcode: Rcode) {
        self.responses.add(labels::rcode(rcode));
    }

    fn gather(&self) -> impl Iterator<Item = Metric> {
        RCODES.iter().enumerate().map(|(at, rcode)| {
            let labels = [("zone", self.label.as_str()), ("rcode", rcode)];
            sample(&labels, self.responses.sum(at))
        })
    }
}

impl ByZone {
    /// The zones that are served now; those that were before go on counting.
    pub(super) fn set(&self, zones: &Zones) {
        let before = self.zones.load();
        let mut origins: Vec<&[u8]> = zones.iter().map(|zone| zone.origin()).collect();
        // Which ones have a label should not change with the order of a hash table.
        origins.sort_unstable();
        let counts = origins.into_iter().take(ZONES_MAX).map(|origin| {
            let known = before.get(origin).map(Arc::clone);
            let counts = known.unwrap_or_else(|| Arc::new(ZoneCounts::new(name::text(origin))));
            (origin.into(), counts)
        });
        self.zones.store(Arc::new(counts.collect()));
    }

    /// The counts of a zone (lower-cased wire name).
    pub(super) fn find(&self, origin: &[u8]) -> Arc<ZoneCounts> {
        let zones = self.zones.load();
        Arc::clone(zones.get(origin).unwrap_or(&self.other))
    }

    /// The counts of names in no zone.
    pub(super) fn none(&self) -> &ZoneCounts {
        &self.none
    }

    pub(super) fn gather(&self) -> Vec<Metric> {
        let zones = self.zones.load();
        let mut zones: Vec<_> = zones.values().map(Arc::as_ref).collect();
        zones.sort_by(|a, b| a.label.cmp(&b.label));
        let rest = [&self.none, &self.other];
        let all = zones.into_iter().chain(rest);
        all.flat_map(ZoneCounts::gather).collect()
    }
}
