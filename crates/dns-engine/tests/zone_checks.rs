//! What is found wrong or odd with a zone as a whole.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

use dns_engine::rtype;
use dns_engine::zonefile::{self, Severity};

/// Four lines without any finding.
const TOP: &str = "$ORIGIN t.\n$TTL 60\n@ SOA n.o. m.o. 1 3 2 6 5\n@ NS n.o.\n";

/// The findings about lines that follow a good beginning, as `line:column error|warning: message`, lines counted from there.
fn found(lines: &str) -> Vec<String> {
    findings(&format!("{TOP}{lines}\n"), 4)
}

fn findings(text: &str, lines_before: u32) -> Vec<String> {
    let mut none = |_: &str, _: &str| Err("nothing to include".to_owned());
    let findings = match zonefile::parse_with("t.zone", text, None, &mut none) {
        Ok(loaded) => loaded.warnings,
        Err(findings) => findings,
    };
    assert!(findings.iter().all(|finding| !finding.hint.is_empty()));
    let line = |f: &zonefile::Finding| {
        let severity = if f.severity == Severity::Error {
            "error"
        } else {
            "warning"
        };
        format!(
            "{}:{} {severity}: {}",
            f.line.saturating_sub(lines_before),
            f.column,
            f.message
        )
    };
    findings.iter().map(line).collect()
}

/// The one finding of some lines.
#[track_caller]
fn check(lines: &str, expected: &str) {
    assert_eq!(found(lines), [expected], "{lines}");
}

/// No finding at all.
#[track_caller]
fn check_good(lines: &str) {
    assert_eq!(found(lines), [""; 0], "{lines}");
}

#[test]
fn the_zone_has_one_soa_record_and_name_servers() {
    check(
        "@ SOA n.o. m.o. 2 3 2 6 5",
        "1:3 error: a second SOA record",
    );
    check(
        "x SOA n.o. m.o. 2 3 2 6 5",
        "1:3 error: a SOA record below the zone's own name t.",
    );
    let none = findings("$ORIGIN t.\n$TTL 60\n@ SOA n.o. m.o. 1 3 2 6 5\n", 0);
    assert_eq!(none, ["3:1 error: the zone t. has no NS record of its own"]);
    check("x.o. A 192.0.2.1", "1:1 error: x.o. is outside the zone t.");
}

#[test]
fn the_timers_of_the_soa_record_make_sense() {
    let check = |numbers: &str, expected: &[&str]| {
        let text = format!("$ORIGIN t.\n$TTL 60\n@ SOA n.o. m.o. {numbers}\n@ NS n.o.\n");
        assert_eq!(findings(&text, 0), expected, "{numbers}");
    };
    check("1 3600 900 2w 300", &[]);
    check(
        "1 900 900 2w 300",
        &["3:3 warning: retry (900) is not below refresh (900)"],
    );
    check(
        "1 3600 900 4500 300",
        &["3:3 warning: expire (4500) is not above refresh and retry together"],
    );
    check(
        "1 3600 900 2w 2d",
        &["3:3 warning: negative answers are kept for 172800 seconds"],
    );
    let text = "$ORIGIN t.\n$TTL 60\n@ SOA n.o. me@o. 1 3 2 6 5\n@ NS n.o.\n";
    assert_eq!(
        findings(text, 0),
        ["3:3 warning: the mailbox me\\@o. has an `@`"]
    );
}

#[test]
fn an_alias_stands_alone_and_once() {
    check(
        "x CNAME a.o.\nX A 192.0.2.1",
        "1:3 error: x.t. has other records beside its CNAME",
    );
    check(
        "x CNAME a.o.\nx CNAME b.o.",
        "2:3 error: a second CNAME record",
    );
    check(
        "x DNAME a.o.\nx DNAME b.o.",
        "2:3 error: a second DNAME record",
    );
    check_good("x DNAME o.\nx A 192.0.2.1");
}

#[test]
fn records_that_say_the_same_count_once() {
    check(
        "x A 192.0.2.1\nX A 192.0.2.1",
        "2:3 warning: the same A record again",
    );
    check(
        "x MX 1 a.o.\nx MX 1 A.o.",
        "2:3 warning: the same MX record again",
    );
    check(
        "x CNAME a.o.\nx CNAME A.O.",
        "2:3 warning: the same CNAME record again",
    );
    check_good("x TXT a\nx TXT A");
    let many: String = (0..40)
        .map(|number| format!("x MX {number} a.o.\n"))
        .collect();
    check(
        &format!("{many}x MX 30 A.o."),
        "41:3 warning: the same MX record again",
    );
}

#[test]
fn records_of_one_name_and_type_get_the_lowest_ttl() {
    let lines = "x 9 A 192.0.2.1\nx 8 A 192.0.2.2\nx 7 TXT a";
    check(lines, "2:5 warning: A records of one name differ in TTL");
    let zone = zonefile::parse("t.zone", &format!("{TOP}{lines}"), None).unwrap();
    assert_eq!(zone.rrset(b"\x01x\x01t\0", rtype::A).unwrap().ttl, 8);
}

#[test]
fn records_that_fit_into_no_message_are_refused() {
    let txt = |count: usize| -> String {
        let line = |number| format!("x TXT \"{number:0250}\"\n");
        (0..count).map(line).collect()
    };
    check_good(&txt(249));
    check(
        &txt(250),
        "1:3 error: the TXT records of this name fit into no message",
    );
}

#[test]
fn a_name_server_in_the_zone_has_an_address_and_is_no_alias() {
    check(
        "x NS ns.x",
        "1:3 error: the name server ns.x.t. has no address here",
    );
    check(
        "@ NS ns1",
        "1:3 error: the name server ns1.t. has no address here",
    );
    check(
        "x NS ns1",
        "1:3 error: the name server ns1.t. has no address here",
    );
    check(
        "x NS ns.y\ny NS n.o.",
        "1:3 warning: the name server ns.y.t. has no address here",
    );
    check(
        "@ NS ns.y\ny NS n.o.",
        "1:3 error: the name server ns.y.t. has no address here",
    );
    check(
        "@ NS a\na CNAME b\nb A 192.0.2.1",
        "1:3 error: the name server a.t. is an alias",
    );
    check(
        "@ NS a.x\nx DNAME o.",
        "1:3 error: the name server a.x.t. is an alias",
    );
    check_good("@ NS ns1\nns1 AAAA 2001:db8::1\nx NS ns.x\nns.x A 192.0.2.1\ny NS ns.x");
    check_good("@ NS ns1.w\n*.w A 192.0.2.1");
}

#[test]
fn hosts_of_services_have_addresses_and_are_no_aliases() {
    check(
        "x MX 1 a\na CNAME a.o.",
        "1:3 warning: the host a.t. is an alias",
    );
    check(
        "x SRV 1 1 1 a\na CNAME a.o.",
        "1:3 warning: the host a.t. is an alias",
    );
    check(
        "x SRV 1 1 1 a\na TXT none",
        "1:3 warning: the host a.t. has no address here",
    );
    check("x MX 1 a", "1:3 warning: the host a.t. has no address here");
    check(
        "x HTTPS 1 a alpn=h2",
        "1:3 warning: the host a.t. has no address here",
    );
    check_good("x MX 0 .\nx SRV 0 0 0 .\nx HTTPS 0 a\nx SVCB 1 .\nx SRV 1 1 1 n.o.");
    check_good("x SRV 1 1 1 a\na A 192.0.2.1\nx SRV 1 1 1 b.y\ny NS n.o.\nx SVCB 1 c\nc CNAME a");
}

#[test]
fn aliases_end_somewhere() {
    check("x CNAME x", "1:3 error: the alias x.t. leads into a loop");
    let two = found("x CNAME y\ny CNAME X");
    assert_eq!(
        two,
        [
            "1:3 error: the alias x.t. leads into a loop",
            "2:3 error: the alias y.t. leads into a loop"
        ]
    );
    check(
        "*.x CNAME y.x",
        "1:5 error: the alias *.x.t. leads into a loop",
    );
    check_good("a CNAME b.x\nx DNAME y\nb.y CNAME c.x\nc.y A 192.0.2.1");
}

#[test]
fn renamed_subtrees_end_somewhere() {
    check(
        "x DNAME a.x",
        "1:3 error: the DNAME record of x.t. leads to names below itself",
    );
    let two = found("x DNAME y\ny DNAME x");
    assert_eq!(
        two,
        [
            "1:3 error: the alias x.t. leads into a loop",
            "2:3 error: the alias y.t. leads into a loop"
        ]
    );
    check_good("a CNAME b.x\nx DNAME x2\nx2 DNAME o.");
    check_good("x DNAME y\na.y A 192.0.2.1");
}

#[test]
fn long_chains_of_aliases_and_loose_ends_are_odd() {
    let chain = |count: usize| -> String {
        let links = (0..count).map(|number| format!("c{number} CNAME c{}\n", number + 1));
        links.collect::<String>() + &format!("c{count} A 192.0.2.1")
    };
    check_good(&chain(8));
    check(&chain(9), "1:4 warning: a chain of more than 8 aliases");
    check(
        "x CNAME y",
        "1:3 warning: the alias x.t. leads to y.t., which is not there",
    );
    check_good("x CNAME y.z\nz NS n.o.\nv CNAME u.w\n*.w TXT a");
}

#[test]
fn a_chain_of_a_hundred_thousand_aliases_is_checked_in_one_go() {
    let lines: String = (0..100_000)
        .map(|n| format!("c{n} CNAME c{}\n", n + 1))
        .collect();
    let found = found(&lines);
    // The last link leads nowhere, the last eight are short enough; the rest is counted.
    assert_eq!(found.len(), 1_001);
    assert_eq!(
        found.last().unwrap(),
        "0:1 warning: 98993 more findings like these"
    );
}

#[test]
fn what_stands_below_a_delegation_or_a_renamed_name_is_hidden() {
    check(
        "x NS n.o.\na.x TXT hidden",
        "2:1 warning: a.x.t. belongs to the delegated zone x.t.",
    );
    check(
        "x DNAME o.\na.x TXT hidden",
        "2:1 error: a.x.t. is hidden by the DNAME record above it",
    );
    check(
        "x NS n.o.\nx DNAME o.",
        "2:3 error: a DNAME record at a delegation",
    );
    check(
        "x DS 1 13 99 00",
        "1:3 warning: a DS record without a delegation",
    );
    check(
        "@ DS 1 13 99 00",
        "1:3 error: a DS record at the zone's own name",
    );
    check_good("x NS n.o.\nx DS 1 13 99 00");
    let apex = found("@ DNAME o.\na A 192.0.2.1");
    assert_eq!(
        apex,
        ["2:1 error: a.t. is hidden by the DNAME record above it"]
    );
}

#[test]
fn wildcards_that_are_none_or_mean_nothing() {
    check("*.x NS n.o.", "1:5 error: a wildcard with a NS record");
    check("*.x DNAME o.", "1:5 error: a wildcard with a DNAME record");
    check(
        "a.*.x A 192.0.2.1",
        "1:1 warning: the asterisk in a.*.x.t. is no wildcard",
    );
    check(
        "*a A 192.0.2.1",
        "1:1 warning: the asterisk in *a.t. is no wildcard",
    );
    check_good("*.x A 192.0.2.1\n* TXT a");
}

#[test]
fn types_of_the_zone_itself_stand_at_its_name() {
    check(
        "x CDS 0 0 0 00",
        "1:3 warning: a CDS record below the zone's own name t.",
    );
    check(
        "x CSYNC 1 0 A",
        "1:3 warning: a CSYNC record below the zone's own name t.",
    );
    check_good("@ CDS 0 0 0 00\n@ CDNSKEY 0 3 0 AA==\n@ CSYNC 1 3 NS");
}

#[test]
fn a_forgotten_final_dot_shows_by_the_repeated_zone() {
    let top = "$ORIGIN a.test.\n$TTL 60\n@ SOA n.o. m.o. 1 3 2 6 5\n@ NS n.o.\n";
    let check = |line: &str, expected: &[&str]| {
        assert_eq!(findings(&format!("{top}{line}\n"), 4), expected, "{line}");
    };
    check(
        "x.a.test A 192.0.2.1",
        &["1:1 warning: x.a.test.a.test. has the zone's name twice"],
    );
    check(
        "x PTR y.A.test",
        &["1:3 warning: y.A.test.a.test. has the zone's name twice"],
    );
    check("x.test A 192.0.2.1\ny PTR a.test.", &[]);
}

#[test]
fn an_owner_from_before_a_new_origin_is_odd() {
    check(
        "x A 192.0.2.1\n$ORIGIN y\n A 192.0.2.2",
        "3:2 warning: this record belongs to the owner from before $ORIGIN",
    );
    check_good("x A 192.0.2.1\n$ORIGIN y\nz A 192.0.2.2\n A 192.0.2.3");
}

/// RFC 8976 appendix A.2 (with its erratum), less the record outside the zone, which is an error here.
const DIGESTED: &str = "\
example.      86400  IN  SOA     ns1 admin 2018031900 1800 900 604800 86400
              86400  IN  NS      ns1
              86400  IN  NS      ns2
              86400  IN  ZONEMD  2018031900 1 1 (
                                 a3b69bad980a3504e1cffcb0fd6397f93848071c93151f55
                                 2ae2f6b1711d4bd2d8b39808226d7b9db71e34b72077f8fe )
ns1           3600   IN  A       203.0.113.63
NS2           3600   IN  AAAA    2001:db8::63
occluded.sub  7200   IN  TXT     \"I'm occluded but must be digested\"
sub           7200   IN  NS      ns1
duplicate     300    IN  TXT     \"I must be digested just once\"
duplicate     300    IN  TXT     \"I must be digested just once\"
UPPERCASE     3600   IN  TXT     \"canonicalize uppercase owner names\"
*             777    IN  PTR     dont-forget-about-wildcards
mail          3600   IN  MX      20 MAIL1
mail          3600   IN  MX      10 Mail2.Example.
sortme        3600   IN  AAAA    2001:db8::5:61
sortme        3600   IN  AAAA    2001:db8::3:62
sortme        3600   IN  AAAA    2001:db8::4:63
sortme        3600   IN  AAAA    2001:db8::1:65
sortme        3600   IN  AAAA    2001:db8::2:64
non-apex      900    IN  ZONEMD  2018031900 1 1 (
                                 616c6c6f776564206275742069676e6f7265642e20616c6c
                                 6f776564206275742069676e6f7265642e20616c6c6f7765 )
";

#[test]
fn a_digest_of_the_zone_matches_it() {
    let digest_findings = |text: &str| -> Vec<String> {
        let text = format!("$ORIGIN example.\n{text}");
        let found = findings(&text, 0).into_iter();
        found
            .filter(|finding| finding.contains("digest") || finding.contains("error"))
            .collect()
    };
    assert_eq!(digest_findings(DIGESTED), [""; 0]);
    let changed = DIGESTED.replace("2001:db8::2:64", "2001:db8::2:65");
    assert_eq!(
        digest_findings(&changed),
        ["5:26 error: the digest does not match the zone"]
    );
    let older = DIGESTED.replace("admin 2018031900", "admin 2018031901");
    let expected = "5:26 error: the digest is of serial 2018031900, the zone has serial 2018031901";
    assert_eq!(digest_findings(&older), [expected]);
    // One that matches is enough; others may be for a scheme or an algorithm that is not known here.
    let more = DIGESTED.to_owned()
        + &format!("@ 86400 ZONEMD 2018031900 1 2 {}\n", "00".repeat(64))
        + &format!("@ 86400 ZONEMD 2018031900 1 240 {}\n", "00".repeat(12));
    assert_eq!(
        digest_findings(&more),
        ["26:9 warning: the digest does not match the zone"]
    );
}

#[test]
fn a_digest_with_sha_512_is_verified_too() {
    // RFC 8976 appendix A.3; the digests of other schemes and algorithms are not looked at.
    let zone = |sha384: &str, sha512: &str| {
        format!(
            "$ORIGIN example.\n$TTL 86400\n@ SOA ns1 admin 2018031900 1800 900 604800 86400\n@ NS ns1\n@ NS ns2\n\
             @ ZONEMD 2018031900 1 1 {sha384}\n@ ZONEMD 2018031900 1 2 {sha512}\n\
             @ ZONEMD 2018031900 1 240 e2d523f654b9422a96c5a8f44607bbee\n\
             @ ZONEMD 2018031900 241 1 e1846540e33a9e4189792d18d5d131f605fc283e\n\
             ns1 3600 A 203.0.113.63\nns2 TXT \"This example has multiple digests\"\nNS2 3600 AAAA 2001:db8::63\n"
        )
    };
    let sha384 = "62e6cf51b02e54b9b5f967d547ce43136792901f9f88e637493daaf401c92c279dd10f0edb1c56f8080211f8480ee306";
    let sha512 = "08cfa1115c7b948c4163a901270395ea226a930cd2cbcf2fa9a5e6eb85f37c8a\
                  4e114d884e66f176eab121cb02db7d652e0cc4827e7a3204f166b47e5613fd27";
    let (no384, no512) = ("00".repeat(48), "00".repeat(64));
    let wrong = |line, severity| format!("{line}:3 {severity}: the digest does not match the zone");
    assert_eq!(findings(&zone(sha384, sha512), 0), [""; 0]);
    assert_eq!(findings(&zone(&no384, sha512), 0), [wrong(6, "warning")]);
    assert_eq!(findings(&zone(sha384, &no512), 0), [wrong(7, "warning")]);
    assert_eq!(
        findings(&zone(&no384, &no512), 0),
        [wrong(6, "error"), wrong(7, "error")]
    );
}

#[test]
fn what_says_nothing_stands_alone() {
    check(
        "x MX 0 .\nx MX 10 m.o.",
        "1:3 warning: a null MX record beside others",
    );
    check_good("x MX 0 .");
    check(
        "@ CDS 0 0 0 00\n@ CDS 1 13 1 0000000000000000000000000000000000000000",
        "1:3 warning: a CDS record that asks for the removal of the DS records, beside others",
    );
    check(
        "@ CDNSKEY 257 3 13 AAAA\n@ CDNSKEY 0 3 0 AA==",
        "2:3 warning: a CDNSKEY record that asks for the removal of the DS records, beside others",
    );
    check_good("@ CDS 0 0 0 00\n@ CDNSKEY 0 3 0 AA==");
}

#[test]
fn the_alias_form_of_a_service_stands_alone_and_has_no_parameters() {
    check(
        "x HTTPS 1 . alpn=h2\nx HTTPS 0 y.o.",
        "2:3 warning: an alias form (priority 0) beside others",
    );
    check(
        "x SVCB 0 y.o. port=53",
        "1:3 warning: parameters in an alias form (priority 0)",
    );
    check_good("x SVCB 0 y.o.\ny HTTPS 1 . alpn=h2\ny HTTPS 2 y.o.");
}

#[test]
fn addresses_below_a_delegation_belong_to_name_servers() {
    check(
        "c NS n.c\nn.c A 192.0.2.1\nm.c A 192.0.2.2\nm.c AAAA 2001:db8::1",
        "3:1 warning: no NS record names m.c.t., which is below a delegation",
    );
    check_good("c NS N.D\nd NS n.d\nn.d A 192.0.2.1\nx A 192.0.2.1");
}
