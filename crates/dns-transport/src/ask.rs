//! A question to one server over UDP, asked again until it is answered (RFC 1996 §3.6 for NOTIFY).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};

/// Longest answer that is of interest.
const ANSWER_MAX: usize = 4096;
/// How long to wait after each sending: five times in a minute.
pub const WAITS: [Duration; 5] = [
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
    Duration::from_secs(16),
    Duration::from_secs(30),
];

/// Sends `message` and waits for a datagram that `read` makes something of; once for each of `waits`.
/// `None` if nobody answers: an unreachable server is one that may come back.
///
/// # Errors
/// When there is no socket to send from.
pub async fn ask<T>(
    server: SocketAddr,
    source: Option<IpAddr>,
    message: &[u8],
    waits: &[Duration],
    mut read: impl FnMut(&[u8]) -> Option<T>,
) -> io::Result<Option<T>> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((source.unwrap_or(any), 0)).await?;
    socket.connect(server).await?;
    let mut datagram = [0; ANSWER_MAX];
    for wait in waits {
        let until = Instant::now() + *wait;
        // What the network says against it (no route, port closed) may be over before the next time.
        let _ = socket.send(message).await;
        while let Ok(received) = timeout_at(until, socket.recv(&mut datagram)).await {
            let Ok(length) = received else {
                tokio::time::sleep_until(until).await;
                break;
            };
            if let Some(answer) = datagram.get(..length).and_then(&mut read) {
                return Ok(Some(answer));
            }
        }
    }
    Ok(None)
}
