//! RFC 1034, domain names: how a name server finds an answer (§4.3.2), aliases (§3.6.2), delegations (§4.2).

use conformance::case::check;

#[test]
fn a_type_that_exists_is_answered_with_authority() {
    check(
        "4.3.2 step 3a",
        "www.rfc1034.test A",
        "NOERROR aa
         answer www.rfc1034.test. 300 A 192.0.2.80
         answer www.rfc1034.test. 300 A 192.0.2.81",
    );
    check(
        "4.3.2 step 3a",
        "www.rfc1034.test TXT",
        "NOERROR aa
         answer www.rfc1034.test. 300 TXT \"a host\"",
    );
    check(
        "3.6",
        "rfc1034.test SOA",
        "NOERROR aa
         answer rfc1034.test. 300 SOA ns1.rfc1034.test. hostmaster.rfc1034.test. 7 3600 900 1209600 60",
    );
}

#[test]
fn addresses_of_name_servers_and_mail_hosts_come_along() {
    check(
        "4.3.2 step 6",
        "rfc1034.test NS",
        "NOERROR aa
         answer rfc1034.test. 300 NS ns1.rfc1034.test.
         answer rfc1034.test. 300 NS ns.elsewhere.example.
         additional ns1.rfc1034.test. 300 A 192.0.2.1
         additional ns1.rfc1034.test. 300 AAAA 2001:db8::1",
    );
    check(
        "4.3.2 step 6",
        "mail.rfc1034.test MX",
        "NOERROR aa
         answer mail.rfc1034.test. 300 MX 10 www.rfc1034.test.
         answer mail.rfc1034.test. 300 MX 20 mx.elsewhere.example.
         additional www.rfc1034.test. 300 A 192.0.2.80
         additional www.rfc1034.test. 300 A 192.0.2.81",
    );
}

#[test]
fn recursion_is_never_offered_and_its_wish_is_copied() {
    check(
        "4.3.1",
        "www.rfc1034.test TXT +recurse",
        "NOERROR aa rd
         answer www.rfc1034.test. 300 TXT \"a host\"",
    );
    check("4.3.1", "www.elsewhere.example A +recurse", "REFUSED rd");
    check("4.3.2 step 2", ". NS", "REFUSED");
    check("4.3.2 step 2", "test SOA", "REFUSED");
}

#[test]
fn a_name_without_the_type_is_no_data_and_one_without_records_does_not_exist() {
    let soa = "authority rfc1034.test. 60 SOA ns1.rfc1034.test. hostmaster.rfc1034.test. 7 3600 900 1209600 60";
    check(
        "4.3.2 step 3a",
        "www.rfc1034.test AAAA",
        &format!("NOERROR aa\n{soa}"),
    );
    check(
        "4.3.2 step 3c",
        "missing.rfc1034.test A",
        &format!("NXDOMAIN aa\n{soa}"),
    );
    check(
        "4.3.2 step 3c",
        "x.www.rfc1034.test A",
        &format!("NXDOMAIN aa\n{soa}"),
    );
}

#[test]
fn an_alias_is_followed_within_the_zone() {
    check(
        "3.6.2",
        "alias.rfc1034.test TXT",
        "NOERROR aa
         answer alias.rfc1034.test. 300 CNAME www.rfc1034.test.
         answer www.rfc1034.test. 300 TXT \"a host\"",
    );
    check(
        "3.6.2",
        "first.rfc1034.test TXT",
        "NOERROR aa
         answer first.rfc1034.test. 300 CNAME second.rfc1034.test.
         answer second.rfc1034.test. 300 CNAME alias.rfc1034.test.
         answer alias.rfc1034.test. 300 CNAME www.rfc1034.test.
         answer www.rfc1034.test. 300 TXT \"a host\"",
    );
    check(
        "3.6.2",
        "alias.rfc1034.test CNAME",
        "NOERROR aa
         answer alias.rfc1034.test. 300 CNAME www.rfc1034.test.",
    );
}

#[test]
fn an_alias_that_leaves_the_zone_is_where_the_answer_ends() {
    check(
        "3.6.2",
        "far.rfc1034.test A",
        "NOERROR aa
         answer far.rfc1034.test. 300 CNAME www.elsewhere.example.",
    );
    // What is below a cut is another zone's too; the way there goes along (§4.3.2 step 3b).
    check(
        "3.6.2",
        "down.rfc1034.test A",
        "NOERROR aa
         answer down.rfc1034.test. 300 CNAME www.sub.rfc1034.test.
         authority sub.rfc1034.test. 300 NS ns.sub.rfc1034.test.
         authority sub.rfc1034.test. 300 NS ns.elsewhere.example.
         additional ns.sub.rfc1034.test. 300 A 192.0.2.53",
    );
}

#[test]
fn a_name_at_or_below_a_cut_is_referred_with_glue() {
    let referral = "NOERROR
         authority sub.rfc1034.test. 300 NS ns.sub.rfc1034.test.
         authority sub.rfc1034.test. 300 NS ns.elsewhere.example.
         additional ns.sub.rfc1034.test. 300 A 192.0.2.53";
    for question in [
        "sub.rfc1034.test A",
        "sub.rfc1034.test NS",
        "sub.rfc1034.test SOA",
        "www.sub.rfc1034.test A",
        "ns.sub.rfc1034.test A",
        "ns.sub.rfc1034.test AAAA",
        "no.such.sub.rfc1034.test MX",
    ] {
        check("4.3.2 step 3b", question, referral);
    }
    check(
        "4.2.1",
        "x.bare.rfc1034.test A",
        "NOERROR
         authority bare.rfc1034.test. 300 NS ns.elsewhere.example.",
    );
}

#[test]
fn a_wildcard_answers_for_names_that_do_not_exist() {
    check(
        "4.3.3",
        "x.wild.rfc1034.test TXT",
        "NOERROR aa
         answer x.wild.rfc1034.test. 300 TXT \"any\"",
    );
}

#[test]
fn the_deepest_zone_answers() {
    // rfc1034.test and in.rfc1034.test are both served here; the cut between them is not seen from outside.
    check(
        "4.3.2 step 2",
        "www.in.rfc1034.test TXT",
        "NOERROR aa
         answer www.in.rfc1034.test. 300 TXT \"from the child\"",
    );
    check(
        "4.3.2 step 2",
        "in.rfc1034.test NS",
        "NOERROR aa
         answer in.rfc1034.test. 300 NS ns1.rfc1034.test.",
    );
}
