//! What a flood with a forged source gets out of the server: amplification, and the rate limit against it.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod common;

use std::net::SocketAddr;

use common::{Answer, Query, example, meta, zones};
use dns_engine::{
    AnswerClass, Client, CookieSecret, CookieState, Cookies, DropReason, Meta, Outcome, Question,
    RateLimit, RateState, Scratch, Snapshot, Tailor, Tailored, Transport, Verdict, name, respond,
};

const FIRST_LEVEL: &str = include_str!("../../../zones/stream.example.zone");
const SECOND_LEVEL: &str = include_str!("../../../zones/l2/edge.stream.example.zone");

fn samples() -> Snapshot {
    Snapshot::of_zones(zones(&[FIRST_LEVEL, SECOND_LEVEL]))
}

fn limited(limit: RateLimit) -> Snapshot {
    let mut snapshot = example();
    snapshot.rate = Some(limit);
    snapshot
}

fn from(source: &str, now_ms: u64) -> Meta {
    let source: SocketAddr = source.parse().unwrap();
    Meta {
        source,
        now_ms,
        ..meta(Transport::Udp)
    }
}

/// The query with the largest answer in proportion, over every name and type, by name, by EDNS.
fn worst(snapshot: &Snapshot) -> (f64, Query, String) {
    let (mut scratch, mut out) = (Scratch::new(), vec![0; 1232]);
    let mut worst = (0.0, Query::new(".", "A"), String::new());
    for zone in snapshot.zones.iter() {
        let owners = zone.nodes().map(|node| name::text(node.owner()));
        for qname in owners.chain([format!("x.{}", name::text(zone.origin()))]) {
            for number in (1..=260).chain([65_280]) {
                let qtype = format!("TYPE{number}");
                let plain = Query::new(&qname, &qtype);
                for query in [
                    plain.clone(),
                    plain.clone().edns(1232),
                    plain.edns(4096).option(3, b""),
                ] {
                    let wire = query.wire();
                    let meta = from("192.0.2.99:40000", 0);
                    let Outcome::Send(length) =
                        respond(snapshot, &wire, &meta, &mut scratch, &mut out)
                    else {
                        panic!("{qname} {qtype}")
                    };
                    let ratio = length as f64 / wire.len() as f64;
                    if ratio > worst.0 {
                        let text = format!("{qname} {qtype}: {} to {length} octets", wire.len());
                        worst = (ratio, query, text);
                    }
                }
            }
        }
    }
    worst
}

#[test]
fn no_answer_of_the_sample_zones_is_four_times_its_query() {
    let (ratio, _, what) = worst(&samples());
    println!("worst: {ratio:.2} ({what})");
    assert!(ratio < 4.0, "{ratio} {what}");
}

/// Octets and packets that come back of a flood of one query, 4,000 a second for a minute.
fn flood(mut snapshot: Snapshot, query: &Query) -> (f64, f64) {
    snapshot.rate = Some(RateLimit::default());
    let (mut scratch, mut out) = (Scratch::new(), vec![0; 1232]);
    let wire = query.wire();
    let (mut packets, mut octets) = (0_u64, 0);
    let queries = 240_000_u64;
    for number in 0..queries {
        let meta = from("192.0.2.99:40000", number / 4);
        if let Outcome::Send(length) = respond(&snapshot, &wire, &meta, &mut scratch, &mut out) {
            packets += 1;
            octets += length as u64;
        }
    }
    let sent = queries * wire.len() as u64;
    (octets as f64 / sent as f64, packets as f64 / queries as f64)
}

#[test]
fn a_flood_from_one_source_gets_less_back_than_it_sends() {
    let (_, query, what) = worst(&samples());
    let (octets, packets) = flood(samples(), &query);
    println!("flood of {what}: {octets:.3} of the octets, {packets:.3} of the packets");
    assert!(octets <= 0.65 && packets <= 0.55, "{octets} {packets}");
}

/// The first level's answer: one token for each of three regions.
struct Tokens;

impl Tailor for Tokens {
    fn tailor(&self, _: &Question<'_>, _: &Client, answer: &mut Tailored) -> Verdict {
        let target = b"\x1babcdefghijklmnopqrstuvwxyz0\x04edge\x06stream\x07example\0";
        for rank in 0..3 {
            answer.srv(rank, 1, 8554, target);
        }
        Verdict::Answer
    }
}

#[test]
fn a_flood_for_tokens_gets_less_back_than_it_sends() {
    let snapshot = Snapshot::new(zones(&[FIRST_LEVEL]), Tokens);
    let plain = Query::new("_rtsp._tcp.live.stream.example", "SRV");
    let edns = plain.clone().edns(1232);
    for query in [plain, edns.clone(), edns.subnet(&[0, 1, 24, 0, 9, 9, 9])] {
        let whole = query.ask(&snapshot).octets.len() as f64 / query.wire().len() as f64;
        let snapshot = Snapshot::new(zones(&[FIRST_LEVEL]), Tokens);
        let (octets, packets) = flood(snapshot, &query);
        println!("tokens: one answer {whole:.2}, a flood {octets:.3} of the octets");
        assert!(octets <= 0.65 && packets <= 0.55, "{octets} {packets}");
    }
}

#[test]
fn over_the_limit_come_tc_and_silence_by_turns() {
    let snapshot = limited(RateLimit {
        per_second: 1,
        burst: 10,
        ..RateLimit::default()
    });
    let (mut scratch, mut out) = (Scratch::new(), vec![0; 1232]);
    let query = Query::new("MAIL.example", "A")
        .edns_flags(0x8000)
        .subnet(&[0, 1, 24, 0, 9, 9, 9]);
    let mut seen = [0; 3];
    for _ in 0..110 {
        let meta = from("192.0.2.99:40000", 1);
        let outcome = respond(&snapshot, &query.wire(), &meta, &mut scratch, &mut out);
        let summary = *scratch.summary();
        match (outcome, summary.rate) {
            (Outcome::Send(length), RateState::Passed) => {
                assert_eq!(Answer::decode(&out[..length]).answers.len(), 1);
                seen[0] += 1;
            }
            (Outcome::Send(length), RateState::Slipped) => {
                let answer = Answer::decode(&out[..length]);
                assert_eq!((answer.rcode, answer.flags.as_str()), (0, "qr tc rd"));
                assert_eq!(answer.octets.len(), query.wire().len());
                assert_eq!(answer.opt.as_ref().unwrap().1, 0x8000);
                assert_eq!(answer.octets[12..30], query.question[..18]);
                assert_eq!(
                    (summary.class, summary.truncated),
                    (AnswerClass::Error, true)
                );
                seen[1] += 1;
            }
            (Outcome::Drop(DropReason::RateLimited), RateState::Dropped) => {
                assert_eq!(summary.class, AnswerClass::Silence);
                seen[2] += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(seen, [10, 50, 50]);
}

#[test]
fn streams_and_good_cookies_are_not_limited_and_bad_cookies_are() {
    let mut snapshot = limited(RateLimit {
        per_second: 1,
        burst: 1,
        slip: 0,
        ..RateLimit::default()
    });
    snapshot.cookies = Some(Cookies::new(CookieSecret([1; 16])));
    let (mut scratch, mut out) = (Scratch::new(), vec![0; 1232]);
    let mut ask = |query: &Query, meta: &Meta| match respond(
        &snapshot,
        &query.wire(),
        meta,
        &mut scratch,
        &mut out,
    ) {
        Outcome::Send(length) => {
            let answer = Answer::decode(&out[..length]);
            Some(answer.option(10).unwrap_or_default().to_vec())
        }
        _ => {
            assert_eq!(scratch.summary().rate, RateState::Dropped);
            None
        }
    };
    let udp = from("192.0.2.99:40000", 1);
    let given = ask(
        &Query::new("mail.example", "A").option(10, b"clientid"),
        &udp,
    )
    .unwrap();
    let mut bad = given.clone();
    bad[23] ^= 1;
    for _ in 0..20 {
        assert!(ask(&Query::new("mail.example", "A").option(10, &given), &udp).is_some());
        assert!(ask(&Query::new("mail.example", "A").option(10, &bad), &udp).is_none());
        assert!(
            ask(
                &Query::new("mail.example", "A").option(10, b"clientid"),
                &udp
            )
            .is_none()
        );
        assert!(ask(&Query::new("mail.example", "A"), &udp).is_none());
        for transport in [
            Transport::Tcp,
            Transport::Tls,
            Transport::Https,
            Transport::Quic,
        ] {
            let stream = Meta { transport, ..udp };
            assert!(ask(&Query::new("mail.example", "A"), &stream).is_some());
        }
    }
    // The mapped form of an address is the same source.
    let mapped = from("[::ffff:192.0.2.99]:40001", 1);
    assert!(ask(&Query::new("mail.example", "A"), &mapped).is_none());
    let other = from("[2001:db8::1]:40001", 1);
    assert!(ask(&Query::new("mail.example", "A"), &other).is_some());
}

#[test]
fn malformed_queries_count_as_well() {
    let snapshot = limited(RateLimit {
        per_second: 1,
        burst: 5,
        slip: 2,
        ..RateLimit::default()
    });
    let (mut scratch, mut out) = (Scratch::new(), vec![0; 1232]);
    let mut wire = Query::new("mail.example", "A").wire();
    wire.push(0);
    let mut sent = 0;
    for _ in 0..25 {
        let meta = from("192.0.2.99:40000", 1);
        if let Outcome::Send(length) = respond(&snapshot, &wire, &meta, &mut scratch, &mut out) {
            let answer = Answer::decode(&out[..length]);
            assert_eq!((answer.rcode, answer.flags.as_str()), (1, "qr rd"));
            sent += 1;
        }
    }
    assert_eq!(sent, 15);
}

#[test]
fn the_summary_tells_what_counters_want() {
    let mut snapshot = example();
    snapshot.cookies = Some(Cookies::new(CookieSecret([1; 16])));
    let (mut scratch, mut out) = (Scratch::new(), vec![0; 1232]);
    let mut check = |query: &Query, class: AnswerClass, zone: Option<&[u8]>| {
        let meta = from("192.0.2.99:40000", 1);
        respond(&snapshot, &query.wire(), &meta, &mut scratch, &mut out);
        let summary = *scratch.summary();
        assert_eq!((summary.class, scratch.zone()), (class, zone), "{query:?}");
        summary
    };
    let example: Option<&[u8]> = Some(b"\x07example\0");
    let query = |qname| Query::new(qname, "A");
    check(&query("MAIL.Example"), AnswerClass::Data, example);
    check(&query("www.example"), AnswerClass::Data, example);
    check(&query("odd.example"), AnswerClass::NoData, example);
    check(&query("none.example"), AnswerClass::NameError, example);
    check(&query("x.sub.example"), AnswerClass::Referral, example);
    let refused = check(&query("other.test"), AnswerClass::Error, None);
    assert_eq!(refused.extended_error, Some(20));
    check(&query("mail.example").class(3), AnswerClass::Error, None);
    let signed = check(
        &query("mail.example").edns_flags(0x8000),
        AnswerClass::Data,
        example,
    );
    assert!(signed.dnssec_ok && !signed.subnet && signed.cookie == CookieState::None);
    let all = query("mail.example")
        .subnet(&[0, 0, 0, 0])
        .option(10, b"clientid");
    let seen = check(&all, AnswerClass::Data, example);
    assert!(seen.subnet && !seen.dnssec_ok && seen.cookie == CookieState::ClientOnly);
}
