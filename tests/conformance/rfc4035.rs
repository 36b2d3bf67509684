//! RFC 4035, what DNSSEC changes in the protocol, as far as it is an authoritative server's: records that prove others
//! for who sets DO, and nothing new for anybody else.

use std::{fs, process::Command};

use conformance::{
    case::{Transport, check, check_over, look, look_over},
    signed::PARENT,
    site::{servers, signed},
};
use signpost_tests::tools;

const SOA: &str =
    "authority signed.test. 60 SOA ns1.signed.test. hostmaster.signed.test. 3 3600 900 1209600 60";
const SOA_SIGNED: &str = "authority signed.test. 60 RRSIG SOA 13 2 300 signed.test.";

#[test]
fn without_do_nothing_is_added() {
    for question in ["+noedns", "+edns=0"] {
        let ask = |name: &str, expected: &str| {
            check("3.1", &format!("{name} {question}"), expected);
        };
        ask(
            "www.signed.test TXT",
            "NOERROR aa\nanswer www.signed.test. 300 TXT \"a host\"",
        );
        ask("www.signed.test AAAA", &format!("NOERROR aa\n{SOA}"));
        ask("nothing.signed.test A", &format!("NXDOMAIN aa\n{SOA}"));
        ask(
            "x.wild.signed.test TXT",
            "NOERROR aa\nanswer x.wild.signed.test. 300 TXT \"any\"",
        );
        ask(
            "www.away.signed.test A",
            "NOERROR
             authority away.signed.test. 300 NS ns.away.signed.test.
             additional ns.away.signed.test. 300 A 192.0.2.53",
        );
    }
}

#[test]
fn records_of_dnssec_that_are_asked_for_come_without_do_too() {
    look("3.1", "signed.test DNSKEY", |answer| {
        assert_eq!(answer.data("DNSKEY").len(), 2, "{}", answer.text);
        assert!(answer.data("RRSIG").is_empty(), "{}", answer.text);
    });
    check(
        "3.1",
        "away.signed.test DS",
        "NOERROR aa
         answer away.signed.test. 300 DS 12345 13 2 000102030405060708090A0B0C0D0E0F101112131415161718191A1B 1C1D1E1F",
    );
}

#[test]
fn every_set_of_an_answer_comes_with_its_signature() {
    check(
        "3.1.1",
        "www.signed.test A +dnssec",
        "NOERROR aa
         answer www.signed.test. 300 A 192.0.2.80
         answer www.signed.test. 300 A 192.0.2.81
         answer www.signed.test. 300 RRSIG A 13 3 300 signed.test.",
    );
    check(
        "3.1.1",
        "mail.signed.test MX +dnssec",
        "NOERROR aa
         answer mail.signed.test. 300 MX 10 www.signed.test.
         answer mail.signed.test. 300 RRSIG MX 13 3 300 signed.test.
         additional www.signed.test. 300 A 192.0.2.80
         additional www.signed.test. 300 A 192.0.2.81
         additional www.signed.test. 300 RRSIG A 13 3 300 signed.test.",
    );
    check(
        "3.1.1",
        "www.inner.signed.test A +dnssec",
        "NOERROR aa
         answer www.inner.signed.test. 300 A 192.0.2.5
         answer www.inner.signed.test. 300 RRSIG A 15 4 300 inner.signed.test.",
    );
}

#[test]
fn aliases_are_signed_and_the_one_that_a_dname_makes_is_not() {
    check(
        "3.1.1",
        "alias.signed.test TXT +dnssec",
        "NOERROR aa
         answer alias.signed.test. 300 CNAME www.signed.test.
         answer alias.signed.test. 300 RRSIG CNAME 13 3 300 signed.test.
         answer www.signed.test. 300 TXT \"a host\"
         answer www.signed.test. 300 RRSIG TXT 13 3 300 signed.test.",
    );
    check(
        "3.1.1",
        "far.signed.test A +dnssec",
        "NOERROR aa
         answer far.signed.test. 300 CNAME www.elsewhere.example.
         answer far.signed.test. 300 RRSIG CNAME 13 3 300 signed.test.",
    );
    // RFC 6672 §5.3.1: a validator makes the alias itself.
    check(
        "3.1.1",
        "www.old.signed.test A +dnssec",
        "NOERROR aa
         answer old.signed.test. 300 DNAME new.signed.test.
         answer old.signed.test. 300 RRSIG DNAME 13 3 300 signed.test.
         answer www.old.signed.test. 300 CNAME www.new.signed.test.
         answer www.new.signed.test. 300 A 192.0.2.3
         answer www.new.signed.test. 300 RRSIG A 13 4 300 signed.test.",
    );
}

#[test]
fn a_referral_to_a_signed_zone_has_its_ds_and_glue_is_not_signed() {
    for question in [
        "away.signed.test A +dnssec",
        "x.away.signed.test A +dnssec",
        "ns.away.signed.test A +dnssec",
        "away.signed.test DNSKEY +dnssec",
        "away.signed.test NS +dnssec",
    ] {
        check(
            "3.1.4",
            question,
            "NOERROR
             authority away.signed.test. 300 NS ns.away.signed.test.
             authority away.signed.test. 300 DS 12345 13 2 000102030405060708090A0B0C0D0E0F101112131415161718191A1B 1C1D1E1F
             authority away.signed.test. 300 RRSIG DS 13 3 300 signed.test.
             additional ns.away.signed.test. 300 A 192.0.2.53",
        );
    }
}

#[test]
fn a_referral_to_a_zone_that_is_not_signed_proves_that_there_is_no_ds() {
    check(
        "3.1.4",
        "x.plain.signed.test A +dnssec",
        "NOERROR
         authority plain.signed.test. 300 NS ns.plain.signed.test.
         authority plain.signed.test. 60 NSEC \\000.plain.signed.test. NS RRSIG NSEC
         authority plain.signed.test. 60 RRSIG NSEC 13 3 60 signed.test.
         additional ns.plain.signed.test. 300 A 192.0.2.54",
    );
}

#[test]
fn a_question_for_ds_is_the_parents() {
    // Both zones are served here (§3.1.4.1): the child's server would deny it.
    look("3.1.4.1", "inner.signed.test DS +dnssec", |answer| {
        assert_eq!(answer.data("DS").len(), 1, "{}", answer.text);
        assert!(answer.has("aa"), "{}", answer.text);
        let signature = answer.data("RRSIG")[0];
        assert!(signature.contains(" signed.test. "), "{signature}");
    });
    check(
        "3.1.4.1",
        "plain.signed.test DS +dnssec",
        &format!(
            "NOERROR aa
             {SOA}
             {SOA_SIGNED}
             authority plain.signed.test. 60 NSEC \\000.plain.signed.test. NS RRSIG NSEC
             authority plain.signed.test. 60 RRSIG NSEC 13 3 60 signed.test."
        ),
    );
    // The parent of this one is not served: there is no such record in the zone itself.
    check("3.1.4.1", "signed.test DS", &format!("NOERROR aa\n{SOA}"));
}

#[test]
fn ad_and_cd_of_a_query_are_not_copied() {
    // That no answer has them, every case looks at.
    for flags in ["+adflag", "+cdflag", "+adflag +cdflag", "+dnssec +cdflag"] {
        look("3.1.6", &format!("www.signed.test TXT {flags}"), |answer| {
            assert!(!answer.has("ad") && !answer.has("cd"), "{}", answer.text);
            assert_eq!(answer.data("TXT").len(), 1, "{}", answer.text);
        });
    }
}

#[test]
fn signatures_that_belong_and_do_not_fit_cut_the_answer() {
    let question = |size| format!("big.signed.test TXT +bufsize={size}");
    look_over(&[Transport::Udp], "3.1.1", &question(512), |answer| {
        assert_eq!((answer.has("tc"), answer.data("TXT").len()), (false, 3));
    });
    check_over(
        &[Transport::Udp],
        "3.1.1",
        &format!("{} +dnssec", question(512)),
        "NOERROR aa tc",
    );
    look("3.1.1", &format!("{} +dnssec", question(1232)), |answer| {
        assert!(!answer.has("tc"), "{}", answer.text);
        assert_eq!(
            (answer.data("TXT").len(), answer.data("RRSIG").len()),
            (3, 1)
        );
    });
}

#[test]
fn a_zone_that_is_not_signed_answers_as_ever() {
    check(
        "3.1",
        "www.rfc6891.test A +dnssec",
        "NOERROR aa\nanswer www.rfc6891.test. 300 A 192.0.2.2",
    );
}

#[test]
fn delv_validates_answers_and_denials() {
    if !tools::available("delv", "bind9-dnsutils") {
        return;
    }
    let ds = signed().ds(PARENT);
    let [tag, algorithm, digest_type, digest] =
        ds.split_whitespace().skip(3).collect::<Vec<_>>()[..]
    else {
        panic!("{ds}")
    };
    let folder = tempfile::tempdir().expect("a folder");
    let anchor = folder.path().join("anchor");
    let text = format!(
        "trust-anchors {{ {PARENT} static-ds {tag} {algorithm} {digest_type} \"{digest}\"; }};\n"
    );
    fs::write(&anchor, text).expect("a file");
    for server in servers() {
        let validates = |section: &str, name: &str, rtype: &str, expected: &str| {
            println!("§{section}: {} by delv: {name} {rtype}", server.name);
            let mut delv = Command::new("delv");
            delv.arg(format!("@{}", server.dns.ip()));
            delv.args(["-p", &server.dns.port().to_string(), "-a"])
                .arg(&anchor);
            delv.args([&format!("+root={PARENT}"), name, rtype]);
            let output = delv.output().expect("delv runs");
            let text =
                String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
            assert!(text.contains(expected), "{name} {rtype}: {text}");
        };
        let (good, denied) = ("; fully validated", "; negative response, fully validated");
        validates("5.3", "www.signed.test", "A", good);
        validates("5.3", "mixed.signed.test", "TXT", good);
        validates("5.3.4", "x.y.wild.signed.test", "TXT", good);
        validates("5.3", "www.old.signed.test", "A", good);
        validates("5.2", "www.inner.signed.test", "A", good);
        validates("5.2", "inner.signed.test", "DNSKEY", good);
        validates("5.4", "www.signed.test", "AAAA", denied);
        validates("5.4", "nothing.signed.test", "A", denied);
        validates("5.4", "b.deep.signed.test", "A", denied);
        validates("5.4", "x.wild.signed.test", "A", denied);
        validates("5.4", "plain.signed.test", "DS", denied);
        validates("5.4", "nothing.inner.signed.test", "A", denied);
    }
}
