//! DNS over TLS through real sockets.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use dns_transport::{Certificate, StreamLimits, tls};
use rustls::pki_types::CertificateDer;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, HandshakeKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::echo::STREAM;
use crate::running::{Running, answered_by, frame, is_closed, read_frame, read_text};
use crate::telling::{Telling, ZONE};
use crate::tools::{dig, kdig};
use crate::trust::{NAME, certificate, client, made};

fn start(limits: StreamLimits) -> (Running, Certificate, CertificateDer<'static>) {
    let (certificate, der) = certificate();
    let served = certificate.clone();
    let running = Running::start(limits, |listener, server, shutdown| async move {
        tls::serve(listener, server, &served, shutdown).await
    });
    (running, certificate, der)
}

fn start_telling() -> Running {
    let (certificate, _) = certificate();
    Running::start(
        StreamLimits::default(),
        |listener, server, shutdown| async move {
            let server = answered_by(server, Telling);
            tls::serve(listener, server, &certificate, shutdown).await
        },
    )
}

async fn shake(server: &Running, config: ClientConfig) -> io::Result<TlsStream<TcpStream>> {
    let connector = TlsConnector::from(Arc::new(config));
    let stream = server.connect().await;
    connector.connect(NAME.try_into().unwrap(), stream).await
}

async fn ask(stream: &mut TlsStream<TcpStream>) {
    stream.write_all(&frame(b"x")).await.unwrap();
    assert_eq!(read_text(stream).await, "x|127.0.0.1|tls");
}

#[tokio::test]
async fn both_versions_are_served_with_and_without_the_protocols_name() {
    let (server, _, der) = start(StreamLimits::default());
    for version in [&TLS12, &TLS13] {
        for (offered, chosen) in [
            (&[][..], None),
            (&[&b"dot"[..]], Some(&b"dot"[..])),
            (&[b"h2", b"dot"], Some(b"dot")),
        ] {
            let mut stream = shake(&server, client(&der, &[version], offered))
                .await
                .unwrap();
            assert_eq!(stream.get_ref().1.alpn_protocol(), chosen);
            assert_eq!(stream.get_ref().1.protocol_version(), Some(version.version));
            ask(&mut stream).await;
        }
    }
    // Another protocol on this port is a mistake of the client's.
    let config = client(&der, rustls::ALL_VERSIONS, &[b"h2"]);
    assert!(shake(&server, config).await.is_err());
    let totals = server.stop().await;
    assert_eq!((totals.handshake_failed, totals.answered), (1, 6));
}

#[tokio::test]
async fn queries_are_pipelined_and_streams_pass_whole() {
    let (server, _, der) = start(StreamLimits::default());
    let config = client(&der, rustls::ALL_VERSIONS, &[b"dot"]);
    let mut stream = shake(&server, config).await.unwrap();
    let queries = [frame(b"a").repeat(300), frame(b"big"), frame(b"stream")].concat();
    stream.write_all(&queries).await.unwrap();
    for _ in 0..300 {
        assert_eq!(read_text(&mut stream).await, "a|127.0.0.1|tls");
    }
    assert_eq!(read_frame(&mut stream).await.unwrap().len(), 65_535);
    for number in 0..STREAM {
        let message = read_frame(&mut stream).await.unwrap();
        assert_eq!(message[..4], number.to_be_bytes());
    }
    ask(&mut stream).await;
}

#[tokio::test]
async fn a_new_certificate_is_for_new_handshakes_and_costs_no_connection() {
    let (server, certificate, der) = start(StreamLimits::default());
    let config = client(&der, rustls::ALL_VERSIONS, &[b"dot"]);
    let mut old = shake(&server, config).await.unwrap();
    ask(&mut old).await;
    let (chain, key, new_der) = made();
    certificate
        .replace(chain.as_bytes(), key.as_bytes())
        .unwrap();
    let config = client(&new_der, rustls::ALL_VERSIONS, &[b"dot"]);
    let mut new = shake(&server, config).await.unwrap();
    assert_eq!(new.get_ref().1.peer_certificates(), Some(&[new_der][..]));
    ask(&mut new).await;
    ask(&mut old).await;
    let config = client(&der, rustls::ALL_VERSIONS, &[b"dot"]);
    assert!(shake(&server, config).await.is_err());
}

#[tokio::test]
async fn before_there_is_a_certificate_no_handshake_succeeds() {
    let (certificate, (chain, key, der)) = (Certificate::default(), made());
    let served = certificate.clone();
    let limits = StreamLimits::default();
    let server = Running::start(limits, |listener, server, shutdown| async move {
        tls::serve(listener, server, &served, shutdown).await
    });
    let config = client(&der, rustls::ALL_VERSIONS, &[b"dot"]);
    assert!(shake(&server, config.clone()).await.is_err());
    certificate
        .replace(chain.as_bytes(), key.as_bytes())
        .unwrap();
    ask(&mut shake(&server, config).await.unwrap()).await;
    assert_eq!(server.stop().await.handshake_failed, 1);
}

#[tokio::test]
async fn sessions_resume() {
    let (server, _, der) = start(StreamLimits::default());
    for version in [&TLS12, &TLS13] {
        let config = client(&der, &[version], &[b"dot"]);
        for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let mut stream = shake(&server, config.clone()).await.unwrap();
            // Tickets come with the first answer.
            ask(&mut stream).await;
            assert_eq!(stream.get_ref().1.handshake_kind(), Some(kind));
        }
    }
}

#[tokio::test]
async fn the_first_flight_may_be_split_at_every_octet() {
    let (server, _, der) = start(StreamLimits::default());
    let config = Arc::new(client(&der, &[&TLS13], &[b"dot"]));
    let mut hello = Vec::new();
    let mut connection = ClientConnection::new(config, NAME.try_into().unwrap()).unwrap();
    connection.write_tls(&mut hello).unwrap();
    for split in 0..hello.len() {
        let mut stream = server.connect().await;
        stream.write_all(&hello[..split]).await.unwrap();
        tokio::task::yield_now().await;
        stream.write_all(&hello[split..]).await.unwrap();
        // A handshake record: the server understood, and answers.
        assert_eq!(stream.read_u8().await.unwrap(), 22, "split at {split}");
    }
}

#[tokio::test]
async fn whoever_does_not_shake_hands_is_closed() {
    let (server, _, _) = start(StreamLimits {
        handshake: Duration::from_millis(50),
        ..StreamLimits::default()
    });
    assert!(is_closed(&mut server.connect().await).await);
    server.until("late", |totals| totals.timed_out == 1).await;
    let mut plain = server.connect().await;
    plain
        .write_all(&frame(b"a query without TLS"))
        .await
        .unwrap();
    // An alert, then the end.
    let mut rest = Vec::new();
    let _ = plain.read_to_end(&mut rest).await;
    server
        .until("refused", |totals| totals.handshake_failed == 1)
        .await;
    let totals = server.stop().await;
    assert_eq!((totals.accepted, totals.closed, totals.queries), (2, 2, 0));
}

#[tokio::test]
async fn dig_and_kdig_ask_and_transfer() {
    let server = start_telling();
    let expected = format!("\"127.0.0.1|{}|tls\"", server.local);
    let Some(said) = kdig(server.local, &["+tls", "TXT", "who.test"]).await else {
        return;
    };
    assert!(said.contains(&expected), "{said}");
    let Some(said) = dig(server.local, &["+tls", "TXT", "who.test"]).await else {
        return;
    };
    assert!(said.contains(&expected), "{said}");
    for said in [
        kdig(server.local, &["+tls", "AXFR", "zone.test"]).await,
        dig(server.local, &["+tls", "AXFR", "zone.test"]).await,
    ] {
        let said = said.unwrap();
        assert_eq!(said.matches("\"x\"").count(), ZONE as usize, "{said}");
    }
    let said = dig(server.local, &["+tls", "TXT", "big.test"])
        .await
        .unwrap();
    assert!(said.contains("ANSWER: 240"), "{said}");
}

#[tokio::test]
async fn a_balancer_introduces_its_client_before_the_handshake() {
    let (certificate, der) = certificate();
    let server = Running::start(
        StreamLimits::default(),
        |listener, mut server, shutdown| async move {
            server.trusted = ["127.0.0.0/8".parse().unwrap()].into_iter().collect();
            tls::serve(listener, server, &certificate, shutdown).await
        },
    );
    let mut stream = server.connect().await;
    let rest = b"\x21\x11\0\x0c\xc6\x33\x64\x07\xcb\0\x71\x09\x14\xe9\x03\x55";
    stream
        .write_all(&[b"\r\n\r\n\0\r\nQUIT\n", &rest[..]].concat())
        .await
        .unwrap();
    let config = client(&der, rustls::ALL_VERSIONS, &[b"dot"]);
    let connector = TlsConnector::from(Arc::new(config));
    let mut stream = connector
        .connect(NAME.try_into().unwrap(), stream)
        .await
        .unwrap();
    stream.write_all(&frame(b"x")).await.unwrap();
    assert_eq!(read_text(&mut stream).await, "x|203.0.113.9|tls");
    // Without its words a handshake is nobody's.
    let config = client(&der, rustls::ALL_VERSIONS, &[b"dot"]);
    assert!(shake(&server, config).await.is_err());
    assert_eq!(server.stop().await.unproxied, 1);
}
