//! RFC 9471, glue in referrals is not optional: all addresses of name servers below the cut, or TC.

use conformance::case::{Transport, check, check_over, look, look_over};

#[test]
fn all_glue_below_the_cut_comes_along() {
    check(
        "3.1",
        "www.small.rfc9471.test A",
        "NOERROR
         authority small.rfc9471.test. 300 NS ns1.small.rfc9471.test.
         authority small.rfc9471.test. 300 NS ns2.small.rfc9471.test.
         additional ns1.small.rfc9471.test. 300 A 192.0.2.11
         additional ns1.small.rfc9471.test. 300 AAAA 2001:db8::11
         additional ns2.small.rfc9471.test. 300 A 192.0.2.12",
    );
    look("3.1", "www.large.rfc9471.test A", |answer| {
        assert_eq!(
            (answer.authority.len(), answer.additional.len()),
            (10, 20),
            "{}",
            answer.text
        );
        assert!(!answer.has("tc"));
    });
}

#[test]
fn glue_that_does_not_fit_is_said_by_tc() {
    for question in [
        "www.large.rfc9471.test A +noedns",
        "www.large.rfc9471.test A +bufsize=512",
        "www.huge.rfc9471.test A",
    ] {
        look_over(&[Transport::Udp], "3.1", question, |answer| {
            assert!(answer.has("tc") && !answer.has("aa"), "{}", answer.text);
        });
    }
    look_over(
        &[Transport::Tcp],
        "3.1",
        "www.huge.rfc9471.test A",
        |answer| {
            assert_eq!(
                (answer.authority.len(), answer.additional.len()),
                (40, 80),
                "{}",
                answer.text
            );
        },
    );
}

#[test]
fn glue_of_siblings_comes_along_where_it_fits() {
    check_over(
        &[Transport::Udp],
        "3.2",
        "www.one.rfc9471.test A",
        "NOERROR
         authority one.rfc9471.test. 300 NS ns.two.rfc9471.test.
         additional ns.two.rfc9471.test. 300 A 192.0.2.32",
    );
}
