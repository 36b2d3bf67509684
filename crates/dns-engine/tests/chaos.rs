//! Class CHAOS (RFC 4892) and the other classes.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod common;

use common::{Answer, Query, example, meta};
use dns_engine::{Outcome, Scratch, Snapshot, Transport, respond};
use domain::base::{Message, iana::Class};
use domain::rdata::Txt;

const NAMES: [&str; 4] = [
    "id.server",
    "hostname.bind",
    "version.server",
    "version.bind",
];

fn ask(snapshot: &Snapshot, query: &Query) -> Vec<u8> {
    let (mut scratch, mut out) = (Scratch::new(), vec![0; 1232]);
    let meta = meta(Transport::Udp);
    match respond(snapshot, &query.wire(), &meta, &mut scratch, &mut out) {
        Outcome::Send(length) => out[..length].to_vec(),
        other => panic!("{other:?}"),
    }
}

/// The texts of an answer of class CHAOS.
fn texts(octets: &[u8]) -> Vec<String> {
    let message = Message::from_octets(octets).unwrap();
    let answers = message.answer().unwrap().limit_to::<Txt<_>>();
    answers
        .map(|record| {
            let record = record.unwrap();
            assert_eq!((record.class(), record.ttl().as_secs()), (Class::CH, 0));
            String::from_utf8(record.data().text::<Vec<u8>>()).unwrap()
        })
        .collect()
}

#[test]
fn nothing_is_told_by_default() {
    for name in NAMES {
        let answer = Answer::decode(&ask(&example(), &Query::new(name, "TXT").class(3)));
        assert_eq!((answer.rcode, answer.answers.len()), (5, 0), "{name}");
    }
}

#[test]
fn identifier_and_version_are_told_each_when_set() {
    let mut snapshot = example();
    snapshot.identity.id_server = Some("l1-a.test".into());
    for (name, expected) in NAMES.iter().zip([1, 1, 0, 0]) {
        let query = Query::new(name, "TXT").class(3).edns(1232);
        assert_eq!(texts(&ask(&snapshot, &query)).len(), expected, "{name}");
    }
    snapshot.identity.version = Some("signpost".into());
    let told = NAMES.map(|name| texts(&ask(&snapshot, &Query::new(name, "TXT").class(3))));
    assert_eq!(
        told.concat(),
        ["l1-a.test", "l1-a.test", "signpost", "signpost"]
    );
    let shouted = Query::new("VERSION.Bind", "TXT").class(3);
    assert_eq!(texts(&ask(&snapshot, &shouted)), ["signpost"]);
}

#[test]
fn long_texts_are_cut_to_one_string() {
    let mut snapshot = example();
    snapshot.identity.version = Some("v".repeat(300).into());
    let answer = ask(&snapshot, &Query::new("version.bind", "TXT").class(3));
    assert_eq!(texts(&answer), ["v".repeat(255)]);
}

#[test]
fn other_names_types_and_classes_are_refused() {
    let mut snapshot = example();
    snapshot.identity.version = Some("signpost".into());
    for (name, rtype, class) in [
        ("authors.bind", "TXT", 3),
        ("version.bind", "A", 3),
        ("mail.example", "A", 3),
        ("version.bind", "TXT", 1),
        ("mail.example", "A", 4),
        ("mail.example", "A", 254),
        ("mail.example", "A", 255),
        ("mail.example", "A", 0),
        ("mail.example", "A", 65_535),
    ] {
        let query = Query::new(name, rtype).class(class);
        let answer = Answer::decode(&ask(&snapshot, &query));
        assert_eq!(
            (answer.rcode, answer.answers.len()),
            (5, 0),
            "{name} {class}"
        );
        assert!(!answer.flags.contains("aa"));
    }
}
