//! Hostile input: mutated packets, and a slow, obvious twin of the zone look-up.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::{Answer, Query, example_with, meta};
use dns_engine::{
    Client, CookieSecret, Cookies, Outcome, Question, Scratch, Snapshot, Tailor, Tailored,
    Transport, Verdict, respond, zonefile,
};
use proptest::prelude::*;

/// Answers by the first octet of the name, so that mutations reach every verdict.
struct Anything;

impl Tailor for Anything {
    fn tailor(&self, question: &Question<'_>, _: &Client, answer: &mut Tailored) -> Verdict {
        let name = question.name.as_slice();
        answer.set_scope(name[1]);
        answer.set_ttl(u32::MAX);
        for _ in 0..name[1] % 64 {
            answer.srv(1, 2, 3, name);
            answer.a([1, 2, 3, 4].into());
        }
        match name[1] % 8 {
            0 => Verdict::Answer,
            1 => Verdict::NoData,
            2 => Verdict::NxDomain,
            3 => Verdict::Refused,
            4 => Verdict::ServFail,
            _ => Verdict::Zone,
        }
    }
}

/// A small deterministic generator (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}

#[test]
fn two_hundred_thousand_mutated_packets_get_lawful_answers_or_none() {
    let mut snapshot = example_with(Anything);
    snapshot.identity.nsid = Some(b"nsid".as_slice().into());
    snapshot.identity.version = Some("version".into());
    snapshot.limits.keepalive = Some(100);
    snapshot.cookies = Some(Cookies::new(CookieSecret([4; 16])));
    let mut seeds = vec![Query::new("version.bind", "TXT").class(3).wire()];
    for qname in [
        "_rtsp._tcp.live.example",
        "a.renamed.example",
        "www.example",
        "x.sub.example",
        ".",
    ] {
        for qtype in ["A", "SRV", "ANY"] {
            let query = Query::new(qname, qtype);
            seeds.push(query.wire());
            seeds.push(
                query
                    .subnet(&[0, 1, 24, 0, 198, 51, 100])
                    .option(3, b"")
                    .wire(),
            );
            seeds.push(
                Query::new(qname, qtype)
                    .option(10, &[7; 24])
                    .option(11, b"")
                    .option(12, &[0; 9])
                    .option(19, b"")
                    .edns_flags(0xC000)
                    .wire(),
            );
        }
    }
    let mut random = Random(2026);
    let (mut scratch, mut out) = (Scratch::new(), vec![0; 65_535]);
    let mut answered = 0;
    for round in 0..200_000 {
        let mut wire = seeds[random.below(seeds.len())].clone();
        for _ in 0..=random.below(4) {
            match random.below(5) {
                0 => wire.truncate(random.below(wire.len() + 1)),
                1 => wire.push(random.next() as u8),
                2 if !wire.is_empty() => {
                    let at = random.below(wire.len());
                    wire.remove(at);
                }
                3 if !wire.is_empty() => {
                    let from = random.below(wire.len());
                    wire.extend_from_within(from..);
                }
                _ if !wire.is_empty() => {
                    let at = random.below(wire.len());
                    wire[at] = random.next() as u8;
                }
                _ => {}
            }
        }
        let transports = [
            Transport::Udp,
            Transport::Udp,
            Transport::Tcp,
            Transport::Tls,
        ];
        let transport = transports[random.below(4)];
        let Outcome::Send(length) =
            respond(&snapshot, &wire, &meta(transport), &mut scratch, &mut out)
        else {
            continue;
        };
        answered += 1;
        let answer = &out[..length];
        assert!(!transport.is_datagram() || length <= 1232, "round {round}");
        assert_eq!(answer[..2], wire[..2], "round {round}");
        assert_eq!(answer[2] & 0xF8, 0x80 | wire[2] & 0x78, "round {round}");
        // Decoding twice is slow, so a sample; family 0 is unknown to one decoder.
        if round % 20 == 0 && !answer.windows(6).any(|window| window == [0, 8, 0, 4, 0, 0]) {
            Answer::decode(answer);
        }
    }
    assert!(answered > 50_000, "{answered}");
}

/// What the look-up says, in a form that both ways produce.
#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Data(BTreeSet<String>),
    NoData,
    Missing,
    Referral(String),
}

/// RFC 1034 §4.3.2 and RFC 4592 read aloud, over a plain list of `owner → types`.
fn twin(
    records: &BTreeMap<Vec<String>, BTreeMap<&str, BTreeSet<String>>>,
    qname: &[String],
    qtype: &str,
) -> Kind {
    let exists = |name: &[String]| records.keys().any(|owner| owner.ends_with(name));
    // The topmost delegation at or above the name decides.
    for depth in (0..qname.len()).rev() {
        let ancestor = &qname[depth..];
        if records
            .get(ancestor)
            .is_some_and(|types| types.contains_key("NS"))
        {
            return Kind::Referral(ancestor.join("."));
        }
    }
    let types = if exists(qname) {
        records.get(qname)
    } else {
        let encloser = (1..=qname.len())
            .map(|depth| &qname[depth..])
            .find(|name| name.is_empty() || exists(name));
        let mut wildcard = vec!["*".to_owned()];
        wildcard.extend_from_slice(encloser.unwrap_or_default());
        if !exists(&wildcard) {
            return Kind::Missing;
        }
        records.get(&wildcard)
    };
    match types.and_then(|types| types.get(qtype)) {
        Some(data) => Kind::Data(data.clone()),
        None => Kind::NoData,
    }
}

fn owners() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(prop::sample::select(vec!["a", "b", "c", "*"]), 1..5)
        .prop_map(|labels| labels.into_iter().map(str::to_owned).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_look_up_agrees_with_its_slow_twin(
        records in prop::collection::vec(
            (owners(), prop::sample::select(vec!["A", "A", "TXT", "NS"]), 1..9_u8), 0..12,
        ),
        questions in prop::collection::vec((owners(), prop::sample::select(vec!["A", "TXT"])), 1..12),
    ) {
        let mut text = "$ORIGIN t.\n$TTL 60\n@ SOA n.o. m.o. 1 2 3 4 5\n@ NS n.o.\n".to_owned();
        let mut model = BTreeMap::<_, BTreeMap<_, BTreeSet<_>>>::new();
        for (owner, rtype, number) in &records {
            let data = match *rtype {
                "A" => format!("192.0.2.{number}"),
                "TXT" => format!("\"{number}\""),
                _ => format!("ns{number}.o."),
            };
            text += &format!("{} {rtype} {data}\n", owner.join("."));
            model.entry(owner.clone()).or_default().entry(*rtype).or_default().insert(data);
        }
        let Ok(zone) = zonefile::parse("t.zone", &text, None) else { return Ok(()) };
        let mut zones = dns_engine::Zones::new();
        prop_assert!(zones.insert(zone).is_ok());
        let snapshot = Snapshot::of_zones(zones);
        for (qname, qtype) in &questions {
            let answer = Query::new(&format!("{}.t", qname.join(".")), qtype).ask(&snapshot);
            let data = |texts: &[String]| -> BTreeSet<String> {
                texts.iter().filter_map(|text| text.split(' ').nth(3)).map(str::to_owned).collect()
            };
            let kind = match (answer.rcode, answer.flags.contains("aa")) {
                (3, true) => Kind::Missing,
                (0, false) => {
                    let owner = answer.authority[0].split(' ').next().unwrap();
                    Kind::Referral(owner.trim_end_matches(".t.").to_owned())
                }
                (0, true) if answer.answers.is_empty() => Kind::NoData,
                (0, true) => Kind::Data(data(&answer.answers)),
                other => panic!("{other:?}"),
            };
            prop_assert_eq!(kind, twin(&model, qname, qtype), "{} {}\n{}", qname.join("."), qtype, text);
        }
    }

    #[test]
    fn any_octets_behind_a_header_are_survived(octets in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut wire = vec![1, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1];
        wire.extend(octets);
        let (mut scratch, mut out) = (Scratch::new(), [0; 1232]);
        respond(&example_with(Anything), &wire, &meta(Transport::Udp), &mut scratch, &mut out);
    }
}
