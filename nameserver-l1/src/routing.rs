//! What a service answers to whom: one decision, taken here for queries and for `explain` alike.
//!
//! ```text
//! name ─► service + client ─► map: unit, scope ─► placement ─► tokens
//!                                   └ unmapped, none ─► the service's policy ─► zone │ nodata │ refuse
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dns_engine::{
    Client, HashedName, Question, RrSet, Tailor, Tailored, Types, Verdict, ede, name, rtype,
};
use traffic_map::{
    Map, PlacementView, UnitId,
    services::{Policy, Service},
};

use crate::{
    client::Asker,
    client_label,
    metrics::{Metrics, ServiceCounts},
    sealing::TokenZone,
    service_names::{Place, ServiceNames},
};

/// A release as the first level uses it.
#[derive(Debug)]
pub struct Release {
    /// Its number.
    pub generation: u64,
    /// When it was built, in Unix seconds.
    pub built_at: u64,
    /// Its map.
    pub map: Map,
}

/// A service with everything its answers are made of.
pub struct RoutedService {
    /// What the operator wrote.
    pub service: Service,
    /// The zone's own SRV records.
    pub default: ZoneDefault,
    /// False if something between the files is wrong: then it answers with the zone's own records.
    pub fits: bool,
    /// Where its tokens come from; `None` without keys.
    pub tokens: Option<Arc<TokenZone>>,
    /// How often each reason was given.
    pub counts: ServiceCounts,
}

/// The zone's own SRV records of a service, for names that only stand for its owner.
#[derive(Debug, Default)]
pub struct ZoneDefault {
    /// Seconds.
    pub ttl: u32,
    /// The record data: priority, weight, port, target.
    pub records: Vec<Box<[u8]>>,
}

/// Said with tokens from a map that is out of date (RFC 8914 §4.4).
const STALE: &str = "the traffic map is out of date";

/// Why an answer is what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The map has a placement for the client.
    Map,
    /// The map knows nothing about the client's network.
    Unmapped,
    /// The client's unit has no placement in the service's class.
    NoneUp,
    /// There is no release yet.
    NoRelease,
    /// There is no key to seal tokens with.
    NoKeys,
    /// The service does not fit its zone or the map.
    Misfit,
}

impl Reason {
    /// Every reason, in the order of their numbers.
    pub const ALL: [Self; 6] = [
        Self::Map,
        Self::Unmapped,
        Self::NoneUp,
        Self::NoRelease,
        Self::NoKeys,
        Self::Misfit,
    ];

    /// True if the map was asked.
    pub fn is_of_map(self) -> bool {
        matches!(self, Self::Map | Self::Unmapped | Self::NoneUp)
    }

    /// As a metric label and in `explain`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Map => "map",
            Self::Unmapped => "unmapped",
            Self::NoneUp => "none_up",
            Self::NoRelease => "no_release",
            Self::NoKeys => "no_keys",
            Self::Misfit => "misfit",
        }
    }
}

/// What is answered.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Action<'r> {
    /// Records with tokens for this placement.
    Tokens(PlacementView<'r>),
    /// The zone's own records.
    Zone,
    /// The name exists and has no SRV record.
    NoData,
    /// REFUSED.
    Refuse,
}

/// A decision with what led to it.
#[derive(Debug, Clone, Copy)]
pub struct Decision<'r> {
    /// What is answered.
    pub action: Action<'r>,
    /// Why.
    pub reason: Reason,
    /// ECS scope of the answer.
    pub scope: u8,
    /// The client's unit, if the map was asked and knows it.
    pub unit: Option<UnitId>,
    /// Id of the placement that the tokens are for.
    pub placement: Option<u32>,
}

/// All services over one release, frozen.
pub struct Routing {
    /// In the order of the indices that `names` gives.
    pub services: Vec<RoutedService>,
    /// Which names are theirs.
    pub names: ServiceNames,
    /// False until a services file has been good once: then nobody can say which client-id names exist.
    pub services_known: bool,
    /// `None` before the first one.
    pub release: Option<Arc<Release>>,
    /// Where queries are counted.
    pub metrics: Metrics,
}

impl Routing {
    /// Decides what a service answers to a client; `None` only for an index that `names` never gave.
    pub fn decide(&self, index: usize, asker: &Asker) -> Option<Decision<'_>> {
        let routed = self.services.get(index)?;
        let plain = |reason| Decision {
            action: Action::Zone,
            reason,
            scope: 0,
            unit: None,
            placement: None,
        };
        if !routed.fits {
            return Some(plain(Reason::Misfit));
        }
        let Some(release) = &self.release else {
            return Some(plain(Reason::NoRelease));
        };
        if routed.tokens.is_none() {
            return Some(plain(Reason::NoKeys));
        }
        let (unit, scope) = release.map.unit_and_scope(asker.subnet);
        let decision = Decision {
            scope: asker.scope(scope),
            unit,
            ..plain(Reason::Unmapped)
        };
        let Some(unit) = unit else {
            return Some(Decision {
                action: routed.service.unmapped.into(),
                ..decision
            });
        };
        Some(match release.map.placement(unit, routed.service.class) {
            Some(placement) => Decision {
                action: Action::Tokens(placement),
                reason: Reason::Map,
                placement: Some(placement.id),
                ..decision
            },
            None => Decision {
                action: routed.service.none_up.into(),
                reason: Reason::NoneUp,
                ..decision
            },
        })
    }

    fn answer_service(
        &self,
        index: usize,
        asker: &Asker,
        own_name: bool,
        answer: &mut Tailored,
    ) -> Verdict {
        let (Some(routed), Some(decision)) = (self.services.get(index), self.decide(index, asker))
        else {
            return Verdict::ServFail;
        };
        self.metrics.count_client(asker.known_by);
        routed.counts.add(decision.reason);
        answer.set_scope(decision.scope);
        match decision.action {
            Action::Tokens(placement) => {
                answer.set_ttl(routed.service.ttl.max);
                if self.metrics.in_force.is_stale() {
                    answer.set_ede(ede::STALE_ANSWER, STALE);
                }
                if let Some(tokens) = &routed.tokens {
                    tokens.answer(&routed.service, placement, asker.is_assumed(), answer);
                }
                Verdict::Answer
            }
            Action::Zone if own_name => Verdict::Zone,
            Action::Zone => routed.default.answer(answer),
            Action::NoData => Verdict::NoData,
            Action::Refuse => Verdict::Refused,
        }
    }
}

impl Tailor for Routing {
    fn tailor(&self, question: &Question<'_>, client: &Client, answer: &mut Tailored) -> Verdict {
        if !self.services_known && client_label::is_in(question.name) {
            answer.set_ede(ede::NOT_READY, "the services are not loaded");
            return Verdict::ServFail;
        }
        match self.names.find(question.name) {
            Place::Outside => Verdict::Zone,
            Place::Nowhere => Verdict::NxDomain,
            Place::Between => Verdict::NoData,
            Place::Owner(index) if question.rtype == rtype::SRV => {
                self.answer_service(index, &Asker::from_query(client), true, answer)
            }
            Place::Owner(_) => Verdict::Zone,
            Place::OwnerFor(index, subnet) if question.rtype == rtype::SRV => {
                self.answer_service(index, &Asker::from_label(subnet), false, answer)
            }
            Place::OwnerFor(..) if question.rtype == rtype::ANY => Verdict::Answer,
            Place::OwnerFor(..) => Verdict::NoData,
        }
    }

    fn types(&self, name: &[u8]) -> Types {
        match self.names.find(&HashedName::new(name)) {
            // The zone has SRV records there as well, else the service would not fit.
            Place::Outside | Place::Owner(_) => Types::Zone,
            Place::OwnerFor(..) => Types::Alone(&[rtype::SRV]),
            Place::Between | Place::Nowhere => Types::Alone(&[]),
        }
    }

    fn known(&self, show: &mut dyn FnMut(&[u8], &RrSet)) {
        let Some(release) = &self.release else {
            return;
        };
        let mut placements = BTreeMap::new();
        for routed in self.services.iter().filter(|routed| routed.fits) {
            let (service, Some(tokens)) = (&routed.service, &routed.tokens) else {
                continue;
            };
            let Ok(owner) = name::parse(&service.owner, Some(name::ROOT)) else {
                continue;
            };
            let owner = name::lowered(&owner);
            let of_class = placements.entry(service.class);
            let of_class = of_class.or_insert_with(|| of_class_in(&release.map, service.class));
            for (placement, assumed) in of_class.iter().flat_map(|one| [(one, false), (one, true)])
            {
                let records = tokens.records(service, *placement, assumed);
                let rdatas = records.iter().map(|record| record.data(service.srv.port));
                if let Some(set) = RrSet::new(rtype::SRV, service.ttl.max, rdatas) {
                    show(&owner, &set);
                }
            }
        }
    }
}

/// The different placements that units have in a class.
fn of_class_in(map: &Map, class: u8) -> Vec<PlacementView<'_>> {
    let units = (0u32..).take(map.unit_count()).map(UnitId);
    let numbers: BTreeSet<u16> = units
        .filter_map(|unit| map.placement_index(unit, class))
        .collect();
    let views = numbers.into_iter().map(|number| map.placement_at(number));
    views.flatten().collect()
}

impl ZoneDefault {
    /// The records under another name than their own.
    fn answer(&self, answer: &mut Tailored) -> Verdict {
        if self.records.is_empty() {
            // The service is not in its zone, and whether that is meant nobody knows yet.
            answer.set_ede(ede::NOT_READY, "the service is not in its zone");
            return Verdict::ServFail;
        }
        answer.set_ttl(self.ttl);
        for data in &self.records {
            if let Some(([p0, p1, w0, w1, o0, o1], target)) = data.split_first_chunk::<6>() {
                let number = |high, low| u16::from_be_bytes([high, low]);
                answer.srv(number(*p0, *p1), number(*w0, *w1), number(*o0, *o1), target);
            }
        }
        Verdict::Answer
    }
}

impl From<Policy> for Action<'_> {
    fn from(policy: Policy) -> Self {
        match policy {
            Policy::Zone => Action::Zone,
            Policy::NoData => Action::NoData,
            Policy::Refuse => Action::Refuse,
        }
    }
}
