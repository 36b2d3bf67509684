//! Metric families put together by hand, for collectors that add up [`crate::Counts`] when Prometheus asks.

use std::collections::HashMap;

use prometheus::Registry;
use prometheus::core::{Collector, Desc};
use prometheus::proto::{
    Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType,
};

/// Shows what a function gathers, which is called whenever Prometheus asks. `first` is the name of one of its families,
/// by which the registry knows it.
///
/// # Errors
/// When that name is taken in the registry.
pub fn register(
    registry: &Registry,
    first: &str,
    gather: impl Fn() -> Vec<MetricFamily> + Send + Sync + 'static,
) -> prometheus::Result<()> {
    let known_as = Desc::new(first.to_owned(), first.to_owned(), vec![], HashMap::new())?;
    registry.register(Box::new(Gathered { known_as, gather }))
}

struct Gathered<G> {
    known_as: Desc,
    gather: G,
}

impl<G: Fn() -> Vec<MetricFamily> + Send + Sync> Collector for Gathered<G> {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.known_as]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        (self.gather)()
    }
}

/// A family of counters, each made by [`sample`].
pub fn counters(name: &str, help: &str, samples: impl IntoIterator<Item = Metric>) -> MetricFamily {
    family(MetricType::COUNTER, name, help, samples)
}

/// One counter of a family.
pub fn sample(labels: &[(&str, &str)], value: u64) -> Metric {
    let mut counter = Counter::default();
    counter.set_value(value as f64);
    let mut metric = labelled(labels);
    metric.set_counter(counter);
    metric
}

/// A family of gauges, each made by [`gauge`].
pub fn gauges(name: &str, help: &str, samples: impl IntoIterator<Item = Metric>) -> MetricFamily {
    family(MetricType::GAUGE, name, help, samples)
}

/// One gauge of a family.
pub fn gauge(labels: &[(&str, &str)], value: f64) -> Metric {
    let mut gauge = Gauge::default();
    gauge.set_value(value);
    let mut metric = labelled(labels);
    metric.set_gauge(gauge);
    metric
}

/// A family of one histogram without labels: how many values up to each bound and not up to the one before, behind them
/// how many beyond the last, and the sum of all values.
pub fn histogram(name: &str, help: &str, bounds: &[f64], counts: &[u64], sum: f64) -> MetricFamily {
    let mut histogram = Histogram::default();
    let mut so_far = 0;
    let buckets = bounds.iter().zip(counts).map(|(bound, count)| {
        so_far += count;
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(*bound);
        bucket.set_cumulative_count(so_far);
        bucket
    });
    histogram.set_bucket(buckets.collect());
    histogram.set_sample_count(counts.iter().sum());
    histogram.set_sample_sum(sum);
    let mut metric = labelled(&[]);
    metric.set_histogram(histogram);
    family(MetricType::HISTOGRAM, name, help, [metric])
}

/// What `/metrics` would show.
#[cfg(test)]
pub(crate) fn text(registry: &Registry) -> String {
    let encoder = prometheus::TextEncoder::new();
    encoder.encode_to_string(&registry.gather()).unwrap()
}

fn family(
    kind: MetricType,
    name: &str,
    help: &str,
    samples: impl IntoIterator<Item = Metric>,
) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(samples.into_iter().collect());
    family
}

fn labelled(labels: &[(&str, &str)]) -> Metric {
    let pair = |(name, value): &(&str, &str)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    };
    Metric::from_label(labels.iter().map(pair).collect())
}
