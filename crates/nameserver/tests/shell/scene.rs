//! A server of one plain zone, and a client that asks it for an address.

use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use dns_engine::{Zones, ZonesOnly, zonefile};
use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use nameserver::{Door, Running, Settings, Shell, Starting};
use prometheus::{Registry, TextEncoder};
use service::shutdown::Shutdown;

pub(crate) const LOOPBACK: SocketAddr = service::admin::LOOPBACK;

pub(crate) fn zones(address: &str) -> Zones {
    let text = format!(
        "$ORIGIN example.\n$TTL 60\n@ SOA ns h 1 1 1 1 1\n@ NS ns\nns A 192.0.2.1\nwww A {address}\n"
    );
    let mut zones = Zones::new();
    assert!(
        zones
            .insert(zonefile::parse("example", &text, None).unwrap())
            .is_ok()
    );
    zones
}

/// Answers already; no admin port yet.
pub(crate) fn start(settings: Settings, shutdown: Shutdown) -> (Starting, Door, Registry) {
    let registry = service::metrics::registry("test");
    let shell = Shell::new(settings, &registry).unwrap();
    let door = shell.door();
    door.serve(zones("192.0.2.2"), Arc::new(ZonesOnly));
    (shell.listen(shutdown).unwrap(), door, registry)
}

pub(crate) fn open(server: Starting) -> Running {
    server.admin(axum::Router::new()).unwrap()
}

pub(crate) fn query() -> Vec<u8> {
    let mut query = Message::new(7, MessageType::Query, OpCode::Query);
    let name = Name::from_ascii("www.example.").unwrap();
    query.add_query(Query::query(name, RecordType::A));
    query.to_vec().unwrap()
}

pub(crate) fn address(answer: &[u8]) -> String {
    let answer = Message::from_vec(answer).unwrap();
    assert_eq!(answer.metadata.response_code, ResponseCode::NoError);
    answer.answers[0].data.to_string()
}

/// One datagram there and one back.
pub(crate) fn exchange(server: SocketAddr, query: &[u8]) -> Vec<u8> {
    let socket = UdpSocket::bind(LOOPBACK).unwrap();
    let patience = Duration::from_secs(60);
    socket.set_read_timeout(Some(patience)).unwrap();
    socket.send_to(query, server).unwrap();
    let mut answer = vec![0; 4096];
    let length = socket.recv(&mut answer).unwrap();
    answer.truncate(length);
    answer
}

pub(crate) fn over_udp(server: SocketAddr) -> String {
    address(&exchange(server, &query()))
}

pub(crate) fn over_tcp(server: SocketAddr) -> String {
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

pub(crate) async fn blocking<T: Send + 'static>(ask: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(ask).await.unwrap()
}

/// What `/metrics` would show.
pub(crate) fn metrics(registry: &Registry) -> String {
    TextEncoder::new()
        .encode_to_string(&registry.gather())
        .unwrap()
}

/// Waits until the metrics have this line.
pub(crate) async fn until(registry: &Registry, line: &str) {
    let there = async {
        while !metrics(registry).lines().any(|shown| shown == line) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let there = tokio::time::timeout(Duration::from_secs(60), there).await;
    assert!(there.is_ok(), "no {line} in\n{}", metrics(registry));
}
