//! DNS over QUIC (RFC 9250): one query a stream, side by side; transfers as several messages on one.
//!
//! There is no 0-RTT, whose data could be replayed. Once half the places are taken, newcomers prove their address first
//! (RFC 9000 §8.1.2); until the handshake is done no place is counted against an address, as anybody can forge it.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

use quinn::crypto::rustls::QuicServerConfig;
use quinn::{
    Connecting, Connection, ConnectionError, Endpoint, EndpointConfig, ReadExactError, RecvStream,
    SendStream, ServerConfig, TokioRuntime, TransportConfig, VarInt,
};
use rustls::version::TLS13;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use crate::accept::{Closing, End, Guest, Server, StreamLimits, Tally};
use crate::certificate::Certificate;
use crate::exchange::{Answer, Exchange, LONG_QUERY, STREAM_WINDOW};
use crate::framed::{MESSAGE_MAX, PREFIX};
use crate::seats::{Seat, Seats};
use crate::{Answerer, Answers, Arrival, Transport, Worker, message};

/// The name of the protocol in a handshake (RFC 9250 §4.1.1).
const PROTOCOL: &[u8] = b"doq";
/// What we have sent and the client has not confirmed, over all streams of a connection.
const SEND_WINDOW: u64 = 256 * 1024;
/// Receive buffer asked for, as for UDP.
const RECEIVE_BUFFER: usize = 4 << 20;

/// RFC 9250 §8.4.
const NO_ERROR: VarInt = VarInt::from_u32(0);
const PROTOCOL_ERROR: VarInt = VarInt::from_u32(2);
const EXCESSIVE_LOAD: VarInt = VarInt::from_u32(4);

/// Binds a socket for [`serve`] (port 0 allowed).
///
/// # Errors
/// When the address cannot be bound.
pub fn bind(listen: SocketAddr) -> io::Result<UdpSocket> {
    let domain = Domain::for_address(listen);
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    if listen.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // The kernel gives what `net.core.rmem_max` allows; less still serves.
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
    socket.bind(&listen.into())?;
    Ok(socket.into())
}

/// Serves a bound socket until `shutdown` resolves; then queries that have begun are finished. Balancers are not asked
/// to introduce their clients: the PROXY protocol has no place for it in QUIC.
///
/// # Errors
/// When TLS cannot be set up, outside of a tokio runtime, or when the socket breaks.
pub async fn serve<A: Answerer>(
    socket: UdpSocket,
    server: Server<A>,
    certificate: &Certificate,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    let (limits, counters) = (server.limits, server.counters);
    let config = config(certificate, &limits).map_err(io::Error::other)?;
    let runtime = Arc::new(TokioRuntime);
    let endpoint = Endpoint::new(EndpointConfig::default(), Some(config), socket, runtime)?;
    let local = endpoint.local_addr()?;
    let (closing, closed) = watch::channel(false);
    let seats = Seats::new(limits.connections_max, limits.connections_per_source_max);
    let mut connections = JoinSet::new();
    let mut number = 0;
    tokio::pin!(shutdown);
    loop {
        let incoming = tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            incoming = endpoint.accept() => incoming.ok_or(io::ErrorKind::BrokenPipe)?,
        };
        if !incoming.remote_address_validated() && seats.taken() >= seats.max() / 2 {
            counters.accept.retried.add(1);
            // Fails only for those that have tried again already.
            let _ = incoming.retry();
            continue;
        }
        counters.accept.accepted.add(1);
        number += 1;
        let tally = Tally::new(&counters, number);
        let arrival = Arrival {
            source: incoming.remote_address(),
            local: incoming
                .local_ip()
                .map_or(local, |ip| (ip, local.port()).into()),
            transport: Transport::Quic,
        };
        let Ok(connecting) = incoming.accept() else {
            tally.end(End::HandshakeFailed);
            continue;
        };
        let (seat, evicted) = seats.take();
        counters.accept.evicted.add_shared(u64::from(evicted));
        let place = seat.place();
        let guest = Guest {
            worker: server.answerer.worker(),
            arrival,
            limits,
            seat,
            tally,
            closing: Closing::new(&closed),
        };
        let task = connections.spawn(converse(connecting, guest));
        Seat::attach(&seats, place, task);
    }
    let deadline = Instant::now() + limits.drain;
    endpoint.set_server_config(None);
    let _ = closing.send(true);
    let drained = async { while connections.join_next().await.is_some() {} };
    if timeout_at(deadline, drained).await.is_err() {
        connections.shutdown().await;
    }
    // The last words are sent, and repeated if lost.
    let _ = timeout_at(deadline, endpoint.wait_idle()).await;
    Ok(())
}

fn config(
    certificate: &Certificate,
    limits: &StreamLimits,
) -> Result<ServerConfig, Box<dyn std::error::Error + Send + Sync>> {
    let crypto = QuicServerConfig::try_from(certificate.server_config(&[&TLS13], &[PROTOCOL])?)?;
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(limits.requests_max.into())
        // One, to see that it is opened, which is an error (RFC 9250 §4.3.3).
        .max_concurrent_uni_streams(VarInt::from_u32(1))
        .stream_receive_window(STREAM_WINDOW.into())
        .receive_window((STREAM_WINDOW * (limits.requests_max + 1)).into())
        .send_window(SEND_WINDOW)
        .max_idle_timeout(Some(limits.idle.try_into()?))
        .datagram_receive_buffer_size(None);
    let mut config = ServerConfig::with_crypto(Arc::new(crypto));
    config.transport_config(Arc::new(transport));
    Ok(config)
}

/// A connection from its handshake to its end.
async fn converse<W: Worker>(connecting: Connecting, mut guest: Guest<W>) {
    let connection = tokio::select! {
        () = guest.closing.wait() => return,
        shaken = timeout(guest.limits.handshake, connecting) => match shaken {
            Err(_) => return guest.tally.end(End::TimedOut),
            Ok(Err(_)) => return guest.tally.end(End::HandshakeFailed),
            Ok(Ok(connection)) => connection,
        },
    };
    guest.claim_seat();
    let mut closing = guest.closing.clone();
    let farewell = Farewell {
        connection: &connection,
        closing: closing.clone(),
    };
    let exchange = Arc::new(Exchange::new(guest));
    let end = attend(&connection, &exchange, &mut closing).await;
    let code = match end {
        End::Malformed => PROTOCOL_ERROR,
        _ => NO_ERROR,
    };
    connection.close(code, b"");
    drop(farewell);
    exchange.tally.end(end);
}

/// Tells a client why, if its connection is cut off: the first reason given is the one that counts.
struct Farewell<'c> {
    connection: &'c Connection,
    closing: Closing,
}

impl Drop for Farewell<'_> {
    fn drop(&mut self) {
        let code = if self.closing.is_set() {
            NO_ERROR
        } else {
            EXCESSIVE_LOAD
        };
        self.connection.close(code, b"");
    }
}

/// Answers stream after stream until something ends the connection.
async fn attend<W: Worker>(
    connection: &Connection,
    exchange: &Arc<Exchange<W>>,
    closing: &mut Closing,
) -> End {
    let mut streams = JoinSet::new();
    let mut stopping = false;
    while !(stopping && streams.is_empty()) {
        tokio::select! {
            opened = connection.accept_bi(), if !stopping => match opened {
                Ok((send, receive)) => {
                    streams.spawn(serve_stream(Arc::clone(exchange), send, receive));
                }
                // A silent client's connection ends by the time-out that QUIC itself has agreed on.
                Err(ConnectionError::TimedOut) => return End::TimedOut,
                Err(_) => return End::Closed,
            },
            Ok(_) = connection.accept_uni() => return End::Malformed,
            Some(served) = streams.join_next(), if !streams.is_empty() => {
                // A panic of the answerer has reset its stream, which was dropped.
                if let Ok(Err(end)) = served {
                    return end;
                }
            }
            () = closing.wait(), if !stopping => stopping = true,
            () = sleep_until(exchange.idle_deadline()) => {
                if exchange.idle_deadline() <= Instant::now() {
                    return End::TimedOut;
                }
            }
        }
    }
    End::Closed
}

/// One query and its answer. Fails only with what ends the whole connection.
async fn serve_stream<W: Worker>(
    exchange: Arc<Exchange<W>>,
    mut send: SendStream,
    mut receive: RecvStream,
) -> Result<(), End> {
    let read = timeout(exchange.limits.message, read_query(&exchange, &mut receive));
    let query = match read.await {
        Ok(Ok(query)) => query,
        Ok(Err(Unread::Broken)) => return Err(End::Malformed),
        // The client has changed its mind (RFC 9250 §4.3.1), or the connection is gone.
        Ok(Err(Unread::Cancelled)) => return Ok(()),
        Err(_) => {
            let _ = (send.reset(EXCESSIVE_LOAD), receive.stop(EXCESSIVE_LOAD));
            return Ok(());
        }
    };
    let sent = match exchange.answer(&query) {
        Answer::Silence => return Err(End::Malformed),
        Answer::One(octets) => send_one(&exchange, &mut send, &octets).await,
        Answer::Several(answers) => send_all(&exchange, &mut send, answers).await,
    };
    // The client has all of it before the connection may end.
    if sent.is_none()
        || timeout(exchange.limits.write, send.stopped())
            .await
            .is_err()
    {
        let _ = send.reset(EXCESSIVE_LOAD);
    }
    Ok(())
}

/// Why there is no query.
enum Unread {
    /// Against the rules (RFC 9250 §4.3.3).
    Broken,
    Cancelled,
}

impl From<ReadExactError> for Unread {
    fn from(error: ReadExactError) -> Self {
        match error {
            ReadExactError::FinishedEarly(_) => Self::Broken,
            ReadExactError::ReadError(_) => Self::Cancelled,
        }
    }
}

async fn read_query<W: Worker>(
    exchange: &Exchange<W>,
    receive: &mut RecvStream,
) -> Result<Vec<u8>, Unread> {
    let mut prefix = [0; PREFIX];
    receive.read_exact(&mut prefix).await?;
    let length = usize::from(u16::from_be_bytes(prefix));
    let _long = if length > LONG_QUERY {
        Some(exchange.long().await)
    } else {
        None
    };
    let mut query = vec![0; length];
    receive.read_exact(&mut query).await?;
    // The stream ends behind its only query (RFC 9250 §4.2), whose identifier is 0 (§4.2.1) and which does not speak of
    // keeping a TCP connection (§5.5.2).
    let end = receive.read(&mut [0]).await;
    let ends = end.map_err(|_| Unread::Cancelled)?.is_none();
    if !ends || !query.starts_with(&[0, 0]) || message::has_option(&query, message::KEEPALIVE) {
        return Err(Unread::Broken);
    }
    Ok(query)
}

/// Sends the only message of a stream; `None` if the client did not take it.
async fn send_one<W: Worker>(
    exchange: &Exchange<W>,
    send: &mut SendStream,
    octets: &[u8],
) -> Option<()> {
    write(exchange, send, octets).await?;
    send.finish().ok()
}

/// Sends one message after another, as fast as the client takes them.
async fn send_all<W: Worker>(
    exchange: &Exchange<W>,
    send: &mut SendStream,
    mut answers: Box<dyn Answers>,
) -> Option<()> {
    let mut room = vec![0; MESSAGE_MAX];
    while let Some(length) = answers.next(&mut room) {
        write(exchange, send, &room[..length.min(MESSAGE_MAX)]).await?;
    }
    send.finish().ok()
}

async fn write<W: Worker>(
    exchange: &Exchange<W>,
    send: &mut SendStream,
    octets: &[u8],
) -> Option<()> {
    let write = async {
        send.write_all(&(octets.len() as u16).to_be_bytes()).await?;
        send.write_all(octets).await
    };
    timeout(exchange.limits.write, write).await.ok()?.ok()?;
    exchange.answered(1);
    Some(())
}
