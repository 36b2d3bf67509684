//! RFC 8914, extended errors: why a query was turned down, for who looks for a fault.

use conformance::case::check;

#[test]
fn a_refusal_says_why() {
    check(
        "4.21",
        "www.elsewhere.example A",
        "REFUSED
         option EDE: 20 (Not Authoritative)",
    );
    check(
        "4.22",
        "www.rfc6891.test A -c HS",
        "REFUSED
         option EDE: 21 (Not Supported)",
    );
}

#[test]
fn without_edns_there_is_no_place_for_it() {
    check("2", "www.elsewhere.example A +noedns", "REFUSED");
}
