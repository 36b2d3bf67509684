//! Cookies on the wire (RFC 7873 §5.2 to §5.4); their making is tested beside it.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod common;

use common::{Answer, Query, example, meta};
use dns_engine::{
    CookieSecret, CookieState, Cookies, Outcome, Scratch, Snapshot, Summary, Transport, respond,
};

fn with_cookies() -> Snapshot {
    let mut snapshot = example();
    snapshot.cookies = Some(Cookies::new(CookieSecret(*b"sixteen octets!!")));
    snapshot
}

fn ask_from(
    snapshot: &Snapshot,
    query: &[u8],
    source: &str,
    transport: Transport,
) -> (Answer, Summary) {
    let mut meta = meta(transport);
    meta.source.set_ip(source.parse().unwrap());
    let (mut scratch, mut out) = (Scratch::new(), vec![0; 65_535]);
    let outcome = respond(snapshot, query, &meta, &mut scratch, &mut out);
    let Outcome::Send(length) = outcome else {
        panic!("{outcome:?}")
    };
    (Answer::decode(&out[..length]), *scratch.summary())
}

fn ask(snapshot: &Snapshot, query: &Query) -> (Answer, Summary) {
    ask_from(snapshot, &query.wire(), "192.0.2.99", Transport::Udp)
}

fn query(cookie: &[u8]) -> Query {
    Query::new("mail.example", "A").option(10, cookie)
}

/// A good cookie for the usual client.
fn good(snapshot: &Snapshot) -> Vec<u8> {
    let (answer, _) = ask(snapshot, &query(b"clientid"));
    answer.option(10).unwrap().to_vec()
}

/// A query without a question, for a cookie alone.
fn bare(cookie: &[u8]) -> Vec<u8> {
    let mut wire = vec![0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    wire.extend([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 4 + cookie.len() as u8]);
    wire.extend([0, 10, 0, cookie.len() as u8]);
    wire.extend(cookie);
    wire
}

#[test]
fn a_client_cookie_gets_the_answer_and_a_server_cookie() {
    let snapshot = with_cookies();
    let (answer, summary) = ask(&snapshot, &query(b"clientid"));
    assert_eq!((answer.rcode, answer.answers.len()), (0, 1));
    assert_eq!(summary.cookie, CookieState::ClientOnly);
    let given = answer.option(10).unwrap();
    assert_eq!((given.len(), &given[..8]), (24, &b"clientid"[..]));
    let (again, summary) = ask(&snapshot, &query(given));
    assert_eq!((again.rcode, summary.cookie), (0, CookieState::Valid));
    assert_eq!(again.option(10), Some(given));
}

#[test]
fn who_sends_none_gets_none_and_without_secrets_nobody_does() {
    let (answer, summary) = ask(&with_cookies(), &Query::new("mail.example", "A").edns(1232));
    assert_eq!(
        (answer.option(10), summary.cookie),
        (None, CookieState::None)
    );
    // Not even a wrong length is looked at then.
    for cookie in [&b"clientid"[..], b"short"] {
        let (answer, summary) = ask(&example(), &query(cookie));
        assert_eq!((answer.rcode, answer.answers.len()), (0, 1));
        assert_eq!(
            (answer.option(10), summary.cookie),
            (None, CookieState::None)
        );
    }
}

#[test]
fn a_wrong_server_cookie_is_answered_with_a_good_one() {
    let snapshot = with_cookies();
    for length in 16..=40 {
        let (answer, summary) = ask(&snapshot, &query(&vec![b'c'; length]));
        assert_eq!((answer.rcode, answer.answers.len()), (0, 1), "{length}");
        assert_eq!(summary.cookie, CookieState::Bad);
        assert_eq!(&answer.option(10).unwrap()[..8], b"cccccccc");
    }
}

#[test]
fn wrong_lengths_are_formerr_with_question_and_opt() {
    for length in (0..8).chain(9..16).chain(41..60) {
        let (answer, _) = ask(&with_cookies(), &query(&vec![1; length]));
        assert_eq!((answer.rcode, answer.answers.len()), (1, 0), "{length}");
        assert_eq!((answer.octets[5], answer.opt.is_some()), (1, true));
        assert_eq!(answer.option(10), None);
    }
}

#[test]
fn of_two_cookies_the_first_counts() {
    let snapshot = with_cookies();
    let (answer, summary) = ask(&snapshot, &query(&good(&snapshot)).option(10, b"bad"));
    assert_eq!((answer.rcode, summary.cookie), (0, CookieState::Valid));
}

#[test]
fn a_cookie_holds_for_its_address_alone_whatever_the_socket_calls_it() {
    let snapshot = with_cookies();
    let wire = query(&good(&snapshot)).wire();
    for (source, expected) in [
        ("192.0.2.99", CookieState::Valid),
        ("::ffff:192.0.2.99", CookieState::Valid),
        ("192.0.2.98", CookieState::Bad),
        ("2001:db8::1", CookieState::Bad),
    ] {
        let (_, summary) = ask_from(&snapshot, &wire, source, Transport::Udp);
        assert_eq!(summary.cookie, expected, "{source}");
    }
}

#[test]
fn a_query_without_a_question_may_ask_for_a_cookie() {
    let snapshot = with_cookies();
    for transport in [Transport::Udp, Transport::Tcp] {
        let check = |wire: &[u8], rcode: u16, cookie: bool| {
            let (answer, _) = ask_from(&snapshot, wire, "192.0.2.99", transport);
            assert_eq!(
                (answer.rcode, answer.option(10).is_some()),
                (rcode, cookie),
                "{wire:?}"
            );
            assert_eq!((answer.octets[5], answer.answers.len()), (0, 0));
        };
        check(&bare(b"clientid"), 0, true);
        check(&bare(&good(&snapshot)), 0, true);
        check(&bare(&[3; 24]), 23, true);
        check(&bare(&[3; 9]), 1, false);
        check(&bare(b"clientid")[..12], 1, false); // QDCOUNT 0, a record announced and missing
        check(&[0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 1, false);
    }
    let (answer, _) = ask_from(&example(), &bare(b"clientid"), "192.0.2.99", Transport::Udp);
    assert_eq!((answer.rcode, answer.option(10)), (1, None));
}

#[test]
fn large_udp_answers_may_require_a_cookie() {
    let mut snapshot = with_cookies();
    snapshot.cookies.as_mut().unwrap().required_above = Some(100);
    let large = |cookie: Option<&[u8]>| {
        let query = Query::new("_rtsp._tcp.live.example", "SRV").edns(1232);
        cookie.map_or(query.clone(), |cookie| query.option(10, cookie))
    };
    let (told, _) = ask(&snapshot, &large(Some(b"clientid")));
    assert_eq!((told.rcode, told.answers.len()), (23, 0));
    assert_eq!((told.flags.as_str(), told.octets[5]), ("qr rd", 1));
    let given = told.option(10).unwrap();
    let (answer, _) = ask(&snapshot, &large(Some(given)));
    assert_eq!((answer.rcode, answer.answers.len()), (0, 3));
    // Who knows no cookies is sent to TCP, where nobody needs one.
    let (cut, _) = ask(&snapshot, &large(None));
    assert_eq!((cut.rcode, cut.answers.len()), (0, 0));
    assert!(cut.flags.contains("tc") && cut.opt.is_some());
    for cookie in [None, Some(&b"clientid"[..]), Some(&[5; 24])] {
        let wire = large(cookie).wire();
        let (answer, _) = ask_from(&snapshot, &wire, "192.0.2.99", Transport::Tcp);
        assert_eq!((answer.rcode, answer.answers.len()), (0, 3));
    }
    let (small, _) = ask(&snapshot, &Query::new("mail.example", "A").edns(1232));
    assert_eq!((small.rcode, small.answers.len()), (0, 1));
    let (malformed, _) = ask(&snapshot, &large(Some(&[1; 9])));
    assert_eq!(malformed.rcode, 1);
}
