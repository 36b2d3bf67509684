//! RFC 7344, CDS and CDNSKEY: what a zone tells its parent about its keys. Also RFC 8078, for the first DS record.

use std::collections::BTreeSet;

use conformance::{
    case::{check, look},
    signed::{CHILD, ROLLING},
    site::signed,
};
use signpost_tests::dig::Answer;

/// DS data with the digest in one piece.
fn digests(answer: &Answer, rtype: &str) -> BTreeSet<String> {
    let whole = |data: &str| {
        let words: Vec<&str> = data.split(' ').collect();
        format!("{} {}", words[..3].join(" "), words[3..].concat())
    };
    answer.data(rtype).into_iter().map(whole).collect()
}

/// What the operator's command says that the parent of a zone should have.
fn wanted(zone: &str) -> BTreeSet<String> {
    let ds = signed().ds(zone);
    let data = |line: &str| line.split_once(" IN DS ").map(|(_, data)| data.to_owned());
    ds.lines().filter_map(data).collect()
}

#[test]
fn while_a_key_is_rolled_the_parent_is_asked_for_both() {
    let wanted = wanted(ROLLING);
    assert_eq!(wanted.len(), 2, "{wanted:?}");
    look("4.1", "rolling.test CDS +dnssec", |answer| {
        assert_eq!(digests(answer, "CDS"), wanted, "{}", answer.text);
    });
    // The same keys in full (§4: both sets MUST match).
    look("4", "rolling.test CDNSKEY +dnssec", |answer| {
        let keys = answer.data("CDNSKEY");
        assert_eq!(keys.len(), 2, "{}", answer.text);
        assert!(
            keys.iter().all(|key| key.starts_with("257 3 13 ")),
            "{keys:?}"
        );
    });
    look("4.1", "rolling.test DNSKEY +dnssec", |answer| {
        assert_eq!(answer.data("DNSKEY").len(), 3, "{}", answer.text);
        assert_eq!(
            answer.data("RRSIG").len(),
            2,
            "both entries sign: {}",
            answer.text
        );
    });
}

#[test]
fn they_are_signed_by_keys_that_the_parent_knows() {
    // The verifier has checked the signatures; here, whose they are.
    for rtype in ["CDS", "CDNSKEY"] {
        look("4.1", &format!("rolling.test {rtype} +dnssec"), |answer| {
            let wanted = wanted(ROLLING);
            let signers: BTreeSet<&str> = answer
                .data("RRSIG")
                .into_iter()
                .filter_map(|data| data.split(' ').nth(6))
                .collect();
            let known = |tag: &&str| wanted.iter().any(|ds| ds.starts_with(&format!("{tag} ")));
            assert!(
                !signers.is_empty() && signers.iter().all(known),
                "{}",
                answer.text
            );
        });
    }
}

#[test]
fn a_zone_that_its_parent_has_not_confirmed_asks_for_its_first_record() {
    // RFC 8078 §3: the parent may take it after it has looked for a while.
    look("RFC 8078 §3", "inner.signed.test CDS +dnssec", |answer| {
        assert_eq!(digests(answer, "CDS"), wanted(CHILD), "{}", answer.text);
    });
    look("4.1", "inner.signed.test DS", |answer| {
        assert_eq!(digests(answer, "DS"), wanted(CHILD), "{}", answer.text);
    });
}

#[test]
fn nothing_is_asked_of_a_parent_that_has_what_it_should() {
    for rtype in ["CDS", "CDNSKEY"] {
        check(
            "4",
            &format!("signed.test {rtype}"),
            "NOERROR aa
             authority signed.test. 60 SOA ns1.signed.test. hostmaster.signed.test. 3 3600 900 1209600 60",
        );
    }
}

#[test]
fn they_stand_at_the_apex_alone() {
    check(
        "4.1",
        "www.rolling.test CDS",
        "NXDOMAIN aa
         authority rolling.test. 60 SOA ns1.rolling.test. hostmaster.rolling.test. 1 3600 900 1209600 60",
    );
}
