//! UDP workers through real sockets.

use std::collections::BTreeSet;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use dns_transport::proxy::Trusted;
use dns_transport::udp::{self, UdpHandle};

use crate::echo::Echo;

const LOOPBACK: &str = "127.0.0.1:0";

fn start(listen: &str, workers: usize) -> UdpHandle {
    udp::spawn(
        listen.parse().unwrap(),
        workers,
        &Trusted::default(),
        &Echo::default(),
    )
    .unwrap()
}

/// A connected client, which takes answers only from the address it asked.
fn client(server: SocketAddr) -> UdpSocket {
    let any = if server.is_ipv4() {
        "0.0.0.0:0"
    } else {
        "[::]:0"
    };
    let socket = UdpSocket::bind(any).unwrap();
    socket.connect(server).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    socket
}

fn ask(client: &UdpSocket, query: &[u8]) -> String {
    client.send(query).unwrap();
    let mut answer = [0; 8192];
    let length = client.recv(&mut answer).unwrap();
    String::from_utf8_lossy(&answer[..length]).into_owned()
}

#[test]
fn answers_and_tells_the_worker_where_the_query_came_from() {
    let server = start(LOOPBACK, 1);
    assert_ne!(server.local().port(), 0);
    assert_eq!(
        ask(&client(server.local()), b"hello"),
        "hello|127.0.0.1|udp"
    );
    assert_eq!(ask(&client(server.local()), b""), "|127.0.0.1|udp");
    server.stop();
}

#[test]
fn all_workers_share_one_port_and_their_counters_sum_up() {
    let server = start(LOOPBACK, 4);
    // Sixty-four sources are spread over four sockets by hash.
    for _ in 0..64 {
        assert_eq!(ask(&client(server.local()), b"x"), "x|127.0.0.1|udp");
    }
    let counters = server.counters();
    server.stop();
    let totals = counters.totals();
    assert_eq!(
        (totals.received, totals.answered, totals.silent),
        (64, 64, 0)
    );
    assert!(totals.batches <= 64);
}

#[test]
fn sources_are_spread_over_all_workers() {
    for listen in [LOOPBACK, "0.0.0.0:0"] {
        let server = start(listen, 4);
        let at = SocketAddr::new("127.0.0.1".parse().unwrap(), server.local().port());
        let seen: BTreeSet<String> = (0..64).map(|_| ask(&client(at), b"who")).collect();
        assert_eq!(seen.len(), 4, "{seen:?}");
    }
}

#[test]
fn a_wildcard_bind_answers_from_the_address_that_was_asked() {
    let server = start("0.0.0.0:0", 2);
    for ip in ["127.0.0.1", "127.0.0.5", "127.9.9.9"] {
        let at = SocketAddr::new(ip.parse().unwrap(), server.local().port());
        assert_eq!(ask(&client(at), b"x"), format!("x|{ip}|udp"));
    }
}

#[test]
fn ipv6_answers_on_a_wildcard_and_on_one_address() {
    if UdpSocket::bind("[::1]:0").is_err() {
        eprintln!("no IPv6 on this machine: not tested");
        return;
    }
    for listen in ["[::]:0", "[::1]:0"] {
        let server = start(listen, 2);
        let at = SocketAddr::new("::1".parse().unwrap(), server.local().port());
        assert_eq!(ask(&client(at), b"x"), "x|::1|udp");
    }
}

#[test]
fn a_burst_larger_than_a_batch_is_answered_whole() {
    let server = start(LOOPBACK, 1);
    let client = client(server.local());
    for round in 0..5 {
        for number in 0..150 {
            client.send(format!("{round}-{number}").as_bytes()).unwrap();
        }
        let mut seen = BTreeSet::new();
        let mut answer = [0; 512];
        for _ in 0..150 {
            let length = client.recv(&mut answer).unwrap();
            seen.insert(answer[..length].to_vec());
        }
        assert_eq!(seen.len(), 150);
    }
    let counters = server.counters();
    server.stop();
    assert_eq!(counters.totals().answered, 750);
}

#[test]
fn says_nothing_where_the_worker_says_nothing_and_counts_it() {
    let server = start(LOOPBACK, 1);
    let client = client(server.local());
    client.send(b"silent").unwrap();
    client.send(b"stream").unwrap();
    client.send(&[b'x'; 3000]).unwrap();
    // One worker answers in order: this answer shows that the three before got none.
    assert_eq!(ask(&client, b"last"), "last|127.0.0.1|udp");
    let counters = server.counters();
    server.stop();
    let totals = counters.totals();
    assert_eq!(
        (
            totals.received,
            totals.silent,
            totals.oversized,
            totals.answered
        ),
        (4, 2, 1, 1)
    );
}

#[test]
fn sends_answers_up_to_the_room_it_offers() {
    let server = start(LOOPBACK, 1);
    assert_eq!(ask(&client(server.local()), b"big").len(), 4096);
}

#[test]
fn a_panic_of_the_worker_costs_one_batch() {
    let server = start(LOOPBACK, 1);
    let client = client(server.local());
    client.send(b"panic").unwrap();
    // Lost if it came in the same batch, so ask until it is answered.
    client
        .set_read_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    let answered = (0..20).any(|_| {
        client.send(b"after").unwrap();
        client.recv(&mut [0; 512]).is_ok()
    });
    assert!(answered);
    assert_eq!(server.counters().totals().panics, 1);
}

#[test]
fn stops_while_idle_and_leaves_the_port_free() {
    for _ in 0..50 {
        let server = start(LOOPBACK, 2);
        let local = server.local();
        server.stop();
        UdpSocket::bind(local).unwrap();
    }
}

#[test]
fn answers_what_had_arrived_before_the_stop() {
    let server = start(LOOPBACK, 1);
    let client = client(server.local());
    for _ in 0..100 {
        client.send(b"x").unwrap();
    }
    // Loopback delivers within the send call, so all hundred are there.
    server.stop();
    let mut answer = [0; 512];
    for _ in 0..100 {
        client.recv(&mut answer).unwrap();
    }
}

#[test]
fn a_flood_does_not_hold_up_the_stop() {
    let server = start(LOOPBACK, 2);
    let (local, flooding) = (server.local(), AtomicBool::new(true));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let client = client(local);
                while flooding.load(Relaxed) {
                    let _ = client.send(b"silent");
                }
            });
        }
        let counters = server.counters();
        while counters.totals().received < 10_000 {
            std::thread::yield_now();
        }
        // Would not return, if it went on as long as something comes.
        server.stop();
        flooding.store(false, Relaxed);
    });
}

#[test]
fn a_service_that_answers_anything_is_not_talked_to() {
    let Ok(chargen) = UdpSocket::bind("127.0.0.1:19") else {
        eprintln!("port 19 is for administrators: not tested");
        return;
    };
    let server = start(LOOPBACK, 1);
    chargen.send_to(b"x", server.local()).unwrap();
    assert_eq!(ask(&client(server.local()), b"y"), "y|127.0.0.1|udp");
    let counters = server.counters();
    server.stop();
    let totals = counters.totals();
    assert_eq!((totals.refused_source, totals.answered), (1, 1));
}

#[test]
fn a_taken_address_is_an_error() {
    // Also if a server like this one has it, whose sockets share the address among themselves.
    let other = start(LOOPBACK, 2);
    assert!(udp::spawn(other.local(), 1, &Trusted::default(), &Echo::default()).is_err());
    let taken = UdpSocket::bind(LOOPBACK).unwrap();
    assert!(
        udp::spawn(
            taken.local_addr().unwrap(),
            1,
            &Trusted::default(),
            &Echo::default()
        )
        .is_err()
    );
}
