//! The client of a zone transfer: one request over TCP or TLS (RFC 9103), message after message back.
//!
//! Every step has a deadline and the whole a bound in time and octets, because a primary may be anybody.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, InvalidDnsNameError, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// The name of the protocol in a handshake (RFC 9103 §7.1).
const PROTOCOL: &[u8] = b"dot";
/// Octets of the length in front of a message (RFC 1035 §4.2.2).
const PREFIX: usize = 2;

/// A primary, and how it is reached.
#[derive(Clone, Debug)]
pub struct Primary {
    /// Its address and port.
    pub address: SocketAddr,
    /// The address to ask from; any that fits if there is none.
    pub source: Option<IpAddr>,
    /// TLS, and who the primary has to be; plain TCP without.
    pub tls: Option<Identity>,
}

/// Whom a primary has to prove to be.
#[derive(Clone)]
pub struct Identity {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identity({:?})", self.name)
    }
}

/// Why an identity cannot be checked.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// It is neither a domain name nor an address.
    #[error("the name is no domain name and no address")]
    Name(#[from] InvalidDnsNameError),
    /// The text is no PEM.
    #[error("no certificates in PEM form")]
    Pem(#[from] pem::Error),
    /// A certificate cannot be trusted, or there is none.
    #[error("{0}")]
    Certificate(#[from] rustls::Error),
}

impl Identity {
    /// Someone who has this name from one of these authorities, whose certificates are PEM text.
    ///
    /// # Errors
    /// When the name or the certificates make no sense.
    pub fn new(name: &str, authorities: &[u8]) -> Result<Self, IdentityError> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(authorities) {
            roots.add(certificate?)?;
        }
        if roots.is_empty() {
            return Err(pem::Error::NoItemsFound.into());
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            // RFC 9103 §7.1 wants TLS 1.3.
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        Ok(Self {
            config: Arc::new(config),
            name: ServerName::try_from(name.to_owned())?,
        })
    }
}

/// How long a primary may take, and how much it may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// To connect, TLS included.
    pub connect: Duration,
    /// From one message to the next.
    pub message: Duration,
    /// For everything.
    pub total: Duration,
    /// Octets of all messages.
    pub octets: u64,
}

impl Default for Patience {
    /// Ten seconds for each step, an hour and four gigabytes in all.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            message: Duration::from_secs(10),
            total: Duration::from_secs(3_600),
            octets: 4 << 30,
        }
    }
}

/// Why a transfer was broken off.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// No connection.
    #[error("no connection: {0}")]
    Connect(io::Error),
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Io(#[from] io::Error),
    /// The primary closed the connection before the end.
    #[error("the primary closed the connection")]
    Closed,
    /// The primary took too long.
    #[error("the primary takes too long")]
    TooSlow,
    /// The primary sent more than it may.
    #[error("the primary sends too much")]
    TooMuch,
}

/// Sends a request and gives every message of the answer to `take`, until that breaks with the end.
///
/// # Errors
/// When the connection, or patience, ends before.
pub async fn fetch<T>(
    primary: &Primary,
    patience: Patience,
    request: &[u8],
    take: impl FnMut(&[u8]) -> ControlFlow<T>,
) -> Result<T, Broken> {
    let run = async {
        let connecting = timeout(patience.connect, connect(primary)).await;
        let stream = connecting.map_err(|_| Broken::TooSlow)?;
        let stream = stream.map_err(Broken::Connect)?;
        let Some(identity) = &primary.tls else {
            return converse(stream, patience, request, take).await;
        };
        let connector = TlsConnector::from(Arc::clone(&identity.config));
        let shaking = connector.connect(identity.name.clone(), stream);
        let shaken = timeout(patience.connect, shaking).await;
        let stream = shaken.map_err(|_| Broken::TooSlow)?;
        let stream = stream.map_err(Broken::Connect)?;
        converse(stream, patience, request, take).await
    };
    let done = timeout(patience.total, run).await;
    done.unwrap_or(Err(Broken::TooSlow))
}

async fn connect(primary: &Primary) -> io::Result<TcpStream> {
    let socket = match primary.address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    if let Some(source) = primary.source {
        socket.bind(SocketAddr::new(source, 0))?;
    }
    let stream = socket.connect(primary.address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn converse<T>(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    patience: Patience,
    request: &[u8],
    mut take: impl FnMut(&[u8]) -> ControlFlow<T>,
) -> Result<T, Broken> {
    let length = u16::try_from(request.len()).map_err(|_| Broken::TooMuch)?;
    let framed = [&length.to_be_bytes(), request].concat();
    let written = timeout(patience.message, async {
        stream.write_all(&framed).await?;
        stream.flush().await
    });
    written.await.map_err(|_| Broken::TooSlow)??;
    let (mut message, mut octets) = (Vec::new(), 0_u64);
    loop {
        let read = timeout(patience.message, read_frame(&mut stream, &mut message));
        if !read.await.map_err(|_| Broken::TooSlow)?? {
            return Err(Broken::Closed);
        }
        octets += message.len() as u64;
        if octets > patience.octets {
            return Err(Broken::TooMuch);
        }
        if let ControlFlow::Break(end) = take(&message) {
            return Ok(end);
        }
    }
}

/// Reads one message; false if the stream ends instead, in its midst or before.
async fn read_frame(
    stream: &mut (impl AsyncRead + Unpin),
    message: &mut Vec<u8>,
) -> io::Result<bool> {
    let mut prefix = [0; PREFIX];
    let whole = async {
        stream.read_exact(&mut prefix).await?;
        message.resize(usize::from(u16::from_be_bytes(prefix)), 0);
        stream.read_exact(message).await
    };
    match whole.await {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}
