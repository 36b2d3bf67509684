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
const TRANSPORTS: [&str; 3] = ["tls", "https", "quic"];

/// The files of a certificate.
struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    fn new() -> Self {
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
    fn renew(&self) -> String {
        let (chain, key) = made();
        self.write("chain", &chain);
        self.write("key", &key);
        chain
    }

    fn settings(&self) -> Settings {
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
struct Client {
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
async fn connect(transport: &str, at: &Encrypted, trusted: &str) -> Result<Client, NetError> {
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
async fn ask(client: &Client) -> String {
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
