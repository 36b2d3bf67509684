//! Transaction signatures against an independent implementation (`domain`), in both directions, and what
//! RFC 8945 §5 wants a server to answer to signatures that are wrong.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod common;

use std::sync::Arc;

use common::{Query, ZONE, meta, zones};
use dns_engine::tsig::{self, Algorithm, Key, Unproven};
use dns_engine::{Meta, Outcome, Scratch, Snapshot, Transport, name, respond};
use domain::base::iana::{Rcode, Rtype, TsigRcode};
use domain::base::{Message, MessageBuilder, Name};
use domain::rdata::tsig::Time48;
use domain::tsig as other;
use proptest::prelude::*;

const NOW: u64 = 1_800_000_000;
const SECRET: &[u8] = b"an example of a secret, 32 octets";
const KEY: &str = "Transfer.Example.";

fn other_algorithm(algorithm: Algorithm) -> other::Algorithm {
    match algorithm {
        Algorithm::HmacSha256 => other::Algorithm::Sha256,
        Algorithm::HmacSha384 => other::Algorithm::Sha384,
        Algorithm::HmacSha512 => other::Algorithm::Sha512,
    }
}

fn key(algorithm: Algorithm, secret: &[u8]) -> Arc<Key> {
    let name = name::parse(KEY, None).unwrap();
    Arc::new(Key::new(&name, algorithm, secret).unwrap())
}

fn other_key(algorithm: Algorithm, secret: &[u8], mac_octets: Option<usize>) -> Arc<other::Key> {
    let name: Name<Vec<u8>> = KEY.parse().unwrap();
    let name = Name::from_octets(octseq(&name)).unwrap();
    let algorithm = other_algorithm(algorithm);
    let shortest = mac_octets.map(|_| algorithm.native_len() / 2);
    Arc::new(other::Key::new(algorithm, secret, name, shortest, mac_octets).unwrap())
}

fn octseq(name: &Name<Vec<u8>>) -> domain::dep::octseq::array::Array<255> {
    domain::dep::octseq::array::Array::try_from(name.as_slice()).unwrap()
}

fn serving(algorithm: Algorithm) -> Snapshot {
    let mut snapshot = Snapshot::of_zones(zones(&[ZONE]));
    assert!(snapshot.tsig.insert(key(algorithm, SECRET)).is_ok());
    snapshot
}

fn answer(snapshot: &Snapshot, query: &[u8], transport: Transport, now: u64) -> Vec<u8> {
    let (mut scratch, mut out) = (Scratch::new(), vec![0xEE; 65_535]);
    let meta = Meta {
        now,
        ..meta(transport)
    };
    match respond(snapshot, query, &meta, &mut scratch, &mut out) {
        Outcome::Send(length) => out[..length].to_vec(),
        other => panic!("{other:?}"),
    }
}

/// A query signed by the other implementation, and what checks the answer.
fn signed_by_other(
    query: &Query,
    key: Arc<other::Key>,
    now: u64,
) -> (Vec<u8>, other::ClientTransaction<Arc<other::Key>>) {
    let plain = query.wire();
    let plain = Message::from_octets(&plain[..]).unwrap();
    let mut builder = MessageBuilder::new_vec();
    *builder.header_mut() = plain.header();
    let mut builder = builder.question();
    for question in plain.question() {
        builder.push(question.unwrap()).unwrap();
    }
    let mut builder = builder.additional();
    if let Some(opt) = plain.opt() {
        builder
            .opt(|push| {
                push.set_udp_payload_size(opt.udp_payload_size());
                Ok(())
            })
            .unwrap();
    }
    let now = Time48::from_u64(now);
    let transaction = other::ClientTransaction::request(key, &mut builder, now).unwrap();
    (builder.finish(), transaction)
}

#[test]
fn answers_are_signed_so_that_another_implementation_accepts_them() {
    for algorithm in Algorithm::ALL {
        let snapshot = serving(algorithm);
        for (qname, edns, transport) in [
            ("www.example", false, Transport::Udp),
            ("www.example", true, Transport::Udp),
            ("missing.example", true, Transport::Tcp),
            ("elsewhere.test", false, Transport::Udp),
        ] {
            let mut query = Query::new(qname, "A");
            if edns {
                query = query.edns(1232);
            }
            let key = other_key(algorithm, SECRET, None);
            let (wire, transaction) = signed_by_other(&query, key, NOW);
            let signed = answer(&snapshot, &wire, transport, NOW);
            let mut message = Message::from_octets(signed).unwrap();
            transaction
                .answer(&mut message, Time48::from_u64(NOW))
                .unwrap();
            // In front of its signature stands the answer to the plain query.
            let plain = answer(&snapshot, &query.wire(), transport, NOW);
            assert!(
                message.as_slice().starts_with(&plain),
                "{qname} {algorithm:?}"
            );
        }
    }
}

/// RCODE, TSIG error, whether the signature is empty, and the other data of a signed answer.
fn verdict(answer: &[u8]) -> (Rcode, Option<(TsigRcode, bool, Vec<u8>)>) {
    let message = Message::from_octets(answer).unwrap();
    let last = message.additional().unwrap().last();
    let tsig = last
        .map(Result::unwrap)
        .filter(|record| record.rtype() == Rtype::TSIG);
    let tsig = tsig.map(|record| {
        let record = record
            .to_record::<domain::rdata::Tsig<_, _>>()
            .unwrap()
            .unwrap();
        let data = record.into_data();
        (data.error(), data.mac().is_empty(), data.other().to_vec())
    });
    assert!(message.header().qr());
    (message.header().rcode(), tsig)
}

#[test]
fn wrong_signatures_get_the_error_that_says_why() {
    let snapshot = serving(Algorithm::HmacSha256);
    let query = Query::new("www.example", "A");
    let check = |key: Arc<other::Key>, now: u64, error: TsigRcode, empty: bool| {
        let (wire, transaction) = signed_by_other(&query, key, now);
        let refused = answer(&snapshot, &wire, Transport::Udp, NOW);
        let (rcode, tsig) = verdict(&refused);
        let (tsig_error, mac_empty, server_time) = tsig.unwrap();
        assert_eq!(
            (rcode, tsig_error, mac_empty),
            (Rcode::NOTAUTH, error, empty)
        );
        let answers = Message::from_octets(&refused).unwrap().header_counts();
        assert_eq!((answers.qdcount(), answers.ancount()), (1, 0));
        // The other implementation understands it; a signed BADTRUNC it takes for an answer.
        let mut message = Message::from_octets(refused).unwrap();
        let result = transaction.answer(&mut message, Time48::from_u64(now));
        assert_eq!(result.is_ok(), error == TsigRcode::BADTRUNC, "{error}");
        server_time
    };
    let good = |octets| other_key(Algorithm::HmacSha256, SECRET, octets);
    let elsewhere = other_key(Algorithm::HmacSha512, SECRET, None);
    check(elsewhere, NOW, TsigRcode::BADKEY, true);
    let guessed = other_key(Algorithm::HmacSha256, b"another secret", None);
    check(guessed, NOW, TsigRcode::BADSIG, true);
    check(good(Some(16)), NOW, TsigRcode::BADTRUNC, false);
    // Too late, too early: the answer is signed and holds the server's time.
    let time = NOW.to_be_bytes()[2..].to_vec();
    assert_eq!(
        check(good(None), NOW - 301, TsigRcode::BADTIME, false),
        time
    );
    assert_eq!(
        check(good(None), NOW + 301, TsigRcode::BADTIME, false),
        time
    );
    for now in [NOW - 300, NOW + 300] {
        let (wire, _) = signed_by_other(&query, good(None), now);
        let (rcode, _) = verdict(&answer(&snapshot, &wire, Transport::Udp, NOW));
        assert_eq!(rcode, Rcode::NOERROR);
    }
    // A server without any key.
    let keyless = Snapshot::of_zones(zones(&[ZONE]));
    let (wire, _) = signed_by_other(&query, good(None), NOW);
    let (rcode, tsig) = verdict(&answer(&keyless, &wire, Transport::Udp, NOW));
    assert_eq!(
        (rcode, tsig.unwrap().0),
        (Rcode::NOTAUTH, TsigRcode::BADKEY)
    );
}

/// `domain` takes eight octets of time where RFC 8945 §5.2.3 has six, so this one is computed by hand.
#[test]
fn a_time_error_is_signed_over_the_request_the_answer_and_both_times() {
    let snapshot = serving(Algorithm::HmacSha256);
    let key = other_key(Algorithm::HmacSha256, SECRET, None);
    let (wire, _) = signed_by_other(&Query::new("www.example", "A"), key, NOW - 1_000);
    let refused = answer(&snapshot, &wire, Transport::Udp, NOW);
    // Behind the signature: original identifier, error, length and six octets of other data.
    let mac = refused.len() - 12 - 32;
    let mut before = refused[..RECORD].to_vec();
    before[11] = 0;
    let (client, server) = ((NOW - 1_000).to_be_bytes(), NOW.to_be_bytes());
    let digested = [
        &[0, 32],
        &wire[wire.len() - 6 - 32..wire.len() - 6],
        &before,
        b"\x08transfer\x07example\0",
        &[0, 255, 0, 0, 0, 0],
        b"\x0bhmac-sha256\0",
        &client[2..],
        &[1, 44, 0, 18, 0, 6],
        &server[2..],
    ]
    .concat();
    let secret = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, SECRET);
    assert_eq!(
        ring::hmac::verify(&secret, &digested, &refused[mac..mac + 32]),
        Ok(())
    );
}

/// A signed query, by octets.
fn signed() -> Vec<u8> {
    let key = other_key(Algorithm::HmacSha256, SECRET, None);
    signed_by_other(&Query::new("www.example", "A"), key, NOW).0
}

/// Where the TSIG record of [`signed`] begins: behind header and question.
const RECORD: usize = 12 + 13 + 4;
/// Where its fixed part begins: behind its owner.
const FIXED: usize = RECORD + 18;

#[test]
fn malformed_records_get_a_plain_format_error() {
    let snapshot = serving(Algorithm::HmacSha256);
    let check = |wire: &[u8]| {
        let refused = answer(&snapshot, wire, Transport::Udp, NOW);
        assert_eq!(verdict(&refused), (Rcode::FORMERR, None), "{wire:?}");
    };
    let wire = signed();
    assert_eq!(wire[FIXED..FIXED + 8], [0, 250, 0, 255, 0, 0, 0, 0]);
    // Class, TTL, length of the data, of the signature (too short and too long), of the other data.
    let mac_length = FIXED + 10 + 13 + 8;
    let changes = [
        (FIXED + 3, 1),
        (FIXED + 7, 1),
        (mac_length + 1, 31),
        (wire.len() - 1, 1),
    ];
    for (at, octet) in changes {
        let mut changed = wire.clone();
        changed[at] = octet;
        check(&changed);
    }
    for octets in [0_u8, 9, 15, 33] {
        let mut changed = wire[..mac_length].to_vec();
        changed.extend([0, octets]);
        changed.extend(vec![7; octets.into()]);
        changed.extend(&wire[wire.len() - 6..]);
        let length = changed.len() - FIXED - 10;
        changed[FIXED + 8..FIXED + 10].copy_from_slice(&(length as u16).to_be_bytes());
        check(&changed);
    }
    // Not the last record; twice; in another section.
    let mut followed = wire.clone();
    followed[11] = 2;
    followed.extend([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
    check(&followed);
    let mut twice = wire.clone();
    twice[11] = 2;
    twice.extend_from_slice(&wire[RECORD..]);
    check(&twice);
    let mut elsewhere = wire.clone();
    (elsewhere[7], elsewhere[11]) = (1, 0);
    check(&elsewhere);
}

#[test]
fn a_forwarder_may_change_the_identifier() {
    let snapshot = serving(Algorithm::HmacSha256);
    let mut wire = signed();
    wire[0] ^= 0xFF;
    let (rcode, tsig) = verdict(&answer(&snapshot, &wire, Transport::Udp, NOW));
    assert_eq!(
        (rcode, tsig.unwrap().0),
        (Rcode::NOERROR, TsigRcode::NOERROR)
    );
}

#[test]
fn an_answer_that_does_not_fit_is_cut_before_it_is_signed() {
    let many: String = (0..60)
        .map(|host| format!("many A 192.0.2.{host}\n"))
        .collect();
    let text = format!("$ORIGIN example.\n$TTL 60\n@ SOA ns m 1 2 3 4 5\n@ NS n.o.\n{many}");
    let mut snapshot = Snapshot::of_zones(zones(&[&text]));
    assert!(
        snapshot
            .tsig
            .insert(key(Algorithm::HmacSha512, SECRET))
            .is_ok()
    );
    let other = other_key(Algorithm::HmacSha512, SECRET, None);
    // 60 addresses take 989 octets, the signature 111 more.
    for (payload, cut) in [(512, true), (1_050, true), (1_232, false)] {
        let query = Query::new("many.example", "A").edns(payload);
        let (wire, transaction) = signed_by_other(&query, Arc::clone(&other), NOW);
        let signed = answer(&snapshot, &wire, Transport::Udp, NOW);
        assert!(signed.len() <= payload.into());
        let mut message = Message::from_octets(signed).unwrap();
        transaction
            .answer(&mut message, Time48::from_u64(NOW))
            .unwrap();
        assert_eq!(message.header().tc(), cut, "{payload}");
        assert_eq!(message.header_counts().ancount(), if cut { 0 } else { 60 });
    }
}

#[test]
fn long_names_leave_room_for_the_signature() {
    let long = format!("{0}.{0}.{0}.{1}.", "x".repeat(63), "y".repeat(61));
    let name = name::parse(&long, None).unwrap();
    assert_eq!(name.len(), 255);
    let key = Arc::new(Key::new(&name, Algorithm::HmacSha512, SECRET).unwrap());
    let mut snapshot = Snapshot::of_zones(zones(&[ZONE]));
    snapshot.identity.nsid = Some(vec![b'n'; 128].into());
    assert!(snapshot.tsig.insert(Arc::clone(&key)).is_ok());
    let mut wire = Query::new(&long, "A").option(3, b"").wire();
    let mut verifier = tsig::sign(&key, &mut wire, NOW);
    let signed = answer(&snapshot, &wire, Transport::Udp, NOW);
    assert_eq!(verifier.check(&signed, NOW), Ok(()));
}

#[test]
fn this_client_accepts_what_the_other_implementation_signs() {
    for algorithm in Algorithm::ALL {
        let ours = key(algorithm, SECRET);
        let theirs = other_key(algorithm, SECRET, None);
        let mut request = Query::new("www.example", "A").edns(1232).wire();
        let mut verifier = tsig::sign(&ours, &mut request, NOW);
        let mut message = Message::from_octets(request.clone()).unwrap();
        let now = Time48::from_u64(NOW);
        let sequence = other::ServerSequence::request(&theirs, &mut message, now);
        let mut sequence = sequence.unwrap().expect("the request is signed");
        for _ in 0..3 {
            let builder = MessageBuilder::new_vec().start_answer(&message, Rcode::NOERROR);
            let mut builder = builder.unwrap().additional();
            sequence.answer(&mut builder, now).unwrap();
            assert_eq!(verifier.check(&builder.finish(), NOW), Ok(()));
            assert!(verifier.is_proven());
        }
    }
}

#[test]
fn up_to_99_messages_may_come_unsigned_but_not_the_first_and_the_last() {
    let plain = |id: u8| [0, id, 0x84, 0, 0, 0, 0, 0, 0, 0, 0, 0].to_vec();
    let key = key(Algorithm::HmacSha256, SECRET);
    let mut request = Query::new("example", "AXFR").wire();
    let mut verifier = tsig::sign(&key, &mut request, NOW);
    assert_eq!(
        verifier.clone().check(&plain(1), NOW),
        Err(Unproven::Unsigned)
    );
    let snapshot = serving(Algorithm::HmacSha256);
    let first = answer(&snapshot, &request, Transport::Udp, NOW);
    assert_eq!(verifier.check(&first, NOW), Ok(()));
    assert!(verifier.is_proven());
    for id in 0..99 {
        assert_eq!(verifier.check(&plain(id), NOW), Ok(()));
        assert!(!verifier.is_proven());
    }
    assert_eq!(verifier.check(&plain(99), NOW), Err(Unproven::Unsigned));
}

#[test]
fn a_client_says_what_the_server_did_not_like() {
    let snapshot = serving(Algorithm::HmacSha256);
    let check = |key: Arc<Key>, now: u64, expected: Unproven| {
        let mut request = Query::new("www.example", "A").wire();
        let mut verifier = tsig::sign(&key, &mut request, now);
        let refused = answer(&snapshot, &request, Transport::Udp, NOW);
        assert_eq!(verifier.check(&refused, now), Err(expected));
    };
    check(
        key(Algorithm::HmacSha384, SECRET),
        NOW,
        Unproven::Refused(tsig::BADKEY),
    );
    check(
        key(Algorithm::HmacSha256, b"x"),
        NOW,
        Unproven::Refused(tsig::BADSIG),
    );
    let good = key(Algorithm::HmacSha256, SECRET);
    check(good, NOW + 1_000, Unproven::Refused(tsig::BADTIME));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_changed_bit_passes(bit in any::<prop::sample::Index>()) {
        let snapshot = serving(Algorithm::HmacSha256);
        let mut wire = signed();
        let bit = bit.index(wire.len() * 8);
        wire[bit / 8] ^= 1 << (bit % 8);
        // The identifier is not covered; QR makes it an answer; the case of the key's name does not count.
        let owner = RECORD..FIXED + 10 + 13;
        let free = bit / 8 < 2
            || bit == 16 + 7
            || owner.contains(&(bit / 8)) && bit % 8 == 5;
        if !free {
            let (rcode, tsig) = verdict(&answer(&snapshot, &wire, Transport::Udp, NOW));
            let genuine = tsig.as_ref().is_some_and(|&(error, ..)| error == TsigRcode::NOERROR);
            // Without a TSIG record it is a plain query.
            prop_assert!(!genuine && (tsig.is_none() || rcode == Rcode::NOTAUTH), "{}", bit);
        }
    }

    #[test]
    fn no_changed_bit_of_an_answer_passes(bit in any::<prop::sample::Index>()) {
        let key = key(Algorithm::HmacSha256, SECRET);
        let mut request = Query::new("www.example", "A").wire();
        let mut verifier = tsig::sign(&key, &mut request, NOW);
        let mut signed = answer(&serving(Algorithm::HmacSha256), &request, Transport::Udp, NOW);
        let bit = bit.index(signed.len() * 8);
        let before = signed.clone();
        signed[bit / 8] ^= 1 << (bit % 8);
        let record = before.len() - key_record_length();
        let cased = (record..before.len() - 16 - 32).contains(&(bit / 8)) && bit % 8 == 5;
        if bit / 8 >= 2 && !cased {
            prop_assert!(verifier.check(&signed, NOW).is_err(), "{}", bit);
        }
    }

    #[test]
    fn any_octets_are_checked_without_panic(
        octets in prop::collection::vec(any::<u8>(), 0..300),
        at in any::<prop::sample::Index>(),
    ) {
        let snapshot = serving(Algorithm::HmacSha256);
        let mut wire = signed();
        let at = at.index(wire.len());
        wire.splice(at.., octets.iter().copied());
        let (mut scratch, mut out) = (Scratch::new(), vec![0; 1232]);
        let _ = respond(&snapshot, &wire, &meta(Transport::Udp), &mut scratch, &mut out);
        let key = key(Algorithm::HmacSha256, SECRET);
        let mut verifier = tsig::sign(&key, &mut vec![0; 12], NOW);
        prop_assert!(verifier.check(&wire, NOW).is_err());
    }
}

fn key_record_length() -> usize {
    name::parse(KEY, None).unwrap().len() + 10 + 13 + 16 + 32
}
