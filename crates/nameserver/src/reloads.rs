//! What is told about the files a server follows: new versions taken up or refused, and the release in force.

use prometheus::{IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

/// `signpost_reload_total{source,result}` and `signpost_reload_refused{source}`.
#[derive(Clone, Debug)]
pub struct Reloads {
    total: IntCounterVec,
    refused: IntGaugeVec,
}

impl Reloads {
    /// Registers both, with a zero for each of these sources.
    ///
    /// # Errors
    /// When a name is taken in the registry.
    pub fn register(registry: &Registry, sources: &[&str]) -> prometheus::Result<Self> {
        let total = IntCounterVec::new(
            Opts::new(
                "signpost_reload_total",
                "New versions of what is served, by outcome.",
            ),
            &["source", "result"],
        )?;
        let refused = IntGaugeVec::new(
            Opts::new(
                "signpost_reload_refused",
                "Sources whose newest version is refused, so that an older one is served.",
            ),
            &["source"],
        )?;
        for source in sources {
            refused.with_label_values(&[source]);
            for result in ["adopted", "refused"] {
                total.with_label_values(&[source, result]);
            }
        }
        registry.register(Box::new(total.clone()))?;
        registry.register(Box::new(refused.clone()))?;
        Ok(Self { total, refused })
    }

    /// A new version is in force.
    pub fn adopted(&self, source: &str) {
        self.total.with_label_values(&[source, "adopted"]).inc();
    }

    /// A new version is refused.
    pub fn refused(&self, source: &str) {
        self.total.with_label_values(&[source, "refused"]).inc();
    }

    /// How many files of a source are refused as they are now.
    pub fn set_refused(&self, source: &str, count: usize) {
        self.refused.with_label_values(&[source]).set(count as i64);
    }
}

/// The release that is being served.
#[derive(Clone, Debug)]
pub struct InForce {
    generation: IntGauge,
    published: IntGauge,
    rows: IntGaugeVec,
}

impl InForce {
    /// Registers the gauges; they are 0 before the first release.
    ///
    /// # Errors
    /// When a name is taken in the registry.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let gauges = Self {
            generation: IntGauge::new(
                "signpost_map_generation",
                "Generation of the release being served; 0 before the first.",
            )?,
            published: IntGauge::new(
                "signpost_map_published_timestamp_seconds",
                "When the release being served was built, in Unix seconds.",
            )?,
            rows: IntGaugeVec::new(
                Opts::new(
                    "signpost_map_rows",
                    "Address ranges in the map being served.",
                ),
                &["family"],
            )?,
        };
        registry.register(Box::new(gauges.generation.clone()))?;
        registry.register(Box::new(gauges.published.clone()))?;
        registry.register(Box::new(gauges.rows.clone()))?;
        Ok(gauges)
    }

    /// Shows a release: its generation, when it was built (Unix seconds), and the ranges of its map (IPv4, IPv6).
    pub fn show(&self, generation: u64, built_at: u64, rows: (usize, usize)) {
        self.generation.set(signed(generation));
        self.published.set(signed(built_at));
        for (family, rows) in [("ipv4", rows.0), ("ipv6", rows.1)] {
            let gauge = self.rows.with_label_values(&[family]);
            gauge.set(signed(rows as u64));
        }
    }
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
