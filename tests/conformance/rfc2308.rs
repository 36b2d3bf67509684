//! RFC 2308, negative answers: NXDOMAIN and NODATA, and for how long they hold.

use conformance::case::check;

const SOA: &str = "authority rfc2308.test. 30 SOA ns1.rfc2308.test. hostmaster.rfc2308.test. 1 3600 900 1209600 120";

#[test]
fn a_name_error_has_the_soa() {
    check(
        "2.1",
        "missing.rfc2308.test A",
        &format!("NXDOMAIN aa\n{SOA}"),
    );
    check(
        "2.1",
        "x.y.missing.rfc2308.test ANY",
        &format!("NXDOMAIN aa\n{SOA}"),
    );
}

#[test]
fn no_data_has_the_soa_and_no_name_servers() {
    check(
        "2.2",
        "there.rfc2308.test AAAA",
        &format!("NOERROR aa\n{SOA}"),
    );
    check("2.2", "rfc2308.test A", &format!("NOERROR aa\n{SOA}"));
}

#[test]
fn an_alias_is_answered_with_what_is_wrong_at_its_end() {
    check(
        "2.1",
        "gone.rfc2308.test A",
        &format!("NXDOMAIN aa\nanswer gone.rfc2308.test. 300 CNAME missing.rfc2308.test.\n{SOA}"),
    );
    check(
        "2.1",
        "twice.rfc2308.test A",
        &format!(
            "NXDOMAIN aa
             answer twice.rfc2308.test. 300 CNAME gone.rfc2308.test.
             answer gone.rfc2308.test. 300 CNAME missing.rfc2308.test.
             {SOA}"
        ),
    );
    check(
        "2.2",
        "nodata.rfc2308.test AAAA",
        &format!("NOERROR aa\nanswer nodata.rfc2308.test. 300 CNAME there.rfc2308.test.\n{SOA}"),
    );
}

#[test]
fn it_holds_for_the_lesser_of_the_soas_ttl_and_its_last_field() {
    check(
        "3",
        "missing.rfc2308.test TXT",
        &format!("NXDOMAIN aa\n{SOA}"),
    );
    check(
        "3",
        "missing.short.rfc2308.test A",
        "NXDOMAIN aa
         authority short.rfc2308.test. 5 SOA ns1.rfc2308.test. hostmaster.short.rfc2308.test. 1 3600 900 1209600 5",
    );
    // As an answer it has its own TTL.
    check(
        "3",
        "short.rfc2308.test SOA",
        "NOERROR aa
         answer short.rfc2308.test. 300 SOA ns1.rfc2308.test. hostmaster.short.rfc2308.test. 1 3600 900 1209600 5",
    );
}

#[test]
fn a_referral_is_not_a_negative_answer() {
    check(
        "2.2",
        "missing.sub.rfc2308.test A",
        "NOERROR
         authority sub.rfc2308.test. 300 NS ns.elsewhere.example.",
    );
}
