//! RFC 7766, DNS over TCP: connections are kept, queries may be sent before earlier ones are answered, and in any
//! pieces. That TCP answers at all is in every other file: each case goes over it.

use std::{
    collections::BTreeSet,
    io::{Read, Write},
    net::{Shutdown, TcpStream},
};

use conformance::{
    decode::Message,
    exchange::PATIENCE,
    question::Question,
    site::servers,
    tap::{self, read_message, write_message},
};
use signpost_tests::{dig::dig, tools};

fn query(id: u16) -> Vec<u8> {
    Question::new("www.rfc6891.test.", 1)
        .edns(1232, 0)
        .octets(id)
}

/// Asks both servers on connections of our own.
fn with_connection(story: impl Fn(&TcpStream)) {
    for server in servers() {
        let stream = TcpStream::connect(server.dns).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a deadline");
        stream.set_nodelay(true).expect("small segments");
        story(&stream);
    }
}

fn is_answer(octets: &[u8], id: u16) {
    let message = Message::read(octets).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(
        (message.id, message.rcode, message.sections[0].len()),
        (id, 0, 1),
        "{message:?}"
    );
}

#[test]
fn dig_keeps_a_connection_for_several_questions() {
    if !tools::available("dig", "bind9-dnsutils") {
        return;
    }
    for server in servers() {
        let questions = [
            "www.rfc6891.test A",
            "ns1.rfc6891.test A",
            "mid.rfc6891.test TXT",
        ];
        let questions = questions.join(" ");
        let first = ["+tcp", "+keepopen"];
        let arguments: Vec<&str> = first.into_iter().chain(questions.split(' ')).collect();
        let heard = tap::tcp(server.dns, |address| dig(address, &arguments));
        let (_, heard) = heard.expect("sockets of loopback");
        assert_eq!(
            (heard.queries.len(), heard.replies.len(), heard.connections),
            (3, 3, 1)
        );
    }
}

#[test]
fn a_connection_carries_many_queries_one_after_another() {
    with_connection(|stream| {
        for id in 0..100 {
            write_message(stream, &query(id)).expect("a query is sent");
            is_answer(&read_message(stream).expect("an answer"), id);
        }
    });
}

#[test]
fn queries_sent_at_once_are_all_answered() {
    const COUNT: u16 = 200;
    with_connection(|mut stream| {
        let framed = |id| {
            let query = query(id);
            [&(query.len() as u16).to_be_bytes(), &query[..]].concat()
        };
        let all: Vec<u8> = (0..COUNT).flat_map(framed).collect();
        stream.write_all(&all).expect("queries are sent");
        let mut seen = BTreeSet::new();
        for _ in 0..COUNT {
            // In any order (§7).
            let answer = read_message(stream).expect("an answer");
            let id = u16::from_be_bytes([answer[0], answer[1]]);
            is_answer(&answer, id);
            assert!(seen.insert(id), "{id} is answered twice");
        }
    });
}

#[test]
fn a_query_may_come_octet_by_octet() {
    with_connection(|mut stream| {
        let query = query(7);
        let framed = [&(query.len() as u16).to_be_bytes(), &query[..]].concat();
        for octet in framed {
            stream.write_all(&[octet]).expect("an octet is sent");
        }
        is_answer(&read_message(stream).expect("an answer"), 7);
    });
}

#[test]
fn a_client_that_has_no_more_questions_still_gets_its_answers() {
    with_connection(|mut stream| {
        for id in 0..10 {
            write_message(stream, &query(id)).expect("a query is sent");
        }
        stream.shutdown(Shutdown::Write).expect("half a connection");
        for id in 0..10 {
            is_answer(&read_message(stream).expect("an answer"), id);
        }
        assert_eq!(stream.read(&mut [0; 1]).expect("an orderly end"), 0);
    });
}

#[test]
fn a_message_that_cannot_be_read_does_not_end_the_connection() {
    with_connection(|stream| {
        // A header that promises a question, and nothing behind it.
        write_message(stream, &[0, 9, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]).expect("it is sent");
        let answer = read_message(stream).expect("an answer");
        assert_eq!(
            (&answer[..2], answer[3] & 0xf),
            (&[0, 9][..], 1),
            "FORMERR: {answer:02x?}"
        );
        write_message(stream, &query(10)).expect("a query is sent");
        is_answer(&read_message(stream).expect("an answer"), 10);
    });
}
