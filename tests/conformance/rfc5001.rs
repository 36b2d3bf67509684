//! RFC 5001, the server's identifier: told to who asks for it, and to nobody else.

use conformance::{
    case::{check, look},
    site::NSID,
};

const WWW: &str = "answer www.rfc6891.test. 300 A 192.0.2.2";

fn identifier() -> String {
    let octets: Vec<String> = NSID.bytes().map(|octet| format!("{octet:02x}")).collect();
    format!("option NSID: {} (\"{NSID}\")", octets.join(" "))
}

#[test]
fn who_asks_is_told_the_identifier() {
    let answer = format!("NOERROR aa\n{WWW}\n{}", identifier());
    check("2.2", "www.rfc6891.test A +nsid", &answer);
    check(
        "2.2",
        "www.elsewhere.example A +nsid",
        &format!("REFUSED\n{}", identifier()),
    );
    // What a query has in the option says nothing (§2.1).
    check("2.1", "www.rfc6891.test A +ednsopt=3:abcd", &answer);
}

#[test]
fn who_does_not_ask_is_not() {
    check("2.2", "www.rfc6891.test A", &format!("NOERROR aa\n{WWW}"));
    look("2.2", "www.rfc6891.test A +noedns", |answer| {
        assert!(answer.options.is_empty())
    });
}

#[test]
fn a_cut_answer_has_it_too() {
    look("3.1", "mid.rfc6891.test TXT +bufsize=512 +nsid", |answer| {
        assert_eq!(
            answer.options,
            [identifier().trim_start_matches("option ")],
            "{}",
            answer.text
        );
    });
}
