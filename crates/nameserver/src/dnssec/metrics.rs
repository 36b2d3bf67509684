//! What Prometheus is shown about keys and signatures.

use std::collections::BTreeMap;
use std::sync::Arc;

use dns_engine::name;
use prometheus::Registry;
use prometheus::proto::MetricFamily;

use super::{SignedZones, now};
use crate::exposition::{self, counters, gauge, gauges, sample};

const FIRST: &str = "signpost_dnssec_signatures_total";

/// Shows the zones that are signed. Their names are labels: there are as many as the operator listed.
///
/// # Errors
/// When a name is taken in the registry.
pub(crate) fn register(registry: &Registry, zones: &Arc<SignedZones>) -> prometheus::Result<()> {
    let zones = Arc::clone(zones);
    exposition::register(registry, FIRST, move || gather(&zones))
}

fn gather(zones: &SignedZones) -> Vec<MetricFamily> {
    let counts = zones.signatures().counts();
    let signatures = [
        ("hit", counts.hits),
        ("miss", counts.misses),
        ("made", counts.made),
        ("evicted", counts.evictions),
        ("contended", counts.contended),
        ("over_budget", counts.over_budget),
    ];
    let signatures = signatures.map(|(event, count)| sample(&[("event", event)], count));
    let keys = zones.keys();
    let now = now().0;
    let mut states = BTreeMap::new();
    let mut signed = Vec::new();
    for keys in &keys {
        let zone = name::text(keys.origin());
        signed.push(gauge(
            &[("zone", &zone)],
            f64::from(u8::from(keys.signs(now))),
        ));
        for key in keys.keys() {
            let role = key.key.role();
            let state = key.timing.state(role.signs_data(), now).as_str();
            *states
                .entry((zone.clone(), role.as_str(), state))
                .or_insert(0.0) += 1.0;
        }
    }
    let states = states.iter().map(|((zone, role, state), count)| {
        gauge(&[("zone", zone), ("role", role), ("state", state)], *count)
    });
    vec![
        counters(
            FIRST,
            "Signatures, by where they came from and what became of them.",
            signatures,
        ),
        gauges(
            "signpost_dnssec_keys",
            "Zone keys, by role and state.",
            states,
        ),
        gauges(
            "signpost_dnssec_zone_signed",
            "1 for a zone whose data some key signs now, 0 for one that should be signed and is not.",
            signed,
        ),
    ]
}
