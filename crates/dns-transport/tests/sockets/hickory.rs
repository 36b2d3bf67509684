//! hickory's clients ask our listeners and hickory-server's, with the same answerer behind both.

use std::net::SocketAddr;
use std::sync::Arc;

use dns_transport::{Answerer, Arrival, Certificate, Reply, StreamLimits, Transport, Worker};
use dns_transport::{https, quic, tls};
use hickory_proto::op::{DnsRequest, DnsRequestOptions, Message, Query};
use hickory_proto::rr::RecordType;
use hickory_server::net::h2::HttpsClientStream;
use hickory_server::net::quic::QuicClientStream;
use hickory_server::net::runtime::{Time, TokioRuntimeProvider};
use hickory_server::net::tls::tls_exchange;
use hickory_server::net::xfer::{DnsExchange, DnsHandle, FirstAnswer};
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::MessageResponseBuilder;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinSet;

use crate::running::{PATIENCE, Running, answered_by};
use crate::telling::Telling;
use crate::trust::{NAME, client, made};

/// A client's connection, which works as long as its provider lives.
#[derive(Clone)]
struct Client {
    exchange: DnsExchange<TokioRuntimeProvider>,
    _provider: TokioRuntimeProvider,
}

/// Where a server answers over TLS, HTTPS and QUIC.
struct Listeners([SocketAddr; 3]);

impl Listeners {
    /// A connection of hickory's to each of them.
    async fn connect(&self, trusted: &CertificateDer<'static>) -> [Client; 3] {
        let provider = TokioRuntimeProvider::new();
        let config = |protocol: &[u8]| client(trusted, &[&rustls::version::TLS13], &[protocol]);
        let [at_tls, at_https, at_quic] = self.0;
        let (name, many) = (NAME.try_into().unwrap(), Some(100));
        let over_tls = tls_exchange(
            at_tls,
            name,
            config(b"dot"),
            PATIENCE,
            many,
            provider.clone(),
        );
        let https = HttpsClientStream::builder(Arc::new(config(b"h2")), provider.clone());
        let over_https = https.exchange(at_https, NAME.into(), https::PATH.into());
        let quic = QuicClientStream::builder().crypto_config(config(b"doq"));
        let stream = quic.build(at_quic, NAME.into()).await.unwrap();
        let (over_quic, background) = DnsExchange::from_stream(stream);
        tokio::spawn(background);
        let all = [
            over_tls.await.unwrap(),
            over_https.await.unwrap(),
            over_quic,
        ];
        all.map(|exchange| Client {
            exchange,
            _provider: provider.clone(),
        })
    }
}

async fn ask(client: &Client, name: &str) -> Message {
    let question = Query::query(name.parse().unwrap(), RecordType::TXT);
    let mut options = DnsRequestOptions::default();
    options.use_edns = true;
    let request = DnsRequest::from_query(question, options);
    let answer = client.exchange.send(request).first_answer().await.unwrap();
    let mut message = Message::from_vec(answer.as_buffer()).unwrap();
    // Of the client's choice.
    message.metadata.id = 0;
    message
}

/// Our listeners. They stop when the returned are dropped.
fn ours(chain: &str, key: &str) -> (Listeners, [Running; 3]) {
    let certificate = Certificate::from_pem(chain.as_bytes(), key.as_bytes()).unwrap();
    let limits = StreamLimits::default;
    let [for_tls, for_https, for_quic] = [(); 3].map(|()| certificate.clone());
    let over_tls = Running::start(limits(), |listener, server, shutdown| async move {
        tls::serve(listener, answered_by(server, Telling), &for_tls, shutdown).await
    });
    let over_https = Running::start(limits(), |listener, server, shutdown| async move {
        let server = answered_by(server, Telling);
        https::serve(listener, server, &for_https, https::PATH, shutdown).await
    });
    let socket = quic::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let local = socket.local_addr().unwrap();
    let over_quic = Running::start_at(local, limits(), |server, shutdown| async move {
        quic::serve(socket, answered_by(server, Telling), &for_quic, shutdown).await
    });
    let running = [over_tls, over_https, over_quic];
    (Listeners(running.each_ref().map(|one| one.local)), running)
}

/// hickory-server's listeners, until the server is dropped.
async fn theirs(chain: &str, key: &str) -> (Listeners, hickory_server::Server<Adapter>) {
    let chain = CertificateDer::from_pem_slice(chain.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let certified = CertifiedKey::from_der(vec![chain], key, &ring::default_provider()).unwrap();
    let shown = Arc::new(SingleCertAndKey::from(certified));
    let mut server = hickory_server::Server::new(Adapter);
    let over_tls = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let over_https = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let over_quic = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let at = [
        over_tls.local_addr().unwrap(),
        over_https.local_addr().unwrap(),
        over_quic.local_addr().unwrap(),
    ];
    server
        .register_tls_listener(over_tls, PATIENCE, shown.clone())
        .unwrap();
    let path = https::PATH.to_owned();
    server
        .register_https_listener(over_https, PATIENCE, shown.clone(), None, path)
        .unwrap();
    server
        .register_quic_listener(over_quic, PATIENCE, shown)
        .unwrap();
    (Listeners(at), server)
}

/// Takes the answerer's octets apart, for hickory-server to put together again.
struct Adapter;

#[async_trait::async_trait]
impl RequestHandler for Adapter {
    async fn handle_request<R: ResponseHandler, T: Time>(
        &self,
        request: &Request,
        mut respond: R,
    ) -> ResponseInfo {
        let from = Arrival {
            source: request.src(),
            local: request.src(),
            transport: Transport::Quic,
        };
        let mut octets = vec![0; 65_535];
        let Reply::Send(length) = Telling
            .worker()
            .answer(request.as_slice(), &from, &mut octets)
        else {
            panic!("every query of this test has an answer");
        };
        let answer = Message::from_vec(&octets[..length]).unwrap();
        let mut builder = MessageResponseBuilder::from_message_request(request);
        if let Some(edns) = &answer.edns {
            builder.edns(edns);
        }
        let response = builder.build(
            answer.metadata,
            &answer.answers,
            &answer.authorities,
            [],
            &answer.additionals,
        );
        respond.send_response(response).await.unwrap()
    }
}

#[tokio::test]
async fn the_same_answers_come_through_our_listeners_and_hickorys() {
    let (chain, key, trusted) = made();
    let (at_ours, _running) = ours(&chain, &key);
    let (at_theirs, _server) = theirs(&chain, &key).await;
    let to_ours = at_ours.connect(&trusted).await;
    let to_theirs = at_theirs.connect(&trusted).await;
    for (ours, theirs) in to_ours.iter().zip(&to_theirs) {
        for name in ["big.test.", "nothing.test.", "broken.test.", "BIG.Test."] {
            assert_eq!(ask(ours, name).await, ask(theirs, name).await, "{name}");
        }
    }
}

#[tokio::test]
async fn hickorys_clients_may_ask_many_at_once() {
    let (chain, key, trusted) = made();
    let (at, running) = ours(&chain, &key);
    for client in at.connect(&trusted).await {
        let mut asked = JoinSet::new();
        for number in 0..300 {
            // More than its client queues.
            if asked.len() == 16 {
                asked.join_next().await.unwrap().unwrap();
            }
            let client = client.clone();
            asked.spawn(async move {
                let name = format!("n{number}.test.");
                let answer = ask(&client, &name).await;
                assert_eq!(answer.answers[0].name.to_string(), name);
            });
        }
        while let Some(done) = asked.join_next().await {
            done.unwrap();
        }
    }
    for one in running {
        let totals = one.stop().await;
        assert_eq!((totals.answered, totals.accepted), (300, 1));
    }
}
