//! RFC 6891, EDNS: one OPT for one OPT, versions, sizes, flags and options that are not known.

use conformance::case::{Transport, check, check_over, look_over};

const WWW: &str = "NOERROR aa\nanswer www.rfc6891.test. 300 A 192.0.2.2";

#[test]
fn an_answer_has_opt_if_the_query_has_it() {
    check("6.1.1", "www.rfc6891.test A +edns=0", WWW);
    check("6.1.1", "www.rfc6891.test A +noedns", WWW);
    check("6.1.1", "www.elsewhere.example A +edns=0", "REFUSED");
    check("6.1.1", "www.elsewhere.example A +noedns", "REFUSED");
    check("7", "www.rfc6891.test A +edns=0 +opcode=15", "NOTIMP");
}

#[test]
fn a_version_that_is_not_known_is_badvers_with_ours() {
    for version in ["1", "100", "255"] {
        check(
            "6.1.3",
            &format!("www.rfc6891.test A +edns={version}"),
            "BADVERS",
        );
    }
}

#[test]
fn options_and_flags_that_are_not_known_are_ignored() {
    check("6.1.2", "www.rfc6891.test A +ednsopt=100", WWW);
    check(
        "6.1.2",
        "www.rfc6891.test A +ednsopt=65001:000102 +ednsopt=65002:",
        WWW,
    );
    check("6.1.4", "www.rfc6891.test A +ednsflags=0x40", WWW);
    check("6.1.4", "www.rfc6891.test A +ednsflags=0x7fff", WWW);
}

#[test]
fn the_smaller_of_both_sizes_holds_and_none_is_below_512() {
    let fits = |size: &str| {
        look_over(
            &[Transport::Udp],
            "6.2.3",
            &format!("mid.rfc6891.test TXT +bufsize={size}"),
            |answer| {
                assert_eq!((answer.has("tc"), answer.data("TXT").len()), (false, 6));
            },
        );
    };
    fits("1232");
    fits("4096");
    for size in ["512", "511", "1", "0"] {
        let question = format!("mid.rfc6891.test TXT +bufsize={size}");
        check_over(&[Transport::Udp], "6.2.3", &question, "NOERROR aa tc");
        check("6.2.3", &format!("www.rfc6891.test A +bufsize={size}"), WWW);
    }
}

#[test]
fn over_tcp_the_size_says_nothing() {
    look_over(
        &[Transport::Tcp],
        "6.2.3",
        "mid.rfc6891.test TXT +bufsize=512",
        |answer| {
            assert_eq!((answer.has("tc"), answer.data("TXT").len()), (false, 6));
        },
    );
}
