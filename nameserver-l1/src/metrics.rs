//! What this level counts beside DNS traffic, and how Prometheus is told. Labels are of small, fixed sets and never tell
//! a client.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
};

use nameserver::{
    Counts, InForce, Reloads,
    exposition::{self, counters, sample},
};
use prometheus::{IntGauge, Registry, proto::MetricFamily};

use crate::{client::KnownBy, routing::Reason, world::Source};

const REASONS: usize = Reason::ALL.len();

/// Services whose counts lie together, so that a hundred thousand of them take little more than their numbers.
const TOGETHER: usize = 64;
type Sheet = Counts<{ TOGETHER * REASONS }>;

/// Answers of one service by reason; kept by name, so that a new release counts on.
#[derive(Clone)]
pub struct ServiceCounts {
    sheet: Arc<Sheet>,
    /// Where its own begin.
    first: usize,
}

impl ServiceCounts {
    /// Counts an answer.
    #[inline]
    pub fn add(&self, reason: Reason) {
        self.sheet.add(self.first + reason as usize);
    }

    fn sum(&self, reason: Reason) -> u64 {
        self.sheet.sum(self.first + reason as usize)
    }
}

/// The counts of all services there have been.
#[derive(Default)]
struct Services {
    by_name: BTreeMap<String, ServiceCounts>,
    /// The last one has room, unless all are full.
    sheets: Vec<Arc<Sheet>>,
}

impl Services {
    fn entry(&mut self, name: &str) -> ServiceCounts {
        if let Some(known) = self.by_name.get(name) {
            return known.clone();
        }
        let first = self.by_name.len() % TOGETHER * REASONS;
        let sheet = match self.sheets.last() {
            Some(sheet) if first > 0 => Arc::clone(sheet),
            _ => {
                let sheet = Arc::new(Sheet::default());
                self.sheets.push(Arc::clone(&sheet));
                sheet
            }
        };
        let counts = ServiceCounts { sheet, first };
        self.by_name.insert(name.to_owned(), counts.clone());
        counts
    }
}

/// Everything counted, and the state of what is served.
#[derive(Clone)]
pub struct Metrics {
    /// The release being served.
    pub in_force: InForce,
    /// `signpost_services_misfit`.
    pub misfits: IntGauge,
    answers: Arc<Answers>,
    reloads: Reloads,
    refused_now: Arc<Mutex<BTreeSet<Source>>>,
}

/// Answers of services.
#[derive(Default)]
struct Answers {
    clients: Counts<{ CLIENTS.len() }>,
    services: Mutex<Services>,
}

impl Answers {
    /// Adds the cells up.
    fn gather(&self) -> Vec<MetricFamily> {
        let clients = CLIENTS.iter().enumerate();
        let clients = clients.map(|(at, by)| sample(&[("known_by", by)], self.clients.sum(at)));
        let mut answers = Vec::new();
        let services = self.services.lock();
        for (name, counts) in &services.unwrap_or_else(PoisonError::into_inner).by_name {
            for reason in Reason::ALL {
                let labels = [("service", name.as_str()), ("reason", reason.as_str())];
                answers.push(sample(&labels, counts.sum(reason)));
            }
        }
        vec![
            counters(
                "signpost_clients_total",
                "Queries for services, by how the client was known.",
                clients,
            ),
            counters(
                "signpost_answers_total",
                "Answers of services, by reason.",
                answers,
            ),
        ]
    }
}

/// How a service's client was known, as the label of `signpost_clients_total`.
const CLIENTS: [&str; 3] = ["label", "subnet", "source"];

impl Metrics {
    /// Registers everything.
    ///
    /// # Errors
    /// When a name is taken in the registry.
    pub fn register(
        registry: &Registry,
        reloads: Reloads,
        stale_after: Option<NonZeroU32>,
    ) -> prometheus::Result<Self> {
        reloads.expect(&["zone", "services", "keys", "release"]);
        let metrics = Self {
            in_force: InForce::register(registry, stale_after)?,
            misfits: IntGauge::new(
                "signpost_services_misfit",
                "Services that do not fit their zone or the map: not routed.",
            )?,
            answers: Arc::default(),
            reloads,
            refused_now: Arc::default(),
        };
        registry.register(Box::new(metrics.misfits.clone()))?;
        let answers = Arc::clone(&metrics.answers);
        exposition::register(registry, "signpost_answers_total", move || answers.gather())?;
        Ok(metrics)
    }

    /// For a look that nobody follows.
    ///
    /// # Errors
    /// None in an empty registry.
    pub fn unshown() -> prometheus::Result<Self> {
        let registry = Registry::new();
        Self::register(&registry, Reloads::register(&registry)?, None)
    }

    /// Notes that the newest version of a source is in force.
    pub fn adopted(&self, source: &Source) {
        self.reloads.adopted(source.label());
        self.set_refused(source, false);
    }

    /// Notes that the newest version of a source is refused.
    pub fn refused(&self, source: &Source) {
        self.reloads.refused(source.label());
        self.set_refused(source, true);
    }

    /// Notes whether the newest version of a source is refused.
    pub fn set_refused(&self, source: &Source, refused: bool) {
        let mut now = self
            .refused_now
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if refused {
            now.insert(source.clone());
        } else {
            now.remove(source);
        }
        let alike = now.iter().filter(|other| other.label() == source.label());
        self.reloads.set_refused(source.label(), alike.count());
    }

    /// Judges whether the release in force is out of date; `now` is Unix seconds.
    pub fn judge_release(&self, now: u64) {
        let refused = self.refused_now.lock();
        let refused = refused.unwrap_or_else(PoisonError::into_inner);
        self.in_force.judge(refused.contains(&Source::Release), now);
    }

    /// Counts how a service's client was known.
    pub fn count_client(&self, known_by: KnownBy) {
        self.answers.clients.add(known_by as usize);
    }

    /// The counts of the service with this name.
    pub fn service(&self, name: &str) -> ServiceCounts {
        let services = self.answers.services.lock();
        let mut services = services.unwrap_or_else(PoisonError::into_inner);
        services.entry(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_and_sources_have_lines_of_their_own() {
        let registry = Registry::new();
        let reloads = Reloads::register(&registry).unwrap();
        let metrics = Metrics::register(&registry, reloads, None).unwrap();
        metrics.service("live").add(Reason::Map);
        for number in 0..2 * TOGETHER {
            let counts = metrics.service(&format!("s{number}"));
            (0..=number).for_each(|_| counts.add(Reason::Unmapped));
        }
        metrics.count_client(KnownBy::Subnet);
        for file in ["a.zone", "b.zone"] {
            metrics.refused(&Source::Zone(file.into()));
        }
        let text = prometheus::TextEncoder::new()
            .encode_to_string(&registry.gather())
            .unwrap();
        for line in [
            "signpost_map_generation 0",
            "signpost_reload_refused{source=\"zone\"} 2",
            "signpost_reload_total{result=\"refused\",source=\"zone\"} 2",
            "signpost_reload_refused{source=\"keys\"} 0",
            "signpost_clients_total{known_by=\"subnet\"} 1",
            "signpost_answers_total{service=\"live\",reason=\"map\"} 1",
            "signpost_answers_total{service=\"s0\",reason=\"unmapped\"} 1",
            "signpost_answers_total{service=\"s127\",reason=\"unmapped\"} 128",
            "signpost_answers_total{service=\"s127\",reason=\"map\"} 0",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }
}
