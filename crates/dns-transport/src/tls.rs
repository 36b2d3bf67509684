//! DNS over TLS (RFC 7858): the framed conversation of TCP inside TLS 1.2 or 1.3.

use std::future::Future;
use std::io;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::accept::{self, End, Guest, Server};
use crate::certificate::Certificate;
use crate::{Answerer, Transport, framed};

/// The name of the protocol in a handshake (RFC 7858 §3.1, registered later). Clients that name none are served as well.
const PROTOCOL: &[u8] = b"dot";

/// Serves a listener of [`crate::tcp::bind`] until `shutdown` resolves; then open connections finish what they have read.
///
/// # Errors
/// When the listener has no address, or TLS cannot be set up.
pub async fn serve<A: Answerer>(
    listener: TcpListener,
    server: Server<A>,
    certificate: &Certificate,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    let acceptor = acceptor(certificate, &[PROTOCOL])?;
    let converse = move |stream, mut guest| {
        let acceptor = acceptor.clone();
        async move {
            let end = match shake_hands(&acceptor, stream, &mut guest).await {
                Ok(stream) => framed::converse(stream, &mut guest).await,
                Err(end) => end,
            };
            guest.tally.end(end);
        }
    };
    accept::serve(listener, server, Transport::Tls, shutdown, converse).await
}

/// What shakes hands for these protocols.
pub(crate) fn acceptor(certificate: &Certificate, protocols: &[&[u8]]) -> io::Result<TlsAcceptor> {
    let config = certificate.server_config(rustls::ALL_VERSIONS, protocols);
    Ok(TlsAcceptor::from(Arc::new(
        config.map_err(io::Error::other)?,
    )))
}

pub(crate) async fn shake_hands<W>(
    acceptor: &TlsAcceptor,
    stream: TcpStream,
    guest: &mut Guest<W>,
) -> Result<TlsStream<TcpStream>, End> {
    tokio::select! {
        () = guest.closing.wait() => Err(End::Closed),
        shaken = timeout(guest.limits.handshake, acceptor.accept(stream)) => match shaken {
            Err(_) => Err(End::TimedOut),
            Ok(shaken) => shaken.map_err(|_| End::HandshakeFailed),
        },
    }
}
