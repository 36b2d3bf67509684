//! Signed answers: every signature of every answer passes two verifiers, every denial is true, and whoever does
//! not ask for signatures gets what he got before.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod common;
mod verifiers;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use common::{Answer, Query, example, example_with, meta};
use dns_engine::dnssec::{Algorithm, SigningLimits, warm};
use dns_engine::{
    AnswerClass, Client, Outcome, Question, RrSet, Scratch, Snapshot, Tailor, Tailored, Transport,
    Types, Verdict, respond, rtype,
};
use verifiers::{Taken, keys_of, pair, sign, signing, take_apart, verify, wire};

const DO: u32 = 0x8000;
const DO_CO: u32 = 0xC000;
const NOW: u64 = 1_800_000_000;

/// Names of the example zone: existing ones, empty non-terminals, what wildcards and the DNAME make, what is
/// below delegations, and what does not exist.
const NAMES: &[&str] = &[
    "example",
    "ns1.example",
    "mail.example",
    "live.example",
    "_tcp.live.example",
    "_rtsp._tcp.live.example",
    "_RTSP._tcp.Live.EXAMPLE",
    "edge1.example",
    "www.example",
    "web.example",
    "out.example",
    "dangling.example",
    "wild.example",
    "*.wild.example",
    "a.wild.example",
    "a.b.wild.example",
    "host.wild.example",
    "x.host.wild.example",
    "x.aliases.example",
    "*.aliases.example",
    "renamed.example",
    "a.renamed.example",
    "b.renamed.example",
    "target.example",
    "a.target.example",
    "sub.example",
    "ns.sub.example",
    "x.sub.example",
    "far.example",
    "x.far.example",
    "odd.example",
    "nothing.example",
    "a.b.c.nothing.example",
    "*.nothing.example",
    "\\000.example",
    "below.mail.example",
];

const TYPES: &[&str] = &[
    "A",
    "AAAA",
    "NS",
    "SOA",
    "MX",
    "TXT",
    "SRV",
    "CNAME",
    "DNAME",
    "DS",
    "CAA",
    "DNSKEY",
    "CDS",
    "CDNSKEY",
    "NSEC",
    "RRSIG",
    "ANY",
    "HINFO",
    "TYPE65280",
    "TYPE65281",
];

/// A service that depends on the client beside the zone's default, tokens with addresses, and the rest.
struct Policy;

impl Tailor for Policy {
    fn tailor(&self, question: &Question<'_>, client: &Client, answer: &mut Tailored) -> Verdict {
        let labels: Vec<&[u8]> = question.labels().collect();
        answer.set_ttl(30);
        match (labels[0], question.rtype) {
            (b"_rtsp", rtype::SRV) => {
                answer.set_scope(24);
                if client.subnet.is_some_and(|subnet| subnet.source_len == 8) {
                    return Verdict::NoData;
                }
                let near = client.subnet.is_some_and(|subnet| subnet.source_len == 24);
                let target = wire(if near { "NEAR.edge" } else { "far.edge" });
                for weight in [70, 30, 50] {
                    answer.srv(1, weight, 8554, &target);
                }
                Verdict::Answer
            }
            (b"token", rtype::A | rtype::ANY) => {
                answer.a(Ipv4Addr::new(192, 0, 2, 2));
                answer.a(Ipv4Addr::new(192, 0, 2, 1));
                Verdict::Answer
            }
            (b"token", _) => Verdict::NoData,
            (b"between", _) => Verdict::NoData,
            (b"forged", _) => Verdict::NxDomain,
            (b"refused", _) => Verdict::Refused,
            _ => Verdict::Zone,
        }
    }

    fn known(&self, show: &mut dyn FnMut(&[u8], &RrSet)) {
        for target in ["NEAR.edge", "far.edge"] {
            let data = |weight: u8| {
                let numbers = [0, 1, 0, weight, 0x21, 0x6A];
                [&numbers[..], &wire(target)].concat()
            };
            let set = RrSet::new(rtype::SRV, 30, [70, 30, 50].map(data)).unwrap();
            show(&wire("_rtsp._tcp.live.example"), &set);
        }
    }

    fn types(&self, name: &[u8]) -> Types {
        match dns_engine::name::labels(name).next() {
            Some(b"_rtsp") => Types::Beside(&[rtype::SRV]),
            Some(b"token") => Types::Alone(&[rtype::A]),
            _ => Types::Zone,
        }
    }
}

fn ask_octets(snapshot: &Snapshot, query: &Query, transport: Transport) -> Vec<u8> {
    let mut out = vec![0xEE; 65_535];
    let mut scratch = Scratch::new();
    let outcome = respond(
        snapshot,
        &query.wire(),
        &meta(transport),
        &mut scratch,
        &mut out,
    );
    let Outcome::Send(length) = outcome else {
        panic!("no answer to {query:?}: {outcome:?}");
    };
    out.truncate(length);
    out
}

fn ask(snapshot: &Snapshot, qname: &str, qtype: &str, flags: u32) -> (Answer, Taken) {
    let query = Query::new(qname, qtype).edns_flags(flags);
    let octets = ask_octets(snapshot, &query, Transport::Udp);
    let taken = match flags & DO {
        0 => take_apart(&octets),
        _ => verify(&octets, keys_of(snapshot, "example"), &snapshot.zones, NOW),
    };
    (Answer::decode(&octets), taken)
}

fn signed() -> Snapshot {
    sign(example(), Algorithm::EcdsaP256Sha256)
}

fn types(texts: &str) -> BTreeSet<u16> {
    let texts = texts.split_whitespace();
    texts
        .map(|text| match text {
            "NXNAME" => rtype::NXNAME,
            _ => rtype::parse(text).unwrap(),
        })
        .collect()
}

#[test]
fn every_signature_of_every_answer_verifies() {
    for algorithm in Algorithm::ALL {
        for snapshot in [
            sign(example(), algorithm),
            sign(example_with(Policy), algorithm),
        ] {
            let mut signatures = 0;
            for qname in NAMES
                .iter()
                .chain(&["token.example", "forged.example", "between.example"])
            {
                for qtype in TYPES {
                    for flags in [DO, DO_CO] {
                        let query = Query::new(qname, qtype).edns_flags(flags);
                        let octets = ask_octets(&snapshot, &query, Transport::Tcp);
                        let keys = keys_of(&snapshot, "example");
                        let taken = verify(&octets, keys, &snapshot.zones, NOW);
                        let sets = taken.sets.values();
                        signatures += sets.map(|set| set.signatures.len()).sum::<usize>();
                        prove(&snapshot, qname, qtype, &taken);
                    }
                }
            }
            assert!(signatures > 2000, "{signatures}");
        }
    }
}

/// An answer from a signed zone without the type asked must prove that there is none, at the name where the
/// search ended, and an answer with it must not deny it.
fn prove(snapshot: &Snapshot, qname: &str, qtype: &str, taken: &Taken) {
    let zone = snapshot.zones.exact(&wire("example")).unwrap();
    let asked = rtype::parse(qtype).unwrap();
    let mut end = dns_engine::name::lowered(&wire(qname));
    // Follow the aliases of the answer.
    while let Some(set) = taken.sets.get(&(0, end.clone(), rtype::CNAME))
        && ![rtype::CNAME, rtype::ANY].contains(&asked)
    {
        end = set.rdatas[0].clone();
        if !dns_engine::name::is_within(&end, zone.origin()) {
            return;
        }
    }
    let answered = taken.sets.keys().any(|(section, owner, rtype)| {
        *section == 0
            && *owner == end
            && (*rtype == asked || asked == rtype::ANY || asked == rtype::RRSIG)
    });
    let cut = zone.delegation(&end).map(dns_engine::name::lowered);
    if let Some(cut) = cut.filter(|cut| asked != rtype::DS || *cut != end) {
        if taken.authoritative {
            return; // an alias into a delegation
        }
        // A referral: the DS records or their absence.
        let has_ds = taken.sets.contains_key(&(1, cut.clone(), rtype::DS));
        let denies = taken.denials.iter().any(|(section, owner, _, types)| {
            let of_cut = self::types("NS RRSIG NSEC");
            *section == 1 && *owner == cut && *types == of_cut
        });
        assert!(has_ds != denies, "{qname} {qtype}");
        return;
    }
    let denial = taken.denials.iter().find(|(section, ..)| *section == 1);
    assert_eq!(answered, denial.is_none(), "{qname} {qtype}: {taken:?}");
    if let Some((_, owner, next, types)) = denial {
        assert_eq!(*owner, end, "{qname} {qtype}");
        assert_eq!(*next, [b"\x01\0", &end[..]].concat());
        assert!(!types.contains(&asked) && !types.contains(&rtype::CNAME));
        assert!(types.contains(&rtype::RRSIG) && types.contains(&rtype::NSEC));
        assert!(taken.sets.contains_key(&(1, wire("example"), rtype::SOA)));
    }
}

#[test]
fn whoever_does_not_ask_for_signatures_gets_what_he_got_before() {
    let (plain, signed) = (
        example_with(Policy),
        sign(example_with(Policy), Algorithm::Ed25519),
    );
    let of_dnssec = types("DNSKEY CDS CDNSKEY NSEC RRSIG");
    for qname in NAMES {
        for qtype in TYPES {
            if of_dnssec.contains(&rtype::parse(qtype).unwrap()) {
                continue;
            }
            for query in [
                Query::new(qname, qtype),
                Query::new(qname, qtype).edns(1232),
                Query::new(qname, qtype).edns_flags(0x4000),
            ] {
                for transport in [Transport::Udp, Transport::Tcp] {
                    let expected = ask_octets(&plain, &query, transport);
                    assert_eq!(ask_octets(&signed, &query, transport), expected);
                }
            }
        }
    }
}

#[test]
fn unsigned_zones_beside_a_signed_one_stay_as_they_are() {
    let mut snapshot = example();
    snapshot.signing = Some(signing(
        SigningLimits::default(),
        [pair("other.test", Algorithm::Ed25519)],
    ));
    let plain = example();
    for qname in NAMES {
        for qtype in TYPES {
            let query = Query::new(qname, qtype).edns_flags(DO_CO);
            let expected = ask_octets(&plain, &query, Transport::Udp);
            assert_eq!(ask_octets(&snapshot, &query, Transport::Udp), expected);
        }
    }
}

#[test]
fn denials_are_compact() {
    let snapshot = signed();
    let check = |qname: &str, qtype: &str, expected: &str| {
        let (answer, taken) = ask(&snapshot, qname, qtype, DO);
        assert_eq!(answer.rcode, 0, "{qname} {qtype}");
        assert!(answer.answers.is_empty());
        let [(1, owner, _, held)] = &taken.denials[..] else {
            panic!("{taken:?}");
        };
        assert_eq!(*owner, dns_engine::name::lowered(&wire(qname)));
        assert_eq!(*held, types(expected), "{qname} {qtype}");
        // SOA, NSEC and a signature over each.
        assert_eq!(answer.authority.len(), 4);
        assert!(
            answer
                .authority
                .iter()
                .all(|record| record.contains(" 300 "))
        );
    };
    // RFC 9824 §3.1: no such name.
    check("nothing.example", "A", "RRSIG NSEC NXNAME");
    check("a.b.c.nothing.example", "MX", "RRSIG NSEC NXNAME");
    check("Below.MAIL.example", "A", "RRSIG NSEC NXNAME");
    // §3.2: no such type.
    check("mail.example", "AAAA", "A RRSIG NSEC");
    check("Edge1.example", "TXT", "A AAAA RRSIG NSEC");
    check("odd.example", "A", "TYPE65280 RRSIG NSEC");
    check("renamed.example", "A", "DNAME RRSIG NSEC");
    check("example", "A", "NS SOA MX TXT CAA DNSKEY RRSIG NSEC");
    check("example", "DS", "NS SOA MX TXT CAA DNSKEY RRSIG NSEC");
    // Empty non-terminals.
    check("live.example", "A", "RRSIG NSEC");
    check("_tcp.live.example", "SRV", "RRSIG NSEC");
    // §3.3: what a wildcard makes.
    check("a.b.wild.example", "MX", "A TXT RRSIG NSEC");
    check("*.wild.example", "MX", "A TXT RRSIG NSEC");
    // A delegation without DS, asked for it.
    check("far.example", "DS", "NS RRSIG NSEC");
}

#[test]
fn a_missing_name_counts_as_one_whatever_the_response_code() {
    let snapshot = signed();
    let (mut scratch, mut out) = (Scratch::new(), vec![0; 1232]);
    for flags in [0, DO, DO_CO] {
        for (qname, class) in [
            ("nothing.example", AnswerClass::NameError),
            ("dangling.example", AnswerClass::NameError),
            ("live.example", AnswerClass::NoData),
            ("mail.example", AnswerClass::Data),
        ] {
            let query = Query::new(qname, "A").edns_flags(flags).wire();
            respond(
                &snapshot,
                &query,
                &meta(Transport::Udp),
                &mut scratch,
                &mut out,
            );
            assert_eq!(scratch.summary().class, class, "{qname} {flags:x}");
        }
    }
}

#[test]
fn the_flag_co_keeps_nxdomain_and_is_given_back() {
    let snapshot = signed();
    let check = |qname: &str, flags, rcode, given_back| {
        let (answer, _) = ask(&snapshot, qname, "A", flags);
        assert_eq!(answer.rcode, rcode, "{qname} {flags:x}");
        assert_eq!(answer.opt.unwrap().1 & 0xFFFF, given_back);
    };
    check("nothing.example", DO, 0, DO);
    check("nothing.example", DO_CO, 3, DO_CO);
    check("dangling.example", DO, 0, DO);
    check("dangling.example", DO_CO, 3, DO_CO);
    check("live.example", DO_CO, 0, DO_CO);
    check("mail.example", DO_CO, 0, DO_CO);
    // Without DO nothing is compact, so nothing is given back.
    let plain = Query::new("nothing.example", "A").edns_flags(0x4000);
    let answer = plain.ask(&snapshot);
    assert_eq!((answer.rcode, answer.opt.unwrap().1), (3, 0));
}

#[test]
fn referrals_prove_whether_the_child_is_signed() {
    let (answer, taken) = ask(&signed(), "x.sub.example", "A", DO);
    assert_eq!(answer.flags, "qr rd");
    assert!(
        taken
            .sets
            .contains_key(&(1, wire("sub.example"), rtype::DS))
    );
    assert!(answer.authority[0].contains(" NS ") && answer.authority[2].contains(" DS "));
    let glue = taken.sets.keys().filter(|(section, ..)| *section == 2);
    assert_eq!(glue.count(), 3, "unsigned");
    let (answer, taken) = ask(&signed(), "a.b.far.example", "TXT", DO);
    assert_eq!(answer.flags, "qr rd");
    let [(1, owner, next, held)] = &taken.denials[..] else {
        panic!("{taken:?}");
    };
    assert_eq!(
        (owner, next),
        (&wire("far.example"), &wire("\\000.far.example"))
    );
    assert_eq!(*held, types("NS RRSIG NSEC"));
    let (answer, taken) = ask(&signed(), "sub.example", "DS", DO);
    assert_eq!(answer.flags, "qr aa rd");
    assert!(
        taken
            .sets
            .contains_key(&(0, wire("sub.example"), rtype::DS))
    );
}

#[test]
fn aliases_are_signed_but_for_those_a_dname_makes() {
    let owners = |qname: &str| -> Vec<(String, usize)> {
        let (_, taken) = ask(&signed(), qname, "A", DO);
        let answers = taken.sets.iter().filter(|((section, ..), _)| *section == 0);
        answers
            .map(|((_, owner, rtype), set)| {
                let text = format!("{} {}", dns_engine::name::text(owner), rtype::text(*rtype));
                (text, set.signatures.len())
            })
            .collect()
    };
    let own = |texts: &[(&str, usize)]| -> Vec<(String, usize)> {
        texts
            .iter()
            .map(|(text, count)| ((*text).to_owned(), *count))
            .collect()
    };
    assert_eq!(
        owners("a.renamed.example"),
        own(&[
            ("a.target.example. A", 1),
            ("a.renamed.example. CNAME", 0),
            ("renamed.example. DNAME", 1),
        ])
    );
    assert_eq!(
        owners("www.example"),
        own(&[("web.example. A", 1), ("www.example. CNAME", 1)])
    );
    assert_eq!(
        owners("x.aliases.example"),
        own(&[("x.aliases.example. CNAME", 1), ("web.example. A", 1)])
    );
}

#[test]
fn keys_are_answered_whether_signatures_are_wanted_or_not() {
    let snapshot = signed();
    for (flags, records) in [(0, 2), (DO, 3)] {
        let (answer, _) = ask(&snapshot, "example", "DNSKEY", flags);
        assert_eq!(answer.answers.len(), records);
        assert!(answer.answers[0].starts_with("example. 3600 DNSKEY 257 3 13 "));
    }
    let (answer, _) = ask(&snapshot, "example", "CDS", DO);
    assert!(answer.answers.is_empty(), "nothing is asked of the parent");
    let (answer, _) = ask(&snapshot, "www.example", "DNSKEY", 0);
    assert!(
        answer.answers[0].contains("CNAME"),
        "only the zone's own name has keys"
    );
}

#[test]
fn proofs_can_be_asked_for_by_themselves() {
    let snapshot = signed();
    let nsec = |qname: &str, flags| ask(&snapshot, qname, "NSEC", flags).0;
    let expected = "mail.example. 300 NSEC \\000.mail.example. A RRSIG NSEC";
    assert_eq!(nsec("mail.example", 0).answers, [expected]);
    assert_eq!(nsec("mail.example", DO).answers.len(), 2);
    assert!(nsec("www.example", DO).answers[0].ends_with("CNAME RRSIG NSEC"));
    assert!(nsec("live.example", DO).answers[0].ends_with("\\000.live.example. RRSIG NSEC"));
    let missing = nsec("nothing.example", DO);
    assert_eq!((missing.rcode, missing.answers.len()), (0, 2));
    assert!(missing.answers[0].contains("TYPE128") || missing.answers[0].contains("NXNAME"));
    let plain = nsec("nothing.example", 0);
    assert_eq!((plain.rcode, plain.answers.len()), (3, 0));
    assert_eq!(
        nsec("x.sub.example", DO).flags,
        "qr rd",
        "the child's to say"
    );
    // One signature stands for all (RFC 8482 §4.1).
    for flags in [0, DO] {
        let (answer, _) = ask(&snapshot, "example", "RRSIG", flags);
        assert_eq!(answer.answers.len(), 1);
        assert!(answer.answers[0].starts_with("example. 300 RRSIG NSEC 13 1 300 "));
    }
}

#[test]
fn tailored_answers_are_signed_and_their_types_told_whoever_asks() {
    let snapshot = sign(example_with(Policy), Algorithm::EcdsaP256Sha256);
    let keys = keys_of(&snapshot, "example");
    let mut seen = BTreeSet::new();
    for source_len in [24, 16, 24] {
        let subnet = [
            &[0, 1, source_len, 0][..],
            &[198, 51, 100][..usize::from(source_len / 8)],
        ];
        let query = Query::new("_rtsp._tcp.LIVE.example", "SRV")
            .edns_flags(DO)
            .subnet(&subnet.concat());
        let octets = ask_octets(&snapshot, &query, Transport::Udp);
        let taken = verify(&octets, keys, &snapshot.zones, NOW);
        let set = &taken.sets[&(0, wire("_rtsp._tcp.live.example"), rtype::SRV)];
        assert_eq!(
            (set.rdatas.len(), set.signatures.len(), set.ttl),
            (3, 1, 30)
        );
        seen.insert(set.signatures[0].octets.clone());
    }
    assert_eq!(
        seen.len(),
        2,
        "one for each answer; the third is the first again"
    );
    let held = |qname: &str, qtype: &str| ask(&snapshot, qname, qtype, DO).1.denials[0].3.clone();
    assert_eq!(
        held("_rtsp._tcp.live.example", "A"),
        types("SRV RRSIG NSEC")
    );
    assert_eq!(
        held("_rtsp._tcp.new.example", "TXT"),
        types("NXNAME RRSIG NSEC")
    );
    assert_eq!(held("token.example", "AAAA"), types("A RRSIG NSEC"));
    assert_eq!(held("token.example", "TXT"), types("A RRSIG NSEC"));
    assert_eq!(held("token.example", "NSEC"), types("A RRSIG NSEC"));
    assert_eq!(held("between.example", "A"), types("RRSIG NSEC"));
    assert_eq!(held("forged.example", "A"), types("NXNAME RRSIG NSEC"));
    assert_eq!(held("*.wild.example", "MX"), types("A TXT RRSIG NSEC"));
    let (answer, _) = ask(&snapshot, "refused.example", "A", DO);
    assert_eq!((answer.rcode, answer.authority.len()), (5, 0));
}

/// What one client does not have others may: a proof of it is for nobody else (RFC 8198 knows no scopes).
#[test]
fn a_denial_for_one_client_s_network_is_not_kept() {
    let snapshot = sign(example_with(Policy), Algorithm::EcdsaP256Sha256);
    let keys = keys_of(&snapshot, "example");
    let query = Query::new("_rtsp._tcp.live.example", "SRV").edns_flags(DO);
    let octets = ask_octets(&snapshot, &query.subnet(&[0, 1, 8, 0, 198]), Transport::Udp);
    let taken = verify(&octets, keys, &snapshot.zones, NOW);
    assert_eq!(taken.denials[0].3, types("RRSIG NSEC"));
    let ttl = |owner: &str, rtype| taken.sets[&(1, wire(owner), rtype)].ttl;
    assert_eq!(ttl("_rtsp._tcp.live.example", rtype::NSEC), 0);
    assert_eq!(ttl("example", rtype::SOA), 300);
}

/// For each name and type: the type is in the name's NSEC record if and only if a question for it has an answer.
#[test]
fn the_types_of_a_name_are_exactly_those_it_answers() {
    for snapshot in [signed(), sign(example_with(Policy), Algorithm::Ed25519)] {
        for qname in NAMES
            .iter()
            .chain(&["token.example", "forged.example", "between.example"])
        {
            let name = dns_engine::name::lowered(&wire(qname));
            let (_, taken) = ask(&snapshot, qname, "NSEC", DO);
            let Some((0, owner, _, held)) = taken.denials.first() else {
                continue; // a referral
            };
            if *owner != name {
                continue; // below a DNAME
            }
            for qtype in TYPES
                .iter()
                .filter(|qtype| !["ANY", "HINFO"].contains(qtype))
            {
                let asked = rtype::parse(qtype).unwrap();
                let (_, taken) = ask(&snapshot, qname, qtype, DO);
                let answered = match asked {
                    rtype::RRSIG => !taken.sets.is_empty(),
                    _ => taken.sets.contains_key(&(0, name.clone(), asked)),
                };
                assert_eq!(held.contains(&asked), answered, "{qname} {qtype} {held:?}");
            }
        }
    }
}

#[test]
fn names_too_long_for_a_name_below_are_denied_as_well() {
    let snapshot = signed();
    let row = format!("{}.", "a".repeat(63)).repeat(3);
    for length in 49..=53 {
        let qname = format!("{}.{row}example", "b".repeat(length));
        let (answer, taken) = ask(&snapshot, &qname, "A", DO);
        assert_eq!(answer.rcode, 0);
        let (_, owner, next, held) = &taken.denials[0];
        assert_eq!(
            (*owner == wire(&qname), held),
            (true, &types("NXNAME RRSIG NSEC"))
        );
        assert!(next.len() <= 255 && next != owner);
    }
}

#[test]
fn over_the_budget_a_datagram_sends_the_client_to_a_stream() {
    let limits = SigningLimits {
        signatures_per_second: 3,
        ..SigningLimits::default()
    };
    let mut snapshot = example();
    snapshot.signing = Some(signing(limits, [pair("example", Algorithm::Ed25519)]));
    let query = |number: u32| Query::new(&format!("n{number}.example"), "A").edns_flags(DO);
    // The first takes two, for SOA and NSEC; each one after it one.
    for (number, truncated) in [(1, false), (2, false), (3, true), (4, true), (1, false)] {
        let answer = query(number).ask(&snapshot);
        assert_eq!(answer.flags.contains("tc"), truncated, "{number}");
        assert_eq!(answer.authority.is_empty(), truncated);
    }
    let octets = ask_octets(&snapshot, &query(3), Transport::Tcp);
    let taken = verify(&octets, keys_of(&snapshot, "example"), &snapshot.zones, NOW);
    assert_eq!(taken.denials.len(), 1);
    assert!(!query(3).ask(&snapshot).flags.contains("tc"), "made by now");
    let plain = Query::new("n5.example", "A").ask(&snapshot);
    assert_eq!(plain.rcode, 3, "who wants no signatures is not concerned");
    let counts = snapshot.signing.unwrap().signatures().counts();
    assert_eq!((counts.made, counts.over_budget), (4, 2));
    // Additional records are left out rather than the answer.
    let mut snapshot = example();
    snapshot.signing = Some(signing(
        SigningLimits {
            signatures_per_second: 1,
            ..SigningLimits::default()
        },
        [pair("example", Algorithm::Ed25519)],
    ));
    let (answer, _) = ask(&snapshot, "example", "MX", DO);
    assert_eq!((answer.answers.len(), answer.additional.len()), (2, 0));
    let (answer, _) = ask(&signed(), "example", "MX", DO);
    assert_eq!((answer.answers.len(), answer.additional.len()), (2, 2));
}

#[test]
fn what_does_not_fit_with_its_signatures_is_truncated() {
    let snapshot = signed();
    let keys = keys_of(&snapshot, "example");
    for qname in NAMES {
        for qtype in TYPES {
            for size in [512, 600, 700, 1232] {
                let mut query = Query::new(qname, qtype).edns_flags(DO);
                query.edns.as_mut().unwrap().0 = size;
                let octets = ask_octets(&snapshot, &query, Transport::Udp);
                assert!(octets.len() <= usize::from(size));
                verify(&octets, keys, &snapshot.zones, NOW);
            }
        }
    }
}

#[test]
fn what_was_signed_ahead_is_not_signed_again() {
    let snapshot = sign(example_with(Policy), Algorithm::Ed25519);
    let warmed = warm(&snapshot, NOW);
    // DNSKEY, what the zone speaks for but for wildcards, and both answers of the tailor.
    assert_eq!((warmed.rrsets, warmed.made), (24, 24));
    assert_eq!(warm(&snapshot, NOW).made, 0);
    let zone = snapshot.zones.exact(&wire("example")).unwrap();
    for node in zone.nodes() {
        let owner = dns_engine::name::text(node.owner());
        for set in node.rrsets() {
            ask(&snapshot, &owner, &rtype::text(set.rtype), DO);
        }
    }
    ask(&snapshot, "example", "DNSKEY", DO);
    let counts = snapshot.signing.as_ref().unwrap().signatures().counts();
    // What wildcards make, here under their own names, and the proof that a delegation has no DS.
    assert_eq!(counts.made - warmed.made, 4, "{counts:?}");
    assert_eq!(
        warm(&snapshot, NOW + 8 * 86_400).made,
        24,
        "the next week's"
    );
}

#[test]
fn other_case_and_other_times_are_the_same_signature_within_its_window() {
    let snapshot = signed();
    let made = || {
        snapshot
            .signing
            .as_ref()
            .unwrap()
            .signatures()
            .counts()
            .made
    };
    let first = ask_octets(
        &snapshot,
        &Query::new("mail.example", "A").edns_flags(DO),
        Transport::Udp,
    );
    let before = made();
    let second = ask_octets(
        &snapshot,
        &Query::new("MAIL.example", "A").edns_flags(DO),
        Transport::Udp,
    );
    assert_eq!(made(), before);
    assert_eq!(first[30..], second[30..], "but for the question");
}
