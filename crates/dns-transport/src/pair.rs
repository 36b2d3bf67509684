//! UDP and TCP on one address, as a name server has to have them (RFC 7766 §5).

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpListener;

use crate::proxy::Trusted;
use crate::udp::{self, UdpHandle};
use crate::{Answerer, tcp};

/// How often to look for a port that is free for both, when any will do.
const PORT_TRIES: usize = 20;

/// Starts the UDP workers of an address and binds its TCP listener, for [`tcp::serve`]; port 0 takes a port that is
/// free for both. Needs a running tokio runtime.
///
/// # Errors
/// When the address cannot be bound; says for which of the two.
pub fn bind<A: Answerer>(
    listen: SocketAddr,
    workers: usize,
    trusted: &Trusted,
    answerer: &A,
) -> io::Result<(UdpHandle, TcpListener)> {
    let mut tries = if listen.port() == 0 { PORT_TRIES } else { 1 };
    loop {
        let handle = udp::spawn(listen, workers, trusted, answerer)
            .map_err(|error| named("UDP", listen, &error))?;
        match tcp::bind(handle.local()) {
            Ok(listener) => return Ok((handle, listener)),
            Err(error) if tries <= 1 => return Err(named("TCP", listen, &error)),
            Err(_) => tries -= 1,
        }
    }
}

fn named(transport: &str, listen: SocketAddr, error: &io::Error) -> io::Error {
    let text = format!("{transport} {listen} cannot be bound: {error}");
    io::Error::new(error.kind(), text)
}
