//! RFC 9250, DNS over QUIC: a stream for each query, and the errors that end a connection.

use conformance::{
    case::{Transport, check_over},
    decode::Message,
    encrypted::{ask_quic, framed, over_quic, over_quic_speaking, run},
    question::Question,
    samples::SAMPLES,
    site::servers,
};
use quinn::{Connection, ConnectionError, VarInt};
use signpost_tests::tools;

/// The codes of §8.4.
const NO_ERROR: u32 = 0;
const PROTOCOL_ERROR: u32 = 2;

fn query(id: u16) -> Vec<u8> {
    Question::new("www.rfc6891.test.", 1)
        .edns(1232, 0)
        .octets(id)
}

/// Tells a story on a connection to each server.
fn with_connection(story: impl AsyncFn(&Connection)) {
    for server in servers() {
        let at = server.encrypted.expect("it listens").quic;
        run(async {
            let connection = over_quic(at).await.expect("a connection");
            story(&connection).await;
            connection.close(VarInt::from_u32(NO_ERROR), b"");
        });
    }
}

async fn answered(connection: &Connection) {
    let reply = ask_quic(connection, &query(0)).await.expect("an answer");
    let message = Message::read(&reply).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(
        (message.id, message.rcode, message.sections[0].len()),
        (0, 0, 1),
        "{message:?}"
    );
}

/// Sends these octets on a stream, which has to end the connection as an error of the protocol's.
fn is_an_error(section: &str, octets: &[u8]) {
    with_connection(async |connection| {
        answered(connection).await;
        let (mut send, _receive) = connection.open_bi().await.expect("a stream");
        send.write_all(octets).await.expect("it is sent");
        send.finish().expect("an open stream");
        println!("§{section}: {octets:02x?}");
        is_closed(connection, section).await;
    });
}

/// The server ends the connection as a breach of the protocol.
async fn is_closed(connection: &Connection, section: &str) {
    let code = match connection.closed().await {
        ConnectionError::ApplicationClosed(close) => close.error_code,
        other => panic!("§{section}: {other}"),
    };
    assert_eq!(code, VarInt::from_u32(PROTOCOL_ERROR), "§{section}");
}

#[test]
fn kdig_is_answered_as_over_tcp() {
    if !tools::available("kdig", "knot-dnsutils") {
        return;
    }
    for (question, expected) in SAMPLES {
        check_over(&[Transport::Quic], "4.2", question, expected);
    }
}

#[test]
fn a_connection_speaks_doq_and_nothing_else() {
    for server in servers() {
        let at = server.encrypted.expect("it listens").quic;
        for protocol in [&b"doq"[..], b"h3", b"dot"] {
            let connected = run(over_quic_speaking(at, protocol));
            assert_eq!(
                connected.is_ok(),
                protocol == b"doq",
                "§4.1.1: {protocol:?}"
            );
        }
    }
}

#[test]
fn each_query_has_a_stream_and_none_waits_for_another() {
    with_connection(async |connection| {
        // This one never comes whole.
        let (mut half, _receive) = connection.open_bi().await.expect("a stream");
        half.write_all(&framed(&query(0))[..9])
            .await
            .expect("it is sent");
        for _ in 0..200 {
            answered(connection).await;
        }
        let mut all = tokio::task::JoinSet::new();
        for _ in 0..50 {
            let connection = connection.clone();
            all.spawn(async move { answered(&connection).await });
        }
        while let Some(done) = all.join_next().await {
            done.expect("§4.2");
        }
    });
}

#[test]
fn an_identifier_is_zero() {
    is_an_error("4.2.1", &framed(&query(1)));
    is_an_error("4.2.1", &framed(&query(0xFFFF)));
}

#[test]
fn a_stream_has_one_query_whole() {
    is_an_error("4.3.3", &framed(&query(0))[..20]);
    is_an_error("4.3.3", &[0]);
    is_an_error("4.3.3", &[]);
    is_an_error("4.2", &[framed(&query(0)), framed(&query(0))].concat());
}

#[test]
fn keepalive_belongs_to_other_transports() {
    let query = Question::new("www.rfc6891.test.", 1)
        .option(11, &[])
        .octets(0);
    is_an_error("5.5.2", &framed(&query));
}

#[test]
fn a_stream_of_one_direction_carries_nothing() {
    with_connection(async |connection| {
        answered(connection).await;
        let mut one_way = connection.open_uni().await.expect("a stream");
        one_way
            .write_all(&framed(&query(0)))
            .await
            .expect("it is sent");
        is_closed(connection, "4.3.3").await;
    });
}

#[test]
fn what_cannot_be_read_is_answered_by_dns() {
    // A header that promises a question, and nothing behind it.
    let half = [0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    with_connection(async |connection| {
        let reply = ask_quic(connection, &half).await.expect("an answer");
        assert_eq!(reply[3] & 0xF, 1, "FORMERR: {reply:02x?}");
        answered(connection).await;
    });
}
