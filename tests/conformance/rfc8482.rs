//! RFC 8482, minimal answers to ANY: one HINFO record instead of all there is.

use conformance::case::check;

#[test]
fn any_is_answered_with_one_record_that_says_so() {
    check(
        "4.2",
        "www.rfc1034.test ANY",
        "NOERROR aa
         answer www.rfc1034.test. 3600 HINFO \"RFC8482\" \"\"",
    );
    check(
        "4.2",
        "rfc1034.test ANY",
        "NOERROR aa
         answer rfc1034.test. 3600 HINFO \"RFC8482\" \"\"",
    );
    check(
        "4.2",
        "x.wild.rfc1034.test ANY",
        "NOERROR aa
         answer x.wild.rfc1034.test. 3600 HINFO \"RFC8482\" \"\"",
    );
}

#[test]
fn an_alias_is_all_that_its_owner_has() {
    check(
        "4.1",
        "alias.rfc1034.test ANY",
        "NOERROR aa
         answer alias.rfc1034.test. 300 CNAME www.rfc1034.test.",
    );
}

#[test]
fn what_is_not_there_is_said_as_ever() {
    let soa = "authority rfc1034.test. 60 SOA ns1.rfc1034.test. hostmaster.rfc1034.test. 7 3600 900 1209600 60";
    let ent = "authority rfc8020.test. 60 SOA ns1.rfc8020.test. hostmaster.rfc8020.test. 1 3600 900 1209600 60";
    check(
        "4",
        "missing.rfc1034.test ANY",
        &format!("NXDOMAIN aa\n{soa}"),
    );
    check("4", "c.d.rfc8020.test ANY", &format!("NOERROR aa\n{ent}"));
    check("4", "www.elsewhere.example ANY", "REFUSED");
}
