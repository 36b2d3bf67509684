//! RFC 6672, DNAME: redirection of all names below an owner, and not of the owner itself.

use conformance::case::{check, look};

const SOA: &str = "authority rfc6672.test. 60 SOA ns1.rfc6672.test. hostmaster.rfc6672.test. 1 3600 900 1209600 60";

#[test]
fn names_below_the_owner_are_redirected_with_an_alias_made_for_them() {
    check(
        "3.1",
        "www.old.rfc6672.test A",
        "NOERROR aa
         answer old.rfc6672.test. 600 DNAME new.rfc6672.test.
         answer www.old.rfc6672.test. 600 CNAME www.new.rfc6672.test.
         answer www.new.rfc6672.test. 300 A 192.0.2.2",
    );
    check(
        "3.1",
        "alias.old.rfc6672.test TXT",
        "NOERROR aa
         answer old.rfc6672.test. 600 DNAME new.rfc6672.test.
         answer alias.old.rfc6672.test. 600 CNAME alias.new.rfc6672.test.
         answer alias.new.rfc6672.test. 300 CNAME www.new.rfc6672.test.
         answer www.new.rfc6672.test. 300 TXT \"new\"",
    );
    check(
        "2.2",
        "a.b.away.rfc6672.test A",
        "NOERROR aa
         answer away.rfc6672.test. 300 DNAME elsewhere.example.
         answer a.b.away.rfc6672.test. 300 CNAME a.b.elsewhere.example.",
    );
    check(
        "2.2",
        "shortloop.root.rfc6672.test A",
        "NOERROR aa
         answer root.rfc6672.test. 300 DNAME .
         answer shortloop.root.rfc6672.test. 300 CNAME shortloop.",
    );
}

#[test]
fn the_owner_itself_is_not_redirected() {
    check(
        "2.3",
        "old.rfc6672.test TXT",
        "NOERROR aa
         answer old.rfc6672.test. 300 TXT \"the owner itself\"",
    );
    check(
        "2.3",
        "old.rfc6672.test DNAME",
        "NOERROR aa
         answer old.rfc6672.test. 600 DNAME new.rfc6672.test.",
    );
    check("2.3", "old.rfc6672.test A", &format!("NOERROR aa\n{SOA}"));
}

#[test]
fn what_is_wrong_behind_the_redirection_is_said() {
    check(
        "3.2 step 3c",
        "missing.old.rfc6672.test A",
        &format!(
            "NXDOMAIN aa
             answer old.rfc6672.test. 600 DNAME new.rfc6672.test.
             answer missing.old.rfc6672.test. 600 CNAME missing.new.rfc6672.test.
             {SOA}"
        ),
    );
    check(
        "3.2 step 3c",
        "www.old.rfc6672.test AAAA",
        &format!(
            "NOERROR aa
             answer old.rfc6672.test. 600 DNAME new.rfc6672.test.
             answer www.old.rfc6672.test. 600 CNAME www.new.rfc6672.test.
             {SOA}"
        ),
    );
    check(
        "3.3",
        "x.wild.old.rfc6672.test TXT",
        "NOERROR aa
         answer old.rfc6672.test. 600 DNAME new.rfc6672.test.
         answer x.wild.old.rfc6672.test. 600 CNAME x.wild.new.rfc6672.test.
         answer x.wild.new.rfc6672.test. 300 TXT \"any\"",
    );
}

#[test]
fn one_redirection_may_lead_to_the_next() {
    check(
        "3.2",
        "www.one.rfc6672.test A",
        "NOERROR aa
         answer one.rfc6672.test. 300 DNAME two.rfc6672.test.
         answer www.one.rfc6672.test. 300 CNAME www.two.rfc6672.test.
         answer two.rfc6672.test. 300 DNAME new.rfc6672.test.
         answer www.two.rfc6672.test. 300 CNAME www.new.rfc6672.test.
         answer www.new.rfc6672.test. 300 A 192.0.2.2",
    );
    check(
        "3.2",
        "into.rfc6672.test A",
        "NOERROR aa
         answer into.rfc6672.test. 300 CNAME www.old.rfc6672.test.
         answer old.rfc6672.test. 600 DNAME new.rfc6672.test.
         answer www.old.rfc6672.test. 600 CNAME www.new.rfc6672.test.
         answer www.new.rfc6672.test. 300 A 192.0.2.2",
    );
}

#[test]
fn the_alias_made_is_the_answer_to_a_question_for_it() {
    check(
        "3.1",
        "www.old.rfc6672.test CNAME",
        "NOERROR aa
         answer old.rfc6672.test. 600 DNAME new.rfc6672.test.
         answer www.old.rfc6672.test. 600 CNAME www.new.rfc6672.test.",
    );
}

#[test]
fn a_name_that_would_be_too_long_is_yxdomain() {
    // 63 more octets and their length do not fit beside what the target has; one fits.
    let label = "x".repeat(63);
    look(
        "3.2 step 3c",
        &format!("{label}.long.rfc6672.test A"),
        |answer| {
            assert_eq!(answer.status, "YXDOMAIN", "{}", answer.text);
            assert!(answer.has("aa"));
            assert_eq!(answer.data("DNAME").len(), 1, "{}", answer.text);
            assert!(answer.data("CNAME").is_empty(), "{}", answer.text);
        },
    );
    look("2.2", "x.long.rfc6672.test A", |answer| {
        assert_eq!(answer.status, "NOERROR");
        assert_eq!(answer.data("CNAME").len(), 1, "{}", answer.text);
    });
}
