//! Sends a query's octets over TLS, HTTPS and QUIC, so that two decoders can read what came back, as no program of others
//! shows it. Connections are kept, for all tests of the process: a handshake costs more than a hundred queries.

use std::{
    collections::HashMap,
    future::Future,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    Method, Request, StatusCode,
    client::conn::http2::{SendRequest, handshake},
    header::{ACCEPT, CONTENT_TYPE},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use quinn::{ClientConfig, Connection, Endpoint, crypto::rustls::QuicClientConfig};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    runtime::{Builder, Runtime},
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{
    case::Transport,
    certificate::{NAME, shown},
    exchange::PATIENCE,
};

/// Where a server answers over the encrypted transports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Addresses {
    /// DNS over TLS.
    pub tls: SocketAddr,
    /// DNS over HTTPS, at `/dns-query`.
    pub https: SocketAddr,
    /// DNS over QUIC.
    pub quic: SocketAddr,
}

/// The media type of messages (RFC 8484 §6).
pub const MEDIA_TYPE: &str = "application/dns-message";

/// Connections to one server.
#[derive(Default)]
struct Connections {
    tls: Option<TlsStream<TcpStream>>,
    https: Option<SendRequest<Full<Bytes>>>,
    quic: Option<Connection>,
}

type Kept = Arc<tokio::sync::Mutex<Connections>>;

/// One query there and one answer back, over a connection that is kept; made anew where the server has closed it.
///
/// # Errors
/// When there is no connection to be had, or it ends before the answer.
///
/// # Panics
/// When the transport is not encrypted.
pub fn exchange(at: Addresses, transport: Transport, query: &[u8]) -> io::Result<Vec<u8>> {
    run(async {
        let kept = connections(at);
        let mut kept = kept.lock().await;
        match within(ask(&mut kept, at, transport, query)).await {
            Ok(reply) => Ok(reply),
            Err(_) => {
                *kept = Connections::default();
                within(ask(&mut kept, at, transport, query)).await
            }
        }
    })
}

/// Runs what a client does.
pub fn run<T>(client: impl Future<Output = T>) -> T {
    static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
        let mut runtime = Builder::new_multi_thread();
        runtime.worker_threads(1).enable_all();
        runtime.build().expect("a runtime")
    });
    RUNTIME.block_on(client)
}

fn connections(at: Addresses) -> Kept {
    static ALL: LazyLock<Mutex<HashMap<Addresses, Kept>>> = LazyLock::new(Mutex::default);
    let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
    Arc::clone(all.entry(at).or_default())
}

async fn within<T>(step: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(PATIENCE, step).await?
}

async fn ask(
    kept: &mut Connections,
    at: Addresses,
    transport: Transport,
    query: &[u8],
) -> io::Result<Vec<u8>> {
    match transport {
        Transport::Tls => {
            if kept.tls.is_none() {
                kept.tls = Some(over_tls(at.tls, b"dot").await?);
            }
            let stream = kept.tls.as_mut().ok_or(io::ErrorKind::NotConnected)?;
            ask_stream(stream, query).await
        }
        Transport::Https | Transport::HttpsGet => {
            if kept.https.is_none() {
                kept.https = Some(over_https(at.https).await?);
            }
            let sender = kept.https.as_mut().ok_or(io::ErrorKind::NotConnected)?;
            ask_https(sender, transport == Transport::HttpsGet, query).await
        }
        Transport::Quic => {
            if kept.quic.is_none() {
                kept.quic = Some(over_quic(at.quic).await?);
            }
            let connection = kept.quic.as_ref().ok_or(io::ErrorKind::NotConnected)?;
            ask_quic(connection, query).await
        }
        Transport::Udp | Transport::Tcp => panic!("{transport:?} is not encrypted"),
    }
}

/// A connection over TLS that speaks this protocol (ALPN).
///
/// # Errors
/// When the server does not take it.
pub async fn over_tls(server: SocketAddr, protocol: &[u8]) -> io::Result<TlsStream<TcpStream>> {
    let connector = TlsConnector::from(Arc::new(shown().client(&[protocol])));
    let stream = TcpStream::connect(server).await?;
    stream.set_nodelay(true)?;
    let name = NAME.try_into().expect("a host's name");
    connector.connect(name, stream).await
}

/// One message there and one back, with their lengths in front.
///
/// # Errors
/// When the stream ends or fails.
pub async fn ask_stream(stream: &mut TlsStream<TcpStream>, query: &[u8]) -> io::Result<Vec<u8>> {
    stream.write_all(&framed(query)).await?;
    let mut reply = vec![0; stream.read_u16().await?.into()];
    stream.read_exact(&mut reply).await?;
    Ok(reply)
}

/// A message with its length in front (RFC 1035 §4.2.2).
pub fn framed(message: &[u8]) -> Vec<u8> {
    let length = u16::try_from(message.len()).expect("a message of 65,535 octets at most");
    [&length.to_be_bytes(), message].concat()
}

async fn over_https(server: SocketAddr) -> io::Result<SendRequest<Full<Bytes>>> {
    let stream = TokioIo::new(over_tls(server, b"h2").await?);
    let (sender, connection) = handshake(TokioExecutor::new(), stream)
        .await
        .map_err(io::Error::other)?;
    tokio::spawn(connection);
    Ok(sender)
}

async fn ask_https(
    sender: &mut SendRequest<Full<Bytes>>,
    by_get: bool,
    query: &[u8],
) -> io::Result<Vec<u8>> {
    let uri = format!("https://{NAME}/dns-query");
    let request = Request::builder().header(ACCEPT, MEDIA_TYPE);
    let request = if by_get {
        let encoded = BASE64_URL_SAFE_NO_PAD.encode(query);
        let request = request
            .method(Method::GET)
            .uri(format!("{uri}?dns={encoded}"));
        request.body(Full::default())
    } else {
        let request = request.method(Method::POST).uri(uri);
        let request = request.header(CONTENT_TYPE, MEDIA_TYPE);
        request.body(Full::from(query.to_vec()))
    };
    let request = request.map_err(io::Error::other)?;
    sender.ready().await.map_err(io::Error::other)?;
    let response = sender
        .send_request(request)
        .await
        .map_err(io::Error::other)?;
    assert_eq!(response.status(), StatusCode::OK, "{query:02x?}");
    assert_eq!(
        response
            .headers()
            .get(CONTENT_TYPE)
            .map(|kind| kind.as_bytes()),
        Some(MEDIA_TYPE.as_bytes())
    );
    let body = response
        .into_body()
        .collect()
        .await
        .map_err(io::Error::other)?;
    Ok(body.to_bytes().to_vec())
}

/// A connection over QUIC.
///
/// # Errors
/// When the server does not take it.
pub async fn over_quic(server: SocketAddr) -> io::Result<Connection> {
    over_quic_speaking(server, b"doq").await
}

/// A connection over QUIC that speaks this protocol (ALPN).
///
/// # Errors
/// When the server does not take it.
pub async fn over_quic_speaking(server: SocketAddr, protocol: &[u8]) -> io::Result<Connection> {
    let crypto = shown().client(&[protocol]);
    let crypto = QuicClientConfig::try_from(crypto).map_err(io::Error::other)?;
    let mut endpoint = Endpoint::client((Ipv4Addr::LOCALHOST, 0).into())?;
    endpoint.set_default_client_config(ClientConfig::new(Arc::new(crypto)));
    let connecting = endpoint.connect(server, NAME).map_err(io::Error::other)?;
    Ok(connecting.await?)
}

/// One query there and one answer back, on a stream of their own (RFC 9250 §4.2).
///
/// # Errors
/// When the connection ends, or something follows the answer.
pub async fn ask_quic(connection: &Connection, query: &[u8]) -> io::Result<Vec<u8>> {
    let (mut send, mut receive) = connection.open_bi().await?;
    send.write_all(&framed(query)).await?;
    send.finish().map_err(io::Error::other)?;
    let octets = receive
        .read_to_end(2 + 65_535)
        .await
        .map_err(io::Error::other)?;
    match octets.split_first_chunk::<2>() {
        Some((length, reply)) if usize::from(u16::from_be_bytes(*length)) == reply.len() => {
            Ok(reply.to_vec())
        }
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}
