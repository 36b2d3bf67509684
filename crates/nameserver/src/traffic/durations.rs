//! How long answers take, from the query read to the answer ready.

use std::time::Duration;

use prometheus::proto::MetricFamily;

use crate::Counts;
use crate::exposition::histogram;

/// Upper bounds of the buckets in nanoseconds: an answer takes one to twenty microseconds, a signature a hundred.
const BOUNDS: [u64; 12] = [
    500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000,
    10_000_000,
];
/// Behind the buckets: answers beyond the last bound, and the sum of all in nanoseconds.
const BEYOND: usize = BOUNDS.len();
const SUM: usize = BEYOND + 1;

/// A histogram in cells of threads.
#[derive(Debug, Default)]
pub(super) struct Durations(Counts<{ SUM + 1 }>);

impl Durations {
    pub(super) fn add(&self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.iter().position(|bound| nanos <= *bound);
        self.0.add(bucket.unwrap_or(BEYOND));
        self.0.add_many(SUM, nanos);
    }

    pub(super) fn gather(&self) -> MetricFamily {
        let bounds = BOUNDS.map(|nanos| nanos as f64 / 1e9);
        let counts: Vec<u64> = (0..=BEYOND).map(|at| self.0.sum(at)).collect();
        histogram(
            "signpost_dns_request_duration_seconds",
            "Time from a query read to its answer ready, of one query in 64.",
            &bounds,
            &counts,
            self.0.sum(SUM) as f64 / 1e9,
        )
    }
}

#[cfg(test)]
mod tests {
    use prometheus::Registry;

    use super::*;

    #[test]
    fn buckets_hold_everything_up_to_their_bound() {
        let registry = Registry::new();
        let durations = Durations::default();
        for nanos in [500, 501, 10_000_000, 10_000_001] {
            durations.add(Duration::from_nanos(nanos));
        }
        crate::exposition::register(&registry, "x", move || vec![durations.gather()]).unwrap();
        let text = crate::exposition::text(&registry);
        for line in [
            "_bucket{le=\"0.0000005\"} 1",
            "_bucket{le=\"0.000001\"} 2",
            "_bucket{le=\"0.001\"} 2",
            "_bucket{le=\"0.01\"} 3",
            "_bucket{le=\"+Inf\"} 4",
            "_count 4",
            "_sum 0.020001002",
        ] {
            let line = format!("signpost_dns_request_duration_seconds{line}");
            assert!(
                text.lines().any(|shown| shown == line),
                "no {line} in\n{text}"
            );
        }
    }
}
