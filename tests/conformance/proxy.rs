//! The PROXY protocol, version 2, in front of queries (HAProxy's "The PROXY protocol"): balancers that are listed say
//! who asks; from anybody else a header is no DNS message. A cookie tells whom the server takes for the client: it is made
//! for an address.

use std::{
    io::{Read, Write},
    net::{IpAddr, SocketAddr, TcpStream, UdpSocket},
    process::Command,
};

use conformance::{
    decode::Message,
    exchange::PATIENCE,
    question::Question,
    site::{Server, Site},
    tap::read_message,
};
use signpost_tests::{admin::until_metrics, tools};
use socket2::{Domain, Socket, Type};

const COOKIE: u16 = 10;
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const BALANCER: &str = "127.0.5.1";
const OTHER_BALANCER: &str = "127.0.5.2";
const STRANGER: &str = "127.0.6.1";

fn behind_balancers() -> Site {
    Site::set_up("[proxy]\nnetworks = [\"127.0.5.0/24\"]\n")
}

/// A header: this client asked 203.0.113.9:53, by datagrams (2) or a stream (1).
fn header(client: [u8; 4], protocol: u8) -> Vec<u8> {
    let addresses = [&client[..], &[203, 0, 113, 9], &[0x14, 0xE9], &[0, 53]].concat();
    [SIGNATURE, &[0x21, 0x10 | protocol, 0, 12], &addresses].concat()
}

fn query(cookie: &[u8]) -> Vec<u8> {
    Question::new("www.rfc6891.test.", 1)
        .option(COOKIE, cookie)
        .octets(7)
}

/// The cookie in an answer, which has to be a good one.
fn cookie(reply: &[u8]) -> Vec<u8> {
    let message = Message::read(reply).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(
        (message.id, message.rcode, message.sections[0].len()),
        (7, 0, 1),
        "{message:?}"
    );
    message.option(COOKIE).expect("a cookie").to_vec()
}

fn datagrams(from: &str, server: &Server) -> UdpSocket {
    let socket = UdpSocket::bind((from, 0)).expect("an address of loopback");
    socket.connect(server.dns).expect("a route to loopback");
    socket.set_read_timeout(Some(PATIENCE)).expect("a deadline");
    socket
}

fn receive(socket: &UdpSocket) -> Vec<u8> {
    let mut reply = vec![0; 4096];
    let length = socket.recv(&mut reply).expect("an answer");
    reply.truncate(length);
    reply
}

fn ask(from: &str, server: &Server, header: &[u8], query: &[u8]) -> Vec<u8> {
    let socket = datagrams(from, server);
    socket
        .send(&[header, query].concat())
        .expect("a datagram is sent");
    receive(&socket)
}

fn ask_by_stream(from: &str, server: &Server, header: &[u8], query: &[u8]) -> Vec<u8> {
    let stream = connected(from, server);
    let framed = [header, &(query.len() as u16).to_be_bytes(), query].concat();
    (&stream).write_all(&framed).expect("a query is sent");
    read_message(&stream).expect("an answer")
}

fn connected(from: &str, server: &Server) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let from: IpAddr = from.parse().expect("an address");
    socket
        .bind(&SocketAddr::from((from, 0)).into())
        .expect("an address of loopback");
    socket.connect(&server.dns.into()).expect("a connection");
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).expect("a deadline");
    stream
}

const CLIENT: &[u8; 8] = b"a client";
const ONE: [u8; 4] = [198, 51, 100, 7];
const TWO: [u8; 4] = [198, 51, 100, 8];

#[test]
fn the_client_is_who_the_balancer_says() {
    let site = behind_balancers();
    for server in &site.servers {
        let by_datagram = |from, client, cookie_: &[u8]| {
            cookie(&ask(from, server, &header(client, 2), &query(cookie_)))
        };
        let by_stream = |from, client, cookie_: &[u8]| {
            cookie(&ask_by_stream(
                from,
                server,
                &header(client, 1),
                &query(cookie_),
            ))
        };
        let given = by_datagram(BALANCER, ONE, CLIENT);
        // The same client is known again, through whatever balancer and transport; another one is not.
        assert_eq!(by_datagram(BALANCER, ONE, &given), given);
        assert_eq!(by_datagram(OTHER_BALANCER, ONE, &given), given);
        assert_eq!(by_stream(BALANCER, ONE, &given), given);
        assert_ne!(by_datagram(BALANCER, TWO, &given), given);
        assert_ne!(by_stream(OTHER_BALANCER, TWO, &given), given);
    }
}

#[test]
fn a_balancers_own_check_needs_no_client() {
    let site = behind_balancers();
    let local = [SIGNATURE, &[0x20, 0, 0, 0]].concat();
    for server in &site.servers {
        let given = cookie(&ask(BALANCER, server, &local, &query(CLIENT)));
        // It is the balancer itself that is told.
        assert_eq!(
            cookie(&ask(BALANCER, server, &local, &query(&given))),
            given
        );
        assert_ne!(
            cookie(&ask(OTHER_BALANCER, server, &local, &query(&given))),
            given
        );
        cookie(&ask_by_stream(BALANCER, server, &local, &query(CLIENT)));
    }
}

#[test]
fn a_balancer_that_does_not_introduce_its_client_is_not_answered() {
    let site = behind_balancers();
    for server in &site.servers {
        let socket = datagrams(BALANCER, server);
        // Nothing in front, half a header, a whole one without a query, and one of another version.
        let query = query(CLIENT);
        let other_version = [SIGNATURE, &[0x11, 0x12, 0, 0], &query].concat();
        let (half, whole) = (&header(ONE, 2)[..20], &header(ONE, 2)[..]);
        for datagram in [&query[..], half, whole, &other_version] {
            socket.send(datagram).expect("a datagram is sent");
        }
        // One worker answers in order: the first answer is that to the last query.
        let last = Question::new("ns1.rfc6891.test.", 1).octets(8);
        socket
            .send(&[&header(ONE, 2)[..], &last].concat())
            .expect("a datagram is sent");
        assert_eq!(receive(&socket)[..2], [0, 8]);
        let stream = connected(BALANCER, server);
        let framed = [&(query.len() as u16).to_be_bytes(), &query[..]].concat();
        (&stream).write_all(&framed).expect("a query is sent");
        // Closed, in whatever way.
        assert!(matches!((&stream).read(&mut [0; 1]), Ok(0) | Err(_)));
    }
}

#[test]
fn a_header_of_anybody_else_is_no_message() {
    let site = behind_balancers();
    for server in &site.servers {
        // As a message it has the identifier 0D0A and an opcode that nobody has: there is no answer in the reply.
        let reply = ask(STRANGER, server, &header(ONE, 2), &query(CLIENT));
        assert_eq!(reply[..2], SIGNATURE[..2]);
        assert_ne!(reply[3] & 0xF, 0, "an error: {reply:02x?}");
        // In a stream it promises a message of 3,338 octets; what comes is another's business.
        let given = cookie(&ask(STRANGER, server, &[], &query(CLIENT)));
        assert_eq!(
            cookie(&ask_by_stream(STRANGER, server, &[], &query(&given))),
            given
        );
    }
}

#[test]
fn the_rate_limit_counts_the_client_and_not_the_balancer() {
    let site = Site::set_up(
        "[proxy]\nnetworks = [\"127.0.5.0/24\"]\n[rate_limit]\nper_second = 1\nburst = 5\nslip = 1\n",
    );
    for server in &site.servers {
        let plain = Question::new("www.rfc6891.test.", 1).octets(7);
        let cut = |client| {
            let reply = ask(BALANCER, server, &header(client, 2), &plain);
            Message::read(&reply).expect("a message").is_truncated()
        };
        let slipped = (0..50).filter(|_| cut(ONE)).count();
        assert!(slipped > 0, "nobody is exempt but loopback");
        assert!(!cut(TWO));
    }
}

#[test]
fn kdig_is_a_balancer_too() {
    if !tools::available("kdig", "knot-dnsutils") {
        return;
    }
    let site = behind_balancers();
    for server in &site.servers {
        for transport in ["+notcp", "+tcp"] {
            let mut kdig = Command::new("kdig");
            kdig.arg(format!("@{}", server.dns.ip()));
            kdig.args([
                "-p",
                &server.dns.port().to_string(),
                "-b",
                BALANCER,
                transport,
            ]);
            kdig.args(["+proxy=198.51.100.7#5353-203.0.113.9#53", "+retry=0"]);
            let output = kdig
                .args(["www.rfc6891.test", "A"])
                .output()
                .expect("kdig runs");
            let text = String::from_utf8_lossy(&output.stdout);
            assert!(
                text.contains("status: NOERROR") && text.contains("192.0.2.2"),
                "{text}"
            );
        }
    }
}

#[test]
fn what_was_dropped_is_counted() {
    let site = behind_balancers();
    for server in &site.servers {
        let socket = datagrams(BALANCER, server);
        socket.send(&query(CLIENT)).expect("a datagram is sent");
        let dropped = "signpost_dns_transport_total{transport=\"udp\",cause=\"unproxied\"}";
        until_metrics(server.admin, dropped, |seen| {
            seen.iter().any(|(_, count)| *count >= 1.0)
        });
    }
}
