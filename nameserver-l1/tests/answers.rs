//! What clients are answered over the wire: names, types, policies, and that answer, `explain` and map
//! agree for ten thousand of them.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hickory_proto::op::ResponseCode;
use nameserver_l1::{client_label, commands::Offline};
use support::{Asker, OWNER, Random, Record, SRV, Site, TOKENS, TXT, ask, eventually, random_map};
use traffic_map::{Map, Subnet, UnitId, services};

const A: u16 = 1;
const NS: u16 = 2;
const ANY: u16 = 255;

/// The records that a service has to give for a unit, from the map and the keys alone.
fn expected(map: &Map, site: &Site, service: &str, unit: UnitId) -> Option<Vec<Record>> {
    records(map, site, service, unit, false)
}

/// The records of a unit; `assumed` when nobody told the client's network.
fn records(
    map: &Map,
    site: &Site,
    service: &str,
    unit: UnitId,
    assumed: bool,
) -> Option<Vec<Record>> {
    let services = services::parse("services.toml", support::SERVICES).unwrap();
    let service = services.by_name(service).unwrap();
    let placement = map.placement(unit, service.class)?;
    let record = |ranked: traffic_map::Ranked| Record {
        ttl: service.ttl.max,
        priority: ranked.priority,
        weight: ranked.weight,
        port: service.srv.port,
        target: {
            let token = site.keys().seal(&route_token::Payload {
                service: service.id,
                region: ranked.region,
                placement: placement.id,
                assumed,
            });
            format!("{token}.{TOKENS}")
        },
    };
    Some(
        placement
            .ranked()
            .take(usize::from(service.srv.answers))
            .map(record)
            .collect(),
    )
}

fn zones_own() -> Vec<Record> {
    let target = "origin.stream.test.".to_owned();
    vec![Record {
        ttl: 30,
        priority: 7,
        weight: 9,
        port: 554,
        target,
    }]
}

/// Addresses near the borders of ranges as well as anywhere.
fn random_client(random: &mut Random, map: &Map) -> Subnet {
    let borders: Vec<_> = match random.below(2) {
        0 => Vec::new(),
        _ => map
            .ranges()
            .skip(random.below(1500) as usize)
            .take(1)
            .collect(),
    };
    let near = borders.first().map(|span| {
        if random.below(2) == 0 {
            span.first
        } else {
            span.last
        }
    });
    let address = match (near, random.below(2)) {
        (Some(address), _) => address,
        (None, 0) => IpAddr::V4(Ipv4Addr::from_bits(random.next() as u32)),
        (None, _) => IpAddr::V6(Ipv6Addr::from_bits(
            (0x2000 << 48 | u128::from(random.next() >> 3)) << 64 | u128::from(random.next()),
        )),
    };
    let usual = match address {
        IpAddr::V4(_) => [24, 32, 20, 12],
        IpAddr::V6(_) => [56, 64, 48, 128],
    };
    let mut subnet = Subnet {
        address,
        len: usual[random.below(4) as usize],
    };
    if let (IpAddr::V4(address), 0) = (address, random.below(20)) {
        subnet = Subnet {
            address: IpAddr::V6(address.to_ipv6_mapped()),
            len: 96 + subnet.len,
        };
    }
    subnet.normalized()
}

#[tokio::test(flavor = "multi_thread")]
async fn answer_and_explanation_and_map_agree_for_ten_thousand_clients() {
    let site = Site::new();
    let map = random_map(11, 700, 40);
    site.publish(&map);
    let server = site.start().await;
    let offline = Offline::open(&site.config_file()).unwrap();
    let mut asker = Asker::new(server.address);
    let mut random = Random(5);
    let mut blocks = Vec::new();
    let (mut routed, mut unrouted) = (0, 0);
    for _ in 0..10_000 {
        let client = random_client(&mut random, &map);
        let found = map.find(client);
        let by_map = found
            .unit
            .and_then(|unit| expected(&map, &site, "live", unit));
        let explained = offline.explain("live", client).unwrap();
        let told: Vec<Record> = explained
            .answer
            .iter()
            .map(|srv| Record {
                ttl: explained.ttl,
                priority: srv.priority,
                weight: srv.weight,
                port: srv.port,
                target: srv.target.clone(),
            })
            .collect();
        let answer = asker.ask(&ask(OWNER, SRV).by(client));
        assert_eq!(answer.records, told, "{client}");
        assert_eq!(
            answer.records,
            by_map.clone().unwrap_or_else(zones_own),
            "{client}"
        );
        assert_eq!(answer.scope, Some(explained.scope), "{client}");
        assert!(answer.scope >= Some(found.scope), "{client}");

        let label = client_label::write(client);
        let named = format!("_rtsp._tcp.{label}.live.stream.test.");
        let by_name = asker.ask(&ask(&named, SRV).by("192.0.2.0/24".parse().unwrap()));
        assert_eq!(by_name.records, answer.records, "{named}");
        assert_eq!(by_name.scope, Some(0), "the name says it all");

        *(if by_map.is_some() {
            &mut routed
        } else {
            &mut unrouted
        }) += 1;
        if answer.scope.is_some_and(|scope| scope <= client.len) {
            blocks.push((block(client, answer.scope.unwrap()), answer.records));
        }
    }
    assert!(
        routed > 3_000 && unrouted > 1_500 && blocks.len() > 6_000,
        "{routed} {unrouted}"
    );
    no_overlap(blocks);
    server.stop().await;
}

/// Addresses that a cache keeps one answer for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Block {
    family: u8,
    first: u128,
    last: u128,
}

fn block(client: Subnet, scope: u8) -> Block {
    let (family, bits, width) = match client.address {
        IpAddr::V4(address) => (4, u128::from(address.to_bits()), 32),
        IpAddr::V6(address) => (6, address.to_bits(), 128),
    };
    let free = u32::from(width - scope);
    let rest = 1u128.checked_shl(free).map_or(u128::MAX, |block| block - 1);
    Block {
        family,
        first: bits & !rest,
        last: bits | rest,
    }
}

/// RFC 7871 §7.2.1: what caches keep for different answers must not overlap.
fn no_overlap(mut kept: Vec<(Block, Vec<Record>)>) {
    kept.sort_by_key(|(block, _)| *block);
    let mut furthest: Option<&(Block, Vec<Record>)> = None;
    for entry in &kept {
        let (block, answer) = entry;
        if let Some((widest, other)) = furthest
            && widest.family == block.family
            && block.first <= widest.last
        {
            assert_eq!(answer, other, "{widest:x?} and {block:x?} overlap");
        }
        let reach = |block: &Block| (block.family, block.last);
        if furthest.is_none_or(|(widest, _)| reach(widest) <= reach(block)) {
            furthest = Some(entry);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_without_a_subnet_are_known_by_their_source() {
    let site = Site::new();
    let map = random_map(12, 50, 20);
    site.publish(&map);
    let server = site.start().await;
    let mut random = Random(6);
    let mut answers = std::collections::BTreeSet::new();
    for _ in 0..300 {
        let source = Ipv4Addr::from_bits(0x7f00_0001 | random.next() as u32 & 0x00ff_fffe);
        let unit = map.find(Subnet::host(source.into())).unit;
        let by_map = unit.and_then(|unit| records(&map, &site, "live", unit, true));
        let by_map = by_map.unwrap_or_else(zones_own);
        let mut asker = Asker::from(source.into(), server.address);
        let plain = asker.ask(&ask(OWNER, SRV));
        assert_eq!((&plain.records, plain.scope), (&by_map, None), "{source}");
        // A subnet of length 0 hides the client, not the resolver; and the answer is for everyone.
        let hidden = asker.ask(&ask(OWNER, SRV).by("0.0.0.0/0".parse().unwrap()));
        assert_eq!(
            (&hidden.records, hidden.scope),
            (&by_map, Some(0)),
            "{source}"
        );
        answers.insert(by_map[0].target.clone());
    }
    assert!(answers.len() > 5, "the sources differ: {}", answers.len());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_subnet_gets_the_majority_and_the_length_that_would_tell() {
    let site = Site::new();
    let map = random_map(13, 700, 40);
    site.publish(&map);
    let server = site.start().await;
    let mut asker = Asker::new(server.address);
    for first in 1..=223u8 {
        let client: Subnet = format!("{first}.0.0.0/8").parse().unwrap();
        let found = map.find(client);
        let by_map = found
            .unit
            .and_then(|unit| expected(&map, &site, "live", unit));
        let answer = asker.ask(&ask(OWNER, SRV).by(client));
        assert_eq!(answer.records, by_map.unwrap_or_else(zones_own), "{client}");
        assert_eq!(answer.scope, Some(found.scope), "{client}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unmapped_clients_get_the_policy_of_their_service_with_a_scope() {
    let site = Site::new();
    let map = random_map(14, 100, 20);
    site.publish(&map);
    let server = site.start().await;
    let mut asker = Asker::new(server.address);
    let spans: Vec<_> = map.ranges().filter(|span| span.unit.is_none()).collect();
    assert!(spans.len() > 20);
    for span in spans {
        let len = if span.first.is_ipv4() { 24 } else { 56 };
        let client = Subnet {
            address: span.first,
            len,
        };
        let scope = asker.ask(&ask(OWNER, SRV).by(client)).scope;
        assert!(scope >= Some(map.find(client).scope), "{client}");
        let vod = asker.ask(&ask("_rtsp._tcp.vod.stream.test.", SRV).by(client));
        assert_eq!(
            (vod.rcode, vod.records.len()),
            (ResponseCode::NoError, 0),
            "{client}"
        );
        assert_eq!((vod.negative, vod.scope), (vec![60], scope), "{client}");
        let none = asker.ask(&ask("_rtsp._tcp.none.stream.test.", SRV).by(client));
        assert_eq!(
            (none.rcode, none.records.len()),
            (ResponseCode::Refused, 0),
            "{client}"
        );
        let named = format!(
            "_rtsp._tcp.{}.live.stream.test.",
            client_label::write(client)
        );
        assert_eq!(
            asker.ask(&ask(&named, SRV)).records,
            zones_own(),
            "the default, by another name"
        );
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_around_a_service_are_answered_as_resolvers_expect() {
    let site = Site::new();
    site.publish(&random_map(15, 20, 5));
    let server = site.start().await;
    let mut asker = Asker::new(server.address);
    let mut check = |name: &str, rtype: u16, rcode: ResponseCode, negative: bool| {
        let answer = asker.ask(&ask(name, rtype));
        assert_eq!(
            (answer.rcode, !answer.negative.is_empty()),
            (rcode, negative),
            "{name} {rtype}"
        );
    };
    use ResponseCode::{NXDomain, NoError, Refused};
    // The service itself: other types are the zone's.
    check("_rtsp._tcp.live.stream.test.", TXT, NoError, false);
    check("_rtsp._tcp.live.stream.test.", A, NoError, true);
    check("_rtsp._tcp.live.stream.test.", ANY, NoError, false);
    check("_RtSp._tCp.LiVe.sTrEaM.test.", SRV, NoError, false);
    check("_tcp.live.stream.test.", A, NoError, true);
    check("live.stream.test.", A, NoError, true);
    // Names for a client: they and what is above them exist (RFC 9156), mangled ones do not.
    let id = "ip4-198-51-100-0-24.live.stream.test.";
    check(&format!("_rtsp._tcp.{id}"), A, NoError, true);
    check(&format!("_rtsp._tcp.{id}"), TXT, NoError, true);
    check(&format!("_rtsp._tcp.{id}"), ANY, NoError, false);
    check(&format!("_tcp.{id}"), SRV, NoError, true);
    check(&format!("_tcp.{id}"), NS, NoError, true);
    check(&format!("_tcp.{id}"), ANY, NoError, true);
    check("_tcp.live.stream.test.", ANY, NoError, true);
    check(id, NS, NoError, true);
    check(&id.to_uppercase(), A, NoError, true);
    check(&format!("_udp.{id}"), A, NXDomain, true);
    check(&format!("x.{id}"), A, NXDomain, true);
    for mangled in [
        "ip4-198-51-100-1-24",
        "ip4-198-51-100-0-33",
        "ip4-198-51-300-0-24",
        "ip6-1-56",
    ] {
        check(
            &format!("_rtsp._tcp.{mangled}.live.stream.test."),
            SRV,
            NXDomain,
            true,
        );
        check(&format!("{mangled}.live.stream.test."), A, NXDomain, true);
    }
    check("_rtsp._tcp.other.stream.test.", SRV, NXDomain, true);
    check("stream.other.", SRV, Refused, false);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_release_services_answer_with_the_zones_own_records() {
    let site = Site::new();
    let server = site.start().await;
    let client: Subnet = "198.51.100.0/24".parse().unwrap();
    let mut asker = Asker::new(server.address);
    let answer = asker.ask(&ask(OWNER, SRV).by(client));
    assert_eq!((answer.records, answer.scope), (zones_own(), Some(0)));
    let named = "_rtsp._tcp.ip4-198-51-100-0-24.live.stream.test.";
    assert_eq!(asker.ask(&ask(named, SRV)).records, zones_own());
    site.publish(&random_map(16, 20, 5));
    eventually(server.address, &ask(OWNER, SRV).by(client), |answer| {
        answer.scope != Some(0)
    });
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zone_that_was_never_good_is_servfail_and_others_are_refused() {
    let site = Site::new();
    site.write("zones/stream.test.zone", "@ IN SOA broken\n");
    let server = site.start().await;
    let mut asker = Asker::new(server.address);
    for name in [
        OWNER,
        "stream.test.",
        "_rtsp._tcp.ip4-198-51-100-0-24.live.stream.test.",
    ] {
        assert_eq!(
            asker.ask(&ask(name, SRV)).rcode,
            ResponseCode::ServFail,
            "{name}"
        );
    }
    assert_eq!(
        asker.ask(&ask("other.test.", SRV)).rcode,
        ResponseCode::Refused
    );
    site.write("zones/stream.test.zone", support::ZONE);
    eventually(server.address, &ask(OWNER, SRV), |answer| {
        answer.records == zones_own()
    });
    server.stop().await;
}
