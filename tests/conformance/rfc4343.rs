//! RFC 4343, case: letters of ASCII compare without it, and it is preserved.

use conformance::case::{check, look};

#[test]
fn names_are_found_in_any_case_and_the_question_keeps_its_own() {
    for name in ["www.rfc4343.test", "WWW.RFC4343.TEST", "wWw.RfC4343.tEsT"] {
        check(
            "2.1",
            &format!("{name} TXT"),
            &format!("NOERROR aa\nanswer {name}. 300 TXT \"w\""),
        );
        check(
            "2.1",
            &format!("{name} A"),
            &format!("NOERROR aa\nanswer {name}. 300 A 192.0.2.2"),
        );
    }
}

#[test]
fn the_case_of_data_is_preserved_but_where_a_name_points_into_the_question() {
    check(
        "4.1",
        "aliaS.rfc4343.test TXT",
        "NOERROR aa
         answer aliaS.rfc4343.test. 300 CNAME wWw.rfc4343.test.
         answer wWw.rfc4343.test. 300 TXT \"w\"",
    );
    check(
        "4.1",
        "name.rfc4343.test PTR",
        "NOERROR aa
         answer name.rfc4343.test. 300 PTR CaSe.Elsewhere.EXAMPLE.",
    );
}

#[test]
fn wildcards_delegations_and_dnames_do_not_see_case() {
    look("2.1", "x.WILD.rfc4343.test TXT", |answer| {
        assert_eq!(answer.data("TXT"), ["\"any\""], "{}", answer.text);
        assert_eq!(answer.answer[0].owner, "x.WILD.rfc4343.test.");
    });
    look("2.1", "y.SUB.rfc4343.test A", |answer| {
        assert_eq!(
            answer.authority[0].owner.to_lowercase(),
            "sub.rfc4343.test."
        );
        assert_eq!(answer.additional.len(), 1, "glue: {}", answer.text);
    });
    look("2.1", "X.DN.rfc4343.test TXT", |answer| {
        assert_eq!(answer.data("TXT"), ["\"x\""], "{}", answer.text);
    });
}

#[test]
fn other_octets_have_no_case() {
    // [ and { differ in the bit that letters differ in by case, so do octets beyond ASCII.
    look("2.1", "[.rfc4343.test TXT", |answer| {
        assert_eq!(answer.data("TXT").len(), 1)
    });
    look("2.1", "{.rfc4343.test TXT", |answer| {
        assert_eq!(answer.status, "NXDOMAIN")
    });
    look("3", "\\195\\156.rfc4343.test TXT", |answer| {
        assert_eq!(answer.data("TXT").len(), 1)
    });
    look("3", "\\195\\188.rfc4343.test TXT", |answer| {
        assert_eq!(answer.status, "NXDOMAIN")
    });
    look("3", "\\227\\156.rfc4343.test TXT", |answer| {
        assert_eq!(answer.status, "NXDOMAIN")
    });
}
