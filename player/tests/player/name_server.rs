//! A tiny name server for tests: real UDP and TCP sockets on port 0, a closure for the zone.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hickory_proto::op::{Message, MessageType, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, SRV};
use hickory_proto::rr::{Name, RData, Record};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

/// What the closure may do with a query; `false` as an answer means silence.
pub(crate) type Zone = dyn Fn(&Query, &mut Message, bool) -> bool + Send + Sync;

/// A running name server.
pub(crate) struct NameServer {
    /// Same port for UDP and TCP.
    pub(crate) address: SocketAddr,
    /// Queries seen so far.
    pub(crate) queries: Arc<AtomicUsize>,
}

/// Serves `zone` until the test's runtime ends. The closure's last argument says whether it is TCP.
pub(crate) async fn name_server(
    zone: impl Fn(&Query, &mut Message, bool) -> bool + Send + Sync + 'static,
) -> NameServer {
    let zone: Arc<Zone> = Arc::new(zone);
    let queries = Arc::new(AtomicUsize::new(0));
    let (udp, tcp) = both_sockets().await;
    let address = udp.local_addr().unwrap();
    tokio::spawn(serve_udp(udp, zone.clone(), queries.clone()));
    tokio::spawn(serve_tcp(tcp, zone, queries.clone()));
    NameServer { address, queries }
}

async fn both_sockets() -> (UdpSocket, TcpListener) {
    loop {
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()).await {
            return (udp, tcp);
        }
    }
}

async fn serve_udp(socket: UdpSocket, zone: Arc<Zone>, queries: Arc<AtomicUsize>) {
    let mut buffer = [0; 4096];
    while let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
        queries.fetch_add(1, Ordering::Relaxed);
        if let Some(answer) = respond(&*zone, &buffer[..length], false) {
            socket.send_to(&answer, peer).await.unwrap();
        }
    }
}

async fn serve_tcp(listener: TcpListener, zone: Arc<Zone>, queries: Arc<AtomicUsize>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let (zone, queries) = (zone.clone(), queries.clone());
        tokio::spawn(async move {
            while let Ok(length) = stream.read_u16().await {
                let mut query = vec![0; usize::from(length)];
                stream.read_exact(&mut query).await.unwrap();
                queries.fetch_add(1, Ordering::Relaxed);
                let Some(answer) = respond(&*zone, &query, true) else {
                    continue;
                };
                stream
                    .write_u16(u16::try_from(answer.len()).unwrap())
                    .await
                    .unwrap();
                stream.write_all(&answer).await.unwrap();
            }
        });
    }
}

fn respond(zone: &Zone, query: &[u8], tcp: bool) -> Option<Vec<u8>> {
    let query = Message::from_vec(query).ok()?;
    let question = query.queries.first()?.clone();
    let mut answer = Message::new(
        query.metadata.id,
        MessageType::Response,
        query.metadata.op_code,
    );
    answer.metadata.authoritative = true;
    answer.add_query(question.clone());
    zone(&question, &mut answer, tcp).then(|| answer.to_vec().unwrap())
}

/// A name with the final dot.
pub(crate) fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

/// An SRV record for the question's name.
pub(crate) fn srv(question: &Query, priority: u16, weight: u16, port: u16, target: &str) -> Record {
    let srv = SRV::new(priority, weight, port, name(target));
    Record::from_rdata(question.name().clone(), 30, RData::SRV(srv))
}

/// An address record for the question's name, of the family of `address`.
pub(crate) fn address(question: &Query, address: &str) -> Record {
    let rdata = match address.parse().unwrap() {
        std::net::IpAddr::V4(v4) => RData::A(A(v4)),
        std::net::IpAddr::V6(v6) => RData::AAAA(AAAA(v6)),
    };
    Record::from_rdata(question.name().clone(), 30, rdata)
}

/// Sets the response code and says "send it".
pub(crate) fn code(answer: &mut Message, code: ResponseCode) -> bool {
    answer.metadata.response_code = code;
    true
}
