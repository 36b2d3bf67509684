//! RFC 7873, cookies: a server cookie for who has a client cookie, errors for options of wrong length, and what the
//! server may refuse to who has none.

use conformance::{
    case::{ALL, Transport, check, check_at, look, look_at},
    decode::Message,
    exchange::Client,
    site::{Site, servers},
};
use signpost_tests::dig::Answer;

const CLIENT: &str = "0123456789abcdef";

/// The cookie option of an answer, in hexadecimal, once dig has found its own half good.
fn cookie(answer: &Answer) -> Option<String> {
    let found = answer
        .options
        .iter()
        .find_map(|option| option.strip_prefix("COOKIE: "))?;
    let cookie = found.strip_suffix(" (good)");
    Some(
        cookie
            .unwrap_or_else(|| panic!("{}", answer.text))
            .to_owned(),
    )
}

/// Asks for a small answer with a cookie; what comes back.
fn told(section: &str, with: &str, at: impl Fn(&str)) {
    look(
        section,
        &format!("www.rfc6891.test A +cookie={with}"),
        |answer| {
            assert_eq!(answer.status, "NOERROR", "{}", answer.text);
            assert_eq!(answer.data("A"), ["192.0.2.2"], "{}", answer.text);
            let cookie = cookie(answer).unwrap_or_else(|| panic!("{}", answer.text));
            // Client cookie and server cookie (§4), 16 octets as RFC 9018 has them.
            assert_eq!((&cookie[..16], cookie.len()), (&with[..16], 48), "{cookie}");
            at(&cookie);
        },
    );
}

#[test]
fn who_sends_no_cookie_gets_none() {
    look("5.2.1", "www.rfc6891.test A", |answer| {
        assert_eq!(cookie(answer), None, "{}", answer.text);
    });
}

#[test]
fn an_option_of_a_wrong_length_is_formerr() {
    // A client cookie has 8 octets, a server cookie 8 to 32 (§4).
    for length in [0, 1, 7, 9, 15, 41, 60] {
        let data = "ab".repeat(length);
        check(
            "5.2.2",
            &format!("www.rfc6891.test A +ednsopt=10:{data}"),
            "FORMERR",
        );
    }
    for length in [8, 16, 23, 40] {
        let data = "ab".repeat(length);
        look(
            "5.2.2",
            &format!("www.rfc6891.test A +ednsopt=10:{data}"),
            |answer| {
                assert_eq!(answer.status, "NOERROR", "{}", answer.text);
            },
        );
    }
}

#[test]
fn a_client_cookie_gets_a_server_cookie() {
    told("5.2.3", CLIENT, |_| {});
}

#[test]
fn a_server_cookie_that_is_not_ours_is_answered_with_one_that_is() {
    for server in [
        "010000005cf79f111f8130c3eee29480",
        "0000000000000000",
        &"7".repeat(64),
    ] {
        let sent = format!("{CLIENT}{server}");
        told("5.2.4", &sent, |got| assert_ne!(got, sent));
    }
}

#[test]
fn a_server_cookie_of_ours_is_good_and_is_kept() {
    for server in servers() {
        look_at(
            std::slice::from_ref(server),
            &[Transport::Udp],
            "5.2.3",
            &format!("www.rfc6891.test A +cookie={CLIENT}"),
            |_, answer| {
                let given = cookie(answer).expect("a cookie");
                look_at(
                    std::slice::from_ref(server),
                    ALL,
                    "5.2.5",
                    &format!("www.rfc6891.test A +cookie={given}"),
                    |_, answer| assert_eq!(cookie(answer), Some(given.clone())),
                );
            },
        );
    }
}

#[test]
fn every_answer_has_it_whatever_it_says() {
    for (question, status) in [
        ("missing.rfc6891.test A", "NXDOMAIN"),
        ("www.elsewhere.example A", "REFUSED"),
        ("www.sub.rfc1034.test A", "NOERROR"),
        ("mid.rfc6891.test TXT +bufsize=512", "NOERROR"),
    ] {
        look("5.2", &format!("{question} +cookie={CLIENT}"), |answer| {
            assert_eq!(answer.status, status, "{}", answer.text);
            assert!(cookie(answer).is_some(), "{}", answer.text);
        });
    }
}

#[test]
fn a_query_without_a_question_asks_for_a_cookie() {
    // The header promises no question and one more record, the OPT.
    let mut query = vec![0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    query.extend([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 12, 0, 10, 0, 8]);
    query.extend([1, 2, 3, 4, 5, 6, 7, 8]);
    for server in servers() {
        let mut client = Client::new(server.dns);
        for reply in [client.udp(&query), client.tcp(&query).ok()] {
            let reply = Message::read(&reply.expect("an answer")).expect("a message");
            assert_eq!(
                (reply.id, reply.rcode, reply.questions.len()),
                (7, 0, 0),
                "§5.4"
            );
            assert_eq!(reply.option(10).map(<[u8]>::len), Some(24), "{reply:?}");
        }
    }
}

/// A site whose answers of more than 200 octets need a cookie.
fn strict() -> Site {
    Site::set_up("[cookies]\nrequired_above = 200\n")
}

#[test]
fn what_is_long_may_need_a_cookie_over_udp() {
    let site = strict();
    let udp = |question: &str, at: &dyn Fn(&Answer)| {
        look_at(
            &site.servers,
            &[Transport::Udp],
            "5.2.3",
            question,
            |_, answer| at(answer),
        );
    };
    // With the first half only, or a wrong second half: BADCOOKIE, with the cookie that is wanted.
    for with in [CLIENT, &format!("{CLIENT}010000005cf79f111f8130c3eee29480")] {
        udp(&format!("mid.rfc6891.test TXT +cookie={with}"), &|answer| {
            assert_eq!(answer.status, "BADCOOKIE", "{}", answer.text);
            assert!(
                answer.answer.is_empty() && cookie(answer).is_some(),
                "{}",
                answer.text
            );
        });
    }
    // Who knows nothing of cookies can come over TCP.
    check_at(
        &site.servers,
        &[Transport::Udp],
        "5.2.1",
        "mid.rfc6891.test TXT",
        "NOERROR aa tc",
    );
    // What is short, or comes over TCP, needs none.
    udp(&format!("www.rfc6891.test A +cookie={CLIENT}"), &|answer| {
        assert_eq!(answer.status, "NOERROR", "{}", answer.text);
    });
    look_at(
        &site.servers,
        &[Transport::Tcp],
        "5.2.3",
        &format!("mid.rfc6891.test TXT +cookie={CLIENT}"),
        |_, answer| assert_eq!(answer.data("TXT").len(), 6, "{}", answer.text),
    );
}

#[test]
fn dig_comes_again_with_the_cookie_it_was_given() {
    let site = strict();
    for server in &site.servers {
        // By itself, as any resolver would (§5.3).
        let answer = signpost_tests::dig::dig(
            server.dns,
            &["mid.rfc6891.test", "TXT", "+notcp", "+cookie", "+badcookie"],
        );
        assert!(
            answer.text.contains("BADCOOKIE, retrying"),
            "{}",
            answer.text
        );
        assert_eq!(answer.data("TXT").len(), 6, "{}", answer.text);
    }
}

#[test]
fn switched_off_there_are_none() {
    let site = Site::set_up("[cookies]\nenabled = false\n");
    look_at(
        &site.servers,
        ALL,
        "5.2",
        &format!("www.rfc6891.test A +ednsopt=10:{CLIENT}"),
        |_, answer| {
            assert_eq!(answer.status, "NOERROR", "{}", answer.text);
            assert!(!answer.text.contains("COOKIE"), "{}", answer.text);
        },
    );
}
