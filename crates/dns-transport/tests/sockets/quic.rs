//! DNS over QUIC through real sockets.

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use dns_transport::{Certificate, StreamLimits, quic};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{
    ApplicationClose, ClientConfig, Connection, ConnectionError, Endpoint, ReadError,
    ReadToEndError, RecvStream, SendStream, VarInt, WriteError,
};
use rustls::pki_types::CertificateDer;
use rustls::version::TLS13;
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use crate::echo::{STREAM, STREAM_MESSAGE};
use crate::running::{PATIENCE, Running, answered_by, frame, read_frame};
use crate::telling::{Telling, ZONE};
use crate::tools::kdig;
use crate::trust::{NAME, certificate, client, made};

/// The codes of RFC 9250 §8.4.
const NO_ERROR: u32 = 0;
const PROTOCOL_ERROR: u32 = 2;
const EXCESSIVE_LOAD: u32 = 4;

struct Server {
    running: Running,
    certificate: Certificate,
    trusted: CertificateDer<'static>,
}

fn start(limits: StreamLimits) -> Server {
    let (certificate, trusted) = certificate();
    let (socket, served) = (bind(), certificate.clone());
    let local = socket.local_addr().unwrap();
    let running = Running::start_at(local, limits, |server, shutdown| async move {
        quic::serve(socket, server, &served, shutdown).await
    });
    Server {
        running,
        certificate,
        trusted,
    }
}

fn bind() -> UdpSocket {
    quic::bind("127.0.0.1:0".parse().unwrap()).unwrap()
}

/// A client's endpoint at an address of loopback.
fn endpoint(from: &str, trusted: &CertificateDer<'static>, protocol: &[u8]) -> Endpoint {
    let crypto = client(trusted, &[&TLS13], &[protocol]);
    let crypto = QuicClientConfig::try_from(crypto).unwrap();
    let mut endpoint =
        Endpoint::client((from.parse::<std::net::IpAddr>().unwrap(), 0).into()).unwrap();
    endpoint.set_default_client_config(ClientConfig::new(Arc::new(crypto)));
    endpoint
}

impl Server {
    async fn connect_from(&self, from: &str) -> Result<Connection, ConnectionError> {
        let endpoint = endpoint(from, &self.trusted, b"doq");
        let connecting = endpoint.connect(self.running.local, NAME).unwrap();
        timeout(PATIENCE, connecting)
            .await
            .expect("a handshake in time")
    }

    async fn connect(&self) -> Connection {
        self.connect_from("127.0.0.1").await.unwrap()
    }
}

/// A query as DNS over QUIC wants it: its identifier, of which the echo is a part, is 0.
fn query(text: &str) -> Vec<u8> {
    [b"\0\0", text.as_bytes()].concat()
}

/// Sends these octets and nothing more on a stream of their own.
async fn send(connection: &Connection, octets: &[u8]) -> (SendStream, RecvStream) {
    let (mut send, receive) = connection.open_bi().await.unwrap();
    send.write_all(octets).await.unwrap();
    (send, receive)
}

async fn ask(connection: &Connection, text: &str) -> String {
    let (mut sent, mut receive) = send(connection, &frame(&query(text))).await;
    sent.finish().unwrap();
    let answer = timeout(PATIENCE, receive.read_to_end(70_000)).await;
    let answer = answer.expect("an answer in time").unwrap();
    let length = usize::from(u16::from_be_bytes([answer[0], answer[1]]));
    assert_eq!(length, answer.len() - 2);
    String::from_utf8(answer[2..].to_vec()).unwrap()
}

async fn closing_code(connection: &Connection) -> u32 {
    let closed = timeout(PATIENCE, connection.closed()).await;
    match closed.expect("closed in time") {
        ConnectionError::ApplicationClosed(ApplicationClose { error_code, .. }) => {
            error_code.into_inner() as u32
        }
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn hundreds_of_queries_of_a_connection_are_answered_side_by_side() {
    let server = start(StreamLimits::default());
    let connection = server.connect().await;
    // A stream whose query never comes whole holds up no other.
    let half = send(&connection, &[0, 50, 0, 0]).await;
    let mut asked = tokio::task::JoinSet::new();
    for number in 0..500 {
        let connection = connection.clone();
        asked.spawn(async move {
            let long = if number % 5 == 0 {
                "x".repeat(60_000)
            } else {
                String::new()
            };
            let text = format!("{number}{long}");
            let answer = ask(&connection, &text).await;
            assert!(answer == format!("\0\0{text}|127.0.0.1|quic"));
        });
    }
    while let Some(done) = asked.join_next().await {
        done.unwrap();
    }
    drop(half);
    connection.close(VarInt::from_u32(NO_ERROR), b"");
    server
        .running
        .until("closed", |totals| totals.closed == 1)
        .await;
    let totals = server.running.stop().await;
    assert_eq!(
        (totals.queries, totals.answered, totals.accepted),
        (500, 500, 1)
    );
}

#[tokio::test]
async fn a_stream_of_messages_is_made_no_faster_than_the_client_takes_it() {
    let server = start(StreamLimits::default());
    let connection = server.connect().await;
    let (mut sent, mut receive) = send(&connection, &frame(b"\0\0stream")).await;
    sent.finish().unwrap();
    for number in 0..STREAM {
        let message = read_frame(&mut receive).await.unwrap();
        assert_eq!(
            (message.len(), &message[..4]),
            (STREAM_MESSAGE, &number.to_be_bytes()[..])
        );
        let ahead = server.running.streamed.load(Relaxed) - number as usize;
        assert!(ahead < 100, "{ahead} messages ahead of the client");
    }
    // The stream ends behind the last one.
    assert_eq!(receive.read(&mut [0]).await, Ok(None));
}

#[tokio::test]
async fn a_client_that_takes_no_answers_loses_their_stream() {
    let server = start(StreamLimits {
        write: Duration::from_millis(50),
        ..StreamLimits::default()
    });
    let connection = server.connect().await;
    let (mut sent, mut receive) = send(&connection, &frame(b"\0\0stream")).await;
    sent.finish().unwrap();
    // The reset is seen by its code, whatever had come before.
    let reset = timeout(PATIENCE, receive.received_reset())
        .await
        .expect("in time");
    assert_eq!(reset, Ok(Some(VarInt::from_u32(EXCESSIVE_LOAD))));
    assert_eq!(ask(&connection, "x").await, "\0\0x|127.0.0.1|quic");
}

#[tokio::test]
async fn what_the_protocol_forbids_ends_the_connection() {
    let server = start(StreamLimits::default());
    let keepalive = b"\0\0\x01\0\0\0\0\0\0\0\0\x01\0\0\x29\x04\xd0\0\0\0\0\0\x04\0\x0b\0\0";
    let cases: [(&str, Vec<u8>); 7] = [
        ("an identifier", frame(b"\x12\x34query")),
        ("nothing at all", Vec::new()),
        ("half a length", vec![0]),
        (
            "less than announced",
            [&frame(&query("query"))[..4]].concat(),
        ),
        (
            "two queries",
            [frame(&query("one")), frame(&query("two"))].concat(),
        ),
        ("a wish to keep TCP alive", frame(keepalive)),
        ("what gets no answer", frame(b"\0\0silent")),
    ];
    let count = cases.len() as u64;
    for (what, octets) in cases {
        let connection = server.connect().await;
        let (mut sent, _receive) = send(&connection, &octets).await;
        sent.finish().unwrap();
        assert_eq!(closing_code(&connection).await, PROTOCOL_ERROR, "{what}");
    }
    let connection = server.connect().await;
    let mut one_way = connection.open_uni().await.unwrap();
    one_way.write_all(&frame(&query("x"))).await.unwrap();
    assert_eq!(closing_code(&connection).await, PROTOCOL_ERROR);
    server
        .running
        .until("ends", |totals| totals.malformed == count + 1)
        .await;
}

#[tokio::test]
async fn a_client_may_change_its_mind() {
    let server = start(StreamLimits::default());
    let connection = server.connect().await;
    // Before the query is whole, and before its answer is taken.
    let (mut sent, _receive) = send(&connection, &[0, 50, 0, 0]).await;
    sent.reset(VarInt::from_u32(3)).unwrap();
    let (mut sent, mut receive) = send(&connection, &frame(b"\0\0stream")).await;
    sent.finish().unwrap();
    receive.stop(VarInt::from_u32(3)).unwrap();
    assert_eq!(ask(&connection, "x").await, "\0\0x|127.0.0.1|quic");
}

#[tokio::test]
async fn slow_queries_idle_connections_and_stalled_handshakes_end() {
    let short = Duration::from_millis(100);
    let server = start(StreamLimits {
        message: short,
        ..StreamLimits::default()
    });
    let connection = server.connect().await;
    let (mut sent, mut receive) = send(&connection, &[0, 50, 0, 0]).await;
    let end = timeout(PATIENCE, receive.read_to_end(10))
        .await
        .expect("in time");
    let code = VarInt::from_u32(EXCESSIVE_LOAD);
    assert_eq!(end, Err(ReadToEndError::Read(ReadError::Reset(code))));
    let stopped = timeout(PATIENCE, async {
        while sent.write_all(&[0]).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        sent.write_all(&[0]).await
    });
    let stopped = stopped.await.expect("in time");
    assert_eq!(stopped, Err(WriteError::Stopped(code)));

    let server = start(StreamLimits {
        idle: short,
        ..StreamLimits::default()
    });
    let connection = server.connect().await;
    // Streams without queries are no activity.
    let _half = send(&connection, &[0, 50, 0, 0]).await;
    timeout(PATIENCE, connection.closed())
        .await
        .expect("closed in time");
    server
        .running
        .until("idle", |totals| totals.timed_out == 1)
        .await;

    let server = start(StreamLimits {
        handshake: short,
        ..StreamLimits::default()
    });
    stall(&server).await;
    server
        .running
        .until("stalled", |totals| totals.timed_out == 1)
        .await;
}

/// Sends a client's first packet, and no other.
async fn stall(server: &Server) -> UdpSocket {
    let nobody = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let endpoint = endpoint("127.0.0.1", &server.trusted, b"doq");
    let _connecting = endpoint
        .connect(nobody.local_addr().unwrap(), NAME)
        .unwrap();
    let mut first = [0; 2000];
    let length = nobody.recv(&mut first).await.unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket
        .send_to(&first[..length], server.running.local)
        .unwrap();
    socket
}

#[tokio::test]
async fn stalled_handshakes_hold_up_nobody() {
    let server = start(StreamLimits::default());
    let mut stalled = Vec::new();
    for _ in 0..20 {
        stalled.push(stall(&server).await);
    }
    let connection = server.connect().await;
    assert_eq!(ask(&connection, "x").await, "\0\0x|127.0.0.1|quic");
    // That packet is the only one they get a place by: it counts against no address.
    assert_eq!(server.running.counters.totals().evicted, 0);
}

#[tokio::test]
async fn under_load_newcomers_prove_their_address_and_the_longest_idle_makes_room() {
    let server = start(StreamLimits {
        connections_max: 4,
        ..StreamLimits::default()
    });
    let mut open = Vec::new();
    for last in 1..=5 {
        let connection = server
            .connect_from(&format!("127.0.2.{last}"))
            .await
            .unwrap();
        assert_eq!(ask(&connection, "x").await, "\0\0x|127.0.0.1|quic");
        open.push(connection);
    }
    assert_eq!(closing_code(&open[0]).await, EXCESSIVE_LOAD);
    for connection in &open[1..] {
        ask(connection, "x").await;
    }
    let totals = server.running.counters.totals();
    assert_eq!((totals.accepted, totals.retried, totals.evicted), (5, 3, 1));
}

#[tokio::test]
async fn a_source_over_its_cap_loses_its_own_longest_idle_connection() {
    let server = start(StreamLimits {
        connections_per_source_max: 1,
        ..StreamLimits::default()
    });
    let other = server.connect_from("127.0.0.2").await.unwrap();
    let first = server.connect().await;
    ask(&first, "x").await;
    let second = server.connect().await;
    assert_eq!(closing_code(&first).await, EXCESSIVE_LOAD);
    ask(&second, "x").await;
    ask(&other, "x").await;
}

#[tokio::test]
async fn another_protocol_is_refused_and_a_new_certificate_is_shown_to_newcomers() {
    let server = start(StreamLimits::default());
    let other = endpoint("127.0.0.1", &server.trusted, b"h3");
    let refused = other.connect(server.running.local, NAME).unwrap().await;
    assert!(refused.is_err());
    server
        .running
        .until("refused", |totals| totals.handshake_failed == 1)
        .await;

    let old = server.connect().await;
    let (chain, key, trusted) = made();
    server
        .certificate
        .replace(chain.as_bytes(), key.as_bytes())
        .unwrap();
    let new = endpoint("127.0.0.1", &trusted, b"doq");
    let new = new
        .connect(server.running.local, NAME)
        .unwrap()
        .await
        .unwrap();
    assert_eq!(ask(&new, "x").await, "\0\0x|127.0.0.1|quic");
    assert_eq!(ask(&old, "x").await, "\0\0x|127.0.0.1|quic");
}

#[tokio::test]
async fn a_wildcard_bind_answers_from_the_address_that_was_asked() {
    let (certificate, trusted) = certificate();
    let socket = quic::bind("0.0.0.0:0".parse().unwrap()).unwrap();
    let local = socket.local_addr().unwrap();
    let running = Running::start_at(
        local,
        StreamLimits::default(),
        |server, shutdown| async move { quic::serve(socket, server, &certificate, shutdown).await },
    );
    let client = endpoint("0.0.0.0", &trusted, b"doq");
    for ip in ["127.0.0.1", "127.0.0.5", "127.9.9.9"] {
        let at = (
            ip.parse::<std::net::IpAddr>().unwrap(),
            running.local.port(),
        );
        let connection = client.connect(at.into(), NAME).unwrap().await.unwrap();
        assert_eq!(ask(&connection, "x").await, format!("\0\0x|{ip}|quic"));
    }
}

#[tokio::test]
async fn a_panic_of_the_worker_costs_one_query() {
    let server = start(StreamLimits::default());
    let connection = server.connect().await;
    let (mut sent, mut receive) = send(&connection, &frame(b"\0\0panic")).await;
    sent.finish().unwrap();
    assert!(receive.read_u8().await.is_err());
    assert_eq!(ask(&connection, "x").await, "\0\0x|127.0.0.1|quic");
}

#[tokio::test]
async fn shutdown_finishes_what_has_begun() {
    let server = start(StreamLimits::default());
    let idle = server.connect().await;
    let busy = server.connect().await;
    let (mut sent, mut receive) = send(&busy, &frame(b"\0\0stream")).await;
    sent.finish().unwrap();
    read_frame(&mut receive).await.unwrap();
    let rest = async {
        assert_eq!(closing_code(&idle).await, NO_ERROR);
        for _ in 1..STREAM {
            read_frame(&mut receive).await.unwrap();
        }
        assert_eq!(receive.read(&mut [0]).await, Ok(None));
        assert_eq!(closing_code(&busy).await, NO_ERROR);
    };
    let (totals, ()) = tokio::join!(server.running.stop(), rest);
    assert_eq!((totals.answered, totals.closed), (u64::from(STREAM), 2));
}

#[tokio::test]
async fn kdig_asks_and_transfers() {
    let (certificate, _) = certificate();
    let socket = bind();
    let local = socket.local_addr().unwrap();
    let _server = Running::start_at(
        local,
        StreamLimits::default(),
        |server, shutdown| async move {
            quic::serve(socket, answered_by(server, Telling), &certificate, shutdown).await
        },
    );
    let Some(said) = kdig(local, &["+quic", "TXT", "who.test"]).await else {
        return;
    };
    assert!(
        said.contains(&format!("\"127.0.0.1|{local}|quic\"")),
        "{said}"
    );
    let said = kdig(local, &["+quic", "TXT", "big.test"]).await.unwrap();
    assert!(said.contains("ANSWER: 240"), "{said}");
    let said = kdig(local, &["+quic", "AXFR", "zone.test"]).await.unwrap();
    assert_eq!(said.matches("\"x\"").count(), ZONE as usize, "{said}");
}
