//! Answers that depend on who asks.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod common;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use common::{Query, example, example_with, meta, only};
use dns_engine::{
    Client, Outcome, Question, Scratch, Snapshot, Tailor, Tailored, Transport, Verdict, name,
    respond, rtype,
};

/// A small routing policy: `live` by client network, token names as addresses, others by label.
struct Policy;

impl Tailor for Policy {
    fn tailor(&self, question: &Question<'_>, client: &Client, answer: &mut Tailored) -> Verdict {
        assert!(
            question
                .name
                .as_slice()
                .iter()
                .all(|octet| !octet.is_ascii_uppercase())
        );
        let labels: Vec<&[u8]> = question.labels().collect();
        match labels[0] {
            b"_rtsp" if question.rtype == rtype::SRV => {
                let address = client.subnet.map_or(client.source, |subnet| subnet.address);
                let near = matches!(address, IpAddr::V4(ip) if ip.octets()[0] == 198);
                let target =
                    name::parse(if near { "near.edge." } else { "far.edge." }, None).unwrap();
                answer.srv(1, 70, 8554, &target);
                answer.set_ttl(30);
                answer.set_scope(if near { 8 } else { 1 });
                answer.srv(2, 30, 8554, &target);
                answer.a(Ipv4Addr::LOCALHOST);
                Verdict::Answer
            }
            b"_rtsp" => Verdict::Zone,
            b"token" => {
                answer.set_ttl(5);
                answer.a(Ipv4Addr::new(192, 0, 2, 1));
                answer.aaaa(Ipv6Addr::LOCALHOST);
                Verdict::Answer
            }
            b"many" => {
                answer.set_ttl(5);
                (0..=255).for_each(|last| answer.a(Ipv4Addr::new(192, 0, 2, last)));
                Verdict::Answer
            }
            b"empty" => Verdict::NoData,
            b"forged" => Verdict::NxDomain,
            b"refused" => Verdict::Refused,
            b"broken" => Verdict::ServFail,
            _ => Verdict::Zone,
        }
    }
}

const SOA: &str =
    "example. 300 SOA ns1.example. hostmaster.example. 2026112001 3600 900 2419200 300";

#[test]
fn the_answer_follows_the_subnet_then_the_source() {
    let snapshot = example_with(Policy);
    let query = Query::new("_rtsp._tcp.live.example", "SRV");
    let near = query
        .clone()
        .subnet(&[0, 1, 24, 0, 198, 51, 100])
        .ask(&snapshot);
    let owner = "_rtsp._tcp.live.example. 30 SRV";
    let expected = [
        format!("{owner} 1 70 8554 near.edge"),
        format!("{owner} 2 30 8554 near.edge"),
    ];
    assert_eq!(near.answers, expected);
    assert_eq!((near.rcode, &near.flags[..]), (0, "qr aa rd"));
    assert_eq!(near.subnet(), Some(&[0, 1, 24, 8, 198, 51, 100][..]));
    let far = query.edns(1232).ask(&snapshot);
    assert!(far.answers[0].ends_with("far.edge"));
    assert!(far.additional.is_empty());
}

#[test]
fn mapped_sources_are_ipv4() {
    struct Mapped;
    impl Tailor for Mapped {
        fn tailor(&self, _: &Question<'_>, client: &Client, _: &mut Tailored) -> Verdict {
            if client.source.is_ipv4() {
                Verdict::NoData
            } else {
                Verdict::ServFail
            }
        }
    }
    let mut meta = meta(Transport::Udp);
    meta.source = "[::ffff:192.0.2.1]:4000".parse().unwrap();
    let (query, mut out) = (Query::new("mail.example", "A").wire(), [0; 512]);
    let outcome = respond(
        &example_with(Mapped),
        &query,
        &meta,
        &mut Scratch::new(),
        &mut out,
    );
    assert!(matches!(outcome, Outcome::Send(_)) && out[3] == 0);
}

#[test]
fn only_records_of_the_type_asked_are_sent() {
    let snapshot = example_with(Policy);
    let check = |qtype, answers: &[&str], authority: &[&str]| {
        let answer = Query::new("token.example", qtype).ask(&snapshot);
        assert_eq!(answer.answers, answers, "{qtype}");
        assert_eq!(
            (answer.rcode, &answer.authority[..]),
            (0, &authority.map_owned()[..])
        );
    };
    check("A", &["token.example. 5 A 192.0.2.1"], &[]);
    check("AAAA", &["token.example. 5 AAAA ::1"], &[]);
    check("TXT", &[], &[SOA]);
    check("ANY", &["token.example. 3600 HINFO \"RFC8482\" \"\""], &[]);
}

#[test]
fn any_at_a_name_without_records_is_no_data_as_at_a_zones_own() {
    let answer = Query::new("empty.example", "ANY").ask(&example_with(Policy));
    assert_eq!((answer.rcode, answer.answers.len()), (0, 0));
    assert_eq!(answer.authority, [SOA]);
}

trait MapOwned {
    fn map_owned(&self) -> Vec<String>;
}

impl MapOwned for [&str] {
    fn map_owned(&self) -> Vec<String> {
        self.iter().map(|text| (*text).to_owned()).collect()
    }
}

#[test]
fn verdicts_without_records_say_so() {
    let snapshot = example_with(Policy);
    let check = |qname, rcode, flags: &str, soa: bool| {
        let answer = Query::new(qname, "A").ask(&snapshot);
        assert_eq!((answer.rcode, &answer.flags[..]), (rcode, flags), "{qname}");
        assert_eq!(answer.authority, if soa { vec![SOA] } else { vec![] });
    };
    check("empty.example", 0, "qr aa rd", true);
    check("forged.example", 3, "qr aa rd", true);
    check("refused.example", 5, "qr rd", false);
    check("broken.example", 2, "qr rd", false);
    check("mail.example", 0, "qr aa rd", false);
    // Outside every zone nobody is asked.
    assert_eq!(Query::new("forged.test", "A").ask(&snapshot).rcode, 5);
}

#[test]
fn a_tailored_answer_that_does_not_fit_is_truncated_with_its_scope() {
    let snapshot = example_with(Policy);
    let query = Query::new("many.example", "A").subnet(&[0, 1, 24, 0, 198, 51, 100]);
    let cut = query.ask(&snapshot);
    assert_eq!((&cut.flags[..], cut.answers.len()), ("qr aa tc rd", 0));
    assert!(cut.subnet().is_some());
    let whole = query.ask_over(&snapshot, Transport::Tcp);
    assert_eq!((&whole.flags[..], whole.answers.len()), ("qr aa rd", 256));
}

#[test]
fn an_alias_to_a_tailored_name_ends_there_as_its_target_depends_on_the_client() {
    let zone = "$ORIGIN t.\n$TTL 60\n@ SOA n.o. m.o. 1 2 3 4 5\n@ NS n.o.\n\
                alias CNAME token\ntoken A 192.0.2.77\nplain CNAME host\nhost A 192.0.2.5";
    let snapshot = Snapshot::new(common::zones(&[zone]), Policy);
    let ask = |qname| {
        Query::new(qname, "A")
            .subnet(&[0, 1, 8, 0, 9])
            .ask(&snapshot)
    };
    assert_eq!(ask("alias.t").answers, ["alias.t. 60 CNAME token.t."]);
    assert_eq!(ask("alias.t").subnet(), Some(&[0, 1, 8, 0, 9][..]));
    assert_eq!(ask("plain.t").answers.len(), 2);
}

#[test]
fn an_alias_ends_too_where_the_zone_answers_some_clients_only() {
    /// As a service does with clients it knows nothing about.
    struct UnknownClients;
    impl Tailor for UnknownClients {
        fn tailor(
            &self,
            question: &Question<'_>,
            client: &Client,
            answer: &mut Tailored,
        ) -> Verdict {
            if question.labels().next() == Some(b"service") {
                answer.set_scope(client.subnet.map_or(0, |_| 16));
            }
            Verdict::Zone
        }
    }
    let zone = "$ORIGIN t.\n$TTL 60\n@ SOA n.o. m.o. 1 2 3 4 5\n@ NS n.o.\n\
                alias CNAME service\nservice A 192.0.2.77";
    let snapshot = Snapshot::new(common::zones(&[zone]), UnknownClients);
    let query = Query::new("alias.t", "A");
    let known = query
        .clone()
        .subnet(&[0, 1, 24, 0, 198, 51, 100])
        .ask(&snapshot);
    // The default for 198.51.0.0/16 must not get into a cache as everybody's answer to `alias`.
    assert_eq!(known.answers, ["alias.t. 60 CNAME service.t."]);
    assert_eq!(known.subnet(), Some(&[0, 1, 24, 0, 198, 51, 100][..]));
    assert_eq!(query.ask(&snapshot).answers.len(), 2);
}

#[test]
fn the_tailored_path_and_the_zone_give_the_same_octets() {
    struct Same;
    impl Tailor for Same {
        fn tailor(&self, question: &Question<'_>, _: &Client, answer: &mut Tailored) -> Verdict {
            if question.labels().next() != Some(b"s") || question.rtype == rtype::TXT {
                return Verdict::Zone;
            }
            for number in 0..30 {
                let target = name::parse(&format!("Host{number}.Other."), None).unwrap();
                answer.srv(number, 7, 8554, &target);
            }
            answer.set_ttl(60);
            Verdict::Answer
        }
    }
    let mut zone = "$ORIGIN t.\n$TTL 60\n@ SOA n.o. m.o. 1 2 3 4 5\n@ NS n.o.\n".to_owned();
    for number in 0..30 {
        zone += &format!("s SRV {number} 7 8554 Host{number}.Other.\n");
    }
    let (plain, tailored) = (only(&zone), Snapshot::new(common::zones(&[&zone]), Same));
    let questions = [
        Query::new("s.t", "SRV"),
        Query::new("S.T", "SRV"),
        Query::new("s.t", "A"),
    ];
    for question in questions {
        let with_edns = [512, 1232, 4096].map(|size| question.clone().edns(size));
        let with_subnet = question.clone().subnet(&[0, 2, 16, 0, 32, 1]);
        let with_do = question.clone().edns_flags(0x8000);
        for query in with_edns
            .into_iter()
            .chain([question, with_subnet, with_do])
        {
            for transport in [Transport::Udp, Transport::Tcp] {
                let one = query.ask_over(&plain, transport);
                let other = query.ask_over(&tailored, transport);
                assert_eq!(one.octets, other.octets, "{query:?}");
            }
        }
    }
}

#[test]
fn the_summary_tells_counters_what_happened() {
    let (mut scratch, mut out) = (Scratch::new(), [0; 1232]);
    let mut ask = |snapshot: &Snapshot, query: &Query| {
        respond(
            snapshot,
            &query.wire(),
            &meta(Transport::Udp),
            &mut scratch,
            &mut out,
        );
        *scratch.summary()
    };
    let query = Query::new("token.example", "A").subnet(&[0, 1, 8, 0, 9]);
    let summary = ask(&example_with(Policy), &query);
    assert!(summary.tailored && summary.subnet && !summary.truncated);
    assert_eq!((summary.rtype, summary.rcode.0), (1, 0));
    let summary = ask(&example(), &Query::new("token.example", "A"));
    assert!(!summary.tailored && !summary.subnet);
    assert_eq!(summary.rcode.0, 3);
}
