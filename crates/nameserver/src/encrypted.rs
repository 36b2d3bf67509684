//! The listeners of the encrypted transports: tasks of the server, as TCP is.

use std::io;
use std::net::SocketAddr;

use anyhow::Context;
use dns_transport::{Certificate, Server, Transport, https, quic, tcp, tls};

use crate::settings::Tls;
use crate::{Door, Starting};

/// Addresses that are bound, in the order of the configuration.
#[derive(Clone, Debug, Default)]
pub struct Encrypted {
    /// DNS over TLS.
    pub tls: Vec<SocketAddr>,
    /// DNS over HTTPS.
    pub https: Vec<SocketAddr>,
    /// DNS over QUIC.
    pub quic: Vec<SocketAddr>,
}

/// Binds each address and answers there. `serving` makes what serves one listener.
///
/// # Errors
/// When an address cannot be bound; says which.
pub(crate) fn listen(
    settings: &Tls,
    certificate: &Certificate,
    serving: impl Fn(Transport) -> Server<Door>,
    server: &mut Starting,
) -> anyhow::Result<Encrypted> {
    let mut bound = Encrypted::default();
    for address in &settings.listen_tls {
        let (listener, local) = bind_stream("TLS", *address)?;
        bound.tls.push(local);
        let (certificate, serving) = (certificate.clone(), serving(Transport::Tls));
        let ending = server.ending();
        server.task("DNS over TLS", async move {
            let until = async move { ending.wait().await };
            Ok(tls::serve(listener, serving, &certificate, until).await?)
        });
    }
    for address in &settings.listen_https {
        let (listener, local) = bind_stream("HTTPS", *address)?;
        bound.https.push(local);
        let (certificate, serving) = (certificate.clone(), serving(Transport::Https));
        let ending = server.ending();
        server.task("DNS over HTTPS", async move {
            let until = async move { ending.wait().await };
            Ok(https::serve(listener, serving, &certificate, https::PATH, until).await?)
        });
    }
    for address in &settings.listen_quic {
        let socket = quic::bind(*address);
        let socket = socket.with_context(|| cannot_bind("QUIC", *address))?;
        bound.quic.push(socket.local_addr()?);
        let (certificate, serving) = (certificate.clone(), serving(Transport::Quic));
        let ending = server.ending();
        server.task("DNS over QUIC", async move {
            let until = async move { ending.wait().await };
            Ok(quic::serve(socket, serving, &certificate, until).await?)
        });
    }
    Ok(bound)
}

fn bind_stream(
    transport: &str,
    address: SocketAddr,
) -> anyhow::Result<(tokio::net::TcpListener, SocketAddr)> {
    let bound = tcp::bind(address).and_then(|listener| {
        let local = listener.local_addr()?;
        io::Result::Ok((listener, local))
    });
    bound.with_context(|| cannot_bind(transport, address))
}

fn cannot_bind(transport: &str, address: SocketAddr) -> String {
    format!("{transport} {address} cannot be bound")
}
