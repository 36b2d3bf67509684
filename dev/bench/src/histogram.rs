//! Latencies in buckets whose width grows with the value: at most one part in 32 is lost, and counting is two shifts.

use std::time::Duration;

/// Buckets in each doubling.
const STEPS: u64 = 32;
/// Doublings: up to 2^36 ns, a minute.
const DOUBLINGS: usize = 32;

/// Counts of latencies.
pub(crate) struct Histogram {
    buckets: Vec<u64>,
    worst: Duration,
}

impl Histogram {
    pub(crate) fn new() -> Self {
        Self {
            buckets: vec![0; STEPS as usize * DOUBLINGS],
            worst: Duration::ZERO,
        }
    }

    pub(crate) fn add(&mut self, latency: Duration) {
        let index = bucket(latency.as_nanos() as u64).min(self.buckets.len() - 1);
        self.buckets[index] += 1;
        self.worst = self.worst.max(latency);
    }

    /// The longest, exactly.
    pub(crate) fn worst(&self) -> Duration {
        self.worst
    }

    /// The latency that this share of all stays within, such as 0.99; zero if there are none.
    pub(crate) fn quantile(&self, share: f64) -> Duration {
        let all: u64 = self.buckets.iter().sum();
        let wanted = (all as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (index, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= wanted && *count > 0 {
                return Duration::from_nanos(upper(index)).min(self.worst);
            }
        }
        self.worst
    }
}

/// The first 32 are a nanosecond wide, then each doubling has 32.
fn bucket(nanoseconds: u64) -> usize {
    let doubling = (nanoseconds / STEPS)
        .checked_ilog2()
        .map_or(0, |log| log + 1);
    let shift = doubling.saturating_sub(1);
    (u64::from(doubling) * STEPS + (nanoseconds >> shift) % STEPS) as usize
}

/// The largest value in a bucket.
fn upper(index: usize) -> u64 {
    let (doubling, step) = (index as u64 / STEPS, index as u64 % STEPS);
    match doubling {
        0 => step,
        _ => ((STEPS + step + 1) << (doubling - 1)) - 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_in_a_bucket_that_is_not_much_wider_than_it_is_large() {
        let mut before = 0;
        for value in (0..5000).chain((13..36).map(|bits| (1 << bits) - 1)) {
            let index = bucket(value);
            assert!(index >= before, "{value}");
            assert!(
                (value..=value + value / 32).contains(&upper(index)),
                "{value}"
            );
            before = index;
        }
    }

    #[test]
    fn quantiles_are_those_of_a_sorted_list() {
        let mut histogram = Histogram::new();
        for microseconds in 1..=1000 {
            histogram.add(Duration::from_micros(microseconds));
        }
        for (share, microseconds) in [(0.5, 500), (0.99, 990), (0.999, 999), (1.0, 1000)] {
            let (found, exact) = (
                histogram.quantile(share),
                Duration::from_micros(microseconds),
            );
            assert!(
                found >= exact && found <= exact.mul_f64(1.04),
                "{share}: {found:?}"
            );
        }
        assert_eq!(histogram.worst(), Duration::from_millis(1));
        assert_eq!(Histogram::new().quantile(0.5), Duration::ZERO);
    }
}
