//! Zone files made of several files, and of lines that stand for many.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

use std::collections::BTreeMap;

use dns_engine::zonefile::{self, Finding, Loaded, RecordText};

const TOP: &str = "$ORIGIN t.\n$TTL 60\n@ SOA n.o. m.o. 1 3 2 6 5\n@ NS n.o.\n";

/// Reads `TOP` and `text` with these files to include.
fn read(text: &str, files: &[(&str, &str)]) -> Result<Loaded, Vec<Finding>> {
    let files: BTreeMap<&str, &str> = files.iter().copied().collect();
    let mut open = |path: &str, including: &str| match files.get(path) {
        Some(text) => Ok((path.to_owned(), (*text).to_owned())),
        None => Err(format!("no such file beside {including}")),
    };
    zonefile::parse_with("t.zone", &format!("{TOP}{text}"), None, &mut open)
}

/// All records but SOA and NS as text, sorted.
fn records(text: &str, files: &[(&str, &str)]) -> Vec<String> {
    let loaded = read(text, files).unwrap_or_else(|findings| {
        let texts: Vec<String> = findings.iter().map(Finding::to_string).collect();
        panic!("{}", texts.join("\n"))
    });
    let mut texts = Vec::new();
    for node in loaded.zone.nodes() {
        for set in node.rrsets() {
            let text = |data| {
                let (owner, rtype, ttl) = (node.owner(), set.rtype, set.ttl);
                RecordText {
                    owner,
                    rtype,
                    ttl,
                    data,
                }
                .to_string()
            };
            texts.extend(set.rdatas().map(text));
        }
    }
    texts.retain(|text| !text.starts_with("t. 60 IN "));
    texts.sort();
    texts
}

/// The errors of a file as `file:line:column message`.
fn errors(text: &str, files: &[(&str, &str)]) -> Vec<String> {
    let findings = read(text, files).expect_err("errors");
    let errors = findings
        .iter()
        .filter(|finding| finding.severity == zonefile::Severity::Error);
    errors
        .map(|f| format!("{}:{}:{} {}", f.file, f.line, f.column, f.message))
        .collect()
}

#[test]
fn an_included_file_is_read_in_place_and_its_scope_ends_with_it() {
    let hosts = "a A 192.0.2.1\n$ORIGIN deep\n$TTL 7\nb A 192.0.2.2\n";
    let text = "o TXT \"before\"\n$INCLUDE hosts\n A 192.0.2.9\nc A 192.0.2.3\n";
    assert_eq!(
        records(text, &[("hosts", hosts)]),
        [
            "a.t. 60 IN A 192.0.2.1",
            "b.deep.t. 7 IN A 192.0.2.2",
            "c.t. 60 IN A 192.0.2.3",
            "o.t. 60 IN A 192.0.2.9",
            "o.t. 60 IN TXT \"before\"",
        ]
    );
}

#[test]
fn an_included_file_may_get_an_origin_of_its_own() {
    let text =
        "$INCLUDE \"my hosts\" sub\n$INCLUDE one other.t. ; twice\n$INCLUDE one\nz A 192.0.2.3\n";
    let files = [
        ("my hosts", "@ A 192.0.2.1\n$INCLUDE one"),
        ("one", "x A 192.0.2.2\n"),
    ];
    assert_eq!(
        records(text, &files),
        [
            "sub.t. 60 IN A 192.0.2.1",
            "x.other.t. 60 IN A 192.0.2.2",
            "x.sub.t. 60 IN A 192.0.2.2",
            "x.t. 60 IN A 192.0.2.2",
            "z.t. 60 IN A 192.0.2.3",
        ]
    );
}

#[test]
fn findings_in_an_included_file_stand_there() {
    let files = [
        ("one", "a A 192.0.2.1\n\n$INCLUDE two\n"),
        ("two", "\n  b A 1\nx A 192.0.2\n"),
    ];
    let findings = read("p A 7\n$INCLUDE one\nq A 8\n", &files).unwrap_err();
    let texts: Vec<String> = findings.iter().map(Finding::to_string).collect();
    let hint = "write four numbers, as in 192.0.2.1";
    let trail = "included at one:3:1, at t.zone:6:1";
    assert_eq!(
        texts,
        [
            format!("t.zone:5:5: error: `7` is not an IPv4 address ({hint})"),
            format!("t.zone:7:5: error: `8` is not an IPv4 address ({hint})"),
            format!(
                "two:2:3: error: unknown record type `b` (check the spelling, or write TYPEnnn (RFC 3597); an owner must begin in column 1; {trail})"
            ),
            format!("two:3:5: error: `192.0.2` is not an IPv4 address ({hint}; {trail})"),
        ]
    );
}

#[test]
fn findings_of_the_whole_zone_stand_in_the_file_that_has_the_record() {
    let found = errors("$INCLUDE one\n", &[("one", "x CNAME a.o.\nx TXT \"\"\n")]);
    assert_eq!(found, ["one:1:3 x.t. has other records beside its CNAME"]);
}

#[test]
fn includes_that_cannot_be_followed_are_reported() {
    let one = |text, files: &[(&str, &str)]| {
        let found = errors(text, files);
        assert_eq!(found.len(), 1, "{found:?}");
        found[0].clone()
    };
    assert_eq!(
        one("$INCLUDE gone\n", &[]),
        "t.zone:5:10 cannot include `gone`: no such file beside t.zone"
    );
    assert_eq!(
        one("$INCLUDE\n", &[]),
        "t.zone:5:1 $INCLUDE takes a file and perhaps an origin"
    );
    assert_eq!(
        one("$INCLUDE a a..b\n", &[]).split(' ').next(),
        Some("t.zone:5:12")
    );
    assert_eq!(
        one("$INCLUDE t.zone\n", &[("t.zone", "")]),
        "t.zone:5:10 `t.zone` includes itself"
    );
    assert_eq!(
        one(
            "$INCLUDE a\n",
            &[("a", "$INCLUDE b"), ("b", "\n$INCLUDE a")]
        ),
        "b:2:10 `a` includes itself"
    );
    let alone = zonefile::parse("t.zone", &format!("{TOP}$INCLUDE a"), None).unwrap_err();
    assert_eq!(
        alone[0].message,
        "there is no folder here to include files from"
    );
}

#[test]
fn includes_are_bounded_in_depth_and_number() {
    let mut depth = 0;
    let mut deep = |_: &str, _: &str| {
        depth += 1;
        Ok((format!("f{depth}"), "$INCLUDE x".to_owned()))
    };
    let text = format!("{TOP}$INCLUDE x");
    let findings = zonefile::parse_with("t.zone", &text, None, &mut deep).unwrap_err();
    assert_eq!((findings.len(), findings[0].file.as_str()), (1, "f8"));
    assert!(findings[0].message.contains("more than 8 deep"));

    // Each file includes the next one a hundred times: without a bound 100^8 files.
    let mut opened = 0;
    let mut many = |_: &str, including: &str| {
        opened += 1;
        Ok((format!("{including}+"), "$INCLUDE x\n".repeat(100)))
    };
    let findings = zonefile::parse_with("t.zone", &text, None, &mut many).unwrap_err();
    assert!(!findings.is_empty());
    assert!(opened < 1_000, "{opened}");
}

#[test]
fn generates_records_as_bind_does() {
    // The same lines through named-compilezone 9.18 give the same records.
    let text = "foo A 192.0.2.1\n\
        $GENERATE 1-2 g$ A 192.0.2.$ ; a comment\n TXT \"who\"\n\
        $GENERATE 1-2 h$ TXT \"a $ b\"\n\
        $GENERATE 1-5/2 i$ MX \"10 foo\"\n\
        $GENERATE 1-2/1 j${1,3,x} 30 IN A 192.0.2.$\n\
        $generate 10-11 ${0,5,n}.k$$x\\$ IN 30 A 192.0.2.$\n";
    assert_eq!(
        records(text, &[]),
        [
            "a.0.0.k\\$x\\$.t. 30 IN A 192.0.2.10",
            "b.0.0.k\\$x\\$.t. 30 IN A 192.0.2.11",
            "foo.t. 60 IN A 192.0.2.1",
            "foo.t. 60 IN TXT \"who\"",
            "g1.t. 60 IN A 192.0.2.1",
            "g2.t. 60 IN A 192.0.2.2",
            "h1.t. 60 IN TXT \"a\" \"1\" \"b\"",
            "h2.t. 60 IN TXT \"a\" \"2\" \"b\"",
            "i1.t. 60 IN MX 10 foo.t.",
            "i3.t. 60 IN MX 10 foo.t.",
            "i5.t. 60 IN MX 10 foo.t.",
            "j002.t. 30 IN A 192.0.2.1",
            "j003.t. 30 IN A 192.0.2.2",
        ]
    );
}

#[test]
fn generates_data_of_several_words_without_quotes_too() {
    assert_eq!(
        records(
            "$GENERATE 0-1 s$ SRV 0 $ 554 e${1}.o.\n$GENERATE 7-7 p TXT \"a $\" b$\n",
            &[]
        ),
        [
            "p.t. 60 IN TXT \"a 7\" \"b7\"",
            "s0.t. 60 IN SRV 0 0 554 e1.o.",
            "s1.t. 60 IN SRV 0 1 554 e2.o.",
        ]
    );
}

#[test]
fn generate_reports_its_mistakes_once() {
    let one = |line: &str, expected: &str| {
        let found = errors(line, &[]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0], format!("t.zone:5:{expected}"), "{line}");
    };
    one(
        "$GENERATE 1-9",
        "1 $GENERATE takes a range, an owner, a type and data",
    );
    one("$GENERATE 9-1 a$ A 1", "11 `9-1` is not a range");
    one("$GENERATE 1-2/0 a$ A 1", "11 `1-2/0` is not a range");
    one("$GENERATE 1 a$ A 1", "11 `1` is not a range");
    one(
        "$GENERATE 1-9 a${x} A 1",
        "15 `a${x}` has a dollar that is no number here",
    );
    one(
        "$GENERATE 1-9 a$ A 192.0.2.${-2}",
        "20 `192.0.2.${-2}` has a dollar that is no number here",
    );
    one("$GENERATE 1-9 a$ A", "18 A record ends too early");
    one(
        "$GENERATE 250-260 a$ A 192.0.2.$",
        "24 `192.0.2.256` is not an IPv4 address",
    );
    one("$GENERATE 1-9 a$ B 1", "18 unknown record type `B`");
    one(
        "$GENERATE 0-65536 a$ A 192.0.2.1",
        "11 $GENERATE would make more than 65536 records in this zone",
    );
}

#[test]
fn generated_records_are_bounded_over_all_files() {
    let most = "$GENERATE 0-65534 a$ A 192.0.2.1\n";
    let last = "$GENERATE 0-0 b$ A 192.0.2.1\n";
    assert!(read(&format!("{most}{last}"), &[]).is_ok());
    let found = errors(
        &format!("{most}$INCLUDE more\n"),
        &[("more", &format!("{last}{last}"))],
    );
    assert_eq!(
        found,
        ["more:2:11 $GENERATE would make more than 65536 records in this zone"]
    );
}

#[test]
fn a_generated_line_with_a_mistake_is_shown() {
    let findings = read("$GENERATE 250-260 a$ A 192.0.2.$", &[]).unwrap_err();
    assert_eq!(
        findings[0].hint,
        "write four numbers, as in 192.0.2.1; the line made for 256 is `a256 A 192.0.2.256`"
    );
}
