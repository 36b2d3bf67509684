//! Behind a balancer that speaks the PROXY protocol.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use dns_transport::proxy::Trusted;
use dns_transport::{StreamLimits, pair, tcp, udp};
use tokio::io::AsyncWriteExt;

use crate::echo::Echo;
use crate::running::{PATIENCE, Running, answered_by, connect, frame, is_closed, read_text};
use crate::telling::Telling;
use crate::tools::kdig;

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

fn trusted() -> Trusted {
    ["127.0.5.0/24".parse().unwrap()].into_iter().collect()
}

/// 198.51.100.7:5353 asked 203.0.113.9:53 over UDP.
fn proxied() -> Vec<u8> {
    let rest = [
        0x21, 0x12, 0, 12, 198, 51, 100, 7, 203, 0, 113, 9, 0x14, 0xE9, 0, 53,
    ];
    [SIGNATURE, &rest].concat()
}

/// A health check.
fn local() -> Vec<u8> {
    [SIGNATURE, &[0x20, 0, 0, 0]].concat()
}

fn socket(from: &str, to: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind((from, 0)).unwrap();
    socket.connect(to).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

fn receive(socket: &UdpSocket) -> String {
    let mut answer = [0; 512];
    let length = socket.recv(&mut answer).unwrap();
    String::from_utf8_lossy(&answer[..length]).into_owned()
}

#[test]
fn a_datagram_of_a_balancer_says_whose_it_is() {
    let listen = "127.0.0.1:0".parse().unwrap();
    let server = udp::spawn(listen, 1, &trusted(), &Echo::default()).unwrap();
    let balancer = socket("127.0.5.1", server.local());
    for header in [&b""[..], b"query", SIGNATURE, &proxied()[..27]] {
        balancer.send(header).unwrap();
    }
    balancer.send(&[proxied(), b"a".to_vec()].concat()).unwrap();
    // One worker answers in order: there was no answer before this one.
    assert_eq!(receive(&balancer), "a|203.0.113.9|udp");
    balancer.send(&[local(), b"b".to_vec()].concat()).unwrap();
    assert_eq!(receive(&balancer), "b|127.0.0.1|udp");
    // From anybody else a header is part of a message that makes no sense.
    let other = socket("127.0.6.1", server.local());
    other.send(&[proxied(), b"c".to_vec()].concat()).unwrap();
    assert!(receive(&other).starts_with("\r\n\r\n\0\r\nQUIT\n"));
    let counters = server.counters();
    server.stop();
    let totals = counters.totals();
    assert_eq!(
        (totals.received, totals.unproxied, totals.answered),
        (7, 4, 3)
    );
}

fn start(limits: StreamLimits) -> Running {
    Running::start(limits, |listener, mut server, shutdown| {
        server.trusted = trusted();
        tcp::serve(listener, server, shutdown)
    })
}

#[tokio::test]
async fn a_connection_of_a_balancer_says_whose_it_is_however_it_is_split() {
    let server = start(StreamLimits::default());
    let input = [proxied(), frame(b"a"), frame(b"b")].concat();
    for split in 0..input.len() {
        let mut stream = connect("127.0.5.1", server.local).await.unwrap();
        stream.write_all(&input[..split]).await.unwrap();
        tokio::task::yield_now().await;
        stream.write_all(&input[split..]).await.unwrap();
        assert_eq!(read_text(&mut stream).await, "a|203.0.113.9|tcp");
        assert_eq!(read_text(&mut stream).await, "b|203.0.113.9|tcp");
    }
    let mut stream = connect("127.0.5.1", server.local).await.unwrap();
    let input = [local(), frame(b"a")].concat();
    stream.write_all(&input).await.unwrap();
    assert_eq!(read_text(&mut stream).await, "a|127.0.0.1|tcp");
}

#[tokio::test]
async fn a_balancer_that_does_not_introduce_its_client_is_closed() {
    let server = start(StreamLimits {
        message: Duration::from_millis(100),
        ..StreamLimits::default()
    });
    // A query, a header of version 1, one that stops in the middle.
    for input in [
        &frame(b"query of 14 o.")[..],
        b"PROXY TCP4 198.51",
        &proxied()[..20],
    ] {
        let mut stream = connect("127.0.5.1", server.local).await.unwrap();
        stream.write_all(input).await.unwrap();
        assert!(is_closed(&mut stream).await);
    }
    server
        .until("three ends", |totals| totals.closed == 3)
        .await;
    let totals = server.counters.totals();
    assert_eq!((totals.unproxied, totals.timed_out), (2, 1));
    // From anybody else a header is the beginning of a message of 3,338 octets.
    let mut stream = connect("127.0.6.1", server.local).await.unwrap();
    let input = [proxied(), frame(b"a")].concat();
    stream.write_all(&input).await.unwrap();
    assert!(is_closed(&mut stream).await);
    assert_eq!(server.stop().await.timed_out, 2);
}

#[tokio::test]
async fn the_cap_of_a_source_is_that_of_the_balancers_client() {
    let server = start(StreamLimits {
        connections_per_source_max: 1,
        ..StreamLimits::default()
    });
    let mut open = Vec::new();
    for last in [7, 8, 7] {
        let mut header = proxied();
        header[19] = last;
        let mut stream = connect("127.0.5.1", server.local).await.unwrap();
        let input = [header, frame(b"a")].concat();
        stream.write_all(&input).await.unwrap();
        assert_eq!(read_text(&mut stream).await, "a|203.0.113.9|tcp");
        open.push(stream);
    }
    assert!(is_closed(&mut open[0]).await);
    open[1].write_all(&frame(b"b")).await.unwrap();
    assert_eq!(read_text(&mut open[1]).await, "b|203.0.113.9|tcp");
    assert_eq!(server.stop().await.evicted, 1);
}

#[tokio::test]
async fn kdig_is_believed_over_udp_and_tcp() {
    let all: Trusted = ["127.0.0.0/8".parse().unwrap()].into_iter().collect();
    let (udp, listener) = pair::bind("127.0.0.1:0".parse().unwrap(), 1, &all, &Telling).unwrap();
    let _tcp = Running::start_at(udp.local(), StreamLimits::default(), |server, shutdown| {
        let mut server = answered_by(server, Telling);
        server.trusted = all.clone();
        tcp::serve(listener, server, shutdown)
    });
    for (transport, word) in [("+notcp", "udp"), ("+tcp", "tcp")] {
        for (source, asked) in [
            ("198.51.100.7", "203.0.113.9"),
            ("2001:db8::7", "2001:db8::9"),
        ] {
            let header = format!("+proxy={source}#1234-{asked}#5353");
            let arguments = [&header[..], transport, "TXT", "who.test"];
            let Some(said) = kdig(udp.local(), &arguments).await else {
                return;
            };
            let asked: SocketAddr = (asked.parse::<std::net::IpAddr>().unwrap(), 5353).into();
            let expected = format!("\"{source}|{asked}|{word}\"");
            assert!(said.contains(&expected), "{expected}: {said}");
        }
    }
}
