//! A server of plain zones, from its first address to its end.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use dns_engine::{Snapshot, Zones, zonefile};
use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use nameserver::{Door, Running, Starting, Traffic};
use prometheus::Registry;
use service::shutdown::{self, Shutdown, Trigger};

const LOOPBACK: SocketAddr = service::admin::LOOPBACK;

fn snapshot(address: &str) -> Snapshot {
    let text = format!(
        "$ORIGIN example.\n$TTL 60\n@ SOA ns h 1 1 1 1 1\n@ NS ns\nns A 192.0.2.1\nwww A {address}\n"
    );
    let mut zones = Zones::new();
    assert!(
        zones
            .insert(zonefile::parse("example", &text, None).unwrap())
            .is_ok()
    );
    Snapshot::of_zones(zones)
}

/// Listens on two addresses, nothing else yet.
fn start(shutdown: Shutdown) -> (Starting, Door, Registry) {
    let registry = service::metrics::registry("test");
    let current = Arc::new(ArcSwap::from_pointee(snapshot("192.0.2.2")));
    let door = Door::new(current, Traffic::register(&registry).unwrap());
    let server = Starting::listen(&[LOOPBACK, LOOPBACK], 1, &door, shutdown).unwrap();
    (server, door, registry)
}

fn open(server: Starting, registry: Registry) -> Running {
    server
        .admin(LOOPBACK, registry, axum::Router::new())
        .unwrap()
}

fn query() -> Vec<u8> {
    let mut query = Message::new(7, MessageType::Query, OpCode::Query);
    let name = Name::from_ascii("www.example.").unwrap();
    query.add_query(Query::query(name, RecordType::A));
    query.to_vec().unwrap()
}

fn address(answer: &[u8]) -> String {
    let answer = Message::from_vec(answer).unwrap();
    assert_eq!(answer.metadata.response_code, ResponseCode::NoError);
    answer.answers[0].data.to_string()
}

fn over_udp(server: SocketAddr) -> String {
    let socket = UdpSocket::bind(LOOPBACK).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    socket.send_to(&query(), server).unwrap();
    let mut answer = [0; 512];
    let length = socket.recv(&mut answer).unwrap();
    address(&answer[..length])
}

fn over_tcp(server: SocketAddr) -> String {
    use std::io::{Read, Write};
    let mut stream = TcpStream::connect(server).unwrap();
    let query = query();
    stream
        .write_all(&(query.len() as u16).to_be_bytes())
        .unwrap();
    stream.write_all(&query).unwrap();
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut answer).unwrap();
    address(&answer)
}

async fn blocking<T: Send + 'static>(ask: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(ask).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_swapped_snapshot_answers_on_every_address_over_udp_and_tcp() {
    let (trigger, shutdown) = shutdown::channel();
    let (server, door, registry) = start(shutdown);
    let gathered = registry.clone();
    let running = open(server, registry);
    let addresses = running.dns.clone();
    assert_eq!(addresses.len(), 2);
    for expected in ["192.0.2.2", "192.0.2.3"] {
        door.current.store(Arc::new(snapshot(expected)));
        for server in addresses.clone() {
            assert_eq!(blocking(move || over_udp(server)).await, expected);
            assert_eq!(blocking(move || over_tcp(server)).await, expected);
        }
    }
    let text = prometheus::TextEncoder::new()
        .encode_to_string(&gathered.gather())
        .unwrap();
    for transport in ["udp", "tcp"] {
        let line = format!(
            "signpost_dns_requests_total{{type=\"A\",transport=\"{transport}\",family=\"ipv4\"}} 4\n"
        );
        assert!(text.contains(&line), "{line} is missing in\n{text}");
    }
    trigger.fire();
    running.wait().await.unwrap();
}

/// Waits for a server one of whose parts is gone: it ends with an error that names the part, and lets go of its addresses,
/// although nobody asked it to end.
async fn check_ends(server: Starting, registry: Registry, trigger: &Trigger, expected: &str) {
    let running = open(server, registry);
    let address = running.dns[0];
    let error = running.wait().await.unwrap_err();
    assert!(format!("{error:#}").contains(expected), "{error:#}");
    assert!(TcpStream::connect(address).is_err(), "it still listens");
    trigger.fire();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_ends_takes_the_server_with_it() {
    let (trigger, shutdown) = shutdown::channel();
    let (mut server, _, registry) = start(shutdown);
    server.task("a part", async { Ok(()) });
    check_ends(server, registry, &trigger, "a part ended by itself").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_fails_takes_the_server_with_it() {
    let (trigger, shutdown) = shutdown::channel();
    let (mut server, _, registry) = start(shutdown);
    server.task("a part", async { anyhow::bail!("no more disk") });
    check_ends(server, registry, &trigger, "a part: no more disk").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_while_following_files_takes_the_server_with_it() {
    let (trigger, shutdown) = shutdown::channel();
    let (mut server, _, registry) = start(shutdown);
    server.poll("following the files", || panic!("as it was meant to"));
    check_ends(server, registry, &trigger, "following the files").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_polls_ends_with_the_server() {
    let (trigger, shutdown) = shutdown::channel();
    let (mut server, _, registry) = start(shutdown);
    let polled = Arc::new(AtomicBool::new(false));
    let (seen, ending) = (polled.clone(), trigger.clone());
    server.poll("polling", move || {
        seen.store(true, Ordering::Relaxed);
        ending.fire();
    });
    open(server, registry).wait().await.unwrap();
    assert!(polled.load(Ordering::Relaxed));
}
