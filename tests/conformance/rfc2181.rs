//! RFC 2181, clarifications: truncation (§9), names of any octets (§11), authority at a cut (§6), SOA (§7).

use conformance::case::{Transport, check, check_over, look_over};

#[test]
fn an_rrset_is_sent_whole_or_not_at_all() {
    for question in [
        "big.rfc2181.test TXT",
        "big.rfc2181.test TXT +bufsize=65535",
    ] {
        check_over(&[Transport::Udp], "9", question, "NOERROR aa tc");
        look_over(&[Transport::Tcp], "9", question, |answer| {
            assert_eq!(answer.data("TXT").len(), 7, "{}", answer.text);
            assert!(!answer.has("tc"));
        });
    }
    look_over(
        &[Transport::Udp],
        "9",
        "toobig.rfc2181.test TXT",
        |answer| {
            // The alias may be in it: what is missing is said by TC.
            assert!(
                answer.has("tc") && answer.data("TXT").is_empty(),
                "{}",
                answer.text
            );
        },
    );
}

#[test]
fn a_label_may_hold_any_octet() {
    for (name, text) in [
        ("a\\.dot.rfc2181.test", "a dot in a label"),
        ("nul\\000\\255.rfc2181.test", "octets of any value"),
        ("sp\\032ace\\@\\;.rfc2181.test", "what zone files escape"),
    ] {
        check(
            "11",
            &format!("{name} TXT"),
            &format!("NOERROR aa\nanswer {name}. 300 TXT \"{text}\""),
        );
    }
}

#[test]
fn a_dot_in_a_label_is_no_border_of_labels() {
    check(
        "11",
        "a.dot.rfc2181.test TXT",
        "NXDOMAIN aa
         authority rfc2181.test. 60 SOA ns1.rfc2181.test. hostmaster.rfc2181.test. 1 3600 900 1209600 60",
    );
}

#[test]
fn name_servers_at_a_cut_are_not_said_with_authority() {
    check(
        "6.1",
        "sub.rfc2181.test NS",
        "NOERROR
         authority sub.rfc2181.test. 300 NS ns.sub.rfc2181.test.
         additional ns.sub.rfc2181.test. 300 A 192.0.2.53
         additional ns.sub.rfc2181.test. 300 AAAA 2001:db8::53",
    );
}

#[test]
fn a_negative_answer_has_the_soa_of_its_zone() {
    check(
        "7.1",
        "ns1.rfc2181.test MX",
        "NOERROR aa
         authority rfc2181.test. 60 SOA ns1.rfc2181.test. hostmaster.rfc2181.test. 1 3600 900 1209600 60",
    );
}
