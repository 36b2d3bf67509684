//! RFC 4034, the records of DNSSEC: what stands in DNSKEY, RRSIG, NSEC and DS records. That every signature holds is
//! looked at in every answer of every file.

use std::collections::BTreeSet;

use conformance::{
    case::{check, look},
    signed::{CHILD, PARENT},
    site::signed,
};

#[test]
fn keys_are_zone_keys_and_one_is_the_entry() {
    look("2.1", "signed.test DNSKEY +dnssec", |answer| {
        let keys: BTreeSet<String> = answer.data("DNSKEY").into_iter().map(start).collect();
        let expected = ["256 3 13", "257 3 13"].map(str::to_owned);
        assert_eq!(keys, expected.into(), "{}", answer.text);
        assert_eq!(answer.data("RRSIG").len(), 1, "only the entry signs them");
    });
    look("2.1", "inner.signed.test DNSKEY +dnssec", |answer| {
        let keys: Vec<String> = answer.data("DNSKEY").into_iter().map(start).collect();
        assert_eq!(keys, ["257 3 15"], "{}", answer.text);
    });
}

/// Flags, protocol and algorithm of a key.
fn start(data: &str) -> String {
    data.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_signature_has_the_ttl_of_what_it_covers() {
    check(
        "3",
        "short.signed.test A +dnssec",
        "NOERROR aa
         answer short.signed.test. 30 A 192.0.2.30
         answer short.signed.test. 30 RRSIG A 13 3 30 signed.test.",
    );
}

#[test]
fn the_labels_of_a_signature_are_those_of_the_owner_without_the_asterisk() {
    check(
        "3.1.3",
        "signed.test NS +dnssec",
        "NOERROR aa
         answer signed.test. 300 NS ns1.signed.test.
         answer signed.test. 300 RRSIG NS 13 2 300 signed.test.
         additional ns1.signed.test. 300 A 192.0.2.1
         additional ns1.signed.test. 300 RRSIG A 13 3 300 signed.test.",
    );
    check(
        "3.1.3",
        "*.wild.signed.test TXT +dnssec",
        "NOERROR aa
         answer *.wild.signed.test. 300 TXT \"any\"
         answer *.wild.signed.test. 300 RRSIG TXT 13 3 300 signed.test.",
    );
}

#[test]
fn a_signature_is_made_over_names_in_lower_case() {
    // Whether it is, the verifier finds.
    for name in ["mixed.signed.test", "MIXED.Signed.TEST"] {
        check(
            "6.2",
            &format!("{name} TXT +dnssec"),
            &format!(
                "NOERROR aa
                 answer {name}. 300 TXT \"a name with a capital letter\"
                 answer {name}. 300 RRSIG TXT 13 3 300 signed.test."
            ),
        );
    }
}

#[test]
fn an_nsec_record_lists_the_types_in_order_and_has_the_ttl_of_negative_answers() {
    check(
        "4.1.2",
        "signed.test MX +dnssec",
        "NOERROR aa
         authority signed.test. 60 SOA ns1.signed.test. hostmaster.signed.test. 3 3600 900 1209600 60
         authority signed.test. 60 RRSIG SOA 13 2 300 signed.test.
         authority signed.test. 60 NSEC \\000.signed.test. NS SOA RRSIG NSEC DNSKEY
         authority signed.test. 60 RRSIG NSEC 13 2 60 signed.test.",
    );
}

#[test]
fn a_ds_record_is_the_digest_of_the_childs_key() {
    // The operator's command prints the same record; the verifier has made the digest anew before it took the key.
    let expected = signed().ds(CHILD);
    look("5.1", "inner.signed.test DS +dnssec", |answer| {
        let [data] = answer.data("DS")[..] else {
            panic!("{}", answer.text)
        };
        // dig breaks the digest in two.
        let [tag, algorithm, digest_type, digest @ ..] = &data.split(' ').collect::<Vec<_>>()[..]
        else {
            panic!("{data}")
        };
        let printed = format!("{tag} {algorithm} {digest_type} {}", digest.concat());
        assert!(expected.contains(&printed), "{printed}\n{expected}");
        let signature = answer.data("RRSIG")[0];
        assert!(signature.contains(&format!(" {PARENT} ")), "{signature}");
    });
}
