//! The program's part of an answer: a name one label below a token zone is opened as a token, and becomes addresses.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use dns_engine::{
    Client, ClientSubnet, Question, Tailor, Tailored, Types, Verdict, Zone, ede, name, rtype,
};
use nameserver::InForce;
use route_token::{LENGTH, Payload, ZoneKeys};

use crate::by_id::ById;
use crate::metrics::Counters;
use crate::plan::Family;
use crate::remap::{Remapped, remap};
use crate::server_set::{Rules, ServerSet};
use crate::view::{Table, View};

/// One zone whose names are tokens.
#[derive(Debug)]
pub struct TokenZone {
    /// Lower-cased wire name.
    pub origin: Box<[u8]>,
    /// What its tokens are opened with; `None` while no key ring could be read.
    pub keys: Option<ZoneKeys>,
    /// TTL of its addresses in seconds.
    pub ttl: u32,
    own: OwnNames,
}

/// The names that a token zone has itself, as far as they matter one label below its apex.
#[derive(Debug)]
enum OwnNames {
    /// Lower-cased labels directly below the apex; any other label there does not exist.
    Labels(HashSet<Box<[u8]>>),
    /// A wildcard or DNAME at the apex: the zone has to be asked.
    Open,
}

impl TokenZone {
    /// Makes a zone one of tokens.
    pub fn new(zone: &Zone, keys: Option<ZoneKeys>, ttl: u32) -> TokenZone {
        let apex = zone.origin();
        let depth = name::label_count(apex);
        let mut labels = HashSet::new();
        let mut open = zone.rrset(apex, rtype::DNAME).is_some();
        for node in zone.nodes() {
            let owner = name::lowered(node.owner());
            let below = name::label_count(&owner).checked_sub(depth + 1);
            if let Some(label) = below.and_then(|above| name::labels(&owner).nth(above)) {
                open |= label == b"*";
                labels.insert(label.into());
            }
        }
        let own = if open {
            OwnNames::Open
        } else {
            OwnNames::Labels(labels)
        };
        TokenZone {
            origin: apex.into(),
            keys,
            ttl,
            own,
        }
    }

    /// What a label gets that is no token: NXDOMAIN, to all alike and without a look-up, unless the zone may have the name.
    fn refuse(&self, label: &[u8], answer: &mut Tailored) -> Verdict {
        match &self.own {
            OwnNames::Labels(labels) if !labels.contains(label) => {
                // The same words whatever is wrong with it: a forger learns nothing.
                answer.set_ede(ede::OTHER, "no such token");
                Verdict::NxDomain
            }
            _ => Verdict::Zone,
        }
    }
}

/// What a token's service says about its servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceFacts {
    /// The id in tokens.
    pub id: u16,
    /// The class of its placements in the map.
    pub class: u8,
    /// Format that its edges have to serve.
    pub profile: Option<String>,
}

/// Answers tokens. Frozen, but for the live table that it reads through [`View`].
#[derive(Debug)]
pub struct Tokens {
    zones: Vec<TokenZone>,
    services: Vec<ServiceFacts>,
    services_by_id: ById,
    answers: usize,
    view: Arc<View>,
    counters: Arc<Counters>,
    in_force: InForce,
}

impl Tokens {
    /// Puts zones in order.
    pub fn new(
        mut zones: Vec<TokenZone>,
        services: Vec<ServiceFacts>,
        answers: usize,
        view: Arc<View>,
        counters: Arc<Counters>,
        in_force: InForce,
    ) -> Tokens {
        zones.sort_by(|a, b| a.origin.cmp(&b.origin));
        Tokens {
            zones,
            services_by_id: ById::new(services.iter().map(|service| service.id)),
            services,
            answers,
            view,
            counters,
            in_force,
        }
    }

    /// The token zones, by name.
    pub fn zones(&self) -> &[TokenZone] {
        &self.zones
    }

    /// The token zone of a name that is exactly one label below it, and that label. Lower-cased wire name.
    pub fn find<'n>(&self, name: &'n [u8]) -> Option<(&TokenZone, &'n [u8])> {
        let label = name::labels(name).next()?;
        let parent = name::parent(name)?;
        let at = self
            .zones
            .binary_search_by(|zone| (*zone.origin).cmp(parent))
            .ok()?;
        Some((self.zones.get(at)?, label))
    }

    /// What a token's service demands of the choice.
    pub fn rules(&self, payload: &Payload) -> Rules<'_> {
        let service = self.service(payload);
        Rules {
            profile: service.and_then(|service| service.profile.as_deref()),
            answers: self.answers,
        }
    }

    fn service(&self, payload: &Payload) -> Option<&ServiceFacts> {
        self.services
            .get(self.services_by_id.place(payload.service)?)
    }

    /// What a token stands for when this client asks.
    pub fn remap(
        &self,
        table: &Table,
        payload: &Payload,
        client: Option<ClientSubnet>,
    ) -> Remapped {
        let class = self.service(payload).map(|service| service.class);
        remap(&table.plan.map, payload, class, client)
    }

    /// The server set of a token, which has been remapped.
    pub fn choose<'p>(&'p self, table: &'p Table, payload: &Payload, family: Family) -> ServerSet {
        table
            .plan
            .choose(&table.live, payload, family, &self.rules(payload))
    }
}

impl Tailor for Tokens {
    fn tailor(&self, question: &Question<'_>, client: &Client, answer: &mut Tailored) -> Verdict {
        let Some((zone, label)) = self.find(question.name.as_slice()) else {
            return Verdict::Zone;
        };
        let Some(keys) = &zone.keys else {
            // It could be a good token: nobody may remember that it does not exist.
            return if label.len() == LENGTH {
                not_ready("the token keys are not loaded", answer)
            } else {
                Verdict::Zone
            };
        };
        let opened = keys.open(label);
        self.counters.token(opened.as_ref().err().copied());
        let Ok(payload) = opened else {
            return zone.refuse(label, answer);
        };
        let Some(family) = family_of(question.rtype) else {
            return match question.rtype {
                rtype::ANY => Verdict::Answer,
                _ => Verdict::NoData,
            };
        };
        let table = self.view.table();
        let Some(table) = table.as_deref() else {
            self.counters.answer(None);
            return not_ready("there is no traffic map yet", answer);
        };
        let remapped = self.remap(table, &payload, client.subnet);
        if let Some(finding) = remapped.finding {
            self.counters.remapped(finding);
        }
        answer.set_scope(remapped.scope);
        let set = self.choose(table, &remapped.payload, family);
        self.counters.answer(Some(set.why));
        answer.set_ttl(zone.ttl);
        for address in set.addresses() {
            match address {
                IpAddr::V4(v4) => answer.a(*v4),
                IpAddr::V6(v6) => answer.aaaa(*v6),
            }
        }
        if self.in_force.is_stale() {
            answer.set_ede(ede::STALE_ANSWER, "the traffic map is out of date");
        }
        match set.region {
            Some(_) if set.addresses().is_empty() => Verdict::NoData,
            Some(_) => Verdict::Answer,
            None => {
                answer.set_ede(ede::INVALID_DATA, "the traffic map lacks the region");
                Verdict::ServFail
            }
        }
    }

    /// Families that some edge has: which ones an answer has depends on what is live, and on the client.
    fn types(&self, name: &[u8]) -> Types {
        let opens = |(zone, label): (&TokenZone, _)| {
            let keys = zone.keys.as_ref();
            keys.is_some_and(|keys| keys.open(label).is_ok())
        };
        if !self.find(name).is_some_and(opens) {
            return Types::Zone;
        }
        let table = self.view.table();
        let targets = table
            .as_deref()
            .map_or(&[][..], |table| &table.plan.targets);
        let v4 = targets.iter().any(SocketAddr::is_ipv4);
        let v6 = targets.iter().any(SocketAddr::is_ipv6);
        Types::Alone(match (v4, v6) {
            (true, true) => &[rtype::A, rtype::AAAA],
            (true, false) => &[rtype::A],
            (false, true) => &[rtype::AAAA],
            (false, false) => &[],
        })
    }
}

fn not_ready(why: &'static str, answer: &mut Tailored) -> Verdict {
    answer.set_ede(ede::NOT_READY, why);
    Verdict::ServFail
}

fn family_of(rtype: u16) -> Option<Family> {
    match rtype {
        rtype::A => Some(Family::V4),
        rtype::AAAA => Some(Family::V6),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use dns_engine::zonefile;

    use super::*;

    const HEAD: &str =
        "$ORIGIN t.example.\n$TTL 1\n@ SOA ns h.example. 1 1 1 1 1\n@ NS ns.other.example.\n";

    fn check(more: &str, label: &str, expected: Verdict) {
        let zone = zonefile::parse("t", &format!("{HEAD}{more}\n"), None).unwrap();
        assert_eq!(
            TokenZone::new(&zone, None, 1)
                .refuse(label.as_bytes(), &mut Tailored::for_type(rtype::A)),
            expected,
            "{more:?} {label}"
        );
    }

    #[test]
    fn only_names_that_the_zone_cannot_have_are_refused_without_asking_it() {
        check("", "forged", Verdict::NxDomain);
        check("ns A 192.0.2.1", "ns", Verdict::Zone);
        check("A.B.Deep TXT x", "deep", Verdict::Zone);
        check("A.B.Deep TXT x", "b", Verdict::NxDomain);
        check("sub NS ns.sub\nns.sub A 192.0.2.2", "sub", Verdict::Zone);
        check("* TXT x", "forged", Verdict::Zone);
        check("*.deep TXT x", "forged", Verdict::NxDomain);
        check("@ DNAME other.example.", "forged", Verdict::Zone);
    }
}
