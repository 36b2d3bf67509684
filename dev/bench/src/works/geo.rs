//! The nearest that others have to W2: an answer by client subnet from their geographical modules. Ten names, ten thousand
//! /24 networks in sixteen pools. Knot has one entry for each name and network, so it can give SRV records; gdnsd has one
//! list of networks for all names, and addresses only.

use std::net::Ipv4Addr;

use hickory_proto::rr::RData;

use super::{Srv, decode, same, srv};
use crate::questions::{A, NO_ERROR, Oracle, Question, Questions, SRV};
use crate::random::Random;

/// The zone.
pub(crate) const ZONE: &str = "geo.test.";
/// Names that are answered by client.
pub(crate) const NAMES: usize = 10;
/// Networks that are told apart.
const NETWORKS: usize = 10_000;
/// Different answers.
pub(crate) const POOLS: usize = 16;
/// Records of an answer.
const RECORDS: usize = 3;
const ASKED: usize = 1 << 17;

/// Every network with its pool, ascending.
pub(crate) fn networks() -> Vec<(Ipv4Addr, usize)> {
    let mut random = Random(11);
    let mut networks: Vec<u32> = (0..NETWORKS + NETWORKS / 10)
        .map(|_| 0x0a00_0000 | (random.next() as u32 >> 8) & 0x00ff_ff00)
        .collect();
    networks.sort_unstable();
    networks.dedup();
    networks.truncate(NETWORKS);
    let pool = |network| (Ipv4Addr::from(network), random.below(POOLS));
    networks.into_iter().map(pool).collect()
}

/// The addresses of a pool.
pub(crate) fn addresses(pool: usize) -> impl Iterator<Item = Ipv4Addr> {
    (1..=RECORDS).map(move |number| Ipv4Addr::new(192, 0, pool as u8, number as u8))
}

/// The SRV records of a pool, as in a zone file.
pub(crate) fn services(pool: usize) -> impl Iterator<Item = String> {
    records(pool)
        .map(|(priority, weight, port, target)| format!("{priority} {weight} {port} {target}"))
}

fn records(pool: usize) -> impl Iterator<Item = Srv> {
    (0..RECORDS).map(move |rank| (rank as u16, 0, 8554, format!("e{rank}.p{pool}.edges.test.")))
}

/// The zone file; `lines` are the records at its names, if the server wants them there.
pub(crate) fn zone(lines: &str) -> String {
    format!(
        "$ORIGIN {ZONE}\n$TTL 300\n@ IN SOA ns1 hostmaster 1 3600 900 1209600 60\n@ IN NS ns1\n\
         ns1 IN A 192.0.2.53\n{lines}"
    )
}

/// A name that is answered by client.
pub(crate) fn owner(name: usize) -> String {
    format!("_rtsp._tcp.g{name}.{ZONE}")
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// SRV records.
    Services,
    /// A records.
    Addresses,
}

/// Random networks, random names.
pub(crate) fn clients(kind: Kind) -> Questions {
    let (networks, mut random) = (networks(), Random(13));
    let mut questions = Questions::new(NO_ERROR, RECORDS as u16);
    let mut pools = Vec::with_capacity(ASKED);
    for _ in 0..ASKED {
        let (network, pool) = networks[random.below(networks.len())];
        let rtype = match kind {
            Kind::Services => SRV,
            Kind::Addresses => A,
        };
        questions.push(&Question {
            subnet: Some(network),
            ..Question::new(&owner(random.below(NAMES)), rtype)
        });
        pools.push(pool);
    }
    questions.judged_by(Pools { pools, kind })
}

struct Pools {
    pools: Vec<usize>,
    kind: Kind,
}

impl Oracle for Pools {
    fn judge(&self, question: usize, answer: &[u8]) -> Result<(), String> {
        let (message, pool) = (decode(answer)?, self.pools[question]);
        if self.kind == Kind::Services {
            let mut found: Vec<Srv> = message.answers.iter().filter_map(srv).collect();
            found.sort();
            return same(found, records(pool).collect());
        }
        let address = |data: &RData| match data {
            RData::A(address) => Some(address.0),
            _ => None,
        };
        let answers = message.answers.iter();
        let mut found: Vec<_> = answers.filter_map(|record| address(&record.data)).collect();
        found.sort();
        same(found, addresses(pool).collect())
    }
}
