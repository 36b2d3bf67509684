//! Zone transfers from end to end: what one side sends, the other takes.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;

use common::{Answer, Query, ZONE, ask_wire, meta, zones};
use dns_engine::transfer::{
    Advance, Bounds, Journal, Limits, Progress, Receiving, Rule, TransferError, ZonePolicy,
};
use dns_engine::tsig::{Algorithm, Key, Unproven};
use dns_engine::{Meta, Outcome, Scratch, Snapshot, Transport, Zone, name, respond, zonefile};
use proptest::prelude::*;

const NOW: u64 = 1_800_000_000;

fn key(name: &str, algorithm: Algorithm) -> Arc<Key> {
    let name = name::parse(name, None).unwrap();
    Arc::new(Key::new(&name, algorithm, b"a secret of some length").unwrap())
}

/// A server of one zone with a history, open to the test's address.
fn serving(zone: Arc<Zone>, journal: Journal, keys: &[&Arc<Key>]) -> Snapshot {
    let origin = zone.origin().to_vec();
    let mut all = dns_engine::Zones::new();
    assert!(all.insert(zone).is_ok());
    let mut snapshot = Snapshot::of_zones(all);
    let mut rules = vec![Rule::new(vec!["192.0.2.0/24".parse().unwrap()], None).unwrap()];
    if let [key, ..] = keys {
        rules = vec![Rule::new(Vec::new(), Some(key.name())).unwrap()];
    }
    let policy = ZonePolicy {
        provide: rules,
        journal,
        ..ZonePolicy::default()
    };
    snapshot.transfers.set(&origin, policy);
    for key in keys {
        assert!(snapshot.tsig.insert(Arc::clone(key)).is_ok());
    }
    snapshot
}

fn parse(text: &str) -> Arc<Zone> {
    Arc::new(zonefile::parse("t", text, None).unwrap())
}

/// Every message of the answer to a request over TCP.
fn messages(snapshot: &Snapshot, request: &[u8]) -> Vec<Vec<u8>> {
    let (mut scratch, mut out) = (Scratch::new(), vec![0xEE; 65_535]);
    let outcome = respond(
        snapshot,
        request,
        &meta(Transport::Tcp),
        &mut scratch,
        &mut out,
    );
    match outcome {
        Outcome::Send(length) => vec![out[..length].to_vec()],
        Outcome::Transfer(mut sending) => {
            let mut all = Vec::new();
            while let Some(length) = sending.next(&mut out) {
                all.push(out[..length].to_vec());
            }
            assert!(sending.is_done());
            all
        }
        other => panic!("{other:?}"),
    }
}

/// Runs a transfer to its end.
fn receive(
    snapshot: &Snapshot,
    mut receiving: Receiving,
    key: Option<&Arc<Key>>,
) -> Result<Progress, TransferError> {
    let request = receiving.request(key, NOW);
    for message in messages(snapshot, &request) {
        match receiving.take(&message, NOW)? {
            Progress::More => {}
            end => return Ok(end),
        }
    }
    panic!("the transfer ended without an end");
}

/// All records as texts that do not depend on any order.
fn records(zone: &Zone) -> BTreeSet<String> {
    let nodes = zone.nodes();
    let lines = nodes.flat_map(|node| {
        let owner = name::text(&name::lowered(node.owner()));
        node.rrsets().iter().flat_map(move |set| {
            let owner = owner.clone();
            let line = move |data| format!("{owner} {} {} {data:?}", set.ttl, set.rtype);
            set.rdatas().map(line).collect::<Vec<_>>()
        })
    });
    lines.collect()
}

fn complete(progress: Result<Progress, TransferError>) -> dns_engine::transfer::Complete {
    match progress.unwrap() {
        Progress::Complete(complete) => *complete,
        other => panic!("{other:?}"),
    }
}

fn version(serial: u32, records: &str) -> Arc<Zone> {
    parse(&format!(
        "$ORIGIN example.\n$TTL 60\n@ SOA ns m {serial} 7200 3600 86400 60\n@ NS ns\nns A 192.0.2.1\n{records}"
    ))
}

/// The history of these versions.
fn journal(versions: &[Arc<Zone>]) -> Journal {
    let mut journal = Journal::default();
    for pair in versions.windows(2) {
        match journal.advance(&pair[0], &pair[1], Bounds::default()) {
            Advance::Recorded(next) => journal = next,
            other => panic!("{other:?}"),
        }
    }
    journal
}

#[test]
fn a_zone_arrives_as_it_was_sent() {
    let zone = parse(ZONE);
    let snapshot = serving(Arc::clone(&zone), Journal::default(), &[]);
    let receiving = Receiving::whole(zone.origin(), None, 7, Limits::default());
    let complete = complete(receive(&snapshot, receiving, None));
    assert_eq!(records(&complete.zone), records(&zone));
    assert!(!complete.incremental && complete.outside == 0);
    // Owners keep their case on the way (RFC 5936 §3.4).
    let owners = |zone: &Zone| -> BTreeSet<Vec<u8>> {
        zone.nodes().map(|node| node.owner().to_vec()).collect()
    };
    assert_eq!(owners(&complete.zone), owners(&zone));
}

#[test]
fn a_large_zone_takes_many_messages_of_compressed_names() {
    let mut text = String::new();
    for host in 0..20_000 {
        text += &format!("host-{host} A 192.0.2.1\nhost-{host} AAAA 2001:db8::{host:x}\n");
    }
    let zone = version(1, &text);
    let snapshot = serving(Arc::clone(&zone), Journal::default(), &[]);
    let request = Query::new("example", "AXFR").edns(1232).wire();
    let sent = messages(&snapshot, &request);
    let octets: usize = sent.iter().map(Vec::len).sum();
    assert!(sent.len() > 50, "{}", sent.len());
    // Two records a name: about 14 + 4 + label and 26 octets.
    assert!(octets < 20_000 * 75, "{octets}");
    let first = Answer::decode(&sent[0]);
    let last = Answer::decode(sent.last().unwrap());
    assert_eq!(first.answers[0], *last.answers.last().unwrap());
    assert!(first.opt.is_some() && last.opt.is_none());
    assert_eq!(
        (sent[0][5], sent[1][5]),
        (1, 0),
        "the question is in the first message alone"
    );
    assert!(sent.iter().all(|message| message.len() <= 17_000));
    let receiving = Receiving::whole(zone.origin(), None, 7, Limits::default());
    let complete = complete(receive(&snapshot, receiving, None));
    assert_eq!(records(&complete.zone), records(&zone));
    assert_eq!(complete.records, 40_004);
}

#[test]
fn delegations_go_out_with_glue_and_what_they_hide() {
    let snapshot = serving(
        version(1, "sub NS ns.sub\nns.sub A 192.0.2.9\nalias CNAME ns\n"),
        Journal::default(),
        &[],
    );
    let sent = messages(&snapshot, &Query::new("Example", "AXFR").wire());
    let all: Vec<String> = sent
        .iter()
        .flat_map(|m| Answer::decode(m).answers)
        .collect();
    assert_eq!(
        all,
        [
            "example. 60 SOA ns.example. m.example. 1 7200 3600 86400 60",
            "example. 60 NS ns.example.",
            "alias.example. 60 CNAME ns.example.",
            "ns.example. 60 A 192.0.2.1",
            "sub.example. 60 NS ns.sub.example.",
            "ns.sub.example. 60 A 192.0.2.9",
            "example. 60 SOA ns.example. m.example. 1 7200 3600 86400 60",
        ]
    );
    assert_eq!(Answer::decode(&sent[0]).flags, "qr aa rd");
}

#[test]
fn nobody_gets_a_zone_unless_a_rule_says_so() {
    let check = |snapshot: &Snapshot, qname: &str, transport, rcode: u16| {
        for qtype in ["AXFR", "IXFR"] {
            let answer = Query::new(qname, qtype).ask_over(snapshot, transport);
            assert_eq!(answer.rcode, rcode, "{qname} {qtype} {transport:?}");
            assert!(answer.answers.is_empty());
        }
    };
    let closed = Snapshot::of_zones(zones(&[ZONE]));
    let mut elsewhere = Snapshot::of_zones(zones(&[ZONE]));
    let rule = Rule::new(vec!["198.51.100.0/24".parse().unwrap()], None).unwrap();
    let policy = ZonePolicy {
        provide: vec![rule],
        ..ZonePolicy::default()
    };
    elsewhere.transfers.set(b"\x07example\0", policy);
    for transport in [
        Transport::Udp,
        Transport::Tcp,
        Transport::Tls,
        Transport::Quic,
    ] {
        check(&closed, "example", transport, 5);
        check(&elsewhere, "example", transport, 5);
        check(&elsewhere, "other", transport, 9);
        check(&elsewhere, "www.example", transport, 9);
    }
}

#[test]
fn a_zone_that_is_withheld_fails_and_does_not_look_like_nobodys() {
    let mut all = zones(&[ZONE]);
    all.withhold(b"\x03sub\x07example\0");
    let snapshot = Snapshot::of_zones(all);
    for (qname, qtype) in [
        ("sub.example", "SOA"),
        ("x.sub.example", "A"),
        ("sub.example", "AXFR"),
    ] {
        let answer = Query::new(qname, qtype)
            .edns(1232)
            .ask_over(&snapshot, Transport::Tcp);
        assert_eq!(answer.rcode, 2, "{qname} {qtype}");
        assert_eq!((answer.answers.len(), answer.authority.len()), (0, 0));
    }
    // What is above it answers for itself, for the DS record of the zone as well (RFC 4035 §3.1.4.1).
    let above = Query::new("www.example", "A").ask(&snapshot);
    assert_eq!(above.rcode, 0);
    let signer = Query::new("sub.example", "DS").ask(&snapshot);
    assert_eq!((signer.rcode, &*signer.flags), (0, "qr aa rd"));
}

#[test]
fn a_whole_transfer_needs_a_stream() {
    let snapshot = serving(parse(ZONE), Journal::default(), &[]);
    for transport in [Transport::Udp, Transport::Https] {
        let answer = Query::new("example", "AXFR").ask_over(&snapshot, transport);
        assert_eq!(
            (answer.rcode, answer.answers.len()),
            (1, 0),
            "{transport:?}"
        );
    }
}

#[test]
fn differences_are_sent_to_who_has_an_older_version() {
    let versions = [
        version(1, "a A 192.0.2.2\nb A 192.0.2.3\n"),
        version(2, "a A 192.0.2.2\nc A 192.0.2.4\n"),
        version(5, "a A 192.0.2.2\na A 192.0.2.5\nc 30 A 192.0.2.4\n"),
    ];
    let snapshot = serving(Arc::clone(&versions[2]), journal(&versions), &[]);
    for (place, steps) in [(0, 2), (1, 1)] {
        let base = Arc::clone(&versions[place]);
        let receiving = Receiving::incremental(base, 7, Limits::default());
        let complete = complete(receive(&snapshot, receiving, None));
        assert!(complete.incremental, "{steps}");
        assert_eq!(records(&complete.zone), records(&versions[2]));
    }
    let mut receiving = Receiving::incremental(Arc::clone(&versions[0]), 7, Limits::default());
    let sent = messages(&snapshot, &receiving.request(None, NOW));
    let soa =
        |serial| format!("example. 60 SOA ns.example. m.example. {serial} 7200 3600 86400 60");
    assert_eq!(
        Answer::decode(&sent[0]).answers,
        [
            soa(5),
            soa(1),
            "b.example. 60 A 192.0.2.3".to_owned(),
            soa(2),
            "c.example. 60 A 192.0.2.4".to_owned(),
            soa(2),
            "c.example. 60 A 192.0.2.4".to_owned(),
            soa(5),
            "a.example. 60 A 192.0.2.5".to_owned(),
            "c.example. 30 A 192.0.2.4".to_owned(),
            soa(5),
        ]
    );
}

#[test]
fn who_is_up_to_date_gets_the_soa_record_alone() {
    let zone = version(5, "");
    let snapshot = serving(Arc::clone(&zone), Journal::default(), &[]);
    for serial in [5, 6] {
        let base = version(serial, "");
        let mut receiving = Receiving::incremental(Arc::clone(&base), 7, Limits::default());
        let request = receiving.request(None, NOW);
        for transport in [Transport::Udp, Transport::Tcp] {
            let answers = match transport {
                Transport::Udp => ask_wire(&snapshot, &request, transport).answers,
                _ => Answer::decode(&messages(&snapshot, &request)[0]).answers,
            };
            assert_eq!(answers.len(), 1, "{serial} {transport:?}");
        }
        let receiving = Receiving::incremental(base, 7, Limits::default());
        let end = receive(&snapshot, receiving, None).unwrap();
        assert!(matches!(end, Progress::Current(5)), "{end:?}");
    }
}

#[test]
fn a_version_too_old_or_unknown_gets_the_whole_zone() {
    let versions = [
        version(1, "a A 192.0.2.2\n"),
        version(2, ""),
        version(3, ""),
    ];
    let snapshot = serving(Arc::clone(&versions[2]), journal(&versions[1..]), &[]);
    let receiving = Receiving::incremental(Arc::clone(&versions[0]), 7, Limits::default());
    let complete = complete(receive(&snapshot, receiving, None));
    assert!(!complete.incremental);
    assert_eq!(records(&complete.zone), records(&versions[2]));
    // Over UDP that is one SOA record, so that the client comes back over TCP.
    let mut receiving = Receiving::incremental(Arc::clone(&versions[0]), 7, Limits::default());
    let request = receiving.request(None, NOW);
    let answer = ask_wire(&snapshot, &request, Transport::Udp);
    assert_eq!((answer.answers.len(), &*answer.flags), (1, "qr aa"));
}

#[test]
fn differences_over_udp_come_only_if_they_fit() {
    let many: String = (0..60)
        .map(|host| format!("h{host} A 192.0.2.1\n"))
        .collect();
    let versions = [
        version(1, &many),
        version(2, &(many.clone() + "new A 192.0.2.9\n")),
    ];
    let snapshot = serving(Arc::clone(&versions[1]), journal(&versions), &[]);
    let mut receiving = Receiving::incremental(Arc::clone(&versions[0]), 7, Limits::default());
    let request = receiving.request(None, NOW);
    let answer = ask_wire(&snapshot, &request, Transport::Udp);
    assert_eq!(answer.answers.len(), 5);
    assert!(matches!(
        receiving.take(&answer.octets, NOW),
        Ok(Progress::Complete(_))
    ));
    let emptied = [
        Arc::clone(&versions[1]),
        version(3, &many.replace("192.0.2.1", "192.0.2.2")),
    ];
    let snapshot = serving(Arc::clone(&emptied[1]), journal(&emptied), &[]);
    let mut receiving = Receiving::incremental(Arc::clone(&emptied[0]), 7, Limits::default());
    let answer = ask_wire(&snapshot, &receiving.request(None, NOW), Transport::Udp);
    assert_eq!(answer.answers.len(), 1);
}

#[test]
fn differences_larger_than_the_zone_are_not_sent() {
    let many: String = (0..60)
        .map(|host| format!("h{host} A 192.0.2.1\n"))
        .collect();
    let versions = [version(1, &many), version(2, "")];
    let snapshot = serving(Arc::clone(&versions[1]), journal(&versions), &[]);
    let receiving = Receiving::incremental(Arc::clone(&versions[0]), 7, Limits::default());
    let complete = complete(receive(&snapshot, receiving, None));
    assert!(!complete.incremental && complete.records == 4);
}

#[test]
fn a_zone_changed_under_its_serial_has_no_history() {
    let (one, other) = (version(1, ""), version(1, "a A 192.0.2.2\n"));
    let next = version(2, "a A 192.0.2.2\nb A 192.0.2.3\n");
    let journal = Journal::default();
    assert!(matches!(
        journal.advance(&one, &one, Bounds::default()),
        Advance::Same
    ));
    let Advance::SerialKept(journal) = journal.advance(&one, &other, Bounds::default()) else {
        panic!("the change is not seen");
    };
    // Nobody knows which of the two a secondary has.
    let Advance::Recorded(journal) = journal.advance(&other, &next, Bounds::default()) else {
        panic!("the serial rose");
    };
    assert!(journal.is_empty());
    let last = version(3, "");
    let Advance::Recorded(journal) = journal.advance(&next, &last, Bounds::default()) else {
        panic!("the serial rose");
    };
    assert_eq!(journal.len(), 1);
    let lowered = journal.advance(&last, &next, Bounds::default());
    assert!(matches!(lowered, Advance::SerialLowered(journal) if journal.is_empty()));
}

#[test]
fn history_is_bounded_by_steps_and_octets() {
    let versions: Vec<_> = (1..=10)
        .map(|serial| {
            version(
                serial,
                &format!("a TXT {}\n", "x".repeat(serial as usize * 10)),
            )
        })
        .collect();
    let check = |steps, octets, expected| {
        let mut journal = Journal::default();
        for pair in versions.windows(2) {
            let advance = journal.advance(&pair[0], &pair[1], Bounds { steps, octets });
            let Advance::Recorded(next) = advance else {
                panic!("{advance:?}");
            };
            journal = next;
        }
        assert_eq!(journal.len(), expected);
    };
    check(100, 1 << 20, 9);
    check(4, 1 << 20, 4);
    check(0, 1 << 20, 0);
    // The last step has 90 and 100 octets of text, two owners and four lengths.
    check(100, 240, 1);
    check(100, 100, 0);
}

/// A transfer message by hand: header, question and records as `owner type data`.
fn message(id: u16, records: &[(&[u8], u16, &[u8])]) -> Vec<u8> {
    let mut message = id.to_be_bytes().to_vec();
    message.extend([0x84, 0, 0, 1, 0, records.len() as u8, 0, 0, 0, 0]);
    message.extend(b"\x07example\0\0\xfc\0\x01");
    for (owner, rtype, data) in records {
        message.extend(*owner);
        message.extend(rtype.to_be_bytes());
        message.extend([0, 1, 0, 0, 0, 60]);
        message.extend((data.len() as u16).to_be_bytes());
        message.extend(*data);
    }
    message
}

const APEX: &[u8] = b"\x07example\0";
const SOA_1: &[u8] = b"\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
const SOA_2: &[u8] = b"\0\0\0\0\0\x02\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
const ADDRESS: &[u8] = &[192, 0, 2, 1];

#[test]
fn a_transfer_is_taken_strictly() {
    let soa = (APEX, 6, SOA_1);
    let a = (&b"\x01a\x07example\0"[..], 1, ADDRESS);
    let check = |records: &[(&[u8], u16, &[u8])], expected: Result<bool, TransferError>| {
        let mut receiving = Receiving::whole(APEX, None, 7, Limits::default());
        let progress = receiving.take(&message(7, records), NOW);
        let end = progress.map(|progress| matches!(progress, Progress::Complete(_)));
        assert_eq!(end, expected, "{records:?}");
    };
    check(&[soa, a, soa], Ok(true));
    check(&[soa, a], Ok(false));
    check(&[soa], Ok(false));
    check(&[], Ok(false));
    check(&[soa, soa], Ok(true));
    check(&[a, soa], Err(TransferError::NoSoa));
    check(&[soa, a, (APEX, 6, SOA_2)], Err(TransferError::StraySoa));
    check(&[soa, (a.0, 6, SOA_1), soa], Err(TransferError::StraySoa));
    check(&[(b"\x05other\0", 6, SOA_1)], Err(TransferError::StraySoa));
    check(&[soa, a, soa, a], Err(TransferError::TooLong));
    check(&[soa, (a.0, 1, b"abc"), soa], Err(TransferError::Malformed));
    check(&[soa, (a.0, 41, b""), soa], Err(TransferError::Malformed));
    check(&[soa, (a.0, 255, b""), soa], Err(TransferError::Malformed));
    check(&[(APEX, 6, b"\0\0\0\0")], Err(TransferError::Malformed));
}

#[test]
fn only_the_answer_to_the_request_counts() {
    let whole = message(7, &[(APEX, 6, SOA_1), (APEX, 6, SOA_1)]);
    let check = |at: usize, octet: u8, expected: TransferError| {
        let mut changed = whole.clone();
        changed[at] = octet;
        let mut receiving = Receiving::whole(APEX, None, 7, Limits::default());
        assert_eq!(receiving.take(&changed, NOW).err(), Some(expected), "{at}");
    };
    check(0, 1, TransferError::NotAnAnswer);
    check(2, 0x04, TransferError::NotAnAnswer);
    check(2, 0xA4, TransferError::NotAnAnswer);
    check(2, 0x86, TransferError::Malformed);
    check(3, 5, TransferError::Refused(dns_engine::Rcode::REFUSED));
    check(5, 0, TransferError::NotAnAnswer);
    check(13, b'x', TransferError::NotAnAnswer);
    check(22, 0xFB, TransferError::NotAnAnswer);
    check(24, 3, TransferError::NotAnAnswer);
    let mut receiving = Receiving::whole(APEX, None, 7, Limits::default());
    assert_eq!(
        receiving.take(&whole[..11], NOW).err(),
        Some(TransferError::Malformed)
    );
}

#[test]
fn odd_records_of_a_primary_are_kept_and_foreign_ones_left_out() {
    let records: &[(&[u8], u16, &[u8])] = &[
        (APEX, 6, SOA_1),
        // No NS record; an alias beside an address; data below a delegation; another zone's record.
        (b"\x01a\x07example\0", 5, b"\x01b\x07example\0"),
        (b"\x01a\x07example\0", 1, ADDRESS),
        (b"\x03sub\x07example\0", 2, b"\x02ns\x03sub\x07example\0"),
        (b"\x01x\x03sub\x07example\0", 16, b"\x04text"),
        (b"\x05other\0", 1, ADDRESS),
        (APEX, 65_280, b"anything"),
        (
            APEX,
            46,
            b"\0\x06\x0d\x01\0\0\0\x3c\0\0\0\0\0\0\0\0\0\x01\x07example\0signature",
        ),
        (APEX, 6, SOA_1),
    ];
    let mut receiving = Receiving::whole(APEX, None, 7, Limits::default());
    let complete = complete(receiving.take(&message(7, records), NOW));
    assert_eq!(complete.outside, 1);
    assert_eq!(self::records(&complete.zone).len(), 7);
    // Served as the look-up rules say: the alias, the referral.
    let snapshot = serving(Arc::new(complete.zone), Journal::default(), &[]);
    let answer = Query::new("a.example", "A").ask(&snapshot);
    assert_eq!(answer.answers[0], "a.example. 60 CNAME b.example.");
    let answer = Query::new("x.sub.example", "TXT").ask(&snapshot);
    assert_eq!((answer.answers.len(), answer.authority.len()), (0, 1));
}

#[test]
fn names_below_a_dname_record_are_hidden() {
    let records: &[(&[u8], u16, &[u8])] = &[
        (APEX, 6, SOA_1),
        (b"\x01d\x07example\0", 39, b"\x05other\0"),
        (b"\x01x\x01d\x07example\0", 1, ADDRESS),
        (APEX, 6, SOA_1),
    ];
    let mut receiving = Receiving::whole(APEX, None, 7, Limits::default());
    let zone = complete(receiving.take(&message(7, records), NOW)).zone;
    let snapshot = serving(Arc::new(zone), Journal::default(), &[]);
    let answer = Query::new("x.d.example", "A").ask(&snapshot);
    assert_eq!(
        answer.answers,
        [
            "d.example. 60 DNAME other.",
            "x.d.example. 60 CNAME x.other."
        ]
    );
}

#[test]
fn a_primary_cannot_send_more_than_the_limits_allow() {
    let records: &[(&[u8], u16, &[u8])] = &[
        (APEX, 6, SOA_1),
        (b"\x01a\x07example\0", 1, ADDRESS),
        (APEX, 6, SOA_1),
    ];
    let check = |records_max, octets_max, expected| {
        let limits = Limits {
            records: records_max,
            octets: octets_max,
        };
        let mut receiving = Receiving::whole(APEX, None, 7, limits);
        let progress = receiving.take(&message(7, records), NOW);
        assert_eq!(progress.is_ok(), expected);
    };
    check(3, 1_000, true);
    check(2, 1_000, false);
    check(3, 77, true);
    check(3, 76, false);
}

#[test]
fn differences_that_do_not_fit_are_refused_whole() {
    let base = version(1, "a A 192.0.2.2\n");
    let (v1, v2, v3) = (
        base.soa().rdatas().next().unwrap().to_vec(),
        version(2, "").soa().rdatas().next().unwrap().to_vec(),
        version(3, "").soa().rdatas().next().unwrap().to_vec(),
    );
    let old = (&b"\x01A\x07example\0"[..], 1, &[192, 0, 2, 2][..]);
    let new = (&b"\x01b\x07example\0"[..], 1, ADDRESS);
    let (one, two, three) = ((APEX, 6, &v1[..]), (APEX, 6, &v2[..]), (APEX, 6, &v3[..]));
    let check = |records: &[(&[u8], u16, &[u8])], expected: Result<bool, TransferError>| {
        let mut receiving = Receiving::incremental(Arc::clone(&base), 7, Limits::default());
        let mut message = message(7, records);
        message[22] = 0xFB;
        let progress = receiving.take(&message, NOW);
        let end = progress.map(|progress| !matches!(progress, Progress::More));
        assert_eq!(end, expected, "{records:?}");
    };
    check(&[two, one, old, two, new, two], Ok(true));
    check(
        &[three, one, old, two, new, two, new, three, old, three],
        Ok(true),
    );
    check(&[two, one, two, two], Ok(true));
    // The whole zone instead of differences.
    check(&[two, new, two], Ok(true));
    check(&[two], Ok(false));
    check(&[one], Ok(true));
    check(&[two, one, new, two, two], Err(TransferError::Misfit));
    check(&[two, one, two, old, two], Err(TransferError::Misfit));
    check(&[three, two, three, three], Err(TransferError::NotOurs));
    check(&[three, one, two, three], Err(TransferError::NotOurs));
    // Round in circles.
    check(&[three, one, two, two, one], Err(TransferError::NotOurs));
    check(
        &[two, one, old, two, new, two, new],
        Err(TransferError::TooLong),
    );
}

#[test]
fn signed_transfers_are_signed_in_every_message() {
    for algorithm in Algorithm::ALL {
        let key = key("key.example.", algorithm);
        let many: String = (0..3_000)
            .map(|host| format!("h{host} A 192.0.2.1\n"))
            .collect();
        let zone = version(1, &many);
        let snapshot = serving(Arc::clone(&zone), Journal::default(), &[&key]);
        let fresh = || Receiving::whole(zone.origin(), None, 7, Limits::default());
        let complete = complete(receive(&snapshot, fresh(), Some(&key)));
        assert_eq!(records(&complete.zone), records(&zone));
        assert!(matches!(
            receive(&snapshot, fresh(), None),
            Err(TransferError::Refused(dns_engine::Rcode::REFUSED))
        ));
        // A message out of order, left out, or changed.
        let mut receiving = fresh();
        let request = receiving.request(Some(&key), NOW);
        let sent = messages(&snapshot, &request);
        assert!(sent.len() >= 3);
        let check = |change: &dyn Fn(&mut Vec<Vec<u8>>)| {
            let mut receiving = fresh();
            let again = receiving.request(Some(&key), NOW);
            assert_eq!(again, request);
            let mut sent = sent.clone();
            change(&mut sent);
            let failed = sent
                .iter()
                .find_map(|message| receiving.take(message, NOW).err());
            let Some(TransferError::Unproven(error)) = failed else {
                panic!("{failed:?}");
            };
            error
        };
        assert_eq!(check(&|sent| sent.swap(1, 2)), Unproven::WrongSignature);
        assert_eq!(
            check(&|sent| drop(sent.remove(1))),
            Unproven::WrongSignature
        );
        assert_eq!(
            check(&|sent| {
                let mut octets = sent[1].windows(4);
                let address = octets.position(|octets| octets == [192, 0, 2, 1]).unwrap();
                sent[1][address] ^= 1;
            }),
            Unproven::WrongSignature
        );
        let mut receiving = fresh();
        receiving.request(Some(&key), NOW);
        let late = receiving.take(&sent[0], NOW + 301);
        assert!(matches!(
            late,
            Err(TransferError::Unproven(Unproven::WrongTime))
        ));
    }
}

#[test]
fn a_transfer_goes_on_unchanged_when_the_zone_is_reloaded() {
    let many: String = (0..3_000)
        .map(|host| format!("h{host} A 192.0.2.1\n"))
        .collect();
    let zone = version(1, &many);
    let snapshot = serving(zone, Journal::default(), &[]);
    let request = Query::new("example", "AXFR").wire();
    let whole = messages(&snapshot, &request);
    let (mut scratch, mut out) = (Scratch::new(), vec![0; 65_535]);
    let tcp = meta(Transport::Tcp);
    let Outcome::Transfer(mut sending) = respond(&snapshot, &request, &tcp, &mut scratch, &mut out)
    else {
        panic!("no transfer");
    };
    drop(snapshot);
    let mut sent = Vec::new();
    while let Some(length) = sending.next(&mut out) {
        sent.push(out[..length].to_vec());
    }
    assert_eq!(sent, whole);
}

#[test]
fn notify_is_heard_from_a_primary_only() {
    let primary = key("k.", Algorithm::HmacSha256);
    let mut snapshot = Snapshot::of_zones(zones(&[ZONE]));
    let ask = |snapshot: &Snapshot, octets: &[u8], source: &str| {
        let (mut scratch, mut out) = (Scratch::new(), vec![0; 1232]);
        let meta = Meta {
            source: source.parse().unwrap(),
            ..meta(Transport::Udp)
        };
        let Outcome::Send(length) = respond(snapshot, octets, &meta, &mut scratch, &mut out) else {
            panic!("no answer");
        };
        let answer = Answer::decode(&out[..length]);
        let heard = scratch.notified().map(name::text);
        (answer.rcode, heard, out[..length].to_vec())
    };
    let zone = parse(ZONE);
    let compose = |origin: &[u8], key: Option<&Arc<Key>>| {
        dns_engine::notify::Notification::new(origin, zone.soa(), 9, key, NOW)
    };
    let plain = compose(APEX, None);
    let (rcode, heard, _) = ask(&snapshot, plain.octets(), "192.0.2.1:53");
    assert_eq!((rcode, heard), (4, None));
    let rules = [
        Rule::new(vec!["192.0.2.1".parse().unwrap()], None).unwrap(),
        Rule::new(Vec::new(), Some(primary.name())).unwrap(),
    ];
    let policy = ZonePolicy {
        notified_by: rules.into(),
        ..ZonePolicy::default()
    };
    snapshot.transfers.set(APEX, policy);
    assert!(snapshot.tsig.insert(Arc::clone(&primary)).is_ok());
    let (rcode, heard, answer) = ask(&snapshot, plain.octets(), "192.0.2.1:53");
    assert_eq!((rcode, heard.as_deref()), (0, Some("example.")));
    assert_eq!(answer[2..4], [0xA4, 0]);
    assert_eq!(
        plain.answered(&answer, NOW),
        Some(dns_engine::Rcode::NOERROR)
    );
    let (rcode, heard, _) = ask(&snapshot, plain.octets(), "192.0.2.2:53");
    assert_eq!((rcode, heard), (5, None));
    let signed = compose(APEX, Some(&primary));
    let (rcode, heard, answer) = ask(&snapshot, signed.octets(), "192.0.2.2:53");
    assert_eq!((rcode, heard.as_deref()), (0, Some("example.")));
    assert_eq!(
        signed.answered(&answer, NOW),
        Some(dns_engine::Rcode::NOERROR)
    );
    let (rcode, heard, _) = ask(
        &snapshot,
        compose(b"\x05other\0", None).octets(),
        "192.0.2.1:53",
    );
    assert_eq!((rcode, heard), (9, None));
    // A plain query afterwards has nothing to tell.
    let (_, heard, _) = ask(
        &snapshot,
        &Query::new("example", "SOA").wire(),
        "192.0.2.1:53",
    );
    assert_eq!(heard, None);
}

/// A zone from a set of small numbers: owner, type and data.
fn random_zone(serial: u32, picks: &BTreeSet<(u8, u8, u8)>) -> Arc<Zone> {
    let line = |(owner, kind, data): &(u8, u8, u8)| match kind % 5 {
        0 => format!("h{owner} A 192.0.2.{data}\n"),
        1 => format!("h{owner} TXT \"{data}\"\n"),
        2 => format!("h{owner} MX {data} Mail{data}.h{owner}\n"),
        3 => format!("x.h{owner} SRV 0 0 {data} h{owner}\n"),
        _ => format!("sub{owner} NS ns{data}.other.\n"),
    };
    version(serial, &picks.iter().map(line).collect::<String>())
}

fn picks() -> impl Strategy<Value = BTreeSet<(u8, u8, u8)>> {
    prop::collection::btree_set((0..20_u8, 0..5_u8, 0..4_u8), 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_is_sent_is_what_is_received(picks in picks(), signed in any::<bool>()) {
        let zone = random_zone(1, &picks);
        let key = key("k.", Algorithm::HmacSha256);
        let keys = if signed { vec![&key] } else { Vec::new() };
        let snapshot = serving(Arc::clone(&zone), Journal::default(), &keys);
        let receiving = Receiving::whole(zone.origin(), None, 7, Limits::default());
        let complete = complete(receive(&snapshot, receiving, keys.first().copied()));
        prop_assert_eq!(records(&complete.zone), records(&zone));
        let kept = zonefile::KeptText(&complete.zone).to_string();
        let back = zonefile::read_kept(&kept, zone.origin()).unwrap();
        prop_assert_eq!(records(&back), records(&zone));
    }

    #[test]
    fn differences_lead_where_the_whole_zone_is(
        first in picks(),
        edits in prop::collection::vec(picks(), 1..6),
        start in any::<u32>(),
        from in any::<prop::sample::Index>(),
    ) {
        let mut chain = vec![random_zone(start, &first)];
        let mut current = first;
        for (place, edit) in edits.iter().enumerate() {
            // What is in the edit changes sides.
            current = current.symmetric_difference(edit).copied().collect();
            chain.push(random_zone(start.wrapping_add(place as u32 + 1), &current));
        }
        let newest = Arc::clone(chain.last().unwrap());
        let snapshot = serving(Arc::clone(&newest), journal(&chain), &[]);
        let base = Arc::clone(&chain[from.index(edits.len())]);
        let receiving = Receiving::incremental(base, 7, Limits::default());
        let complete = complete(receive(&snapshot, receiving, None));
        prop_assert_eq!(records(&complete.zone), records(&newest));
    }

    #[test]
    fn mutated_messages_never_panic_and_never_grow_a_zone(
        picks in picks(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        incremental in any::<bool>(),
    ) {
        let versions = [random_zone(1, &BTreeSet::new()), random_zone(2, &picks)];
        let snapshot = serving(Arc::clone(&versions[1]), journal(&versions), &[]);
        let limits = Limits { records: 200, octets: 20_000 };
        let base = Arc::clone(&versions[0]);
        let mut receiving = if incremental {
            Receiving::incremental(base, 7, limits)
        } else {
            Receiving::whole(APEX, Some(base), 7, limits)
        };
        for mut message in messages(&snapshot, &receiving.request(None, NOW)) {
            for (at, octet) in &changes {
                let at = at.index(message.len());
                message[at] = *octet;
            }
            if let Ok(Progress::Complete(complete)) = receiving.take(&message, NOW) {
                prop_assert!(records(&complete.zone).len() <= 200);
            }
        }
    }
}
