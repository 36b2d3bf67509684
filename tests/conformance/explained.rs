//! `explain` says what the wire says: both levels, random clients, services and tokens, asked of the servers' admin
//! port while they serve.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::{env, net::IpAddr};

use conformance::routed::{self, Routed, Rules, SERVICES, TOKENS};
use route_token::{KeyRing, Payload};
use serde_json::Value;
use signpost_tests::{
    admin,
    random::Random,
    wire::{Answer, RecordType, ResponseCode, Wire},
};
use traffic_map::Subnet;

const SEED: u64 = 5;

#[test]
fn what_is_explained_is_what_is_answered() {
    check(SEED, 2, 250);
}

#[test]
#[ignore = "a minute; cargo xtask nightly runs it"]
fn what_is_explained_is_what_is_answered_for_many_maps() {
    let seed = env::var("SIGNPOST_SEED").map_or(SEED, |seed| seed.parse().unwrap());
    check(seed, 50, 500);
}

fn check(seed: u64, maps: usize, clients: usize) {
    let mut figures = Figures::default();
    for n in 0..maps {
        let mut random = Random(seed ^ (n as u64) << 32);
        let rules = Rules::random(&mut random);
        let routed = Routed::start(&rules.map());
        let [l1, l2] = &routed.site.servers;
        let (mut first, mut second) = (routed::wire(l1), routed::wire(l2));
        for _ in 0..clients {
            let client = network(&rules, &mut random);
            let (service, owner) = SERVICES[random.index(SERVICES.len())];
            let answer = first.ask(owner, RecordType::SRV, Some(client));
            same_srv(&routed, service, client, &answer, &mut figures);
            let tokens: Vec<String> = answer.srv.iter().map(|srv| srv.target.clone()).collect();
            let token = token(&tokens, &routed, &rules, &mut random);
            let client = (random.below(3) > 0).then(|| network(&rules, &mut random));
            same_addresses(&routed, &token, client, &mut second, &mut figures);
        }
    }
    println!("{maps} maps: {figures:?}");
    let Figures {
        srv,
        refused,
        own,
        good,
        bad,
        ..
    } = figures;
    assert!(
        srv > 0 && refused > 0 && own > 0 && good > 0 && bad > 0,
        "every kind was asked"
    );
}

#[derive(Debug, Default)]
struct Figures {
    /// Answers of the first level with tokens, without records, and with the zone's own.
    srv: usize,
    refused: usize,
    own: usize,
    no_data: usize,
    /// Tokens that open, and others.
    good: usize,
    bad: usize,
}

/// A client's network as resolvers tell it, or longer, or shorter.
fn network(rules: &Rules, random: &mut Random) -> Subnet {
    let address = rules.client(random);
    let (usual, full) = if address.is_ipv4() {
        (24, 32)
    } else {
        (56, 128)
    };
    let len = match random.below(4) {
        0 => full,
        1 => 1 + random.below(full.into()) as u8,
        _ => usual,
    };
    Subnet { address, len }.normalized()
}

fn explained(admin: std::net::SocketAddr, query: &str) -> Value {
    let page = admin::page(admin, &format!("/v1/explain?{query}"));
    let (head, body) = page.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{query}: {page}");
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{query}: {error}: {body}"))
}

fn same_srv(
    routed: &Routed,
    service: &str,
    client: Subnet,
    answer: &Answer,
    figures: &mut Figures,
) {
    let admin = routed.site.servers[0].admin;
    let said = explained(admin, &format!("service={service}&client={client}"));
    let rcode = match answer.rcode {
        ResponseCode::NoError => "NOERROR",
        ResponseCode::Refused => "REFUSED",
        other => panic!("{service} {client}: {other}"),
    };
    assert_eq!(said["rcode"], rcode, "{service} {client}: {said}");
    assert_eq!(
        said["scope"].as_u64(),
        answer.scope.map(u64::from),
        "{service} {client}: {said}"
    );
    let told = said["answer"].as_array().unwrap();
    assert_eq!(told.len(), answer.srv.len(), "{service} {client}: {said}");
    for (line, srv) in told.iter().zip(&answer.srv) {
        assert_eq!(line["priority"], srv.priority, "{said}");
        assert_eq!(line["weight"], srv.weight, "{said}");
        assert_eq!(line["port"], srv.port, "{said}");
        assert_eq!(line["target"], srv.target.as_str(), "{said}");
        assert_eq!(said["ttl"], srv.ttl, "{said}");
    }
    match (rcode, answer.srv.first()) {
        ("REFUSED", _) => figures.refused += 1,
        (_, None) => figures.no_data += 1,
        (_, Some(srv)) if srv.target.ends_with(TOKENS) => figures.srv += 1,
        _ => figures.own += 1,
    }
}

/// A token just given, one given without knowing the client, one of nobody's, or one that is none.
fn token(given: &[String], routed: &Routed, rules: &Rules, random: &mut Random) -> String {
    let units = rules.networks.len() as u64;
    let payload = Payload {
        service: random.below(4) as u16,
        region: 1 + random.below(units + 2) as u16,
        placement: random.number() as u32,
        assumed: random.below(2) == 0,
    };
    let label = |given: &String| given.split('.').next().unwrap_or_default().to_owned();
    match (random.below(6), given.first()) {
        (0 | 1, Some(given)) => label(given),
        (2, Some(given)) => label(given).to_uppercase(),
        (3, Some(given)) => {
            let mut mangled = label(given).into_bytes();
            let place = random.index(mangled.len());
            mangled[place] = if mangled[place] == b'a' { b'b' } else { b'a' };
            String::from_utf8(mangled).unwrap()
        }
        (4, _) => {
            let other = KeyRing::from_toml(&KeyRing::generate([8; 32])).unwrap();
            other.zone(TOKENS).seal(&payload).to_string()
        }
        _ => routed.keys.seal(&payload).to_string(),
    }
}

fn same_addresses(
    routed: &Routed,
    token: &str,
    client: Option<Subnet>,
    wire: &mut Wire,
    figures: &mut Figures,
) {
    let admin = routed.site.servers[1].admin;
    let of_client = client.map_or(String::new(), |client| format!("&client={client}"));
    let said = explained(admin, &format!("token={token}{of_client}"));
    let name = format!("{token}.{TOKENS}");
    for (rtype, field) in [(RecordType::A, "a"), (RecordType::AAAA, "aaaa")] {
        let answer = wire.ask(&name, rtype, client);
        let told = said[field].as_array().unwrap();
        let told: Vec<IpAddr> = told
            .iter()
            .map(|text| text.as_str().unwrap().parse().unwrap())
            .collect();
        assert_eq!(told, answer.addresses, "{token} {client:?}: {said}");
        let rcode = format!("{:?}", answer.rcode).to_uppercase();
        assert_eq!(said["rcode"], rcode.as_str(), "{token} {client:?}: {said}");
        let scope = answer.scope.map(u64::from);
        assert!(
            scope.is_none() || scope == said["scope"].as_u64(),
            "{token} {client:?}: {answer:?} {said}"
        );
    }
    match said["decoded"].as_str() {
        Some("ok") => figures.good += 1,
        _ => figures.bad += 1,
    }
}
