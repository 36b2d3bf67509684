//! W2 and W2b: SRV records with tokens for the client's network, and the tokens' addresses. The right answers come from
//! the release, read back, and the key ring.

use std::collections::HashSet;
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;

use hickory_proto::rr::RData;
use route_token::{KeyRing, Payload, ZoneKeys};
use traffic_map::{Map, Subnet, UnitId};

use super::signed::Validator;
use super::{Srv, decode, same, scope, srv};
use crate::questions::{A, NO_ERROR, Oracle, Question, Questions, SRV};
use crate::random::Random;
use crate::world::{self, CLASSES};

/// The zone of the services.
pub(crate) const ZONE: &str = "stream.test.";
/// The zone of the tokens, below it.
pub(crate) const TOKENS: &str = "edge.stream.test.";
/// Records of an answer, addresses as well.
pub(crate) const ANSWERS: u16 = 3;
const PORT: u16 = 8554;
/// Clients' networks asked for: more than caches hold the ranges of.
const CLIENTS: usize = 1 << 18;
/// Tokens asked for.
pub(crate) const OPENED: usize = 1 << 16;

/// The first level's zone.
pub(crate) fn zone(services: usize) -> String {
    let mut text = String::from(
        "$TTL 300\n@ IN SOA ns1 hostmaster 1 3600 900 1209600 60\n@ IN NS ns1\nns1 IN A 192.0.2.53\n\
         edge IN NS ns1.edge\nns1.edge IN A 192.0.2.54\norigin IN A 192.0.2.80\n",
    );
    for service in 0..services {
        writeln!(text, "_rtsp._tcp.s{service} 30 IN SRV 0 0 554 origin")
            .expect("a string takes all");
    }
    text
}

/// The second level's.
pub(crate) const TOKEN_ZONE: &str = "$ORIGIN edge.stream.test.\n$TTL 300\n\
    @ IN SOA ns1 hostmaster 1 3600 900 1209600 30\n@ IN NS ns1\nns1 IN A 192.0.2.54\n";

/// The services file. Ids are given, as a thousand names' hashes collide.
pub(crate) fn services(count: usize) -> String {
    let mut text = String::new();
    for number in 0..count {
        write!(
            text,
            "[service.s{number}]\nid = {}\nowner = \"{}\"\ntokens = \"{TOKENS}\"\nclass = {}\n\
             srv = {{ port = {PORT}, answers = {ANSWERS} }}\n",
            id(number),
            owner(number),
            number % CLASSES,
        )
        .expect("a string takes all");
    }
    text
}

/// The number of a service in tokens.
pub(crate) fn id(service: usize) -> u16 {
    service as u16 + 1
}

fn owner(service: usize) -> String {
    format!("_rtsp._tcp.s{service}.{ZONE}")
}

/// What both oracles know.
#[derive(Clone)]
pub(crate) struct Known {
    /// The releases that may answer.
    pub(crate) maps: Rc<Vec<Map>>,
    pub(crate) ring: Rc<KeyRing>,
    pub(crate) services: usize,
    /// Edges of a region.
    pub(crate) edges: u8,
}

/// W2: random networks of mapped space, random services; with a validator, signatures are asked for as well, which is
/// one record more.
pub(crate) fn clients(known: &Known, validator: Option<&Rc<Validator>>) -> Questions {
    let dnssec = validator.is_some();
    let mut random = Random(5);
    let mut questions = Questions::new(NO_ERROR, ANSWERS + u16::from(dnssec));
    let mut asked = Vec::with_capacity(CLIENTS);
    for _ in 0..CLIENTS {
        let service = random.below(known.services);
        let network = world::mapped_network(&known.maps[0], &mut random);
        questions.push(&Question {
            subnet: Some(network),
            dnssec,
            ..Question::new(&owner(service), SRV)
        });
        asked.push((service as u16, network));
    }
    questions.judged_by(Clients {
        known: known.clone(),
        keys: known.ring.zone(TOKENS),
        asked,
        validator: validator.cloned(),
    })
}

struct Clients {
    known: Known,
    keys: ZoneKeys,
    asked: Vec<(u16, Ipv4Addr)>,
    validator: Option<Rc<Validator>>,
}

impl Clients {
    /// Scope, and the records with their tokens opened.
    fn expected(&self, map: &Map, service: usize, network: Ipv4Addr) -> (u8, Vec<Sealed>) {
        let found = map.find(Subnet {
            address: IpAddr::V4(network),
            len: 24,
        });
        let placement = found
            .unit
            .and_then(|unit| map.placement(unit, (service % CLASSES) as u8));
        let records = placement.into_iter().flat_map(|placement| {
            placement.ranked().map(move |ranked| {
                let payload = Payload {
                    service: id(service),
                    region: ranked.region,
                    placement: placement.id,
                    assumed: false,
                };
                (ranked.priority, ranked.weight, payload)
            })
        });
        (found.scope, records.take(ANSWERS.into()).collect())
    }

    fn opened(&self, (priority, weight, port, target): Srv) -> Result<Sealed, String> {
        same(port, PORT)?;
        let label = target
            .strip_suffix(TOKENS)
            .and_then(|label| label.strip_suffix('.'))
            .ok_or_else(|| format!("the target {target}"))?;
        let payload = self.keys.open(label.as_bytes());
        let payload = payload.map_err(|refused| format!("{target}: {refused}"))?;
        Ok((priority, weight, payload))
    }
}

/// Priority, weight, and what the token says.
type Sealed = (u16, u16, Payload);

impl Oracle for Clients {
    fn judge(&self, question: usize, answer: &[u8]) -> Result<(), String> {
        let (service, network) = self.asked[question];
        let message = decode(answer)?;
        let records = message.answers.iter().filter_map(srv);
        let records = records.map(|record| self.opened(record));
        let records: Vec<Sealed> = records.collect::<Result<_, _>>()?;
        let scope = scope(&message).ok_or("no client subnet in the answer")?;
        if let Some(validator) = &self.validator {
            validator.judge(&message)?;
        }
        let found = (scope, records);
        let expected = |map| self.expected(map, service.into(), network);
        match self.known.maps.iter().any(|map| found == expected(map)) {
            true => Ok(()),
            false => same(found, expected(&self.known.maps[0])),
        }
    }
}

/// W2b: so many tokens that the first level would have given, each asked for its IPv4 addresses.
pub(crate) fn addresses(known: &Known, count: usize) -> Questions {
    let mut random = Random(7);
    let (map, keys) = (&known.maps[0], known.ring.zone(TOKENS));
    let mut questions = Questions::new(NO_ERROR, ANSWERS);
    let mut regions = Vec::with_capacity(count);
    while regions.len() < count {
        let service = random.below(known.services);
        let unit = UnitId(random.below(map.unit_count()) as u32);
        let Some(placement) = map.placement(unit, (service % CLASSES) as u8) else {
            continue;
        };
        let Some(ranked) = placement.ranked().nth(random.below(ANSWERS.into())) else {
            continue;
        };
        let token = keys.seal(&Payload {
            service: id(service),
            region: ranked.region,
            placement: placement.id,
            assumed: false,
        });
        questions.push(&Question::new(&format!("{token}.{TOKENS}"), A));
        regions.push(ranked.region);
    }
    questions.judged_by(Addresses {
        regions,
        edges: known.edges,
    })
}

/// All edges live: the answer has edges of the token's own region, each once.
struct Addresses {
    regions: Vec<u16>,
    edges: u8,
}

impl Oracle for Addresses {
    fn judge(&self, question: usize, answer: &[u8]) -> Result<(), String> {
        let region = self.regions[question];
        let theirs: HashSet<IpAddr> = (1..=self.edges)
            .map(|number| world::edge_address(region, number))
            .collect();
        let message = decode(answer)?;
        let found = message
            .answers
            .iter()
            .filter_map(|record| match record.data {
                RData::A(address) => Some(IpAddr::V4(address.0)),
                _ => None,
            });
        let found: HashSet<IpAddr> = found.collect();
        match found.len() == usize::from(ANSWERS) && found.is_subset(&theirs) {
            true => Ok(()),
            false => Err(format!("{found:?} for region {region}")),
        }
    }
}
