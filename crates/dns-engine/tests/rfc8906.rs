//! The checks of RFC 8906 §8: does a server answer whatever structure a query has?
//!
//! Each row is one query of the document, asked over UDP and over the streams, where the answers must be
//! the same.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod common;

use common::{Answer, Query, ask_wire, example};
use dns_engine::{CookieSecret, Cookies, Snapshot, Transport};

/// What the document expects; "RD" and the like are flags as `dig` shows them.
struct Expected {
    rcode: u16,
    soa: bool,
    flags: &'static str,
    /// Flags of the OPT record if there is one.
    opt: Option<u16>,
}

const NOERROR: u16 = 0;
const NOTIMP: u16 = 4;
const BADVERS: u16 = 16;

/// A zone's own SOA, RD clear.
fn soa() -> Query {
    let mut query = Query::new("example", "SOA");
    query.head = [0x89, 0x06, 0, 0];
    query
}

/// An OPT record of this version with these flags.
fn edns(version: u8, flags: u16) -> Query {
    soa().edns_flags(u32::from(version) << 16 | u32::from(flags))
}

fn header_bits(second: u8, third: u8) -> Query {
    let mut query = soa();
    (query.head[2], query.head[3]) = (second, third);
    query
}

fn unknown_opcode() -> Vec<u8> {
    vec![0x89, 0x06, 15 << 3, 0, 0, 0, 0, 0, 0, 0, 0, 0]
}

fn rows() -> Vec<(&'static str, Vec<u8>, Expected)> {
    let row = |section, query: Query, rcode, soa, flags, opt| {
        let expected = Expected {
            rcode,
            soa,
            flags,
            opt,
        };
        (section, query.wire(), expected)
    };
    let unknown_type = Query {
        question: Query::new("example", "TYPE1000").question,
        ..soa()
    };
    let every_option = edns(0, 0)
        .option(10, b"clientid")
        .option(3, b"")
        .option(9, b"")
        .subnet(&[0, 1, 0, 0]);
    let mut rows = vec![
        row("8.1.1 zone configured", soa(), NOERROR, true, "qr aa", None),
        row(
            "8.1.2 unknown type",
            unknown_type,
            NOERROR,
            false,
            "qr aa",
            None,
        ),
        row(
            "8.1.3.1 CD=1",
            header_bits(0, 0x10),
            NOERROR,
            true,
            "qr aa",
            None,
        ),
        row(
            "8.1.3.2 AD=1",
            header_bits(0, 0x20),
            NOERROR,
            true,
            "qr aa",
            None,
        ),
        row(
            "8.1.3.3 reserved bit",
            header_bits(0, 0x40),
            NOERROR,
            true,
            "qr aa",
            None,
        ),
        row(
            "8.1.3.4 RD=1",
            header_bits(1, 0),
            NOERROR,
            true,
            "qr aa rd",
            None,
        ),
        row(
            "8.2.1 minimal EDNS",
            edns(0, 0),
            NOERROR,
            true,
            "qr aa",
            Some(0),
        ),
        row("8.2.2 version 1", edns(1, 0), BADVERS, false, "qr", Some(0)),
        row(
            "8.2.3 unknown option",
            edns(0, 0).option(100, b""),
            NOERROR,
            true,
            "qr aa",
            Some(0),
        ),
        row(
            "8.2.4 unknown flag",
            edns(0, 0x40),
            NOERROR,
            true,
            "qr aa",
            Some(0),
        ),
        row(
            "8.2.5 version 1, unknown flag",
            edns(1, 0x40),
            BADVERS,
            false,
            "qr",
            Some(0),
        ),
        row(
            "8.2.6 version 1, unknown option",
            edns(1, 0).option(100, b""),
            BADVERS,
            false,
            "qr",
            Some(0),
        ),
        row(
            "8.2.8 DO=1",
            edns(0, 0x8000),
            NOERROR,
            true,
            "qr aa",
            Some(0x8000),
        ),
        row(
            "8.2.9 version 1, DO=1",
            edns(1, 0x8000),
            BADVERS,
            false,
            "qr",
            Some(0x8000),
        ),
        row(
            "8.2.10 several options",
            every_option,
            NOERROR,
            true,
            "qr aa",
            Some(0),
        ),
    ];
    let not_implemented = Expected {
        rcode: NOTIMP,
        soa: false,
        flags: "qr",
        opt: None,
    };
    rows.push(("8.1.4 unknown opcode", unknown_opcode(), not_implemented));
    rows
}

fn check(section: &str, answer: &Answer, expected: &Expected) {
    assert_eq!(answer.rcode, expected.rcode, "{section}");
    assert_eq!(!answer.answers.is_empty(), expected.soa, "{section}");
    assert!(answer.answers.iter().all(|record| record.contains(" SOA ")));
    assert_eq!(answer.flags, expected.flags, "{section}");
    // The reserved bit of the header (RFC 1035 §4.1.1).
    assert_eq!(answer.octets[3] & 0x40, 0, "{section}");
    let opt = answer.opt.as_ref();
    assert_eq!(
        opt.map(|(_, ttl, _)| *ttl as u16),
        expected.opt,
        "{section}"
    );
    assert!(
        opt.is_none_or(|(_, ttl, _)| ttl >> 16 & 0xFF == 0),
        "{section}: version 0"
    );
    assert_eq!(answer.option(100), None, "{section}");
}

#[test]
fn every_check_passes_over_every_transport() {
    let plain = example();
    let mut with_cookies = example();
    with_cookies.cookies = Some(Cookies::new(CookieSecret([1; 16])));
    with_cookies.identity.nsid = Some(b"ns1".as_slice().into());
    for (section, wire, expected) in rows() {
        for snapshot in [&plain, &with_cookies] {
            let answer = ask_wire(snapshot, &wire, Transport::Udp);
            check(section, &answer, &expected);
            // 8.1.5: TCP queries work, and so do the others.
            for transport in [
                Transport::Tcp,
                Transport::Tls,
                Transport::Https,
                Transport::Quic,
            ] {
                let same = ask_wire(snapshot, &wire, transport);
                assert_eq!(answer.octets, same.octets, "{section} {transport:?}");
            }
        }
    }
}

#[test]
fn a_truncated_answer_keeps_its_opt_record() {
    // 8.2.7: a DNSKEY query with DO and 512 octets, here for a set that is larger.
    let texts: String = (0..9)
        .map(|n| format!("@ TXT \"{n}{}\"\n", "k".repeat(120)))
        .collect();
    let zone = "$ORIGIN t.\n$TTL 60\n@ SOA n.o. m.o. 1 2 3 4 5\n@ NS n.o.\n".to_owned() + &texts;
    let mut query = Query::new("t", "TXT").edns_flags(0x8000).edns(512);
    query.head[2] = 0;
    let snapshot: Snapshot = common::only(&zone);
    let answer = query.ask(&snapshot);
    assert_eq!((answer.rcode, answer.flags.as_str()), (0, "qr aa tc"));
    assert_eq!(answer.opt, Some((1232, 0x8000, Vec::new())));
    assert!(answer.octets.len() <= 512);
}
