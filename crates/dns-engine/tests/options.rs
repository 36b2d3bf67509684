//! EDNS options besides client subnets and cookies.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod common;

use common::{Query, example, example_with, only};
use dns_engine::{Client, Question, Snapshot, Tailor, Tailored, Transport, Verdict, ede};
use proptest::prelude::*;

const ENCRYPTED: [Transport; 3] = [Transport::Tls, Transport::Https, Transport::Quic];

#[test]
fn keepalive_is_told_over_tcp_and_tls_to_who_asks() {
    // RFC 7828 §3.3.2; RFC 9250 §5.5.2 forbids it over QUIC.
    let mut snapshot = example();
    snapshot.limits.keepalive = Some(300);
    let asked = Query::new("mail.example", "A").option(11, b"");
    let unasked = Query::new("mail.example", "A").edns(1232);
    for transport in [Transport::Tcp, Transport::Tls] {
        let answer = asked.ask_over(&snapshot, transport);
        assert_eq!(answer.options(), [(11, &[1, 44][..])], "{transport:?}");
        assert_eq!(unasked.ask_over(&snapshot, transport).options(), []);
        assert_eq!(asked.ask_over(&example(), transport).options(), []);
    }
    for transport in [Transport::Udp, Transport::Https, Transport::Quic] {
        let answer = asked.ask_over(&snapshot, transport);
        assert_eq!((answer.rcode, answer.options()), (0, vec![]));
    }
}

#[test]
fn a_keepalive_time_in_a_query_is_malformed_where_the_option_has_a_meaning() {
    let query = Query::new("mail.example", "A").option(11, &[0, 1]);
    for transport in [Transport::Tcp, Transport::Tls] {
        assert_eq!(query.ask_over(&example(), transport).rcode, 1);
    }
    // Over UDP it is to be ignored (RFC 7828 §3.2.1).
    assert_eq!(query.ask_over(&example(), Transport::Udp).rcode, 0);
}

#[test]
fn padded_queries_get_padded_answers_under_encryption_only() {
    // RFC 8467 §4.1: blocks of 468 octets.
    let texts = (0..30).map(|n| format!("t{n} TXT \"{}\"\n", "x".repeat(40 * (n % 6))));
    let records: String = (0..9)
        .map(|n| format!("many TXT \"{n}{}\"\n", "y".repeat(200)))
        .collect();
    let zone = "$ORIGIN t.\n$TTL 60\n@ SOA n.o. m.o. 1 2 3 4 5\n@ NS n.o.\n".to_owned() + &records;
    let snapshot = only(&(zone + &texts.collect::<String>()));
    for qname in ["many.t", "t1.t", "t5.t", "none.t", "other"] {
        let padded = Query::new(qname, "TXT").option(12, &[0; 17]);
        let plain = Query::new(qname, "TXT").edns(1232);
        for transport in ENCRYPTED {
            let answer = padded.ask_over(&snapshot, transport);
            assert_eq!(answer.octets.len() % 468, 0, "{qname} {transport:?}");
            let (code, padding) = answer.options().into_iter().next_back().unwrap();
            assert_eq!(code, 12);
            assert!(padding.iter().all(|&octet| octet == 0));
            let bare = plain.ask_over(&snapshot, transport);
            assert!(bare.option(12).is_none());
            assert!(answer.octets.len() < bare.octets.len() + 468 + 4);
        }
        for transport in [Transport::Udp, Transport::Tcp] {
            assert!(padded.ask_over(&snapshot, transport).option(12).is_none());
        }
    }
}

#[test]
fn an_answer_of_64_kib_has_no_room_for_padding_and_goes_without() {
    let records: String = (0..262)
        .map(|n| format!("@ TXT \"{n:03}{}\"\n", "z".repeat(232)))
        .collect();
    let mut zone = "$ORIGIN t.\n$TTL 60\n@ SOA n.o. m.o. 1 2 3 4 5\n@ NS n.o.\n".to_owned();
    zone += &records;
    let query = Query::new("t", "TXT").option(12, b"");
    for length in 0..200 {
        let more = format!("@ TXT \"{}\"\n", "w".repeat(length));
        let answer = query.ask_over(&only(&(zone.clone() + &more)), Transport::Tls);
        let size = answer.octets.len();
        assert!(size.is_multiple_of(468) || size > 65_535 - 468, "{size}");
        assert!(!answer.flags.contains("tc"));
    }
}

#[test]
fn the_zone_version_is_told_to_who_asks() {
    // RFC 9660 §3.2: also with errors and referrals, but for names of our zones only.
    let serial = 2_026_112_001_u32.to_be_bytes();
    let expected = [&[1, 0][..], &serial].concat();
    for qname in [
        "mail.example",
        "nothing.example",
        "x.sub.example",
        "example",
    ] {
        let answer = Query::new(qname, "A").option(19, b"").ask(&example());
        assert_eq!(answer.option(19), Some(&expected[..]), "{qname}");
        let unasked = Query::new(qname, "A").edns(1232).ask(&example());
        assert_eq!(unasked.option(19), None);
        // What a query puts into it is ignored.
        let filled = Query::new(qname, "A").option(19, &[1, 2, 3]);
        assert_eq!(filled.ask(&example()).option(19), Some(&expected[..]));
    }
    let elsewhere = Query::new("other.test", "A")
        .option(19, b"")
        .ask(&example());
    assert_eq!((elsewhere.rcode, elsewhere.option(19)), (5, None));
}

/// Says why, whatever it decides.
struct Explains(Verdict, &'static str);

impl Tailor for Explains {
    fn tailor(&self, _: &Question<'_>, _: &Client, answer: &mut Tailored) -> Verdict {
        answer.set_ede(ede::STALE_ANSWER, self.1);
        self.0
    }
}

#[test]
fn the_tailor_may_say_why() {
    for verdict in [Verdict::Zone, Verdict::NxDomain, Verdict::ServFail] {
        let snapshot = example_with(Explains(verdict, "the map is old"));
        let answer = Query::new("mail.example", "A").edns(1232).ask(&snapshot);
        let expected = (3, "the map is old".to_owned());
        assert_eq!(answer.extended_error(), Some(expected), "{verdict:?}");
        let plain = Query::new("mail.example", "A").ask(&snapshot);
        assert_eq!(plain.opt, None);
    }
}

/// Says no, and nothing else.
struct SaysNo(Verdict);

impl Tailor for SaysNo {
    fn tailor(&self, _: &Question<'_>, _: &Client, _: &mut Tailored) -> Verdict {
        self.0
    }
}

#[test]
fn a_tailor_that_says_no_without_a_reason_gets_one() {
    for (verdict, rcode, code) in [(Verdict::ServFail, 2, 14), (Verdict::Refused, 5, 18)] {
        let answer = Query::new("mail.example", "A")
            .edns(1232)
            .ask(&example_with(SaysNo(verdict)));
        let expected = Some((code, String::new()));
        assert_eq!((answer.rcode, answer.extended_error()), (rcode, expected));
    }
}

#[test]
fn the_words_go_first_then_the_code_and_records_stay() {
    const WORDS: &str = "as many words as do not fit beside the records of the answer";
    let snapshot = |size: usize| {
        let mut zone = "$ORIGIN t.\n$TTL 60\n@ SOA n.o. m.o. 1 2 3 4 5\n@ NS n.o.\n".to_owned();
        zone += &format!("a TXT \"{}\" \"{}\"\n", "v".repeat(230), "v".repeat(size));
        Snapshot::new(common::zones(&[&zone]), Explains(Verdict::Zone, WORDS))
    };
    let mut seen = [0; 3];
    for size in 100..256 {
        let query = Query::new("a.t", "TXT").edns(512);
        let answer = query.ask(&snapshot(size));
        assert!(answer.octets.len() <= 512);
        if answer.flags.contains("tc") {
            continue;
        }
        assert_eq!(answer.answers.len(), 1);
        match answer.extended_error() {
            Some((3, words)) if words == WORDS => seen[0] += 1,
            Some((3, words)) if words.is_empty() => seen[1] += 1,
            None => seen[2] += 1,
            other => panic!("{other:?}"),
        }
    }
    // The option without its words is 6 octets.
    assert_eq!(seen[1..], [WORDS.len(), 6]);
    assert!(seen[0] > 50);
}

#[test]
fn refusals_say_why() {
    let check = |query: &Query, snapshot: &Snapshot, rcode: u16, code: u16| {
        let answer = query.clone().edns(1232).ask(snapshot);
        let expected = Some((code, String::new()));
        assert_eq!((answer.rcode, answer.extended_error()), (rcode, expected));
    };
    let snapshot = example();
    check(&Query::new("other.test", "A"), &snapshot, 5, 20);
    check(&Query::new("example", "AXFR"), &snapshot, 5, 18);
    check(&Query::new("example", "A").class(4), &snapshot, 5, 21);
    check(&Query::new("example", "TYPE128"), &snapshot, 1, 30);
    let empty = Snapshot::of_zones(dns_engine::Zones::new());
    check(&Query::new("example", "A"), &empty, 5, 14);
}

#[test]
fn every_option_at_once_fits_in_512_octets_beside_the_longest_question() {
    let mut snapshot = example();
    snapshot.identity.nsid = Some(vec![b'n'; 300].into());
    snapshot.limits.keepalive = Some(1);
    snapshot.cookies = Some(dns_engine::Cookies::new(dns_engine::CookieSecret([9; 16])));
    let long = ["x".repeat(63), "y".repeat(63), "z".repeat(63)].join(".") + &".w".repeat(27);
    let query = Query::new(&format!("{long}.example"), "A")
        .edns(512)
        .option(8, &[[0, 2, 128, 0].as_slice(), &[0x20; 16]].concat())
        .option(3, b"")
        .option(10, b"clientid")
        .option(11, b"")
        .option(19, b"")
        .option(12, b"");
    assert_eq!(query.question.len(), 255 + 4);
    let answer = query.ask(&snapshot);
    let codes: Vec<u16> = answer.options().iter().map(|(code, _)| *code).collect();
    assert_eq!(codes, [8, 3, 10, 19]);
    assert!(answer.octets.len() <= 512);
    let over_tls = query.ask_over(&snapshot, Transport::Tls);
    let codes: Vec<u16> = over_tls.options().iter().map(|(code, _)| *code).collect();
    assert_eq!(codes, [8, 3, 10, 11, 19, 12]);
}

proptest! {
    #[test]
    fn any_option_data_is_answered_and_what_is_malformed_is_formerr(
        options in prop::collection::vec(
            (
                prop_oneof![
                    Just(3_u16), Just(8), Just(10), Just(11), Just(12), Just(15), Just(19), any::<u16>(),
                ],
                prop::collection::vec(any::<u8>(), 0..48),
            ),
            0..6,
        ),
        transport in prop::sample::select(vec![Transport::Udp, Transport::Tcp, Transport::Tls]),
    ) {
        let mut snapshot = example();
        snapshot.cookies = Some(dns_engine::Cookies::new(dns_engine::CookieSecret([9; 16])));
        snapshot.limits.keepalive = Some(100);
        let mut query = Query::new("mail.example", "A").edns(1232);
        for (code, data) in &options {
            query = query.option(*code, data);
        }
        let subnets: Vec<&Vec<u8>> = options.iter().filter(|(code, _)| *code == 8).map(|(_, data)| data).collect();
        let cookie = options.iter().find(|(code, _)| *code == 10);
        let time = options.iter().rfind(|(code, _)| *code == 11).is_some_and(|(_, data)| !data.is_empty());
        let malformed = subnets.len() > 1
            || subnets.iter().any(|data| !lawful_subnet(data))
            || cookie.is_some_and(|(_, data)| !matches!(data.len(), 8 | 16..=40))
            || time && transport != Transport::Udp;
        // One decoder does not know family 0.
        prop_assume!(malformed || subnets.iter().all(|data| data[1] != 0));
        let answer = query.ask_over(&snapshot, transport);
        prop_assert_eq!(answer.rcode, u16::from(malformed), "{:?}", options);
        for (code, _) in answer.options() {
            prop_assert!(options.iter().any(|(asked, _)| *asked == code), "{} unasked", code);
        }
    }
}

/// RFC 7871 §6 read aloud.
fn lawful_subnet(data: &[u8]) -> bool {
    let [0, family, source, 0, address @ ..] = data else {
        return false;
    };
    let bits = match family {
        0 => 0,
        1 => 32,
        2 => 128,
        _ => return false,
    };
    let whole = usize::from(*source).div_ceil(8);
    let set = |bit: usize| address[bit / 8] & (0x80 >> (bit % 8)) != 0;
    *source <= bits && address.len() == whole && !(usize::from(*source)..8 * whole).any(set)
}
