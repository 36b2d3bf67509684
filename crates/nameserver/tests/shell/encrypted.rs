//! The encrypted transports of a server, asked by hickory's clients.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::{DnsRequest, DnsRequestOptions, Message, Query, ResponseCode};
use hickory_proto::rr::RecordType;
use hickory_server::net::NetError;
use hickory_server::net::h2::HttpsClientStream;
use hickory_server::net::quic::QuicClientStream;
use hickory_server::net::runtime::TokioRuntimeProvider;
use hickory_server::net::tls::tls_exchange;
use hickory_server::net::xfer::{DnsExchange, DnsHandle, FirstAnswer};
use nameserver::settings::{PemPair, Tls};
use nameserver::{Encrypted, Settings};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore};
use service::shutdown;

use crate::scene::{LOOPBACK, open, start, until};

const NAME: &str = "ns.test";
const PATIENCE: Duration = Duration::from_secs(60);
const ADOPTED: &str = "signpost_reload_total{result=\"adopted\",source=\"tls\"} 1";
pub(crate) const TRANSPORTS: [&str; 3] = ["tls", "https", "quic"];

/// The files of a certificate.
pub(crate) struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Aside, then over the old one; the key's mode is its owner's business alone.
    fn write(&self, name: &str, text: &str) {
        service::secret::replace(&self.path(name), text).unwrap();
    }

    /// A new pair in place, and its certificate in PEM.
    pub(crate) fn renew(&self) -> String {
        let (chain, key) = made();
        self.write("chain", &chain);
        self.write("key", &key);
        chain
    }

    pub(crate) fn settings(&self) -> Settings {
        let pair = PemPair {
            certificate: self.path("chain"),
            key: self.path("key"),
        };
        Settings {
            workers: 1,
            tls: Tls {
                pair: Some(pair),
                listen_tls: vec![LOOPBACK],
                listen_https: vec![LOOPBACK],
                listen_quic: vec![LOOPBACK],
            },
            ..Settings::default()
        }
    }
}

/// A certificate for [`NAME`] and its key, in PEM.
fn made() -> (String, String) {
    let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

/// A client's connection, which works as long as its provider lives.
pub(crate) struct Client {
    exchange: DnsExchange<TokioRuntimeProvider>,
    _provider: TokioRuntimeProvider,
}

fn config(trusted: &str, protocol: &[u8]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    let trusted = CertificateDer::from_pem_slice(trusted.as_bytes()).unwrap();
    roots.add(trusted).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&TLS13]);
    let config = config.unwrap().with_root_certificates(roots);
    let mut config = config.with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    config
}

/// A new connection, if the server shows this certificate.
pub(crate) async fn connect(
    transport: &str,
    at: &Encrypted,
    trusted: &str,
) -> Result<Client, NetError> {
    let provider = TokioRuntimeProvider::new();
    let shared = provider.clone();
    let exchange = match transport {
        "tls" => {
            let (name, config) = (NAME.try_into().unwrap(), config(trusted, b"dot"));
            tls_exchange(at.tls[0], name, config, PATIENCE, Some(100), shared).await?
        }
        "https" => {
            let config = Arc::new(config(trusted, b"h2"));
            let https = HttpsClientStream::builder(config, shared);
            let path = "/dns-query".into();
            https.exchange(at.https[0], NAME.into(), path).await?
        }
        _ => {
            let quic = QuicClientStream::builder().crypto_config(config(trusted, b"doq"));
            let stream = quic.build(at.quic[0], NAME.into()).await?;
            let (exchange, background) = DnsExchange::from_stream(stream);
            tokio::spawn(background);
            exchange
        }
    };
    Ok(Client {
        exchange,
        _provider: provider,
    })
}

/// The address of `www.example.` over a connection.
pub(crate) async fn ask(client: &Client) -> String {
    let question = Query::query("www.example.".parse().unwrap(), RecordType::A);
    let request = DnsRequest::from_query(question, DnsRequestOptions::default());
    let answer = client.exchange.send(request).first_answer().await.unwrap();
    let message = Message::from_vec(answer.as_buffer()).unwrap();
    assert_eq!(message.metadata.response_code, ResponseCode::NoError);
    message.answers[0].data.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_encrypted_transport_answers_and_is_counted_by_its_name() {
    let files = Files::new();
    let chain = files.renew();
    let (trigger, shutdown) = shutdown::channel();
    let (server, _, registry) = start(files.settings(), shutdown);
    let running = open(server);
    for transport in TRANSPORTS {
        let client = connect(transport, &running.encrypted, &chain).await;
        assert_eq!(ask(&client.unwrap()).await, "192.0.2.2");
        for line in [
            format!(
                "signpost_dns_requests_total{{type=\"A\",transport=\"{transport}\",family=\"ipv4\"}} 1"
            ),
            format!("signpost_dns_connections_total{{transport=\"{transport}\"}} 1"),
        ] {
            until(&registry, &line).await;
        }
    }
    trigger.fire();
    running.wait().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_comes_later_is_taken_up_and_until_then_no_handshake_succeeds() {
    let files = Files::new();
    let (trigger, shutdown) = shutdown::channel();
    let (server, _, registry) = start(files.settings(), shutdown);
    let running = open(server);
    let (other, _) = made();
    for transport in TRANSPORTS {
        let refused = connect(transport, &running.encrypted, &other).await;
        assert!(refused.is_err(), "{transport}");
        let line = format!(
            "signpost_dns_transport_total{{transport=\"{transport}\",cause=\"handshake_failed\"}} 1"
        );
        until(&registry, &line).await;
    }
    let chain = files.renew();
    until(&registry, ADOPTED).await;
    for transport in TRANSPORTS {
        let client = connect(transport, &running.encrypted, &chain).await;
        assert_eq!(ask(&client.unwrap()).await, "192.0.2.2");
    }
    trigger.fire();
    running.wait().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn open_connections_outlive_their_certificate_and_new_ones_get_the_new() {
    let files = Files::new();
    let first = files.renew();
    let (trigger, shutdown) = shutdown::channel();
    let (server, _, registry) = start(files.settings(), shutdown);
    let running = open(server);
    let at = running.encrypted.clone();
    let mut open = Vec::new();
    for transport in TRANSPORTS {
        open.push(connect(transport, &at, &first).await.unwrap());
    }
    let second = files.renew();
    until(&registry, &ADOPTED.replace(" 1", " 2")).await;
    files.write("key", "half a k");
    until(&registry, "signpost_reload_refused{source=\"tls\"} 1").await;
    for (transport, client) in TRANSPORTS.into_iter().zip(&open) {
        assert_eq!(ask(client).await, "192.0.2.2", "{transport}");
        assert!(
            connect(transport, &at, &first).await.is_err(),
            "{transport}"
        );
        let client = connect(transport, &at, &second).await.unwrap();
        assert_eq!(ask(&client).await, "192.0.2.2", "{transport}");
    }
    trigger.fire();
    running.wait().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_without_a_certificate_do_not_start() {
    let mut settings = Files::new().settings();
    settings.tls.pair = None;
    let registry = service::metrics::registry("test");
    let error = nameserver::Shell::new(settings, &registry).err().unwrap();
    assert_eq!(
        error.to_string(),
        "`listen_tls` needs a `certificate` and its `key`"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_taken_is_named_with_its_transport() {
    for transport in TRANSPORTS {
        let files = Files::new();
        let (_trigger, shutdown) = shutdown::channel();
        let (stream, datagram) = (
            std::net::TcpListener::bind(LOOPBACK).unwrap(),
            std::net::UdpSocket::bind(LOOPBACK).unwrap(),
        );
        let mut settings = files.settings();
        let tls = &mut settings.tls;
        let (list, taken) = match transport {
            "tls" => (&mut tls.listen_tls, stream.local_addr()),
            "https" => (&mut tls.listen_https, stream.local_addr()),
            _ => (&mut tls.listen_quic, datagram.local_addr()),
        };
        let taken = taken.unwrap();
        *list = vec![taken];
        let registry = service::metrics::registry("test");
        let shell = nameserver::Shell::new(settings, &registry).unwrap();
        let error = format!("{:#}", shell.listen(shutdown).unwrap_err());
        let expected = format!("{} {taken} cannot be bound: ", transport.to_uppercase());
        assert!(error.starts_with(&expected), "{error}");
    }
}
