//! Prepared records and the general composer give the same octets, whatever is asked.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod common;
mod verifiers;

use std::collections::BTreeSet;
use std::sync::Arc;

use common::{Answer, Query, meta, zones};
use dns_engine::dnssec::{Algorithm, SigningLimits, ZoneKeys};
use dns_engine::{
    Client, CookieSecret, Cookies, Limits, Outcome, Question, Scratch, Snapshot, Tailor, Tailored,
    Transport, Verdict, name, respond,
};
use proptest::prelude::*;

const FIRST_LEVEL: &str = include_str!("../../../zones/stream.example.zone");
const SECOND_LEVEL: &str = include_str!("../../../zones/l2/edge.stream.example.zone");

/// Tokens for services, edges for tokens, as the two levels answer; every verdict has a name.
struct Levels;

impl Tailor for Levels {
    fn tailor(&self, question: &Question<'_>, client: &Client, answer: &mut Tailored) -> Verdict {
        let first = question.labels().next().unwrap_or_default();
        let source_len = client.subnet.map_or(0, |subnet| subnet.source_len);
        answer.set_scope(source_len);
        answer.set_ttl(30);
        match first {
            b"_rtsp" => {
                for rank in 0..3 {
                    answer.srv(
                        rank,
                        100,
                        8554,
                        b"\x1babcdefghijklmnopqrstuvwxyz0\x04edge\x07example\0",
                    );
                }
                Verdict::Answer
            }
            b"token" => {
                for host in 1..40 {
                    answer.a([192, 0, 2, host].into());
                    answer.aaaa([0x2001, 0xdb8, 0, 0, 0, 0, 0, host.into()].into());
                }
                Verdict::Answer
            }
            b"forged" => Verdict::NxDomain,
            b"empty" => Verdict::NoData,
            b"refused" => Verdict::Refused,
            b"unready" => {
                answer.set_ede(dns_engine::ede::NOT_READY, "no release yet");
                Verdict::ServFail
            }
            _ => Verdict::Zone,
        }
    }
}

/// Two snapshots that differ in nothing but how records get into an answer.
fn pair(texts: &[&str]) -> [Snapshot; 2] {
    [false, true].map(|composes_all| {
        let mut snapshot = Snapshot::new(zones(texts), Levels);
        snapshot.limits = Limits {
            udp_payload: u16::MAX,
            composes_all,
            ..Limits::default()
        };
        snapshot.identity.nsid = Some(b"l1-a".as_slice().into());
        snapshot.cookies = Some(Cookies::new(CookieSecret([3; 16])));
        snapshot
    })
}

/// The same with every zone signed. Signatures are shared, and one over other octets would be another one.
fn signed_pair(texts: &[&str]) -> [Snapshot; 2] {
    let mut snapshots = pair(texts);
    let origins = snapshots[0]
        .zones
        .iter()
        .map(|zone| name::text(zone.origin()));
    let keys: Vec<ZoneKeys> = origins
        .map(|origin| verifiers::pair(&origin, Algorithm::EcdsaP256Sha256))
        .collect();
    let limits = SigningLimits {
        signatures_per_second: u32::MAX,
        ..SigningLimits::default()
    };
    let signing = verifiers::signing(limits, keys);
    for snapshot in &mut snapshots {
        snapshot.signing = Some(Arc::clone(&signing));
    }
    snapshots
}

fn ask(snapshot: &Snapshot, wire: &[u8], scratch: &mut Scratch, out: &mut [u8]) -> Vec<u8> {
    match respond(snapshot, wire, &meta(Transport::Udp), scratch, out) {
        Outcome::Send(length) => out[..length].to_vec(),
        other => panic!("{other:?}"),
    }
}

/// Changes the case of letters as a resolver does that uses it against forgery.
fn mixed_case(query: &mut Query, pattern: u64) {
    let end = query.question.len() - 4;
    for (place, octet) in query.question[..end].iter_mut().enumerate() {
        if pattern >> (place % 64) & 1 == 1 && octet.is_ascii_alphabetic() {
            *octet ^= 0x20;
        }
    }
}

/// Names of a zone, and those around them that take other ways through the look-up.
fn names_around(zone: &dns_engine::Zone) -> BTreeSet<String> {
    let origin = name::text(zone.origin());
    let owners = zone.nodes().map(|node| name::text(node.owner()));
    let mut names: BTreeSet<String> = owners.chain([origin]).collect();
    for owner in names.clone() {
        for label in [
            "none", "token", "forged", "empty", "refused", "unready", "ns1",
        ] {
            names.insert(format!("{label}.{}", owner.trim_start_matches("*.")));
        }
        if let Some((_, parent)) = owner.split_once('.')
            && !parent.is_empty()
        {
            names.insert(parent.to_owned());
        }
    }
    names
}

const TYPES: [&str; 13] = [
    "A",
    "AAAA",
    "NS",
    "SOA",
    "SRV",
    "MX",
    "TXT",
    "CNAME",
    "DNAME",
    "DS",
    "ANY",
    "TYPE65280",
    "NSEC",
];

/// A query with options.
type Dress = fn(Query) -> Query;

const OPTIONS: [Dress; 5] = [
    |query| query,
    |query| query.subnet(&[0, 1, 24, 0, 198, 51, 100]),
    |query| query.option(3, b"").option(10, b"clientid"),
    |query| query.edns_flags(0x8000),
    |query| {
        query
            .option(19, b"")
            .subnet(&[0, 2, 32, 0, 0x20, 1, 0xd, 0xb8])
    },
];

/// Asks both for every name and type in every dress and case; what the response codes were, and which were cut.
fn every_name(
    [prepared, composed]: &[Snapshot; 2],
    types: &[&str],
    options: &[Dress],
    sizes: &[u16],
    mut look: impl FnMut(&[u8]),
) -> (u64, BTreeSet<(u16, bool)>) {
    let (mut scratch, mut out) = (Scratch::new(), vec![0; 65_535]);
    let (mut asked, mut seen) = (0_u64, BTreeSet::new());
    for zone in prepared.zones.iter() {
        for qname in names_around(zone) {
            for qtype in types {
                for option in options {
                    for &size in sizes {
                        asked += 1;
                        let mut query = Query::new(&qname, qtype);
                        if size > 0 {
                            query = option(query.edns(size));
                        }
                        mixed_case(&mut query, asked.wrapping_mul(0x9E37_79B9_7F4A_7C15));
                        let wire = query.wire();
                        let one = ask(prepared, &wire, &mut scratch, &mut out);
                        let facts = *scratch.summary();
                        let other = ask(composed, &wire, &mut scratch, &mut out);
                        assert_eq!(one, other, "{qname} {qtype} {size}");
                        assert_eq!(&facts, scratch.summary(), "{qname} {qtype} {size}");
                        let end = 12 + query.question.len();
                        assert_eq!(one[12..end], query.question, "the question keeps its case");
                        seen.insert((scratch.summary().rcode.0, scratch.summary().truncated));
                        if asked.is_multiple_of(17) {
                            look(&one);
                        }
                    }
                }
            }
        }
    }
    println!("{asked} queries");
    (asked, seen)
}

#[test]
fn every_name_of_the_samples_by_every_type_option_size_and_case() {
    let snapshots = pair(&[FIRST_LEVEL, SECOND_LEVEL, common::ZONE]);
    let sizes = [0, 512, 1232, 65_535];
    let (asked, seen) = every_name(&snapshots, &TYPES, &OPTIONS, &sizes, |octets| {
        Answer::decode(octets);
    });
    assert!(asked > 50_000, "{asked}");
    for kind in [(0, false), (0, true), (2, false), (3, false), (5, false)] {
        assert!(seen.contains(&kind), "{kind:?}");
    }
}

#[test]
fn signed_zones_too_with_do_and_without() {
    let snapshots = signed_pair(&[FIRST_LEVEL, SECOND_LEVEL, common::ZONE]);
    let types = [&TYPES[..], &["DNSKEY", "CDS", "RRSIG"]].concat();
    let options: [Dress; 5] = [
        |query| query.edns_flags(0x8000),
        |query| query.edns_flags(0xC000),
        |query| {
            query
                .edns_flags(0x8000)
                .subnet(&[0, 1, 24, 0, 198, 51, 100])
        },
        |query| {
            query
                .edns_flags(0x8000)
                .option(3, b"")
                .option(10, b"clientid")
        },
        |query| query.option(19, b""),
    ];
    let mut signed_sets = 0;
    let sizes = [512, 1232, 65_535];
    let (asked, seen) = every_name(&snapshots, &types, &options, &sizes, |octets| {
        let taken = verifiers::take_apart(octets);
        let signed = taken.sets.values().filter(|set| !set.signatures.is_empty());
        signed_sets += signed.count();
    });
    assert!(asked > 50_000, "{asked}");
    assert!(signed_sets > 2_000, "{signed_sets}");
    for kind in [(0, false), (0, true), (2, false), (3, false), (5, false)] {
        assert!(seen.contains(&kind), "{kind:?}");
    }
}

#[test]
fn names_of_the_soa_record_that_the_question_shares() {
    let check = |origin: &str, primary: &str, mailbox: &str, questions: &[&str]| {
        let glue = if primary.ends_with(origin) {
            format!("{primary} 60 A 192.0.2.1\n")
        } else {
            String::new()
        };
        let text = format!(
            "{origin} 60 SOA {primary} {mailbox} 1 2 3 4 5\n{origin} 60 NS {primary}\n{glue}"
        );
        let [prepared, composed] = pair(&[&text]);
        let (mut scratch, mut out) = (Scratch::new(), vec![0; 65_535]);
        for qname in questions {
            let wire = Query::new(qname, "TXT").wire();
            let one = ask(&prepared, &wire, &mut scratch, &mut out);
            assert_eq!(
                one,
                ask(&composed, &wire, &mut scratch, &mut out),
                "{qname}"
            );
            assert_eq!(Answer::decode(&one).authority.len(), 1);
        }
    };
    let questions = [
        "x.a.b.",
        "ns.a.b.",
        "x.ns.a.b.",
        "NS.a.b.",
        "xns.a.b.",
        "host.ns.a.b.",
        "deep.ns.a.b.",
        "a.b.",
    ];
    check("a.b.", "ns.a.b.", "host.a.b.", &questions);
    check("a.b.", "ns.a.b.", "host.ns.a.b.", &questions);
    check("a.b.", "deep.ns.a.b.", "host.ns.a.b.", &questions);
    check("a.b.", "ns.b.", "host.ns.b.", &questions);
    check("a.b.", "b.", "a.b.", &questions);
    check("a.b.", "ns.c.", "host.ns.c.", &questions);
    check("a.b.", ".", ".", &questions);
    check(
        ".",
        "ns.c.",
        "host.ns.c.",
        &["x.", "c.", "ns.c.", "x.c.", "."],
    );
    // More labels than the composer remembers.
    let many = |count: usize| "q.".repeat(count) + "a.b.";
    let long = [60, 70, 80, 90, 95, 100, 120].map(many);
    check(
        "a.b.",
        "ns.a.b.",
        "host.ns.a.b.",
        &long.each_ref().map(String::as_str),
    );
}

fn names() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(vec!["a", "b", "C", "ns"]), 0..5)
        .prop_map(|labels| labels.iter().map(|label| format!("{label}.")).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_zone_and_question(
        origin in names(),
        primary in names(),
        mailbox in names(),
        alias in names(),
        front in names(),
        from_alias in any::<bool>(),
    ) {
        let dot = |name: &str| if name.is_empty() { ".".to_owned() } else { name.to_owned() };
        let origin = dot(&origin);
        // An alias in front makes the record one that is not the first.
        let text = format!(
            "$ORIGIN {origin}\n@ 60 SOA {} {} 1 2 3 4 5\n@ 60 NS n.elsewhere.\nalias 60 CNAME {}\n",
            dot(&primary), dot(&mailbox), dot(&alias),
        );
        let Ok(zone) = dns_engine::zonefile::parse("t.zone", &text, None) else { return Ok(()) };
        drop(zone);
        let [prepared, composed] = pair(&[&text]);
        let (mut scratch, mut out) = (Scratch::new(), vec![0; 65_535]);
        let below = if from_alias { "alias.".to_owned() } else { front };
        let qname = format!("{below}{}", origin.trim_start_matches('.'));
        let wire = Query::new(&dot(&qname), "TXT").wire();
        let one = ask(&prepared, &wire, &mut scratch, &mut out);
        prop_assert_eq!(&one, &ask(&composed, &wire, &mut scratch, &mut out));
        Answer::decode(&one);
    }
}
