//! Ten thousand clients of the worked example: what they are answered over the wire, what `explain` says and
//! what the signed map says are the same thing; what caches keep never contradicts; and the second level has
//! addresses for every token that was seen, though no edge runs.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use nameserver_l1::{client_label, commands::Offline, explain::Explanation};
use route_token::{LENGTH, ZoneKeys};
use signpost_tests::{
    admin,
    cache::{self, Block},
    clients::{random_clients, within},
    example::{Example, TOKENS},
    random::Random,
    wire::{Answer, RecordType, ResponseCode, Srv, Wire},
};
use traffic_map::{Map, Match, Region, Subnet, UnitId, services::Service};

const CLIENTS: usize = 10_000;
/// Every one of this many clients asks by the name as well: 500 of each service.
const BY_NAME_EVERY: usize = 20;
const SEED: u64 = 2026;

/// Runs a story against the example, off the runtime's threads.
async fn with_example(story: impl FnOnce(&Example) + Send + 'static) {
    let example = Example::start().await.expect("the example starts");
    let told = tokio::task::spawn_blocking(move || {
        story(&example);
        example
    });
    let example = told.await.expect("the story holds");
    example.stop().await.expect("an orderly end");
}

#[tokio::test(flavor = "multi_thread")]
async fn answer_and_explanation_and_signed_map_agree_for_ten_thousand_clients() {
    with_example(|example| {
        let (generation, map) = example.map().unwrap();
        let random = random_clients(&map, SEED, CLIENTS);
        for service in &example.services().unwrap().services {
            let clients = [random.clone(), clients_shared_out(&map, service)].concat();
            let mut inquiry = Inquiry::new(example, generation, &map, service);
            for (n, client) in clients.iter().enumerate() {
                let answer = inquiry.agreed(*client);
                if n % BY_NAME_EVERY == 0 {
                    let other = clients[(n + 1) % clients.len()];
                    inquiry.asks_by_name(*client, other, &answer);
                }
                inquiry.keep(*client, answer);
            }
            inquiry.finish();
        }
    })
    .await;
}

/// One service, asked about client after client.
struct Inquiry<'e> {
    generation: u64,
    map: &'e Map,
    service: &'e Service,
    keys: ZoneKeys,
    offline: Offline,
    wire: Wire,
    random: Random,
    kept: Vec<(Block, Vec<Srv>)>,
    routed: usize,
    by_name: usize,
    asked_longer: usize,
}

impl<'e> Inquiry<'e> {
    fn new(example: &Example, generation: u64, map: &'e Map, service: &'e Service) -> Self {
        Self {
            generation,
            map,
            service,
            keys: example.ring.zone(TOKENS),
            offline: Offline::open(&example.l1_file()).unwrap(),
            wire: Wire::new(example.l1),
            random: Random(SEED),
            kept: Vec::new(),
            routed: 0,
            by_name: 0,
            asked_longer: 0,
        }
    }

    /// The answer to a client, after the three have been compared.
    fn agreed(&mut self, client: Subnet) -> Answer {
        let owner = &self.service.owner;
        let answer = self.wire.ask(owner, RecordType::SRV, Some(client));
        assert_eq!(answer.rcode, ResponseCode::NoError, "{client}");
        assert!(answer.authoritative, "{client}");
        let found = self.map.find(client);
        let explained = self.offline.explain(&self.service.name, client).unwrap();
        self.explanation_is_the_answer(&explained, &answer);
        self.map_is_the_answer(client, found.unit, &explained, &answer);
        let range = (found.range.0.to_string(), found.range.1.to_string());
        assert_eq!(explained.range, Some(range), "{client}");
        assert_eq!(explained.unit, found.unit.map(|unit| unit.0), "{client}");
        scope_is_as_wide_as_the_range_allows(client, &found, answer.scope.unwrap());
        answer
    }

    fn explanation_is_the_answer(&self, explained: &Explanation, answer: &Answer) {
        let client = &explained.client;
        let told = explained.answer.iter().map(|srv| Srv {
            ttl: explained.ttl,
            priority: srv.priority,
            weight: srv.weight,
            port: srv.port,
            target: srv.target.clone(),
        });
        assert_eq!(answer.srv, told.collect::<Vec<_>>(), "{client}");
        assert_eq!(answer.scope, Some(explained.scope), "{client}");
        assert_eq!(explained.rcode, "NOERROR", "{client}");
        assert_eq!(explained.generation, Some(self.generation), "{client}");
    }

    /// From the map's regions and shares to the records, by way of the tokens.
    fn map_is_the_answer(
        &mut self,
        client: Subnet,
        unit: Option<UnitId>,
        explained: &Explanation,
        answer: &Answer,
    ) {
        let placement = unit.and_then(|unit| self.map.placement(unit, self.service.class));
        let Some(placement) = placement else {
            let reason = if unit.is_some() {
                "none_up"
            } else {
                "unmapped"
            };
            assert_eq!(explained.reason, reason, "{client}");
            assert_eq!(explained.placement, None, "{client}");
            assert_eq!(answer.srv, zones_own(), "{client}");
            return;
        };
        self.routed += 1;
        assert_eq!(explained.reason, "map", "{client}");
        let told = explained.placement.as_ref().unwrap();
        let told_regions = told.regions.iter().map(|r| (r.region.as_str(), r.share));
        let choices = placement.choices;
        let regions = choices
            .iter()
            .map(|c| (self.region(c.region).name.as_str(), c.share));
        assert_eq!(told.id, placement.id, "{client}");
        assert!(told_regions.eq(regions), "{client}: {told:?} {choices:?}");

        let count = choices.len().min(self.service.srv.answers.into());
        assert_eq!(answer.srv.len(), count, "{client}");
        let mut fallbacks = 0;
        for ((srv, choice), line) in answer.srv.iter().zip(choices).zip(&explained.answer) {
            // A share is a weight among the first; each region without one has a priority of its own.
            fallbacks += u16::from(choice.share == 0);
            assert_eq!(
                (srv.priority, srv.weight),
                (fallbacks, choice.share),
                "{client}"
            );
            assert_eq!(srv.port, self.service.srv.port, "{client}");
            assert_eq!(srv.ttl, self.service.ttl.max, "{client}");
            let token = token(&srv.target).unwrap();
            let opened = self.keys.open(token.as_bytes()).unwrap();
            assert_eq!(opened.service, self.service.id, "{client}");
            assert_eq!(opened.region, choice.region, "{client}");
            assert_eq!(opened.placement, placement.id, "{client}");
            assert_eq!(line.token.as_deref(), Some(token), "{client}");
            let name = &self.region(choice.region).name;
            assert_eq!(line.region.as_ref(), Some(name), "{client}");
        }
    }

    fn region(&self, id: u16) -> &'e Region {
        self.map.region(id).unwrap()
    }

    /// The client's network in the name says the same, and a subnet sent along changes nothing.
    fn asks_by_name(&mut self, client: Subnet, other: Subnet, answer: &Answer) {
        let rest = self.service.owner.strip_prefix("_rtsp._tcp.").unwrap();
        let name = format!("_rtsp._tcp.{}.{rest}", client_label::write(client));
        for (subnet, scope) in [
            (None, None),
            (Some(client), Some(0)),
            (Some(other), Some(0)),
        ] {
            let by_name = self.wire.ask(&name, RecordType::SRV, subnet);
            assert_eq!(by_name.srv, answer.srv, "{name} {subnet:?}");
            assert_eq!(
                (by_name.rcode, by_name.scope),
                (answer.rcode, scope),
                "{name} {subnet:?}"
            );
        }
        self.by_name += 1;
    }

    /// Keeps an answer as a cache does. A scope longer than the client's network means that the network was
    /// too short to tell (RFC 7871 §7.2.1): then somebody in it asks with that length.
    fn keep(&mut self, client: Subnet, answer: Answer) {
        let (mut client, mut answer) = (client, answer);
        while let Some(scope) = answer.scope.filter(|scope| *scope > client.len) {
            let longer = Subnet {
                address: within(client, &mut self.random),
                len: scope,
            };
            client = longer.normalized();
            answer = self.agreed(client);
            self.asked_longer += 1;
        }
        let block = Block::of(client, answer.scope.unwrap());
        self.kept.push((block, answer.srv));
    }

    fn finish(mut self) {
        let blocks: BTreeSet<_> = self.kept.iter().map(|(block, _)| *block).collect();
        let of_family = |family| blocks.iter().filter(|block| block.family == family).count();
        let mapped = blocks
            .iter()
            .filter(|block| cache::MAPPED.covers(block))
            .count();
        let split = |srv: &[Srv]| srv.iter().filter(|srv| srv.priority == 0).count() > 1;
        let split = self.kept.iter().filter(|(_, srv)| split(srv)).count();
        println!(
            "{}: {} answers, {} of them by the map, {} with a longer subnet, {} asked by name; caches keep {} IPv4 \
             blocks and {} IPv6 ones, {mapped} of those for IPv4; {split} answers share out",
            self.service.name,
            self.kept.len() + self.asked_longer,
            self.routed,
            self.asked_longer,
            self.by_name,
            of_family(4),
            of_family(6),
        );
        assert!(self.kept.len() >= CLIENTS && self.by_name >= CLIENTS / BY_NAME_EVERY);
        assert!(
            self.routed > CLIENTS / 2,
            "half were picked in mapped ranges"
        );
        assert!(self.routed < CLIENTS, "some are unmapped");
        assert!(
            of_family(4) > 1_000 && of_family(6) > 1_000,
            "both families"
        );
        assert!(
            self.asked_longer > 100 && mapped > 10 && split > 0,
            "every kind was asked"
        );
        let conflict = cache::conflict(&mut self.kept);
        assert!(conflict.is_none(), "they overlap: {conflict:x?}");
    }
}

/// One client in each range whose unit several regions share: hardly more units than there are full regions,
/// too few to be found by chance.
fn clients_shared_out(map: &Map, service: &Service) -> Vec<Subnet> {
    let shared = |unit: UnitId| {
        let placement = map.placement(unit, service.class);
        placement.is_some_and(|placement| placement.choices[0].share < 1000)
    };
    let spans = map.ranges().filter(|span| span.unit.is_some_and(shared));
    spans
        .map(|span| Subnet {
            address: span.first,
            len: if span.first.is_ipv4() { 24 } else { 56 },
        })
        .collect()
}

/// The block that an answer holds for is within the range it speaks for, and no wider one would be.
fn scope_is_as_wide_as_the_range_allows(client: Subnet, found: &Match, scope: u8) {
    let range = Block::from_range(found.range.0, found.range.1);
    let (range, mapped) = match client.address {
        IpAddr::V6(_) => (range.in_ipv6(), range.family == 4),
        IpAddr::V4(_) => (range, false),
    };
    if scope > client.len {
        return; // the network spans several ranges
    }
    // Addresses written as IPv6 that are IPv4 ones get IPv4 answers: no IPv6 answer covers them.
    let allowed = |block: &Block| range.covers(block) && (mapped || !block.covers(&cache::MAPPED));
    let block = Block::of(client, scope);
    assert!(allowed(&block), "{client}: {block:x?} leaves {range:x?}");
    if let Some(wider) = scope.checked_sub(1) {
        let wider = Block::of(client, wider);
        assert!(
            !allowed(&wider),
            "{client}: {wider:x?} is in {range:x?} too"
        );
    }
}

/// What `stream.example.zone` has for its services itself.
fn zones_own() -> Vec<Srv> {
    vec![Srv {
        ttl: 30,
        priority: 0,
        weight: 0,
        port: 8554,
        target: "origin.stream.example.".to_owned(),
    }]
}

/// The token in front of the token zone.
fn token(target: &str) -> Option<&str> {
    let token = target.strip_suffix(TOKENS)?.strip_suffix('.')?;
    (token.len() == LENGTH).then_some(token)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_token_seen_has_addresses_of_its_region_though_no_edge_answers() {
    with_example(|example| {
        let (_, map) = example.map().unwrap();
        let tokens = tokens_seen(example, &map);
        println!("{} tokens", tokens.len());
        assert!(tokens.len() > 20, "{} tokens", tokens.len());
        // Whatever has been probed so far: the region's edges, or those of the placement's next regions.
        for (token, regions) in &tokens {
            let some = ask_token(example, token, &map, regions);
            assert!(some > 0, "{token} has no address");
        }
        admin::until_metrics(example.l2_admin, "signpost_edge_up{", |edges| {
            edges.len() == map.edges().len() && edges.iter().all(|(_, up)| *up == 0.0)
        });
        // All look dead: then it is the token's own region, whole, as if all were well.
        let fail_open = "signpost_answers_total{reason=\"fail_open\"";
        let before: f64 = count(example, fail_open);
        let mut asked = 0;
        for (token, regions) in &tokens {
            let own = &regions[..1];
            let full: usize = addresses(&map, own).len();
            assert_eq!(ask_token(example, token, &map, own), full, "{token}");
            let families: BTreeSet<bool> =
                addresses(&map, own).iter().map(IpAddr::is_ipv4).collect();
            asked += families.len();
        }
        assert_eq!(count(example, fail_open) - before, asked as f64);
    })
    .await;
}

fn count(example: &Example, beginning: &str) -> f64 {
    let metrics = admin::metrics(example.l2_admin, beginning);
    metrics.iter().map(|(_, value)| value).sum()
}

/// Asks the second level for both families; the addresses are of edges in these regions. Gives their number.
fn ask_token(example: &Example, token: &str, map: &Map, regions: &[u16]) -> usize {
    let mut wire = Wire::new(example.l2);
    let allowed = addresses(map, regions);
    let name = format!("{token}.{TOKENS}");
    let mut seen = 0;
    for rtype in [RecordType::A, RecordType::AAAA] {
        let answer = wire.ask(&name, rtype, None);
        assert_eq!(answer.rcode, ResponseCode::NoError, "{name}");
        assert!(answer.authoritative, "{name}");
        let known = answer.addresses.iter().all(|a| allowed.contains(a));
        assert!(known, "{name} {regions:?}: {:?}", answer.addresses);
        seen += answer.addresses.len();
    }
    seen
}

/// Addresses of all edges of some regions.
fn addresses(map: &Map, regions: &[u16]) -> BTreeSet<IpAddr> {
    let edges = map.edges().iter();
    edges
        .filter(|edge| regions.contains(&edge.region))
        .flat_map(|edge| edge.addresses.iter().copied())
        .collect()
}

/// Every token that the clients are given, with its region and then the others of its placement.
fn tokens_seen(example: &Example, map: &Map) -> BTreeMap<String, Vec<u16>> {
    let keys = example.ring.zone(TOKENS);
    let mut wire = Wire::new(example.l1);
    let mut seen = BTreeMap::new();
    for service in &example.services().unwrap().services {
        for client in random_clients(map, SEED, CLIENTS) {
            let answer = wire.ask(&service.owner, RecordType::SRV, Some(client));
            for token in answer.srv.iter().filter_map(|srv| token(&srv.target)) {
                seen.entry(token.to_owned()).or_insert_with(|| {
                    let opened = keys.open(token.as_bytes()).unwrap();
                    let placement = map.placement_by_id(opened.placement).unwrap();
                    let next = placement.choices.iter().map(|choice| choice.region);
                    let next = next.filter(|region| *region != opened.region);
                    std::iter::once(opened.region).chain(next).collect()
                });
            }
        }
    }
    seen
}
