//! Answers from static zones: RFC 1034 §4.3.2, wildcards (RFC 4592), negatives (RFC 2308), referrals,
//! aliases, additional data, size limits. Every answer passes two independent decoders.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod common;

use common::{Answer, Query, example, only};
use dns_engine::Transport;

const SOA: &str =
    "example. 300 SOA ns1.example. hostmaster.example. 2026112001 3600 900 2419200 300";

fn ask(qname: &str, qtype: &str) -> Answer {
    Query::new(qname, qtype).edns(1232).ask(&example())
}

#[track_caller]
fn check(qname: &str, qtype: &str, rcode: u16, answers: &[&str], authority: &[&str]) {
    let answer = ask(qname, qtype);
    assert_eq!(answer.rcode, rcode, "{answer:?}");
    assert_eq!(answer.answers, answers);
    assert_eq!(answer.authority, authority);
    assert_eq!(answer.flags, "qr aa rd");
}

#[test]
fn gives_the_records_of_an_exact_name() {
    check(
        "mail.example",
        "A",
        0,
        &["mail.example. 3600 A 192.0.2.25"],
        &[],
    );
    check(
        "example",
        "CAA",
        0,
        &["example. 3600 CAA 0 issue \"ca.test\""],
        &[],
    );
    check(
        "odd.example",
        "TYPE65280",
        0,
        &["odd.example. 3600 TYPE65280 \\# 3 01 02 03"],
        &[],
    );
    let text = "example. 3600 TXT \"v=spf1 -all\" \"second string\"";
    check("example", "TXT", 0, &[text], &[]);
}

#[test]
fn says_no_data_at_names_without_the_type_and_at_empty_non_terminals() {
    check("mail.example", "AAAA", 0, &[], &[SOA]);
    check("_tcp.live.example", "SRV", 0, &[], &[SOA]);
    check("live.example", "A", 0, &[], &[SOA]);
    check("mail.example", "TYPE65281", 0, &[], &[SOA]);
    check("wild.example", "TXT", 0, &[], &[SOA]);
}

#[test]
fn says_no_such_name_with_the_negative_ttl() {
    check("nothing.example", "A", 3, &[], &[SOA]);
    check("a.b.c.nothing.example", "A", 3, &[], &[SOA]);
    check("below.mail.example", "A", 3, &[], &[SOA]);
}

#[test]
fn takes_the_lower_of_the_soa_ttl_and_its_minimum() {
    let zone = "$ORIGIN t.\n$TTL 60\n@ SOA ns.o. m.o. 1 2 3 4 86400\n@ NS ns.o.";
    let answer = Query::new("x.t", "A").ask(&only(zone));
    assert_eq!(answer.authority, ["t. 60 SOA ns.o. m.o. 1 2 3 4 86400"]);
}

#[test]
fn the_negative_record_is_right_wherever_its_names_are() {
    let soa = |zone: &str, names: &str, ask: &str, expected: &str| {
        let text = format!(
            "$ORIGIN {zone}\n$TTL 60\n@ SOA {names} 1 2 3 4 5\n@ NS ns.o.\nns.o. A 192.0.2.1"
        );
        let text = if zone == "." {
            text
        } else {
            text.replace("\nns.o. A 192.0.2.1", "")
        };
        let answer = Query::new(ask, "TXT").ask(&only(&text));
        assert_eq!(answer.authority, [format!("{expected} 1 2 3 4 5")]);
        answer.octets.len()
    };
    soa("z.t.", "ns.o. m.o.", "x.z.t", "z.t. 5 SOA ns.o. m.o.");
    soa("z.t.", "z.t. m.Z.T.", "X.y.z.T", "z.T. 5 SOA z.T. m.z.T.");
    soa("z.t.", "a.z.t. xz.t.", "z.t", "z.t. 5 SOA a.z.t. xz.t.");
    soa(".", ". ns.o.", "x", ". 5 SOA . ns.o.");
    soa(".", "ns.o. .", ".", ". 5 SOA ns.o. .");
    // Header, question, record: owner and both names lead to the question.
    let length = soa(
        "z.t.",
        "ns.z.t. m.z.t.",
        "x.z.t",
        "z.t. 5 SOA ns.z.t. m.z.t.",
    );
    assert_eq!(length, 12 + (7 + 4) + 12 + (3 + 2) + (2 + 2) + 20);
}

#[test]
fn synthesises_from_wildcards_below_the_closest_encloser_only() {
    check(
        "a.wild.example",
        "TXT",
        0,
        &["a.wild.example. 3600 TXT \"synthesised\""],
        &[],
    );
    check(
        "a.b.wild.example",
        "A",
        0,
        &["a.b.wild.example. 3600 A 192.0.2.99"],
        &[],
    );
    check("a.wild.example", "MX", 0, &[], &[SOA]);
    // `host.wild` is an empty non-terminal: it exists, and hides the wildcard for what is below.
    check("host.wild.example", "A", 0, &[], &[SOA]);
    check("x.host.wild.example", "A", 3, &[], &[SOA]);
    // The wildcard itself is an ordinary name.
    check(
        "*.wild.example",
        "A",
        0,
        &["*.wild.example. 3600 A 192.0.2.99"],
        &[],
    );
    let alias = [
        "x.aliases.example. 3600 CNAME web.example.",
        "web.example. 3600 A 192.0.2.80",
    ];
    check("x.aliases.example", "A", 0, &alias, &[]);
}

#[test]
fn follows_aliases_inside_the_zone_and_stops_at_its_edge() {
    let alias = "www.example. 3600 CNAME web.example.";
    check(
        "www.example",
        "A",
        0,
        &[alias, "web.example. 3600 A 192.0.2.80"],
        &[],
    );
    check("www.example", "CNAME", 0, &[alias], &[]);
    check("www.example", "AAAA", 0, &[alias], &[SOA]);
    check("www.example", "ANY", 0, &[alias], &[]);
    check(
        "out.example",
        "A",
        0,
        &["out.example. 3600 CNAME host.elsewhere.test."],
        &[],
    );
    let dangling = "dangling.example. 3600 CNAME nothing.example.";
    check("dangling.example", "A", 3, &[dangling], &[SOA]);
}

#[test]
fn renames_what_is_below_a_dname() {
    let dname = "renamed.example. 3600 DNAME target.example.";
    let alias = "a.renamed.example. 3600 CNAME a.target.example.";
    check(
        "a.renamed.example",
        "A",
        0,
        &[dname, alias, "a.target.example. 3600 A 192.0.2.7"],
        &[],
    );
    check("a.renamed.example", "CNAME", 0, &[dname, alias], &[]);
    check("renamed.example", "DNAME", 0, &[dname], &[]);
    check("renamed.example", "A", 0, &[], &[SOA]);
    let alias = "x.renamed.example. 3600 CNAME x.target.example.";
    check("x.renamed.example", "A", 3, &[dname, alias], &[SOA]);
}

#[test]
fn a_dname_that_makes_the_name_too_long_is_yxdomain() {
    let target = format!("{0}.{0}.{0}.t.", "y".repeat(60));
    let zone =
        format!("$ORIGIN t.\n$TTL 60\n@ SOA n.o. m.o. 1 2 3 4 5\n@ NS n.o.\nd DNAME {target}");
    let qname = format!("{}.{}.d.t", "x".repeat(50), "x".repeat(50));
    let answer = Query::new(&qname, "A").ask_over(&only(&zone), Transport::Tcp);
    assert_eq!((answer.rcode, answer.answers.len()), (6, 1));
}

#[test]
fn refers_to_delegated_zones_with_glue_and_without_authority() {
    for qname in ["sub.example", "x.y.sub.example", "ns.sub.example"] {
        let answer = ask(qname, "A");
        assert_eq!((answer.rcode, &answer.flags[..]), (0, "qr rd"), "{qname}");
        assert!(answer.answers.is_empty());
        let servers = [
            "sub.example. 3600 NS ns.sub.example.",
            "sub.example. 3600 NS ns2.sub.example.",
        ];
        assert_eq!(answer.authority, servers);
        let glue = [
            "ns.sub.example. 3600 A 192.0.2.101",
            "ns2.sub.example. 3600 A 192.0.2.102",
            "ns2.sub.example. 3600 AAAA 2001:db8::102",
        ];
        assert_eq!(answer.additional, glue);
    }
    let answer = ask("a.far.example", "A");
    assert_eq!(
        answer.authority,
        ["far.example. 3600 NS ns.elsewhere.test."]
    );
    assert!(answer.additional.is_empty());
}

#[test]
fn answers_for_the_delegation_signer_at_the_cut_itself() {
    let digest = "49fd46e6c4b45c55d4ac69cbd3cd34ac1afe51de6a1e9c1b2d0e0f0a0b0c0d0e";
    check(
        "sub.example",
        "DS",
        0,
        &[&format!("sub.example. 3600 DS 12345 13 2 {digest}")],
        &[],
    );
    check("far.example", "DS", 0, &[], &[SOA]);
}

#[test]
fn the_parent_answers_for_ds_even_where_the_child_is_loaded_too() {
    let digest = "aa".repeat(32);
    let parent = &format!(
        "$ORIGIN t.\n$TTL 60\n@ SOA n.o. m.o. 1 2 3 4 5\n@ NS n.o.\nc NS n.o.\nc DS 1 13 2 {digest}"
    );
    let child = "$ORIGIN c.t.\n$TTL 60\n@ SOA n.o. m.o. 9 2 3 4 5\n@ NS n.o.";
    let snapshot = dns_engine::Snapshot::of_zones(common::zones(&[parent, child]));
    assert_eq!(
        Query::new("c.t", "DS").ask(&snapshot).answers,
        [format!("c.t. 60 DS 1 13 2 {digest}")]
    );
    assert_eq!(
        Query::new("c.t", "SOA").ask(&snapshot).answers,
        ["c.t. 60 SOA n.o. m.o. 9 2 3 4 5"]
    );
}

#[test]
fn adds_addresses_of_targets_in_the_zone() {
    let answer = ask("_rtsp._tcp.live.example", "SRV");
    assert_eq!(answer.answers.len(), 3);
    let addresses = [
        "edge1.example. 3600 A 192.0.2.11",
        "edge1.example. 3600 AAAA 2001:db8::11",
        "edge2.example. 3600 A 192.0.2.12",
    ];
    assert_eq!(answer.additional, addresses);
    assert_eq!(
        ask("example", "MX").additional,
        ["mail.example. 3600 A 192.0.2.25"]
    );
    assert_eq!(ask("example", "NS").additional.len(), 2);
}

#[test]
fn answers_any_with_one_small_record() {
    check(
        "example",
        "ANY",
        0,
        &["example. 3600 HINFO \"RFC8482\" \"\""],
        &[],
    );
    check("live.example", "ANY", 0, &[], &[SOA]);
    check("nothing.example", "ANY", 3, &[], &[SOA]);
}

#[test]
fn refuses_names_outside_its_zones_other_classes_and_transfers() {
    let check = |query: Query| {
        let answer = query.ask(&example());
        assert_eq!((answer.rcode, &answer.flags[..]), (5, "qr rd"));
        assert!(answer.answers.is_empty() && answer.authority.is_empty());
    };
    check(Query::new("example.test", "A"));
    check(Query::new(".", "NS"));
    check(Query::new("test", "A"));
    check(Query::new("version.bind", "TXT").class(3));
    check(Query::new("example", "A").class(3));
    check(Query::new("example", "A").class(255));
    check(Query::new("example", "AXFR"));
    check(Query::new("example", "IXFR"));
    let none = dns_engine::Snapshot::of_zones(dns_engine::Zones::new());
    assert_eq!(Query::new("example", "A").ask(&none).rcode, 5);
}

#[test]
fn pseudo_types_are_no_questions() {
    for qtype in ["OPT", "TSIG", "TKEY", "TYPE128"] {
        assert_eq!(ask("example", qtype).rcode, 1, "{qtype}");
    }
    for qtype in ["TYPE253", "TYPE254"] {
        assert_eq!(ask("example", qtype).rcode, 4, "{qtype}");
    }
}

#[test]
fn serves_the_root_zone_too() {
    let root =
        "$ORIGIN .\n$TTL 60\n@ SOA ns.t. m.t. 1 2 3 4 5\n@ NS ns.t.\nt NS ns.t.\nns.t A 192.0.2.1";
    let root = only(root);
    assert_eq!(Query::new(".", "NS").ask(&root).answers, [". 60 NS ns.t."]);
    assert_eq!(Query::new("x", "A").ask(&root).rcode, 3);
    assert_eq!(
        Query::new("x.t", "A").ask(&root).authority,
        ["t. 60 NS ns.t."]
    );
}

#[test]
fn keeps_the_case_of_the_question_and_compresses_whatever_the_case() {
    let lower = ask("_rtsp._tcp.live.example", "SRV");
    let mixed = ask("_RtSp._tCp.LiVe.eXaMpLe", "SRV");
    assert_eq!(
        &mixed.octets[12..37],
        b"\x05_RtSp\x04_tCp\x04LiVe\x07eXaMpLe\0"
    );
    assert_eq!(lower.octets.len(), mixed.octets.len());
    assert!(mixed.answers[0].starts_with("_RtSp._tCp.LiVe.eXaMpLe. 300 SRV"));
}

#[test]
fn copies_rd_and_clears_ad_cd_and_ra() {
    let mut query = Query::new("mail.example", "A");
    query.head[2] = 0;
    query.head[3] = 0xF0;
    assert_eq!(query.ask(&example()).flags, "qr aa");
    assert_eq!(&query.ask(&example()).octets[..2], &[0xAB, 0xCD]);
}

fn large_zone() -> dns_engine::Snapshot {
    let mut zone = "$ORIGIN t.\n$TTL 60\n@ SOA ns.c.t. m.t. 1 2 3 4 5\n@ NS n.o.\n".to_owned();
    for number in 0..100 {
        zone += &format!("big TXT \"{number:040}\"\n");
        zone += &format!(
            "srv SRV 1 1 {number} h{}\nh{0} A 192.0.2.{number}\n",
            number % 25
        );
        zone += &format!("c NS ns{number}.c\nns{number}.c A 192.0.2.{number}\n");
    }
    zone += "alias CNAME big\nns.c A 192.0.2.7\n";
    only(&zone)
}

#[test]
fn truncates_when_the_answer_exceeds_the_limit() {
    let large = large_zone();
    for qname in ["big.t", "alias.t", "x.c.t"] {
        for (edns, limit) in [
            (None, 512),
            (Some(0), 512),
            (Some(700), 700),
            (Some(4096), 1232),
        ] {
            let mut query = Query::new(qname, "TXT");
            query.edns = edns.map(|size| (size, 0x8000, Vec::new()));
            let answer = query.ask(&large);
            assert!(answer.octets.len() <= limit, "{qname} {edns:?}");
            assert!(
                answer.flags.contains("tc"),
                "{qname} {edns:?} {}",
                answer.flags
            );
            assert!(answer.answers.is_empty() && answer.authority.is_empty());
            assert_eq!(answer.opt.is_some(), edns.is_some());
            let whole = query.ask_over(&large, Transport::Tcp);
            assert!(!whole.flags.contains("tc") && whole.octets.len() > 1232);
        }
    }
    let whole = Query::new("big.t", "TXT").ask_over(&large, Transport::Tcp);
    assert_eq!(whole.answers.len(), 100);
}

#[test]
fn leaves_out_additional_addresses_that_do_not_fit_without_truncation() {
    let mut zone = "$ORIGIN t.\n$TTL 60\n@ SOA n.o. m.o. 1 2 3 4 5\n@ NS n.o.\n".to_owned();
    for number in 0..15 {
        zone += &format!("s SRV 1 1 1 host{number}\nhost{number} A 192.0.2.1\n");
    }
    let zone = only(&zone);
    let answer = Query::new("s.t", "SRV").ask(&zone);
    assert_eq!((answer.answers.len(), &answer.flags[..]), (15, "qr aa rd"));
    assert!(answer.additional.len() < 15 && answer.octets.len() <= 512);
    assert_eq!(
        Query::new("s.t", "SRV")
            .edns(1232)
            .ask(&zone)
            .additional
            .len(),
        15
    );
}

#[test]
fn an_answer_beyond_64_kib_is_truncated_even_over_tcp() {
    let mut zone = "$ORIGIN t.\n$TTL 60\n@ SOA n.o. m.o. 1 2 3 4 5\n@ NS n.o.\n".to_owned();
    for number in 0..307 {
        zone += &format!("big TXT \"{number:0200}\"\n");
    }
    // The records alone fit, and not behind this name with its alias.
    let alias = ["x".repeat(63), "y".repeat(63), "z".repeat(63)].join(".");
    zone += &format!("{alias} CNAME big\n");
    let zone = only(&zone);
    let ask = |name: &str| Query::new(name, "TXT").ask_over(&zone, Transport::Tcp);
    assert_eq!(ask("big.t").answers.len(), 307);
    let answer = ask(&format!("{alias}.t"));
    assert_eq!(
        (&answer.flags[..], answer.answers.len()),
        ("qr aa tc rd", 0)
    );
}
