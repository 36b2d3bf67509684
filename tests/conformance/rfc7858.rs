//! RFC 7858, DNS over TLS. That every case gets the same octets over it as over TCP, every other file sees to; here are
//! programs of others that ask over it, and what a connection may do.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use conformance::{
    case::{Transport, check_over},
    certificate::{NAME, shown},
    decode::Message,
    encrypted::{framed, over_tls, run},
    exchange::PATIENCE,
    question::Question,
    samples::SAMPLES,
    site::{Site, servers},
};
use signpost_tests::{
    admin::until_metrics,
    dig::{dig, kdig},
    tools,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const TLS: &[Transport] = &[Transport::Tls];

#[test]
fn dig_is_answered_as_over_tcp() {
    for (question, expected) in SAMPLES {
        check_over(TLS, "3.3", question, expected);
    }
}

#[test]
fn kdig_authenticates_the_server_and_is_answered() {
    if !tools::available("kdig", "knot-dnsutils") {
        return;
    }
    for server in servers() {
        let at = server.encrypted.expect("it listens").tls;
        let authority = format!("+tls-ca={}", shown().chain.display());
        let asked = |name: &str| {
            let name = format!("+tls-hostname={name}");
            kdig(at, &["+tls", &authority, &name, "www.rfc6891.test", "A"])
        };
        let answer = asked(NAME);
        assert_eq!(answer.data("A"), ["192.0.2.2"], "§8.1: {}", answer.text);
        // Another name is not in the certificate: what is shown is not what was wanted.
        let other = asked("other.test");
        assert!(
            other.status.is_empty() && other.text.contains("failed"),
            "{}",
            other.text
        );
    }
}

fn query(id: u16) -> Vec<u8> {
    Question::new("www.rfc6891.test.", 1)
        .edns(1232, 0)
        .octets(id)
}

#[test]
fn queries_sent_at_once_are_all_answered_on_their_connection() {
    const COUNT: u16 = 100;
    for server in servers() {
        let at = server.encrypted.expect("it listens").tls;
        let mut seen = run(async {
            let mut stream = over_tls(at, b"dot").await.expect("§3.2");
            let all: Vec<u8> = (0..COUNT).flat_map(|id| framed(&query(id))).collect();
            stream.write_all(&all).await.expect("queries are sent");
            let mut seen = Vec::new();
            for _ in 0..COUNT {
                let mut reply = vec![0; stream.read_u16().await.expect("§3.3").into()];
                stream.read_exact(&mut reply).await.expect("an answer");
                let message = Message::read(&reply).expect("a message");
                assert_eq!((message.rcode, message.sections[0].len()), (0, 1));
                seen.push(message.id);
            }
            seen
        });
        // In any order (RFC 7766 §7).
        seen.sort_unstable();
        assert!(seen.into_iter().eq(0..COUNT));
    }
}

#[test]
fn one_connection_serves_many_questions_of_dig() {
    if !tools::available("dig", "bind9-dnsutils") {
        return;
    }
    let site = Site::set_up(&shown().table());
    for server in &site.servers {
        let at = server.encrypted.expect("it listens").tls;
        let answer = dig(
            at,
            &[
                "+tls",
                "+keepopen",
                "www.rfc6891.test",
                "A",
                "ns1.rfc6891.test",
                "A",
                "mid.rfc6891.test",
                "TXT",
            ],
        );
        assert_eq!(
            answer.text.matches("status: NOERROR").count(),
            3,
            "{}",
            answer.text
        );
        let accepted = "signpost_dns_connections_total{transport=\"tls\"}";
        until_metrics(server.admin, accepted, |seen| matches!(seen, [(_, 1.0)]));
    }
}

#[test]
fn clear_text_is_not_answered_on_this_port() {
    for server in servers() {
        let at = server.encrypted.expect("it listens").tls;
        let mut stream = TcpStream::connect(at).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a deadline");
        stream
            .write_all(&framed(&query(0xABCD)))
            .expect("it is sent");
        let mut told = Vec::new();
        // Closed, perhaps after an alert of TLS, which is no message with this identifier.
        let _ = stream.read_to_end(&mut told);
        assert!(
            !told.windows(2).any(|pair| pair == [0xAB, 0xCD]),
            "§3.1: {told:02x?}"
        );
    }
}

#[test]
fn keepalive_is_told_over_tls() {
    check_over(
        TLS,
        "3.4",
        "www.rfc6891.test A +keepalive",
        "NOERROR aa
         answer www.rfc6891.test. 300 A 192.0.2.2
         option TCP KEEPALIVE: 8.0 secs",
    );
}
