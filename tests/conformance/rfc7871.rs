//! RFC 7871, client subnet: the option comes back as it was sent, with the scope; what is malformed is FORMERR.
//! The zones here are the same for everyone, so every scope is 0; scopes that are not are in `scopes.rs`.

use conformance::case::look;

fn check(section: &str, question: &str, status: &str, subnet: Option<&str>) {
    look(
        section,
        &format!("www.rfc6891.test A {question}"),
        |answer| {
            assert_eq!(answer.status, status, "{}", answer.text);
            assert_eq!(answer.subnet.as_deref(), subnet, "{}", answer.text);
            assert_eq!(
                answer.data("A").len(),
                usize::from(status == "NOERROR"),
                "{}",
                answer.text
            );
        },
    );
}

fn echoed(section: &str, subnet: &str) {
    check(
        section,
        &format!("+subnet={subnet}"),
        "NOERROR",
        Some(&format!("{subnet}/0")),
    );
}

/// Family, source length, scope length and address, in hexadecimal.
fn malformed(section: &str, option: &str) {
    check(section, &format!("+ednsopt=8:{option}"), "FORMERR", None);
}

#[test]
fn family_address_and_source_length_are_echoed() {
    for subnet in [
        "192.0.2.0/24",
        "192.0.2.1/32",
        "128.0.0.0/1",
        "192.0.64.0/18",
        "2001:db8::/32",
        "2001:db8:0:2::/63",
        "2001:db8::1/128",
    ] {
        echoed("7.2.1", subnet);
    }
}

#[test]
fn a_source_length_of_zero_is_echoed_as_such() {
    echoed("7.1.2", "0.0.0.0/0");
    echoed("7.1.2", "::/0");
}

#[test]
fn without_the_option_there_is_none() {
    check("7.2.2", "", "NOERROR", None);
    check("7.2.2", "+noedns", "NOERROR", None);
}

#[test]
fn negative_answers_and_referrals_have_it_too() {
    for (question, status) in [
        ("missing.rfc6891.test A", "NXDOMAIN"),
        ("www.rfc6891.test AAAA", "NOERROR"),
        ("www.sub.rfc1034.test A", "NOERROR"),
    ] {
        look(
            "7.2.1",
            &format!("{question} +subnet=192.0.2.0/24"),
            |answer| {
                assert_eq!(answer.status, status, "{}", answer.text);
                assert_eq!(
                    answer.subnet.as_deref(),
                    Some("192.0.2.0/24/0"),
                    "{}",
                    answer.text
                );
            },
        );
    }
}

#[test]
fn bits_beyond_the_source_length_are_malformed() {
    malformed("6", "00011700c0000201");
    malformed("6", "00010f00c001");
    malformed("6", "00023f0020010db800000003");
}

#[test]
fn an_address_of_another_length_than_the_source_says_is_malformed() {
    malformed("6", "00011800c00002ff");
    malformed("6", "00011800c000");
    malformed("6", "00011800");
    malformed("6", "0001000000");
}

#[test]
fn a_source_length_beyond_the_family_is_malformed() {
    malformed("6", "00012100c000020100");
    malformed("6", &format!("00028100{}", "20".repeat(17)));
}

#[test]
fn a_scope_in_a_query_is_malformed() {
    malformed("6", "00011818c00002");
    malformed("6", "00010001");
}

#[test]
fn an_option_too_short_for_its_head_is_malformed() {
    for option in ["", "00", "0001", "000118"] {
        malformed("6", option);
    }
}

#[test]
fn two_of_them_are_malformed() {
    let option = "+ednsopt=8:00011800c00002";
    look(
        "7.1.1",
        &format!("www.rfc6891.test A {option} {option}"),
        |answer| {
            assert_eq!(answer.status, "FORMERR", "{}", answer.text);
        },
    );
}

#[test]
fn a_family_that_is_not_known_is_malformed() {
    malformed("7.1.1", "00031800c00002");
    malformed("7.1.1", "ffff0000");
}
