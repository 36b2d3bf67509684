//! Every record type in its own form: text to wire as another implementation has it, and back.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod common;

use std::collections::BTreeSet;

use dns_engine::zonefile::{self, DataText, RecordText};
use dns_engine::{name, rtype};
use proptest::prelude::*;

const TABLE: &str = include_str!("data/record_types.txt");
const TOP: &str = "$ORIGIN t.\n$TTL 60\n@ SOA n.o. m.o. 1 3 2 6 5\n@ NS n.o.\n";

/// Type, data and wire form of every line of the table.
fn table() -> impl Iterator<Item = (&'static str, &'static str, Vec<u8>)> {
    let lines = TABLE.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| {
        let (rtype, rest) = line.split_once('|').unwrap();
        let (data, wire) = rest.split_once('|').unwrap();
        (rtype, data, octets(wire))
    })
}

fn octets(hex: &str) -> Vec<u8> {
    let (pairs, _) = hex.as_bytes().as_chunks::<2>();
    let octet = |pair: &[u8; 2]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
    pairs.iter().map(octet).collect()
}

/// What a zone file with this record serves, or the first finding.
fn read(rtype: &str, data: &str) -> Result<Vec<u8>, String> {
    // SOA is the apex's only, so it takes the place of the usual one.
    let text = match rtype {
        "SOA" => format!("$ORIGIN x.t.\n$TTL 60\nx.t. SOA {data}\n@ NS n.o.\n"),
        "DNAME" | "CNAME" => format!("{TOP}x {rtype} {data}\n"),
        _ => format!("{TOP}x {rtype} {data}\nx NS n.o.\n"),
    };
    let zone =
        zonefile::parse("t.zone", &text, None).map_err(|findings| findings[0].to_string())?;
    let set = zone.rrset(b"\x01x\x01t\0", rtype::parse(rtype).unwrap());
    Ok(set.unwrap().rdatas().next().unwrap().to_vec())
}

/// Signatures and denials are read where they are not loaded: their form is tested through `\#` only.
fn is_loaded(rtype: &str) -> bool {
    !matches!(rtype, "RRSIG" | "NSEC" | "NSEC3" | "NSEC3PARAM")
}

#[test]
fn reads_every_type_as_another_implementation_does() {
    let mut seen = BTreeSet::new();
    for (rtype, data, wire) in table().filter(|(rtype, ..)| is_loaded(rtype)) {
        assert_eq!(read(rtype, data), Ok(wire), "{rtype} {data}");
        seen.insert(rtype);
    }
    assert!(seen.len() > 60, "{}", seen.len());
}

#[test]
fn writes_every_type_so_that_it_reads_back() {
    for (mnemonic, data, wire) in table() {
        let rtype = rtype::parse(mnemonic).unwrap();
        let text = DataText { rtype, data: &wire }.to_string();
        assert_eq!(
            text.starts_with("\\#"),
            mnemonic == "TYPE65280",
            "{mnemonic} {text}"
        );
        if is_loaded(mnemonic) {
            assert_eq!(read(mnemonic, &text), Ok(wire), "{data} became {text}");
        }
    }
}

#[test]
fn knows_the_octets_of_every_type() {
    for (rtype, _, wire) in table().filter(|(rtype, ..)| is_loaded(rtype)) {
        let generic = |wire: &[u8]| {
            let hex: String = wire.iter().map(|octet| format!("{octet:02X}")).collect();
            read(rtype, &format!("\\# {} {hex}", wire.len()))
        };
        assert_eq!(generic(&wire), Ok(wire.clone()), "{rtype}");
        // One octet more is data of few types, one less of fewer still; none is accepted as the same.
        for other in [
            [&wire[..], &[0]].concat(),
            wire[..wire.len().max(1) - 1].to_vec(),
        ] {
            if let Ok(read) = generic(&other) {
                assert_eq!(read, other, "{rtype}");
            }
        }
    }
}

#[test]
fn the_canonical_form_is_one_line() {
    let check = |rtype: u16, data: &[u8], expected: &str| {
        assert_eq!(DataText { rtype, data }.to_string(), expected);
    };
    let wire = |mnemonic: &str, nth: usize| {
        let mut lines = table().filter(|(rtype, ..)| *rtype == mnemonic);
        lines.nth(nth).unwrap().2
    };
    check(
        rtype::SOA,
        &wire("SOA", 0),
        "n.o. m\\.x.o. 2026112001 3600 900 777600 300",
    );
    check(
        rtype::TXT,
        &wire("TXT", 0),
        r#""plain" "with space" "\"A;\255" """#,
    );
    check(
        rtype::LOC,
        &wire("LOC", 0),
        "42 21 54.000 N 71 6 18.000 W -24.00m 30.00m 10000.00m 10.00m",
    );
    check(
        rtype::APL,
        &wire("APL", 1),
        "1:224.0.0.0/4 2:ff00::/8 1:0.0.0.0/0",
    );
    check(rtype::APL, b"", "");
    check(
        rtype::CAA,
        &wire("CAA", 1),
        "128 iodef \"mailto:security@example.com\"",
    );
    check(
        rtype::NSEC,
        &wire("NSEC", 0),
        "host.example.com. A MX RRSIG NSEC TYPE1234",
    );
    check(
        rtype::NSEC3,
        &wire("NSEC3", 0),
        "1 1 12 aabbccdd 2t7b4g4vsa5smi47k61mv5bv1a22bojr NS SOA MX RRSIG DNSKEY NSEC3PARAM",
    );
    check(rtype::NSEC3PARAM, &wire("NSEC3PARAM", 1), "1 0 0 -");
    check(
        rtype::RRSIG,
        &wire("RRSIG", 0),
        "A 5 3 86400 20030322173103 20030220173103 2642 example.com. oJB1W6WNGv+ldvQ3WDG0MQkg5IEhjRip8WTr",
    );
    check(
        rtype::SVCB,
        &wire("SVCB", 7),
        "16 foo.example.org. mandatory=alpn,ipv4hint alpn=\"h2,h3-19\" ipv4hint=192.0.2.1",
    );
    check(
        rtype::SVCB,
        &wire("SVCB", 8),
        r#"16 foo.example.org. alpn="f\\\\oo\\,bar,h2""#,
    );
    check(
        rtype::HTTPS,
        &wire("HTTPS", 0),
        "1 . alpn=\"h3\" no-default-alpn ech=AEX+DQ==",
    );
    check(rtype::IPSECKEY, b"\x0a\0\0", "10 0 0 .");
    check(
        rtype::AMTRELAY,
        &wire("AMTRELAY", 3),
        "128 1 3 amtrelays.example.com.",
    );
    check(rtype::EUI64, &wire("EUI64", 0), "00-00-5e-ef-10-00-00-2a");
    check(rtype::NID, &wire("NID", 0), "10 0014:4fff:ff20:ee64");
    check(rtype::A, &[1, 2, 3], "\\# 3 010203");
    check(65280, &[], "\\# 0");
    let record = RecordText {
        owner: b"\x03a.b\x01T\0",
        rtype: rtype::MX,
        ttl: 60,
        data: b"\0\x0a\x01m\0",
    };
    assert_eq!(record.to_string(), "a\\.b.T. 60 IN MX 10 m.");
}

/// The finding for a record of type SVCB with these parameters.
#[track_caller]
fn check_parameters(parameters: &str, expected: &str) {
    let found = read("SVCB", &format!("1 foo.example.com. {parameters}")).unwrap_err();
    assert!(found.contains(expected), "{parameters}: {found}");
}

#[test]
fn refuses_the_parameters_that_rfc_9460_refuses() {
    // RFC 9460 appendix D.3.
    check_parameters(
        "key123=abc key123=def",
        "t.zone:5:38: error: a second parameter key123",
    );
    check_parameters(
        "mandatory",
        "the value of mandatory is not a list of other keys",
    );
    check_parameters("alpn", "the value of alpn is not a list of protocols");
    check_parameters("port", "the value of port is not a port");
    check_parameters(
        "ipv4hint",
        "the value of ipv4hint is not a list of IPv4 addresses",
    );
    check_parameters(
        "ipv6hint",
        "the value of ipv6hint is not a list of IPv6 addresses",
    );
    check_parameters(
        "no-default-alpn=abc",
        "the value of no-default-alpn takes no value",
    );
    check_parameters("mandatory=key123", "the mandatory key key123 is missing");
    check_parameters("mandatory=mandatory", "is not a list of other keys");
    check_parameters(
        "mandatory=key123,key123 key123=abc",
        "is not a list of other keys",
    );
    // Elsewhere in the RFC.
    check_parameters("no-default-alpn", "no-default-alpn without alpn");
    check_parameters(
        "alpn=h2,,h3",
        "the value of alpn is not a list of protocols",
    );
    check_parameters("key65535=a", "`key65535` is not a key");
    check_parameters("ALPN=h2", "`ALPN` is not a key");
    check_parameters("port=65536", "the value of port is not a port");
    check_parameters("ipv4hint=192.0.2.1,x", "not a list of IPv4 addresses");
    check_parameters("ech=!", "the value of ech is not base 64");
    check_parameters("dohpath=/dns", "is not a path with the variable `dns`");
    check_parameters("\"port=1\"", "`port=1` is not a parameter");
    check_parameters("key3=x", "the value of key3 is not a port");
}

/// The finding for data of a type.
#[track_caller]
fn check_bad(rtype: &str, data: &str, expected: &str) {
    let found = read(rtype, data).expect_err(data);
    assert!(found.contains(expected), "{rtype} {data}: {found}");
}

#[test]
fn refuses_data_that_means_nothing() {
    check_bad(
        "DS",
        "1 13 2 AA",
        "5:6: error: the digest has not the length of its kind",
    );
    check_bad("CDS", "1 0 0 00", "in one form only");
    check_bad("CDNSKEY", "0 3 0 AAA=", "in one form only");
    check_bad("DNSKEY", "256 2 13 AAAA", "the protocol of a zone key is 3");
    check_bad(
        "DNSKEY",
        "256 3 NONSENSE AAAA",
        "`NONSENSE` is not a number from 0 to 255",
    );
    check_bad(
        "SSHFP",
        "4 2 00",
        "the digest has not the length of its kind",
    );
    check_bad("ZONEMD", "1 1 1 00", "a digest of less than 12 octets");
    check_bad("CAA", "0 is-sue a", "`is-sue` is not a tag");
    check_bad("LOC", "91 N 0 E 0", "`91` is not part of an angle");
    check_bad("LOC", "90 0 1 N 0 E 0", "`1` is not part of an angle");
    check_bad("LOC", "9 60 N 0 E 0", "`60` is not part of an angle");
    check_bad(
        "LOC",
        "9 1 1.2345 N 0 E 0",
        "`1.2345` is not part of an angle",
    );
    check_bad("LOC", "9 N 0 E 42849672.96", "is not an altitude");
    check_bad("LOC", "9 N 0 E 0 1x", "`1x` is not a size");
    check_bad("LOC", "9 1 1 1 N 0 E 0", "`1` is not part of an angle");
    check_bad("APL", "3:1.2.3.4/8", "is not an address prefix");
    check_bad("APL", "1:1.2.3.4/33", "is not an address prefix");
    check_bad("EUI48", "00-00-5e-00-53", "is not an address of 48 bits");
    check_bad(
        "EUI64",
        "00-00-5e-00-53-2a-00-0",
        "is not an address of 64 bits",
    );
    check_bad(
        "NID",
        "10 0014:4fff:ff20",
        "is not an identifier of 64 bits",
    );
    check_bad(
        "NID",
        "10 0014:4fff:ff20:+e64",
        "is not an identifier of 64 bits",
    );
    check_bad("IPSECKEY", "10 0 2 x AAAA", "`x` is not `.`");
    check_bad(
        "IPSECKEY",
        "10 4 2 . AAAA",
        "`4` is not a number from 0 to 3",
    );
    check_bad("AMTRELAY", "10 2 0 .", "`2` is not a number from 0 to 1");
    check_bad("HIP", "2 - AAAA", "`-` is not a host identity tag");
    check_bad("CSYNC", "1 3 A BOGUS", "`BOGUS` is not a record type");
    check_bad("CERT", "PKIX 0 0", "CERT record ends too early");
    check_bad("ISDN", "1 2 3", "`3` is more than a ISDN record takes");
    check_bad("TXT", "", "TXT record ends too early");
}

#[test]
fn agrees_with_two_independent_readers() {
    // What the others can read of the table; each has gaps, so the number is held.
    let (mut by_domain, mut by_hickory) = (0, 0);
    for (rtype, data, wire) in table() {
        if let Some(other) = domain_reads(rtype, data) {
            assert_eq!(other, wire, "domain: {rtype} {data}");
            by_domain += 1;
        }
        // Its escapes are octal (hickory-dns issue 3955).
        let plain = !data.contains('\\');
        if let Some(other) = hickory_reads(rtype, data).filter(|_| plain) {
            // It brings names to lower case.
            assert!(other.eq_ignore_ascii_case(&wire), "hickory: {rtype} {data}");
            by_hickory += 1;
        }
    }
    assert!(by_domain >= 50, "{by_domain}");
    assert!(by_hickory >= 20, "{by_hickory}");
}

fn domain_reads(rtype: &str, data: &str) -> Option<Vec<u8>> {
    use domain::base::rdata::ComposeRecordData;
    use domain::zonefile::inplace::{Entry, Zonefile};
    let line = format!("x.t. 60 IN {rtype} {data}\n");
    let mut file = Zonefile::load(&mut line.as_bytes()).ok()?;
    let Ok(Some(Entry::Record(record))) = file.next_entry() else {
        return None;
    };
    let mut wire = Vec::new();
    record.data().compose_rdata(&mut wire).unwrap();
    Some(wire)
}

fn hickory_reads(rtype: &str, data: &str) -> Option<Vec<u8>> {
    use hickory_proto::serialize::binary::{BinEncodable, BinEncoder};
    use hickory_proto::serialize::txt::Parser;
    let line = format!("$TTL 60\nx.t. 60 IN {rtype} {data}\n");
    let origin = hickory_proto::rr::Name::from_ascii("t.").unwrap();
    let (_, sets) = Parser::new(line, None, Some(origin)).parse().ok()?;
    let set = sets.into_values().next()?;
    let record = set.records_without_rrsigs().next()?;
    let mut wire = Vec::new();
    record.data.emit(&mut BinEncoder::new(&mut wire)).ok()?;
    Some(wire)
}

proptest! {
    #[test]
    fn text_of_any_data_reads_back_to_the_same_octets(
        rtype in prop_oneof![0..110_u16, 256..263_u16, any::<u16>()],
        data in prop::collection::vec(prop_oneof![0..8_u8, any::<u8>()], 0..40),
    ) {
        check_round_trip(rtype, &data)?;
    }

    #[test]
    fn text_of_mutated_data_reads_back_to_the_same_octets(
        line in 0..table().count(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let (mnemonic, _, mut wire) = table().nth(line).unwrap();
        for (at, octet) in changes {
            if !wire.is_empty() {
                let at = at.index(wire.len());
                wire[at] = octet;
            }
        }
        if cut.index(4) == 0 {
            wire.truncate(cut.index(wire.len() + 1));
        }
        check_round_trip(rtype::parse(mnemonic).unwrap(), &wire)?;
    }
}

/// Data that is loaded at all is loaded from its text as well.
fn check_round_trip(rtype: u16, data: &[u8]) -> Result<(), TestCaseError> {
    let mnemonic = rtype::text(rtype);
    let text = DataText { rtype, data }.to_string();
    if !is_loaded(&mnemonic) || rtype == rtype::SOA || rtype == rtype::NS || rtype == rtype::DS {
        return Ok(());
    }
    let hex: String = data.iter().map(|octet| format!("{octet:02x}")).collect();
    let known = read(&mnemonic, &format!("\\# {} {hex}", data.len()));
    if let Ok(known) = known {
        prop_assert_eq!(&known, data);
        prop_assert_eq!(read(&mnemonic, &text), Ok(known), "{} {}", mnemonic, text);
    }
    Ok(())
}

#[test]
fn names_in_text_keep_their_octets() {
    let owner = name::parse("\\000.a\\.b.x\\032y.t.", None).unwrap();
    let record = RecordText {
        owner: &owner,
        rtype: rtype::A,
        ttl: 1,
        data: &[192, 0, 2, 1],
    };
    assert_eq!(
        record.to_string(),
        "\\000.a\\.b.x\\032y.t. 1 IN A 192.0.2.1"
    );
}
