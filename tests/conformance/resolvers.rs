//! Clients behind real resolvers that cache by client subnet, Unbound and PowerDNS Recursor, in random order: nobody
//! ever gets the answer of another network, from neither level.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::{env, net::IpAddr};

use conformance::{
    decode::Message,
    exchange::Client,
    question::Question,
    resolver::{Kind, Resolver},
    routed::{self, HERE, OWNER, Routed, Rules, TOKENS, ZONE, number},
};
use domain::base::{Name, iana::Rtype};
use signpost_tests::random::Random;

const SEED: u64 = 3;

#[test]
fn nobody_behind_a_resolver_gets_another_networks_answer() {
    check(SEED, 3, 600);
}

#[test]
#[ignore = "many minutes; cargo xtask nightly runs it"]
fn nobody_behind_a_resolver_gets_another_networks_answer_in_a_hundred_thousand() {
    let seed = env::var("SIGNPOST_SEED").map_or(SEED, |seed| seed.parse().unwrap());
    check(seed, 100, 1_000);
}

/// For each of some maps, so many clients one after another behind each resolver.
fn check(seed: u64, maps: usize, clients: usize) {
    for kind in Kind::ALL {
        let mut figures = Figures::default();
        for n in 0..maps {
            let mut random = Random(seed ^ (n as u64) << 32);
            let rules = Rules::random(&mut random);
            let routed = Routed::start(&rules.map());
            let [l1, l2] = &routed.site.servers;
            let Some(resolver) = Resolver::start(kind, &[(ZONE, l1.dns), (TOKENS, l2.dns)]) else {
                return;
            };
            let mut story = Story {
                rules: &rules,
                routed: &routed,
                client: Client::new(resolver.dns),
                context: format!("seed {seed}, map {n}, {kind:?}"),
            };
            for _ in 0..clients {
                story.one_client(&mut random, &mut figures);
            }
        }
        println!("{kind:?}, {maps} maps: {figures:?}");
        assert!(figures.of_rules > 0 && figures.of_default_areas > 0);
    }
}

#[derive(Debug, Default)]
struct Figures {
    srv: usize,
    addresses: usize,
    of_rules: usize,
    of_default_areas: usize,
}

struct Story<'a> {
    rules: &'a Rules,
    routed: &'a Routed,
    client: Client,
    context: String,
}

impl Story<'_> {
    /// One client asks for the service, and then for the addresses of its token.
    fn one_client(&mut self, random: &mut Random, figures: &mut Figures) {
        let client = self.rules.client(random);
        let expected = self.rules.unit(client);
        let context = format!("{}: {client}, of unit {expected:?}", self.context);
        let reply = self.ask(OWNER, Rtype::SRV, Some(client), &context);
        let (_, target) = srv(&reply).unwrap_or_else(|| panic!("{context}: {reply:?}"));
        let unit = self.routed.unit(&target);
        assert_eq!(unit, expected, "{context}: {target}");
        figures.srv += 1;
        match expected {
            Some(_) => figures.of_rules += 1,
            None => figures.of_default_areas += 1,
        }
        if unit.is_some() {
            self.asks_for_addresses(&target, client, expected, &context);
            figures.addresses += 1;
        }
        if random.below(4) == 0 {
            // A token that somebody got whose resolver did not tell: the second level looks at who asks now.
            let assumed = self.assumed();
            self.asks_for_addresses(&assumed, client, expected.or(Some(HERE.1)), &context);
            figures.addresses += 1;
        }
    }

    fn asks_for_addresses(
        &mut self,
        target: &str,
        client: IpAddr,
        expected: Option<u32>,
        context: &str,
    ) {
        let reply = self.ask(target, Rtype::A, Some(client), context);
        let found = reply.sections[0]
            .iter()
            .find(|record| record.rtype == Rtype::A.to_int());
        let data = found.map(|record| <[u8; 4]>::try_from(&record.data[..]).unwrap());
        let unit = data.map(|octets| routed::unit_of(octets.into()));
        assert_eq!(unit, expected, "{context}: addresses of {target}");
    }

    /// A token for the resolver's own address, as without a client subnet.
    fn assumed(&self) -> String {
        let mut first_level = Client::new(self.routed.site.servers[0].dns);
        let question = Question::new(OWNER, Rtype::SRV.to_int()).edns(1232, 0);
        let reply = first_level.udp(&question.octets(7)).unwrap();
        srv(&Message::read(&reply).unwrap()).unwrap().1
    }

    fn ask(&mut self, name: &str, rtype: Rtype, client: Option<IpAddr>, context: &str) -> Message {
        let mut question = Question::new(name, rtype.to_int()).edns(1232, 0);
        question.flags = 0x0100;
        if let Some(client) = client {
            question = question.option(8, &subnet(client));
        }
        let reply = self.client.udp(&question.octets(4711));
        let reply = reply.unwrap_or_else(|| panic!("{context}: no answer"));
        Message::read_once(&reply).unwrap_or_else(|error| panic!("{context}: {error}"))
    }
}

/// The option's data for a client as stub resolvers send it: /24 and /56.
fn subnet(client: IpAddr) -> Vec<u8> {
    let (family, source, octets) = match client {
        IpAddr::V4(_) => (1, 24, number(client).to_be_bytes()[12..15].to_vec()),
        IpAddr::V6(_) => (2, 56, number(client).to_be_bytes()[..7].to_vec()),
    };
    [vec![0, family, source, 0], octets].concat()
}

/// Owner and target of the SRV record in an answer.
fn srv(reply: &Message) -> Option<(Vec<u8>, String)> {
    let record = reply.sections[0]
        .iter()
        .find(|record| record.rtype == Rtype::SRV.to_int())?;
    let target = Name::from_octets(record.data.get(6..)?).ok()?;
    Some((record.owner.clone(), format!("{target}.").to_lowercase()))
}
