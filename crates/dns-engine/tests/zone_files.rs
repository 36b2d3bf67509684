//! Zone files: what is read, and that every finding has its place and a hint.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod common;

use common::{Query, only};
use dns_engine::zonefile::Severity;
use dns_engine::{Zone, name, rtype, zonefile};
use proptest::prelude::*;

const TOP: &str = "$ORIGIN t.\n$TTL 60\n@ SOA n.o. m.o. 1 3 2 6 5\n@ NS n.o.\n";

/// The findings of one severity of a whole file as `line:column message`.
fn findings_of(severity: Severity, text: &str, origin: Option<&str>) -> Vec<String> {
    let mut none = |_: &str, _: &str| Err("nothing to include".to_owned());
    let findings = match zonefile::parse_with("t.zone", text, origin, &mut none) {
        Ok(loaded) => loaded.warnings,
        Err(findings) => findings,
    };
    assert!(
        findings
            .iter()
            .all(|f| f.file == "t.zone" && !f.hint.is_empty())
    );
    findings
        .iter()
        .filter(|finding| finding.severity == severity)
        .map(|f| format!("{}:{} {}", f.line, f.column, f.message))
        .collect()
}

/// The errors of a whole file, which must have some.
fn findings(text: &str, origin: Option<&str>) -> Vec<String> {
    zonefile::parse("t.zone", text, origin).expect_err("errors");
    findings_of(Severity::Error, text, origin)
}

/// The one finding of a line that follows a good beginning, its line counted from there.
#[track_caller]
fn check_bad(line: &str, column: u32, message: &str) {
    let found = findings(&format!("{TOP}{line}"), None);
    assert_eq!(found, [format!("5:{column} {message}")], "{line}");
}

/// The data that one line puts into the answer for its owner `x`, as an independent decoder shows it.
#[track_caller]
fn check_data(line: &str, qtype: &str, expected: &str) {
    let answer = Query::new("x.t", qtype).ask(&only(&format!("{TOP}{line}\n")));
    assert_eq!(answer.answers, [format!("x.t. {expected}")], "{line}");
}

fn zone(text: &str) -> Zone {
    zonefile::parse("t.zone", text, None).unwrap()
}

#[test]
fn reads_ttl_and_class_in_either_order_and_units() {
    check_data("x 1h30m IN A 192.0.2.1", "A", "5400 A 192.0.2.1");
    check_data("x IN 2d A 192.0.2.1", "A", "172800 A 192.0.2.1");
    check_data("x CLASS1 5 A 192.0.2.1", "A", "5 A 192.0.2.1");
    check_data("x in a 192.0.2.1", "A", "60 A 192.0.2.1");
    check_data("$TTL 1w\nx A 192.0.2.1", "A", "604800 A 192.0.2.1");
}

#[test]
fn continues_the_last_stated_ttl_where_there_is_no_default() {
    let text = "@ 90 SOA n.o. m.o. 1 2 3 4 5\n NS n.o.\nx A 192.0.2.1\n";
    let zone = zonefile::parse("t.zone", text, Some("t")).unwrap();
    assert_eq!(zone.rrset(b"\x01x\x01t\0", rtype::A).unwrap().ttl, 90);
}

#[test]
fn follows_origins_and_owners_from_line_to_line() {
    let zone = zone(&format!(
        "{TOP}a A 192.0.2.1\n  TXT same\n$ORIGIN sub\nb A 192.0.2.2\n@ A 192.0.2.3\n\
         $ORIGIN t.\nc.d ( A\n 192.0.2.4 ) ; end\n\\@ A 192.0.2.5\n"
    ));
    let has = |owner: &str, rtype| {
        zone.rrset(&name::parse(owner, None).unwrap(), rtype)
            .is_some()
    };
    assert!(has("a.t.", rtype::A) && has("a.t.", rtype::TXT));
    assert!(has("b.sub.t.", rtype::A) && has("sub.t.", rtype::A) && has("c.d.t.", rtype::A));
    assert!(has("\\@.t.", rtype::A));
    assert_eq!(zone.origin(), b"\x01t\0");
}

#[test]
fn identical_records_are_one() {
    let zone = zone(&format!(
        "{TOP}x A 192.0.2.1\nx A 192.0.2.2\nX A 192.0.2.1\n"
    ));
    assert_eq!(zone.rrset(b"\x01x\x01t\0", rtype::A).unwrap().count(), 2);
}

#[test]
fn reports_bad_lines_with_line_and_column() {
    check_bad("x A 192.0.2", 5, "`192.0.2` is not an IPv4 address");
    check_bad("x AAAA 192.0.2.1", 8, "`192.0.2.1` is not an IPv6 address");
    check_bad("x A", 3, "A record ends too early");
    check_bad(
        "x A 192.0.2.1 192.0.2.2",
        15,
        "`192.0.2.2` is more than a A record takes",
    );
    check_bad(
        "x SRV 1 2 70000 e",
        11,
        "`70000` is not a number from 0 to 65535",
    );
    check_bad("x SRV 1 2 +3 e", 11, "`+3` is not a number from 0 to 65535");
    check_bad("x AA 1", 3, "unknown record type `AA`");
    check_bad("x 1x A 192.0.2.1", 3, "`1x` is not a TTL");
    check_bad("x 2147483648 A 192.0.2.1", 3, "`2147483648` is not a TTL");
    check_bad("x CH TXT a", 3, "class CH is not served");
    check_bad("x", 1, "this record has no type");
    check_bad("x 60 IN", 6, "this record has no type");
    check_bad(
        "a..b A 192.0.2.1",
        1,
        "`a..b`: the name has an empty label (two dots in a row, or a dot in front)",
    );
    check_bad(
        "ä A 192.0.2.1",
        1,
        "`ä`: the name holds a character outside printable ASCII",
    );
    check_bad("x TXT \"open", 7, "quoted string without end");
    check_bad("x ( A 192.0.2.1", 3, "parenthesis without end");
    check_bad(
        "x A 192.0.2.1 )",
        15,
        "closing parenthesis without an opening one",
    );
    check_bad("x DS 1 2 3 abc", 12, "`abc` is not hexadecimal");
    check_bad("x DNSKEY 1 3 8 a", 16, "`a` is not base 64");
    check_bad("x A \\# 3 010203", 10, "these octets are no data of type A");
    check_bad(
        "x TYPE9999 \\# 3 0102",
        15,
        "2 octets follow, but 3 were announced",
    );
    check_bad(
        "x TYPE9999 1",
        12,
        "data of type TYPE9999 is not read in its own form",
    );
    check_bad(
        "x NSEC a A",
        3,
        "type NSEC cannot be loaded from a zone file",
    );
    check_bad("x ANY a", 3, "type ANY cannot be loaded from a zone file");
    check_bad(
        "x TYPE0 \\# 0",
        3,
        "type TYPE0 cannot be loaded from a zone file",
    );
    check_bad(" $TTL 60", 2, "unknown record type `$TTL`");
    check_bad("$TLL 60", 1, "unknown directive `$TLL`");
    check_bad("$TTL", 1, "$TTL takes one time");
    check_bad(
        &format!("x TXT {}", "y".repeat(256)),
        7,
        "string of 256 octets, but 255 is the most",
    );
}

#[test]
fn reports_a_missing_beginning() {
    assert_eq!(
        findings("", None),
        ["1:1 no SOA record, so the zone has no name"]
    );
    assert_eq!(findings("", Some("t.")).len(), 2);
    let found = findings("@ A 192.0.2.1\n", None);
    assert_eq!(
        found[0],
        "1:1 `@`: the name is relative, but no origin is known here"
    );
    let found = findings(" A 192.0.2.1\n", Some("t."));
    assert!(
        found.contains(&"1:2 there is no owner above to continue".to_owned()),
        "{found:?}"
    );
    let found = findings("@ SOA n.o. m.o. 1 2 3 4 5\n@ 5 NS n.o.\n", Some("t"));
    assert!(
        found.contains(&"1:3 no TTL is stated for this record".to_owned()),
        "{found:?}"
    );
    let other = findings("$TTL 5\no. SOA n. m. 1 2 3 4 5\no. NS n.\n", Some("t."));
    assert!(
        other.contains(&"2:1 o. is outside the zone t.".to_owned()),
        "{other:?}"
    );
    assert_eq!(findings(TOP, Some("a..b")).len(), 1);
}

#[test]
fn reports_all_findings_of_a_file_in_order() {
    let text = format!("{TOP}a A 1\nb AAAA 1\n\nc XX 1\nd A 192.0.2.1\nd CNAME e\n x ( y\n");
    let lines: Vec<u32> = zonefile::parse("t.zone", &text, None)
        .expect_err("findings")
        .iter()
        .map(|finding| finding.line)
        .collect();
    // The alias of line 10 stands beside an address, and leads nowhere.
    assert_eq!(lines, [5, 6, 8, 10, 10, 11]);
}

#[test]
fn a_finding_shows_file_line_and_column_like_a_compiler() {
    let finding = &zonefile::parse("zones/t.zone", &format!("{TOP}x A 1"), None).unwrap_err()[0];
    let expected =
        "zones/t.zone:5:5: error: `1` is not an IPv4 address (write four numbers, as in 192.0.2.1)";
    assert_eq!(finding.to_string(), expected);
}

#[test]
fn agrees_with_an_independent_reader() {
    use domain::zonefile::inplace::{Entry, Zonefile};
    // That reader takes digits only where times are meant.
    let text = common::ZONE
        .replace("1h 15m 4w 5m", "3600 900 2419200 300")
        .replace("1h", "3600");
    let mut other = Zonefile::load(&mut text.as_bytes()).unwrap();
    other.set_default_class(domain::base::iana::Class::IN);
    let mut expected = Vec::new();
    while let Some(entry) = other.next_entry().unwrap() {
        let Entry::Record(record) = entry else {
            continue;
        };
        let mut data = Vec::new();
        domain::base::rdata::ComposeRecordData::compose_rdata(record.data(), &mut data).unwrap();
        let owner = record.owner().to_string().to_lowercase() + ".";
        expected.push((owner, record.rtype().to_int(), record.ttl().as_secs(), data));
    }
    let ours = zone(common::ZONE);
    let mut seen = Vec::new();
    for node in ours.nodes() {
        for set in node.rrsets() {
            let owner = name::text(node.owner()).to_lowercase();
            seen.extend(
                set.rdatas()
                    .map(|data| (owner.clone(), set.rtype, set.ttl, data.to_vec())),
            );
        }
    }
    expected.sort();
    seen.sort();
    assert_eq!(seen.len(), expected.len());
    for (one, other) in seen.iter().zip(&expected) {
        assert_eq!(one, other);
    }
}

#[test]
fn counts_findings_that_nobody_would_read() {
    let text = format!("{TOP}{}", "x A 1\n".repeat(5_000));
    let found = zonefile::parse("t.zone", &text, None).unwrap_err();
    assert_eq!(found.len(), 1_001);
    let last = found.last().unwrap();
    assert_eq!(last.message, "4000 more findings like these");
}

proptest! {
    #[test]
    fn any_text_is_read_or_reported_without_panic(text in "([a-c*@$. \\\\\"();\\n0-9{},/-]|A|NS|TXT|SOA|CNAME|DNAME|DS|SRV|LOC|APL|SVCB|alpn=|=|\\$GENERATE|\\$INCLUDE|\\\\#|é| ){0,80}") {
        let file = format!("{TOP}{text}");
        let mut open = |path: &str, _: &str| match path.len() {
            1 => Ok((path.to_owned(), text.clone())),
            _ => Err("not there".to_owned()),
        };
        match zonefile::parse_with("t.zone", &file, None, &mut open) {
            Ok(loaded) => prop_assert!(loaded.warnings.iter().all(|finding| finding.severity == Severity::Warning)),
            Err(findings) => prop_assert!(findings.iter().any(|finding| finding.severity == Severity::Error)),
        }
    }

    #[test]
    fn record_data_given_as_octets_is_served_or_refused(rtype in 1..70_u16, data in prop::collection::vec(any::<u8>(), 0..40)) {
        let hex: String = data.iter().map(|octet| format!("{octet:02x}")).collect();
        let line = format!("x TYPE{rtype} \\# {} {hex}\n", data.len());
        if let Ok(zone) = zonefile::parse("t.zone", &format!("{TOP}{line}"), None) {
            let mut zones = dns_engine::Zones::new();
            prop_assert!(zones.insert(zone).is_ok());
            let snapshot = dns_engine::Snapshot::of_zones(zones);
            let mut out = vec![0; 65_535];
            let query = Query::new("x.t", &format!("TYPE{rtype}")).wire();
            let outcome = dns_engine::respond(
                &snapshot, &query, &common::meta(dns_engine::Transport::Tcp),
                &mut dns_engine::Scratch::new(), &mut out,
            );
            prop_assert!(matches!(outcome, dns_engine::Outcome::Send(_)));
        }
    }
}
