//! RFC 7830, padding, and RFC 8467, how much of it: over encrypted transports, for who pads. Every case of every file that
//! asks with padding is looked at for this, too.

use conformance::{
    case::{ALL, check_over},
    decode::Message,
    encrypted,
    everywhere::{BLOCK, ENCRYPTED},
    question::{DNSSEC_OK, Question},
    site::servers,
};

const PADDING: u16 = 12;
const WWW: &str = "NOERROR aa\nanswer www.rfc6891.test. 300 A 192.0.2.2";

/// An answer over an encrypted transport, and its length.
fn asked(query: &Question, at: impl Fn(usize, &Message)) {
    for server in servers() {
        let addresses = server.encrypted.expect("it listens");
        for &transport in ENCRYPTED {
            let reply = encrypted::exchange(addresses, transport, &query.octets(0));
            let reply = reply.unwrap_or_else(|error| panic!("{transport:?}: {error}"));
            let message = Message::read(&reply).unwrap_or_else(|error| panic!("{error}"));
            at(reply.len(), &message);
        }
    }
}

#[test]
fn without_encryption_nothing_is_padded() {
    check_over(ALL, "6", "www.rfc6891.test A +padding=128", WWW);
    check_over(ALL, "6", "www.rfc6891.test A +ednsopt=12:00000000", WWW);
}

#[test]
fn an_answer_is_padded_to_the_next_block_with_zeros() {
    for (name, rtype, blocks) in [
        ("www.rfc6891.test.", 1, 1),
        ("missing.rfc6891.test.", 1, 1),
        ("www.elsewhere.example.", 1, 1),
        ("mid.rfc6891.test.", 16, 2),
        ("signed.test.", 48, 1),
    ] {
        let query = Question::new(name, rtype).option(PADDING, &[0; 20]);
        asked(&query, |length, message| {
            assert_eq!(length, blocks * BLOCK, "RFC 8467 §4.1: {name}");
            let padding = message.option(PADDING).expect("§4: it is padded");
            assert!(padding.iter().all(|octet| *octet == 0), "§3: {padding:?}");
        });
    }
}

#[test]
fn signatures_count_before_the_padding() {
    let query = Question::new("big.signed.test.", 16)
        .edns(1232, DNSSEC_OK)
        .option(PADDING, &[]);
    asked(&query, |length, message| {
        assert_eq!((length, message.sections[0].len()), (2 * BLOCK, 4), "§4");
    });
}

#[test]
fn who_does_not_pad_gets_no_padding() {
    asked(
        &Question::new("www.rfc6891.test.", 1).edns(1232, 0),
        |length, message| {
            assert_eq!(message.option(PADDING), None, "§4");
            assert!(length < 100, "{length}");
        },
    );
    asked(&Question::new("www.rfc6891.test.", 1), |_, message| {
        assert_eq!(message.opt, None, "§4");
    });
}

#[test]
fn dig_sees_it() {
    use conformance::case::{Transport, look_over};
    let by_dig = [Transport::Tls, Transport::Https, Transport::HttpsGet];
    look_over(&by_dig, "4", "www.rfc6891.test A +padding=128", |answer| {
        assert_eq!(answer.data("A"), ["192.0.2.2"], "{}", answer.text);
        let padded = answer
            .options
            .iter()
            .any(|option| option.starts_with("PAD"));
        assert!(
            padded && answer.text.contains(&format!("MSG SIZE  rcvd: {BLOCK}")),
            "{}",
            answer.text
        );
    });
}
