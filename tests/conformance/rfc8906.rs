//! RFC 8906, a common operational problem: the checks of its §8, each as it is written there, and each answered
//! at once with the lawful response code.

use conformance::case::{Transport, check, check_over, look};

const ZONE: &str = "rfc6891.test";
const SOA: &str =
    "answer rfc6891.test. 300 SOA ns1.rfc6891.test. hostmaster.rfc6891.test. 1 3600 900 1209600 60";

fn soa(section: &str, more: &str) {
    check(
        section,
        &format!("{more} soa {ZONE}"),
        &format!("NOERROR aa\n{SOA}"),
    );
}

#[test]
fn is_the_server_configured_for_the_zone() {
    soa("8.1.1", "+noedns +noad +norec");
}

#[test]
fn unknown_types() {
    check(
        "8.1.2",
        &format!("+noedns +noad +norec type1000 {ZONE}"),
        "NOERROR aa
         authority rfc6891.test. 60 SOA ns1.rfc6891.test. hostmaster.rfc6891.test. 1 3600 900 1209600 60",
    );
}

#[test]
fn header_bits() {
    soa("8.1.3.1", "+noedns +noad +norec +cd");
    soa("8.1.3.2", "+noedns +noad +norec +ad");
    look(
        "8.1.3.3",
        &format!("+noedns +noad +norec +zflag soa {ZONE}"),
        |answer| {
            assert_eq!(answer.status, "NOERROR");
            assert!(
                answer.has("aa") && !answer.text.contains("MBZ"),
                "{}",
                answer.text
            );
        },
    );
    check(
        "8.1.3.4",
        &format!("+noedns +noad +rec soa {ZONE}"),
        &format!("NOERROR aa rd\n{SOA}"),
    );
}

#[test]
fn unknown_opcodes() {
    check(
        "8.1.4",
        &format!("+noedns +noad +opcode=15 +norec +header-only {ZONE}"),
        "NOTIMP",
    );
    check(
        "8.1.4",
        &format!("+noedns +noad +opcode=15 +norec {ZONE}"),
        "NOTIMP",
    );
}

#[test]
fn tcp() {
    check_over(
        &[Transport::Tcp],
        "8.1.5",
        &format!("+noedns +noad +norec soa {ZONE}"),
        &format!("NOERROR aa\n{SOA}"),
    );
}

#[test]
fn plain_edns() {
    soa("8.2.1", "+nocookie +edns=0 +noad +norec");
}

#[test]
fn edns_versions() {
    check(
        "8.2.2",
        &format!("+nocookie +edns=1 +noednsneg +noad +norec soa {ZONE}"),
        "BADVERS",
    );
}

#[test]
fn edns_options() {
    soa("8.2.3", "+nocookie +edns=0 +noad +norec +ednsopt=100");
}

#[test]
fn edns_flags() {
    soa("8.2.4", "+nocookie +edns=0 +noad +norec +ednsflags=0x40");
}

#[test]
fn edns_version_one_with_unknown_options_and_flags() {
    for more in [
        "+ednsopt=100",
        "+ednsflags=0x40",
        "+ednsflags=0x40 +ednsopt=100",
    ] {
        let section = if more.contains("flags") {
            "8.2.5"
        } else {
            "8.2.6"
        };
        let question = format!("+nocookie +edns=1 +noednsneg +noad +norec {more} soa {ZONE}");
        check(section, &question, "BADVERS");
    }
}

#[test]
fn truncated_answers() {
    look(
        "8.2.7",
        &format!("+norec +dnssec +bufsize=512 +ignore dnskey {ZONE}"),
        |answer| {
            assert_eq!(answer.status, "NOERROR", "{}", answer.text);
            assert!(
                answer.text.contains("flags: do"),
                "OPT stays: {}",
                answer.text
            );
        },
    );
    check_over(
        &[Transport::Udp],
        "8.2.7",
        &format!("+norec +bufsize=512 +ignore txt mid.{ZONE}"),
        "NOERROR aa tc",
    );
}

#[test]
fn dnssec_wanted() {
    look(
        "8.2.8",
        &format!("+nocookie +edns=0 +noad +norec +dnssec soa {ZONE}"),
        |answer| {
            assert_eq!(answer.data("SOA").len(), 1, "{}", answer.text);
        },
    );
}

#[test]
fn edns_over_tcp() {
    check_over(
        &[Transport::Tcp],
        "8.2.9",
        &format!("+edns +noad +norec soa {ZONE}"),
        &format!("NOERROR aa\n{SOA}"),
    );
}

#[test]
fn every_defined_option_that_may_be_asked_for() {
    for option in [
        "+nsid",
        "+expire",
        "+cookie",
        "+subnet=192.0.2.0/24",
        "+keepalive",
        "+padding=64",
    ] {
        look(
            "8.2.10",
            &format!("+edns=0 +noad +norec {option} soa {ZONE}"),
            |answer| {
                assert_eq!(
                    (answer.status.as_str(), answer.has("aa")),
                    ("NOERROR", true),
                    "{}",
                    answer.text
                );
                assert_eq!(answer.data("SOA").len(), 1, "{}", answer.text);
            },
        );
    }
}
