//! The scope of every answer to a client subnet (RFC 7871 §7.2.1), checked from outside against a slow oracle that
//! knows nothing but a list of networks: the answer is right, it holds for the whole block it says it holds for, no
//! wider block would do, and no two blocks contradict each other.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::{collections::BTreeSet, env, net::IpAddr};

use conformance::routed::{
    self, HERE, OWNER, Routed, Rules, TOKENS, anywhere, from_number, number,
};
use signpost_tests::{
    cache::{self, Block, MAPPED},
    random::Random,
    wire::{Answer, RecordType, Wire},
};
use traffic_map::Subnet;

const SEED: u64 = 7871;

#[test]
fn scopes_are_those_of_the_oracle() {
    check(SEED, 40);
}

#[test]
#[ignore = "some minutes; cargo xtask nightly runs it"]
fn scopes_are_those_of_the_oracle_for_a_thousand_maps() {
    let seed = env::var("SIGNPOST_SEED").map_or(SEED, |seed| seed.parse().unwrap());
    check(seed, 1_000);
}

fn check(seed: u64, maps: usize) {
    let mut figures = Figures::default();
    for n in 0..maps {
        let mut random = Random(seed ^ (n as u64) << 32);
        let rules = Rules::random(&mut random);
        let routed = Routed::start(&rules.map());
        let mut l1 = Oracle::new(
            &rules,
            Level::First,
            &routed,
            format!("seed {seed}, map {n}"),
        );
        l1.ask_everywhere(&mut random, &mut figures);
        let mut l2 = Oracle::new(
            &rules,
            Level::Second,
            &routed,
            format!("seed {seed}, map {n}"),
        );
        l2.ask_everywhere(&mut random, &mut figures);
    }
    println!("{maps} maps: {figures:?}");
    assert!(figures.shorter > maps && figures.in_default_areas > maps && figures.mapped > maps);
}

#[derive(Debug, Default)]
struct Figures {
    asked: usize,
    in_default_areas: usize,
    /// The client's network was too short to tell.
    shorter: usize,
    /// IPv4 addresses written as IPv6 ones.
    mapped: usize,
    blocks: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    /// SRV records with tokens.
    First,
    /// Addresses for a token that was given to a resolver that did not tell the client.
    Second,
}

/// What is known about one map, and what has been seen of one level's answers about it.
struct Oracle<'r> {
    rules: &'r Rules,
    level: Level,
    routed: &'r Routed,
    wire: Wire,
    name: String,
    borders: [Vec<u128>; 2],
    kept: Vec<(Block, Option<u32>)>,
    context: String,
}

impl<'r> Oracle<'r> {
    fn new(rules: &'r Rules, level: Level, routed: &'r Routed, context: String) -> Self {
        let [l1, l2] = &routed.site.servers;
        let (server, name) = match level {
            Level::First => (l1, OWNER.to_owned()),
            Level::Second => {
                let assumed = routed::wire(l1).ask(OWNER, RecordType::SRV, None);
                assert_eq!(routed.unit(&assumed.srv[0].target), Some(HERE.1));
                (l2, assumed.srv[0].target.clone())
            }
        };
        debug_assert!(level == Level::First || name.ends_with(TOKENS));
        Self {
            rules,
            level,
            routed,
            wire: routed::wire(server),
            name,
            borders: [rules.borders(true), rules.borders(false)],
            kept: Vec::new(),
            context: format!("{context}, {level:?} level"),
        }
    }

    /// At every border of both families and just before it, and in places that no rule names; each with networks that
    /// are as long as a rule, shorter, longer and as resolvers send them.
    fn ask_everywhere(&mut self, random: &mut Random, figures: &mut Figures) {
        for v4 in [true, false] {
            let (full, usual) = if v4 { (32, 24) } else { (128, 56) };
            let mut places: BTreeSet<u128> =
                self.borders[usize::from(!v4)].iter().copied().collect();
            places.extend(
                self.borders[usize::from(!v4)]
                    .iter()
                    .filter_map(|border| border.checked_sub(1)),
            );
            places.extend((0..8).map(|_| number(anywhere(v4, random))));
            for place in places {
                let address = from_number(place, v4);
                let ruled = self.rules.networks.iter().map(|(network, _)| network);
                let near = ruled
                    .filter(|network| network.address.is_ipv4() == v4)
                    .map(|network| network.len);
                let mut lengths: BTreeSet<u8> = [full, usual].into_iter().collect();
                lengths.extend(near.filter(|len| *len > 0 && random.below(3) == 0));
                lengths.extend((0..3).map(|_| 1 + random.below(full.into()) as u8));
                for len in lengths {
                    self.ask(Subnet { address, len }.normalized(), figures);
                }
                if v4 && let IpAddr::V4(address) = address {
                    let len = 96 + 1 + random.below(32) as u8;
                    let written = IpAddr::V6(address.to_ipv6_mapped());
                    figures.mapped += 1;
                    self.ask(
                        Subnet {
                            address: written,
                            len,
                        }
                        .normalized(),
                        figures,
                    );
                }
            }
        }
        self.nothing_disclosed();
        figures.blocks += self
            .kept
            .iter()
            .map(|(block, _)| block)
            .collect::<BTreeSet<_>>()
            .len();
        let conflict = cache::conflict(&mut self.kept);
        assert!(
            conflict.is_none(),
            "{}: they overlap: {conflict:x?}",
            self.context
        );
    }

    fn ask(&mut self, client: Subnet, figures: &mut Figures) {
        let answer = self.answer(Some(client));
        let said = self.unit(&answer);
        let scope = answer.scope.unwrap();
        let context = format!("{}: {client} got {said:?} with scope {scope}", self.context);
        figures.asked += 1;
        let network = Block::of(client, client.len);
        let there = self.units(&network);
        figures.in_default_areas += usize::from(there.len() == 1 && there.contains(&None));
        if scope > client.len {
            // The answer is right for some client of the network, and the network is too short to tell which.
            assert!(
                there.len() > 1 || self.covers_other_families(&network),
                "{context}"
            );
            assert!(
                self.are_answers_of(&there, said),
                "{context}, there are {there:?}"
            );
            figures.shorter += 1;
            return;
        }
        let block = Block::of(client, scope);
        let held = self.units(&block);
        assert_eq!(held.len(), 1, "{context}, which holds for {held:?}");
        assert!(
            self.are_answers_of(&held, said),
            "{context} instead of {held:?}"
        );
        assert!(
            !self.covers_other_families(&block),
            "{context}, which covers IPv4 addresses"
        );
        if let Some(wider) = scope.checked_sub(1) {
            let wider = Block::of(client, wider);
            let more = self.units(&wider).len() > 1 || self.covers_other_families(&wider);
            assert!(
                more,
                "{context}, and a block twice as wide has the same answer"
            );
        }
        self.kept.push((block, said));
    }

    /// A client that discloses nothing gets an answer for its resolver, said to be for all such clients alone.
    fn nothing_disclosed(&mut self) {
        for network in ["0.0.0.0/0", "::/0"] {
            let answer = self.answer(Some(network.parse().unwrap()));
            assert_eq!(answer.scope, Some(0), "{}", self.context);
            assert_eq!(self.unit(&answer), Some(HERE.1), "{}", self.context);
        }
        let answer = self.answer(None);
        assert_eq!(
            (answer.scope, self.unit(&answer)),
            (None, Some(HERE.1)),
            "{}",
            self.context
        );
    }

    fn answer(&mut self, client: Option<Subnet>) -> Answer {
        let rtype = match self.level {
            Level::First => RecordType::SRV,
            Level::Second => RecordType::A,
        };
        self.wire.ask(&self.name.clone(), rtype, client)
    }

    /// The unit that an answer was made for.
    fn unit(&self, answer: &Answer) -> Option<u32> {
        match self.level {
            Level::First => self.routed.unit(&answer.srv[0].target),
            Level::Second => Some(routed::unit_of(answer.addresses[0])),
        }
    }

    /// What L2 says where the map says nothing is what the token says.
    fn are_answers_of(&self, units: &BTreeSet<Option<u32>>, said: Option<u32>) -> bool {
        let answer = |unit: &Option<u32>| match self.level {
            Level::First => *unit,
            Level::Second => unit.or(Some(HERE.1)),
        };
        units.iter().any(|unit| answer(unit) == said)
    }

    /// Units of all addresses in a block; written as IPv6, IPv4 addresses are what they are.
    fn units(&self, block: &Block) -> BTreeSet<Option<u32>> {
        let block = if MAPPED.covers(block) {
            Block {
                family: 4,
                first: block.first - MAPPED.first,
                last: block.last - MAPPED.first,
            }
        } else {
            *block
        };
        let v4 = block.family == 4;
        let inside = self.borders[usize::from(!v4)]
            .iter()
            .filter(|border| (block.first..=block.last).contains(border));
        let changes = inside.copied().chain([block.first]);
        changes
            .map(|number| self.rules.unit(from_number(number, v4)))
            .collect()
    }

    /// True if a block of IPv6 holds IPv4 addresses beside others.
    fn covers_other_families(&self, block: &Block) -> bool {
        block.family == 6 && block.covers(&MAPPED) && *block != MAPPED
    }
}
