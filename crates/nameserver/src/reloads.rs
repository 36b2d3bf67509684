//! What is told about the files a server follows: new versions taken up or refused, and the release in force.

use std::num::NonZeroU32;

use prometheus::{IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

/// `signpost_reload_total{source,result}` and `signpost_reload_refused{source}`.
#[derive(Clone, Debug)]
pub struct Reloads {
    total: IntCounterVec,
    refused: IntGaugeVec,
}

impl Reloads {
    /// Registers both.
    ///
    /// # Errors
    /// When a name is taken in the registry.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
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
        registry.register(Box::new(total.clone()))?;
        registry.register(Box::new(refused.clone()))?;
        Ok(Self { total, refused })
    }

    /// Shows a zero for these sources, which have no news yet.
    pub fn expect(&self, sources: &[&str]) {
        for source in sources {
            self.refused.with_label_values(&[source]);
            for result in ["adopted", "refused"] {
                self.total.with_label_values(&[source, result]);
            }
        }
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

/// The release that is being served, and whether it is out of date.
#[derive(Clone, Debug)]
pub struct InForce {
    generation: IntGauge,
    published: IntGauge,
    rows: IntGaugeVec,
    stale: IntGauge,
    /// Seconds after which a release is out of date by its age alone.
    stale_after: Option<NonZeroU32>,
}

impl InForce {
    /// Registers the gauges; they are 0 before the first release.
    ///
    /// # Errors
    /// When a name is taken in the registry.
    pub fn register(
        registry: &Registry,
        stale_after: Option<NonZeroU32>,
    ) -> prometheus::Result<Self> {
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
            stale: IntGauge::new(
                "signpost_map_stale",
                "Whether the release being served is out of date: 1 if so.",
            )?,
            stale_after,
        };
        registry.register(Box::new(gauges.generation.clone()))?;
        registry.register(Box::new(gauges.published.clone()))?;
        registry.register(Box::new(gauges.rows.clone()))?;
        registry.register(Box::new(gauges.stale.clone()))?;
        Ok(gauges)
    }

    /// For a look that nobody follows.
    pub fn unshown() -> Self {
        Self::register(&Registry::new(), None).expect("constant, valid names in an empty registry")
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

    /// Judges the release being served: it is out of date if the newest one is `refused`, or when it is older than
    /// releases may be. `now` is Unix seconds. Without a release nothing is out of date.
    pub fn judge(&self, refused: bool, now: u64) {
        let age = signed(now).saturating_sub(self.published.get());
        let is_old = |after: NonZeroU32| age > i64::from(after.get());
        let stale = self.stale_after.is_some_and(is_old) || refused;
        let stale = stale && self.generation.get() > 0;
        if self.is_stale() != stale {
            self.stale.set(i64::from(stale));
            match stale {
                true => tracing::warn!(refused, age_seconds = age, "the map is out of date"),
                false => tracing::info!("the map is up to date again"),
            }
        }
    }

    /// True once there is a release.
    pub fn is_there(&self) -> bool {
        self.generation.get() > 0
    }

    /// As last judged. Lock-free.
    pub fn is_stale(&self) -> bool {
        self.stale.get() != 0
    }
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_out_of_date_when_it_is_old_or_a_newer_one_is_refused() {
        let check = |stale_after, built_at: Option<u64>, refused, now, expected| {
            let in_force = InForce::register(&Registry::new(), NonZeroU32::new(stale_after));
            let in_force = in_force.unwrap();
            if let Some(built_at) = built_at {
                in_force.show(1, built_at, (0, 0));
            }
            in_force.judge(refused, now);
            assert_eq!(
                in_force.is_stale(),
                expected,
                "{stale_after} {built_at:?} {now}"
            );
            in_force.judge(false, 0);
            assert!(!in_force.is_stale());
        };
        check(0, Some(1000), false, 1_000_000, false);
        check(0, Some(1000), true, 1000, true);
        check(60, Some(1000), false, 1060, false);
        check(60, Some(1000), false, 1061, true);
        check(60, Some(1000), false, 5, false); // the clock was set back
        check(60, None, true, 1_000_000, false);
    }
}
